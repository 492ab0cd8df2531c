//! Raw addresses become places: a byte of an image, of the kernel, of generated code. Each place is
//! kept once, however many stacks go through it.

use crate::chain::{CUT_MARKER, Part, WHOLE_MARKER, entries};
use crate::hash::FastMap;
use crate::image::ImageId;
use crate::maps::{Backing, MapTable};
use crate::tasks::SpaceId;

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A kernel address.
    Kernel(u64),
    /// A file offset in an image.
    Image(ImageId, u64),
    /// An offset in the vdso.
    Vdso(u64),
    /// An address in code that its process generated.
    Generated(SpaceId, u64),
    /// No mapping covers it.
    Unmapped,
}

/// Index of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PlaceId(pub(crate) u32);

/// All places of a recording, each once.
#[derive(Default)]
pub(crate) struct Places {
    places: Vec<Place>,
    ids: FastMap<Place, PlaceId>,
    /// What is known of an address in a space already; `None` for the kernel, which all share.
    by_addr: FastMap<(Option<SpaceId>, u64), PlaceId>,
}

/// A chain's places.
pub(crate) struct Located {
    /// Leaf first.
    pub(crate) places: Vec<PlaceId>,
    /// The root is missing: the kernel stopped at its limit, or a copied stack ended.
    pub(crate) is_cut: bool,
}

impl Places {
    /// The places of a chain, leaf first.
    ///
    /// Entries in a row that no mapping covers become one: code without frame pointers sends the
    /// kernel's walk through data, and how many words of it were read says nothing.
    ///
    /// `max_stack`: the kernel stops there, on the root's side (`get_perf_callchain()`,
    /// kernel/events/callchain.c; markers are not counted).
    pub(crate) fn locate_chain(
        &mut self,
        words: &[u64],
        space: Option<(SpaceId, &MapTable)>,
        max_stack: usize,
    ) -> Located {
        let mut into = Vec::with_capacity(words.len());
        let mut len = 0;
        for (part, addr) in entries(words.iter().copied()) {
            len += 1;
            let id = match (part, space) {
                (Part::Kernel, _) => self.cached(None, addr, |_| Place::Kernel(addr)),
                (Part::User, Some((id, maps))) => {
                    self.cached(Some(id), addr, |_| place_in(id, maps, addr))
                }
                _ => self.intern(Place::Unmapped),
            };
            if !(into.last() == Some(&id) && self.is_unmapped(id)) {
                into.push(id);
            }
        }
        let is_cut = match words.last() {
            Some(&CUT_MARKER) => true,
            Some(&WHOLE_MARKER) => false,
            _ => len >= max_stack && self.root_is_code(&into),
        };
        Located {
            places: into,
            is_cut,
        }
    }

    /// A walk that ended in data did not miss the root by the limit.
    fn root_is_code(&self, places: &[PlaceId]) -> bool {
        places.last().is_some_and(|id| !self.is_unmapped(*id))
    }

    fn is_unmapped(&self, id: PlaceId) -> bool {
        self.places.get(id.0 as usize) == Some(&Place::Unmapped)
    }

    fn cached(
        &mut self,
        space: Option<SpaceId>,
        addr: u64,
        find: impl FnOnce(u64) -> Place,
    ) -> PlaceId {
        if let Some(id) = self.by_addr.get(&(space, addr)) {
            return *id;
        }
        let id = self.intern(find(addr));
        self.by_addr.insert((space, addr), id);
        id
    }

    fn intern(&mut self, place: Place) -> PlaceId {
        *self.ids.entry(place).or_insert_with(|| {
            self.places.push(place);
            PlaceId(self.places.len() as u32 - 1)
        })
    }

    /// All places, by their index.
    pub(crate) fn all(&self) -> &[Place] {
        &self.places
    }
}

fn place_in(space: SpaceId, maps: &MapTable, addr: u64) -> Place {
    match maps.find(addr) {
        Some((mapping, offset)) => match mapping.backing {
            Backing::Image(image) => Place::Image(image, offset),
            Backing::Vdso => Place::Vdso(offset),
            Backing::Generated => Place::Generated(space, addr),
        },
        None => Place::Unmapped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{KERNEL_MARKER, USER_MARKER};
    use crate::maps::Mapping;

    fn places_of(words: &[u64], maps: &MapTable) -> Vec<Place> {
        let mut places = Places::default();
        let located = places.locate_chain(words, Some((SpaceId(3), maps)), 127);
        located
            .places
            .iter()
            .map(|id| places.all()[id.0 as usize])
            .collect()
    }

    fn table() -> MapTable {
        let mut maps = MapTable::default();
        let image = Backing::Image(ImageId(1));
        maps.insert(Mapping {
            start: 0x1000,
            end: 0x2000,
            file_offset: 0x400,
            backing: image,
        });
        maps.insert(Mapping {
            start: 0x5000,
            end: 0x6000,
            file_offset: 0,
            backing: Backing::Generated,
        });
        maps.insert(Mapping {
            start: 0x7000,
            end: 0x8000,
            file_offset: 0,
            backing: Backing::Vdso,
        });
        maps
    }

    #[test]
    fn a_return_address_is_looked_up_inside_the_call_and_a_leaf_where_it_is() {
        let chain = [
            KERNEL_MARKER,
            0xffff_0000,
            0xffff_1000,
            USER_MARKER,
            0x1100,
            0x2000,
            0x5001,
            0x7011,
            0x9000,
        ];
        let expected = [
            Place::Kernel(0xffff_0000),
            Place::Kernel(0xffff_0fff),
            Place::Image(ImageId(1), 0x500),
            Place::Image(ImageId(1), 0x13ff),
            Place::Generated(SpaceId(3), 0x5000),
            Place::Vdso(0x10),
            Place::Unmapped,
        ];
        assert_eq!(places_of(&chain, &table()), expected);
    }

    #[test]
    fn a_guests_part_is_not_looked_up_in_our_tables() {
        let guest = -2048_i64 as u64;
        assert_eq!(
            places_of(&[guest, 0x1100, USER_MARKER, 0x1100], &table()),
            [Place::Unmapped, Place::Image(ImageId(1), 0x500)]
        );
    }

    #[test]
    fn a_stack_without_a_space_keeps_its_frames() {
        let chain = [KERNEL_MARKER, 0xffff_0000, USER_MARKER, 0x1000];
        assert_eq!(
            Places::default()
                .locate_chain(&chain, None, 127)
                .places
                .len(),
            2
        );
    }

    #[test]
    fn a_walk_through_data_is_one_frame_and_no_cut_stack() {
        let maps = table();
        let space = Some((SpaceId(3), &maps));
        let mut places = Places::default();
        let in_data = places.locate_chain(&[USER_MARKER, 0x1100, 0x11, 0x12, 0x13], space, 4);
        assert_eq!((in_data.places.len(), in_data.is_cut), (2, false));
        let in_code = places.locate_chain(&[USER_MARKER, 0x1100, 0x11, 0x1200, 0x1300], space, 4);
        assert_eq!((in_code.places.len(), in_code.is_cut), (4, true));
        let whole = places.locate_chain(&[USER_MARKER, 0x1100, 0x1200, 0x1300], space, 4);
        assert_eq!((whole.places.len(), whole.is_cut), (3, false));
    }
}
