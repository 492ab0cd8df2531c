//! Hashes of paths, step by step: what tells whether a stack was met before without comparing it.

use crate::hash::folded;
use std::hash::{BuildHasher, RandomState};

/// Seeds the hashes of one table. Decides how fast a path is found, never which.
#[derive(Clone, Copy, Debug)]
pub struct PathSeed(u64);

impl Default for PathSeed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }
}

/// 96 bits, made independently and seeded: nobody can make two paths that agree in all of them, and of
/// a million that just happen to be, two do with a probability of 10^-17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathHash {
    place: u64,
    /// The higher half counts.
    check: u64,
}

impl PathSeed {
    /// Of the empty path.
    pub fn root(self) -> PathHash {
        PathHash {
            place: self.0,
            check: self.0.rotate_left(32),
        }
    }

    /// Of the path that goes on with `step`.
    pub fn then(self, path: PathHash, step: u64) -> PathHash {
        PathHash {
            place: fold(path.place ^ step, self.0 ^ 0x9e37_79b9_7f4a_7c15),
            check: fold(
                path.check ^ step,
                self.0.rotate_left(29) ^ 0xd6e8_feb8_6659_fd93,
            ),
        }
    }
}

impl PathHash {
    /// Where a search begins.
    pub fn place(self) -> u64 {
        self.place
    }

    /// What it compares besides.
    pub fn check(self) -> u32 {
        (self.check >> 32) as u32
    }
}

fn fold(value: u64, factor: u64) -> u64 {
    folded(value, factor | 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn equal_paths_hash_equal_and_others_in_both_halves_otherwise() {
        let seed = PathSeed::default();
        let of = |path: &[u64]| {
            path.iter()
                .fold(seed.root(), |hash, step| seed.then(hash, *step))
        };
        assert_eq!(of(&[1, 2, 3]), of(&[1, 2, 3]));
        let paths: Vec<PathHash> = (0..100_000_u64)
            .map(|n| of(&[n % 10, n / 10 % 100, n / 1000]))
            .chain([of(&[]), of(&[0]), of(&[3, 2, 1])])
            .collect();
        let places: HashSet<u64> = paths.iter().map(|path| path.place()).collect();
        assert!(
            places.len() >= paths.len() - 1,
            "{} of {}",
            places.len(),
            paths.len()
        );
        let checks: HashSet<u32> = paths.iter().map(|path| path.check()).collect();
        // By chance one pair in 2^32: of 5 * 10^9 pairs about one.
        assert!(
            checks.len() >= paths.len() - 20,
            "{} of {}",
            checks.len(),
            paths.len()
        );
    }
}
