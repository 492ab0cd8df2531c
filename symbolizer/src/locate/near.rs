//! What was looked up lately, in front of a table of all that was looked up: a stack's addresses are mostly
//! those of other stacks, and a look here waits for no memory but a second-level cache's.

/// Remembers what came last to each slot.
pub(super) struct Near<T, const SLOTS: usize> {
    slots: Box<[Slot<T>]>,
}

#[derive(Clone, Copy)]
struct Slot<T> {
    addr: u64,
    space: u32,
    is: T,
}

/// No space has this number.
const NO_SPACE: u32 = u32::MAX;

impl<T: Copy + Default, const SLOTS: usize> Default for Near<T, SLOTS> {
    fn default() -> Self {
        const { assert!(SLOTS.is_power_of_two()) }
        let empty = Slot {
            addr: 0,
            space: NO_SPACE,
            is: T::default(),
        };
        Self {
            slots: vec![empty; SLOTS].into(),
        }
    }
}

impl<T: Copy, const SLOTS: usize> Near<T, SLOTS> {
    fn slot(space: u32, addr: u64) -> usize {
        let mixed = (addr ^ u64::from(space) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - SLOTS.ilog2())) as usize
    }

    /// What was put for this address of this space, which is not [`u32::MAX`].
    #[inline]
    pub(super) fn get(&self, space: u32, addr: u64) -> Option<T> {
        let slot = self.slots.get(Self::slot(space, addr))?;
        (slot.addr == addr && slot.space == space).then_some(slot.is)
    }

    #[inline]
    pub(super) fn put(&mut self, space: u32, addr: u64, is: T) {
        if let Some(slot) = self.slots.get_mut(Self::slot(space, addr)) {
            *slot = Slot { addr, space, is };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_space_is_known_until_another_takes_its_slot() {
        type Few = Near<u32, 16>;
        let mut near = Few::default();
        assert_eq!((near.get(0, 0), near.get(0, u64::MAX)), (None, None));
        near.put(1, 0x1000, 7);
        assert_eq!((near.get(1, 0x1000), near.get(1, 0x1001)), (Some(7), None));
        assert_eq!(near.get(2, 0x1000), None);
        let other = (0x1001..).find(|addr| Few::slot(2, *addr) == Few::slot(1, 0x1000));
        near.put(2, other.expect("one of many"), 8);
        assert_eq!(near.get(1, 0x1000), None);
    }
}
