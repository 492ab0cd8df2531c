//! Stacks that are known by their words, and how often they came again.

use crate::table::Table;
use std::mem;

/// A stack as it was sampled.
#[derive(Clone, Copy, Default)]
struct Known {
    number: u32,
    /// Kept here while more of it comes: what was found is in the cache.
    weight: u32,
}

/// What stacks weigh, by their numbers: several weights of one are to be added.
#[derive(Default)]
pub(crate) struct Weighed(Vec<(u32, u64)>);

impl Weighed {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        self.0.iter().copied()
    }
}

impl FromIterator<(u32, u64)> for Weighed {
    fn from_iter<I: IntoIterator<Item = (u32, u64)>>(weights: I) -> Self {
        Self(weights.into_iter().collect())
    }
}

/// Known stacks, by the hashes of their words.
#[derive(Default)]
pub(super) struct KnownStacks {
    all: Table<Known>,
    /// What was too much for their own weights.
    besides: Vec<(u32, u64)>,
}

impl KnownStacks {
    /// As many as fit into 16 MiB.
    const MAX: usize = Table::<Known>::room(1 << 20);

    /// Brings what these will be looked for in into the cache.
    pub(super) fn fetch(&self, keys: impl Iterator<Item = u64>) {
        self.all.fetch(keys);
    }

    /// Adds to a weight; whether it was known.
    #[inline]
    pub(super) fn add(&mut self, key: u64, weight: u64) -> bool {
        let Some(known) = self.all.get_mut(key) else {
            return false;
        };
        let sum = weight.saturating_add(u64::from(known.weight));
        match u32::try_from(sum) {
            Ok(sum) => known.weight = sum,
            Err(_) => {
                known.weight = 0;
                self.besides.push((known.number, sum));
            }
        }
        true
    }

    /// Takes one that is not known. It has the next number.
    #[inline]
    pub(super) fn insert(&mut self, key: u64, weight: u64) {
        let number = self.all.len() as u32;
        let own = u32::try_from(weight).unwrap_or(0);
        if u64::from(own) < weight {
            self.besides.push((number, weight));
        }
        let known = Known {
            number,
            weight: own,
        };
        self.all.insert(key, known);
    }

    /// Whether they are as many as may be.
    pub(super) fn are_full(&self) -> bool {
        self.all.len() >= Self::MAX || self.besides.len() >= Self::MAX
    }

    /// Forgets them.
    pub(super) fn forget(&mut self) -> Weighed {
        let mut all = mem::take(&mut self.besides);
        let known = self.all.values();
        all.extend(known.map(|known| (known.number, u64::from(known.weight))));
        self.all.clear();
        Weighed(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn sums(known: &mut KnownStacks) -> BTreeMap<u32, u64> {
        let mut sums = BTreeMap::new();
        for (number, weight) in known.forget().iter() {
            *sums.entry(number).or_default() += weight;
        }
        sums
    }

    #[test]
    fn weights_of_any_size_are_all_counted() {
        const MUCH: u64 = u32::MAX as u64;
        let mut known = KnownStacks::default();
        for (key, weight) in [(7 << 60, 1), (5 << 60, MUCH), (3 << 60, 5 * MUCH)] {
            assert!(!known.add(key, weight));
            known.insert(key, weight);
            for weight in [1, 0, MUCH, 2 * MUCH, 3] {
                assert!(known.add(key, weight));
            }
        }
        let more = 3 * MUCH + 4;
        let expected = [(0, 1 + more), (1, MUCH + more), (2, 5 * MUCH + more)];
        assert_eq!(sums(&mut known), expected.into());
        assert!(!known.add(7 << 60, 1));
        known.insert(7 << 60, 2);
        assert_eq!(sums(&mut known), [(0, 2)].into(), "numbers begin anew");
    }
}
