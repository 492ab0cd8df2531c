//! Places, each with a number of its own.

use super::{Place, PlaceId};
use crate::hash::{FastMap, FastState};
use crate::table::Table;

/// What no mapping covers: the first place of all.
pub(super) const UNMAPPED: PlaceId = PlaceId(0);

/// Numbers places in the order they are met.
pub(super) struct Places {
    all: Vec<Place>,
    /// Most are of images or of the kernel: a word of each says all.
    of_words: Table<PlaceId>,
    hash: FastState,
    others: FastMap<Place, PlaceId>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: vec![Place::Unmapped],
            of_words: Table::default(),
            hash: FastState::default(),
            others: FastMap::default(),
        }
    }
}

impl Places {
    pub(super) fn intern(&mut self, place: Place) -> PlaceId {
        let Self {
            all,
            of_words,
            hash,
            others,
        } = self;
        let mut add = || {
            all.push(place);
            PlaceId(all.len() as u32 - 1)
        };
        if place == Place::Unmapped {
            return UNMAPPED;
        }
        let Some(word) = word_of(place) else {
            return *others.entry(place).or_insert_with(&mut add);
        };
        let key = hash.one_to_one(word);
        if let Some(known) = of_words.get(key) {
            return *known;
        }
        let id = add();
        of_words.insert(key, id);
        id
    }

    /// Brings what these will be looked for in into the cache.
    pub(super) fn fetch(&self, places: impl Iterator<Item = Place>) {
        let words = places.filter_map(word_of);
        self.of_words
            .fetch(words.map(|word| self.hash.one_to_one(word)));
    }

    pub(super) fn all(&self) -> &[Place] {
        &self.all
    }

    pub(super) fn into_all(self) -> Vec<Place> {
        self.all
    }
}

/// All of a place in a word that is not 0, where that fits: no file is as long as a tebibyte, but a hostile mapping may
/// say so. Of the kernel the address, of which the highest bit is set; of no image it is.
fn word_of(place: Place) -> Option<u64> {
    const OFFSET_BITS: u32 = 40;
    const IMAGES_MAX: u32 = 1 << (63 - OFFSET_BITS);
    match place {
        Place::Kernel(addr) => (addr >> 63 == 1).then_some(addr),
        Place::Image(image, offset) => {
            let fits = offset >> OFFSET_BITS == 0 && image.0 < IMAGES_MAX - 1;
            fits.then_some((u64::from(image.0) + 1) << OFFSET_BITS | offset)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageId;

    #[test]
    fn a_place_has_one_number_and_no_two_share_one() {
        let far = [(1 << 24) - 1, 1 << 24, u32::MAX];
        let images = (0..4).chain(far).map(ImageId);
        let offsets = [0, 1, 0xfff, (1 << 40) - 1, 1 << 40, u64::MAX];
        let of_images = images.flat_map(|image| offsets.map(|offset| Place::Image(image, offset)));
        let others = [Place::Unmapped, Place::Kernel(1), Place::Vdso(1)];
        let all: Vec<Place> = others.into_iter().chain(of_images).collect();
        let mut places = Places::default();
        let ids: Vec<PlaceId> = all.iter().map(|place| places.intern(*place)).collect();
        let again: Vec<PlaceId> = all.iter().map(|place| places.intern(*place)).collect();
        assert_eq!(ids, again);
        assert_eq!(ids[0], UNMAPPED);
        assert_eq!(places.all(), all, "each once, in the order they were met");
    }
}
