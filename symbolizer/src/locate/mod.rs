//! Raw addresses become places: a byte of an image, of the kernel, of generated code. Each place is
//! kept once, however many stacks go through it.
//!
//! Equal code in two processes lies at different addresses (ASLR) and in one place: stacks are told apart
//! by their places, so that a program that runs a thousand times needs the memory of one run.
//!
//! ```text
//!   NewStacks ──▶ Passes: which blocks, at the root, are known? ──▶ Finder: places of the others ──▶ Distinct
//! ```

mod ahead;
mod blocks;
mod distinct;
mod finder;
mod near;
mod passes;
mod places;
mod spaces;
#[cfg(test)]
mod tests;

pub(crate) use ahead::Ahead;

use crate::image::ImageId;
use crate::jitdump::CodeName;
use crate::kernel::KsymbolId;
use crate::memory::MemoryId;
use crate::stack::StackPart;
use crate::stacks::{NewStacks, Weighed};
use crate::tasks::SpaceId;
use distinct::{Distinct, StackId, StackWeights};
use finder::Finder;
use passes::Passes;

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A kernel address.
    Kernel(u64),
    /// Kernel code that came or went during the recording.
    KernelCode(KsymbolId),
    /// A file offset in an image.
    Image(ImageId, u64),
    /// An offset in the vdso.
    Vdso(u64),
    /// An address in code that its process generated, and into which memory.
    Generated(SpaceId, u64, MemoryId),
    /// A function that a process generated, as its jitdump calls it.
    Jitted(CodeName),
    /// No mapping covers it.
    Unmapped,
}

impl Place {
    /// Whether nothing is to be looked up for it.
    pub(crate) fn names_itself(&self) -> bool {
        matches!(self, Self::Unmapped | Self::Jitted(_) | Self::KernelCode(_))
    }
}

/// Index of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PlaceId(pub(crate) u32);

/// What the words of a context's stacks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// As they were recorded.
    Recorded,
    /// Those that led into generated functions are these functions (`jitdump`).
    Rewritten,
}

/// Where a stack was sampled: in which address space, if in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampled {
    pub(crate) space: Option<SpaceId>,
    pub(crate) words: Words,
}

/// All stacks as places.
pub(crate) struct Locations {
    /// Each place once.
    pub(crate) places: Vec<Place>,
    pub(crate) stacks: LocatedStacks,
}

/// Stacks whose frames are places.
pub(crate) struct LocatedStacks {
    distinct: Distinct,
    weights: StackWeights,
}

impl LocatedStacks {
    /// Those that weigh anything, in so many parts; a frame's id is its place's.
    pub(crate) fn into_parts(self, parts: usize) -> Vec<StackPart> {
        self.distinct.into_parts(&self.weights, parts)
    }
}

/// Stacks as places, while more of them come.
#[derive(Default)]
pub(crate) struct Locator {
    passes: Passes,
    finder: Finder,
    distinct: Distinct,
    /// By the numbers of the new stacks.
    ids: Vec<StackId>,
    weights: StackWeights,
}

impl Locator {
    /// Takes new stacks: they have the next numbers. What they led to is put down with them.
    pub(crate) fn take(&mut self, new: &mut NewStacks) {
        self.finder.spaces.are_now(&mut new.spaces);
        let Self {
            passes,
            finder,
            distinct,
            ids,
            ..
        } = self;
        passes.locate(new, finder, distinct, ids);
        new.used = self.finder.spaces.end();
    }

    /// Adds what stacks weigh, by their numbers, which begin anew. What is known of address spaces is forgotten: most
    /// of them are left by then.
    pub(crate) fn weigh(&mut self, weighed: &Weighed) {
        for (number, weight) in weighed.iter() {
            if let Some(id) = self.ids.get(number as usize) {
                self.weights.add(*id, weight);
            }
        }
        self.ids.clear();
        self.finder.spaces.forget();
    }

    /// The images that a stack leads to.
    pub(crate) fn images(&self) -> impl Iterator<Item = ImageId> {
        self.finder.images()
    }

    /// All that was weighed.
    pub(crate) fn finish(self) -> Locations {
        let Self {
            finder,
            distinct,
            weights,
            ..
        } = self;
        Locations {
            places: finder.into_places(),
            stacks: LocatedStacks { distinct, weights },
        }
    }
}
