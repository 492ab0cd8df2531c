//! What is said of a gate: how far it is open, the value found, the value needed, what opens it.

use super::circumstances::Circumstances;
use super::hint::Opener;

/// How far a gate is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing of a recording of the host or of a container is kept away.
    Open,
    /// It could not be tried, because another gate is closed.
    Unknown,
    /// Such a recording works and lacks something.
    Limits,
    /// No such recording.
    Closed,
}

impl Standing {
    /// Its name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Unknown => "unknown",
            Self::Limits => "limits",
            Self::Closed => "closed",
        }
    }
}

/// A gate between a user and a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GateId {
    /// On the host, or in a container: whose processes the kernel tells us of.
    PidNamespace,
    /// A filter on `perf_event_open(2)`.
    Seccomp,
    /// Those that a recording uses, counted in the host's user namespace.
    Capabilities,
    /// `kernel.perf_event_paranoid`.
    Paranoid,
    /// Security modules.
    Lsm,
    /// perf events at all: the kernel's configuration, and every refusal without another gate.
    PerfEvents,
    /// A hardware counter for `cycles`.
    Cycles,
    /// Memory that the rings may lock.
    LockedMemory,
    /// RLIMIT_NOFILE against CPUs and mount namespaces.
    OpenFiles,
    /// `kernel.perf_event_max_sample_rate`.
    SampleRate,
    /// `kernel.perf_event_max_stack`.
    MaxStack,
    /// Whether `/proc/kallsyms` tells addresses: `kernel.kptr_restrict` and CAP_SYSLOG.
    KernelSymbols,
    /// Where perf_event lives, and how much of it is to be seen.
    Cgroups,
    /// `PERF_SAMPLE_CGROUP`.
    SampleCgroup,
    /// Roots and mount namespaces of other processes.
    MountNamespaces,
}

impl GateId {
    /// Its name, for programs and people; it does not change.
    pub fn name(self) -> &'static str {
        match self {
            Self::PidNamespace => "pid_namespace",
            Self::Seccomp => "seccomp",
            Self::Capabilities => "capabilities",
            Self::Paranoid => "perf_event_paranoid",
            Self::Lsm => "lsm",
            Self::PerfEvents => "perf_events",
            Self::Cycles => "cycles",
            Self::LockedMemory => "locked_memory",
            Self::OpenFiles => "open_files",
            Self::SampleRate => "max_sample_rate",
            Self::MaxStack => "max_stack",
            Self::KernelSymbols => "kptr_restrict",
            Self::Cgroups => "cgroups",
            Self::SampleCgroup => "sample_cgroup",
            Self::MountNamespaces => "mount_namespaces",
        }
    }
}

/// A gate as it was found. The texts are clauses: lower case, one line, no full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which gate.
    pub gate: GateId,
    /// How far it is open.
    pub standing: Standing,
    /// The value found.
    pub found: String,
    /// The value needed.
    pub needed: String,
    /// The one command, or setting, that opens it; of a gate that is open, and of one that no
    /// command opens, `None`.
    pub opens: Option<String>,
    /// What a recording lacks, or what works all the same; of a gate that is open `None`.
    pub without: Option<String>,
    /// The flags in `opens`, if it is a `docker run` or `podman run`.
    pub(super) run_flags: Vec<String>,
}

impl Finding {
    /// An open gate.
    pub(super) fn open(gate: GateId, found: impl Into<String>, needed: impl Into<String>) -> Self {
        Self {
            gate,
            standing: Standing::Open,
            found: found.into(),
            needed: needed.into(),
            opens: None,
            without: None,
            run_flags: Vec::new(),
        }
    }

    /// The same gate, standing otherwise.
    pub(super) fn but(self, standing: Standing, without: impl Into<String>) -> Self {
        Self {
            standing,
            without: Some(without.into()),
            ..self
        }
    }

    /// With the text that opens it.
    pub(super) fn opened_by(self, opens: impl Into<String>) -> Self {
        Self {
            opens: Some(opens.into()),
            ..self
        }
    }

    /// With what opens it.
    pub(super) fn opened_with(self, opener: Opener, here: &Circumstances) -> Self {
        let opens = Some(opener.said(here));
        let run_flags = match opener {
            Opener::Run(flags) => flags,
            Opener::Said(_) => Vec::new(),
        };
        Self {
            opens,
            run_flags,
            ..self
        }
    }
}
