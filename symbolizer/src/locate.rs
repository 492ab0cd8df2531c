//! Raw addresses become places: a byte of an image, of the kernel, of generated code. Each place is
//! kept once, however many stacks go through it.
//!
//! Stacks of one context are located in a row: what was looked up last is still in the cache, and a
//! stack mostly begins, at its root, like the one before it.

use crate::chain::{Part, entries, is_marker, part_behind};
use crate::hash::FastMap;
use crate::image::ImageId;
use crate::maps::{Backing, MapTable};
use crate::stack::{FrameId, StackPart};
use crate::stacks::{ContextId, RawStack, StackTable};
use crate::tasks::SpaceId;
use rayon::prelude::*;

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A kernel address.
    Kernel(u64),
    /// A file offset in an image.
    Image(ImageId, u64),
    /// An offset in the vdso.
    Vdso(u64),
    /// An address in code that its process generated.
    Generated(SpaceId, u64),
    /// No mapping covers it.
    Unmapped,
}

/// Index of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PlaceId(pub(crate) u32);

/// A context's address space and its mappings, where it has one.
type SpaceOf<'a> = Option<(SpaceId, &'a MapTable)>;

/// All stacks as places.
pub(crate) struct Locations {
    /// Each place once.
    pub(crate) places: Vec<Place>,
    /// The stacks; a frame's id is its place's.
    pub(crate) parts: Vec<StackPart>,
}

impl Locations {
    /// The frame at the root of stacks that were cut there: one after the places.
    pub(crate) fn cut(&self) -> FrameId {
        cut_after(&self.places)
    }
}

fn cut_after(places: &[Place]) -> FrameId {
    FrameId(places.len() as u32)
}

/// Stacks that are fetched at once: they lie far apart, and the waits for memory overlap.
const FETCHED: usize = 32;
/// Parts for each thread: they are not of equal work.
const PARTS_PER_THREAD: usize = 2;

/// The places of all stacks. `contexts` tells of each context in the order of their ids.
///
/// `max_stack`: the kernel stops there, on the root's side (`get_perf_callchain()`,
/// kernel/events/callchain.c; markers are not counted).
pub(crate) fn locate(stacks: &StackTable, contexts: &[SpaceOf<'_>], max_stack: usize) -> Locations {
    let grouped = by_context(stacks, contexts);
    let part_len = grouped
        .len()
        .div_ceil(PARTS_PER_THREAD * rayon::current_num_threads())
        .max(1);
    let located: Vec<LocatedPart> = grouped
        .par_chunks(part_len)
        .map(|chunk| {
            let mut part = PartLocator::default();
            for few in chunk.chunks(FETCHED) {
                stacks.fetch(few);
                for at in few {
                    let (stack, words) = stacks.at(*at);
                    let space = contexts.get(stack.context.0 as usize).copied().flatten();
                    part.push(stack, words, space, max_stack);
                }
            }
            part.finish()
        })
        .collect();
    merge(located)
}

/// Where the stacks are in the table: those of one context in a row, in the order they were first
/// seen, and the contexts of one space.
fn by_context(stacks: &StackTable, contexts: &[SpaceOf<'_>]) -> Vec<usize> {
    let mut in_order: Vec<usize> = (0..contexts.len()).collect();
    in_order.sort_by_key(|context| {
        let space = contexts.get(*context).copied().flatten();
        space.map(|(id, _)| id)
    });
    let mut counts = vec![0; contexts.len()];
    for (_, context) in stacks.order() {
        if let Some(count) = counts.get_mut(context.0 as usize) {
            *count += 1;
        }
    }
    // Where the next stack of each context goes.
    let mut next = vec![0; contexts.len()];
    let mut sum = 0;
    for context in in_order {
        if let (Some(next), Some(count)) = (next.get_mut(context), counts.get(context)) {
            *next = sum;
            sum += count;
        }
    }
    let mut grouped = vec![0; stacks.order().len()];
    for (at, context) in stacks.order() {
        if let Some(next) = next.get_mut(context.0 as usize) {
            if let Some(slot) = grouped.get_mut(*next) {
                *slot = *at;
            }
            *next += 1;
        }
    }
    grouped
}

/// A part's stacks by its own numbers of places.
struct LocatedPart {
    places: Vec<Place>,
    stacks: StackPart,
}

/// Stands in a part for the frame that marks a cut.
const CUT: FrameId = FrameId(u32::MAX);
/// What no mapping covers: every part's first place.
const UNMAPPED: PlaceId = PlaceId(0);
/// No place: what lies before a stack's root.
const NOTHING: PlaceId = PlaceId(u32::MAX);

/// Locates one stack after the other, each from where it differs from the one before.
struct PartLocator<'a> {
    places: Vec<Place>,
    stacks: StackPart,
    kernel: FastMap<u64, PlaceId>,
    /// Of `space`.
    user: FastMap<u64, PlaceId>,
    space: Option<SpaceId>,
    /// The stack before.
    context: Option<ContextId>,
    words: &'a [u64],
    is_cut: bool,
    /// Its entries, root first, each with the number of frames up to it.
    ids: Vec<(PlaceId, u32)>,
    /// Scratch: the new entries, leaf first.
    new: Vec<PlaceId>,
}

impl Default for PartLocator<'_> {
    fn default() -> Self {
        Self {
            places: vec![Place::Unmapped],
            stacks: StackPart::default(),
            kernel: FastMap::default(),
            user: FastMap::default(),
            space: None,
            context: None,
            words: &[],
            is_cut: false,
            ids: Vec::new(),
            new: Vec::new(),
        }
    }
}

impl<'a> PartLocator<'a> {
    /// Entries in a row that no mapping covers become one: code without frame pointers sends the
    /// kernel's walk through data, and how many words of it were read says nothing.
    fn push(&mut self, stack: RawStack, words: &'a [u64], space: SpaceOf<'_>, max_stack: usize) {
        let id = space.map(|(id, _)| id);
        if id != self.space {
            self.space = id;
            self.user.clear();
        }
        let known = if self.context == Some(stack.context) {
            shared_entries(words, self.words)
        } else {
            0
        };
        let mut new = std::mem::take(&mut self.new);
        new.clear();
        let leaf_side = words.get(..words.len() - known).unwrap_or_default();
        for (part, addr) in entries(leaf_side.iter().copied()) {
            new.push(self.place(part, addr, space));
        }
        self.ids.truncate(known);
        let (mut last, frames_known) = self.ids.last().copied().unwrap_or((NOTHING, 0));
        let mut frames = frames_known;
        for id in new.iter().rev() {
            frames += u32::from(!(*id == UNMAPPED && last == UNMAPPED));
            last = *id;
            self.ids.push((last, frames));
        }
        self.new = new;
        // A walk that ended in data did not miss the root by the limit.
        let root_is_code = self.ids.first().is_some_and(|(id, _)| *id != UNMAPPED);
        let is_cut = self.ids.len() >= max_stack && root_is_code;
        let (shared, cut) = if self.is_cut == is_cut && known > 0 {
            (frames_known + u32::from(is_cut), None)
        } else {
            (0, is_cut.then_some(CUT))
        };
        let from = if shared > 0 { known } else { 0 };
        let mut before = if shared > 0 { frames_known } else { 0 };
        let frames = self.ids.iter().skip(from).filter(|(_, frames)| {
            let is_frame = *frames > before;
            before = *frames;
            is_frame
        });
        let frames = frames.map(|(id, _)| FrameId(id.0));
        self.stacks.push(
            stack.context.0,
            shared as usize,
            cut.into_iter().chain(frames),
            stack.weight,
        );
        (self.context, self.words, self.is_cut) = (Some(stack.context), words, is_cut);
    }

    fn place(&mut self, part: Part, addr: u64, space: SpaceOf<'_>) -> PlaceId {
        let Self {
            places,
            kernel,
            user,
            ..
        } = self;
        let (known, find): (_, &dyn Fn() -> Place) = match (part, space) {
            (Part::Kernel, _) => (kernel, &|| Place::Kernel(addr)),
            (Part::User, Some((id, maps))) => (user, &move || place_in(id, maps, addr)),
            _ => return UNMAPPED,
        };
        *known.entry(addr).or_insert_with(|| match find() {
            Place::Unmapped => UNMAPPED,
            place => {
                places.push(place);
                PlaceId(places.len() as u32 - 1)
            }
        })
    }

    fn finish(self) -> LocatedPart {
        LocatedPart {
            places: self.places,
            stacks: self.stacks,
        }
    }
}

/// How many words at the root's side, none of them a marker, lead to the same entries in both.
fn shared_entries(words: &[u64], before: &[u64]) -> usize {
    let pairs = words.iter().rev().zip(before.iter().rev());
    let equal = pairs.take_while(|(a, b)| a == b && !is_marker(**a)).count();
    let at = |words: &[u64]| {
        words
            .len()
            .checked_sub(equal + 1)
            .and_then(|at| words.get(at).copied())
    };
    if equal == 0 || (at(words).is_some_and(is_marker) && at(words) == at(before)) {
        return equal;
    }
    // Its first may be a leaf in the one and a return address in the other; and what comes before
    // must put both into the same part.
    let leaf_side =
        |words: &[u64]| part_behind(words.get(..words.len() - equal).unwrap_or_default());
    if leaf_side(words) == leaf_side(before) {
        equal - 1
    } else {
        0
    }
}

/// One numbering for all parts, in their order.
fn merge(located: Vec<LocatedPart>) -> Locations {
    let mut places = Vec::new();
    let mut ids: FastMap<Place, FrameId> = FastMap::default();
    let mut intern = |place: Place| {
        *ids.entry(place).or_insert_with(|| {
            places.push(place);
            FrameId(places.len() as u32 - 1)
        })
    };
    let renumbered: Vec<(StackPart, Vec<FrameId>)> = located
        .into_iter()
        .map(|part| {
            let ids = part.places.into_iter().map(&mut intern).collect();
            (part.stacks, ids)
        })
        .collect();
    let cut = cut_after(&places);
    let parts = renumbered
        .into_par_iter()
        .map(|(mut stacks, ids)| {
            stacks.renumber(|id| ids.get(id.0 as usize).copied().unwrap_or(cut));
            stacks
        })
        .collect();
    Locations { places, parts }
}

fn place_in(space: SpaceId, maps: &MapTable, addr: u64) -> Place {
    match maps.find(addr) {
        Some((mapping, offset)) => match mapping.backing {
            Backing::Image(image) => Place::Image(image, offset),
            Backing::Vdso => Place::Vdso(offset),
            Backing::Generated => Place::Generated(space, addr),
        },
        None => Place::Unmapped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{KERNEL_MARKER, USER_MARKER};
    use crate::maps::Mapping;
    use profiler::record::Chain;

    /// Root first; `None` for the mark of a cut.
    fn located(words: &[u64], space: SpaceOf<'_>, max_stack: usize) -> Vec<Option<Place>> {
        let all = locate_stacks(&[(0, words)], &[space], max_stack);
        let [stack] = &all[..] else {
            panic!("one stack became {}", all.len())
        };
        stack.clone()
    }

    fn locate_stacks(
        stacks: &[(u32, &[u64])],
        contexts: &[SpaceOf<'_>],
        max_stack: usize,
    ) -> Vec<Vec<Option<Place>>> {
        let mut table = StackTable::default();
        for (context, words) in stacks {
            let words: Vec<_> = words.iter().map(|word| word.to_ne_bytes()).collect();
            let _ = table.push(ContextId(*context), Chain { words: &words }, 1);
            table.count_batch(|_, _| {});
        }
        let locations = locate(&table, contexts, max_stack);
        let stacks = locations.parts.iter().flat_map(StackPart::stacks);
        let mut last = Vec::new();
        stacks
            .map(|stack| {
                last.truncate(stack.shared);
                last.extend_from_slice(stack.frames);
                let places = last.iter();
                places
                    .map(|id| locations.places.get(id.0 as usize).copied())
                    .collect()
            })
            .collect()
    }

    fn table() -> MapTable {
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
            backing: Backing::Generated,
        });
        maps.insert(Mapping {
            start: 0x7000,
            end: 0x8000,
            file_offset: 0,
            backing: Backing::Vdso,
        });
        maps
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
            Place::Generated(SpaceId(3), 0x5000),
            Place::Image(ImageId(1), 0x13ff),
            Place::Image(ImageId(1), 0x500),
            Place::Kernel(0xffff_0fff),
            Place::Kernel(0xffff_0000),
        ];
        let maps = table();
        let found = located(&chain, Some((SpaceId(3), &maps)), 127);
        assert_eq!(found, expected.map(Some));
    }

    #[test]
    fn a_guests_part_is_not_looked_up_in_our_tables() {
        let guest = -2048_i64 as u64;
        let maps = table();
        assert_eq!(
            located(
                &[guest, 0x1100, USER_MARKER, 0x1100],
                Some((SpaceId(3), &maps)),
                127
            ),
            [Some(Place::Image(ImageId(1), 0x500)), Some(Place::Unmapped)]
        );
    }

    #[test]
    fn a_stack_without_a_space_keeps_its_frames() {
        let chain = [KERNEL_MARKER, 0xffff_0000, USER_MARKER, 0x1000];
        assert_eq!(
            located(&chain, None, 127),
            [Some(Place::Unmapped), Some(Place::Kernel(0xffff_0000))]
        );
    }

    #[test]
    fn a_walk_through_data_is_one_frame_and_no_cut_stack() {
        let maps = table();
        let space = Some((SpaceId(3), &maps));
        let len_and_cut = |words: &[u64]| {
            let found = located(words, space, 4);
            (found.len(), found.contains(&None))
        };
        assert_eq!(
            len_and_cut(&[USER_MARKER, 0x1100, 0x11, 0x12, 0x13]),
            (2, false)
        );
        assert_eq!(
            len_and_cut(&[USER_MARKER, 0x1100, 0x11, 0x1200, 0x1300]),
            (5, true)
        );
        assert_eq!(
            len_and_cut(&[USER_MARKER, 0x1100, 0x1200, 0x1300]),
            (3, false)
        );
    }

    #[test]
    fn what_is_taken_over_from_the_stack_before_is_what_would_have_been_found() {
        let (here, mut there) = (table(), table());
        there.insert(Mapping {
            start: 0x1000,
            end: 0x2000,
            file_offset: 0x8000,
            backing: Backing::Image(ImageId(2)),
        });
        let contexts = [
            Some((SpaceId(1), &here)),
            Some((SpaceId(2), &there)),
            None,
            Some((SpaceId(1), &here)),
        ];
        // Equal ends in equal and other spaces; a leaf that is a return address in the next stack.
        let chains: [&[u64]; 6] = [
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
            &[0x1300],
            &[],
        ];
        let mut expected = Vec::new();
        let mut stacks = Vec::new();
        for chain in chains {
            for context in 0..4 {
                stacks.push((context, chain));
            }
        }
        for (context, chain) in &stacks {
            expected.push(located(chain, contexts[*context as usize], 127));
        }
        let mut found = locate_stacks(&stacks, &contexts, 127);
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}
