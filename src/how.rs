//! How a recording in a file is read: what was asked for, and what the recording has for it.

use crate::cli::CallGraphArg;
use crate::failure::Failure;
use crate::lookup::Sources;
use collapse::Detail;
use profiler::perfdata::{self, EventChoice, Outcome, RecordedEvent};
use profiler::record::Layout;
use symbolizer::{CallGraph, Counting, RecordingClock};

/// How a recording in a file is read and named.
pub(crate) struct How {
    pub(crate) counting: Counting,
    /// What its stacks are made from; what it has, where nobody says.
    pub(crate) call_graph: Option<CallGraphArg>,
    /// Where names come from.
    pub(crate) sources: Sources,
    /// What of its tree is written.
    pub(crate) detail: Detail,
}

/// The event that is drawn, where it is known before the samples are read.
pub(crate) fn chosen_event<'a>(
    recording: &'a perfdata::Recording,
    choice: &EventChoice,
) -> Option<&'a RecordedEvent> {
    let chosen = recording.choose(choice).ok();
    chosen.and_then(|at| recording.events().get(at))
}

/// Whether the times of an event can be compared with those that programs write.
pub(crate) fn clock_of(event: Option<&RecordedEvent>) -> RecordingClock {
    match event.is_some_and(RecordedEvent::is_monotonic) {
        true => RecordingClock::Monotonic,
        false => RecordingClock::Other,
    }
}

/// What stacks are made from; what was asked for must have been recorded, as far as that is known.
pub(crate) fn call_graph_of(
    wanted: Option<CallGraphArg>,
    layout: Option<Layout>,
) -> Result<CallGraph, Failure> {
    match wanted {
        Some(CallGraphArg::Fp) => Ok(CallGraph::FramePointers),
        Some(how @ CallGraphArg::Dwarf) if layout.is_some_and(|it| !it.has_user_stacks()) => Err(
            Failure::NotRecorded("user registers and stacks to unwind", how),
        ),
        Some(how @ CallGraphArg::Lbr) if layout.is_some_and(|it| !it.has_branches()) => {
            Err(Failure::NotRecorded("branch stacks", how))
        }
        Some(CallGraphArg::Lbr) => Ok(CallGraph::Branches),
        Some(CallGraphArg::Dwarf) | None => Ok(CallGraph::Registers),
    }
}

/// Entries at which perf has the kernel cut a chain when nobody says (`PERF_MAX_STACK_DEPTH`,
/// include/uapi/linux/perf_event.h).
const DEFAULT_MAX_STACK: usize = 127;

/// Entries at which the kernel that was recorded cut a chain: as the recording says, never as this
/// host does.
pub(crate) fn max_stack_of(outcome: &Outcome) -> usize {
    let sidecar = outcome.about.sidecar.as_ref();
    let event = outcome.events.get(outcome.chosen);
    let told = [
        sidecar.map_or(0, |sidecar| sidecar.max_stack as usize),
        event.map_or(0, |event| usize::from(event.max_stack)),
    ];
    let told = told.into_iter().find(|told| *told > 0);
    told.unwrap_or(DEFAULT_MAX_STACK)
}
