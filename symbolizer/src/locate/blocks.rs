//! A chain's words in blocks, from the root on: what many stacks begin with is the same blocks in all of them.

use crate::chain::{Part, is_marker, looked_up_at, part_behind};
use std::ops::Range;

/// Words of a block: the more, the fewer there are to be found; the fewer, the less of a stack is new. 4 and 16 cost
/// more.
pub(super) const BLOCK: usize = 8;

/// Some entries of one part of a chain, in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) part: Part,
    /// Which words of the chain; never none.
    words: Range<usize>,
    /// Whether the first of them is the first of its part, which is no return address.
    has_leaf: bool,
}

impl Block {
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// The addresses to look its entries up by, root first; `chain` is what it is of.
    pub(super) fn addrs(&self, chain: &[u64]) -> impl Iterator<Item = u64> {
        let words = chain.get(self.words.clone()).unwrap_or_default();
        let before = usize::from(!self.has_leaf);
        let numbered = words.iter().enumerate().rev();
        numbered.map(move |(number, word)| looked_up_at(number + before, *word))
    }

    /// All that the places of its entries depend on, besides what comes before it: how its words are to be read and
    /// how many they are, and they.
    pub(super) fn identity(&self, chain: &[u64]) -> (u64, [u64; BLOCK]) {
        let of_it = chain.get(self.words.clone()).unwrap_or_default();
        let mut words = [0; BLOCK];
        for (to, from) in words.iter_mut().zip(of_it) {
            *to = *from;
        }
        let part = match self.part {
            Part::Kernel => 0,
            Part::User => 1,
            Part::Other => 2,
        };
        let len = self.len() as u64;
        (len << 3 | part << 1 | u64::from(self.has_leaf), words)
    }
}

/// The blocks of a chain, from the root on.
pub(super) struct Blocks<'a> {
    chain: &'a [u64],
    part: Part,
    /// What is left of the part.
    rest: Range<usize>,
}

impl<'a> Blocks<'a> {
    pub(super) fn of(chain: &'a [u64]) -> Self {
        Self {
            chain,
            part: Part::User,
            rest: chain.len()..chain.len(),
        }
    }

    fn next_part(&mut self) -> Option<()> {
        let before = self.chain.get(..self.rest.start)?;
        let end = before.iter().rposition(|word| !is_marker(*word))? + 1;
        let entries = before.get(..end)?;
        let marker = entries.iter().rposition(|word| is_marker(*word));
        self.rest = marker.map_or(0, |at| at + 1)..end;
        self.part = part_behind(entries);
        Some(())
    }
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        if self.rest.is_empty() {
            self.next_part()?;
        }
        let Range { start, end } = self.rest;
        let at = end.saturating_sub(BLOCK).max(start);
        self.rest = start..at;
        Some(Block {
            part: self.part,
            words: at..end,
            has_leaf: at == start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{KERNEL_MARKER, USER_MARKER, entries};
    use std::collections::HashMap;

    fn chains() -> impl Iterator<Item = Vec<u64>> {
        let lens = (0..20).flat_map(|kernel| (0..20).map(move |user| (kernel, user)));
        lens.map(|(kernel, user)| {
            let kernel = (0..kernel).map(|word| 0xffff_0000 + word);
            let user = (0..user).map(|word| 0x1000 + word);
            let kernel = [KERNEL_MARKER].into_iter().chain(kernel);
            kernel.chain([USER_MARKER]).chain(user).collect()
        })
    }

    #[test]
    fn the_blocks_of_a_chain_are_all_its_entries() {
        for chain in chains() {
            let mut told: Vec<(Part, u64)> = Vec::new();
            for block in Blocks::of(&chain) {
                told.extend(block.addrs(&chain).map(|addr| (block.part, addr)));
            }
            told.reverse();
            let expected: Vec<_> = entries(chain.iter().copied()).collect();
            assert_eq!(told, expected, "{chain:x?}");
        }
    }

    #[test]
    fn blocks_that_lead_to_other_addresses_have_another_identity() {
        let mut met: HashMap<_, (Part, Vec<u64>)> = HashMap::new();
        for chain in chains() {
            for block in Blocks::of(&chain) {
                let leads_to = (block.part, block.addrs(&chain).collect());
                let known = met.entry(block.identity(&chain));
                assert_eq!(known.or_insert_with(|| leads_to.clone()), &leads_to);
            }
        }
        assert!(met.len() > 20);
    }

    #[test]
    fn what_is_added_at_the_leaf_leaves_the_blocks_at_the_root() {
        const LEN: usize = 2 * BLOCK + 3;
        let chain: Vec<u64> = (1..=LEN as u64).collect();
        let identities = |chain: &[u64]| -> Vec<_> {
            let blocks = Blocks::of(chain);
            blocks.map(|block| block.identity(chain)).collect()
        };
        let (whole, rest) = (identities(&chain), identities(&chain[2..]));
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[..2], rest[..2]);
        assert_ne!(whole[2], rest[2]);
    }
}
