//! Labels of frame lines that were met before: a text of millions of lines has thousands of names.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::perf_frame::{self, FrameLine};
use crate::labels::{LabelId, Labels};
use crate::tree::NodeKind;

/// Grows with distinct names, never with lines.
pub(super) struct FrameCache {
    known: HashTable<Known>,
    /// The labels of all entries, each entry's in one piece, root first.
    labels: Vec<LabelId>,
    /// Decides how fast an entry is found, never which.
    seed: u64,
}

struct Known {
    hash: u64,
    /// Symbol and dso, one behind the other.
    key: Box<[u8]>,
    symbol_len: usize,
    has_dso: bool,
    is_java: bool,
    first: u32,
    count: u32,
}

impl Known {
    fn is(&self, line: FrameLine<'_>, is_java: bool) -> bool {
        let (symbol, dso) = (line.symbol, line.dso.unwrap_or_default());
        self.is_java == is_java
            && self.symbol_len == symbol.len()
            && self.has_dso == line.dso.is_some()
            && self.key.len() == symbol.len() + dso.len()
            && self.key.starts_with(symbol)
            && self.key.ends_with(dso)
    }
}

impl FrameCache {
    pub(super) fn new() -> Self {
        Self {
            known: HashTable::new(),
            labels: Vec::new(),
            seed: RandomState::new().hash_one(0_u64),
        }
    }

    /// The labels that the line stands for, root first.
    pub(super) fn labels(
        &mut self,
        line: FrameLine<'_>,
        is_java: bool,
        into: &mut Labels,
    ) -> &[LabelId] {
        let hash = hash(self.seed ^ u64::from(is_java), line);
        let (first, count) = match self.known.find(hash, |known| known.is(line, is_java)) {
            Some(known) => (known.first, known.count),
            None => self.insert(hash, line, is_java, into),
        };
        let end = first as usize + count as usize;
        self.labels.get(first as usize..end).unwrap_or_default()
    }

    fn insert(
        &mut self,
        hash: u64,
        line: FrameLine<'_>,
        is_java: bool,
        into: &mut Labels,
    ) -> (u32, u32) {
        let first = self.labels.len() as u32;
        for frame in perf_frame::names(line, is_java) {
            self.labels.push(match frame.kind {
                NodeKind::Unresolved => into.intern_unresolved(&frame.name, frame.reason),
                kind => into.intern(kind, &frame.name),
            });
        }
        let count = self.labels.len() as u32 - first;
        let known = Known {
            hash,
            key: [line.symbol, line.dso.unwrap_or_default()].concat().into(),
            symbol_len: line.symbol.len(),
            has_dso: line.dso.is_some(),
            is_java,
            first,
            count,
        };
        self.known.insert_unique(hash, known, |known| known.hash);
        (first, count)
    }
}

/// Names come from programs that may be hostile: the seed is another one in each run.
fn hash(seed: u64, line: FrameLine<'_>) -> u64 {
    mixed(mixed(seed, line.symbol), line.dso.unwrap_or_default())
}

fn mixed(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = fold(seed ^ bytes.len() as u64);
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    fold(state ^ u64::from_le_bytes(last))
}

/// One 64 × 64 → 128 bit multiplication, its halves folded together.
fn fold(value: u64) -> u64 {
    let product = u128::from(value) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
    (product as u64) ^ ((product >> 64) as u64)
}
