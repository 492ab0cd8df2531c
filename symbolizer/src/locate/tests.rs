//! Locating by address: what is one place, what is cut, what one stack takes over from another.

use super::*;
use crate::chain::{CUT_MARKER, KERNEL_MARKER, USER_MARKER, WHOLE_MARKER};
use crate::maps::{Backing, Mapping};
use std::collections::BTreeMap;

/// A stack with its places, root first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    context: usize,
    is_cut: bool,
    places: Vec<Place>,
    weight: u64,
}

fn located(words: &[u64], space: &SpaceOf, max_stack: u32) -> (Vec<Place>, bool) {
    let all = locate_stacks(&[&[(0, words)]], std::slice::from_ref(space), max_stack);
    let [found] = &all[..] else {
        panic!("one stack became {}", all.len())
    };
    (found.places.clone(), found.is_cut)
}

/// Takes the stacks batch by batch; the context of a number is counted in that of its half.
fn locate_stacks(batches: &[&[(u32, &[u64])]], spaces: &[SpaceOf], max_stack: u32) -> Vec<Found> {
    let contexts: Vec<_> = spaces
        .iter()
        .zip(0..)
        .map(|(space, number)| ContextPlace {
            counted_in: ContextId(number / 2 * 2),
            space: space.clone(),
            words: Words::Recorded,
        })
        .collect();
    let mut locator = Locator::default();
    let mut table = StackTable::default();
    for batch in batches {
        for (context, words) in *batch {
            let _ = table.push(ContextId(*context), words.iter().copied(), |_| {}, 1);
            table.count_batch(Some(0), |_, _| {});
        }
        locator.take(&mut table, &contexts);
        table.clear();
    }
    let mut locations = locator.finish();
    let mut all = Vec::new();
    for part in &mut locations.parts {
        part.cut_at = max_stack;
        let mut frames = Vec::new();
        for stack in part.stacks() {
            frames.truncate(stack.shared);
            frames.extend_from_slice(stack.frames);
            let places = frames.iter().map(|id| locations.places[id.0 as usize]);
            all.push(Found {
                context: stack.context,
                is_cut: stack.is_cut,
                places: places.collect(),
                weight: stack.weight,
            });
        }
    }
    all.sort();
    all
}

fn table() -> Arc<MapTable> {
    let mut maps = MapTable::default();
    let image = Backing::Image(ImageId(1));
    maps.insert(Mapping {
        start: 0x1000,
        end: 0x2000,
        file_offset: 0x400,
        backing: image,
    });
    maps.insert(Mapping {
        start: 0x5000,
        end: 0x6000,
        file_offset: 0,
        backing: Backing::Generated(MemoryId::ANONYMOUS),
    });
    maps.insert(Mapping {
        start: 0x7000,
        end: 0x8000,
        file_offset: 0,
        backing: Backing::Vdso,
    });
    maps.into()
}

#[test]
fn a_return_address_is_looked_up_inside_the_call_and_a_leaf_where_it_is() {
    let chain = [
        KERNEL_MARKER,
        0xffff_0000,
        0xffff_1000,
        USER_MARKER,
        0x1100,
        0x2000,
        0x5001,
        0x7011,
        0x9000,
    ];
    let expected = [
        Place::Unmapped,
        Place::Vdso(0x10),
        Place::Generated(SpaceId(3), 0x5000, MemoryId::ANONYMOUS),
        Place::Image(ImageId(1), 0x13ff),
        Place::Image(ImageId(1), 0x500),
        Place::Kernel(0xffff_0fff),
        Place::Kernel(0xffff_0000),
    ];
    let maps = table();
    let found = located(&chain, &Some((SpaceId(3), maps)), 127);
    assert_eq!(found, (expected.to_vec(), false));
}

#[test]
fn a_guests_part_is_not_looked_up_in_our_tables() {
    let guest = -2048_i64 as u64;
    let maps = table();
    assert_eq!(
        located(
            &[guest, 0x1100, USER_MARKER, 0x1100],
            &Some((SpaceId(3), maps)),
            127
        ),
        (
            vec![Place::Image(ImageId(1), 0x500), Place::Unmapped],
            false
        )
    );
}

#[test]
fn a_stack_without_a_space_keeps_its_frames() {
    let chain = [KERNEL_MARKER, 0xffff_0000, USER_MARKER, 0x1000];
    assert_eq!(
        located(&chain, &None, 127),
        (vec![Place::Unmapped, Place::Kernel(0xffff_0000)], false)
    );
}

#[test]
fn a_walk_through_data_is_one_frame_and_no_cut_stack() {
    let maps = table();
    let space = Some((SpaceId(3), maps));
    let len_and_cut = |words: &[u64]| {
        let (found, is_cut) = located(words, &space, 4);
        (found.len(), is_cut)
    };
    assert_eq!(
        len_and_cut(&[USER_MARKER, 0x1100, 0x11, 0x12, 0x13]),
        (2, false)
    );
    assert_eq!(
        len_and_cut(&[USER_MARKER, 0x1100, 0x11, 0x1200, 0x1300]),
        (4, true)
    );
    assert_eq!(
        len_and_cut(&[USER_MARKER, 0x1100, 0x1200, 0x1300]),
        (3, false)
    );
}

#[test]
fn what_is_taken_over_from_the_stack_before_is_what_would_have_been_found() {
    let (here, mut there) = (table(), table());
    Arc::make_mut(&mut there).insert(Mapping {
        start: 0x1000,
        end: 0x2000,
        file_offset: 0x8000,
        backing: Backing::Image(ImageId(2)),
    });
    let spaces = [
        Some((SpaceId(1), Arc::clone(&here))),
        Some((SpaceId(2), there)),
        None,
        Some((SpaceId(1), here)),
    ];
    // Equal ends in equal and other spaces; a leaf that is a return address in the next stack.
    let chains: [&[u64]; 7] = [
        &[USER_MARKER, 0x1100, 0x1200, 0x1300],
        &[USER_MARKER, 0x1200, 0x1300],
        &[
            KERNEL_MARKER,
            0x77,
            USER_MARKER,
            0x9000,
            0x9000,
            0x1200,
            0x1300,
        ],
        &[USER_MARKER, 0x1150, 0x1200, 0x1300],
        &[USER_MARKER, 0x1150, 0x9000, 0x9000, 0x9000, 0x1300],
        &[0x1300],
        &[],
    ];
    let stacks: Vec<(u32, &[u64])> = chains
        .iter()
        .flat_map(|chain| (0..4).map(move |context| (context, *chain)))
        .collect();
    let mut expected: BTreeMap<(usize, Vec<Place>, bool), u64> = BTreeMap::new();
    for (context, chain) in &stacks {
        let (places, is_cut) = located(chain, &spaces[*context as usize], 6);
        let counted_in = *context as usize / 2 * 2;
        *expected.entry((counted_in, places, is_cut)).or_default() += 3;
    }
    let backwards: Vec<_> = stacks.iter().rev().copied().collect();
    let found = locate_stacks(&[&stacks, &backwards, &stacks], &spaces, 6);
    let mut counted: BTreeMap<(usize, Vec<Place>, bool), u64> = BTreeMap::new();
    for found in found {
        *counted
            .entry((found.context, found.places, found.is_cut))
            .or_default() += found.weight;
    }
    assert_eq!(counted, expected);
}

#[test]
fn what_was_unwound_says_itself_whether_its_root_is_missing() {
    let maps = table();
    let space = Some((SpaceId(3), maps));
    let whole = [USER_MARKER, 0x1100, 0x1200, 0x1300, WHOLE_MARKER];
    let cut = [USER_MARKER, 0x1100, 0x1200, 0x1300, CUT_MARKER];
    assert!(!located(&whole, &space, 3).1);
    assert!(located(&cut, &space, 127).1);
    assert_eq!(located(&whole, &space, 127).0, located(&cut, &space, 127).0);
    let found = locate_stacks(&[&[(0, &whole), (0, &cut), (0, &whole[..4])]], &[space], 3);
    let cuts: Vec<bool> = found.iter().map(|found| found.is_cut).collect();
    assert_eq!(cuts, [false, true, true]);
}

#[test]
fn one_program_at_many_addresses_needs_the_memory_of_one() {
    let tables: Vec<Arc<MapTable>> = (1..=50_u64)
        .map(|run| {
            let mut maps = MapTable::default();
            maps.insert(Mapping {
                start: run << 20,
                end: (run << 20) + 0x1000,
                file_offset: 0,
                backing: Backing::Image(ImageId(1)),
            });
            Arc::new(maps)
        })
        .collect();
    let contexts: Vec<_> = tables
        .iter()
        .zip(0..)
        .map(|(maps, number)| ContextPlace {
            counted_in: ContextId(0),
            space: Some((SpaceId(number), Arc::clone(maps))),
            words: Words::Recorded,
        })
        .collect();
    let mut table = StackTable::default();
    for run in 1..=50_u32 {
        let at = |offset: u64| (u64::from(run) << 20) + offset;
        for leaf in 0..10 {
            let words = [USER_MARKER, at(leaf), at(0x100)];
            let _ = table.push(ContextId(run - 1), words.into_iter(), |_| {}, 1);
        }
        table.count_batch(Some(0), |_, _| {});
    }
    let mut locator = Locator::default();
    locator.take(&mut table, &contexts);
    let locations = locator.finish();
    let stacks: Vec<_> = locations.parts.iter().flat_map(StackPart::stacks).collect();
    assert_eq!(stacks.len(), 10);
    assert!(stacks.iter().all(|stack| stack.weight == 50));
    assert_eq!(
        locations.places.len(),
        12,
        "with the one for what is unmapped"
    );
}
