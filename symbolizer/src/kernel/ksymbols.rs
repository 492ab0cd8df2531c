//! Kernel code that came and went during the recording (BPF programs, trampolines): what was at an address, and when.
//!
//! The kernel puts a new program where one was that is gone. So before a stack is counted, its addresses in such code
//! are replaced by what was there at its time, as it is done with generated code of processes (`jitdump`).

use crate::chain::{KERNEL_MARKER, is_marker, looked_up_at};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Kernel names have 511 bytes at most (`KSYM_NAME_LEN`); a recording could claim 64 KiB.
const NAME_MAX_BYTES: usize = 512;
/// What was at an address before is remembered up to here; then only what was there last.
const VERSIONS_MAX: usize = 1 << 20;

/// No address of the kernel begins so: they begin with ones (Documentation/arch/x86/x86_64/mm.rst,
/// Documentation/arch/arm64/memory.rst).
const TAG: u64 = 0x4b53 << 48;
const TAG_MASK: u64 = 0xffff << 48;

/// Index of a name of kernel code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct KsymbolId(pub(crate) u32);

/// What `PERF_RECORD_KSYMBOL` told.
#[derive(Debug, Default)]
pub(crate) struct Ksymbols {
    /// Disjoint, by their first address.
    pieces: BTreeMap<u64, Piece>,
    /// One past the last address of all.
    end: u64,
    versions: usize,
    names: Vec<Arc<[u8]>>,
    ids: HashMap<Arc<[u8]>, KsymbolId>,
}

#[derive(Clone, Debug)]
struct Piece {
    /// One past its last address.
    end: u64,
    /// Ascending by time, of equal times as they were told; never none.
    versions: Vec<Version>,
}

#[derive(Clone, Copy, Debug)]
struct Version {
    from_ns: u64,
    name: KsymbolId,
}

/// The word of a name. It is odd: one byte back, as a return address is looked up, it still is it.
fn word_of(name: KsymbolId) -> u64 {
    TAG | u64::from(name.0) << 1 | 1
}

/// The name that a word of a kernel's part, or the one before it, stands for.
pub(crate) fn ksymbol_in(word: u64) -> Option<KsymbolId> {
    let number = (word & !TAG_MASK) >> 1;
    (word & TAG_MASK == TAG)
        .then(|| u32::try_from(number).ok().map(KsymbolId))
        .flatten()
}

impl Ksymbols {
    /// From now on this code has these `len_bytes` from `start`. It keeps its name when it is gone, until other code
    /// comes: the last samples of it may be later than the record of its end.
    pub(crate) fn register(&mut self, start: u64, len_bytes: u32, name: &[u8], time_ns: u64) {
        let version = |name| Version {
            from_ns: time_ns,
            name,
        };
        self.insert(start, len_bytes, name, version, true);
    }

    /// This code is gone. Where nothing was known it had been there since before the recording.
    pub(crate) fn unregister(&mut self, start: u64, len_bytes: u32, name: &[u8]) {
        self.insert(
            start,
            len_bytes,
            name,
            |name| Version { from_ns: 0, name },
            false,
        );
    }

    /// What was at an address at a time.
    pub(crate) fn at(&self, address: u64, time_ns: u64) -> Option<KsymbolId> {
        let mut versions = self.versions_at(address)?.iter().rev();
        let found = versions.find(|version| version.from_ns <= time_ns)?;
        Some(found.name)
    }

    /// What was at an address first, whenever that was.
    pub(crate) fn first_at(&self, address: u64) -> Option<KsymbolId> {
        Some(self.versions_at(address)?.first()?.name)
    }

    /// The name, as the kernel calls it.
    pub(crate) fn name(&self, id: KsymbolId) -> Option<&[u8]> {
        self.names.get(id.0 as usize).map(|name| &**name)
    }

    /// Puts what was there at that time in place of the words of a chain that lead into code that came or went.
    pub(crate) fn put_at(&self, chain: &mut [u64], time_ns: u64) {
        let Some(first) = self.pieces.keys().next().copied() else {
            return;
        };
        let mut rest = chain;
        while let Some(marker) = rest.iter().position(|word| *word == KERNEL_MARKER) {
            let behind = rest.get_mut(marker + 1..).unwrap_or_default();
            let len = behind.iter().position(|word| is_marker(*word));
            let (part, others) = behind.split_at_mut(len.unwrap_or(behind.len()));
            for (number, word) in part.iter_mut().enumerate() {
                let address = looked_up_at(number, *word);
                if (first..self.end).contains(&address)
                    && let Some(name) = self.at(address, time_ns)
                {
                    *word = word_of(name);
                }
            }
            rest = others;
        }
    }

    fn versions_at(&self, address: u64) -> Option<&[Version]> {
        let (_, found) = self.pieces.range(..=address).next_back()?;
        (address < found.end).then_some(&found.versions)
    }

    fn insert(
        &mut self,
        start: u64,
        len_bytes: u32,
        name: &[u8],
        version: impl FnOnce(KsymbolId) -> Version,
        over_others: bool,
    ) {
        let end = start.saturating_add(u64::from(len_bytes));
        if end == start || name.is_empty() {
            return;
        }
        let version = version(self.intern(name));
        if over_others {
            self.cut_at(start);
            self.cut_at(end);
            if self.versions >= VERSIONS_MAX {
                self.forget(start, end);
            }
            for (_, piece) in self.pieces.range_mut(start..end) {
                let after = piece
                    .versions
                    .partition_point(|known| known.from_ns <= version.from_ns);
                piece.versions.insert(after, version);
                self.versions += 1;
            }
        }
        self.fill(start, end, version);
        self.end = self.end.max(end);
    }

    fn intern(&mut self, name: &[u8]) -> KsymbolId {
        let name = name.get(..NAME_MAX_BYTES).unwrap_or(name);
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = KsymbolId(self.names.len() as u32);
        let name: Arc<[u8]> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    /// Makes a piece begin at `at`, if it is inside of one. Its two halves remember what it did, while there is room.
    fn cut_at(&mut self, at: u64) {
        let Some((_, piece)) = self.pieces.range_mut(..at).next_back() else {
            return;
        };
        if piece.end <= at {
            return;
        }
        let mut behind = piece.clone();
        piece.end = at;
        if self.versions + behind.versions.len() > VERSIONS_MAX {
            let before_last = behind.versions.len().saturating_sub(1);
            behind.versions.drain(..before_last);
        }
        self.versions += behind.versions.len();
        self.pieces.insert(at, behind);
    }

    fn forget(&mut self, start: u64, end: u64) {
        while let Some((&hidden, _)) = self.pieces.range(start..end).next() {
            if let Some(piece) = self.pieces.remove(&hidden) {
                self.versions -= piece.versions.len();
            }
        }
    }

    /// Puts a version where there is none.
    fn fill(&mut self, start: u64, end: u64, version: Version) {
        let mut at = match self.pieces.range(..=start).next_back() {
            Some((_, piece)) => piece.end.max(start),
            None => start,
        };
        let mut gaps = Vec::new();
        for (begin, piece) in self.pieces.range(start..end) {
            if *begin > at {
                gaps.push(at..*begin);
            }
            at = at.max(piece.end);
        }
        if at < end {
            gaps.push(at..end);
        }
        for gap in gaps {
            let piece = Piece {
                end: gap.end,
                versions: vec![version],
            };
            self.pieces.insert(gap.start, piece);
            self.versions += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{KERNEL_MARKER, USER_MARKER};

    const BASE: u64 = 0xffff_ffff_c040_0000;

    fn text(known: &Ksymbols, id: Option<KsymbolId>) -> &str {
        let name = id.and_then(|id| known.name(id)).unwrap_or(b"-");
        std::str::from_utf8(name).expect("ours")
    }

    #[test]
    fn code_has_the_name_of_its_time_and_keeps_it_until_other_code_comes() {
        let mut known = Ksymbols::default();
        known.register(BASE, 0x100, b"first", 10);
        known.unregister(BASE, 0x100, b"first");
        known.register(BASE + 0x40, 0x20, b"second", 20);
        known.register(BASE + 0xf0, 0x20, b"tail", 30);
        let at = |into, time_ns| text(&known, known.at(BASE + into, time_ns));
        assert_eq!(at(0x40, 9), "-");
        assert_eq!(
            [at(0x40, 10), at(0x40, 19), at(0x40, 20)],
            ["first", "first", "second"]
        );
        let late = [0x3f, 0x40, 0x5f, 0x60, 0xef, 0xf0, 0x10f, 0x110].map(|into| at(into, 99));
        assert_eq!(
            late,
            [
                "first", "second", "second", "first", "first", "tail", "tail", "-"
            ]
        );
        assert_eq!(text(&known, known.first_at(BASE + 0x40)), "first");
        assert_eq!(text(&known, known.first_at(BASE + 0x10f)), "tail");
        // A record that was delivered late does not hide what came after it.
        known.register(BASE, 0x200, b"late", 15);
        let at = |time_ns| text(&known, known.at(BASE + 0x40, time_ns));
        assert_eq!([at(14), at(15), at(20)], ["first", "late", "second"]);
    }

    #[test]
    fn code_that_was_there_before_the_recording_is_known_by_its_end() {
        let mut known = Ksymbols::default();
        known.unregister(BASE, 0x10, b"gone");
        known.register(BASE, 0x20, b"new", 50);
        let at = |into, time_ns| text(&known, known.at(BASE + into, time_ns));
        assert_eq!(
            [at(0xf, 0), at(0xf, 49), at(0xf, 50)],
            ["gone", "gone", "new"]
        );
        assert_eq!([at(0x10, 49), at(0x10, 50)], ["-", "new"]);
        assert_eq!(text(&known, known.first_at(BASE)), "gone");
    }

    #[test]
    fn only_words_of_the_kernels_part_are_replaced_and_a_return_address_inside_its_call() {
        let mut known = Ksymbols::default();
        known.register(BASE, 0x100, b"prog", 10);
        let chain = [
            KERNEL_MARKER,
            BASE,
            BASE + 0x100,
            BASE,
            USER_MARKER,
            BASE,
            BASE + 8,
        ];
        let put_at = |time_ns| {
            let mut words = chain;
            known.put_at(&mut words, time_ns);
            words
        };
        let prog = word_of(KsymbolId(0));
        assert_eq!(
            put_at(10),
            [KERNEL_MARKER, prog, prog, BASE, USER_MARKER, BASE, BASE + 8]
        );
        assert_eq!(ksymbol_in(prog), Some(KsymbolId(0)));
        assert_eq!(ksymbol_in(prog - 1), Some(KsymbolId(0)));
        assert_eq!(ksymbol_in(BASE), None);
        assert_eq!(put_at(9), chain);
    }

    #[test]
    fn what_overflows_or_is_empty_is_no_code() {
        let mut known = Ksymbols::default();
        known.register(u64::MAX - 1, u32::MAX, b"overflows", 0);
        known.register(BASE, 0, b"empty", 0);
        known.register(BASE, 8, b"", 0);
        known.unregister(BASE, 0, b"empty");
        assert_eq!(known.at(BASE, 9), None);
        assert_eq!(text(&known, known.at(u64::MAX - 1, 9)), "overflows");
        known.register(BASE, 8, &[b'x'; 70_000], 0);
        let name = known.at(BASE, 0).and_then(|id| known.name(id));
        assert_eq!(name.map(<[u8]>::len), Some(NAME_MAX_BYTES));
    }

    #[test]
    fn a_recording_of_endless_changes_takes_no_endless_memory() {
        let mut known = Ksymbols::default();
        // Small pieces, each cut and hidden by large ones again and again.
        for number in 0..1_000_u64 {
            known.register(BASE + number * 16, 16, b"small", number);
        }
        for number in 0..3_000_u64 {
            known.register(BASE, 1 << 20, b"large", 1_000 + number);
        }
        assert!(known.versions <= VERSIONS_MAX + 2_000, "{}", known.versions);
        let counted: usize = known
            .pieces
            .values()
            .map(|piece| piece.versions.len())
            .sum();
        assert_eq!(counted, known.versions);
        assert_eq!(text(&known, known.at(BASE + 40, u64::MAX)), "large");
    }
}
