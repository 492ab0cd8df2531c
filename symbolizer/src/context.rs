//! What a counted stack belongs to, and where its task runs.

use crate::hash::FastMap;
use crate::jitdump::DumpId;
use crate::pins::{Pins, RootRef};
use crate::stack::LayerKind;
use crate::tasks::{CommId, SpaceId, Tasks};
use crate::unwind::Unreached;
use profiler::files::TargetRoot;
use profiler::perfdata::sidecar::TextId;
use profiler::record::Stamp;
use profiler::{CgroupId, HostPid, HostTid};
use std::sync::Arc;

/// Index of what a stack belongs to: address space, cgroup, thread name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ContextId(pub(crate) u32);

/// Where a task runs, as far as it is known: what a container's tag is made from.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Its process.
    pub pid: Option<HostPid>,
    /// Path of the sample's cgroup below the perf_event hierarchy's root.
    pub cgroup_path: Option<&'a str>,
    /// `/proc/PID/cgroup`, read where the sample's cgroup was not known or was the root.
    pub proc_cgroups: Option<&'a str>,
    /// The pinned view of the task's files.
    pub root: Option<&'a TargetRoot>,
}

/// Whether a task's samples are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected {
    /// Counted and drawn.
    Yes,
    /// Counted as outside of the target.
    No,
}

/// What a context is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    pub(crate) space: Option<SpaceId>,
    pub(crate) cgroup: Option<CgroupId>,
    pub(crate) comm: CommId,
    pub(crate) split: Split,
    /// How often something was mapped in its space where a stack had led to nothing ([`Tasks::map`]).
    pub(crate) filled: u32,
}

/// A context that was met.
pub(crate) struct KnownContext {
    pub(crate) context: Context,
    pub(crate) selected: Selected,
    /// The jitdump that its stacks wait for.
    pub(crate) dump: Option<DumpId>,
    /// Whose stacks its own are counted among.
    pub(crate) counted_in: ContextId,
}

/// What makes the stacks of two contexts stand below the same layers, whichever processes they are of.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct ContextKind {
    cgroup: Option<CgroupId>,
    comm: CommId,
    split: Split,
    proc_cgroups: Option<Arc<str>>,
    root: Option<RootRef>,
    recorded: Option<TagOf>,
}

/// Where the container's tag of a context comes from in a recording that has tags: then nothing else
/// tells in which container a task was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TagOf {
    /// The recording says it.
    Recording(TextId),
    /// It will say it of this address space, when it has come to its end.
    Space(SpaceId),
}

impl ContextKind {
    pub(crate) fn of(context: &Context, tasks: &Tasks, recorded: Option<TagOf>) -> Self {
        let space = context.space.and_then(|space| tasks.space(space));
        Self {
            cgroup: context.cgroup,
            comm: context.comm,
            split: context.split,
            proc_cgroups: space.and_then(|space| space.proc_cgroups.clone()),
            root: space.map(|space| space.root),
            recorded,
        }
    }
}

/// What else tells contexts apart, where a layer was asked for by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Split {
    pub(crate) pid: Option<HostPid>,
    pub(crate) tid: Option<HostTid>,
    pub(crate) cpu: Option<u32>,
}

impl Split {
    pub(crate) fn by(layers: &[LayerKind], stamp: &Stamp) -> Self {
        let has = |layer| layers.contains(&layer);
        Self {
            pid: has(LayerKind::Pid).then_some(stamp.pid),
            tid: has(LayerKind::Tid).then_some(stamp.tid),
            cpu: has(LayerKind::Cpu).then_some(stamp.cpu),
        }
    }
}

/// Samples by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All samples taken.
    pub samples: u64,
    /// Of these, the idle task's: not drawn.
    pub idle: u64,
    /// Of these, outside of the target or of what was chosen: not drawn.
    pub outside: u64,
    /// Of these, drawn.
    pub drawn: u64,
    /// Lost ones, as far as LOST records told.
    pub lost: u64,
    /// How often the kernel stopped sampling on a CPU because it took too many interrupts.
    pub throttled: u64,
    /// How long that was, on all CPUs together.
    pub throttled_ns: u64,
    /// Sampled processes whose view of files could not be pinned: they were gone already.
    pub unpinned: u64,
    /// Files and views of them that were not held because no descriptor was left.
    pub out_of_files: u64,
    /// Samples of this host whose stacks were counted as the kernel walked them, because too many others
    /// waited to be unwound.
    pub not_unwound: u64,
    /// Of the unwound ones those that did not reach their roots, by why.
    pub unreached: Unreached,
}

/// Where the tasks of a recording are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On this host, now: what they map can be held, `/proc` can be asked.
    LiveHost,
    /// In a file: their pids say nothing about this host's processes.
    File,
}

/// Decides which tasks are wanted; asked once for each context.
pub type Selector = Box<dyn FnMut(&Place<'_>) -> Selected>;

/// Where the tasks of a context run.
pub(crate) fn place_of<'a>(
    context: &Context,
    tasks: &'a Tasks,
    pins: &'a Pins,
    cgroup_paths: &'a FastMap<CgroupId, Arc<str>>,
) -> Place<'a> {
    let space = context.space.and_then(|space| tasks.space(space));
    Place {
        pid: space.map(|space| space.pid),
        cgroup_path: context
            .cgroup
            .and_then(|id| cgroup_paths.get(&id))
            .map(|path| &**path),
        proc_cgroups: space.and_then(|space| space.proc_cgroups.as_deref()),
        root: space
            .and_then(|space| pins.root(space.root))
            .map(|root| &**root),
    }
}
