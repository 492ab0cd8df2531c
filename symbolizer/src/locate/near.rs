//! What was looked up lately, in front of a table of all that was looked up: a stack's addresses are mostly
//! those of other stacks, and a look here waits for no memory but a first-level cache's.

use super::PlaceId;

/// Remembers the last address that came to each slot.
pub(super) struct Near<const SLOTS: usize> {
    slots: Box<[Slot]>,
    /// What was remembered in another one is forgotten.
    round: u32,
}

#[derive(Clone, Copy)]
struct Slot {
    addr: u64,
    round: u32,
    place: PlaceId,
}

impl<const SLOTS: usize> Default for Near<SLOTS> {
    fn default() -> Self {
        const { assert!(SLOTS.is_power_of_two()) }
        let empty = Slot {
            addr: 0,
            round: 0,
            place: PlaceId(0),
        };
        Self {
            slots: vec![empty; SLOTS].into(),
            round: 1,
        }
    }
}

impl<const SLOTS: usize> Near<SLOTS> {
    fn slot(addr: u64) -> usize {
        (addr.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2())) as usize
    }

    #[inline]
    pub(super) fn get(&self, addr: u64) -> Option<PlaceId> {
        let slot = self.slots.get(Self::slot(addr))?;
        (slot.addr == addr && slot.round == self.round).then_some(slot.place)
    }

    #[inline]
    pub(super) fn put(&mut self, addr: u64, place: PlaceId) {
        let round = self.round;
        if let Some(slot) = self.slots.get_mut(Self::slot(addr)) {
            *slot = Slot { addr, round, place };
        }
    }

    pub(super) fn clear(&mut self) {
        match self.round.checked_add(1) {
            Some(next) => self.round = next,
            None => *self = Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_until_another_takes_its_slot_or_all_are_forgotten() {
        let mut near = Near::<16>::default();
        assert_eq!((near.get(0), near.get(u64::MAX)), (None, None));
        near.put(0x1000, PlaceId(7));
        assert_eq!(
            (near.get(0x1000), near.get(0x1001)),
            (Some(PlaceId(7)), None)
        );
        let other = (0x1001..).find(|addr| Near::<16>::slot(*addr) == Near::<16>::slot(0x1000));
        near.put(other.expect("one of many"), PlaceId(8));
        assert_eq!(near.get(0x1000), None);
        near.put(0x2000, PlaceId(9));
        near.clear();
        assert_eq!(near.get(0x2000), None);
        near.round = u32::MAX;
        near.put(0x3000, PlaceId(1));
        near.clear();
        assert_eq!((near.get(0x3000), near.round), (None, 1));
    }
}
