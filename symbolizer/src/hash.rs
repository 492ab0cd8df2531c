//! A fast hash for addresses and small ids, seeded for each run: the addresses come from programs
//! that may be hostile. No result depends on its order.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A map from small integers.
pub(crate) type FastMap<K, V> = HashMap<K, V, FastState>;

/// What a stack is known by, without its words. Made of four lanes of 64 bits that only who knows
/// the seed could make equal: of a million stacks that just happen to be, two are with a probability
/// below 10^-7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackHash {
    place: u64,
    check: u32,
}

impl StackHash {
    /// Where a search begins.
    pub(crate) fn place(self) -> u64 {
        self.place
    }

    /// What it compares besides.
    pub(crate) fn check(self) -> u32 {
        self.check
    }
}

/// Seeds one table.
#[derive(Clone, Copy)]
pub(crate) struct FastState {
    seed: u64,
}

impl Default for FastState {
    fn default() -> Self {
        Self {
            seed: RandomState::new().build_hasher().finish() | 1,
        }
    }
}

impl FastState {
    /// Hash of a stack and of what it belongs to. Four lanes, so that one multiplication does not
    /// wait for the one before.
    pub(crate) fn hash_words(&self, first: u64, words: &[u64]) -> StackHash {
        let seed = self.seed;
        let mut lanes = [
            seed ^ first,
            seed.rotate_left(16),
            seed.rotate_left(32),
            seed.rotate_left(48),
        ];
        let (quads, rest) = words.as_chunks::<4>();
        for quad in quads {
            for (lane, word) in lanes.iter_mut().zip(quad) {
                *lane = fold(*lane ^ word, seed);
            }
        }
        for (lane, word) in lanes.iter_mut().zip(rest) {
            *lane = fold(*lane ^ word, seed);
        }
        let len = words.len() as u64;
        let place = lanes
            .iter()
            .fold(len, |state, lane| fold(state ^ lane, seed));
        let other = seed.rotate_left(29) ^ 0xd6e8_feb8_6659_fd93;
        let check = lanes
            .iter()
            .rev()
            .fold(len, |state, lane| fold(state ^ lane, other));
        StackHash {
            place,
            check: (check >> 32) as u32,
        }
    }
}

/// One 64 × 64 → 128 bit multiplication, its halves folded together.
fn fold(value: u64, seed: u64) -> u64 {
    let product = u128::from(value) * u128::from(seed ^ 0x9e37_79b9_7f4a_7c15 | 1);
    (product as u64) ^ ((product >> 64) as u64)
}

impl BuildHasher for FastState {
    type Hasher = FastHasher;

    fn build_hasher(&self) -> FastHasher {
        FastHasher {
            state: self.seed,
            seed: self.seed,
        }
    }
}

/// Hashes what `#[derive(Hash)]` on small ids feeds it.
pub(crate) struct FastHasher {
    state: u64,
    seed: u64,
}

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.state
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    /// Which variant of an enum it is.
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.state = fold(self.state ^ value, self.seed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_stacks_hash_equal_and_order_matters() {
        let state = FastState::default();
        let hash = |words: &[u64]| state.hash_words(1, words);
        assert_eq!(hash(&[1, 2, 3]), hash(&[1, 2, 3]));
        assert_ne!(hash(&[1, 2, 3]), hash(&[3, 2, 1]));
        assert_ne!(hash(&[]), hash(&[0]));
        assert_ne!(hash(&[1, 2, 3, 4, 5]), hash(&[5, 2, 3, 4, 1]));
        assert_ne!(hash(&[1, 2, 3, 4]), hash(&[2, 1, 3, 4]));
    }
}
