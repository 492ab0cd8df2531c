//! Equal raw stacks, counted while they are sampled: memory follows distinct stacks, not samples.
//!
//! The table is far larger than the caches, and what it is asked for comes in no order: a lookup
//! waits for memory twice (control bytes, entry). So samples are counted in batches, in passes over
//! the batch: the waits of one pass do not depend on each other and overlap. A stack is known by its
//! hash: to look at its words would wait a third time.

use crate::hash::{FastState, StackHash};
use hashbrown::HashTable;
use std::hint::black_box;

/// Index of what a stack belongs to: address space, cgroup, thread name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContextId(pub(crate) u32);

/// One distinct stack of one context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawStack {
    pub(crate) context: ContextId,
    /// Samples, or the sum of their periods.
    pub(crate) weight: u64,
}

/// A sample that waits for its batch.
#[derive(Clone, Copy)]
struct Pending {
    context: ContextId,
    len_words: u32,
    start: usize,
    weight: u64,
    hash: StackHash,
}

impl Pending {
    /// Tells stacks of different contexts and lengths apart by one word.
    fn header(&self) -> u64 {
        u64::from(self.context.0) << 32 | u64::from(self.len_words)
    }
}

/// A stack that was seen, all that counting it again needs: its words are not looked at any more.
#[derive(Clone, Copy)]
struct Slot {
    /// Its hash in two pieces: as one they would make the slot a third larger.
    place: u64,
    check: u32,
    /// Where its words are.
    at: u32,
    weight: u64,
}

impl Slot {
    fn is_of(&self, hash: StackHash) -> bool {
        self.place == hash.place() && self.check == hash.check()
    }
}

/// Words before a stack's own: its header and its weight.
const HEAD: usize = 2;

/// Samples of a batch: their table lines and words fit into a first-level cache.
const BATCH: usize = 64;

/// All distinct stacks, one behind the other in the order they were first seen: a header, the
/// weight, then the words, leaf first and with markers.
#[derive(Default)]
pub(crate) struct StackTable {
    arena: Vec<u64>,
    slots: HashTable<Slot>,
    /// Where each stack is, and its context.
    order: Vec<(u32, ContextId)>,
    pending: Vec<Pending>,
    pending_words: Vec<u64>,
    hash: FastState,
}

/// Whether a batch is full and wants to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Batch {
    Open,
    Full,
}

impl StackTable {
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
        let hash = self.hash.hash_words(u64::from(context.0), words);
        self.pending.push(Pending {
            context,
            len_words: words.len() as u32,
            start,
            weight,
            hash,
        });
        if self.pending.len() < BATCH {
            Batch::Open
        } else {
            Batch::Full
        }
    }

    /// Counts the batch. `is_new` is called for each stack that was not seen before.
    pub(crate) fn count_batch(&mut self, mut is_new: impl FnMut(ContextId, &[u64])) {
        let mut touched = 0;
        for pending in &self.pending {
            // Never equal: this only fetches control bytes and candidates.
            self.slots.find(pending.hash.place(), |slot| {
                touched ^= slot.at;
                false
            });
        }
        black_box(touched);
        let Self {
            arena,
            slots,
            order,
            pending,
            pending_words,
            ..
        } = self;
        for pending in pending.drain(..) {
            let known = slots.find_mut(pending.hash.place(), |slot| slot.is_of(pending.hash));
            if let Some(slot) = known {
                slot.weight = slot.weight.saturating_add(pending.weight);
                continue;
            }
            let end = pending.start + pending.len_words as usize;
            let chain = pending_words.get(pending.start..end).unwrap_or(&[]);
            let slot = Slot {
                place: pending.hash.place(),
                check: pending.hash.check(),
                // Whoever fills the table empties it long before (`LOCATE_WORDS`).
                at: arena.len() as u32,
                weight: pending.weight,
            };
            arena.extend_from_slice(&[pending.header(), 0]);
            arena.extend_from_slice(chain);
            order.push((slot.at, pending.context));
            slots.insert_unique(slot.place, slot, |moved| moved.place);
            is_new(pending.context, chain);
        }
        pending_words.clear();
    }

    /// Words of all stacks.
    pub(crate) fn len_words(&self) -> usize {
        self.arena.len()
    }

    /// Forgets all stacks; their room is used again.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.slots.clear();
        self.order.clear();
    }

    /// Puts the weights to the stacks: they are to be read now. The batches must have been counted.
    pub(crate) fn weigh(&mut self) {
        for slot in &self.slots {
            if let Some(weight) = self.arena.get_mut(slot.at as usize + 1) {
                *weight = slot.weight;
            }
        }
    }

    /// Where every distinct stack is, and its context, in the order they were first seen.
    pub(crate) fn order(&self) -> &[(u32, ContextId)] {
        &self.order
    }

    /// Brings these stacks into the cache.
    pub(crate) fn fetch(&self, few: &[u32]) {
        const LINE_WORDS: usize = 8;
        let mut touched = 0;
        for at in few {
            touched ^= self.arena.get(*at as usize).copied().unwrap_or(0);
        }
        black_box(touched);
        for at in few {
            let (_, words) = self.at(*at);
            for line in words.chunks(LINE_WORDS).skip(1) {
                touched ^= line.first().copied().unwrap_or(0);
            }
        }
        black_box(touched);
    }

    /// The stack at a place that [`Self::order`] gave, and its words, leaf first.
    pub(crate) fn at(&self, at: u32) -> (RawStack, &[u64]) {
        let at = at as usize;
        match self.head(at) {
            Some((stack, len)) => {
                let words = self.arena.get(at + HEAD..at + HEAD + len);
                (stack, words.unwrap_or(&[]))
            }
            None => (NO_STACK, &[]),
        }
    }

    fn head(&self, at: usize) -> Option<(RawStack, usize)> {
        let [header, weight] = self.arena.get(at..)?.first_chunk::<HEAD>()?;
        let stack = RawStack {
            context: ContextId((header >> 32) as u32),
            weight: *weight,
        };
        Some((stack, *header as u32 as usize))
    }
}

const NO_STACK: RawStack = RawStack {
    context: ContextId(u32::MAX),
    weight: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stacks_of_one_context_are_one_entry_with_a_count() {
        let mut table = StackTable::default();
        for (context, words) in [
            (1, &[1, 2, 3][..]),
            (1, &[1, 2, 3]),
            (1, &[1, 2]),
            (2, &[1, 2, 3]),
            (1, &[]),
            (1, &[1, 2, 3]),
        ] {
            let _ = table.push(ContextId(context), words.iter().copied(), |_| {}, 1);
        }
        let mut new = Vec::new();
        table.count_batch(|context, words| new.push((context.0, words.to_vec())));
        let first_seen = [
            (1, vec![1, 2, 3]),
            (1, vec![1, 2]),
            (2, vec![1, 2, 3]),
            (1, vec![]),
        ];
        assert_eq!(new, first_seen);
        let _ = table.push(ContextId(1), [1, 2].into_iter(), |_| {}, 10);
        table.count_batch(|_, words| panic!("{words:?} was seen before"));
        table.weigh();
        let counts: Vec<_> = table
            .order()
            .iter()
            .map(|(at, context)| (context.0, table.at(*at).1.to_vec(), table.at(*at).0.weight))
            .collect();
        assert_eq!(
            counts,
            [
                (1, vec![1, 2, 3], 3),
                (1, vec![1, 2], 11),
                (2, vec![1, 2, 3], 1),
                (1, vec![], 1)
            ]
        );
    }

    #[test]
    fn a_million_samples_of_ten_thousand_stacks_are_all_found_again() {
        let mut table = StackTable::default();
        let mut seen_first = 0;
        for _ in 0..100 {
            for stack in 0..10_000_u64 {
                let words = [stack, stack ^ 7, 42].into_iter();
                let context = ContextId((stack % 3) as u32);
                if table.push(context, words, |_| {}, 1) == Batch::Full {
                    table.count_batch(|_, _| seen_first += 1);
                }
            }
        }
        table.count_batch(|_, _| seen_first += 1);
        assert_eq!(seen_first, 10_000);
        table.weigh();
        let all: Vec<_> = table.order().iter().map(|(at, _)| table.at(*at)).collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().all(|(stack, _)| stack.weight == 100));
        assert!(
            all.iter()
                .zip(0..)
                .all(|((_, words), stack)| words[0] == stack)
        );
    }
}
