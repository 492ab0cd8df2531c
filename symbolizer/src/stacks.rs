//! Equal raw stacks, counted while they are sampled: memory follows distinct stacks, not samples.

use crate::hash::FastState;
use hashbrown::HashTable;
use profiler::record::Chain;

/// Index of what a stack belongs to: address space, cgroup, thread name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContextId(pub(crate) u32);

/// One distinct stack of one context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawStack {
    pub(crate) context: ContextId,
    start: usize,
    len_words: u32,
    /// Low half of its hash: compared before the words are.
    hash: u32,
    pub(crate) samples: u64,
}

/// All distinct stacks. Their words, leaf first and with markers, lie in one arena.
#[derive(Default)]
pub(crate) struct StackTable {
    words: Vec<u64>,
    stacks: Vec<RawStack>,
    index: HashTable<u32>,
    hash: FastState,
}

/// Whether a stack was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    First,
    Again,
}

impl StackTable {
    /// Counts one sample of `chain` in `context`.
    pub(crate) fn count(&mut self, context: ContextId, chain: Chain<'_>) -> Seen {
        let hash = self.hash.hash_words(u64::from(context.0), chain.iter());
        let Self {
            words,
            stacks,
            index,
            ..
        } = self;
        let found = index.find(hash, |at| {
            stacks.get(*at as usize).is_some_and(|stack| {
                stack.hash == hash as u32
                    && stack.context == context
                    && words_of(words, stack)
                        .is_some_and(|known| known.iter().copied().eq(chain.iter()))
            })
        });
        if let Some(stack) = found.and_then(|at| stacks.get_mut(*at as usize)) {
            stack.samples += 1;
            return Seen::Again;
        }
        let at = stacks.len() as u32;
        let (start, len_words) = (words.len(), chain.len() as u32);
        words.extend(chain.iter());
        stacks.push(RawStack {
            context,
            start,
            len_words,
            hash: hash as u32,
            samples: 1,
        });
        let hash_state = self.hash;
        index.insert_unique(hash, at, |moved| {
            stacks.get(*moved as usize).map_or(0, |stack| {
                let chain = words_of(words, stack).unwrap_or(&[]);
                hash_state.hash_words(u64::from(stack.context.0), chain.iter().copied())
            })
        });
        Seen::First
    }

    /// Every distinct stack with its words, leaf first, in the order they were first seen.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RawStack, &[u64])> {
        self.stacks
            .iter()
            .map(|stack| (stack, words_of(&self.words, stack).unwrap_or(&[])))
    }
}

fn words_of<'a>(words: &'a [u64], stack: &RawStack) -> Option<&'a [u64]> {
    words.get(stack.start..stack.start + stack.len_words as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(words: &[u64]) -> Vec<[u8; 8]> {
        words.iter().map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn equal_stacks_of_one_context_are_one_entry_with_a_count() {
        let mut table = StackTable::default();
        let (first, second) = (chain(&[1, 2, 3]), chain(&[1, 2]));
        let mut count =
            |context, words: &[[u8; 8]]| table.count(ContextId(context), Chain { words });
        assert_eq!(count(1, &first), Seen::First);
        assert_eq!(count(1, &first), Seen::Again);
        assert_eq!(count(1, &second), Seen::First);
        assert_eq!(count(2, &first), Seen::First);
        assert_eq!(count(1, &[]), Seen::First);
        assert_eq!(count(1, &first), Seen::Again);
        let all: Vec<_> = table
            .iter()
            .map(|(stack, words)| (stack.context.0, words.to_vec(), stack.samples))
            .collect();
        assert_eq!(
            all,
            [
                (1, vec![1, 2, 3], 3),
                (1, vec![1, 2], 1),
                (2, vec![1, 2, 3], 1),
                (1, vec![], 1)
            ]
        );
    }

    #[test]
    fn a_million_samples_of_ten_thousand_stacks_are_all_found_again() {
        let mut table = StackTable::default();
        for round in 0..100 {
            for stack in 0..10_000_u64 {
                let words = chain(&[stack, stack ^ 7, 42]);
                let seen = table.count(ContextId((stack % 3) as u32), Chain { words: &words });
                assert_eq!(seen, if round == 0 { Seen::First } else { Seen::Again });
            }
        }
        assert_eq!(table.iter().count(), 10_000);
        assert!(table.iter().all(|(stack, _)| stack.samples == 100));
    }
}
