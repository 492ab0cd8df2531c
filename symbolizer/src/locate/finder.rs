//! Finds the place of an address.

use super::near::Near;
use super::places::{Places, UNMAPPED};
use super::spaces::Spaces;
use super::{Place, PlaceId, Sampled, Words};
use crate::chain::Part;
use crate::image::ImageId;
use crate::jitdump::name_in;
use crate::kernel::ksymbol_in;
use crate::maps::{Backing, Mapping};
use crate::tasks::SpaceId;

/// What stands for the kernel's space where addresses are remembered.
const KERNEL: u32 = u32::MAX - 1;

/// All places that addresses led to, and what is remembered of addresses.
#[derive(Default)]
pub(super) struct Finder {
    pub(super) spaces: Spaces,
    places: Places,
    near: Near<PlaceId, 16_384>,
}

/// What an address leads to, which is to be given its number.
#[derive(Clone, Copy)]
pub(super) struct Looked {
    place: Place,
    /// In which space it may be remembered for the address.
    remembered: Option<(u32, u64)>,
}

impl Finder {
    /// The place of an address, which a stack's part leads to, if it is remembered.
    #[inline]
    pub(super) fn near(&self, (part, addr): (Part, u64), sampled: Sampled) -> Option<PlaceId> {
        match (part, sampled.space) {
            (Part::Kernel, _) => self.near.get(KERNEL, addr),
            (Part::User, Some(space)) => self.near.get(space.0, addr),
            _ => Some(UNMAPPED),
        }
    }

    /// Where an address leads that is not.
    pub(super) fn look(&mut self, (part, addr): (Part, u64), sampled: Sampled) -> Looked {
        let (place, space) = match sampled.space {
            Some(space) if part == Part::User => {
                let name = match sampled.words {
                    Words::Recorded => None,
                    Words::Rewritten => name_in(addr),
                };
                match (name, space) {
                    (Some(name), _) => (Place::Jitted(name), Some(space.0)),
                    (None, _) => match self.spaces.at(space, addr) {
                        Some(mapping) => (place_in(mapping, space, addr), Some(space.0)),
                        None => (Place::Unmapped, None),
                    },
                }
            }
            _ => {
                let code = ksymbol_in(addr);
                let place = code.map_or(Place::Kernel(addr), Place::KernelCode);
                (place, Some(KERNEL))
            }
        };
        Looked {
            place,
            remembered: space.map(|space| (space, addr)),
        }
    }

    /// Brings what these will be looked for in into the cache.
    pub(super) fn fetch<'a>(&self, looked: impl Iterator<Item = &'a Looked>) {
        self.places.fetch(looked.map(|looked| looked.place));
    }

    /// The place's number.
    pub(super) fn intern(&mut self, looked: &Looked) -> PlaceId {
        let id = self.places.intern(looked.place);
        if let Some((space, addr)) = looked.remembered {
            self.near.put(space, addr, id);
        }
        id
    }

    /// The images that an address led to.
    pub(super) fn images(&self) -> impl Iterator<Item = ImageId> {
        self.places.all().iter().filter_map(|place| match place {
            Place::Image(image, _) => Some(*image),
            _ => None,
        })
    }

    /// All places, in the order of their ids.
    pub(super) fn into_places(self) -> Vec<Place> {
        self.places.into_all()
    }
}

fn place_in(mapping: Mapping, space: SpaceId, addr: u64) -> Place {
    let offset = mapping.offset_of(addr);
    match mapping.backing {
        Backing::Image(image) => Place::Image(image, offset),
        Backing::Vdso => Place::Vdso(offset),
        Backing::Generated(memory) => Place::Generated(space, addr, memory),
    }
}
