//! Raw addresses become places: a byte of an image, of the kernel, of generated code. Each place is
//! kept once, however many stacks go through it.
//!
//! Equal code in two processes lies at different addresses (ASLR) and in one place: stacks are counted
//! again by their places, so that a program that runs a thousand times needs the memory of one run.
//!
//! Stacks of one context are located in a row: what was looked up last is still in the cache, and a
//! stack mostly begins, at its root, like the one before it.

use crate::chain::{CUT_MARKER, Part, WHOLE_MARKER, entries, is_marker, part_behind};
use crate::hash::FastMap;
use crate::image::ImageId;
use crate::jitdump::{CodeName, name_in};
use crate::kernel::{KsymbolId, ksymbol_in};
use crate::maps::{Backing, MapTable};
use crate::memory::MemoryId;
use crate::path_hash::{PathHash, PathSeed};
use crate::stack::{FrameId, StackHead, StackPart};
use crate::stacks::{ContextId, RawStack, StackTable};
use crate::tasks::SpaceId;
use hashbrown::HashTable;
use rayon::prelude::*;
use std::mem;

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A kernel address.
    Kernel(u64),
    /// Kernel code that came or went during the recording.
    KernelCode(KsymbolId),
    /// A file offset in an image.
    Image(ImageId, u64),
    /// An offset in the vdso.
    Vdso(u64),
    /// An address in code that its process generated, and into which memory.
    Generated(SpaceId, u64, MemoryId),
    /// A function that a process generated, as its jitdump calls it.
    Jitted(CodeName),
    /// No mapping covers it.
    Unmapped,
}

impl Place {
    /// Whether nothing is to be looked up for it.
    pub(crate) fn names_itself(&self) -> bool {
        matches!(self, Self::Unmapped | Self::Jitted(_) | Self::KernelCode(_))
    }
}

/// Index of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PlaceId(pub(crate) u32);

/// What locating needs to know of a context.
#[derive(Clone, Copy)]
pub(crate) struct ContextPlace<'a> {
    /// The context that its stacks are counted in: the first one of equal cgroup, thread name and
    /// view of files, whichever process it was.
    pub(crate) counted_in: ContextId,
    /// Its address space and the mappings of it, where it has one.
    pub(crate) space: SpaceOf<'a>,
    pub(crate) words: Words,
}

/// What the words of a context's stacks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// As they were recorded.
    Recorded,
    /// Those that led into generated functions are these functions (`jitdump`).
    Rewritten,
}

/// An address space and its mappings.
pub(crate) type SpaceOf<'a> = Option<(SpaceId, &'a MapTable)>;

/// All stacks as places.
pub(crate) struct Locations {
    /// Each place once.
    pub(crate) places: Vec<Place>,
    /// The stacks; a frame's id is its place's.
    pub(crate) parts: Vec<StackPart>,
}

/// Stacks that are fetched at once: they lie far apart, and the waits for memory overlap.
const FETCHED: usize = 32;
/// Shards for each thread: they are not of equal work.
const SHARDS_PER_THREAD: usize = 2;

/// Stacks as places, counted while more of them come.
#[derive(Default)]
pub(crate) struct Locator {
    /// A context's stacks are all in one of them.
    shards: Vec<Shard>,
}

impl Locator {
    /// Takes all stacks of the table. `contexts` tells of each context in the order of their ids.
    pub(crate) fn take(&mut self, stacks: &mut StackTable, contexts: &[ContextPlace<'_>]) {
        stacks.weigh();
        let stacks = &*stacks;
        if self.shards.is_empty() {
            let shards = SHARDS_PER_THREAD * rayon::current_num_threads();
            self.shards.resize_with(shards.max(1), Shard::default);
        }
        let grouped = grouped(stacks, contexts, self.shards.len());
        self.shards
            .par_iter_mut()
            .zip(grouped)
            .for_each(|(shard, group)| {
                shard.make_room(group.len() / 2);
                for few in group.chunks(FETCHED) {
                    stacks.fetch(few);
                    for at in few {
                        let (stack, words) = stacks.at(*at);
                        if let Some(context) = contexts.get(stack.context.0 as usize) {
                            shard.add(stack, words, context);
                        }
                    }
                }
                shard.forget_last();
            });
    }

    /// Whether an image is the place of a stack.
    pub(crate) fn images(&self) -> impl Iterator<Item = ImageId> {
        let places = self.shards.iter().flat_map(|shard| &shard.places);
        places.filter_map(|place| match place {
            Place::Image(image, _) => Some(*image),
            _ => None,
        })
    }

    /// One numbering for all shards, in their order.
    pub(crate) fn finish(self) -> Locations {
        let most = self.shards.iter().map(|shard| shard.places.len()).max();
        let mut places = Vec::with_capacity(most.unwrap_or(0));
        let mut ids: FastMap<Place, FrameId> = FastMap::default();
        ids.reserve(most.unwrap_or(0));
        let mut intern = |place: Place| {
            *ids.entry(place).or_insert_with(|| {
                places.push(place);
                FrameId(places.len() as u32 - 1)
            })
        };
        let ids_of = |shard: &Shard| shard.places.iter().copied().map(&mut intern).collect();
        let ids: Vec<Vec<FrameId>> = self.shards.iter().map(ids_of).collect();
        let parts = self.shards.into_par_iter().zip(ids).map(|(shard, ids)| {
            let mut stacks = shard.stacks;
            for slot in &shard.slots {
                stacks.weigh(slot.stack, slot.weight);
            }
            stacks.renumber(|id| ids.get(id.0 as usize).copied().unwrap_or(id));
            stacks
        });
        Locations {
            parts: parts.collect(),
            places,
        }
    }
}

/// For each shard where its stacks are in the table: those of one context in a row, in the order they
/// were first seen, and the contexts of one space.
fn grouped(stacks: &StackTable, contexts: &[ContextPlace<'_>], shards: usize) -> Vec<Vec<u32>> {
    let shard_of = |context: &ContextPlace<'_>| context.counted_in.0 as usize % shards;
    let mut counts = vec![0; contexts.len()];
    for (_, context) in stacks.order() {
        if let Some(count) = counts.get_mut(context.0 as usize) {
            *count += 1;
        }
    }
    let mut in_order: Vec<usize> = (0..contexts.len()).collect();
    in_order.retain(|context| counts.get(*context).is_some_and(|count| *count > 0));
    in_order.sort_by_key(|context| {
        let context = contexts.get(*context);
        context.map(|context| {
            let space = context.space.map(|(id, _)| id);
            (shard_of(context), space, context.counted_in)
        })
    });
    // In which shard, and where there, the next stack of each context goes.
    let mut next = vec![(0, 0); contexts.len()];
    let mut grouped = vec![Vec::new(); shards];
    let mut lens = vec![0; shards];
    for context in in_order {
        let shard = contexts.get(context).map_or(0, shard_of);
        let count = counts.get(context).copied().unwrap_or(0);
        if let (Some(next), Some(len)) = (next.get_mut(context), lens.get_mut(shard)) {
            *next = (shard, *len);
            *len += count;
        }
    }
    for (group, len) in grouped.iter_mut().zip(lens) {
        group.resize(len, 0);
    }
    for (at, context) in stacks.order() {
        if let Some((shard, next)) = next.get_mut(context.0 as usize) {
            let slot = grouped
                .get_mut(*shard)
                .and_then(|group| group.get_mut(*next));
            if let Some(slot) = slot {
                *slot = *at;
            }
            *next += 1;
        }
    }
    grouped
}

/// Room of a table that is used again for the next space.
const CLEARED_MAX: usize = 1 << 10;

/// What no mapping covers: every shard's first place.
const UNMAPPED: PlaceId = PlaceId(0);
/// No place: what lies before a stack's root.
const NOTHING: PlaceId = PlaceId(u32::MAX);

/// An entry of the stack that was located last.
#[derive(Clone, Copy)]
struct Step {
    id: PlaceId,
    /// How many frames there are up to it, from the root on.
    frames: u32,
    /// Of the context and the places up to it.
    hash: PathHash,
}

/// Where a located stack is counted, by a hash of its context and its places.
#[derive(Clone, Copy)]
struct Slot {
    place: u64,
    check: u32,
    /// Its number in the part.
    stack: u32,
    /// Kept here while more of it comes: what was found is in the cache.
    weight: u64,
}

/// Locates one stack after the other, each from where it differs from the one before.
struct Shard {
    places: Vec<Place>,
    place_ids: FastMap<Place, PlaceId>,
    stacks: StackPart,
    slots: HashTable<Slot>,
    seed: PathSeed,
    kernel: FastMap<u64, PlaceId>,
    /// Of `space`.
    user: FastMap<u64, PlaceId>,
    space: Option<SpaceId>,
    /// The stack before: its context, its words, its entries, root first.
    context: Option<ContextId>,
    words: Vec<u64>,
    steps: Vec<Step>,
    /// Of how many frames, at least, that stack and the last one in `stacks` begin alike.
    shared_with_kept: u32,
    /// The context of that one.
    kept_context: Option<ContextId>,
    /// Scratch: the new entries, leaf first.
    new: Vec<PlaceId>,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            places: vec![Place::Unmapped],
            place_ids: FastMap::default(),
            stacks: StackPart::default(),
            slots: HashTable::new(),
            seed: PathSeed::default(),
            kernel: FastMap::default(),
            user: FastMap::default(),
            space: None,
            context: None,
            words: Vec::new(),
            steps: Vec::new(),
            shared_with_kept: 0,
            kept_context: None,
            new: Vec::new(),
        }
    }
}

impl Shard {
    /// Room for stacks that are not yet known. Some of those that come are.
    fn make_room(&mut self, stacks: usize) {
        self.slots.reserve(stacks, |slot| slot.place);
        self.stacks.reserve(stacks);
    }

    /// Entries in a row that no mapping covers become one: code without frame pointers sends the
    /// kernel's walk through data, and how many words of it were read says nothing.
    fn add(&mut self, stack: RawStack, words: &[u64], context: &ContextPlace<'_>) {
        let space = context.space.map(|(id, _)| id);
        if space != self.space {
            self.space = space;
            // Clearing costs as much as the table has room for.
            if self.user.capacity() > CLEARED_MAX {
                self.user = FastMap::default();
            } else {
                self.user.clear();
            }
        }
        let (words, end) = without_end(words);
        let known = if self.context == Some(stack.context) {
            shared_entries(words, &self.words)
        } else {
            0
        };
        let mut new = mem::take(&mut self.new);
        new.clear();
        let leaf_side = words.get(..words.len() - known).unwrap_or_default();
        for (part, addr) in entries(leaf_side.iter().copied()) {
            new.push(self.place(part, addr, context));
        }
        self.steps.truncate(known);
        let root = Step {
            id: NOTHING,
            frames: 0,
            hash: self
                .seed
                .then(self.seed.root(), u64::from(context.counted_in.0)),
        };
        let mut last = self.steps.last().copied().unwrap_or(root);
        let frames_known = last.frames;
        for id in new.iter().rev() {
            // What has no frame of its own changes no hash.
            if !(*id == UNMAPPED && last.id == UNMAPPED) {
                last.frames += 1;
                last.hash = self.seed.then(last.hash, u64::from(id.0));
            }
            last.id = *id;
            self.steps.push(last);
        }
        self.new = new;
        self.shared_with_kept = self.shared_with_kept.min(frames_known);
        // A walk that ended in data did not miss the root by the limit.
        let root_is_code = self.steps.first().is_some_and(|step| step.id != UNMAPPED);
        let entries = match end {
            Some(CUT_MARKER) => u32::MAX,
            None if root_is_code => self.steps.len() as u32,
            _ => 0,
        };
        self.count(context.counted_in, entries, last.hash, stack.weight);
        self.context = Some(stack.context);
        self.words.clear();
        self.words.extend_from_slice(words);
    }

    /// Counts the stack of `self.steps`, which `path` is the hash of.
    fn count(&mut self, context: ContextId, entries: u32, path: PathHash, weight: u64) {
        let hash = self.seed.then(path, u64::from(entries));
        let is_it = |slot: &Slot| slot.place == hash.place() && slot.check == hash.check();
        if let Some(slot) = self.slots.find_mut(hash.place(), is_it) {
            slot.weight = slot.weight.saturating_add(weight);
            return;
        }
        let shared = if self.kept_context == Some(context) {
            self.shared_with_kept
        } else {
            0
        };
        let mut before = shared;
        let from = self.steps.partition_point(|step| step.frames <= shared);
        let frames = self.steps.iter().skip(from).filter(|step| {
            let is_frame = step.frames > before;
            before = step.frames;
            is_frame
        });
        let frames = frames.map(|step| FrameId(step.id.0));
        let head = StackHead {
            context: context.0,
            shared,
            entries,
            weight: 0,
        };
        let slot = Slot {
            place: hash.place(),
            check: hash.check(),
            stack: self.stacks.push(head, frames),
            weight,
        };
        self.slots
            .insert_unique(slot.place, slot, |slot| slot.place);
        self.kept_context = Some(context);
        self.shared_with_kept = before;
    }

    /// The mappings may be others when the next stacks come.
    fn forget_last(&mut self) {
        self.context = None;
        self.space = None;
        self.user = FastMap::default();
        self.shared_with_kept = 0;
    }

    fn place(&mut self, part: Part, addr: u64, context: &ContextPlace<'_>) -> PlaceId {
        let Self {
            places,
            place_ids,
            kernel,
            user,
            ..
        } = self;
        let (known, find): (_, &dyn Fn() -> Place) = match (part, context.space) {
            (Part::Kernel, _) => (kernel, &|| match ksymbol_in(addr) {
                Some(code) => Place::KernelCode(code),
                None => Place::Kernel(addr),
            }),
            (Part::User, Some((id, maps))) if context.words == Words::Rewritten => {
                (user, &move || match name_in(addr) {
                    Some(name) => Place::Jitted(name),
                    None => place_in(id, maps, addr),
                })
            }
            (Part::User, Some((id, maps))) => (user, &move || place_in(id, maps, addr)),
            _ => return UNMAPPED,
        };
        *known.entry(addr).or_insert_with(|| match find() {
            Place::Unmapped => UNMAPPED,
            place => *place_ids.entry(place).or_insert_with(|| {
                places.push(place);
                PlaceId(places.len() as u32 - 1)
            }),
        })
    }
}

/// A chain without the marker that says how the unwinding of its user part ended.
fn without_end(words: &[u64]) -> (&[u64], Option<u64>) {
    match words {
        [words @ .., end @ (CUT_MARKER | WHOLE_MARKER)] => (words, Some(*end)),
        words => (words, None),
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

fn place_in(space: SpaceId, maps: &MapTable, addr: u64) -> Place {
    match maps.find(addr) {
        Some((mapping, offset)) => match mapping.backing {
            Backing::Image(image) => Place::Image(image, offset),
            Backing::Vdso => Place::Vdso(offset),
            Backing::Generated(memory) => Place::Generated(space, addr, memory),
        },
        None => Place::Unmapped,
    }
}

#[cfg(test)]
#[path = "locate_tests.rs"]
mod tests;
