//! A fast hash for addresses and small ids, seeded for each run: the addresses come from programs
//! that may be hostile. No result depends on its order.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A map from small integers.
pub(crate) type FastMap<K, V> = HashMap<K, V, FastState>;

/// A hash of words that is made step by step.
#[derive(Clone, Copy)]
pub(crate) struct Trail {
    lanes: [u64; 2],
}

/// Seeds one table.
#[derive(Clone, Copy)]
pub(crate) struct FastState {
    seed: u64,
    secrets: Secrets,
}

/// What stacks are hashed with: nobody who writes addresses knows them.
#[derive(Clone, Copy)]
struct Secrets {
    a: u64,
    b: u64,
    c: u64,
    d: u64,
}

impl Default for FastState {
    fn default() -> Self {
        let state = RandomState::new();
        let [a, b, c, d] = [1, 2, 3, 4].map(|number| state.hash_one(number));
        Self {
            seed: state.build_hasher().finish() | 1,
            secrets: Secrets { a, b, c, d },
        }
    }
}

impl FastState {
    /// Of the empty path of what `first` says.
    pub(crate) fn trail(&self, first: u64) -> Trail {
        let Secrets { a, b, .. } = self.secrets;
        Trail {
            lanes: [folded(a ^ first, b), a],
        }
    }

    /// Of the path that goes on with these words, of which `kind` tells how they are to be read, and how many of them
    /// are words.
    pub(crate) fn on(&self, trail: Trail, kind: u64, words: &[u64; 8]) -> Trail {
        let Secrets { a, b, c, d } = self.secrets;
        let kind = folded(b ^ kind, a);
        let [first, second] = trail.lanes;
        let [s, t, u, v, w, x, y, z] = words;
        let first = folded(first ^ s, c ^ t ^ kind);
        let second = folded(second ^ u, d ^ v ^ kind);
        Trail {
            lanes: [folded(first ^ w, c ^ x), folded(second ^ y, d ^ z)],
        }
    }

    /// What a path is known by: of a million that just happen to be, two are one with a probability below 10^-7, and
    /// only who knows the secrets could make two that are.
    pub(crate) fn key_of(&self, Trail { lanes }: Trail) -> u64 {
        let Secrets { c, d, .. } = self.secrets;
        folded(lanes[0] ^ c, lanes[1] ^ d)
    }

    /// Hash of a word that is not 0: of no two words it is the same, and of none it is 0.
    pub(crate) fn one_to_one(&self, word: u64) -> u64 {
        // Each step can be undone.
        let mixed = word.wrapping_mul(self.seed);
        mixed ^ mixed >> 32
    }

    /// Hash of a stack and of what it belongs to, as [`Self::key_of`] tells them apart. Two words a multiplication, each with a secret, and two
    /// lanes, so that none waits for the one before.
    pub(crate) fn hash_words(&self, first: u64, words: &[u64]) -> u64 {
        let Secrets { a, b, c, d } = self.secrets;
        // Of their own: no word can make up for another length or owner.
        let mut lanes = [folded(a ^ first, b ^ words.len() as u64), a];
        let (fours, rest) = words.as_chunks::<4>();
        for [w, x, y, z] in fours {
            lanes[0] = folded(lanes[0] ^ w, c ^ x);
            lanes[1] = folded(lanes[1] ^ y, d ^ z);
        }
        let mut rest = rest.iter().copied();
        let mut next = || rest.next().unwrap_or(0);
        let [w, x, y] = [next(), next(), next()];
        let lanes = [folded(lanes[0] ^ w, c ^ x), folded(lanes[1] ^ y, d)];
        self.key_of(Trail { lanes })
    }
}

fn fold(value: u64, seed: u64) -> u64 {
    folded(value, seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
}

/// One 64 × 64 → 128 bit multiplication, its halves folded together.
pub(crate) fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
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
    fn no_two_words_are_one() {
        let state = FastState::default();
        let words = (1..1000).chain((0..64).map(|bit| 1 << bit << 10));
        let words: std::collections::BTreeSet<u64> = words.filter(|word| *word > 0).collect();
        let met: std::collections::BTreeSet<u64> =
            words.iter().map(|word| state.one_to_one(*word)).collect();
        assert_eq!(met.len(), words.len());
        assert!(!met.contains(&0));
    }

    #[test]
    fn equal_stacks_hash_equal_and_order_matters() {
        let state = FastState::default();
        let hash = |words: &[u64]| state.hash_words(1, words);
        assert_eq!(hash(&[1, 2, 3]), hash(&[1, 2, 3]));
        assert_ne!(hash(&[1, 2, 3]), hash(&[3, 2, 1]));
        assert_ne!(hash(&[]), hash(&[0]));
        assert_ne!(hash(&[1, 2, 3, 4, 5]), hash(&[5, 2, 3, 4, 1]));
        assert_ne!(hash(&[1, 2, 3, 4]), hash(&[2, 1, 3, 4]));
        let mut met = std::collections::HashSet::new();
        for first in 0..4 {
            for len in 0..12 {
                for word in 0..8 {
                    let mut words = vec![7; len];
                    if let Some(last) = words.last_mut() {
                        *last = word;
                    }
                    met.insert(state.hash_words(first, &words));
                }
            }
        }
        assert_eq!(met.len(), 4 * (1 + 11 * 8), "word, length or owner is lost");
    }
}
