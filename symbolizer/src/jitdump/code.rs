//! The generated code of a process at one moment: which function is at an address. Names are kept once
//! for all processes.

use hashbrown::HashTable;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::ops::Range;

/// Index of a function's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CodeName(pub(crate) u32);

/// The names of generated functions, each once: a JIT gives one name to thousands of pieces of code.
#[derive(Default)]
pub(crate) struct CodeNames {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    ids: HashTable<CodeName>,
    hash: RandomState,
}

/// What all names of a recording may cost, in bytes.
const NAMES_MAX_BYTES: usize = 256 << 20;

impl CodeNames {
    /// The number of a name; `None` where there are too many.
    pub(crate) fn intern(&mut self, name: &[u8]) -> Option<CodeName> {
        let Self {
            bytes, ends, ids, ..
        } = self;
        let hash = self.hash.hash_one(name);
        if let Some(known) = ids.find(hash, |known| at(bytes, ends, *known) == name) {
            return Some(*known);
        }
        if bytes.len() + name.len() > NAMES_MAX_BYTES {
            return None;
        }
        let id = CodeName(u32::try_from(ends.len()).ok()?);
        bytes.extend_from_slice(name);
        ends.push(bytes.len());
        let state = &self.hash;
        ids.insert_unique(hash, id, |known| state.hash_one(at(bytes, ends, *known)));
        Some(id)
    }

    /// A name, as its process wrote it.
    pub(crate) fn get(&self, id: CodeName) -> &[u8] {
        at(&self.bytes, &self.ends, id)
    }
}

fn at<'a>(bytes: &'a [u8], ends: &[usize], id: CodeName) -> &'a [u8] {
    let number = id.0 as usize;
    let start = number.checked_sub(1).and_then(|before| ends.get(before));
    let end = ends.get(number).copied().unwrap_or(0);
    bytes
        .get(start.copied().unwrap_or(0)..end)
        .unwrap_or_default()
}

/// What the code of all processes may cost, in pieces: some 200 MB.
pub(crate) const PIECES_MAX: usize = 5_000_000;

/// Ranges that do not overlap, by their first address.
#[derive(Debug, Default)]
pub(crate) struct CodeTable {
    pieces: BTreeMap<u64, (u64, CodeName)>,
}

impl CodeTable {
    /// How many ranges there are.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The function at an address.
    pub(crate) fn find(&self, addr: u64) -> Option<CodeName> {
        let (_, (end, name)) = self.pieces.range(..=addr).next_back()?;
        (addr < *end).then_some(*name)
    }

    /// The function that begins at an address.
    pub(crate) fn starting_at(&self, addr: u64) -> Option<CodeName> {
        self.pieces.get(&addr).map(|(_, name)| *name)
    }

    /// Puts code over what was there. Each piece is cut or taken away once: the cost is that of a search.
    pub(crate) fn insert(&mut self, range: Range<u64>, name: CodeName) {
        if range.is_empty() {
            return;
        }
        self.remove(range.clone());
        self.pieces.insert(range.start, (range.end, name));
    }

    /// Takes away what was there.
    pub(crate) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let before = self.pieces.range_mut(..range.start).next_back();
        if let Some((_, (end, name))) = before
            && *end > range.start
        {
            let (old_end, name) = (*end, *name);
            *end = range.start;
            if old_end > range.end {
                self.pieces.insert(range.end, (old_end, name));
            }
        }
        while let Some((start, (end, name))) = self.pieces.range(range.clone()).next() {
            let (start, end, name) = (*start, *end, *name);
            self.pieces.remove(&start);
            if end > range.end {
                self.pieces.insert(range.end, (end, name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_code_answers_for_each_byte_that_it_covers() {
        // Against the plain rule, for every pair and triple of small ranges.
        let ranges = || (0..6_u64).flat_map(|start| (start + 1..=6).map(move |end| start..end));
        for first in ranges() {
            for second in ranges() {
                for third in ranges() {
                    let mut table = CodeTable::default();
                    let order = [first.clone(), second.clone(), third.clone()];
                    for (range, name) in order.iter().zip(0..) {
                        table.insert(range.clone(), CodeName(name));
                    }
                    for addr in 0..7 {
                        let newest = order.iter().rposition(|range| range.contains(&addr));
                        let found = table.find(addr).map(|name| name.0 as usize);
                        assert_eq!(found, newest, "{order:?} at {addr}");
                    }
                    table.remove(first.clone());
                    for addr in 0..7 {
                        let newest = order.iter().rposition(|range| range.contains(&addr));
                        let left = newest.filter(|_| !first.contains(&addr));
                        let found = table.find(addr).map(|name| name.0 as usize);
                        assert_eq!(found, left, "{order:?} without {first:?} at {addr}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_name_is_kept_once() {
        let mut names = CodeNames::default();
        let ids: Vec<_> = [&b"f"[..], b"g", b"f", b"", b"fg"]
            .map(|name| names.intern(name).expect("few"))
            .to_vec();
        assert_eq!(ids, [0, 1, 0, 2, 3].map(CodeName));
        let again: Vec<&[u8]> = ids.iter().map(|id| names.get(*id)).collect();
        assert_eq!(again, [&b"f"[..], b"g", b"f", b"", b"fg"]);
        for number in 0..10_000_u32 {
            names.intern(format!("LazyCompile:~f{number}").as_bytes());
        }
        assert_eq!(names.intern(b"LazyCompile:~f7"), Some(CodeName(11)));
    }

    #[test]
    fn a_million_loads_that_reuse_their_addresses_stay_few_pieces() {
        let mut table = CodeTable::default();
        for load in 0..1_000_000_u64 {
            let start = load * 7919 % 65_536 * 64;
            table.insert(start..start + 192, CodeName((load % 100) as u32));
        }
        assert!(table.len() <= 65_536, "{}", table.len());
    }
}
