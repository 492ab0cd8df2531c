//! Rules that were used, by image and file offset: a stack's frames are nearly all known already, and
//! what is worked out again takes ten times as long.
//!
//! ```text
//!   address ──▶ its rule ─(none yet)─▶ code around it that has one rule ─(none)─▶ worked out
//! ```
//! Of addresses that are new, half lie where a rule is known: large functions have many calls and few rows.

use super::rule::Found;
use crate::hash::FastMap;
use crate::image::ImageId;
use std::ops::Range;

/// Sets of two addresses; a power of two. A recording of a whole host has some fifty thousand addresses.
const SETS: usize = 1 << 15;
/// Bits of an address that say which set is its own. The others leave as many to a rule's number.
const SET_BITS: u32 = SETS.ilog2();
/// Different rules that are kept; they are some thousand.
const RULES_MAX: u64 = 1 << SET_BITS;
/// Sets of two spans; a power of two.
const SPAN_SETS: usize = 1 << 13;
/// Code whose spans share a set.
const BLOCK_BYTES: u32 = 2 << 10;

/// Remembers the last addresses that came to each set, and the last spans.
pub(super) struct KnownRules {
    /// An address without the bits that lead to its set, and the number of its rule in the lowest ones; the newer
    /// one first. A set has 16 bytes, as allocators align them: one line of a cache. Zeros of plain numbers take no
    /// memory before they are written to.
    addresses: Vec<[u64; 2]>,
    /// Image, first byte, the byte behind the last, and number of the rule; the newer one first.
    spans: Vec<[[u32; 4]; 2]>,
    /// Each once; the first stands for none.
    rules: Vec<Found>,
    numbers: FastMap<Found, u32>,
}

impl KnownRules {
    pub(super) fn new() -> Self {
        Self {
            addresses: vec![[0; 2]; SETS],
            spans: vec![[[0; 4]; 2]; SPAN_SETS],
            rules: vec![Found::Nothing],
            numbers: FastMap::default(),
        }
    }

    pub(super) fn get(&mut self, image: ImageId, offset: u64) -> Option<Found> {
        let offset = short(offset)?;
        let mixed = mixed(image.0, offset);
        let set = self.addresses.get(set_of(mixed))?;
        // Without branches: which of them it is cannot be foreseen.
        let [first, second] = set.map(|entry| match entry ^ (mixed << SET_BITS) {
            number @ 1..RULES_MAX => number as u32,
            _ => 0,
        });
        let number = match first | second {
            0 => self.get_by_span((image.0, offset), mixed)?,
            number => number,
        };
        self.rules.get(number as usize).copied()
    }

    /// The number of the rule of a span that an address lies in.
    #[cold]
    fn get_by_span(&mut self, (image, offset): (u32, u32), mixed: u64) -> Option<u32> {
        let set = self.spans.get(span_set_of(image, offset))?;
        let span = set.iter().find(|[of, start, end, _]| {
            let is_in = (*start..*end).contains(&offset);
            is_in && *of == image
        });
        let [.., number] = *span?;
        self.put(mixed, number);
        Some(number)
    }

    /// What was found at `offset` holds in all of `span`.
    pub(super) fn note(&mut self, image: ImageId, offset: u64, span: Range<u64>, found: Found) {
        let Some(offset) = short(offset) else {
            return;
        };
        if self.rules.len() as u64 >= RULES_MAX {
            *self = Self::new();
        }
        let rules = &mut self.rules;
        let number = *self.numbers.entry(found).or_insert_with(|| {
            rules.push(found);
            rules.len() as u32 - 1
        });
        self.put(mixed(image.0, offset), number);
        let (start, end) = (short(span.start), short(span.end).unwrap_or(u32::MAX));
        if let Some(start) = start
            && end.saturating_sub(start) > 1
            && let Some([first, second]) = self.spans.get_mut(span_set_of(image.0, offset))
        {
            *second = *first;
            *first = [image.0, start, end, number];
        }
    }

    /// In place of what was known of the address, or of the older one in its set.
    fn put(&mut self, mixed: u64, number: u32) {
        let tag = mixed << SET_BITS;
        if let Some([first, second]) = self.addresses.get_mut(set_of(mixed)) {
            if *first ^ tag >= RULES_MAX {
                *second = *first;
            }
            *first = tag | u64::from(number);
        }
    }
}

/// Code lies in the first 4 GiB of all files that there are.
fn short(offset: u64) -> Option<u32> {
    u32::try_from(offset).ok()
}

/// Another number for each other address: a product with an odd number is one.
fn mixed(image: u32, offset: u32) -> u64 {
    (u64::from(image) << 32 | u64::from(offset)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn set_of(mixed: u64) -> usize {
    (mixed >> (u64::BITS - SET_BITS)) as usize
}

fn span_set_of(image: u32, offset: u32) -> usize {
    (mixed(image, offset / BLOCK_BYTES) >> (u64::BITS - SPAN_SETS.ilog2())) as usize
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
        for at in 0..3 * RULES_MAX {
            let image = ImageId(at as u32 % 3);
            known.note(image, at, at..at + 1, rule(at as i32));
            assert_eq!(known.get(image, at), Some(rule(at as i32)));
            known.note(image, at / 2, at / 2..at / 2 + 1, rule(at as i32 / 2));
        }
        let mut kept = 0;
        for at in 0..3 * RULES_MAX {
            for image in 0..3 {
                if let Some(found) = known.get(ImageId(image), at) {
                    assert_eq!(found, rule(at as i32));
                    kept += 1;
                }
            }
        }
        assert!((1..=2 * SETS).contains(&kept), "{kept}");
        assert!(known.rules.len() as u64 <= RULES_MAX);
        known.note(ImageId(1), 1 << 32, 0..1 << 33, Found::Outermost);
        assert_eq!(known.get(ImageId(1), 1 << 32), None);
        assert_eq!(known.get(ImageId(1), 0), None);
    }

    #[test]
    fn what_was_noted_last_of_an_address_holds() {
        let mut known = KnownRules::new();
        for number in 0..5 {
            known.note(ImageId(1), 0x500, 0x500..0x501, rule(number));
            known.note(ImageId(2), 0x500, 0x500..0x501, Found::Nothing);
            assert_eq!(known.get(ImageId(1), 0x500), Some(rule(number)));
            assert_eq!(known.get(ImageId(2), 0x500), Some(Found::Nothing));
        }
    }

    #[test]
    fn a_rule_is_that_of_its_span_and_of_no_byte_outside_nor_of_another_image() {
        let mut known = KnownRules::new();
        known.note(ImageId(1), 0x420, 0x410..0x430, rule(1));
        known.note(ImageId(1), 0x4_0000_0000, 0x480..0x4a0, rule(2));
        known.note(ImageId(1), 0x490, 0x480..0x4a0, rule(3));
        for offset in 0..0x1000 {
            let expected = match offset {
                0x410..0x430 => Some(rule(1)),
                0x480..0x4a0 => Some(rule(3)),
                _ => None,
            };
            assert_eq!(known.get(ImageId(1), offset), expected, "{offset:#x}");
            assert_eq!(known.get(ImageId(2), offset), None);
        }
        // Of more spans than a set has room for, the last ones are known.
        known.note(ImageId(1), 0x4c0, 0x4c0..0x4d0, rule(4));
        assert_eq!(known.get(ImageId(1), 0x4c8), Some(rule(4)));
        assert_eq!(known.get(ImageId(1), 0x49f), Some(rule(3)));
        assert_eq!(
            known.get(ImageId(1), 0x420),
            Some(rule(1)),
            "the address itself"
        );
        // Where a span ends beyond what an offset can be.
        let last = u64::from(u32::MAX);
        known.note(ImageId(3), last - 4, last - 9..last + 9, rule(5));
        assert_eq!(known.get(ImageId(3), last - 2), Some(rule(5)));
    }
}
