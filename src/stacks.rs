//! How stacks are found while recording: what `--call-graph` means to the kernel and to the tally, and what
//! is said of it.

use crate::cli::{RecordArgs, StacksArg};
use profiler::live::UserPart;
use symbolizer::{Counts, LiveStacks};

/// What is copied of each stack to find the callers that frame pointers miss at the leaf.
const LEAF_BYTES: u32 = 2048;

/// What each sample is to carry, and what is made of it.
pub(crate) fn asked(args: &RecordArgs) -> (UserPart, Option<LiveStacks>) {
    match args.call_graph {
        StacksArg::Dwarf(bytes) => (UserPart::Stack(bytes), Some(LiveStacks::Unwind)),
        StacksArg::Fp if args.no_leaf_repair || !UserPart::is_supported() => {
            (UserPart::ChainOnly, None)
        }
        StacksArg::Fp => (UserPart::Stack(LEAF_BYTES), Some(LiveStacks::RepairLeaf)),
    }
}

/// What is to be said of a recording's stacks.
pub(crate) fn note(counts: &Counts) -> Option<String> {
    (counts.not_unwound > 0).then(|| {
        format!(
            "{} stacks are as the kernel walked them: too many others waited to be unwound; sample less \
             often (-F), or copy less of each stack (--call-graph dwarf,4096)",
            counts.not_unwound
        )
    })
}
