//! What is kept for naming a stack that was not seen before: its mappings, and their images while they
//! can be had. Stacks lead through the same few thousand pages again and again: which of them need no
//! look at their mappings any more is remembered.

use crate::chain::{Part, entries};
use crate::context::Origin;
use crate::image::Images;
use crate::maps::Backing;
use crate::tasks::{SpaceId, Tasks};

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

/// Keeps the mappings that a stack leads through for naming it, and holds their images where they
/// can be had.
pub(crate) fn keep_mappings(
    origin: Origin,
    images: &mut Images,
    tasks: &mut Tasks,
    kept: &mut KeptPages,
    space: SpaceId,
    words: &[u64],
) {
    // Most entries lie in the mapping of the one before.
    let mut last = 0..0;
    for (part, addr) in entries(words.iter().copied()) {
        if part != Part::User || last.contains(&addr) || kept.has(space, addr) {
            continue;
        }
        let Some((pid, root, mapping)) = tasks.keep_mapping(space, addr) else {
            continue;
        };
        last = mapping.start..mapping.end;
        if let Backing::Image(image) = mapping.backing
            && images.wants_holding(image)
        {
            match origin {
                Origin::LiveHost => images.hold(image, pid, last.clone(), root),
                Origin::File => images.look_below(image, root),
            }
        }
        if !matches!(mapping.backing, Backing::Image(image) if images.wants_holding(image)) {
            kept.note(space, addr);
        }
    }
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
