//! Raw addresses become places: a byte of an image, of the kernel, of generated code. Each place is
//! kept once, however many stacks go through it.
//!
//! Equal code in two processes lies at different addresses (ASLR) and in one place: stacks are counted
//! again by their places, so that a program that runs a thousand times needs the memory of one run.
//!
//! Stacks of one context are located in a row: what was looked up last is still in the cache, and a
//! stack mostly begins, at its root, like the one before it.

mod ahead;
mod near;
mod places;
mod shard;

pub(crate) use ahead::Ahead;

use crate::image::ImageId;
use crate::jitdump::CodeName;
use crate::kernel::KsymbolId;
use crate::maps::MapTable;
use crate::memory::MemoryId;
use crate::stack::{FrameId, StackPart};
use crate::stacks::{ContextId, StackTable};
use crate::tasks::SpaceId;
use places::Places;
use rayon::prelude::*;
use shard::Shard;
use std::sync::Arc;

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
#[derive(Clone)]
pub(crate) struct ContextPlace {
    /// The context that its stacks are counted in: the first one of equal cgroup, thread name and
    /// view of files, whichever process it was.
    pub(crate) counted_in: ContextId,
    /// Its address space and the mappings of it, where it has one.
    pub(crate) space: SpaceOf,
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
pub(crate) type SpaceOf = Option<(SpaceId, Arc<MapTable>)>;

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
    pub(crate) fn take(&mut self, stacks: &mut StackTable, contexts: &[ContextPlace]) {
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
                            shard.locate(stack, words, context);
                        }
                    }
                    shard.count_located();
                }
                shard.forget_last();
            });
    }

    /// Whether an image is the place of a stack.
    pub(crate) fn images(&self) -> impl Iterator<Item = ImageId> {
        let places = self.shards.iter().flat_map(|shard| shard.places.all());
        places.filter_map(|place| match place {
            Place::Image(image, _) => Some(*image),
            _ => None,
        })
    }

    /// One numbering for all shards, in their order.
    pub(crate) fn finish(self) -> Locations {
        let mut places = Places::default();
        let of_shards = self.shards.iter().map(|shard| shard.places.all());
        places.reserve(of_shards.clone().map(<[_]>::len).max().unwrap_or(0));
        let ids_of = |of_shard: &[Place]| {
            let ids = of_shard.iter().map(|place| places.intern(*place));
            ids.map(|id| FrameId(id.0)).collect()
        };
        let ids: Vec<Vec<FrameId>> = of_shards.map(ids_of).collect();
        let parts = self.shards.into_par_iter().zip(ids).map(|(shard, ids)| {
            let mut stacks = shard.into_stacks();
            stacks.renumber(|id| ids.get(id.0 as usize).copied().unwrap_or(id));
            stacks
        });
        Locations {
            parts: parts.collect(),
            places: places.into_all(),
        }
    }
}

/// For each shard where its stacks are in the table: those of one context in a row, in the order they
/// were first seen, and the contexts of one space.
fn grouped(stacks: &StackTable, contexts: &[ContextPlace], shards: usize) -> Vec<Vec<u32>> {
    let shard_of = |context: &ContextPlace| context.counted_in.0 as usize % shards;
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
            let space = context.space.as_ref().map(|(id, _)| *id);
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

#[cfg(test)]
mod tests;
