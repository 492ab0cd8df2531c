//! Stacks from registers, a copy of the stack, and the images' call frame information.
//!
//! ```text
//!   MapTable, registers, bytes of the stack ──▶ Unwinder ──▶ addresses, leaf first, and how it ended
//!                                                  ▲
//!                                 images' CFI, each read once (images.rs)
//! ```
//! The unwinder knows no files: `chains.rs` feeds it the samples of a recording, `images.rs` the CFI.

mod branches;
mod cfi;
mod chains;
#[cfg(test)]
mod ended_tests;
#[cfg(test)]
mod hostile_tests;
mod images;
mod index;
mod known;
mod live;
mod machine;
mod repair;
mod roots;
mod rule;
mod stack;
mod start;
mod step;
#[cfg(test)]
mod tests;
mod trampoline;
mod unreached;

pub(crate) use chains::Chains;
pub use chains::{CallGraph, ChainOptions};
pub(crate) use images::Files;
pub(crate) use live::LiveChains;
pub use live::{Astray, LiveStacks};
pub(crate) use machine::{Machine, Registers};
pub(crate) use stack::StackBytes;
pub use unreached::Unreached;

use crate::image::ImageId;
use crate::maps::{Backing, MapTable, Mapping};
use cfi::{Cfi, Context};
use known::KnownRules;
use roots::Roots;
use rule::Found;
use std::sync::Arc;
use step::{Caller, Frame, Stuck};

/// Frames of one stack: as many as the largest copy of one has, of 16 bytes each. Recursions of compilers
/// have over a thousand.
pub(crate) const FRAMES_MAX: usize = 4096;

/// How the unwinding of a stack ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// At the frame where the thread began.
    Complete,
    /// At the end of what was copied of the stack.
    Cut,
    /// Where the next word lies further up than a copy can reach.
    Far,
    /// At a frame that could not be left: no call frame information and no frame pointer, or
    /// wrong ones.
    Lost,
    /// At [`FRAMES_MAX`].
    TooDeep,
}

/// Whose call frame information there is.
pub(crate) trait CfiSource {
    /// That of an image; `None` where there is none that may be used.
    fn image(&mut self, id: ImageId) -> Option<Arc<Cfi>>;
    /// Whether an image that there is none of may have it later: what is not known of its code yet must
    /// not be remembered as nothing.
    fn may_come(&self, _id: ImageId) -> bool {
        false
    }
    /// That of the vdso.
    fn vdso(&mut self) -> Option<Arc<Cfi>>;
    /// Whether it may be asked now what holds at a byte of an image.
    fn may_tell(&mut self, _image: ImageId, _offset: u64) -> bool {
        true
    }
}

/// What is unwound.
pub(crate) struct Start<'a> {
    pub(crate) machine: Machine,
    /// Of the leaf. With an address and a stack pointer.
    pub(crate) registers: Registers,
    pub(crate) stack: StackBytes<'a>,
}

/// Unwinds stacks, of any process, and remembers the rules that it used: by image and file
/// offset, so that processes of the same images share them.
pub(crate) struct Unwinder {
    known: KnownRules,
    /// What is known of where chains end.
    roots: Roots,
    context: Box<Context>,
}

/// What no image has as its number.
const VDSO: ImageId = ImageId(u32::MAX);

impl Unwinder {
    pub(crate) fn new() -> Self {
        Self {
            known: KnownRules::new(),
            roots: Roots::default(),
            context: Box::default(),
        }
    }

    /// Forgets all rules and roots: an image's number may be another one's from now on.
    pub(crate) fn forget(&mut self) {
        self.known = KnownRules::new();
        self.roots = Roots::default();
    }

    /// Appends the addresses of a stack to `into`, leaf first, as the kernel gives chains: behind
    /// the leaf they are return addresses. An address that was interrupted by a signal is given one
    /// byte further on, so that one byte back it is what it was.
    pub(crate) fn unwind(
        &mut self,
        maps: &MapTable,
        source: &mut dyn CfiSource,
        start: Start<'_>,
        into: &mut Vec<u64>,
    ) -> Ended {
        let Start {
            machine,
            mut registers,
            stack,
        } = start;
        let Some(leaf) = registers.get(machine.pc()) else {
            return Ended::Lost;
        };
        into.push(leaf);
        let mut last = None;
        let (mut lookup, mut is_interrupted) = (leaf, true);
        let mut callee = None;
        for _ in 1..FRAMES_MAX {
            let place = maps.find_near(&mut last, lookup).and_then(place_of);
            let mut frame = Frame {
                machine,
                registers: &mut registers,
                stack,
                is_interrupted,
            };
            let caller = match place {
                Some((image, offset)) => match self.rule_at(image, offset, machine, source) {
                    Found::Rule(rule) => frame.leave_by_rule(&rule),
                    Found::Outermost => return Ended::Complete,
                    Found::Other => self.leave_by_row(&mut frame, image, offset, source),
                    Found::Nothing => leave_by_frame_pointer(&mut frame, maps, &mut last),
                },
                None => leave_generated(&mut frame, maps, &mut last, callee),
            };
            callee = place.map(|(image, _)| image);
            let caller = match caller {
                Ok(caller) => caller,
                Err(Stuck::Outermost) => return Ended::Complete,
                Err(Stuck::Cut) => return Ended::Cut,
                Err(Stuck::Far) => return Ended::Far,
                Err(Stuck::Lost) => return Ended::Lost,
            };
            let addr = without_signature(caller.return_address, machine, maps);
            if addr >> 63 != 0 {
                // The kernel's half: no call came from there. The highest numbers would be taken
                // for markers, and what is behind them for the kernel's.
                return Ended::Lost;
            }
            registers.set(machine.pc(), Some(addr));
            is_interrupted = caller.is_interrupted;
            lookup = addr.saturating_sub(u64::from(!is_interrupted));
            into.push(addr.saturating_add(u64::from(is_interrupted)));
        }
        Ended::TooDeep
    }

    fn rule_at(
        &mut self,
        image: ImageId,
        offset: u64,
        machine: Machine,
        source: &mut dyn CfiSource,
    ) -> Found {
        if let Some(found) = self.known.get(image, offset) {
            return found;
        }
        let cfi = cfi_of(image, source);
        if cfi.is_none() && source.may_come(image) {
            return Found::Nothing;
        }
        let cfi = cfi.filter(|cfi| cfi.machine() == machine);
        let (found, span) = match cfi {
            Some(cfi) => cfi.find(offset, &mut self.context),
            None => (Found::Nothing, offset..offset.saturating_add(1)),
        };
        self.known.note(image, offset, span, found);
        found
    }

    fn leave_by_row(
        &mut self,
        frame: &mut Frame<'_>,
        image: ImageId,
        offset: u64,
        source: &mut dyn CfiSource,
    ) -> Result<Caller, Stuck> {
        let cfi = cfi_of(image, source).ok_or(Stuck::Lost)?;
        let left = cfi.with_row(offset, &mut self.context, |row, of| {
            let encoding = of.entry.cie().encoding();
            let is_signal_frame = of.entry.is_signal_trampoline();
            frame.leave_by_row(row, of.expressions, (encoding, is_signal_frame))
        });
        left.unwrap_or(Err(Stuck::Lost))
    }
}

fn cfi_of(image: ImageId, source: &mut dyn CfiSource) -> Option<Arc<Cfi>> {
    match image {
        VDSO => source.vdso(),
        image => source.image(image),
    }
}

/// Leaves code that is in no image; what it called is in the image `callee`.
fn leave_generated(
    frame: &mut Frame<'_>,
    maps: &MapTable,
    last: &mut Option<Mapping>,
    callee: Option<ImageId>,
) -> Result<Caller, Stuck> {
    let left = trampoline::leave(frame, maps, last, callee);
    left.unwrap_or_else(|| leave_by_frame_pointer(frame, maps, last))
}

/// A frame pointer may be any number: what it leads to must be code.
fn leave_by_frame_pointer(
    frame: &mut Frame<'_>,
    maps: &MapTable,
    last: &mut Option<Mapping>,
) -> Result<Caller, Stuck> {
    let machine = frame.machine;
    let caller = frame.leave_by_frame_pointer()?;
    let addr = without_signature(caller.return_address, machine, maps);
    match maps.find_near(last, addr.saturating_sub(1)) {
        Some(_) => Ok(caller),
        None => Err(Stuck::Lost),
    }
}

fn place_of((mapping, offset): (Mapping, u64)) -> Option<(ImageId, u64)> {
    match mapping.backing {
        Backing::Image(image) => Some((image, offset)),
        Backing::Vdso => Some((VDSO, offset)),
        Backing::Generated(_) => None,
    }
}

/// A return address without the signature that aarch64 puts into its upper bits (pointer
/// authentication): where it is not code with them, but is without.
fn without_signature(addr: u64, machine: Machine, maps: &MapTable) -> u64 {
    const ADDRESS_BITS: u64 = (1 << 48) - 1;
    let plain = addr & ADDRESS_BITS;
    let is_signed = machine == Machine::Aarch64 && plain != addr;
    match is_signed && maps.find(plain.saturating_sub(1)).is_some() {
        true => plain,
        false => addr,
    }
}
