//! How often what was met once came again: weights, found by hashes.
//!
//! The table is far larger than the caches, and what it is asked for comes in no order: a look waits for
//! memory twice (control bytes, entry). So it is told of several before it is asked for one of them, and
//! their waits overlap.

use hashbrown::HashTable;
use std::hint::black_box;

/// What is known by its hash, in two pieces: as one they would make an entry a third larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Where a search begins.
    pub(crate) place: u64,
    /// What it compares besides.
    pub(crate) check: u32,
}

/// All that counting it again needs.
#[derive(Clone, Copy)]
struct Slot {
    place: u64,
    check: u32,
    at: u32,
    /// Kept here while more of it comes: what was found is in the cache.
    weight: u64,
}

impl Slot {
    fn is_of(&self, key: Key) -> bool {
        self.place == key.place && self.check == key.check
    }
}

/// The weights, each with where its owner keeps what it is of.
#[derive(Default)]
pub(crate) struct Weights {
    slots: HashTable<Slot>,
}

impl Weights {
    /// Room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.slots.reserve(more, |slot| slot.place);
    }

    /// Brings what these will be looked for in into the cache.
    pub(crate) fn fetch(&self, keys: impl Iterator<Item = Key>) {
        let mut touched = 0;
        for key in keys {
            // Never equal: this only fetches control bytes and candidates.
            self.slots.find(key.place, |slot| {
                touched ^= slot.at;
                false
            });
        }
        black_box(touched);
    }

    /// Adds to a weight; whether it was known.
    #[inline]
    pub(crate) fn add(&mut self, key: Key, weight: u64) -> bool {
        let known = self.slots.find_mut(key.place, |slot| slot.is_of(key));
        match known {
            Some(slot) => slot.weight = slot.weight.saturating_add(weight),
            None => return false,
        }
        true
    }

    /// Takes one that is not known; what it is of is at `at`.
    #[inline]
    pub(crate) fn insert(&mut self, key: Key, at: u32, weight: u64) {
        let slot = Slot {
            place: key.place,
            check: key.check,
            at,
            weight,
        };
        self.slots
            .insert_unique(slot.place, slot, |slot| slot.place);
    }

    /// Where what it is of is, and the weight, of each; in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        self.slots.iter().map(|slot| (slot.at, slot.weight))
    }

    /// Forgets all; the room is used again.
    pub(crate) fn clear(&mut self) {
        self.slots.clear();
    }
}
