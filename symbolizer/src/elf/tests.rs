//! What sound images answer.

use super::fixture::*;
use super::*;

fn read(image: &[u8]) -> ElfImage {
    ElfImage::read(image, &ElfLimits::default(), Wanted::All).expect("a sound image is read")
}

fn name_at(image: &ElfImage, svma: u64) -> Option<String> {
    let symbol = image.lookup(svma)?;
    Some(String::from_utf8_lossy(&symbol.name).into_owned())
}

/// Reads an image with this `.symtab`, and asks for the name at each address.
fn assert_names(symtab: &[Entry], expected: &[(u64, Option<&str>)]) {
    let image = read(&image(X86_64, symtab, &[]));
    for &(svma, name) in expected {
        assert_eq!(name_at(&image, svma).as_deref(), name, "at {svma:#x}");
    }
}

#[test]
fn both_classes_and_both_byte_orders_are_read() {
    for (is_64, is_big) in [(true, false), (true, true), (false, false), (false, true)] {
        let layout = Layout { is_64, is_big };
        let bytes = image(layout, &[func("work", 0x2410, 0x20)], &[]);
        let id = ElfImage::read_build_id(&bytes, &ElfLimits::default()).expect("headers are fine");
        assert_eq!(id, BuildId::new(&BUILD_ID), "64-bit {is_64}, big {is_big}");
        let image = read(&bytes);
        assert_eq!(
            image.lookup(0x2415),
            Some(Symbol {
                name: b"work".as_slice().into(),
                start: 0x2410,
                size_bytes: 0x20
            })
        );
    }
}

#[test]
fn the_build_id_is_read_without_the_symbols() {
    let mut bytes = image(X86_64, &[func("f", 0x2400, 1)], &[]);
    let limits = ElfLimits {
        symbols: 0,
        ..ElfLimits::default()
    };
    assert!(ElfImage::read(&bytes, &limits, Wanted::All).is_err());
    let read = |bytes: &Vec<u8>| ElfImage::read_build_id(bytes, &limits).expect("headers are fine");
    assert_eq!(read(&bytes), BuildId::new(&BUILD_ID));
    bytes[0x20c] = b'X'; // The note's owner is no longer GNU.
    assert_eq!(read(&bytes), None);
}

#[test]
fn a_file_offset_goes_through_the_segment_that_holds_it() {
    let image = read(&image(X86_64, &[], &[]));
    for (offset, svma) in [
        (0, Some(0x1000)),
        (0x3ff, Some(0x13ff)),
        (0x400, Some(0x2400)),
        (0x5ff, Some(0x25ff)),
        (0x600, Some(0x5600)),
        (0x6ff, Some(0x56ff)),
        (0x700, None),
        (u64::MAX, None),
    ] {
        assert_eq!(image.svma_of(offset), svma, "offset {offset:#x}");
    }
}

#[test]
fn a_sized_symbol_covers_its_size_only_and_one_without_size_reaches_the_next() {
    assert_names(
        &[
            func("sized", 0x2410, 0x10),
            func("bare", 0x2430, 0),
            func("next", 0x2440, 0x10),
            func("last", 0x25f0, 0),
            Entry {
                section: IN_HOT,
                ..func("hot", 0x5600, 0)
            },
        ],
        &[
            (0x240f, None),
            (0x2410, Some("sized")),
            (0x241f, Some("sized")),
            (0x2420, None),
            (0x2430, Some("bare")),
            (0x243f, Some("bare")),
            (0x2440, Some("next")),
            (0x2450, None),
            (0x25ff, Some("last")),
            (0x2600, None),
            (0x56ff, Some("hot")),
            (0x5700, None),
        ],
    );
}

#[test]
fn the_innermost_symbol_answers_and_the_outer_one_resumes_behind_it() {
    let label = Entry {
        kind: NOTYPE,
        ..func("label", 0x2470, 0)
    };
    assert_names(
        &[
            func("outer", 0x2400, 0x80),
            func("inner", 0x2410, 0x20),
            func("innermost", 0x2418, 0x8),
            func("overlap", 0x2428, 0x10),
            label,
            func("after", 0x2490, 0x10),
        ],
        &[
            (0x240f, Some("outer")),
            (0x2417, Some("inner")),
            (0x241f, Some("innermost")),
            (0x2420, Some("inner")),
            (0x2427, Some("inner")),
            (0x2428, Some("overlap")),
            (0x2437, Some("overlap")),
            (0x2438, Some("outer")),
            (0x246f, Some("outer")),
            (0x247f, Some("label")),
            (0x2480, None),
            (0x2490, Some("after")),
        ],
    );
}

#[test]
fn of_aliases_the_documented_one_answers() {
    let with = |binding, kind, name, size| Entry {
        binding,
        kind,
        ..func(name, 0x2400, size)
    };
    let order = [
        with(GLOBAL, FUNC, "aa", 0x10),
        with(GLOBAL, FUNC, "ab", 0x10),
        with(GLOBAL, FUNC, "aaa", 0x10),
        with(GLOBAL, FUNC, "a", 0x11),
        with(GLOBAL, FUNC, "a0", 0),
        with(WEAK, FUNC, "a", 0x10),
        with(LOCAL, FUNC, "a", 0x10),
        with(GLOBAL, NOTYPE, "a", 0x10),
    ];
    for (index, better) in order.iter().enumerate() {
        for worse in &order[index + 1..] {
            for table in [[better, worse], [worse, better]] {
                let image = read(&image(X86_64, &table.map(Clone::clone), &[]));
                let symbol = image.lookup(0x2400).expect("both cover it");
                assert_eq!(symbol.name, better.name.as_slice());
            }
        }
    }
    let image = read(&image(X86_64, &order, &[]));
    assert_eq!(name_at(&image, 0x240f).as_deref(), Some("aa"));
    assert_eq!(name_at(&image, 0x2410).as_deref(), Some("a"), "beyond `aa`");
}

#[test]
fn what_is_no_function_names_nothing() {
    let with = |section, kind, binding, name, start| Entry {
        section,
        kind,
        binding,
        ..func(name, start, 0x10)
    };
    assert_names(
        &[
            with(IN_TEXT, OBJECT, GLOBAL, "table", 0x2410),
            with(IN_RODATA, FUNC, GLOBAL, "in_rodata", 0x1310),
            with(0, FUNC, GLOBAL, "undefined", 0x2420),
            with(IN_TEXT, NOTYPE, LOCAL, "$x", 0x2430),
            with(IN_TEXT, NOTYPE, LOCAL, "$d.7", 0x2430),
            with(IN_TEXT, NOTYPE, LOCAL, ".Lloop", 0x2440),
            with(IN_TEXT, NOTYPE, GLOBAL, "_etext", 0x2600),
            with(IN_TEXT, FUNC, GLOBAL, "", 0x2450),
            with(9, FUNC, GLOBAL, "no_such_section", 0x2460),
            with(ABSOLUTE, FUNC, GLOBAL, "absolute", 0x2470),
            with(ABSOLUTE, NOTYPE, GLOBAL, "elsewhere", 0x9000),
            with(IN_TEXT, 10, LOCAL, "ifunc", 0x2480),
            with(IN_TEXT, NOTYPE, GLOBAL, "asm_label", 0x2490),
        ],
        &[
            (0x2410, None),
            (0x1310, None),
            (0x2420, None),
            (0x2430, None),
            (0x2440, None),
            (0x2600, None),
            (0x2450, None),
            (0x2460, None),
            (0x2470, Some("absolute")),
            (0x9000, None),
            (0x2480, Some("ifunc")),
            (0x2490, Some("asm_label")),
        ],
    );
}

#[test]
fn the_dynamic_table_names_what_the_other_lacks() {
    let exported = [func("exported", 0x2400, 0x10), func("both", 0x2410, 0x10)];
    let full = [func("both@@V1", 0x2410, 0x10), func("static", 0x2420, 0x10)];
    let merged = read(&image(X86_64, &full, &exported));
    let stripped = read(&image(X86_64, &[], &exported));
    let names = |image: &ElfImage| {
        [0x2400, 0x2410, 0x2420].map(|svma| name_at(image, svma).unwrap_or_default())
    };
    assert_eq!(names(&merged), ["exported", "both", "static"]);
    assert_eq!(merged.symbol_count(), 3);
    assert_eq!(names(&stripped), ["exported", "both", ""]);
    assert_eq!(read(&image(X86_64, &[], &[])).symbol_count(), 0);
}

#[test]
fn a_program_that_the_compiler_made_is_named_where_its_headers_say() {
    // The test itself: its symbols were put there by the linker, not by us.
    let own = std::fs::read("/proc/self/exe").expect("a process can read its own image");
    let image = read(&own);
    let maps = std::fs::read_to_string("/proc/self/maps").expect("own maps");
    let address = marked_for_the_linker as *const () as u64;
    let (start, offset) = maps
        .lines()
        .filter(|line| line.contains("r-xp"))
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (start, end) = words.next()?.split_once('-')?;
            let hex = |text| u64::from_str_radix(text, 16).ok();
            let offset = hex(words.nth(1)?)?;
            (hex(start)? <= address && address < hex(end)?).then_some((hex(start)?, offset))
        })
        .next()
        .expect("our code is mapped");
    let svma = image.svma_of(address - start + offset);
    let name = name_at(&image, svma.expect("a segment holds our code")).expect("not stripped");
    assert!(name.contains("marked_for_the_linker"), "found {name}");
}

#[inline(never)]
fn marked_for_the_linker() -> u32 {
    std::hint::black_box(7)
}
