//! Stacks as they are sampled: those that come again are counted, new ones go on to be located.
//!
//! ```text
//!   words of a sample ──▶ known? ──yes──▶ its weight
//!                           │ no: it has a number from now on
//!                           ▼
//!                       NewStacks ──▶ locate::Locator: which distinct stack of places each is
//! ```
//! The table is far larger than the caches, and what it is asked for comes in no order. So samples are counted in
//! batches, in passes over the batch: the waits of one pass do not depend on each other and overlap. A stack is known
//! by its hash: to look at its words would wait once more.

mod known;
mod new;

pub(crate) use known::Weighed;
pub(crate) use new::{NewStack, NewStacks, SpaceNow, Used};

use crate::context::ContextId;
use crate::hash::FastState;
use crate::locate::Sampled;
use known::KnownStacks;
use std::mem;

/// A sample that waits for its batch.
#[derive(Clone, Copy)]
struct Pending {
    context: ContextId,
    len_words: u32,
    start: usize,
    weight: u64,
    key: u64,
}

/// What locating a stack needs to know of its context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Belongs {
    /// The context that its stacks are counted in: the first one of equal cgroup, thread name and
    /// view of files, whichever process it was.
    pub(crate) counted_in: ContextId,
    pub(crate) sampled: Sampled,
}

/// Samples of a batch: their table lines and words fit into a first-level cache.
const BATCH: usize = 64;

/// Whether a batch is full and wants to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Batch {
    Open,
    Full,
}

/// Stacks that are known, and those that are new.
#[derive(Default)]
pub(crate) struct Stacks {
    pending: Vec<Pending>,
    pending_words: Vec<u64>,
    hash: FastState,
    known: KnownStacks,
    new: NewStacks,
}

impl Stacks {
    /// Takes one sample of a chain's words (leaf first, with markers) in `context`, which `put` may
    /// replace; it is counted with its batch.
    pub(crate) fn push(
        &mut self,
        context: ContextId,
        words: impl Iterator<Item = u64>,
        put: impl FnOnce(&mut [u64]),
        weight: u64,
    ) -> Batch {
        let start = self.pending_words.len();
        self.pending_words.extend(words);
        let words = self.pending_words.get_mut(start..).unwrap_or_default();
        put(words);
        let key = self.hash.hash_words(u64::from(context.0), words);
        self.pending.push(Pending {
            context,
            len_words: words.len() as u32,
            start,
            weight,
            key,
        });
        if self.pending.len() < BATCH {
            Batch::Open
        } else {
            Batch::Full
        }
    }

    /// Counts the batch. Of each stack that is new, `is_new` is told the context and the words: it tells what that
    /// context is, and puts down how its address space is now.
    pub(crate) fn count_batch(
        &mut self,
        mut is_new: impl FnMut(ContextId, &[u64], &mut NewStacks) -> Option<Belongs>,
    ) {
        let keys = self.pending.iter().map(|pending| pending.key);
        self.known.fetch(keys);
        for pending in self.pending.drain(..) {
            let Pending { context, key, .. } = pending;
            if self.known.add(key, pending.weight) {
                continue;
            }
            let end = pending.start + pending.len_words as usize;
            let chain = self.pending_words.get(pending.start..end);
            let chain = chain.unwrap_or_default();
            if let Some(belongs) = is_new(context, chain, &mut self.new) {
                self.known.insert(key, pending.weight);
                self.new.push(context, belongs, chain);
            }
        }
        self.pending_words.clear();
    }

    /// Whether there are enough new ones for them to go on.
    pub(crate) fn has_many_new(&self) -> bool {
        self.new.are_many()
    }

    pub(crate) fn has_new(&self) -> bool {
        self.new.len() > 0
    }

    /// The address spaces of the new ones.
    pub(crate) fn new_spaces(&mut self) -> &mut Vec<SpaceNow> {
        &mut self.new.spaces
    }

    /// The new ones, in the order of their numbers; `empty` is to be filled.
    pub(crate) fn take_new(&mut self, empty: NewStacks) -> NewStacks {
        mem::replace(&mut self.new, empty)
    }

    /// Whether as many are known as may be.
    pub(crate) fn are_many_known(&self) -> bool {
        self.known.are_full()
    }

    /// Forgets all that are known; what each weighs that had a number. Their numbers begin anew.
    pub(crate) fn forget_known(&mut self) -> Weighed {
        self.known.forget()
    }
}
