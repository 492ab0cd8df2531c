//! Labels of frame lines that were met before: a text of millions of lines has thousands of names.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::perf_frame::{self, FrameLine};
use crate::labels::{LabelId, Labels};
use crate::tree::NodeKind;

/// Whole lines that are remembered: return addresses come again and again, the text around them
/// with them.
const RECENT: usize = 1 << 14;
/// Longer lines are not remembered, which bounds the memory.
const RECENT_BYTES_MAX: usize = 512;

/// Grows with distinct names, never with lines.
pub(super) struct FrameCache {
    /// The latest line for each hash of a line's beginning.
    recent: Vec<Recent>,
    known: HashTable<Known>,
    /// The labels of all entries, each entry's in one piece, root first.
    labels: Vec<LabelId>,
    /// Decides how fast an entry is found, never which.
    seed: u64,
}

/// A line as it came.
#[derive(Clone, Default)]
struct Recent {
    text: Vec<u8>,
    is_java: bool,
    first: u32,
    count: u32,
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
            recent: vec![Recent::default(); RECENT],
            known: HashTable::new(),
            labels: Vec::new(),
            seed: RandomState::new().hash_one(0_u64),
        }
    }

    /// The labels that the line stands for, root first; `None` if it is no frame.
    pub(super) fn labels(
        &mut self,
        text: &[u8],
        is_java: bool,
        into: &mut Labels,
    ) -> Option<&[LabelId]> {
        let slot = slot(self.seed, text);
        let (first, count) = match self.recent.get(slot) {
            Some(recent) if recent.text == text && recent.is_java == is_java => {
                (recent.first, recent.count)
            }
            _ => {
                let (first, count) = self.of_parts(perf_frame::split(text)?, is_java, into);
                if let Some(recent) = self.recent.get_mut(slot)
                    && text.len() <= RECENT_BYTES_MAX
                {
                    recent.text.clear();
                    recent.text.extend_from_slice(text);
                    (recent.is_java, recent.first, recent.count) = (is_java, first, count);
                }
                (first, count)
            }
        };
        self.labels
            .get(first as usize..first as usize + count as usize)
    }

    /// The place of a line's labels.
    fn of_parts(&mut self, line: FrameLine<'_>, is_java: bool, into: &mut Labels) -> (u32, u32) {
        let hash = hash(self.seed ^ u64::from(is_java), line);
        match self.known.find(hash, |known| known.is(line, is_java)) {
            Some(known) => (known.first, known.count),
            None => self.insert(hash, line, is_java, into),
        }
    }

    /// The labels of a frame that was taken apart already, root first.
    pub(super) fn labels_of(
        &mut self,
        line: FrameLine<'_>,
        is_java: bool,
        into: &mut Labels,
    ) -> &[LabelId] {
        let (first, count) = self.of_parts(line, is_java, into);
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

/// Where a line is remembered: by its first bytes, which hold the address.
fn slot(seed: u64, text: &[u8]) -> usize {
    let start = text.get(..24).unwrap_or(text);
    let (words, _) = start.as_chunks::<8>();
    let mixed = words
        .iter()
        .fold(seed, |state, word| fold(state ^ u64::from_le_bytes(*word)));
    mixed as usize % RECENT
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
