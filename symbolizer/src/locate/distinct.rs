//! All distinct stacks of places, each from where it parts from another one.

use super::PlaceId;
use super::places::UNMAPPED;
use crate::context::ContextId;
use crate::hash::folded;
use crate::stack::{FrameId, StackHead, StackPart};
use crate::table::Table;
use std::hash::{BuildHasher, RandomState};

/// Index of a distinct stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StackId(pub(super) u32);

/// How the unwinding of a stack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// So many entries were found, perhaps all.
    After(u32),
    /// At the root.
    Whole,
    /// Somewhere else.
    Cut,
}

/// Frames that a stack begins with, at the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    /// Of the context and the frames.
    hash: u64,
    /// How many frames, and the flags.
    bits: u32,
}

impl Beginning {
    /// The first of the frames is one of code.
    const IS_ROOTED: u32 = 1 << 31;
    /// The last of them is what no mapping covers.
    const IS_UNMAPPED: u32 = 1 << 30;

    fn frames(self) -> u32 {
        self.bits & !(Self::IS_ROOTED | Self::IS_UNMAPPED)
    }

    fn is_rooted(self) -> bool {
        self.bits & Self::IS_ROOTED != 0
    }

    fn is_unmapped(self) -> bool {
        self.bits & Self::IS_UNMAPPED != 0
    }
}

/// What stacks are told apart by: two of a million that just happen to be are one with a probability below 10^-7, and
/// only who knows the seed could make two that are.
#[derive(Clone, Copy)]
struct Seed([u64; 2]);

impl Default for Seed {
    fn default() -> Self {
        let state = RandomState::new();
        Self([0, 1].map(|number| state.hash_one(number) | 1))
    }
}

/// Where frames that go on are put.
pub(super) struct Frames<'a> {
    all: &'a mut Vec<FrameId>,
    seed: Seed,
    so_far: Beginning,
}

impl Frames<'_> {
    /// Adds the next one towards the leaf. Entries in a row that no mapping covers become one: code without frame
    /// pointers sends the kernel's walk through data, and how many words of it were read says nothing.
    #[inline]
    pub(super) fn push(&mut self, place: PlaceId) {
        let Beginning { hash, bits } = self.so_far;
        let is_unmapped = place == UNMAPPED;
        if is_unmapped && self.so_far.is_unmapped() {
            return;
        }
        let mut bits = (bits & !Beginning::IS_UNMAPPED) + 1;
        if is_unmapped {
            bits |= Beginning::IS_UNMAPPED;
        } else if bits == 1 {
            bits |= Beginning::IS_ROOTED;
        }
        let hash = folded(hash ^ u64::from(place.0), self.seed.0[0]);
        self.so_far = Beginning { hash, bits };
        self.all.push(FrameId(place.0));
    }

    pub(super) fn so_far(&self) -> Beginning {
        self.so_far
    }
}

/// A stack that is perhaps distinct.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    hash: u64,
    entries: u32,
}

/// A stack, but for its weight.
struct Stack {
    context: ContextId,
    /// The stack that it begins like; itself, if like none.
    like: StackId,
    /// How many frames, from the root on, it has of that one.
    shared: u32,
    /// Entries that the kernel wrote ([`StackHead`]).
    entries: u32,
    /// Where those behind them end; they begin where those of the stack before do.
    frames_end: u32,
}

/// The distinct stacks.
#[derive(Default)]
pub(super) struct Distinct {
    all: Vec<Stack>,
    frames: Vec<FrameId>,
    by_hash: Table<StackId>,
    seed: Seed,
}

impl Distinct {
    /// What the stacks of a context begin with: nothing.
    pub(super) fn root(&self, context: ContextId) -> Beginning {
        let [seed, other] = self.seed.0;
        Beginning {
            hash: folded(seed ^ u64::from(context.0), other),
            bits: 0,
        }
    }

    /// Puts frames behind `all`, which go on behind a beginning.
    pub(super) fn go_on<'a>(&self, from: Beginning, all: &'a mut Vec<FrameId>) -> Frames<'a> {
        Frames {
            all,
            seed: self.seed,
            so_far: from,
        }
    }

    /// The stack of these frames.
    pub(super) fn candidate(&self, frames: Beginning, end: End) -> Candidate {
        // A walk that ended in data did not miss the root by the limit.
        let entries = match end {
            End::Cut => u32::MAX,
            End::After(entries) if frames.is_rooted() => entries,
            End::After(_) | End::Whole => 0,
        };
        let hash = folded(frames.hash ^ u64::from(entries), self.seed.0[1]);
        Candidate { hash, entries }
    }

    /// Brings what these will be looked for in into the cache.
    pub(super) fn fetch(&self, candidates: impl Iterator<Item = Candidate>) {
        self.by_hash
            .fetch(candidates.map(|candidate| candidate.hash));
    }

    /// The one stack that is so, of a context: `own` are its frames but for those that it begins with, which `like`
    /// begins with too.
    pub(super) fn intern(
        &mut self,
        candidate: Candidate,
        context: ContextId,
        (like, shared): (Option<StackId>, Beginning),
        own: &[FrameId],
    ) -> StackId {
        let shared = shared.frames();
        let Candidate { hash, entries } = candidate;
        if let Some(known) = self.by_hash.get(hash) {
            return *known;
        }
        let id = StackId(self.all.len() as u32);
        self.by_hash.insert(hash, id);
        self.frames.extend_from_slice(own);
        self.all.push(Stack {
            context,
            like: like.map_or(id, |like| self.first_like(like, shared)),
            shared,
            entries,
            frames_end: self.frames.len() as u32,
        });
        id
    }

    /// Of a stack, and of those that it begins like, the one that has so many of its frames of its own.
    fn first_like(&self, mut like: StackId, shared: u32) -> StackId {
        while let Some(stack) = self.all.get(like.0 as usize)
            && stack.like != like
            && shared <= stack.shared
        {
            like = stack.like;
        }
        like
    }

    /// All stacks that weigh anything, in parts of like size: those that begin alike in a row, and a frame's id is its
    /// place's.
    pub(super) fn into_parts(self, weights: &StackWeights, parts: usize) -> Vec<StackPart> {
        let Self {
            all,
            frames,
            by_hash,
            ..
        } = self;
        drop(by_hash);
        let links = Links::of(&all);
        let parts_max = parts.max(1);
        let stacks_max = all.len().div_ceil(parts_max).max(1);
        let new_part = || StackPart::with_room(stacks_max, frames.len() / parts_max);
        let mut parts = vec![new_part()];
        let mut path: Vec<FrameId> = Vec::new();
        let mut before = None;
        // As many frames of the path are those of the stack before.
        let mut alike = 0;
        let mut waiting: Vec<u32> = links.roots(&all);
        let mut like_it: Vec<(u32, u32)> = Vec::new();
        while let Some(at) = waiting.pop() {
            let Some(stack) = all.get(at as usize) else {
                continue;
            };
            let shared = if stack.like.0 == at {
                0
            } else {
                stack.shared as usize
            };
            path.truncate(shared);
            alike = alike.min(shared);
            let begin = match at.checked_sub(1) {
                Some(before) => all.get(before as usize).map_or(0, |stack| stack.frames_end),
                None => 0,
            };
            let own = begin as usize..stack.frames_end as usize;
            path.extend_from_slice(frames.get(own).unwrap_or_default());
            let weight = weights.of(at);
            if weight > 0 {
                if parts.last().is_some_and(|part| part.len() >= stacks_max) {
                    parts.push(new_part());
                    before = None;
                }
                if before != Some(stack.context) {
                    (before, alike) = (Some(stack.context), 0);
                }
                let head = StackHead {
                    context: stack.context.0,
                    shared: alike as u32,
                    entries: stack.entries,
                    weight,
                };
                if let Some(part) = parts.last_mut() {
                    part.push(head, path.get(alike..).unwrap_or_default());
                }
                alike = path.len();
            }
            // Those that are like it for longest come first: of those that come then, no frame was left.
            like_it.clear();
            like_it.extend(links.like(at).filter_map(|at| {
                let stack = all.get(at as usize)?;
                Some((stack.shared, at))
            }));
            like_it.sort_unstable();
            waiting.extend(like_it.iter().map(|(_, at)| *at));
        }
        parts
    }
}

/// What each stack weighs.
#[derive(Default)]
pub(super) struct StackWeights(Vec<u64>);

impl StackWeights {
    /// Adds to the weight of a stack.
    pub(super) fn add(&mut self, stack: StackId, weight: u64) {
        let at = stack.0 as usize;
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        if let Some(sum) = self.0.get_mut(at) {
            *sum = sum.saturating_add(weight);
        }
    }

    fn of(&self, at: u32) -> u64 {
        self.0.get(at as usize).copied().unwrap_or(0)
    }
}

/// Which stacks begin like each stack.
struct Links(Vec<Link>);

#[derive(Clone, Copy)]
struct Link {
    /// The last of those that are like it.
    last: u32,
    /// The one before it among those that are like the same stack.
    before: u32,
}

const NO_STACK: u32 = u32::MAX;

impl Links {
    fn of(all: &[Stack]) -> Self {
        let none = Link {
            last: NO_STACK,
            before: NO_STACK,
        };
        let mut links = vec![none; all.len()];
        for (stack, at) in all.iter().zip(0..) {
            if stack.like.0 == at {
                continue;
            }
            let last = links.get_mut(stack.like.0 as usize);
            let before = last.map_or(NO_STACK, |link| std::mem::replace(&mut link.last, at));
            if let Some(link) = links.get_mut(at as usize) {
                link.before = before;
            }
        }
        Self(links)
    }

    /// Those that begin like none, of one context in a row.
    fn roots(&self, all: &[Stack]) -> Vec<u32> {
        let numbered = all.iter().zip(0..);
        let roots = numbered.filter(|(stack, at)| stack.like.0 == *at);
        let mut roots: Vec<(u32, u32)> = roots.map(|(stack, at)| (stack.context.0, at)).collect();
        roots.sort_unstable();
        roots.into_iter().map(|(_, at)| at).collect()
    }

    fn like(&self, at: u32) -> impl Iterator<Item = u32> {
        let known = |at: u32| (at != NO_STACK).then_some(at);
        let link = |at: u32| self.0.get(at as usize);
        let last = link(at).and_then(|link| known(link.last));
        std::iter::successors(last, move |at| {
            link(*at).and_then(|link| known(link.before))
        })
    }
}
