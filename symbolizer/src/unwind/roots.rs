//! Where the kernel's walk by frame pointers should have ended, and did not.
//!
//! ```text
//!   main ─▶ __libc_start_call_main ─▶ register_tm_clones ─▶ 0xbe552274c0854800
//!           the last true entry        read through whatever rbp the C library left in the register
//! ```
//! C libraries are compiled without frame pointers: the register of what calls `main`, or a thread's
//! function, may point anywhere. A stack whose copy reaches the root proves it, for deeper ones of the
//! same code too; of a static program its file alone tells.

use super::repair::Lookups;
use super::rule::Found;
use super::{Machine, Unwinder, find, place_of};
use crate::chain::is_marker;
use crate::hash::FastState;
use crate::image::ImageId;
use crate::maps::{Backing, MapTable, Mapping};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// An image's byte.
pub(crate) type Place = (ImageId, u64);

/// What a chain's word leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Code {
    At(Place),
    Generated,
    /// It is no code.
    Nowhere,
}

/// A chain's last true entry, with what the walk read behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct End {
    last: Place,
    behind: Code,
}

/// Most that is remembered of each kind; what is forgotten is found out again.
const REMEMBERED_MAX: usize = 1 << 14;

/// What is known of chains' ends.
#[derive(Default)]
pub(crate) struct Roots {
    ends: HashSet<End, FastState>,
    /// Of static programs, the code that calls `main`: bytes of the file.
    starts: HashMap<ImageId, Vec<Range<u64>>, FastState>,
    /// Last entries of chains that have no false one.
    sound: HashSet<Place, FastState>,
    /// Ends that others have not heard of.
    news: Vec<End>,
}

impl Roots {
    /// Ends that were proven since the last time.
    pub(crate) fn take_news(&mut self) -> Vec<End> {
        std::mem::take(&mut self.news)
    }

    /// Ends that another one proved.
    pub(crate) fn hear_of(&mut self, ends: &[End]) {
        for end in ends {
            self.add(*end);
        }
    }

    /// Where the code is that calls an image's `main`.
    pub(crate) fn note_start(&mut self, image: ImageId, code: &[Range<u64>]) {
        if self.starts.len() >= REMEMBERED_MAX {
            self.starts.clear();
        }
        self.starts.insert(image, code.to_vec());
        self.sound.clear();
    }

    /// The chain whose entries behind its leaf are these reached its root with the first `len` of them.
    pub(super) fn prove(&mut self, maps: &MapTable, behind: &[u64], len: usize) {
        let entry = |at: Option<usize>| behind.get(at?).copied();
        let mut found = None;
        if let (Some(last), Some(next)) = (entry(len.checked_sub(1)), entry(Some(len)))
            && let Code::At(last) = code_of(maps, &mut found, last)
            && let behind = code_of(maps, &mut found, next)
            // Many programs' generated code would be one place.
            && behind != Code::Generated
            && self.add(End { last, behind })
        {
            self.news.push(End { last, behind });
        }
    }

    /// Whether it is new.
    fn add(&mut self, end: End) -> bool {
        if self.ends.contains(&end) {
            return false;
        }
        if self.ends.len() >= REMEMBERED_MAX {
            self.ends.clear();
        }
        self.sound.clear();
        self.ends.insert(end)
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
        let roots = &self.roots;
        if roots.ends.is_empty() && roots.starts.is_empty() {
            return Some(behind.len());
        }
        let mut found = None;
        let Some(last) = behind.last() else {
            return Some(0);
        };
        let last = code_of(maps, &mut found, *last);
        if let Code::At(last) = last
            && roots.sound.contains(&last)
        {
            return Some(behind.len());
        }
        let mut before = Code::Nowhere;
        for (at, entry) in behind.iter().enumerate() {
            if is_marker(*entry) {
                return Some(behind.len());
            }
            let code = code_of(maps, &mut found, *entry);
            if let Code::At(last) = before
                && (self.roots.ends.contains(&End { last, behind: code })
                    || self.roots.is_start(last) && !self.may_call(code, machine, lookups)?)
            {
                return Some(at);
            }
            before = code;
        }
        if let Code::At(last) = last {
            let sound = &mut self.roots.sound;
            if sound.len() >= REMEMBERED_MAX {
                sound.clear();
            }
            sound.insert(last);
        }
        Some(behind.len())
    }

    /// Whether this may be code that calls a program's start. Nothing does, but frames that are not
    /// understood are better kept: what has call frame information is.
    fn may_call(
        &mut self,
        code: Code,
        machine: Machine,
        lookups: &mut Option<Lookups<'_>>,
    ) -> Option<bool> {
        match code {
            Code::At(place) => {
                let found = self.rule_for(place, machine, lookups)?;
                Some(found != Found::Nothing)
            }
            Code::Generated => Some(true),
            Code::Nowhere => Some(false),
        }
    }
}

/// Where a return address came from.
fn code_of(maps: &MapTable, found: &mut Option<Mapping>, entry: u64) -> Code {
    match find(maps, found, entry.saturating_sub(1)) {
        None => Code::Nowhere,
        Some((mapping, _)) if matches!(mapping.backing, Backing::Generated(_)) => Code::Generated,
        Some(it) => place_of(it).map_or(Code::Generated, Code::At),
    }
}

#[cfg(test)]
#[path = "roots_tests.rs"]
mod tests;
