//! Which pages of which address spaces need no look at their mappings any more: stacks lead through
//! the same few thousand pages again and again.

use crate::tasks::SpaceId;

/// A power of two; the table fits into a second-level cache.
const SLOTS: usize = 1 << 12;
/// The least of all architectures: a mapping begins and ends at one.
const PAGE_BITS: u32 = 12;

/// Remembers the last page that came to each slot. What it has forgotten is looked at again.
pub(crate) struct KeptPages {
    slots: Vec<Option<(SpaceId, u64)>>,
}

impl Default for KeptPages {
    fn default() -> Self {
        Self {
            slots: vec![None; SLOTS],
        }
    }
}

impl KeptPages {
    /// Whether the page of this address was noted.
    pub(crate) fn has(&self, space: SpaceId, addr: u64) -> bool {
        let page = addr >> PAGE_BITS;
        self.slots.get(slot(space, page)) == Some(&Some((space, page)))
    }

    /// Notes the page of this address: its mapping is kept, its image held or given up. A space whose
    /// addresses change their meaning is left for a new one, so that this stays true.
    pub(crate) fn note(&mut self, space: SpaceId, addr: u64) {
        let page = addr >> PAGE_BITS;
        if let Some(slot) = self.slots.get_mut(slot(space, page)) {
            *slot = Some((space, page));
        }
    }
}

fn slot(space: SpaceId, page: u64) -> usize {
    let mixed = (page ^ u64::from(space.0) << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_in_its_own_space_until_another_takes_its_slot() {
        let mut kept = KeptPages::default();
        kept.note(SpaceId(1), 0x7f00_1234);
        assert!(kept.has(SpaceId(1), 0x7f00_1fff));
        assert!(!kept.has(SpaceId(2), 0x7f00_1234));
        assert!(!kept.has(SpaceId(1), 0x7f00_2000));
        for page in 0..100 * SLOTS as u64 {
            kept.note(SpaceId(3), page << PAGE_BITS);
        }
        assert!(!kept.has(SpaceId(1), 0x7f00_1234));
    }
}
