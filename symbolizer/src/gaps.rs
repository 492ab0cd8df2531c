//! Where stacks of an address space led to nothing: what is mapped there later gives addresses a meaning that
//! they did not have.

use crate::chain::{Part, parts};
use std::collections::BTreeSet;
use std::ops::Range;

/// The least of all architectures: a mapping begins and ends at one.
const PAGE_BITS: u32 = 12;

/// Pages that are told apart; a program can put any address on its stack.
const PAGES_MAX: usize = 4096;

/// Pages where nothing was.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    pages: BTreeSet<u64>,
    /// There were more of them than are told apart.
    are_too_many: bool,
}

impl Gaps {
    /// Nothing is at this address.
    pub(crate) fn note(&mut self, addr: u64) {
        if self.pages.len() < PAGES_MAX {
            self.pages.insert(addr >> PAGE_BITS);
        } else {
            self.are_too_many = true;
        }
    }

    /// Whether there may have been nothing at some of these addresses.
    pub(crate) fn are_in(&self, avma: &Range<u64>) -> bool {
        let Some(last) = avma.end.checked_sub(1).filter(|last| *last >= avma.start) else {
            return false;
        };
        let pages = avma.start >> PAGE_BITS..=last >> PAGE_BITS;
        self.are_too_many || self.pages.range(pages).next().is_some()
    }
}

/// Where stacks may have led, mapped or not: some addresses that none led to seem to be among them.
#[derive(Default)]
pub(crate) struct Touched {
    /// A bit for many pieces of the address space each; none before the first address.
    bits: Vec<u64>,
}

/// Pieces that are told apart.
const PIECE_BITS: u32 = 16;
/// Words of bits: 2 KiB.
const TOUCHED_WORDS: usize = 256;
/// A mapping of more pieces than that has one where a stack led.
const PIECES_MAX: u64 = 4096;

impl Touched {
    /// A stack has these words.
    pub(crate) fn note(&mut self, words: &[u64]) {
        self.bits.resize(TOUCHED_WORDS, 0);
        // Many are in one piece as the one before.
        let mut last = None;
        for (_, entries) in parts(words).filter(|(part, _)| *part == Part::User) {
            for addr in entries {
                let piece = addr >> PIECE_BITS;
                if last == Some(piece) {
                    continue;
                }
                last = Some(piece);
                let (word, bit) = Self::place(piece);
                if let Some(bits) = self.bits.get_mut(word) {
                    *bits |= bit;
                }
            }
        }
    }

    /// Whether one may have led into these.
    pub(crate) fn are_in(&self, avma: &Range<u64>) -> bool {
        // A return address is looked up one byte back.
        let (first, last) = (avma.start >> PIECE_BITS, avma.end >> PIECE_BITS);
        let is_touched = |piece| {
            let (word, bit) = Self::place(piece);
            self.bits.get(word).is_some_and(|bits| bits & bit != 0)
        };
        last - first >= PIECES_MAX || (first..=last).any(is_touched)
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.bits = Vec::new();
    }

    fn place(piece: u64) -> (usize, u64) {
        let mixed = piece.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 50;
        (mixed as usize / 64 % TOUCHED_WORDS, 1 << (mixed % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_stack_led_is_told_and_little_else() {
        let mut touched = Touched::default();
        let mapping = |at: u64| (at << 20)..(at << 20) + 0x1000;
        assert!(!touched.are_in(&mapping(1)));
        let addrs: Vec<u64> = (0..200).map(|at| (at << 20) + 0xfff).collect();
        touched.note(&addrs);
        assert!((0..200).all(|at| touched.are_in(&mapping(at))));
        let others = (200..1200).filter(|at| touched.are_in(&mapping(*at)));
        assert!(others.count() < 50);
        // The first byte behind it is a return address of its last.
        assert!(touched.are_in(&(0x1000..(7 << 20) + 0xfff)));
        assert!(touched.are_in(&(1 << 40..1 << 41)));
        touched.clear();
        assert!(!touched.are_in(&mapping(1)));
    }

    #[test]
    fn a_mapping_fills_a_gap_if_one_of_its_pages_was_noted() {
        let mut gaps = Gaps::default();
        assert!(!gaps.are_in(&(0..u64::MAX)));
        gaps.note(0x5800);
        gaps.note(u64::MAX);
        let are_in = [
            0x5000..0x6000,
            0x5fff..0x9000,
            0x1000..0x5001,
            0x6000..0x9000,
            0x1000..0x5000,
            0x5000..0x5000,
        ]
        .map(|avma| gaps.are_in(&avma));
        assert_eq!(are_in, [true, true, true, false, false, false]);
    }

    #[test]
    fn of_too_many_gaps_any_may_be_filled() {
        let mut gaps = Gaps::default();
        for page in 0..=PAGES_MAX as u64 {
            assert!(!gaps.are_in(&(1 << 40..1 << 41)));
            gaps.note(page << PAGE_BITS);
        }
        assert!(gaps.are_in(&(1 << 40..1 << 41)));
        assert_eq!(gaps.pages.len(), PAGES_MAX);
    }
}
