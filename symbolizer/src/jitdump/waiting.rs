//! Samples of a process that writes a jitdump, until its dump is read as far as their time: a JIT buffers
//! what it writes. Equal stacks are kept once.

use crate::context::ContextId;
use crate::hash::FastState;
use hashbrown::HashTable;
use std::collections::VecDeque;
use std::ops::Range;

/// What happened in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It was sampled.
    Sample {
        stack: StackNumber,
        time_ns: u64,
        weight: u64,
    },
    /// A file was mapped: what was generated there is gone.
    Hidden { range: Range<u64>, time_ns: u64 },
}

impl Step {
    fn time_ns(&self) -> u64 {
        match self {
            Self::Sample { time_ns, .. } | Self::Hidden { time_ns, .. } => *time_ns,
        }
    }
}

/// Number of a stack that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackNumber(u32);

/// A stack that waits.
pub(crate) struct WaitingStack {
    pub(crate) context: ContextId,
    pub(crate) words: Box<[u64]>,
    /// What it became, and at which version of its process's code.
    pub(crate) made: Option<(u64, Box<[u64]>)>,
    steps: u32,
    hash: u64,
}

/// All that waits of one process, the oldest first.
#[derive(Default)]
pub(crate) struct Waiting {
    steps: VecDeque<Step>,
    stacks: Vec<Option<WaitingStack>>,
    free: Vec<u32>,
    numbers: HashTable<u32>,
    hash: FastState,
    words: usize,
}

/// Whether a stack did not wait before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IsNew {
    Yes,
    No,
}

impl Waiting {
    /// Steps that wait.
    pub(crate) fn len(&self) -> usize {
        self.steps.len()
    }

    /// Words of the stacks that wait.
    pub(crate) fn len_words(&self) -> usize {
        self.words
    }

    /// Adds a sample behind those that are not later: one that waited for its chain may be late.
    pub(crate) fn push(
        &mut self,
        context: ContextId,
        words: &[u64],
        time_ns: u64,
        weight: u64,
    ) -> IsNew {
        let hash = self.hash.hash_words(context.0.into(), words);
        let Self {
            stacks, numbers, ..
        } = self;
        let is_it = |number: &u32| {
            let stack = stacks.get(*number as usize).and_then(Option::as_ref);
            stack.is_some_and(|stack| stack.context == context && *stack.words == *words)
        };
        let (number, is_new) = match numbers.find(hash, is_it) {
            Some(known) => (*known, IsNew::No),
            None => (self.add(context, words, hash), IsNew::Yes),
        };
        if let Some(Some(stack)) = self.stacks.get_mut(number as usize) {
            stack.steps += 1;
        }
        let later = self.steps.iter().rev();
        let later = later.take_while(|step| step.time_ns() > time_ns).count();
        let sample = Step::Sample {
            stack: StackNumber(number),
            time_ns,
            weight,
        };
        self.steps.insert(self.steps.len() - later, sample);
        is_new
    }

    fn add(&mut self, context: ContextId, words: &[u64], hash: u64) -> u32 {
        let stack = Some(WaitingStack {
            context,
            words: words.into(),
            made: None,
            steps: 0,
            hash,
        });
        self.words += words.len();
        let free = self.free.pop();
        let slot = free.and_then(|number| Some((number, self.stacks.get_mut(number as usize)?)));
        let number = match slot {
            Some((number, slot)) => {
                *slot = stack;
                number
            }
            None => {
                self.stacks.push(stack);
                self.stacks.len() as u32 - 1
            }
        };
        let stacks = &self.stacks;
        self.numbers.insert_unique(hash, number, |number| {
            let stack = stacks.get(*number as usize).and_then(Option::as_ref);
            stack.map_or(0, |stack| stack.hash)
        });
        number
    }

    /// Adds that a file was mapped behind what was sampled before.
    pub(crate) fn hide(&mut self, range: Range<u64>, time_ns: u64) {
        self.steps.push_back(Step::Hidden { range, time_ns });
    }

    /// The oldest step, which waits no more.
    pub(crate) fn pop(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// The stack of a sample.
    pub(crate) fn stack(&mut self, number: StackNumber) -> Option<&mut WaitingStack> {
        self.stacks.get_mut(number.0 as usize)?.as_mut()
    }

    /// A sample of this stack was counted: without another it is forgotten.
    pub(crate) fn counted(&mut self, number: StackNumber) {
        let Some(slot) = self.stacks.get_mut(number.0 as usize) else {
            return;
        };
        let Some(stack) = slot else { return };
        stack.steps = stack.steps.saturating_sub(1);
        if stack.steps > 0 {
            return;
        }
        let entry = self
            .numbers
            .find_entry(stack.hash, |known| *known == number.0);
        if let Ok(entry) = entry {
            entry.remove();
        }
        self.words -= stack.words.len();
        self.free.push(number.0);
        *slot = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stacks_wait_once_and_are_forgotten_with_their_last_sample() {
        let mut waiting = Waiting::default();
        for round in 0..10 {
            let samples = [
                (1, &[1, 2, 3][..]),
                (2, &[1, 2, 3]),
                (1, &[1, 2, 3]),
                (1, &[]),
            ];
            let is_new =
                samples.map(|(context, words)| waiting.push(ContextId(context), words, round, 1));
            let expected = [IsNew::Yes, IsNew::Yes, IsNew::No, IsNew::Yes];
            assert_eq!(is_new, expected);
            waiting.hide(0x1000..0x2000, round);
            assert_eq!((waiting.len(), waiting.len_words()), (5, 6));
            let mut found = Vec::new();
            while let Some(step) = waiting.pop() {
                let Step::Sample { stack, .. } = step else {
                    assert_eq!(found.len(), 4, "in order");
                    continue;
                };
                let waits = waiting.stack(stack).expect("it waits");
                found.push((waits.context.0, waits.words.to_vec()));
                waiting.counted(stack);
            }
            let samples = samples.map(|(context, words)| (context, words.to_vec()));
            assert_eq!(found, samples);
            assert_eq!((waiting.len(), waiting.len_words()), (0, 0));
            assert_eq!(waiting.stacks.len(), 3, "their places are used again");
        }
    }
}
