//! Debug information that is made to hurt: damaged at any byte, deep, long, or leading in circles.

use super::sections::Sections;
use super::tests::{addresses, alone, build, read};
use super::{DebugSections, Found, Part};
use gimli::SectionId;
use std::time::{Duration, Instant};

const LOW: u64 = 0x1000;
const LEN: u64 = 0x100;
/// Longest that any of these may take, on a busy machine and without optimisation.
const LIMIT: Duration = Duration::from_secs(20);

/// A unit (1), a function (2), and one put into it (3) without any attribute; codes of tables here.
const ABBREVS: &[u8] = &[
    1, 0x11, 1, 0x11, 1, 0x12, 7, 0, 0, // DW_TAG_compile_unit: low_pc addr, high_pc data8
    2, 0x2e, 1, 0x11, 1, 0x12, 7, 0, 0, // DW_TAG_subprogram: the same
    3, 0x1d, 1, 0, 0, // DW_TAG_inlined_subroutine with children
    4, 0x1d, 1, 0x11, 1, 0x12, 7, 0, 0, // the same with a place
    0,
];

fn placed(code: u8) -> Vec<u8> {
    let mut entry = vec![code];
    entry.extend(LOW.to_le_bytes());
    entry.extend(LEN.to_le_bytes());
    entry
}

/// A unit of DWARF 4 with these entries.
fn unit(abbrev_offset: u32, entries: &[u8]) -> Vec<u8> {
    let mut unit = Vec::new();
    unit.extend((entries.len() as u32 + 7).to_le_bytes());
    unit.extend(4_u16.to_le_bytes());
    unit.extend(abbrev_offset.to_le_bytes());
    unit.push(8);
    unit.extend(entries);
    unit
}

fn sections(info: Vec<u8>, abbrevs: Vec<u8>, more: Vec<(SectionId, Vec<u8>)>) -> DebugSections {
    let mut all = vec![
        (SectionId::DebugInfo, info),
        (SectionId::DebugAbbrev, abbrevs),
    ];
    all.extend(more);
    alone(Sections::of(all))
}

/// What is said of some addresses in the function; panics if that takes long.
fn ask(sections: &DebugSections) -> Vec<Option<Found>> {
    let wanted: Vec<u64> = (LOW..LOW + LEN).collect();
    let begun = Instant::now();
    let found = sections.look_up(&wanted, &|_| None);
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    found.unwrap_or_default()
}

fn any(found: &[Option<Found>]) -> bool {
    found.iter().any(Option::is_some)
}

#[test]
fn the_program_that_the_others_are_damaged_copies_of_is_read() {
    let entries = [placed(1), placed(2), placed(4), vec![0; 3]].concat();
    let found = ask(&sections(unit(0, &entries), ABBREVS.to_vec(), vec![]));
    assert!(found.iter().all(Option::is_some));
}

#[test]
fn entries_in_entries_without_end_use_no_stack() {
    for depth in [1_000_usize, 3_000_000] {
        let nested = vec![3; depth];
        let entries = [placed(1), placed(2), nested].concat();
        let found = ask(&sections(unit(0, &entries), ABBREVS.to_vec(), vec![]));
        assert!(any(&found), "{depth}");
        // The same, each with a place: of one address more are not told than a limit.
        let nested = placed(4).repeat(depth / 10);
        let entries = [placed(1), placed(2), nested].concat();
        ask(&sections(unit(0, &entries), ABBREVS.to_vec(), vec![]));
        let functions = placed(2).repeat(depth / 10);
        let entries = [placed(1), functions].concat();
        ask(&sections(unit(0, &entries), ABBREVS.to_vec(), vec![]));
    }
}

#[test]
fn attributes_that_take_no_bytes_are_not_read_without_end() {
    // 100 000 flags (DW_FORM_flag_present) in each of a million entries.
    let mut abbrevs = ABBREVS[..ABBREVS.len() - 1].to_vec();
    abbrevs.extend([5, 0x34, 0]);
    abbrevs.extend([0x3f, 0x19].repeat(100_000));
    abbrevs.extend([0, 0, 0]);
    let entries = [placed(1), placed(2), vec![5; 1_000_000]].concat();
    let found = ask(&sections(unit(0, &entries), abbrevs, vec![]));
    assert!(!any(&found), "it went over its bound");
}

#[test]
fn one_list_of_ranges_that_all_refer_to_is_not_read_without_end() {
    // DW_AT_ranges (sec_offset), for the unit and each function.
    let abbrevs = vec![
        1, 0x11, 1, 0x55, 0x17, 0, 0, 2, 0x2e, 0, 0x55, 0x17, 0, 0, 0,
    ];
    let range = [LOW.to_le_bytes(), (LOW + LEN).to_le_bytes()].concat();
    let ranges = range.repeat(200_000);
    let entry = |code: u8| [vec![code], vec![0; 4]].concat();
    let entries = [entry(1), entry(2).repeat(200_000)].concat();
    let more = vec![(SectionId::DebugRanges, ranges.clone())];
    ask(&sections(unit(0, &entries), abbrevs.clone(), more));
    // Units do so too.
    let info = unit(0, &entry(1)).repeat(200_000);
    let more = vec![(SectionId::DebugRanges, ranges)];
    assert!(!any(&ask(&sections(info, abbrevs, more))));
}

#[test]
fn a_table_of_abbreviations_that_all_units_name_is_not_read_without_end() {
    let mut abbrevs = Vec::new();
    // No entry is the one that a root has: each unit looks through all of it.
    for _ in 0..100_000 {
        abbrevs.extend([2, 0x2e, 0, 0, 0]);
    }
    let info = unit(0, &placed(1)).repeat(200_000);
    assert!(!any(&ask(&sections(info, abbrevs.clone(), vec![]))));
    let info: Vec<u8> = (0..100_000)
        .flat_map(|at| unit(at * 5, &placed(2)))
        .collect();
    ask(&sections(info, abbrevs, vec![]));
}

#[test]
fn a_function_that_refers_to_itself_has_no_name() {
    // DW_AT_abstract_origin (ref4) to the function's own entry.
    let abbrevs = vec![
        1, 0x11, 1, 0x11, 1, 0x12, 7, 0, 0, 2, 0x2e, 0, 0x11, 1, 0x12, 7, 0x31, 0x13, 0, 0, 0,
    ];
    let at = 11 + placed(1).len() as u32;
    let entries = [placed(1), placed(2), at.to_le_bytes().to_vec(), vec![0]].concat();
    let found = ask(&sections(unit(0, &entries), abbrevs, vec![]));
    let found = found.first().cloned().flatten().expect("it is there");
    assert!(found.name.is_none());
}

#[test]
fn a_name_without_end_is_no_name() {
    // DW_AT_name (strp).
    let abbrevs = vec![
        1, 0x11, 1, 0x11, 1, 0x12, 7, 0, 0, 2, 0x2e, 0, 0x11, 1, 0x12, 7, 0x03, 0x0e, 0, 0, 0,
    ];
    let entries = [placed(1), placed(2), vec![0; 4], vec![0]].concat();
    for (len, is_named) in [(100, true), (50_000_000, false)] {
        let text = [vec![b'x'; len], vec![0]].concat();
        let more = vec![(SectionId::DebugStr, text)];
        let found = ask(&sections(unit(0, &entries), abbrevs.clone(), more));
        let found = found.first().cloned().flatten().expect("it is there");
        assert_eq!(found.name.is_some(), is_named);
    }
}

/// Not all damage can be seen; none may panic or take long.
#[test]
fn a_table_of_addresses_that_is_nearly_all_zeros_needs_no_stack() {
    const ZEROS: usize = 1_000_000;
    // The unit's root tells no address: its table does.
    let mut abbrevs = vec![1, 0x11, 1, 0, 0];
    abbrevs.extend(&ABBREVS[9..]);
    let entries = [vec![1], placed(2), placed(4), vec![0; 3]].concat();
    let table_of = |tuples: Vec<u8>| {
        let mut table = Vec::new();
        table.extend((12 + tuples.len() as u32).to_le_bytes());
        table.extend(2_u16.to_le_bytes());
        table.extend(0_u32.to_le_bytes());
        table.extend([8, 0, 0, 0, 0, 0]);
        table.extend(tuples);
        let table = vec![(SectionId::DebugAranges, table)];
        any(&ask(&sections(unit(0, &entries), abbrevs.clone(), table)))
    };
    let tuple = [LOW.to_le_bytes(), LEN.to_le_bytes()].concat();
    assert!(table_of([vec![0; 16 * ZEROS], tuple.clone()].concat()));
    assert!(table_of([tuple.clone(), vec![0; 16]].concat()));
    let elsewhere = [(LOW + LEN).to_le_bytes(), LEN.to_le_bytes()].concat();
    assert!(!table_of([elsewhere, vec![0; 16 * ZEROS]].concat()));
    // Its end lies in a tuple.
    assert!(!table_of(tuple[..15].to_vec()));
}

#[test]
fn no_damage_of_debug_information_makes_us_panic_or_hang() {
    for flags in [
        &["-gdwarf-5"][..],
        &["-gdwarf-4"],
        &["-gdwarf-5", "-gsplit-dwarf"],
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let program = build(dir.path(), flags);
        let wanted = addresses(&program);
        let sound = read(&program, Part::Main).expect("debug information");
        let split = read(&dir.path().join("program-shapes.dwo"), Part::Split);
        let copy = |of: &Sections, id: SectionId| of.get(id).to_vec();
        let whole = |of: &Sections| -> Vec<(SectionId, Vec<u8>)> {
            of.ids().into_iter().map(|id| (id, copy(of, id))).collect()
        };
        let begun = Instant::now();
        let ask = |main: Vec<(SectionId, Vec<u8>)>, split: Option<Vec<(SectionId, Vec<u8>)>>| {
            let split = split.map(|split| std::sync::Mutex::new(Some(split)));
            let read_split = |_: &super::SplitName| {
                let split = split.as_ref()?.lock().ok()?.take()?;
                Some(Sections::of(split))
            };
            let _ = alone(Sections::of(main)).look_up(&wanted, &read_split);
        };
        let damaged = split.as_ref().unwrap_or(&sound);
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for number in 0..damaged.ids().len() {
            for round in 0..300 {
                let mut changed = whole(damaged);
                let bytes = &mut changed[number].1;
                match round % 3 {
                    0 => bytes.truncate(random() as usize % bytes.len().max(1)),
                    1 => {
                        let at = random() as usize % bytes.len();
                        bytes[at] ^= 1 << (random() % 8);
                    }
                    _ => {
                        for _ in 0..8 {
                            let at = random() as usize % bytes.len();
                            bytes[at] = [0, 0xff, 0x80, 0x7f][random() as usize % 4];
                        }
                    }
                }
                match split {
                    Some(_) => ask(whole(&sound), Some(changed)),
                    None => ask(changed, None),
                }
            }
        }
        assert!(begun.elapsed() < LIMIT * 3, "{:?}", begun.elapsed());
    }
}
