//! A table for what is known by its hash alone.
//!
//! Tables of stacks are far larger than the caches, and what they are asked for comes in no order: a look waits for
//! memory. So here it waits once (`hashbrown`, which compares keys of any kind, looks at control bytes first), and a
//! table is told of several keys before it is asked for one of them, so that their waits overlap.

use std::hint::black_box;
use std::mem;

/// Values by keys that are hashes: as good as random in all their bits, and told apart by nothing else.
pub(crate) struct Table<T> {
    /// As many as a power of two, or none. The key's highest bits are where a search begins.
    slots: Vec<Slot<T>>,
    len: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot<T> {
    key: u64,
    value: T,
}

/// Of a slot that is empty.
const NO_KEY: u64 = 0;
const SLOTS_MIN: usize = 1 << 8;
/// Room is asked for as so many times what is needed: what is not touched is no memory, and what has to move when it
/// grows is.
const ROOM: usize = 8;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Copy + Default> Table<T> {
    /// How many values fit into so many slots.
    pub(crate) const fn room(slots: usize) -> usize {
        slots / 8 * 5
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Brings what these will be looked for in into the cache.
    pub(crate) fn fetch(&self, keys: impl Iterator<Item = u64>) {
        let mut touched = 0;
        for key in keys {
            let slot = self.slots.get(self.home(key));
            touched ^= slot.map_or(0, |slot| slot.key);
        }
        black_box(touched);
    }

    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        let slot = self.slots.get(self.find(valid(key))?)?;
        (slot.key != NO_KEY).then_some(&slot.value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let at = self.find(valid(key))?;
        let slot = self.slots.get_mut(at)?;
        (slot.key != NO_KEY).then_some(&mut slot.value)
    }

    /// Gives a key its value.
    #[inline]
    pub(crate) fn insert(&mut self, key: u64, value: T) {
        if self.len >= Self::room(self.slots.len()) {
            self.grow();
        }
        let key = valid(key);
        let at = self.find(key);
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            self.len += usize::from(slot.key == NO_KEY);
            *slot = Slot { key, value };
        }
    }

    /// The values, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        let used = self.slots.iter().filter(|slot| slot.key != NO_KEY);
        used.map(|slot| &slot.value)
    }

    /// Forgets all; the room is used again.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(Slot::default());
        self.len = 0;
    }

    fn home(&self, key: u64) -> usize {
        // Of an empty table anything.
        let bits = self.slots.len().trailing_zeros();
        (key >> (u64::BITS - bits.min(u64::BITS - 1))) as usize & self.slots.len().wrapping_sub(1)
    }

    /// The slot of a key, or the one that is empty where it would be. There is none in an empty table alone: never are
    /// all slots used.
    #[inline]
    fn find(&self, key: u64) -> Option<usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = self.home(key);
        loop {
            let found = self.slots.get(at)?.key;
            if found == key || found == NO_KEY {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// Makes twice as many slots, the first half of them those that were: memory that is touched for the first time
    /// costs more than moving what is in it.
    #[cold]
    fn grow(&mut self) {
        let before = self.slots.len();
        let len = (2 * before).max(SLOTS_MIN);
        if len > self.slots.capacity() {
            self.slots.reserve_exact(ROOM * len - before);
        }
        self.slots.resize(len, Slot::default());
        self.len = 0;
        // A search goes on from the last slot to the first: what comes before the first empty one waits.
        let is_empty = |slot: &Slot<T>| slot.key == NO_KEY;
        let begin = self.slots.iter().position(is_empty).unwrap_or(0);
        let first = self.slots.iter_mut().take(begin);
        let mut waiting: Vec<Slot<T>> = first.map(mem::take).collect();
        // From the last one on, for none moves towards the first. All in a row at once: each of them may be there
        // because of any other.
        let mut row = Vec::new();
        for at in (begin..before).rev() {
            let slot = self.slots.get_mut(at).map(mem::take).unwrap_or_default();
            if !is_empty(&slot) {
                row.push(slot);
                continue;
            }
            for slot in row.drain(..) {
                if !self.put_behind_its_home(slot) {
                    waiting.push(slot);
                }
            }
        }
        for Slot { key, value } in waiting {
            self.insert(key, value);
        }
    }

    /// Puts a new key into the first empty slot from its home on, if one is left.
    fn put_behind_its_home(&mut self, new: Slot<T>) -> bool {
        let home = self.home(new.key);
        let mut behind = self.slots.iter_mut().skip(home);
        let Some(slot) = behind.find(|slot| slot.key == NO_KEY) else {
            return false;
        };
        *slot = new;
        self.len += 1;
        true
    }
}

fn valid(key: u64) -> u64 {
    key.max(NO_KEY + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::folded;

    #[test]
    fn what_was_put_in_is_found_and_nothing_else() {
        let mut table = Table::<u32>::default();
        let key = |number: u32| folded(u64::from(number) + 1, 0x9e37_79b9_7f4a_7c15);
        table.fetch([1, 2].into_iter());
        assert_eq!((table.get(key(0)), table.len()), (None, 0));
        for number in 0..10_000 {
            assert_eq!(table.get(key(number)), None);
            table.insert(key(number), number);
            table.fetch([key(number)].into_iter());
        }
        assert_eq!(table.len(), 10_000);
        for number in 0..10_000 {
            assert_eq!(table.get(key(number)), Some(&number));
            *table.get_mut(key(number)).expect("it is known") += 1;
        }
        assert_eq!(table.get(key(10_000)), None);
        let mut all: Vec<u32> = table.values().copied().collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(1..=10_000));
        table.clear();
        assert_eq!((table.get(key(7)), table.len()), (None, 0));
    }

    #[test]
    fn keys_that_begin_alike_and_the_least_of_all_are_told_apart() {
        let mut table = Table::<u64>::default();
        let last = u64::MAX - 300;
        let keys = || (0..300).chain((0..300).map(|number| last + number));
        for key in keys() {
            table.insert(key, key);
        }
        // Of an empty slot there is no key.
        let found: Vec<u64> = keys().filter_map(|key| table.get(key).copied()).collect();
        assert!(found.into_iter().skip(1).eq(keys().skip(1)));
        assert_eq!(table.get(0), Some(&1));
        table.insert(last, 7);
        assert_eq!((table.get(last), table.len()), (Some(&7), 599));
    }
}
