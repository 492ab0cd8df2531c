//! What is kept for naming a stack: its mappings, and their images while they can be had.

use crate::chain::{Part, looked_up_at, parts};
use crate::context::Origin;
use crate::image::Images;
use crate::maps::{Backing, Mapping};
use crate::pins::RootRef;
use crate::tasks::{SpaceId, Tasks};
use profiler::HostPid;

/// A power of two; the table fits into a second-level cache.
const SLOTS: usize = 1 << 14;
/// The least of all architectures: a mapping begins and ends at one.
const PAGE_BITS: u32 = 12;

/// A page of a space.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Page {
    space: u32,
    number: u64,
}

const NO_PAGE: Page = Page {
    space: u32::MAX,
    number: u64::MAX,
};

/// How long what is noted of a page is true.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Until(u32);

impl Until {
    const ALWAYS: Self = Self(u32::MAX);

    /// Until a mapping comes: they are counted.
    fn next_mapping(mapped: u32) -> Self {
        Self(mapped % Self::ALWAYS.0)
    }
}

impl Page {
    fn of(space: SpaceId, addr: u64) -> Self {
        Self {
            space: space.0,
            number: addr >> PAGE_BITS,
        }
    }

    fn slot(self) -> usize {
        let mixed = (self.number ^ u64::from(self.space) << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - SLOTS.ilog2())) as usize % SLOTS
    }
}

/// Stacks lead through the same few thousand pages again and again: which of them need no look at their mappings any
/// more. Remembers the last page that came to each slot; what it has forgotten is looked at again.
pub(crate) struct KeptPages {
    slots: Box<[(Page, Until); SLOTS]>,
}

impl Default for KeptPages {
    fn default() -> Self {
        Self {
            slots: Box::new([(NO_PAGE, Until::ALWAYS); SLOTS]),
        }
    }
}

impl KeptPages {
    /// Whether the page of this address was noted; so many mappings came until now.
    #[inline]
    fn has(&self, space: SpaceId, addr: u64, mapped: u32) -> bool {
        let page = Page::of(space, addr);
        let (noted, until) = self.slots[page.slot()];
        noted == page && (until == Until::ALWAYS || until == Until::next_mapping(mapped))
    }

    /// Notes the page of this address. Of one that is mapped: its mapping is kept, its image held or given up.
    /// A space whose addresses change their meaning is left for a new one, so that this stays true.
    fn note(&mut self, space: SpaceId, addr: u64, until: Until) {
        let page = Page::of(space, addr);
        self.slots[page.slot()] = (page, until);
    }
}

/// Holds the image of a mapping that a stack of `space` led through, where that can be had.
pub(crate) fn hold(
    origin: Origin,
    images: &mut Images,
    (pid, root): (HostPid, RootRef),
    mapping: &Mapping,
) {
    let Backing::Image(image) = mapping.backing else {
        return;
    };
    if images.wants_holding(image) {
        match origin {
            Origin::LiveHost => images.hold(image, pid, mapping.start..mapping.end, root),
            Origin::File => images.look_below(image, root),
        }
    }
}

/// Keeps the mappings that a stack leads through which is to be counted later, and holds their images.
pub(crate) fn keep_mappings(
    origin: Origin,
    images: &mut Images,
    tasks: &mut Tasks,
    kept: &mut KeptPages,
    space: SpaceId,
    words: &[u64],
) {
    let mapped = tasks.mapped();
    // Most entries lie in the mapping of the one before.
    let mut last = 0..0;
    for (_, entries) in parts(words).filter(|(part, _)| *part == Part::User) {
        for (number, word) in entries.iter().enumerate() {
            let addr = looked_up_at(number, *word);
            if last.contains(&addr) || kept.has(space, addr, mapped) {
                continue;
            }
            let Some((pid, root, mapping)) = tasks.keep_mapping(space, addr) else {
                // Code without frame pointers sends the kernel's walk to the same data again and again.
                kept.note(space, addr, Until::next_mapping(mapped));
                tasks.led_to_nothing(space, addr);
                continue;
            };
            last = mapping.start..mapping.end;
            hold(origin, images, (pid, root), &mapping);
            if !matches!(mapping.backing, Backing::Image(image) if images.wants_holding(image)) {
                kept.note(space, addr, Until::ALWAYS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::USER_MARKER;
    use crate::tasks::Space;

    #[test]
    fn a_page_is_known_in_its_own_space_until_another_takes_its_slot() {
        let mut kept = KeptPages::default();
        kept.note(SpaceId(1), 0x7f00_1234, Until::ALWAYS);
        assert!(kept.has(SpaceId(1), 0x7f00_1fff, 0));
        assert!(kept.has(SpaceId(1), 0x7f00_1fff, 9));
        assert!(!kept.has(SpaceId(2), 0x7f00_1234, 0));
        assert!(!kept.has(SpaceId(1), 0x7f00_2000, 0));
        for page in 0..100 * SLOTS as u64 {
            kept.note(SpaceId(3), page << PAGE_BITS, Until::ALWAYS);
        }
        assert!(!kept.has(SpaceId(1), 0x7f00_1234, 0));
    }

    #[test]
    fn that_nothing_is_mapped_is_known_until_something_is() {
        let mut kept = KeptPages::default();
        kept.note(SpaceId(1), 0x1000, Until::next_mapping(7));
        assert!(kept.has(SpaceId(1), 0x1001, 7));
        assert!(!kept.has(SpaceId(1), 0x1001, 8));
        kept.note(SpaceId(1), 0x1000, Until::next_mapping(u32::MAX));
        assert!(kept.has(SpaceId(1), 0x1001, u32::MAX));
        assert!(!kept.has(SpaceId(1), 0x1001, 1));
    }

    #[test]
    fn a_mapping_that_comes_to_a_page_that_had_none_is_kept() {
        let mut tasks = Tasks::new();
        let pid = HostPid(7);
        tasks.entered(pid, None);
        let space = tasks.begin_space(Space::unseen(pid, 0, RootRef::Host));
        let (mut images, mut kept) = (Images::default(), KeptPages::default());
        let mut keep = |tasks: &mut Tasks| {
            let words = [USER_MARKER, 0x1800];
            keep_mappings(Origin::File, &mut images, tasks, &mut kept, space, &words);
            tasks.space(space).map(|space| space.maps.len())
        };
        assert_eq!(keep(&mut tasks), Some(0));
        let mapping = Mapping {
            start: 0x1000,
            end: 0x2000,
            file_offset: 0,
            backing: Backing::Vdso,
        };
        tasks.map(pid, mapping);
        assert_eq!(keep(&mut tasks), Some(1));
    }
}
