//! Go's own table in each of its formats, put together here as Go's linker does.

use super::super::fixture::{Counted, symbols_at};
use super::super::{ElfImage, ElfLimits, FrameSections, Wanted};
use super::{GoFrame, GoFrames};

const TEXT: u64 = 0x40_1000;
const TABLE: u64 = 0x50_0000;
const MODULE: u64 = 0x60_0000;
/// `a` at the beginning of Go's code, `b` 0x20 behind it, nothing more than 0x60 behind it.
const FUNCTIONS: [(&str, u64); 2] = [("main.a", 0), ("main.(*T).b[...]", 0x20)];
const END: u64 = 0x60;

/// From byte 1 on: nothing taken of the stack for 4 bytes of code, 16 for 20, nothing for 8, then 300 for 16.
const SP_VALUES: [u8; 12] = [0, 2, 4, 0x20, 20, 0x1f, 8, 0xd8, 0x04, 16, 0, 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Go12,
    Go116,
    Go118,
    Go120,
    /// As 1.20, without a word of where the code begins.
    Go126,
}

const ALL: [Version; 5] = [
    Version::Go12,
    Version::Go116,
    Version::Go118,
    Version::Go120,
    Version::Go126,
];

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The table, as it is linked at `text`.
fn table(version: Version, text: u64) -> Vec<u8> {
    let magic = match version {
        Version::Go12 => 0xfb,
        Version::Go116 => 0xfa,
        Version::Go118 => 0xf0,
        Version::Go120 | Version::Go126 => 0xf1,
    };
    let mut table = vec![magic, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    let names: Vec<u8> = FUNCTIONS
        .iter()
        .flat_map(|(name, _)| [name.as_bytes(), b"\0"].concat())
        .collect();
    let name_at = |number: usize| if number == 0 { 0 } else { 7 };
    let count = FUNCTIONS.len() as u64;
    match version {
        Version::Go12 => {
            // Functions, their end; records of 12 bytes; names.
            let records = 16 + count * 16 + 8;
            let first_name = records + count * 12;
            table.extend(words(&[count]));
            for (number, (_, at)) in FUNCTIONS.iter().enumerate() {
                table.extend(words(&[text + at, records + 12 * number as u64]));
            }
            table.extend(words(&[text + END]));
            for (number, (_, at)) in FUNCTIONS.iter().enumerate() {
                table.extend(words(&[text + at]));
                table.extend(u32::to_le_bytes(first_name as u32 + name_at(number)));
            }
            table.extend(names);
        }
        _ => {
            let is_long = version == Version::Go116;
            let header = if is_long { 64 } else { 72 };
            let begin = if version == Version::Go126 { 0 } else { text };
            let (values, functions) = (header + 24, header + 40);
            table.extend(words(&[count, 1]));
            if !is_long {
                table.extend(words(&[begin]));
            }
            table.extend(words(&[header, values, values, values, functions]));
            table.resize(header as usize, 0);
            table.extend(names);
            table.resize(values as usize, 0);
            table.extend(SP_VALUES);
            table.resize(functions as usize, 0);
            // Distances are from the table of functions on.
            let records = if is_long { 40 } else { 20 };
            let record_len = 48;
            for (number, (_, at)) in FUNCTIONS.iter().enumerate() {
                let record = records + record_len * number as u64;
                match is_long {
                    true => table.extend(words(&[text + at, record])),
                    false => {
                        table.extend([*at as u32, record as u32].map(u32::to_le_bytes).concat());
                    }
                }
            }
            match is_long {
                true => table.extend(words(&[text + END])),
                false => table.extend(u32::to_le_bytes(END as u32)),
            }
            for (number, (_, at)) in FUNCTIONS.iter().enumerate() {
                let end = table.len() + record_len as usize;
                match is_long {
                    true => table.extend(words(&[text + at])),
                    false => table.extend(u32::to_le_bytes(*at as u32)),
                }
                // The name, two that nobody asks for, the values of the stack pointer.
                for word in [name_at(number), 7, 7, 1] {
                    table.extend(u32::to_le_bytes(word));
                }
                table.resize(end, 0);
            }
        }
    }
    table
}

/// `runtime.moduledata`, as far as it is read.
fn module(text: u64) -> Vec<u8> {
    let mut words_of = [0; 45];
    (words_of[0], words_of[20], words_of[21], words_of[22]) = (TABLE, text, text + END, text);
    words(&words_of)
}

struct Part {
    name: &'static str,
    kind: u32,
    addr: u64,
    bytes: Vec<u8>,
}

fn part(name: &'static str, addr: u64, bytes: Vec<u8>) -> Part {
    let kind = if name == ".rela.dyn" { 4 } else { 1 };
    Part {
        name,
        kind,
        addr,
        bytes,
    }
}

/// An image of these sections, and of code.
fn program(mut parts: Vec<Part>) -> Vec<u8> {
    parts.insert(0, part(".text", TEXT, vec![0x90; 0x200]));
    let mut names = vec![0];
    let mut sections = vec![0; 64];
    let mut bytes = vec![0; 64 + 56];
    let count = parts.len() as u16 + 2;
    let mut text_offset = 0;
    for Part {
        name,
        kind,
        addr,
        bytes: content,
    } in &parts
    {
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        let offset = bytes.len() as u64;
        let is_text = *name == ".text";
        if is_text {
            text_offset = offset;
        }
        sections.extend([names.len() as u32, *kind].map(u32::to_le_bytes).concat());
        let flags = if is_text { 6 } else { 2 };
        sections.extend(words(&[
            flags,
            *addr,
            offset,
            content.len() as u64,
            0,
            16,
            0,
        ]));
        names.extend(name.bytes().chain([0]));
        bytes.extend(content);
    }
    sections.extend([0, 3].map(u32::to_le_bytes).concat());
    sections.extend(words(&[
        0,
        0,
        bytes.len() as u64,
        names.len() as u64,
        0,
        1,
        0,
    ]));
    bytes.extend(names);
    let sections_at = bytes.len() as u64;
    bytes.extend(sections);
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([3u16, 62].map(u16::to_le_bytes).concat());
    header.extend(1u32.to_le_bytes());
    header.extend(words(&[TEXT, 64, sections_at]));
    header.extend(0u32.to_le_bytes());
    header.extend(
        [64, 56, 1, 64, count, count - 1]
            .map(u16::to_le_bytes)
            .concat(),
    );
    header.extend([1u32, 5].map(u32::to_le_bytes).concat());
    header.extend(words(&[text_offset, TEXT, TEXT, 0x200, 0x200, 0x1000]));
    bytes[..header.len()].copy_from_slice(&header);
    bytes
}

fn go(version: Version, text: u64) -> Vec<Part> {
    let mut parts = vec![part(".gopclntab", TABLE, table(version, text))];
    if version == Version::Go126 {
        parts.push(part(".go.module", MODULE, module(text)));
    }
    parts
}

fn frames(image: &[u8]) -> Option<GoFrames> {
    let sections = FrameSections::read(image, &ElfLimits::default());
    sections.expect("its headers are sound").expect("64-bit").go
}

/// The flags of the first function.
fn flags_at(version: Version) -> usize {
    // Behind the table of functions: header, names, values, functions.
    let record = 72 + 24 + 16 + 20;
    record + if version == Version::Go118 { 37 } else { 41 }
}

/// That the two functions have their names, where the code begins at `text`, and nothing else any.
fn assert_named(image: &[u8], text: u64, said: impl std::fmt::Debug) {
    let wanted = [-1, 0, 0x1f, 0x20, 0x5f, 0x60].map(|at| text.wrapping_add_signed(at));
    let a = Some(("main.a".to_owned(), text, 0x20));
    let b = Some(("main.(*T).b[...]".to_owned(), text + 0x20, 0x40));
    let expected = [None, a.clone(), a, b.clone(), b, None];
    assert_eq!(symbols_at(image, &wanted), expected, "{said:?}");
}

#[test]
fn functions_of_every_format_have_their_names_and_nothing_else_has_one() {
    for version in ALL {
        assert_named(&program(go(version, TEXT)), TEXT, version);
        // C code lies before, in programs with both.
        let text = TEXT + 0x100;
        assert_named(&program(go(version, text)), text, version);
    }
}

#[test]
fn a_frame_is_as_large_as_the_table_says_at_each_address() {
    for version in ALL {
        let frames = frames(&program(go(version, TEXT)));
        let Some(frames) = frames else {
            assert!(matches!(version, Version::Go12 | Version::Go116));
            continue;
        };
        let taken = |bytes| Some(GoFrame::Taken(bytes));
        for (into, expected) in [
            (0, taken(0)),
            (3, taken(0)),
            (4, taken(16)),
            (23, taken(16)),
            (24, taken(0)),
            // The other function, which has the same values and is longer.
            (0x20, taken(0)),
            (0x20 + 31, taken(0)),
            (0x20 + 32, taken(300)),
            (0x20 + 47, taken(300)),
            (0x20 + 48, Some(GoFrame::Unknown)),
            (0x60, None),
        ] {
            assert_eq!(frames.at(TEXT + into), expected, "{version:?} {into:#x}");
        }
        assert_eq!(frames.at(TEXT - 1), None);
        assert!(frames.len_bytes() > 0);
    }
}

#[test]
fn what_has_no_caller_or_another_stack_is_told() {
    for version in [Version::Go118, Version::Go120, Version::Go126] {
        for (flags, expected) in [
            (1, GoFrame::Outermost),
            (2, GoFrame::Unknown),
            (3, GoFrame::Unknown),
            (4, GoFrame::Taken(0)),
        ] {
            let mut parts = go(version, TEXT);
            parts[0].bytes[flags_at(version)] = flags;
            let frames = frames(&program(parts)).expect("a Go program");
            assert_eq!(frames.at(TEXT), Some(expected), "{version:?} {flags}");
        }
    }
}

#[test]
fn a_table_among_other_data_is_found_in_what_is_a_go_program() {
    let mut data = vec![0; 0x38];
    // What looks like the table's first word.
    data.extend([0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8]);
    data.resize(0x400, 0xff);
    data.extend(table(Version::Go120, TEXT));
    let parts = |mark| {
        let data = data.clone();
        program(vec![
            part(".data.rel.ro", TABLE, data),
            part(mark, 1, vec![0]),
        ])
    };
    assert_named(&parts(".go.buildinfo"), TEXT, "marked");
    assert_eq!(symbols_at(&parts(".other"), &[TEXT]), [None]);
    let named = part(".data.rel.ro.gopclntab", TABLE, table(Version::Go118, TEXT));
    assert_named(&program(vec![named]), TEXT, "named");
}

#[test]
fn where_the_code_begins_is_taken_from_the_relocation_where_the_word_is_empty() {
    let relocation = |at: u64, addend: u64| words(&[at, 8, addend]);
    let mut before = table(Version::Go120, TEXT);
    before[24..32].fill(0);
    let parts = |relocation| {
        let table = part(".gopclntab", TABLE, before.clone());
        program(vec![table, part(".rela.dyn", 0x1000, relocation)])
    };
    let of_text = relocation(TABLE + 24, TEXT);
    let both = [relocation(TABLE, 7), of_text].concat();
    assert_named(&parts(both), TEXT, "in the table");
    assert_eq!(symbols_at(&parts(Vec::new()), &[TEXT]), [None]);

    let words_of_module = [(0, TABLE), (20, TEXT), (21, TEXT + END), (22, TEXT)];
    let of_module: Vec<u8> = words_of_module
        .iter()
        .flat_map(|(number, addend)| relocation(MODULE + 8 * number, *addend))
        .collect();
    let parts = vec![
        part(".gopclntab", TABLE, table(Version::Go126, TEXT)),
        part(".go.module", MODULE, vec![0; 360]),
        part(".rela.dyn", 0x1000, of_module),
    ];
    assert_named(&program(parts), TEXT, "in the module's data");
}

#[test]
fn a_module_of_another_layout_or_of_another_table_names_nothing() {
    for (number, value) in [
        (0, TABLE + 8),
        (20, TEXT + 8),
        (21, TEXT + 8),
        (22, TEXT + 8),
        (22, 0),
    ] {
        let mut module = module(TEXT);
        module[8 * number..8 * number + 8].copy_from_slice(&u64::to_le_bytes(value));
        let parts = vec![
            part(".gopclntab", TABLE, table(Version::Go126, TEXT)),
            part(".go.module", MODULE, module),
        ];
        assert_eq!(
            symbols_at(&program(parts), &[TEXT, TEXT + 0x20]),
            [None, None]
        );
    }
}

#[test]
fn a_table_of_code_that_is_not_there_names_nothing() {
    for version in ALL {
        assert_eq!(
            symbols_at(&program(go(version, 0)), &[0, 0x20]),
            [None, None]
        );
    }
}

#[test]
fn no_damage_of_the_table_panics_reads_much_or_names_what_is_outside() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut named = 0;
    for round in 0..20_000 {
        let version = ALL[round % ALL.len()];
        let mut parts = go(version, TEXT);
        let damaged =
            &mut parts[random() % 2 % ALL.len().min(if version == Version::Go126 { 2 } else { 1 })];
        for _ in 0..1 + random() % 3 {
            let at = random() % damaged.bytes.len();
            damaged.bytes[at] = [0xff, 0, random() as u8][random() % 3];
        }
        if random() % 8 == 0 {
            let len = random() % damaged.bytes.len();
            damaged.bytes.truncate(len);
        }
        let bytes = program(parts);
        let counted = Counted::new(&bytes);
        let wanted = Wanted::Addresses(&[TEXT, TEXT + 0x20, TEXT + 0x1ff, 0, u64::MAX]);
        let image = ElfImage::read(&counted, &ElfLimits::default(), wanted);
        let image = image.expect("what is wrong with the table is not wrong with the image");
        for at in [TEXT, TEXT + 0x20, TEXT + 0x1ff] {
            if let Some(symbol) = image.lookup(at) {
                named += 1;
                assert!(symbol.start <= at && at - symbol.start < symbol.size_bytes);
            }
        }
        assert!(counted.read_bytes() < 20 * bytes.len() as u64);
        if let Some(frames) = frames(&bytes) {
            for at in TEXT..TEXT + 0x70 {
                frames.at(at);
            }
        }
    }
    assert!(named > 10_000, "{named} named");
}
