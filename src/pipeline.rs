//! The way of the data as code: events are counted while they come, then named, merged, drawn.

use crate::cost::CpuTime;
use crate::ended::EndedMaps;
use crate::failure::Failure;
use crate::how::{How, call_graph_of, chosen_event, clock_of, max_stack_of};
use crate::jvm::{self, Asked, JvmWatch, Seen};
use crate::kernel::{self, RecordedKernel};
use crate::lookup::recorded_on;
use crate::naming::{NameThread, Tagger};
use crate::output::{Format, Output, OutputError};
use crate::recording_files::{self, RecordingFiles};
use crate::target::{Host, Target};
use crate::vmlinux;
use collapse::{Detail, FrameTree, Taken, Totals, write_folded};
use flamegraph_web::{Picture, SvgError, write_svg};
use profiler::container::{Hierarchy, Names};
use profiler::live::{self, Config, Recorded, Signals};
use profiler::perfdata::{self, Ending, ImageBuildId, Outcome, ReadOptions};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use symbolizer::{
    Astray, CallGraph, ChainOptions, CodeSnapshot, Counting, Counts, HeldMap, JitDumpOptions,
    Kallsyms, KeepNames, Kept, Known, LiveStacks, Lookup, Origin, Place, Problem, RecordedOn,
    RecordedTags, ResolveOptions, Selected, Selector, Tally, Turn,
};

/// What is drawn and what is said of it.
pub(crate) struct Named {
    pub(crate) counts: Counts,
    pub(crate) totals: Totals,
    pub(crate) problems: Vec<Problem>,
    tree: FrameTree,
}

/// A recording of this host.
pub(crate) struct Recording {
    pub(crate) recorded: Recorded,
    /// When sampling had ended.
    pub(crate) sampled: CpuTime,
    pub(crate) named: Named,
    /// Whose frame pointers were none.
    pub(crate) astray: Vec<Astray>,
    /// The JVMs that were asked for the names of their code.
    pub(crate) jvms: Vec<Asked>,
}

/// What a recording of this host is to be, and what it works with.
pub(crate) struct Session<'a, F> {
    pub(crate) config: &'a Config,
    /// What is made of the copies of stacks, where samples carry them.
    pub(crate) stacks: Option<LiveStacks>,
    pub(crate) target: &'a Target,
    pub(crate) host: Option<Host>,
    /// Where names are.
    pub(crate) lookup: Lookup,
    /// Where the recording itself goes.
    pub(crate) files: Option<RecordingFiles>,
    /// What of its tree is written.
    pub(crate) detail: Detail,
    /// Who asks JVMs.
    pub(crate) jvms: Option<JvmWatch>,
    pub(crate) signals: &'a Signals,
    /// Called as soon as the last sample was taken.
    pub(crate) sampling_ended: F,
}

/// A recording from a file.
pub(crate) struct Converted {
    pub(crate) outcome: Outcome,
    /// Branch stacks were wanted as chains, and those that were recorded are not of calls.
    pub(crate) branches_are_any: bool,
    /// When all of it was read.
    pub(crate) read: CpuTime,
    pub(crate) named: Named,
}

/// The thread that looks containers up, where there are cgroups, and the selector that asks it of
/// each place it meets.
fn selecting(
    names: Option<Names>,
    mut select: impl FnMut(&Place<'_>) -> Selected + 'static,
) -> Result<(Option<NameThread>, Selector), Failure> {
    let name_thread = names
        .map(NameThread::start)
        .transpose()
        .map_err(Failure::Thread)?;
    let mut ask = name_thread.as_ref().map(NameThread::asker);
    let selector: Selector = Box::new(move |place| {
        if let Some(ask) = ask.as_mut() {
            ask.seen(place);
        }
        select(place)
    });
    Ok((name_thread, selector))
}

/// Records until the end of the recording, then names what was counted. With it, what became of the
/// files that the recording itself goes to.
pub(crate) fn record<F: FnOnce()>(
    session: Session<'_, F>,
) -> Result<(Recording, Result<(), OutputError>), Failure> {
    let Session {
        config,
        stacks,
        target,
        host,
        lookup,
        files,
        detail,
        jvms,
        signals,
        sampling_ended,
    } = session;
    let (hierarchy, names) = host.map(|host| (host.hierarchy, host.names)).unzip();
    let wanted = target.wanted.clone();
    let sampled_jvm = jvms.as_ref().map(JvmWatch::teller);
    let (name_thread, selector) = selecting(names, move |place| {
        let selected = wanted.select(place);
        if let (Selected::Yes, Some(tell), Some(pid)) = (selected, &sampled_jvm, place.pid) {
            // Until the end of the recording somebody listens.
            let _ = tell.send(Seen::Sampled(pid));
        }
        selected
    })?;
    let mut tally = Tally::new(Counting::of(Origin::LiveHost), selector);
    if let Some(tell) = jvms.as_ref().map(JvmWatch::teller) {
        let tell = move |news| {
            let _ = tell.send(Seen::Of(news));
        };
        tally.watch_mapped(jvm::LIBRARY, Box::new(tell));
    }
    if let Some(stacks) = stacks {
        let started = tally.read_live(stacks, live::max_stack());
        started.map_err(Failure::Thread)?;
    }
    if let Some(files) = &files {
        tally.tap(files.tap());
    }
    let ended_maps = EndedMaps::start().map_err(Failure::Thread)?;
    tally.watch_ended(Box::new(ended_maps.teller()));
    know_cgroups(&mut tally, hierarchy.as_ref());
    let recorded = live::record(config, signals, &mut tally)?;
    sampling_ended();
    let astray = tally.end_live();
    let sampled = CpuTime::now();
    let (snapshots, jvms) = told_by(jvms.map(JvmWatch::finish).unwrap_or_default());
    // Made while the first walk was under way: their CGROUP records were not yet listened to.
    know_cgroups(&mut tally, hierarchy.as_ref());
    let source = Source {
        lost: recorded.lost,
        // Outside of the target: not a part of this recording.
        not_chosen: 0,
        kallsyms: live::kallsyms()
            .map(|text| Kallsyms {
                code_from: live::kernel_code_from(),
                ..Kallsyms::recorded(text)
            })
            .map_err(|error| format!("cannot read /proc/kallsyms: {error}")),
        build_ids: &[],
        max_stack: live::max_stack(),
        known: None,
        snapshots,
        held_maps: ended_maps.finish(),
        keep_names: match files {
            Some(_) => KeepNames::Yes,
            None => KeepNames::No,
        },
        lookup,
        detail,
    };
    let (named, kept) = name(tally, source, name_thread);
    let files_written = match (files, kept) {
        (Some(files), Some(kept)) => files.finish(config, &recorded, kept),
        _ => Ok(()),
    };
    let recording = Recording {
        recorded,
        sampled,
        named,
        astray,
        jvms,
    };
    Ok((recording, files_written))
}

/// What JVMs told of their code, and the rest of what became of asking them.
fn told_by(mut jvms: Vec<Asked>) -> (Vec<CodeSnapshot>, Vec<Asked>) {
    let snapshots = jvms.iter_mut().filter_map(|asked| asked.code.take());
    (snapshots.collect(), jvms)
}

/// Reads a recording to its end, then names what was counted by what this host has.
pub(crate) fn convert(
    (recording, input): (perfdata::Recording, &Path),
    options: &ReadOptions,
    How {
        counting,
        call_graph,
        sources,
        detail,
    }: How,
    host: Option<Host>,
) -> Result<Converted, Failure> {
    let event = chosen_event(&recording, &options.event);
    let (layout, clock) = (event.map(|event| event.layout), clock_of(event));
    let call_graph = call_graph_of(call_graph, layout)?;
    let names = host.map(|host| host.names);
    let chosen = Arc::clone(&sources.chosen);
    let (name_thread, selector) = selecting(names, move |place| chosen.select(place))?;
    let mut tally = Tally::new(counting, selector);
    let about = recording.about();
    // More of it is known in the end.
    let on = match kernel::other_host(about) {
        Some(_) => RecordedOn::Elsewhere,
        None => RecordedOn::Unknown,
    };
    let lookup = sources.lookup.clone().recorded(on);
    tally.read_chains(&ChainOptions {
        call_graph,
        arch: about.arch.as_deref(),
        kernel_release: about.os_release.as_deref(),
        build_ids: &about.build_ids,
        lookup: &lookup,
    });
    let turn = match sources.are_given {
        true => Turn::Last,
        false => Turn::First,
    };
    tally.read_dumps(&JitDumpOptions {
        lookup: &lookup,
        arch: about.arch.as_deref(),
        clock,
        turn,
    });
    tally.know_tags(match &about.sidecar {
        Some(sidecar) => RecordedTags::Known(Arc::clone(sidecar)),
        None if recording.is_ours() => RecordedTags::Later,
        None => RecordedTags::None,
    });
    let outcome = match recording.read(options, &mut tally) {
        // Nothing is drawn of what has no samples before its damage.
        Ok(Outcome {
            ending: Ending::Damaged(error),
            samples,
            ..
        }) if samples.iter().all(|samples| *samples == 0) => Err(error),
        read => read,
    }
    .map_err(|error| Failure::recording(input, tally.counts().samples, error))?;
    let read = CpuTime::now();
    let sidecar = outcome.about.sidecar.as_deref();
    if let Some(sidecar) = &outcome.about.sidecar {
        tally.know_tags(RecordedTags::Known(Arc::clone(sidecar)));
    }
    sources.chosen.check()?;
    let kernel = RecordedKernel::new(&outcome.about, &tally);
    let mut running = kernel.look();
    let on = recorded_on(&kernel, &running);
    let vmlinux = vmlinux::of_recording(sources.vmlinux.as_deref(), &kernel, &mut running)?;
    let lookup = sources.lookup.recorded(on).with_vmlinux(vmlinux);
    let kallsyms = kernel.kallsyms(sources.kallsyms.as_deref(), running, &lookup)?;
    tally.read_dumps(&JitDumpOptions {
        lookup: &lookup,
        arch: outcome.about.arch.as_deref(),
        clock: clock_of(outcome.events.get(outcome.chosen)),
        turn,
    });
    let source = Source {
        lost: 0,
        not_chosen: tally.counts().outside,
        kallsyms,
        build_ids: &outcome.about.build_ids,
        max_stack: max_stack_of(&outcome),
        known: sidecar.map(|sidecar| Known { sidecar, turn }),
        snapshots: Vec::new(),
        held_maps: Vec::new(),
        keep_names: KeepNames::No,
        lookup,
        detail,
    };
    let (named, _) = name(tally, source, name_thread);
    let branches_are_any = call_graph == CallGraph::Branches
        && layout.is_some_and(|layout| !layout.has_call_branches());
    Ok(Converted {
        outcome,
        branches_are_any,
        read,
        named,
    })
}

/// What a recording has besides its events.
struct Source<'a> {
    /// Lost samples, where their number is known better than by LOST records.
    lost: u64,
    /// Samples of the recording that were not asked for.
    not_chosen: u64,
    kallsyms: Result<Kallsyms, String>,
    build_ids: &'a [ImageBuildId],
    /// Entries at which its kernel cut a chain.
    max_stack: usize,
    /// What it says itself that its places are called.
    known: Option<Known<'a>>,
    /// What processes said of their code while they were recorded.
    snapshots: Vec<CodeSnapshot>,
    /// Maps of those that ended.
    held_maps: Vec<HeldMap>,
    keep_names: KeepNames,
    lookup: Lookup,
    detail: Detail,
}

/// Names what was counted; with it what a recording is to carry, where it is asked for.
fn name(
    tally: Tally,
    source: Source<'_>,
    name_thread: Option<NameThread>,
) -> (Named, Option<Kept>) {
    let counts = tally.counts();
    let lost = source.lost.max(counts.lost);
    let counted = tally.close();
    let mut tagger = name_thread.map(NameThread::finish);
    let mut resolved = counted.resolve(ResolveOptions {
        tag: &mut |place| {
            tagger.as_mut().map_or_else(
                || Arc::from("host"),
                |tagger: &mut Tagger| tagger.tag(place),
            )
        },
        kallsyms: source.kallsyms,
        lookup: &source.lookup,
        build_ids: source.build_ids,
        max_stack: source.max_stack,
        known: source.known,
        snapshots: source.snapshots,
        held_maps: source.held_maps,
        keep_names: source.keep_names,
    });
    let mut kept = resolved.kept.take();
    if let (Some(kept), Some(tagger)) = (&mut kept, &tagger) {
        recording_files::add_containers(&mut kept.sidecar, tagger);
    }
    let problems = std::mem::take(&mut resolved.problems);
    let tree = FrameTree::of(&resolved, source.detail);
    // Beside the drawing: there are a million pieces of it. Where no thread is to be had, here.
    let freeing = thread::Builder::new().name("freeing".into());
    let _ = freeing.spawn(move || drop(resolved));
    let named = Named {
        counts,
        totals: Totals::of(
            &tree,
            Taken {
                samples: counts.drawn,
                not_chosen: source.not_chosen,
                idle: counts.idle,
                lost,
            },
        ),
        problems,
        tree,
    };
    (named, kept)
}

fn know_cgroups(tally: &mut Tally, hierarchy: Option<&Hierarchy>) {
    for (id, path) in hierarchy.iter().flat_map(|hierarchy| hierarchy.walk()) {
        tally.know_cgroup(id, &path);
    }
}

/// Draws a recording into each output. One that cannot be written does not keep the others from
/// being written: the recording cannot be made again. The first error is returned.
pub(crate) fn write(named: &Named, picture: &Picture, outputs: &[Output]) -> Result<(), Failure> {
    write_tree(&named.tree, picture, outputs)
}

/// Draws a tree into each output, as [`write`] does.
pub(crate) fn write_tree(
    tree: &FrameTree,
    picture: &Picture,
    outputs: &[Output],
) -> Result<(), Failure> {
    let mut written = Ok(());
    for output in outputs {
        let done = match output.format {
            // Both as they are made: they may be far longer than all that they are made of.
            Format::Svg => {
                let mut drawn = Ok(());
                let done = output.write(|out| match write_svg(tree, picture, out) {
                    Err(SvgError::Write(source)) => Err(source),
                    Err(error) => {
                        drawn = Err(error);
                        Err(std::io::Error::other("there is no picture"))
                    }
                    Ok(()) => Ok(()),
                });
                drawn?;
                done
            }
            Format::Folded => output.write(|out| write_folded(tree, out)),
            // Written while it was recorded.
            Format::PerfData => continue,
        };
        written = written.and(done.map_err(Failure::from));
    }
    written
}
