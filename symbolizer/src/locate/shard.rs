//! One shard of the stacks: each is located from where it differs from the one before, and counted.

use super::near::Near;
use super::places::{Places, UNMAPPED};
use super::{ContextPlace, Place, PlaceId, Words};
use crate::chain::{CUT_MARKER, Part, looked_up_at, parts_from_root};
use crate::hash::FastMap;
use crate::jitdump::name_in;
use crate::kernel::ksymbol_in;
use crate::maps::{Backing, Mapping};
use crate::path_hash::{PathHash, PathSeed};
use crate::stack::{FrameId, StackHead, StackPart};
use crate::stacks::{ContextId, RawStack};
use crate::tasks::SpaceId;
use crate::weights::Weights;
use std::mem;

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

/// A stack that was located and is to be counted.
#[derive(Clone, Copy)]
struct Located {
    hash: PathHash,
    /// That it is counted in.
    context: ContextId,
    entries: u32,
    /// Frames, from the root on, that it shares with the one located before it, and those it has besides.
    shared: u32,
    new: u32,
    weight: u64,
}

/// Stacks in the order they were located, counted by their places.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) places: Places,
    stacks: StackPart,
    /// Of the context and the places of each; where it is: its number in `stacks`.
    weights: Weights,
    seed: PathSeed,
    kernel: FastMap<u64, PlaceId>,
    near_kernel: Near<4096>,
    /// Of `space`; what is forgotten is looked up in its mappings again.
    near_user: Near<8192>,
    space: Option<SpaceId>,
    /// The mapping in it that was looked up last: the next address is mostly in it.
    near_mapping: Option<Mapping>,
    /// Entries of the stack before, root first.
    steps: Vec<Step>,
    /// Those that wait for being counted, and the frames that are new in each.
    located: Vec<Located>,
    located_frames: Vec<FrameId>,
    /// Frames of the stack that was counted last.
    counted: Vec<FrameId>,
    /// Of how many frames, at least, that stack and the last one in `stacks` begin alike.
    shared_with_kept: u32,
    /// The context of that one.
    kept_context: Option<ContextId>,
}

impl Shard {
    /// Room for stacks that are not yet known. Some of those that come are.
    pub(super) fn make_room(&mut self, stacks: usize) {
        self.weights.reserve(stacks);
        self.stacks.reserve(stacks);
    }

    /// Locates a stack by the words of its own, which is counted with the next [`Self::count_located`]. Those that
    /// it shares are of the stack before.
    ///
    /// Entries in a row that no mapping covers become one: code without frame pointers sends the
    /// kernel's walk through data, and how many words of it were read says nothing.
    pub(super) fn locate(&mut self, stack: RawStack, own: &[u64], context: &ContextPlace) {
        self.enter(context.space.as_ref().map(|(id, _)| *id));
        self.steps.truncate(stack.shared);
        let root = Step {
            id: NOTHING,
            frames: 0,
            hash: self
                .seed
                .then(self.seed.root(), u64::from(context.counted_in.0)),
        };
        let mut last = self.steps.last().copied().unwrap_or(root);
        let shared = last.frames;
        for (part, entries) in parts_from_root(own) {
            for (number, word) in entries.iter().enumerate().rev() {
                let addr = looked_up_at(number, *word);
                let id = self.place(part, addr, context);
                // What has no frame of its own changes no hash.
                if !(id == UNMAPPED && last.id == UNMAPPED) {
                    last.frames += 1;
                    last.hash = self.seed.then(last.hash, u64::from(id.0));
                    self.located_frames.push(FrameId(id.0));
                }
                last.id = id;
                self.steps.push(last);
            }
        }
        // A walk that ended in data did not miss the root by the limit.
        let root_is_code = self.steps.first().is_some_and(|step| step.id != UNMAPPED);
        let entries = match stack.end {
            Some(CUT_MARKER) => u32::MAX,
            None if root_is_code => self.steps.len() as u32,
            _ => 0,
        };
        self.located.push(Located {
            hash: self.seed.then(last.hash, u64::from(entries)),
            context: context.counted_in,
            entries,
            shared,
            new: last.frames - shared,
            weight: stack.weight,
        });
    }

    /// What is known of addresses is of one space.
    fn enter(&mut self, space: Option<SpaceId>) {
        if space == self.space {
            return;
        }
        self.space = space;
        self.near_mapping = None;
        self.near_user.clear();
    }

    /// Counts the stacks that were located.
    pub(super) fn count_located(&mut self) {
        let keys = self.located.iter().map(|located| located.hash.key());
        self.weights.fetch(keys);
        let mut all = mem::take(&mut self.located);
        let frames = mem::take(&mut self.located_frames);
        let mut rest = &frames[..];
        for located in all.drain(..) {
            let (new, behind) = rest
                .split_at_checked(located.new as usize)
                .unwrap_or_default();
            rest = behind;
            self.counted.truncate(located.shared as usize);
            self.counted.extend_from_slice(new);
            self.shared_with_kept = self.shared_with_kept.min(located.shared);
            self.count(&located);
        }
        self.located = all;
        self.located_frames = frames;
        self.located_frames.clear();
    }

    /// Counts the stack of the frames in `counted`.
    fn count(&mut self, located: &Located) {
        let key = located.hash.key();
        if self.weights.add(key, located.weight) {
            return;
        }
        let shared = if self.kept_context == Some(located.context) {
            self.shared_with_kept
        } else {
            0
        };
        let head = StackHead {
            context: located.context.0,
            shared,
            entries: located.entries,
            weight: 0,
        };
        let frames = self.counted.get(shared as usize..).unwrap_or_default();
        let number = self.stacks.push(head, frames);
        self.weights.insert(key, number, located.weight);
        self.kept_context = Some(located.context);
        self.shared_with_kept = self.counted.len() as u32;
    }

    /// The mappings may be others when the next stacks come.
    pub(super) fn forget_last(&mut self) {
        self.enter(None);
        self.shared_with_kept = 0;
    }

    /// All stacks with their weights; a frame's id is its place's in `places`.
    pub(super) fn into_stacks(self) -> StackPart {
        let mut stacks = self.stacks;
        for (number, weight) in self.weights.iter() {
            stacks.weigh(number, weight);
        }
        stacks
    }

    fn place(&mut self, part: Part, addr: u64, context: &ContextPlace) -> PlaceId {
        match (part, &context.space) {
            (Part::Kernel, _) => {
                if let Some(id) = self.near_kernel.get(addr) {
                    return id;
                }
                let id = *self.kernel.entry(addr).or_insert_with(|| {
                    let place = match ksymbol_in(addr) {
                        Some(code) => Place::KernelCode(code),
                        None => Place::Kernel(addr),
                    };
                    self.places.intern(place)
                });
                self.near_kernel.put(addr, id);
                id
            }
            (Part::User, Some((space, maps))) => {
                if let Some(id) = self.near_user.get(addr) {
                    return id;
                }
                let name = match context.words {
                    Words::Recorded => None,
                    Words::Rewritten => name_in(addr),
                };
                let place = match name {
                    Some(name) => Place::Jitted(name),
                    None => {
                        let found = maps.find_near(&mut self.near_mapping, addr);
                        place_of(found, *space, addr)
                    }
                };
                let id = self.places.intern(place);
                self.near_user.put(addr, id);
                id
            }
            _ => UNMAPPED,
        }
    }
}

fn place_of(found: Option<(Mapping, u64)>, space: SpaceId, addr: u64) -> Place {
    match found {
        Some((mapping, offset)) => match mapping.backing {
            Backing::Image(image) => Place::Image(image, offset),
            Backing::Vdso => Place::Vdso(offset),
            Backing::Generated(memory) => Place::Generated(space, addr, memory),
        },
        None => Place::Unmapped,
    }
}
