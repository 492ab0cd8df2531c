//! The lines of kallsyms that answer some lookups. Of a hundred thousand lines a recording leads to some
//! hundred: the others are not kept. The kernel makes the text anew for each reader, which takes it longer than us
//! to read it: nothing is read behind the last line that matters.

use super::KernelSymbolsError;
use super::kallsyms::Start;
use std::io::{self, Read};

/// Read at once. The kernel hands out a page at most.
const CHUNK_BYTES: usize = 64 << 10;

/// The lines that answer lookups of some addresses as all of the text does.
#[derive(Debug, Default)]
pub(super) struct NearLines {
    pub(super) text: Vec<u8>,
    /// Where the kernel's own code lies, as far as its marks were read.
    own: OwnCode,
    /// Nothing was read behind the kernel's own code that is wanted.
    is_stopped: bool,
}

/// From `_text` or `_stext` up to `_etext`, and the same of what only runs while it boots.
#[derive(Debug, Default)]
struct OwnCode {
    text: Option<u64>,
    text_end: Option<u64>,
    init: Option<u64>,
    init_end: Option<u64>,
}

impl OwnCode {
    fn take(&mut self, name: &[u8], address: u64) {
        match name {
            b"_text" | b"_stext" => {
                self.text.get_or_insert(address);
            }
            b"_etext" => self.text_end = Some(address),
            b"_sinittext" => self.init = Some(address),
            b"_einittext" => self.init_end = Some(address),
            _ => {}
        }
    }

    fn holds(&self, address: u64) -> bool {
        let within = |begin: Option<u64>, end: Option<u64>| {
            begin.is_some_and(|begin| begin <= address) && end.is_some_and(|end| address < end)
        };
        within(self.text, self.text_end) || within(self.init, self.init_end)
    }
}

/// The lines of one address.
#[derive(Debug, Default)]
struct Group {
    address: u64,
    lines: Vec<u8>,
}

impl Group {
    fn replace(&mut self, address: u64, line: &[u8]) {
        self.address = address;
        self.lines.clear();
        self.add(line);
    }

    fn add(&mut self, line: &[u8]) {
        self.lines.extend_from_slice(line);
        self.lines.push(b'\n');
    }
}

/// What starts behind one wanted address and up to the next: the first answers how far the code before it reaches,
/// the last answers that next address.
#[derive(Debug, Default)]
struct Gap {
    first: Group,
    last: Group,
}

/// The last line of the gap that lines are in, not copied yet: most are followed by another one there.
struct Tail<'t> {
    address: u64,
    line: &'t [u8],
}

/// What reads a text.
struct Reading<'w> {
    /// Ascending.
    wanted: &'w [u64],
    /// Added to each address (wrapping); modules are left out then.
    moved_by: Option<u64>,
    /// One before each wanted address, and one behind all.
    gaps: Vec<Gap>,
    /// The gap of the line before: few lines are in another one.
    at: usize,
    own: OwnCode,
    /// The address of the line before; since the kernel's own text begins none was lower.
    previous: u64,
    is_ascending: bool,
    is_stopped: bool,
    symbols: u64,
    at_zero: u64,
}

impl NearLines {
    /// Reads the lines that answer lookups of `wanted`, ascending addresses.
    pub(super) fn read(
        text: &mut dyn Read,
        wanted: &[u64],
        moved_by: Option<u64>,
    ) -> Result<Self, KernelSymbolsError> {
        let mut reading = Reading::new(wanted, moved_by);
        let len_bytes = reading.read(text).map_err(|error| {
            let reason = error.to_string();
            KernelSymbolsError::Unreadable { reason }
        })?;
        if reading.symbols == 0 {
            return Err(KernelSymbolsError::Empty { len_bytes });
        }
        if reading.at_zero == reading.symbols {
            let symbols = reading.symbols;
            return Err(KernelSymbolsError::Restricted { symbols });
        }
        let mut text = Vec::new();
        for Gap { first, last } in reading.gaps {
            text.extend_from_slice(&first.lines);
            if last.address != first.address {
                text.extend_from_slice(&last.lines);
            }
        }
        Ok(Self {
            text,
            own: reading.own,
            is_stopped: reading.is_stopped,
        })
    }

    /// Whether all of the wanted addresses, which these are, are in the kernel's own code.
    pub(super) fn is_own_code(&self, wanted: &[u64]) -> bool {
        self.is_stopped || wanted.iter().all(|address| self.own.holds(*address))
    }
}

impl<'w> Reading<'w> {
    fn new(wanted: &'w [u64], moved_by: Option<u64>) -> Self {
        let gaps = (0..=wanted.len()).map(|_| Gap::default());
        Self {
            wanted,
            moved_by,
            gaps: gaps.collect(),
            at: 0,
            own: OwnCode::default(),
            previous: 0,
            is_ascending: true,
            is_stopped: false,
            symbols: 0,
            at_zero: 0,
        }
    }

    /// Takes line by line until no further one matters; how many bytes were read.
    fn read(&mut self, text: &mut dyn Read) -> io::Result<usize> {
        let mut buffer = vec![0; CHUNK_BYTES];
        let (mut filled, mut len_bytes) = (0, 0);
        loop {
            let space = buffer.get_mut(filled..).unwrap_or_default();
            let count = match text.read(space) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            len_bytes += count;
            filled += count;
            let bytes = buffer.get(..filled).unwrap_or_default();
            let taken = match memchr::memrchr(b'\n', bytes) {
                _ if count == 0 => filled,
                Some(newline) => newline + 1,
                // No line of kallsyms is as long as the buffer: it is left out.
                None if filled == buffer.len() => filled,
                None => 0,
            };
            let mut rest = bytes.get(..taken).unwrap_or_default();
            let mut tail = None;
            while !rest.is_empty() {
                let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                rest = behind.get(1..).unwrap_or_default();
                self.line(line, &mut tail);
                if self.is_stopped {
                    break;
                }
            }
            self.keep(tail);
            if self.is_stopped {
                return Ok(len_bytes);
            }
            if count == 0 {
                return Ok(len_bytes);
            }
            buffer.copy_within(taken..filled, 0);
            filled -= taken;
        }
    }

    fn line<'t>(&mut self, line: &'t [u8], tail: &mut Option<Tail<'t>>) {
        let Some(Start { address, kind, len }) = Start::parse(line) else {
            return;
        };
        self.symbols += 1;
        self.at_zero += u64::from(address == 0);
        let name = line.get(len..).unwrap_or_default();
        let is_code = matches!(kind, b'T' | b't' | b'W' | b'w');
        // Most lines follow one that is neither the first of its gap nor, with them, the last.
        if let Some(tail) = tail
            && is_code
            && tail.address < address
            && self.moved_by.is_none()
            && self.wanted.get(self.at).is_some_and(|at| address <= *at)
            && !matches!(name, [b'$', ..] | [b'_', b't' | b's' | b'e', ..])
        {
            self.is_ascending &= address >= self.previous || self.own.text.is_none();
            self.previous = address;
            *tail = Tail { address, line };
            return;
        }
        // `$x` and the like are no functions, as `Function::at` has it.
        if address == 0 || !is_code || name.starts_with(b"$") {
            return;
        }
        let address = match self.moved_by {
            None => address,
            Some(_) if is_of_module(name) => return,
            Some(by) => address.wrapping_add(by),
        };
        if name.starts_with(b"_") {
            self.own.take(name, address);
        }
        self.is_ascending &= address >= self.previous || self.own.text.is_none();
        self.previous = address;
        self.take(address, line, tail);
        self.is_stopped = self.is_behind(address) && !is_of_module(name);
    }

    fn take<'t>(&mut self, address: u64, line: &'t [u8], tail: &mut Option<Tail<'t>>) {
        let is_behind = |at: usize| at.checked_sub(1).and_then(|at| self.wanted.get(at));
        let is_here = is_behind(self.at).is_none_or(|before| *before < address)
            && self.wanted.get(self.at).is_none_or(|at| address <= *at);
        if !is_here {
            self.keep(tail.take());
            self.at = self.wanted.partition_point(|at| *at < address);
        }
        let Some(Gap { first, last }) = self.gaps.get_mut(self.at) else {
            return;
        };
        if first.lines.is_empty() || address < first.address {
            first.replace(address, line);
        } else if address == first.address {
            first.add(line);
        }
        let known = tail.as_ref().map(|tail| tail.address);
        let known = known.or((!last.lines.is_empty()).then_some(last.address));
        if known.is_none_or(|known| address > known) {
            *tail = Some(Tail { address, line });
        } else if known == Some(address) {
            self.keep(tail.take());
            if let Some(Gap { last, .. }) = self.gaps.get_mut(self.at) {
                last.add(line);
            }
        }
    }

    /// Copies what is the last of its gap.
    fn keep(&mut self, tail: Option<Tail<'_>>) {
        if let Some(Tail { address, line }) = tail
            && let Some(gap) = self.gaps.get_mut(self.at)
        {
            gap.last.replace(address, line);
        }
    }

    /// Whether this address is behind all that is wanted and what follows that, and nothing that is not read yet can be
    /// in front of it. The kernel's own symbols come first and ascend (`sort_symbols()` in scripts/kallsyms.c),
    /// and nothing else lies among its code: modules, BPF programs and trampolines are elsewhere.
    fn is_behind(&self, address: u64) -> bool {
        let begins = self.own.text.zip(self.wanted.first());
        let behind = self.gaps.last();
        self.is_ascending
            && begins.is_some_and(|(text, first)| text <= *first)
            && behind.is_some_and(|gap| !gap.first.lines.is_empty() && gap.first.address < address)
    }
}

/// Of a line from its name on: `fn_a\t[mod_a]`.
fn is_of_module(name: &[u8]) -> bool {
    let end = memchr::memchr2(b'\t', b' ', name).unwrap_or(name.len());
    let tail = name.get(end..).unwrap_or_default().trim_ascii();
    tail.starts_with(b"[") && tail.ends_with(b"]")
}
