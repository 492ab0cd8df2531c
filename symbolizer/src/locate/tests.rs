//! Locating by address: what is one place, what is cut, what one stack takes over from another.

use super::*;
use crate::chain::{CUT_MARKER, KERNEL_MARKER, USER_MARKER, WHOLE_MARKER};
use crate::context::ContextId;
use crate::maps::{Backing, MapTable, Mapping};
use crate::stacks::{Belongs, SpaceNow};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The address space of a context, if it has one, and how often a gap of it was filled.
type Space = Option<(SpaceId, Arc<MapTable>, u32)>;

/// A stack with its places, root first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    context: usize,
    is_cut: bool,
    places: Vec<Place>,
    weight: u64,
}

/// The context of a number is counted in that of its half.
fn batch(stacks: &[(u32, &[u64])], spaces: &[Space]) -> NewStacks {
    let mut new = NewStacks::default();
    for (context, words) in stacks {
        let space = &spaces[*context as usize];
        if let Some((id, maps, filled)) = space {
            new.spaces.push(SpaceNow {
                id: *id,
                maps: Arc::clone(maps),
                filled: *filled,
            });
        }
        let belongs = Belongs {
            counted_in: ContextId(context / 2 * 2),
            sampled: Sampled {
                space: space.as_ref().map(|(id, ..)| *id),
                words: Words::Recorded,
            },
        };
        new.push(ContextId(*context), belongs, words);
    }
    new
}

/// All that a locator has, each stack that it took weighed once.
fn found(mut locator: Locator, max_stack: u32, parts: usize) -> Vec<Found> {
    let weighed = (0..locator.ids.len() as u32).map(|number| (number, 1));
    locator.weigh(&weighed.collect());
    let Locations { places, stacks } = locator.finish();
    let mut all = Vec::new();
    for mut part in stacks.into_parts(parts) {
        part.cut_at = max_stack;
        let mut frames = Vec::new();
        let mut context = None;
        for stack in part.stacks() {
            assert!(stack.shared == 0 || context == Some(stack.context));
            context = Some(stack.context);
            frames.truncate(stack.shared);
            frames.extend_from_slice(stack.frames);
            let places = frames.iter().map(|id| places[id.0 as usize]);
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

fn located(words: &[u64], space: &Space, max_stack: u32) -> (Vec<Place>, bool) {
    let mut locator = Locator::default();
    locator.take(&mut batch(&[(0, words)], std::slice::from_ref(space)));
    let all = found(locator, max_stack, 1);
    let [found] = &all[..] else {
        panic!("one stack became {}", all.len())
    };
    (found.places.clone(), found.is_cut)
}

fn mapping(start: u64, file_offset: u64, backing: Backing) -> Mapping {
    Mapping {
        start,
        end: start + 0x1000,
        file_offset,
        backing,
    }
}

fn table() -> MapTable {
    let mut maps = MapTable::default();
    maps.insert(mapping(0x1000, 0x400, Backing::Image(ImageId(1))));
    maps.insert(mapping(0x5000, 0, Backing::Generated(MemoryId::ANONYMOUS)));
    maps.insert(mapping(0x7000, 0, Backing::Vdso));
    maps
}

fn space() -> Space {
    Some((SpaceId(3), table().into(), 0))
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
    assert_eq!(located(&chain, &space(), 127), (expected.to_vec(), false));
}

#[test]
fn a_guests_part_is_not_looked_up_in_our_tables() {
    let guest = -2048_i64 as u64;
    assert_eq!(
        located(&[guest, 0x1100, USER_MARKER, 0x1100], &space(), 127),
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
    let len_and_cut = |words: &[u64]| {
        let (found, is_cut) = located(words, &space(), 4);
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
    // Across blocks too.
    let mut long = vec![USER_MARKER, 0x1100];
    long.extend((0..100).map(|word| word + 0x11));
    assert_eq!(len_and_cut(&long), (2, false));
    long.push(0x1100);
    assert_eq!(len_and_cut(&long), (3, true));
}

#[test]
fn what_is_taken_over_from_another_stack_is_what_would_have_been_found() {
    let mut there = table();
    there.insert(mapping(0x1000, 0x8000, Backing::Image(ImageId(2))));
    let spaces = [
        Some((SpaceId(1), Arc::new(table()), 0)),
        Some((SpaceId(2), Arc::new(there), 0)),
        None,
        Some((SpaceId(1), Arc::new(table()), 0)),
    ];
    // Ends that are equal, from all depths; leaves that are return addresses in others; garbage in many places.
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let word = |of: u64| match of {
        0 => 0x9000,
        1 => 0x5008,
        2 => 0x7010,
        other => 0x1000 + 8 * other,
    };
    let mut chains: Vec<Vec<u64>> = vec![vec![], vec![USER_MARKER], vec![0x1300]];
    for _ in 0..400 {
        let from = chains[random(chains.len() as u64) as usize].clone();
        let kept = from.len() as u64 - random(from.len().min(12) as u64 + 1);
        let root_side = from[from.len() - kept as usize..].to_vec();
        let len = random(12);
        let mut chain: Vec<u64> = (0..len).map(|_| word(random(9))).collect();
        if random(4) == 0 {
            chain.insert(0, KERNEL_MARKER);
        }
        if !chain.is_empty() && random(4) == 0 {
            let at = random(chain.len() as u64) as usize;
            chain.insert(at, USER_MARKER);
        }
        chain.extend(root_side);
        chains.push(chain);
    }
    let all: Vec<(u32, &[u64])> = chains
        .iter()
        .flat_map(|chain| (0..4).map(move |context| (context, &chain[..])))
        .collect();
    let mut expected: BTreeMap<(usize, Vec<Place>, bool), u64> = BTreeMap::new();
    for (context, chain) in &all {
        let (places, is_cut) = located(chain, &spaces[*context as usize], 12);
        let counted_in = *context as usize / 2 * 2;
        *expected.entry((counted_in, places, is_cut)).or_default() += 2;
    }
    for parts in [1, 3, 1000] {
        let mut locator = Locator::default();
        locator.take(&mut batch(&all, &spaces));
        let backwards: Vec<_> = all.iter().rev().copied().collect();
        for some in backwards.chunks(100) {
            locator.take(&mut batch(some, &spaces));
        }
        let mut counted: BTreeMap<(usize, Vec<Place>, bool), u64> = BTreeMap::new();
        for found in found(locator, 12, parts) {
            let weight = counted
                .entry((found.context, found.places, found.is_cut))
                .or_default();
            // Stacks that no limit cut differ in nothing, whatever they were cut by.
            *weight += found.weight;
        }
        assert_eq!(counted, expected);
    }
}

#[test]
fn stacks_that_begin_alike_are_handed_on_in_a_row() {
    let chains: Vec<Vec<u64>> = (0..64)
        .map(|number| {
            // A tree of two branches at each of six depths; leaf first, each frame of its depth.
            let branch = |depth: u64| 0x1000 + 16 * (2 * depth + (number >> depth & 1));
            let deep = (0..40).map(|frame| 0x1200 + 8 * frame);
            (0..6).rev().map(branch).chain(deep).collect()
        })
        .collect();
    let mut locator = Locator::default();
    for chain in &chains {
        locator.take(&mut batch(&[(0, chain)], &[space()]));
    }
    let ids = locator.ids.len() as u32;
    locator.weigh(&(0..ids).map(|number| (number, 1)).collect());
    let parts = locator.finish().stacks.into_parts(1);
    let kept: usize = parts[0].stacks().map(|stack| stack.frames.len()).sum();
    assert_eq!(parts[0].stacks().len(), 64);
    // 40 frames once, and of each stack at most a block.
    assert!(kept <= 40 + 64 * 8, "{kept}");
}

#[test]
fn what_was_unwound_says_itself_whether_its_root_is_missing() {
    let whole = [USER_MARKER, 0x1100, 0x1200, 0x1300, WHOLE_MARKER];
    let cut = [USER_MARKER, 0x1100, 0x1200, 0x1300, CUT_MARKER];
    assert!(!located(&whole, &space(), 3).1);
    assert!(located(&cut, &space(), 127).1);
    assert_eq!(
        located(&whole, &space(), 127).0,
        located(&cut, &space(), 127).0
    );
    let mut locator = Locator::default();
    let stacks: [(u32, &[u64]); 3] = [(0, &whole), (0, &cut), (0, &whole[..4])];
    locator.take(&mut batch(&stacks, &[space()]));
    let cuts: Vec<bool> = found(locator, 3, 1).iter().map(|it| it.is_cut).collect();
    assert_eq!(cuts, [false, true, true]);
}

#[test]
fn one_program_at_many_addresses_needs_the_memory_of_one() {
    let mut locator = Locator::default();
    for run in 1..=50_u64 {
        let mut maps = MapTable::default();
        maps.insert(mapping(run << 20, 0, Backing::Image(ImageId(1))));
        let space = Some((SpaceId(run as u32), Arc::new(maps), 0));
        let at = |offset: u64| (run << 20) + offset;
        for leaf in 0..10 {
            let words = [USER_MARKER, at(leaf), at(0x100)];
            let mut new = NewStacks::default();
            let (id, maps, filled) = space.clone().expect("there is one");
            new.spaces.push(SpaceNow { id, maps, filled });
            let belongs = Belongs {
                counted_in: ContextId(0),
                sampled: Sampled {
                    space: Some(id),
                    words: Words::Recorded,
                },
            };
            new.push(ContextId(run as u32), belongs, &words);
            locator.take(&mut new);
        }
    }
    let ids = locator.ids.len() as u32;
    locator.weigh(&(0..ids).map(|number| (number, 1)).collect());
    let Locations { places, stacks } = locator.finish();
    let parts = stacks.into_parts(1);
    let stacks: Vec<_> = parts.iter().flat_map(StackPart::stacks).collect();
    assert_eq!(stacks.len(), 10);
    assert!(stacks.iter().all(|stack| stack.weight == 50));
    assert_eq!(places.len(), 12, "with the one for what is unmapped");
}

#[test]
fn what_stacks_led_to_is_told_once_and_again_when_it_was_forgotten() {
    let spaces = [space()];
    let chain = [USER_MARKER, 0x1100, 0x1200, 0x9000, 0x9000, 0x5001];
    let mut locator = Locator::default();
    let told = |locator: &mut Locator| {
        let mut new = batch(&[(0, &chain)], &spaces);
        locator.take(&mut new);
        let mappings = new.used.mappings.iter().map(|(_, mapping)| mapping.start);
        let gaps = new.used.gaps.iter().map(|(_, addr)| *addr);
        (mappings.collect::<Vec<_>>(), gaps.collect::<Vec<_>>())
    };
    assert_eq!(
        told(&mut locator),
        (vec![0x5000, 0x1000], vec![0x8fff]),
        "from the root on"
    );
    assert_eq!(told(&mut locator), (vec![], vec![]));
}

#[test]
fn a_gap_that_is_filled_is_looked_at_again() {
    let mut maps = table();
    let before = Some((SpaceId(3), Arc::new(maps.clone()), 0));
    maps.insert(mapping(0x9000, 0, Backing::Image(ImageId(4))));
    let after = Some((SpaceId(3), Arc::new(maps), 1));
    let chain: [u64; 3] = [USER_MARKER, 0x9010, 0x1100];
    let mut locator = Locator::default();
    // What is filled has another context, counted in the same one.
    let spaces = [before, after];
    locator.take(&mut batch(&[(0, &chain)], &spaces));
    locator.take(&mut batch(&[(1, &chain)], &spaces));
    let leaves: Vec<Place> = found(locator, 127, 1)
        .iter()
        .map(|found| found.places[1])
        .collect();
    let expected = [Place::Image(ImageId(4), 0x10), Place::Unmapped];
    assert_eq!(leaves, expected);
}
