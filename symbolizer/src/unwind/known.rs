//! Rules that were used, by image and file offset: a stack's frames are nearly all known already, and
//! what is worked out again takes ten times as long.

use super::rule::Found;
use crate::hash::FastMap;
use crate::image::ImageId;

/// A power of two. A recording of a whole host has some fifty thousand addresses.
const SLOTS: usize = 1 << 16;
/// Different rules that are kept; they are some thousand.
const RULES_MAX: usize = 1 << 16;

/// Remembers the last address that came to each slot.
pub(super) struct KnownRules {
    slots: Vec<Slot>,
    /// Each once; the first stands for none.
    rules: Vec<Found>,
    numbers: FastMap<Found, u32>,
}

/// 12 bytes, so that the table stays in a second-level cache.
#[derive(Clone, Copy, Default)]
struct Slot {
    image: u32,
    offset: u32,
    /// Its number; 0 of a slot that is empty.
    rule: u32,
}

impl KnownRules {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS],
            rules: vec![Found::Nothing],
            numbers: FastMap::default(),
        }
    }

    pub(super) fn get(&self, image: ImageId, offset: u64) -> Option<Found> {
        let slot = self.slots.get(slot(image, offset))?;
        let is_it = slot.rule != 0 && slot.image == image.0 && u64::from(slot.offset) == offset;
        match is_it {
            true => self.rules.get(slot.rule as usize).copied(),
            false => None,
        }
    }

    pub(super) fn note(&mut self, image: ImageId, offset: u64, found: Found) {
        // Code lies in the first 4 GiB of all files that there are.
        let Ok(short) = u32::try_from(offset) else {
            return;
        };
        if self.rules.len() >= RULES_MAX {
            *self = Self::new();
        }
        let rules = &mut self.rules;
        let rule = *self.numbers.entry(found).or_insert_with(|| {
            rules.push(found);
            rules.len() as u32 - 1
        });
        if let Some(slot) = self.slots.get_mut(slot(image, offset)) {
            *slot = Slot {
                image: image.0,
                offset: short,
                rule,
            };
        }
    }
}

fn slot(image: ImageId, offset: u64) -> usize {
    let mixed = (offset ^ u64::from(image.0) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::super::rule::Rule;
    use super::*;

    fn rule(cfa_offset: i32) -> Found {
        Found::Rule(Rule {
            cfa_offset,
            cfa_register: 7,
            is_signal_frame: false,
            saved: [0; 12],
        })
    }

    #[test]
    fn an_address_has_its_own_rule_or_none_however_many_came() {
        let mut known = KnownRules::new();
        assert_eq!(known.get(ImageId(0), 0), None);
        // More rules and more addresses than are kept.
        for at in 0..3 * RULES_MAX as u64 {
            let image = ImageId(at as u32 % 3);
            known.note(image, at, rule(at as i32));
            assert_eq!(known.get(image, at), Some(rule(at as i32)));
        }
        let mut kept = 0;
        for at in 0..3 * RULES_MAX as u64 {
            if let Some(found) = known.get(ImageId(at as u32 % 3), at) {
                assert_eq!(found, rule(at as i32));
                kept += 1;
            }
        }
        assert!((1..=SLOTS).contains(&kept), "{kept}");
        assert!(known.rules.len() <= RULES_MAX);
        known.note(ImageId(1), 1 << 32, Found::Outermost);
        assert_eq!(known.get(ImageId(1), 1 << 32), None);
        assert_eq!(known.get(ImageId(1), 0), None);
    }
}
