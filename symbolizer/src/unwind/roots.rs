//! Where the kernel's walk by frame pointers should have ended, and did not.
//!
//! ```text
//!   main ─▶ __libc_start_call_main ─▶ register_tm_clones ─▶ 0xbe552274c0854800
//!           the last true entry        read through whatever rbp the C library left in the register
//! ```
//! C libraries are compiled without frame pointers: the register of what calls `main` may point anywhere. Of a
//! static program its file tells where the code is that calls `main`. What stacks tell is not believed: a program
//! may write into its own what it likes, and maps the same files as others.

use super::repair::Lookups;
use super::rule::Found;
use super::{Machine, Unwinder, cfi_of, place_of};
use crate::chain::is_marker;
use crate::hash::FastMap;
use crate::image::ImageId;
use crate::maps::{Backing, MapTable, Mapping};
use std::ops::Range;

/// An image's byte.
pub(crate) type Place = (ImageId, u64);

/// What a chain's word leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    At(Place),
    Generated,
    /// It is no code.
    Nowhere,
}

/// Static programs whose start is remembered; those beyond are as if their files told nothing.
const REMEMBERED_MAX: usize = 1 << 14;
/// Entries at a chain's end that are looked at: what is read through data soon leads nowhere.
const LOOKED_AT: usize = 16;

/// What is known of chains' ends.
#[derive(Default)]
pub(crate) struct Roots {
    /// Of static programs, the code that calls `main`: bytes of the file.
    starts: FastMap<ImageId, Vec<Range<u64>>>,
}

impl Roots {
    /// Where the code is that calls an image's `main`.
    pub(crate) fn note_start(&mut self, image: ImageId, code: &[Range<u64>]) {
        if self.starts.len() < REMEMBERED_MAX {
            self.starts.insert(image, code.to_vec());
        }
    }

    fn is_start(&self, (image, offset): Place) -> bool {
        let code = self.starts.get(&image);
        code.is_some_and(|code| code.iter().any(|range| range.contains(&offset)))
    }
}

impl Unwinder {
    /// How many of the entries behind a chain's leaf are not behind its root; `None` if a rule is needed
    /// that is not known here.
    pub(super) fn before_false_root(
        &mut self,
        (maps, machine): (&MapTable, Machine),
        lookups: &mut Option<Lookups<'_>>,
        behind: &[u64],
    ) -> Option<usize> {
        if self.roots.starts.is_empty() {
            return Some(behind.len());
        }
        let mut found = None;
        let mut before = Code::Nowhere;
        let from = behind.len().saturating_sub(LOOKED_AT);
        for (at, entry) in behind.iter().enumerate().skip(from) {
            if is_marker(*entry) {
                return Some(behind.len());
            }
            let code = code_of(maps, &mut found, *entry);
            if let Code::At(last) = before
                && self.roots.is_start(last)
                && !self.may_call(code, last, machine, lookups)?
            {
                return Some(at);
            }
            before = code;
        }
        Some(behind.len())
    }

    /// Whether this may be code that calls a program's start. Nothing does, but frames that are not
    /// understood are better kept: what has call frame information is, and what is of another image.
    fn may_call(
        &mut self,
        code: Code,
        (image, _): Place,
        machine: Machine,
        lookups: &mut Option<Lookups<'_>>,
    ) -> Option<bool> {
        match code {
            Code::At(place) if place.0 == image => {
                let found = self.rule_for(place, machine, lookups)?;
                // An image that could not be read tells of nothing.
                let is_read = lookups
                    .as_mut()
                    .is_none_or(|lookups| cfi_of(image, lookups.source).is_some());
                Some(found != Found::Nothing || !is_read)
            }
            Code::At(_) | Code::Generated => Some(true),
            Code::Nowhere => Some(false),
        }
    }
}

/// Where a return address came from.
fn code_of(maps: &MapTable, found: &mut Option<Mapping>, entry: u64) -> Code {
    match maps.find_near(found, entry.saturating_sub(1)) {
        None => Code::Nowhere,
        Some((mapping, _)) if matches!(mapping.backing, Backing::Generated(_)) => Code::Generated,
        Some(it) => place_of(it).map_or(Code::Generated, Code::At),
    }
}

#[cfg(test)]
#[path = "roots_tests.rs"]
mod tests;
