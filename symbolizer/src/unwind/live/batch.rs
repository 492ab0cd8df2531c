//! Samples that wait for their stacks, many at a time: to the worker and back.

use super::astray::AstrayEnd;
use crate::context::ContextId;
use crate::image::{Image, ImageId};
use crate::lookup::View;
use crate::maps::MapTable;
use crate::unwind::cfi::Cfi;
use crate::unwind::rule::Found;
use crate::unwind::{Registers, Unreached};
use profiler::record::Sample;
use profiler::{CgroupId, CodeAddr, record};
use std::ops::Range;
use std::sync::Arc;

/// A sample whose chain is not known yet.
pub(crate) struct Waiting {
    pub(crate) context: ContextId,
    pub(crate) weight: u64,
    stamp: record::Stamp,
    cgroup: Option<CgroupId>,
    period: u64,
    ip: CodeAddr,
    pub(super) registers: Registers,
    /// What its process had mapped, as far as its stack may lead.
    pub(crate) maps: Arc<MapTable>,
    recorded: Range<usize>,
    pub(super) stack: Range<usize>,
    /// The chain that was made; `None` for the one that was recorded.
    made: Option<Range<usize>>,
    /// How it ended, if its frame pointers were false.
    pub(super) astray: Option<AstrayEnd>,
}

impl Waiting {
    /// When it was taken.
    pub(crate) fn time_ns(&self) -> u64 {
        self.stamp.time_ns
    }

    /// The sample again, without its chain.
    pub(crate) fn sample(&self) -> Sample<'static> {
        Sample {
            stamp: self.stamp,
            cgroup: self.cgroup,
            period: self.period,
            ip: self.ip,
            chain: record::Chain { words: &[] },
            event_id: None,
            read: None,
            branches: record::Branches::default(),
            user_registers: None,
            user_stack: &[],
        }
    }
}

/// An image, and where its path leads to it if it could not be held.
pub(super) struct ImageFile {
    pub(super) id: ImageId,
    pub(super) image: Image,
    pub(super) view: Option<View>,
}

/// A rule that the worker has found out.
#[derive(Clone, Copy)]
pub(super) struct Learned {
    pub(super) image: ImageId,
    pub(super) offset: u64,
    pub(super) found: Found,
}

/// An image that the worker has read.
pub(super) struct ReadImage {
    pub(super) id: ImageId,
    pub(super) cfi: Option<Arc<Cfi>>,
    /// Bytes of its file that are its program's start.
    pub(super) start: Vec<Range<u64>>,
}

/// What goes to the worker at once, and what comes back.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) waiting: Vec<Waiting>,
    /// Chains, as they were recorded and as they were made.
    pub(super) words: Vec<u64>,
    pub(super) stacks: Vec<u8>,
    /// Images that the worker did not hear of yet.
    pub(super) images: Vec<ImageFile>,
    pub(super) learned: Vec<Learned>,
    /// What the worker has read.
    pub(super) read: Vec<ReadImage>,
    /// Of its stacks that were unwound.
    pub(crate) unreached: Unreached,
    /// Numbers of images are those of this generation.
    pub(super) generation: u32,
}

impl Batch {
    /// Adds a sample.
    pub(super) fn push(
        &mut self,
        sample: &Sample<'_>,
        (context, weight): (ContextId, u64),
        registers: Registers,
        maps: Arc<MapTable>,
    ) {
        let (word, byte) = (self.words.len(), self.stacks.len());
        self.words.extend(sample.chain.iter());
        self.stacks.extend_from_slice(sample.user_stack);
        self.waiting.push(Waiting {
            context,
            weight,
            stamp: sample.stamp,
            cgroup: sample.cgroup,
            period: sample.period,
            ip: sample.ip,
            registers,
            maps,
            recorded: word..self.words.len(),
            stack: byte..self.stacks.len(),
            made: None,
            astray: None,
        });
    }

    /// What it takes.
    pub(super) fn len_bytes(&self) -> usize {
        self.stacks.len() + 8 * self.words.len() + self.waiting.len() * size_of::<Waiting>()
    }

    /// The chain of a sample, as it was recorded.
    pub(super) fn recorded(&self, waiting: &Waiting) -> &[u64] {
        self.words.get(waiting.recorded.clone()).unwrap_or_default()
    }

    /// The chain that a sample is counted by.
    pub(crate) fn chain(&self, waiting: &Waiting) -> &[u64] {
        let range = waiting.made.as_ref().unwrap_or(&waiting.recorded);
        self.words.get(range.clone()).unwrap_or_default()
    }

    /// Gives the sample at `at` this chain.
    pub(super) fn set_chain(&mut self, at: usize, chain: &[u64], astray: Option<AstrayEnd>) {
        let start = self.words.len();
        self.words.extend_from_slice(chain);
        if let Some(waiting) = self.waiting.get_mut(at) {
            waiting.made = Some(start..self.words.len());
            waiting.astray = astray;
        }
    }

    /// Leaves its chains as they were recorded.
    pub(super) fn forget_made(&mut self) {
        for waiting in &mut self.waiting {
            (waiting.made, waiting.astray) = (None, None);
        }
        self.unreached = Unreached::default();
    }

    /// Empties it; its room is used again.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.words.clear();
        self.stacks.clear();
        self.images.clear();
        self.learned.clear();
        self.read.clear();
        self.unreached = Unreached::default();
    }
}
