//! What the kernel's walk by frame pointers misses, found by call frame information as far as what was
//! copied of the stack reaches.
//!
//! ```text
//!   by frame pointers:            leaf ────────────▶ c1 ─────────▶ c2 ─▶ c3 … the chain
//!   by call frame information:    leaf ─▶ caller ─▶ c1 ─▶ other ─▶ c2 ─┤ end of the copy
//! ```
//! Compilers give a small function no frame, and a function that was just entered, or is about to return,
//! has none yet or no longer: the frame pointer is its caller's then, and the walk skips that caller. So does
//! it with what calls on without a frame, as C libraries do. The walk reads each return address behind a saved
//! frame pointer: a frame whose return address is there is in the chain, one whose is elsewhere is missing.

use super::roots::Place;
use super::rule::Found;
use super::step::{Frame, Stuck};
use super::{
    CfiSource, FRAMES_MAX, Machine, Start, Unwinder, leave_by_frame_pointer, leave_generated,
    place_of, without_signature,
};
use crate::maps::MapTable;

/// Frames behind the end of a chain of frame pointers that are its program's or thread's start: of the C
/// libraries', which have none. They would be there in stacks that are short enough only, and one function would
/// have two callers.
const START_FRAMES_MAX: usize = 3;

/// What became of a chain's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repair {
    /// Nothing is missing, or nothing can be said.
    AsRecorded,
    /// What was found stands for so many entries behind the leaf; behind it is the rest of the chain.
    Inserted(usize),
    /// What was found stands for the first `taken` entries behind the leaf, and the root is the `len`th:
    /// what the chain has behind it was read through a register that was no frame pointer.
    Ended { taken: usize, len: usize },
    /// What was found leads to the root: nothing else that the chain has is true.
    Whole,
    /// What was found is true, and nothing else that the chain has behind its leaf: what the walk took for a
    /// frame pointer was none.
    Cut,
    /// A rule is needed that is not known here.
    Unknown,
}

/// Rules that were needed, by image and file offset.
pub(crate) type Needed = Vec<Place>;

/// Where rules are looked up that are not known yet.
pub(crate) struct Lookups<'a> {
    pub(crate) source: &'a mut dyn CfiSource,
    pub(crate) needed: &'a mut Needed,
}

impl Unwinder {
    /// Puts into `into` what belongs behind the leaf of a chain that has `behind` there. Without `lookups`
    /// only by rules that are known already.
    pub(crate) fn repair(
        &mut self,
        maps: &MapTable,
        mut lookups: Option<Lookups<'_>>,
        start: Start<'_>,
        behind: &[u64],
        into: &mut Vec<u64>,
    ) -> Repair {
        into.clear();
        let true_len = self.before_false_root((maps, start.machine), &mut lookups, behind);
        let Some(len) = true_len else {
            return Repair::Unknown;
        };
        let is_ended = len < behind.len();
        let true_part = behind.get(..len).unwrap_or(behind);
        match self.follow(maps, &mut lookups, start, true_part, into) {
            Repair::AsRecorded if is_ended => {
                into.clear();
                Repair::Ended { taken: 0, len }
            }
            Repair::Inserted(taken) if is_ended => Repair::Ended { taken, len },
            repair => repair,
        }
    }

    /// Follows the walk that has these entries behind the leaf.
    fn follow(
        &mut self,
        maps: &MapTable,
        lookups: &mut Option<Lookups<'_>>,
        start: Start<'_>,
        behind: &[u64],
        into: &mut Vec<u64>,
    ) -> Repair {
        let Start {
            machine,
            mut registers,
            stack,
        } = start;
        let (Some(leaf), Some(fp)) = (registers.get(machine.pc()), registers.get(machine.fp()))
        else {
            return Repair::AsRecorded;
        };
        // Before Linux 5.11 x86 gives -1 for what a system call's entry does not save.
        if fp == u64::MAX {
            return Repair::AsRecorded;
        }
        let mut walk = Walk {
            fp,
            behind,
            turned: None,
            taken: 0,
            missing: 0,
            sure: (0, 0),
            is_proven: false,
        };
        let mut last = None;
        let (mut lookup, mut is_interrupted) = (leaf, true);
        let mut callee = None;
        // A frame has a word at least, but for those of a hostile image.
        for _ in 0..FRAMES_MAX.min(stack.bytes.len() / 8 + 16) {
            let place = maps.find_near(&mut last, lookup).and_then(place_of);
            let found = match place {
                None => Found::Nothing,
                Some(place) => match self.rule_for(place, machine, lookups) {
                    Some(found) => found,
                    None => return Repair::Unknown,
                },
            };
            let mut frame = Frame {
                machine,
                registers: &mut registers,
                stack,
                is_interrupted,
            };
            let left = match (found, place.zip(lookups.as_mut())) {
                (Found::Rule(rule), _) => frame.leave_by_rule(&rule),
                (Found::Outermost, _) => Err(Stuck::Outermost),
                (Found::Other, Some(((image, offset), lookups))) => {
                    self.leave_by_row(&mut frame, image, offset, lookups.source)
                }
                (Found::Other, None) => return Repair::Unknown,
                // Images that tell nothing, and nearly all generated code, have frame pointers or nothing.
                (Found::Nothing, _) => match place {
                    Some(_) => leave_by_frame_pointer(&mut frame, maps, &mut last),
                    None => leave_generated(&mut frame, maps, &mut last, callee),
                },
            };
            callee = place.map(|(image, _)| image);
            let caller = match left {
                Ok(caller) => caller,
                Err(Stuck::Outermost) => return walk.reached_root(into),
                Err(Stuck::Cut | Stuck::Far | Stuck::Lost) => {
                    let has_caller = matches!(found, Found::Rule(_) | Found::Other);
                    let next = walk.next().map(|addr| addr.saturating_sub(1));
                    let ends = match next {
                        Some(next) => maps.find_near(&mut last, next).is_none(),
                        None => walk.is_at_leaf(),
                    };
                    if has_caller && ends {
                        return Repair::Cut;
                    }
                    let keeps =
                        matches!(found, Found::Rule(rule) if rule.keeps_frame_pointer(machine));
                    walk.is_proven = keeps && registers.get(machine.fp()) == Some(walk.fp);
                    break;
                }
            };
            let addr = without_signature(caller.return_address, machine, maps);
            if addr >> 63 != 0 || maps.find_near(&mut last, addr.saturating_sub(1)).is_none() {
                break;
            }
            let entry = addr.saturating_add(u64::from(caller.is_interrupted));
            let sp = registers.get(machine.sp()).unwrap_or(0);
            if walk.has(entry, caller.saved_at, sp) {
                let Ok(next) = stack.word(walk.fp) else {
                    break;
                };
                into.push(entry);
                walk.take(next, into.len());
                // Not all call frame information says where it was kept: Go's does not.
                registers.set(machine.fp(), Some(next));
            } else {
                into.push(entry);
                walk.missing += 1;
                if let Some(fp) = registers.get(machine.fp())
                    && fp != walk.fp
                    && !walk.is_over()
                {
                    // It kept its caller's frame pointer and used the register otherwise.
                    walk = walk.from(fp);
                }
            }
            registers.set(machine.pc(), Some(addr));
            is_interrupted = caller.is_interrupted;
            lookup = addr.saturating_sub(u64::from(!is_interrupted));
        }
        walk.stopped(registers.get(machine.sp()).unwrap_or(0), into)
    }
}

impl Unwinder {
    /// What holds at a place; `None` where that is not known and cannot be looked up here.
    pub(super) fn rule_for(
        &mut self,
        (image, offset): Place,
        machine: Machine,
        lookups: &mut Option<Lookups<'_>>,
    ) -> Option<Found> {
        let known = self.known.get(image, offset);
        let Some(lookups) = lookups else {
            return known;
        };
        lookups.needed.push((image, offset));
        match known {
            // It is looked up each time.
            None | Some(Found::Other) if !lookups.source.may_tell(image, offset) => None,
            None => Some(self.rule_at(image, offset, machine, lookups.source)),
            known => known,
        }
    }
}

/// The kernel's walk by frame pointers, followed.
struct Walk<'a> {
    /// What it takes for the frame pointer now.
    fp: u64,
    /// What it recorded.
    behind: &'a [u64],
    /// How many entries it had when its frame pointer proved to be none: from there on this is the walk that
    /// it would have been with a true one.
    turned: Option<usize>,
    /// Entries that it has got so far.
    taken: usize,
    /// Frames that it missed so far.
    missing: usize,
    /// How many frames there were, and how many of them it had missed, when it got its last one.
    sure: (usize, usize),
    /// The last frame that was found keeps its return address where the walk reads its next one, as its call frame
    /// information says: also if that is on another stack (`rust_psm_on_stack`, other coroutines).
    is_proven: bool,
}

impl Walk<'_> {
    /// Whether its next entry is this one, found at `saved_at`, of a frame that ends at `sp`.
    fn has(&self, entry: u64, saved_at: Option<u64>, sp: u64) -> bool {
        let is_there = saved_at == Some(self.fp.wrapping_add(8));
        match self.turned {
            // A function that aligned its stack has its frame pointer inside of it, with a copy of its
            // return address behind it.
            None => self.behind.get(self.taken) == Some(&entry) && (is_there || self.fp < sp),
            Some(_) => is_there,
        }
    }

    fn take(&mut self, next_fp: u64, frames: usize) {
        self.fp = next_fp;
        self.taken += 1;
        self.sure = (frames, self.missing);
    }

    /// What it takes for the return address of the frame that it has last.
    fn next(&self) -> Option<u64> {
        let next = self.behind.get(self.taken).copied();
        next.filter(|_| self.turned.is_none())
    }

    /// Whether no frame was left yet.
    fn is_at_leaf(&self) -> bool {
        self.taken == 0 && self.missing == 0 && self.turned.is_none()
    }

    /// Whether it ended where it should: behind frames with frame pointers come those of the start.
    fn is_over(&self) -> bool {
        self.turned.is_none() && self.taken > 0 && self.taken == self.behind.len()
    }

    /// The walk that begins at another frame pointer, here.
    fn from(self, fp: u64) -> Self {
        Self {
            fp,
            turned: self.turned.or(Some(self.taken)),
            ..self
        }
    }

    /// What was found, where it cannot be followed any further than to a frame that begins at `sp`.
    fn stopped(&self, sp: u64, found: &mut Vec<u64>) -> Repair {
        if self.turned.is_some() {
            return Repair::Cut;
        }
        if self.taken < self.behind.len() {
            return match self.missing {
                0 => Repair::AsRecorded,
                // No frame pointer lies below the frames that were left, unless it is known to be one. Where none of
                // these frames has one, those behind it have none either, and the walk would miss them.
                _ if self.fp < sp && !(self.is_proven && self.taken > 0) => Repair::Cut,
                _ => Repair::Inserted(self.taken),
            };
        }
        match self.leave_start_out(found) {
            0 => Repair::AsRecorded,
            _ if found.len() == self.sure.0 => Repair::Inserted(self.taken),
            _ => Repair::Cut,
        }
    }

    /// What was found, where it leads to the root.
    fn reached_root(&self, found: &mut Vec<u64>) -> Repair {
        let missing = self.leave_start_out(found);
        // Also if the start used the register otherwise.
        let is_its = self.turned.is_none_or(|turned| turned == self.taken);
        match missing {
            0 => Repair::AsRecorded,
            // What the chain has behind it, if it has anything, it has in deep stacks too.
            _ if is_its && self.taken > 0 && found.len() == self.sure.0 => {
                Repair::Inserted(self.taken)
            }
            _ => Repair::Whole,
        }
    }

    /// Drops the frames that are the program's start; how many of those that are left were missing.
    fn leave_start_out(&self, found: &mut Vec<u64>) -> usize {
        if self.taken == 0 || found.len() - self.sure.0 > START_FRAMES_MAX {
            return self.missing;
        }
        found.truncate(self.sure.0);
        self.sure.1
    }
}

#[cfg(test)]
#[path = "repair_tests.rs"]
mod tests;
