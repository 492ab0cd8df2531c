//! Equal raw stacks, counted while they are sampled: memory follows distinct stacks, not samples.
//!
//! The table is far larger than the caches, and what it is asked for comes in no order: a lookup
//! waits for memory three times (control bytes, entry, words). So samples are counted in batches,
//! in passes over the batch: the waits of one pass do not depend on each other and overlap.

use crate::hash::FastState;
use hashbrown::HashTable;
use std::hint::black_box;

/// Index of what a stack belongs to: address space, cgroup, thread name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContextId(pub(crate) u32);

/// One distinct stack of one context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawStack {
    pub(crate) context: ContextId,
    pub(crate) samples: u64,
    len_words: u32,
    start: usize,
    hash: u64,
}

/// A sample that waits for its batch.
#[derive(Clone, Copy)]
struct Pending {
    context: ContextId,
    len_words: u32,
    start: usize,
    hash: u64,
}

/// Samples of a batch: their table lines and words fit into a first-level cache.
const BATCH: usize = 64;

/// All distinct stacks. Their words, leaf first and with markers, lie in one arena.
#[derive(Default)]
pub(crate) struct StackTable {
    words: Vec<u64>,
    stacks: HashTable<RawStack>,
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
    /// Takes one sample of a chain's words (leaf first, with markers) in `context`; it is counted
    /// with its batch.
    pub(crate) fn push(&mut self, context: ContextId, words: impl Iterator<Item = u64>) -> Batch {
        let start = self.pending_words.len();
        self.pending_words.extend(words);
        let hash = self.hash.hash_words(
            u64::from(context.0),
            self.pending_words.get(start..).unwrap_or(&[]),
        );
        self.pending.push(Pending {
            context,
            len_words: (self.pending_words.len() - start) as u32,
            start,
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
            self.stacks.find(pending.hash, |stack| {
                touched ^= stack.start;
                false
            });
        }
        for pending in &self.pending {
            if let Some(stack) = self
                .stacks
                .find(pending.hash, |stack| stack.hash == pending.hash)
            {
                let ends = (
                    self.words.get(stack.start),
                    self.words.get(stack.end().saturating_sub(1)),
                );
                touched ^=
                    ends.0.copied().unwrap_or(0) as usize ^ ends.1.copied().unwrap_or(0) as usize;
            }
        }
        black_box(touched);
        let Self {
            words,
            stacks,
            pending,
            pending_words,
            ..
        } = self;
        for pending in pending.drain(..) {
            let end = pending.start + pending.len_words as usize;
            let chain = pending_words.get(pending.start..end).unwrap_or(&[]);
            let known = stacks.find_mut(pending.hash, |stack| {
                stack.hash == pending.hash
                    && stack.context == pending.context
                    && words_of(words, stack) == chain
            });
            if let Some(stack) = known {
                stack.samples += 1;
                continue;
            }
            let stack = RawStack {
                context: pending.context,
                samples: 1,
                len_words: pending.len_words,
                start: words.len(),
                hash: pending.hash,
            };
            words.extend_from_slice(chain);
            stacks.insert_unique(stack.hash, stack, |moved| moved.hash);
            is_new(stack.context, chain);
        }
        pending_words.clear();
    }

    /// Every distinct stack with its words, leaf first, in the order they were first seen. The
    /// batches must have been counted.
    pub(crate) fn in_order(&self) -> Vec<(RawStack, &[u64])> {
        let mut all: Vec<_> = self
            .stacks
            .iter()
            .map(|stack| (*stack, words_of(&self.words, stack)))
            .collect();
        // Empty chains start where the next one does; their contexts differ.
        all.sort_unstable_by_key(|(stack, _)| (stack.start, stack.len_words, stack.context));
        all
    }
}

impl RawStack {
    fn end(&self) -> usize {
        self.start + self.len_words as usize
    }
}

fn words_of<'a>(words: &'a [u64], stack: &RawStack) -> &'a [u64] {
    words.get(stack.start..stack.end()).unwrap_or(&[])
}

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
            let _ = table.push(ContextId(context), words.iter().copied());
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
        let _ = table.push(ContextId(1), [1, 2].into_iter());
        table.count_batch(|_, words| panic!("{words:?} was seen before"));
        let counts: Vec<_> = table
            .in_order()
            .iter()
            .map(|(stack, words)| (stack.context.0, words.to_vec(), stack.samples))
            .collect();
        assert_eq!(
            counts,
            [
                (1, vec![1, 2, 3], 3),
                (1, vec![1, 2], 2),
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
                if table.push(ContextId((stack % 3) as u32), words) == Batch::Full {
                    table.count_batch(|_, _| seen_first += 1);
                }
            }
        }
        table.count_batch(|_, _| seen_first += 1);
        assert_eq!(seen_first, 10_000);
        let all = table.in_order();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().all(|(stack, _)| stack.samples == 100));
        assert!(
            all.iter()
                .zip(0..)
                .all(|((_, words), stack)| words[0] == stack)
        );
    }
}
