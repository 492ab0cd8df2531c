//! What damaged and hostile images do: an error or a bounded answer.

use std::time::{Duration, Instant};

use super::fixture::*;
use super::*;

fn small() -> Vec<u8> {
    image(
        X86_64,
        &[
            func("outer", 0x2400, 0x80),
            func("inner", 0x2410, 0x20),
            func("label", 0x2490, 0),
        ],
        &[func("exported", 0x2500, 0x10)],
    )
}

#[test]
fn every_truncation_is_an_error_and_never_a_panic() {
    let whole = small();
    for len in 0..whole.len() {
        assert!(
            ElfImage::read(&whole[..len], &ElfLimits::default(), Wanted::All).is_err(),
            "accepted {len} of {} bytes",
            whole.len()
        );
    }
    ElfImage::read(&whole, &ElfLimits::default(), Wanted::All).expect("the whole image is sound");
}

#[test]
fn no_mutation_panics_or_reads_more_than_the_image_has() {
    let whole = small();
    let headers_end = 0x40 + 4 * 56;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random() % 3 {
            // File and program headers, or symbols, strings and section headers.
            let at = match random() % 2 {
                0 => random() as usize % headers_end,
                _ => 0x700 + random() as usize % (whole.len() - 0x700),
            };
            bytes[at] = match random() % 3 {
                0 => 0xff,
                1 => 0,
                _ => random() as u8,
            };
        }
        let counted = Counted::new(&bytes);
        match ElfImage::read(&counted, &ElfLimits::default(), Wanted::All) {
            Ok(image) => {
                read += 1;
                for svma in [0, 0x2400, 0x2418, 0x2490, 0x25ff, u64::MAX] {
                    if let Some(symbol) = image.lookup(svma) {
                        assert!(symbol.start <= svma);
                        assert!(svma - symbol.start < symbol.size_bytes);
                    }
                    image.svma_of(svma);
                }
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().contains('\n'));
            }
        }
        // Tables and notes may overlap, each can be the whole image.
        let most = 20 * bytes.len() as u64;
        assert!(counted.read_bytes() < most);
    }
    assert!(
        read > 5_000 && refused > 1_000,
        "{read} read, {refused} refused"
    );
}

#[test]
fn a_name_of_a_megabyte_is_cut_with_a_mark() {
    let mut entries = vec![func("ok", 0x2410, 0x10)];
    for (start, len) in [
        (0x2420, 64 << 10),
        (0x2430, (64 << 10) + 1),
        (0x2440, 1 << 20),
    ] {
        entries.push(Entry {
            name: vec![b'n'; len],
            ..func("", start, 0x10)
        });
    }
    let image = ElfImage::read(
        &image(X86_64, &entries, &[]),
        &ElfLimits::default(),
        Wanted::All,
    );
    let image = image.expect("long names are no damage");
    let lens = [0x2410, 0x2420, 0x2430, 0x2440].map(|svma| {
        let symbol = image.lookup(svma).expect("each has a symbol");
        (symbol.name.len(), symbol.name.ends_with("…".as_bytes()))
    });
    assert_eq!(
        lens,
        [
            (2, false),
            (64 << 10, false),
            ((4 << 10) + 3, true),
            ((4 << 10) + 3, true)
        ]
    );
}

#[test]
fn a_string_table_without_its_last_nul_ends_where_it_ends() {
    let mut bytes = image(
        X86_64,
        &[func("last", 0x2400, 0x10)],
        &[func("x", 0x2500, 1)],
    );
    let at = bytes
        .windows(5)
        .position(|window| window == b"last\0")
        .expect("the name is there");
    bytes[at + 4] = b'!';
    let image = ElfImage::read(&bytes, &ElfLimits::default(), Wanted::All).expect("readable");
    let name = image.lookup(0x2400).map(|symbol| symbol.name.into_owned());
    assert_eq!(name.as_deref(), Some(b"last!".as_slice()));
}

#[test]
fn every_limit_holds() {
    let bytes = small();
    let default = ElfLimits::default();
    for (limits, what) in [
        (
            ElfLimits {
                program_headers: 3,
                ..default
            },
            "program headers: 4, the limit is 3",
        ),
        (
            ElfLimits {
                sections: 7,
                ..default
            },
            "section headers: 8, the limit is 7",
        ),
        (
            ElfLimits {
                symbols: 3,
                ..default
            },
            "symbols: 4, the limit is 3",
        ),
        (
            ElfLimits {
                string_table_bytes: 18,
                ..default
            },
            "string table bytes: 19, the limit is 18",
        ),
    ] {
        let error = ElfImage::read(&bytes, &limits, Wanted::All).expect_err("one too many");
        assert_eq!(error.to_string(), what);
    }
}

#[test]
fn a_symbol_table_that_links_to_itself_is_malformed() {
    let mut bytes = small();
    let headers = bytes.len() - 8 * 64;
    bytes[headers + 4 * 64 + 40] = 4;
    let error =
        ElfImage::read(&bytes, &ElfLimits::default(), Wanted::All).expect_err("not a string table");
    assert_eq!(
        error.to_string(),
        "sh_link of a symbol table is 4, which the format does not allow"
    );
}

#[test]
fn a_note_of_four_gigabytes_gives_no_build_id() {
    let mut bytes = small();
    bytes[0x204..0x208].copy_from_slice(&[0xff; 4]);
    let id = ElfImage::read_build_id(&bytes, &ElfLimits::default());
    assert_eq!(id.expect("the headers are sound"), None);
}

#[test]
fn a_size_that_overflows_ends_with_the_section() {
    let bytes = image(X86_64, &[func("huge", 0x2410, u64::MAX)], &[]);
    let image = ElfImage::read(&bytes, &ElfLimits::default(), Wanted::All).expect("readable");
    assert_eq!(
        image.lookup(0x25ff).map(|symbol| symbol.size_bytes),
        Some(0x1f0)
    );
    assert_eq!(image.lookup(0x2600), None);
}

/// All at one address, all nested, names without end: each made to be slow.
#[test]
fn hostile_tables_take_no_more_than_linear_time() {
    let count = 50_000;
    let mut endless: Vec<_> = (0..count).map(|_| func("", 0x2400, 0x10)).collect();
    for entry in &mut endless {
        entry.name = vec![b'n'; 300];
    }
    let nested: Vec<_> = (0..count)
        .map(|depth| func("f", 0x2400 + depth % 0x100, 0x200 - depth % 0x180))
        .collect();
    for table in [endless, nested] {
        let bytes = image(X86_64, &table, &[]);
        let start = Instant::now();
        let image = ElfImage::read(&bytes, &ElfLimits::default(), Wanted::All).expect("readable");
        assert!(image.lookup(0x2400).is_some());
        // Quadratic would be minutes; the bound leaves room for a busy machine.
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn section_names_without_an_end_are_not_read_to_it_once_for_each_section() {
    const SECTIONS: u16 = 60_000;
    let mut bytes = small();
    let names = (bytes.len() as u64, 4 << 20);
    bytes.resize(bytes.len() + (4 << 20), b'n');
    let sections_at = bytes.len() as u64;
    let mut section = [0; 64];
    section[4] = 3;
    section[24..32].copy_from_slice(&names.0.to_le_bytes());
    section[32..40].copy_from_slice(&u64::to_le_bytes(names.1));
    for _ in 0..SECTIONS {
        bytes.extend(section);
    }
    bytes[40..48].copy_from_slice(&sections_at.to_le_bytes());
    bytes[60..62].copy_from_slice(&SECTIONS.to_le_bytes());
    bytes[62..64].copy_from_slice(&1_u16.to_le_bytes());
    let start = Instant::now();
    let sections = FrameSections::read(&*bytes, &ElfLimits::default());
    let sections = sections.expect("readable").expect("64-bit");
    assert!(sections.eh_frame.is_none());
    // To the end each time would be minutes.
    assert!(start.elapsed() < Duration::from_secs(5));
}
