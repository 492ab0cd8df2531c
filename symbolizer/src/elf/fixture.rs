//! Small ELF images for tests, of either class and byte order, each field under the test's control.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ElfImage, ElfLimits, ReadAt, Wanted};

/// `.text` of every fixture: file offset, stated address, length.
pub(super) const TEXT: (u64, u64, u64) = (0x400, 0x2400, 0x200);
/// `.text.hot` in a second executable segment at another distance, as lld lays out.
pub(super) const HOT: (u64, u64, u64) = (0x600, 0x5600, 0x100);
pub(super) const BUILD_ID: [u8; 20] = *b"0123456789abcdefghij";
/// Section indices that symbols name.
pub(super) const IN_TEXT: u16 = 1;
pub(super) const IN_HOT: u16 = 2;
pub(super) const IN_RODATA: u16 = 3;
pub(super) const ABSOLUTE: u16 = 0xfff1;
pub(super) const FUNC: u8 = 2;
pub(super) const NOTYPE: u8 = 0;
pub(super) const OBJECT: u8 = 1;
pub(super) const LOCAL: u8 = 0;
pub(super) const GLOBAL: u8 = 1;
pub(super) const WEAK: u8 = 2;

/// The symbols at these addresses: name, first address, size.
pub(super) fn symbols_at(image: &[u8], wanted: &[u64]) -> Vec<Option<(String, u64, u64)>> {
    let image = ElfImage::read(image, &ElfLimits::default(), Wanted::Addresses(wanted));
    let image = image.expect("its headers are sound");
    let symbol = |at: &u64| {
        let symbol = image.lookup(*at)?;
        let name = String::from_utf8_lossy(&symbol.name).into_owned();
        Some((name, symbol.start, symbol.size_bytes))
    };
    wanted.iter().map(symbol).collect()
}

/// Counts the bytes that a reader asks for.
pub(super) struct Counted<'a> {
    bytes: &'a [u8],
    read_bytes: AtomicU64,
}

impl<'a> Counted<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            read_bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }
}

impl ReadAt for Counted<'_> {
    fn len_bytes(&self) -> u64 {
        self.bytes.len_bytes()
    }

    fn read_again(&self, offset: u64, len_bytes: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.read_bytes.fetch_add(len_bytes, Ordering::Relaxed);
        self.bytes.read_again(offset, len_bytes, bytes)
    }
}

/// One entry of a symbol table.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) binding: u8,
    pub(super) kind: u8,
    pub(super) section: u16,
    pub(super) start: u64,
    pub(super) size: u64,
}

/// A global function in `.text`.
pub(super) fn func(name: &str, start: u64, size: u64) -> Entry {
    Entry {
        name: name.into(),
        binding: GLOBAL,
        kind: FUNC,
        section: IN_TEXT,
        start,
        size,
    }
}

#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) is_64: bool,
    pub(super) is_big: bool,
}

pub(super) const X86_64: Layout = Layout {
    is_64: true,
    is_big: false,
};

struct Out {
    layout: Layout,
    bytes: Vec<u8>,
}

impl Out {
    fn put(&mut self, value: u64, width: usize) {
        if self.layout.is_big {
            self.bytes
                .extend_from_slice(&value.to_be_bytes()[8 - width..]);
        } else {
            self.bytes.extend_from_slice(&value.to_le_bytes()[..width]);
        }
    }

    fn word(&mut self, value: u64) {
        self.put(value, if self.layout.is_64 { 8 } else { 4 });
    }

    fn segment(&mut self, kind: u64, flags: u64, (offset, addr, len): (u64, u64, u64)) {
        self.put(kind, 4);
        if self.layout.is_64 {
            self.put(flags, 4);
        }
        for value in [offset, addr, addr, len, len] {
            self.word(value);
        }
        if !self.layout.is_64 {
            self.put(flags, 4);
        }
        self.word(4);
    }

    fn section(&mut self, kind: u64, flags: u64, place: (u64, u64, u64), link: u64) {
        self.put(0, 4);
        self.put(kind, 4);
        self.word(flags);
        self.word(place.1);
        self.word(place.0);
        self.word(place.2);
        self.put(link, 4);
        self.put(0, 4);
        self.word(4);
        self.word(0);
    }

    fn symbol(&mut self, name: u64, entry: &Entry) {
        let kind = u64::from(entry.binding << 4 | entry.kind);
        self.put(name, 4);
        if self.layout.is_64 {
            self.put(kind, 1);
            self.put(0, 1);
            self.put(entry.section.into(), 2);
        }
        self.word(entry.start);
        self.word(entry.size);
        if !self.layout.is_64 {
            self.put(kind, 1);
            self.put(0, 1);
            self.put(entry.section.into(), 2);
        }
    }

    fn pad_to(&mut self, offset: u64) {
        assert!(self.bytes.len() as u64 <= offset, "the headers fit");
        self.bytes.resize(offset as usize, 0);
    }
}

/// An image with a `PT_NOTE`, a read-only and two executable segments, `.symtab` and `.dynsym`
/// (each left out when empty) with their string tables. The section headers come last.
pub(super) fn image(layout: Layout, symtab: &[Entry], dynsym: &[Entry]) -> Vec<u8> {
    let (mut symbols, mut strings) = (Vec::new(), Vec::new());
    let mut at = HOT.0 + HOT.2;
    let entry_len = if layout.is_64 { 24 } else { 16 };
    for table in [symtab, dynsym] {
        let mut names = vec![0];
        let mut out = Out {
            layout,
            bytes: vec![0; entry_len],
        };
        for entry in table {
            out.symbol(names.len() as u64, entry);
            names.extend_from_slice(&entry.name);
            names.push(0);
        }
        symbols.push((at, 0, out.bytes.len() as u64));
        strings.push((
            at + out.bytes.len() as u64,
            0,
            names.len() as u64,
            [out.bytes, names.clone()].concat(),
        ));
        at += (entry_len * (table.len() + 1) + names.len()) as u64;
    }
    let note = (0x200, 0, 36);
    let mut out = Out {
        layout,
        bytes: b"\x7fELF".to_vec(),
    };
    out.bytes.extend_from_slice(&[
        1 + u8::from(layout.is_64),
        1 + u8::from(layout.is_big),
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]);
    out.put(3, 2);
    out.put(62, 2);
    out.put(1, 4);
    out.word(0);
    out.word(0x40);
    out.word(at);
    out.put(0, 4);
    let (head, phdr, shdr) = if layout.is_64 {
        (64, 56, 64)
    } else {
        (52, 32, 40)
    };
    for value in [head, phdr, 4, shdr, 8, 0] {
        out.put(value, 2);
    }
    out.pad_to(0x40);
    out.segment(4, 4, note);
    out.segment(1, 4, (0, 0x1000, 0x400));
    out.segment(1, 5, TEXT);
    out.segment(1, 5, HOT);
    out.pad_to(0x200);
    for value in [4, 20, 3] {
        out.put(value, 4);
    }
    out.bytes.extend_from_slice(b"GNU\0");
    out.bytes.extend_from_slice(&BUILD_ID);
    out.pad_to(HOT.0 + HOT.2);
    for table in &strings {
        out.bytes.extend_from_slice(&table.3);
    }
    out.section(0, 0, (0, 0, 0), 0);
    out.section(1, 6, TEXT, 0);
    out.section(1, 6, HOT, 0);
    out.section(1, 2, (0x300, 0x1300, 0x100), 0);
    let kinds = [(2, symtab), (11, dynsym)];
    for (index, (kind, table)) in kinds.into_iter().enumerate() {
        let kind = if table.is_empty() { 1 } else { kind };
        out.section(kind, 0, symbols[index], 5 + 2 * index as u64);
        let (offset, addr, len, _) = strings[index];
        out.section(3, 0, (offset, addr, len), 0);
    }
    out.bytes
}
