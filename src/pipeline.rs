//! The way of the data as code: events are counted while they come, then named, merged, drawn.

use crate::cost::CpuTime;
use crate::naming::{NameThread, Tagger};
use crate::output::{Format, Output};
use crate::report::Failure;
use crate::target::{Host, Target};
use collapse::{FrameTree, Totals, write_folded};
use flamegraph_web::{Picture, write_svg};
use profiler::container::Hierarchy;
use profiler::live::{self, Config, Recorded, Signals};
use std::sync::Arc;
use symbolizer::{Counts, Problem, ResolveOptions, Tally};

/// A recording, read and named.
pub(crate) struct Recording {
    pub(crate) recorded: Recorded,
    pub(crate) counts: Counts,
    pub(crate) totals: Totals,
    pub(crate) problems: Vec<Problem>,
    /// When sampling had ended.
    pub(crate) sampled: CpuTime,
    tree: FrameTree,
}

/// Records until the end of the recording, then names what was counted.
pub(crate) fn record(
    config: &Config,
    target: &Target,
    host: Option<Host>,
    signals: &Signals,
    sampling_ended: impl FnOnce(),
) -> Result<Recording, Failure> {
    let (hierarchy, names) = host.map(|host| (host.hierarchy, host.names)).unzip();
    let name_thread = names
        .map(NameThread::start)
        .transpose()
        .map_err(Failure::Thread)?;
    let mut ask = name_thread.as_ref().map(NameThread::asker);
    let wanted = target.wanted.clone();
    let mut tally = Tally::new(Box::new(move |place| {
        if let Some(ask) = ask.as_mut() {
            ask.seen(place);
        }
        wanted.select(place)
    }));
    know_cgroups(&mut tally, hierarchy.as_ref());
    let recorded = live::record(config, signals, &mut tally)?;
    sampling_ended();
    let sampled = CpuTime::now();
    // Made while the first walk was under way: their CGROUP records were not yet listened to.
    know_cgroups(&mut tally, hierarchy.as_ref());

    let counts = tally.counts();
    let lost = recorded.lost.max(counts.lost);
    let counted = tally.close();
    let mut tagger = name_thread.map(NameThread::finish);
    let resolved = counted.resolve(ResolveOptions {
        tag: &mut |place| {
            tagger.as_mut().map_or_else(
                || Arc::from("host"),
                |tagger: &mut Tagger| tagger.tag(place),
            )
        },
        kallsyms: live::kallsyms(),
        max_stack: live::max_stack(),
    });
    Ok(Recording {
        recorded,
        counts,
        totals: Totals::from_stacks(&resolved.stacks, counts.idle, lost),
        problems: resolved.problems,
        sampled,
        tree: FrameTree::from_stacks(&resolved.stacks),
    })
}

fn know_cgroups(tally: &mut Tally, hierarchy: Option<&Hierarchy>) {
    for (id, path) in hierarchy.iter().flat_map(|hierarchy| hierarchy.walk()) {
        tally.know_cgroup(id, &path);
    }
}

/// Draws a recording into each output. One that cannot be written does not keep the others from
/// being written: the recording cannot be made again. The first error is returned.
pub(crate) fn write(
    recording: &Recording,
    picture: &Picture,
    outputs: &[Output],
) -> Result<(), Failure> {
    let mut written = Ok(());
    for output in outputs {
        let mut content = Vec::new();
        match output.format {
            Format::Svg => write_svg(&recording.tree, picture, &mut content)?,
            Format::Folded => {
                write_folded(&recording.tree, &mut content).map_err(Failure::Render)?
            }
        }
        written = written.and(output.write(&content).map_err(Failure::from));
    }
    written
}
