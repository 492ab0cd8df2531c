//! Equal raw stacks, counted while they are sampled: memory follows distinct stacks, not samples.
//!
//! The table is far larger than the caches, and what it is asked for comes in no order: a lookup
//! waits for memory twice (control bytes, entry). So samples are counted in batches, in passes over
//! the batch: the waits of one pass do not depend on each other and overlap. A stack is known by its
//! hash: to look at its words would wait a third time.

use crate::chain::{CUT_MARKER, WHOLE_MARKER, shared_entries, without_end};
use crate::hash::{FastState, StackHash};
use crate::weights::Weights;
use std::hint::black_box;

/// Index of what a stack belongs to: address space, cgroup, thread name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContextId(pub(crate) u32);

/// One distinct stack of one context, but for the words that it has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawStack {
    pub(crate) context: ContextId,
    /// Samples, or the sum of their periods.
    pub(crate) weight: u64,
    /// As many words, at the root's side, are those of the stack of its context that was first seen before it.
    pub(crate) shared: usize,
    /// The marker behind them that says how the unwinding ended.
    pub(crate) end: Option<u64>,
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

/// The first word of a stack in the table: its context, words that it shares, words of its own, and which marker
/// it ends in. A record has 8190 words at most, and no more frames are followed.
struct Header {
    context: ContextId,
    shared: usize,
    own: usize,
    end: Option<u64>,
}

impl Header {
    const LEN_MAX: usize = 0x7fff;
    const LEN_BITS: u32 = Self::LEN_MAX.ilog2() + 1;

    fn word(&self) -> u64 {
        let end = match self.end {
            None => 0,
            Some(CUT_MARKER) => 1,
            Some(_) => 2,
        };
        let lens = (self.shared << Self::LEN_BITS | self.own) as u64;
        u64::from(self.context.0) << 32 | end << (2 * Self::LEN_BITS) | lens
    }

    fn of(word: u64) -> Self {
        let bits = word as u32 as usize;
        Self {
            context: ContextId((word >> 32) as u32),
            shared: bits >> Self::LEN_BITS & Self::LEN_MAX,
            own: bits & Self::LEN_MAX,
            end: match bits >> (2 * Self::LEN_BITS) {
                0 => None,
                1 => Some(CUT_MARKER),
                _ => Some(WHOLE_MARKER),
            },
        }
    }
}

/// The stack that was new last in its context: the next new one mostly is, at its root, like it.
#[derive(Clone, Default)]
struct Last {
    context: Option<ContextId>,
    /// Without the marker at its end.
    words: Vec<u64>,
    /// How many mappings there were when its words were looked at, if they were.
    mapped: Option<u32>,
}

/// Contexts whose last stack is remembered: a power of two.
const LASTS: usize = 1 << 10;

/// Words that a stack takes besides: a slot in a table that is half full, a place in the order.
const INDEX_WORDS: usize = 7;

/// Words before a stack's own: its header and its weight.
const HEAD: usize = 2;

/// What raw stacks may take before they are counted by their places: 32 MiB, in the one table while those of the
/// other are located. The less it is, the more stacks come again behind them; the more, the longer the last ones
/// keep everybody waiting.
const FULL_WORDS: usize = 4 << 20;

/// Samples of a batch: their table lines and words fit into a first-level cache.
const BATCH: usize = 64;

/// All distinct stacks, one behind the other in the order they were first seen: a header, the
/// weight, then the words that it does not share, leaf first and with markers.
#[derive(Default)]
pub(crate) struct StackTable {
    arena: Vec<u64>,
    weights: Weights,
    /// Where each stack is, and its context.
    order: Vec<(u32, ContextId)>,
    lasts: Vec<Last>,
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

    /// Counts the batch. Of each stack that was not seen before, `is_new` is called with the words that were not
    /// in the stack before it in its context, or with all if a mapping came meanwhile: `mapped` counts them. Without
    /// it the words are not looked at by who is called, and all will be with the next stack.
    pub(crate) fn count_batch(
        &mut self,
        mapped: Option<u32>,
        mut is_new: impl FnMut(ContextId, &[u64]),
    ) {
        if self.arena.capacity() == 0 {
            // Room in the address space alone: memory comes with what is put there, and stacks of usual
            // length are never moved.
            self.arena.reserve_exact(FULL_WORDS);
            self.order.reserve_exact(FULL_WORDS / (HEAD + INDEX_WORDS));
        }
        let keys = self.pending.iter().map(|pending| pending.hash.key());
        self.weights.fetch(keys);
        let Self {
            arena,
            weights,
            order,
            lasts,
            pending,
            pending_words,
            ..
        } = self;
        lasts.resize(LASTS, Last::default());
        for pending in pending.drain(..) {
            let key = pending.hash.key();
            if weights.add(key, pending.weight) {
                continue;
            }
            let end = pending.start + pending.len_words as usize;
            let chain = pending_words.get(pending.start..end).unwrap_or(&[]);
            // Whoever fills the table empties it long before (`is_full`).
            let at = arena.len() as u32;
            let (words, end) = without_end(chain);
            let Some(last) = lasts.get_mut(pending.context.0 as usize % LASTS) else {
                continue;
            };
            let is_behind_last = last.context == Some(pending.context);
            let shared = match is_behind_last {
                true => shared_entries(words, &last.words).min(Header::LEN_MAX),
                false => 0,
            };
            let own = words.get(..words.len() - shared).unwrap_or_default();
            let header = Header {
                context: pending.context,
                shared,
                own: own.len().min(Header::LEN_MAX),
                end,
            };
            arena.extend_from_slice(&[header.word(), 0]);
            arena.extend_from_slice(own);
            order.push((at, pending.context));
            weights.insert(key, at, pending.weight);
            let is_looked_at = is_behind_last && mapped.is_some() && last.mapped == mapped;
            is_new(pending.context, if is_looked_at { own } else { words });
            last.context = Some(pending.context);
            last.mapped = mapped;
            last.words.clear();
            last.words.extend_from_slice(words);
        }
        pending_words.clear();
    }

    /// Whether they take as much as they may.
    pub(crate) fn is_full(&self) -> bool {
        self.len_words() >= FULL_WORDS
    }

    /// What all stacks take, in words: theirs, and what they are found by.
    pub(crate) fn len_words(&self) -> usize {
        self.arena.len() + INDEX_WORDS * self.order.len()
    }

    /// Forgets all stacks; their room is used again.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.weights.clear();
        self.order.clear();
        self.lasts.clear();
    }

    /// Puts the weights to the stacks: they are to be read now. The batches must have been counted.
    pub(crate) fn weigh(&mut self) {
        for (at, counted) in self.weights.iter() {
            if let Some(weight) = self.arena.get_mut(at as usize + 1) {
                *weight = counted;
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

    /// The stack at a place that [`Self::order`] gave, and the words of its own, leaf first.
    pub(crate) fn at(&self, at: u32) -> (RawStack, &[u64]) {
        let at = at as usize;
        let head = self.arena.get(at..).and_then(|arena| arena.first_chunk());
        let [header, weight]: [u64; HEAD] = head.copied().unwrap_or([NO_STACK, 0]);
        let header = Header::of(header);
        let stack = RawStack {
            context: header.context,
            weight,
            shared: header.shared,
            end: header.end,
        };
        let own = self.arena.get(at + HEAD..at + HEAD + header.own);
        (stack, own.unwrap_or_default())
    }
}

/// Of no context.
const NO_STACK: u64 = (u32::MAX as u64) << 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Context, words and weight of each, in the order they were first seen.
    fn whole(table: &mut StackTable) -> Vec<(u32, Vec<u64>, u64)> {
        table.weigh();
        let mut lasts: HashMap<ContextId, Vec<u64>> = HashMap::new();
        let mut all = Vec::new();
        for (at, context) in table.order() {
            let (stack, own) = table.at(*at);
            let last = lasts.entry(*context).or_default();
            let behind = last.split_off(last.len() - stack.shared);
            *last = [own, &behind].concat();
            let end = stack.end.into_iter();
            let words = last.iter().copied().chain(end).collect();
            all.push((context.0, words, stack.weight));
        }
        all
    }

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
        table.count_batch(Some(0), |context, words| {
            new.push((context.0, words.to_vec()))
        });
        let first_seen = [
            (1, vec![1, 2, 3]),
            (1, vec![1, 2]),
            (2, vec![1, 2, 3]),
            (1, vec![]),
        ];
        assert_eq!(new, first_seen);
        let _ = table.push(ContextId(1), [1, 2].into_iter(), |_| {}, 10);
        table.count_batch(Some(0), |_, words| panic!("{words:?} was seen before"));
        assert_eq!(
            whole(&mut table),
            [
                (1, vec![1, 2, 3], 3),
                (1, vec![1, 2], 11),
                (2, vec![1, 2, 3], 1),
                (1, vec![], 1)
            ]
        );
    }

    #[test]
    fn what_a_stack_shares_is_kept_once_and_found_again() {
        use crate::chain::{KERNEL_MARKER, USER_MARKER};
        let mut stacks: Vec<(u32, Vec<u64>)> = Vec::new();
        // Of contexts that take turns, and of one that takes another's place.
        let contexts = [1, 2, 1, 2, 1, 2, 1, 1 + LASTS as u32].into_iter();
        for (number, context) in (0..4_000).zip(contexts.cycle()) {
            let depth = 3 + number % 7;
            let mut words = match number % 3 {
                0 => vec![KERNEL_MARKER, number, USER_MARKER],
                _ => vec![USER_MARKER, number],
            };
            // The further down, the fewer there are.
            words.extend((0..depth).map(|frame| number >> (4 * frame)));
            words.extend([[].as_slice(), &[WHOLE_MARKER], &[CUT_MARKER]][number as usize % 5 % 3]);
            stacks.push((context, words));
        }
        let mut table = StackTable::default();
        let mut looked_at = 0;
        for (context, words) in &stacks {
            let _ = table.push(ContextId(*context), words.iter().copied(), |_| {}, 1);
            table.count_batch(Some(0), |_, words| looked_at += words.len());
        }
        let found = whole(&mut table);
        let found: Vec<_> = found
            .into_iter()
            .map(|(context, words, _)| (context, words))
            .collect();
        assert_eq!(found, stacks);
        let all: usize = stacks.iter().map(|(_, words)| words.len()).sum();
        let kept = table.len_words() - (HEAD + INDEX_WORDS) * stacks.len();
        assert!(kept < all * 9 / 10, "{kept} of {all} words");
        assert!(looked_at < all * 9 / 10, "{looked_at} of {all} words");
    }

    #[test]
    fn a_mapping_makes_all_words_be_looked_at_again() {
        let mut table = StackTable::default();
        let mut looked_at = |mapped, leaf| {
            let _ = table.push(ContextId(1), [leaf, 2, 3, 4].into_iter(), |_| {}, 1);
            let mut len = 0;
            table.count_batch(mapped, |_, words| len = words.len());
            len
        };
        assert_eq!([looked_at(Some(0), 10), looked_at(Some(0), 11)], [4, 2]);
        assert_eq!([looked_at(Some(1), 12), looked_at(Some(1), 13)], [4, 2]);
        // Who is not there does not look.
        assert_eq!(looked_at(None, 14), 4);
        assert_eq!([looked_at(Some(1), 15), looked_at(Some(1), 16)], [4, 2]);
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
                    table.count_batch(Some(0), |_, _| seen_first += 1);
                }
            }
        }
        table.count_batch(Some(0), |_, _| seen_first += 1);
        assert_eq!(seen_first, 10_000);
        let all = whole(&mut table);
        assert_eq!(all.len(), 10_000);
        for ((_, words, weight), stack) in all.iter().zip(0..) {
            assert_eq!((words[0], *weight), (stack, 100));
        }
    }
}
