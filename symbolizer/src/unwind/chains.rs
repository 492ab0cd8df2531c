//! Which chain a sample is counted by: the one that was recorded, the one that its registers and
//! stack lead through, or the one of its branch stack.

use super::branches::chain_of_branches;
use super::images::{Files, ImageCfi, VdsoIs, View};
use super::{Ended, Machine, Registers, StackBytes, Start, Unreached, Unwinder};
use crate::chain::{CUT_MARKER, USER_MARKER, WHOLE_MARKER};
use crate::lookup::Lookup;
use crate::told::Told;
use profiler::live::kernel_release;
use profiler::perfdata::ImageBuildId;
use profiler::record::Sample;

/// What stacks are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallGraph {
    /// The chains that the kernel walked by frame pointers.
    FramePointers,
    /// Registers and copies of stacks; of samples without them, what was recorded.
    Registers,
    /// Branch stacks; of samples without one, what was recorded.
    Branches,
}

/// How the chains of a recording in a file are to be read.
#[derive(Clone, Copy)]
pub struct ChainOptions<'a> {
    /// What stacks are made from.
    pub call_graph: CallGraph,
    /// The recorded machine (`uname -m`), where the recording tells.
    pub arch: Option<&'a str>,
    /// Its kernel (`uname -r`): if it is ours, so is its vdso.
    pub kernel_release: Option<&'a str>,
    /// Build ids that the recording tells beside its mappings.
    pub build_ids: &'a [ImageBuildId],
    /// Where its images are looked for.
    pub lookup: &'a Lookup,
}

/// The chains of a recording.
pub(crate) struct Chains {
    call_graph: CallGraph,
    /// As the recording tells it.
    arch: Option<String>,
    cfi: ImageCfi,
    /// Made with the first sample that needs it.
    unwinder: Option<Unwinder>,
    unwound: Vec<u64>,
    /// The chain of the last sample.
    words: Vec<u64>,
    pub(crate) unreached: Unreached,
}

impl Chains {
    /// Chains as they were recorded.
    pub(crate) fn recorded() -> Self {
        Self {
            call_graph: CallGraph::FramePointers,
            arch: None,
            cfi: ImageCfi::new(Told::default(), VdsoIs::Unknown, Lookup::of_host()),
            unwinder: None,
            unwound: Vec::new(),
            words: Vec::new(),
            unreached: Unreached::default(),
        }
    }

    pub(crate) fn new(options: &ChainOptions<'_>) -> Self {
        let ours = kernel_release().ok();
        let is_ours = ours.is_some() && options.kernel_release == ours.as_deref();
        let vdso_is = match is_ours {
            true => VdsoIs::Ours,
            false => VdsoIs::Unknown,
        };
        Self {
            call_graph: options.call_graph,
            arch: options.arch.map(str::to_owned),
            cfi: ImageCfi::new(
                Told::new(options.build_ids),
                vdso_is,
                options.lookup.clone(),
            ),
            ..Self::recorded()
        }
    }

    /// Whether a chain may be made for this sample: nearly all recordings have none to make.
    pub(crate) fn concern(&self, sample: &Sample<'_>) -> bool {
        match self.call_graph {
            CallGraph::FramePointers => false,
            CallGraph::Registers => sample.user_registers.is_some(),
            CallGraph::Branches => true,
        }
    }

    /// The chain of a sample, with its kernel and its user part; `None` for the one that was recorded.
    pub(crate) fn read(&mut self, sample: &Sample<'_>, files: &Files<'_>) -> Option<&[u64]> {
        self.words.clear();
        let is_made = match self.call_graph {
            CallGraph::FramePointers => false,
            CallGraph::Branches => chain_of_branches(sample, &mut self.words),
            CallGraph::Registers => self.unwind(sample, files),
        };
        is_made.then_some(self.words.as_slice())
    }

    /// Forgets what was read of images: their numbers may be others' from now on.
    pub(crate) fn forget_images(&mut self) {
        self.cfi.forget();
        if let Some(unwinder) = &mut self.unwinder {
            unwinder.forget();
        }
    }

    fn unwind(&mut self, sample: &Sample<'_>, files: &Files<'_>) -> bool {
        let (Some(recorded), Some(maps)) = (sample.user_registers, files.maps) else {
            return false;
        };
        let machine = Machine::of_recording(self.arch.as_deref(), &recorded);
        let Some(machine) = machine else {
            return false;
        };
        let user = sample.chain.iter().position(|word| word == USER_MARKER);
        let user = user.unwrap_or(sample.chain.len());
        self.unwound.clear();
        let ended = match Registers::recorded(machine, &recorded) {
            Some(registers) => {
                let start = Start {
                    machine,
                    registers,
                    stack: StackBytes {
                        start: registers.get(machine.sp()).unwrap_or(0),
                        bytes: sample.user_stack,
                    },
                };
                let cfi = &mut self.cfi;
                let unwinder = self.unwinder.get_or_insert_with(Unwinder::new);
                unwinder.unwind(maps, &mut View { cfi, files }, start, &mut self.unwound)
            }
            // 32-bit code: at least where it was.
            None => {
                self.unwound.extend(machine.recorded_pc(&recorded));
                Ended::Lost
            }
        };
        // Where neither reached the root, the longer one tells more. A recorded user part begins with
        // its marker.
        if ended != Ended::Complete && sample.chain.len() - user > self.unwound.len() + 1 {
            return false;
        }
        self.unreached.count(ended);
        self.words.extend(sample.chain.iter().take(user));
        self.words.push(USER_MARKER);
        self.words.extend_from_slice(&self.unwound);
        self.words.push(match ended {
            Ended::Complete => WHOLE_MARKER,
            Ended::Cut | Ended::Far | Ended::Lost | Ended::TooDeep => CUT_MARKER,
        });
        true
    }
}
