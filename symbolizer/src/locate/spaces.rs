//! The mappings of address spaces, as they were when stacks were sampled.

use super::near::Near;
use crate::hash::FastMap;
use crate::maps::{MapTable, Mapping};
use crate::stacks::{SpaceNow, Used};
use crate::tasks::SpaceId;
use std::mem;
use std::sync::Arc;

/// What is known of address spaces.
#[derive(Default)]
pub(super) struct Spaces {
    /// Those that the stacks are of, and how often a gap of each was filled.
    now: FastMap<SpaceId, (Arc<MapTable>, u32)>,
    /// Mappings that a stack led to.
    met: FastMap<SpaceId, MapTable>,
    used: Used,
    /// Where nothing is until something is mapped where nothing was: as often as it was then.
    nothing: Near<u32, 1_024>,
    /// The mapping that was found last: the next address is mostly in it.
    last: Option<(SpaceId, Mapping)>,
}

impl Spaces {
    /// The stacks that come are of these. Of the others no more is known than what stacks led to.
    pub(super) fn are_now(&mut self, spaces: &mut [SpaceNow]) {
        self.now.extend(spaces.iter_mut().map(|space| {
            let maps = mem::take(&mut space.maps);
            (space.id, (maps, space.filled))
        }));
    }

    /// What is at an address. An address that is mapped has one meaning in a space.
    pub(super) fn at(&mut self, space: SpaceId, addr: u64) -> Option<Mapping> {
        if let Some((of, mapping)) = self.last
            && of == space
            && (mapping.start..mapping.end).contains(&addr)
        {
            return Some(mapping);
        }
        let now = self.now.get(&space);
        let filled = now.map_or(0, |(_, filled)| *filled);
        // Code without frame pointers sends the kernel's walk to the same data again and again.
        if self.nothing.get(space.0, addr) == Some(filled) {
            return None;
        }
        let met = self.met.entry(space).or_default();
        let mapping = match met.find(addr) {
            Some((mapping, _)) => mapping,
            None => {
                let Some((mapping, _)) = now.and_then(|(maps, _)| maps.find(addr)) else {
                    self.nothing.put(space.0, addr, filled);
                    self.used.gaps.push((space, addr));
                    return None;
                };
                met.insert(mapping);
                self.used.mappings.push((space, mapping));
                mapping
            }
        };
        self.last = Some((space, mapping));
        Some(mapping)
    }

    /// These stacks are located; what they led to. Whoever maps something does not wait for another's table.
    pub(super) fn end(&mut self) -> Used {
        self.now.clear();
        mem::take(&mut self.used)
    }

    /// Forgets what stacks led to: it will be told of again.
    pub(super) fn forget(&mut self) {
        self.met.clear();
        self.last = None;
    }
}
