//! New stacks, on their way to be located, and what comes back.

use super::Belongs;
use crate::context::ContextId;
use crate::maps::{MapTable, Mapping};
use crate::tasks::SpaceId;
use std::sync::Arc;

/// New stacks, the words of each behind those of the one before, and the address spaces that they are of.
#[derive(Default)]
pub(crate) struct NewStacks {
    /// Of the batch.
    pub(crate) number: u64,
    words: Vec<u64>,
    all: Vec<NewStack>,
    pub(crate) spaces: Vec<SpaceNow>,
    /// What was found on the way.
    pub(crate) used: Used,
}

/// A new stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewStack {
    pub(crate) context: ContextId,
    pub(crate) belongs: Belongs,
    words_end: usize,
}

/// An address space as it is when its stacks were sampled. What is mapped later where no stack had led to changes nothing.
pub(crate) struct SpaceNow {
    pub(crate) id: SpaceId,
    pub(crate) maps: Arc<MapTable>,
    /// How often something was mapped where stacks had led to nothing.
    pub(crate) filled: u32,
}

/// What stacks led to, for the first time.
#[derive(Default)]
pub(crate) struct Used {
    /// Mappings, in the order they were met.
    pub(crate) mappings: Vec<(SpaceId, Mapping)>,
    /// Addresses where nothing was.
    pub(crate) gaps: Vec<(SpaceId, u64)>,
}

impl NewStacks {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether they are worth another thread.
    pub(crate) fn are_many(&self) -> bool {
        const STACKS: usize = 1 << 10;
        const WORDS: usize = 1 << 17;
        self.all.len() >= STACKS || self.words.len() >= WORDS
    }

    pub(crate) fn push(&mut self, context: ContextId, belongs: Belongs, chain: &[u64]) {
        self.words.extend_from_slice(chain);
        self.all.push(NewStack {
            context,
            belongs,
            words_end: self.words.len(),
        });
    }

    /// All of them, each with its words.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NewStack, &[u64])> {
        let mut begin = 0;
        self.all.iter().map(move |new| {
            let words = self.words.get(begin..new.words_end);
            begin = new.words_end;
            (*new, words.unwrap_or_default())
        })
    }

    /// Forgets them; the room is used again, unless it was for a stack of exceptional length.
    pub(crate) fn clear(&mut self) {
        const ROOM_WORDS: usize = 1 << 18;
        self.words.clear();
        self.words.shrink_to(ROOM_WORDS);
        self.all.clear();
        self.spaces.clear();
        self.used.mappings.clear();
        self.used.gaps.clear();
    }
}
