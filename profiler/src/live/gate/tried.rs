//! What came of trying what a recording does, for the rules to judge.

use super::Gate;
use crate::HostPid;
use crate::container::{HierarchyError, HierarchyKind};
use crate::live::LiveError;
use crate::live::config::SampledEvent;
use std::io;
use std::path::PathBuf;

/// All that was tried; every try has been undone.
#[derive(Debug)]
pub(crate) struct Tried {
    /// CPUs that are online.
    pub(crate) cpus: u64,
    /// Rings of one CPU, in KiB.
    pub(crate) ring_kib: u64,
    /// All tasks, on every CPU.
    pub(crate) host: Result<Sampled, LiveError>,
    /// The tasks of a cgroup; `None` without a hierarchy.
    pub(crate) cgroup: Option<Result<Sampled, LiveError>>,
    /// A command of our own.
    pub(crate) command: Result<Sampled, LiveError>,
    /// The same, without the kernel's stacks.
    pub(crate) command_without_kernel: Result<Sampled, LiveError>,
    /// Where locked memory did not do: whether it does for rings of this size, as `-m` takes it.
    pub(crate) smaller_rings: Option<&'static str>,
    pub(crate) hierarchy: Result<SeenHierarchy, HierarchyError>,
    pub(crate) kernel_symbols: KernelSymbols,
    pub(crate) processes: Processes,
}

/// Events that could be opened, and their rings be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampled {
    pub(crate) event: SampledEvent,
    /// With `PERF_SAMPLE_CGROUP`.
    pub(crate) with_cgroups: bool,
}

/// The hierarchy that perf_event lives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenHierarchy {
    pub(crate) kind: HierarchyKind,
    pub(crate) mount_point: PathBuf,
    /// Others are mounted beside it.
    pub(crate) is_hybrid: bool,
    /// Of the whole host, not of a part.
    pub(crate) is_whole: bool,
}

/// What `/proc/kallsyms` gives.
#[derive(Debug)]
pub(crate) enum KernelSymbols {
    Addresses,
    /// Every address is zero.
    Zeros,
    Unreadable(io::Error),
}

/// Which processes can be looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Processes {
    /// How many there are in `/proc`.
    pub(crate) seen: u64,
    /// How many of them do not let us look at their root and mount namespace.
    pub(crate) refused: u64,
    /// One of those.
    pub(crate) first_refused: Option<HostPid>,
    /// Different mount namespaces among the others.
    pub(crate) mount_namespaces: u64,
}

impl Tried {
    /// Why the host cannot be recorded, or else a command of our own, where a gate is known.
    pub(super) fn refusals(&self) -> impl Iterator<Item = &super::Denied> {
        [&self.host, &self.command, &self.command_without_kernel]
            .into_iter()
            .filter_map(|result| match result {
                Err(LiveError::Denied(denied)) => Some(denied),
                _ => None,
            })
    }

    /// The first refusal by a gate of that kind.
    pub(crate) fn refused_by(&self, is_it: impl Fn(&Gate) -> bool) -> Option<&super::Denied> {
        self.refusals().find(|denied| is_it(&denied.gate))
    }

    /// Any events that could be opened; those of the widest recording first.
    pub(super) fn sampled(&self) -> Option<Sampled> {
        [&self.host, &self.command, &self.command_without_kernel]
            .into_iter()
            .find_map(|result| result.as_ref().ok().copied())
    }
}
