//! Which gate refused when sampling is not permitted: from the error, what was tried, and what `/proc` says.
//!
//! The rules are those of `perf_event_open()` and `perf_mmap()` in kernel/events/core.c, tried out
//! on Linux 6.18 with every value of the sysctl, without capabilities, in a user namespace and
//! under a seccomp filter.

mod circumstances;
mod finding;
mod hint;
mod limits;
mod rights;
mod surroundings;
#[cfg(test)]
mod survey_tests;
#[cfg(test)]
mod tests;
mod tried;

pub(crate) use circumstances::Circumstances;
pub use finding::{Finding, GateId, Standing};
pub(crate) use tried::{KernelSymbols, Processes, Sampled, SeenHierarchy, Tried};

use super::config::{KernelSamples, SampledEvent};
use std::fmt;
use std::io;

/// What was tried when the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which system call.
    pub step: Step,
    /// Whose samples.
    pub scope: Scope,
    /// With the kernel's frames or without.
    pub kernel: KernelSamples,
    /// With `PERF_RECORD_NAMESPACES` (`attr.namespaces`) or without.
    pub namespaces: NamespaceRecords,
    /// The event that was to be sampled.
    pub event: SampledEvent,
    /// Samples a second that were asked for; `None` for a fixed period.
    pub rate_hz: Option<u32>,
}

/// Which system call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `perf_event_open(2)`.
    Open,
    /// `mmap(2)` of a ring.
    MapRing {
        /// Length of one ring, control page included.
        len_bytes: u64,
        /// All rings of a CPU.
        cpu_bytes: u64,
    },
}

/// Whose samples were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All tasks of a CPU.
    System,
    /// All tasks of a cgroup on a CPU: to the kernel the same privilege as [`Self::System`].
    Cgroup,
    /// A process that we started ourselves.
    OwnProcess,
    /// A process that was there before.
    OtherProcess,
}

/// Whether records of namespaces were asked for. They need CAP_PERFMON whatever
/// `perf_event_paranoid` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceRecords {
    /// Asked for.
    Wanted,
    /// Left out.
    Left,
}

/// A capability that decides here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// `CAP_PERFMON`, since Linux 5.8.
    Perfmon,
    /// `CAP_SYS_ADMIN`: before 5.8, and on patched kernels with `perf_event_paranoid` above 2.
    SysAdmin,
    /// `CAP_SYS_PTRACE`: roots, namespaces and files of other processes.
    SysPtrace,
    /// `CAP_SYSLOG`: addresses of the kernel's symbols.
    Syslog,
    /// `CAP_CHECKPOINT_RESTORE`, since Linux 5.9: `/proc/PID/map_files`.
    CheckpointRestore,
    /// `CAP_DAC_READ_SEARCH`: files that only other users may read.
    DacReadSearch,
    /// `CAP_DAC_OVERRIDE`: the same, and more.
    DacOverride,
    /// `CAP_IPC_LOCK`: rings of any size.
    IpcLock,
}

impl Capability {
    /// As `docker run --cap-add` takes it.
    fn name(self) -> &'static str {
        match self {
            Self::Perfmon => "PERFMON",
            Self::SysAdmin => "SYS_ADMIN",
            Self::SysPtrace => "SYS_PTRACE",
            Self::Syslog => "SYSLOG",
            Self::CheckpointRestore => "CHECKPOINT_RESTORE",
            Self::DacReadSearch => "DAC_READ_SEARCH",
            Self::DacOverride => "DAC_OVERRIDE",
            Self::IpcLock => "IPC_LOCK",
        }
    }

    /// Its number in include/uapi/linux/capability.h.
    fn bit(self) -> u32 {
        match self {
            Self::Perfmon => 38,
            Self::SysAdmin => 21,
            Self::SysPtrace => 19,
            Self::Syslog => 34,
            Self::CheckpointRestore => 40,
            Self::DacReadSearch => 2,
            Self::DacOverride => 1,
            Self::IpcLock => 14,
        }
    }
}

/// Who refused, with the value found and the value needed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gate {
    /// A seccomp filter is on this process and keeps the system call from the kernel.
    Seccomp,
    /// Root, or as good as root, but without the capability.
    MissingCapability {
        /// Which one is needed.
        needed: Capability,
        /// It is there, but counts only inside the user namespace that gave it.
        held_in_user_namespace: HeldInUserNamespace,
    },
    /// `kernel.perf_event_paranoid`, for users without the capability.
    Paranoid {
        /// Its value.
        found: i32,
        /// The highest value that would do.
        needed: i32,
    },
    /// Rings beyond what a user may lock in memory.
    MlockLimit {
        /// One ring.
        ring_kib: u64,
        /// `kernel.perf_event_mlock_kb`: a user's budget for each CPU.
        mlock_kb: Option<u64>,
        /// RLIMIT_MEMLOCK, added to that budget; `None` when unlimited or unknown.
        memlock_kib: Option<u64>,
    },
    /// The processor, or the virtual machine, has no counter for the event.
    NoPmu {
        /// The event.
        event: &'static str,
    },
    /// A security module: all of the kernel's own checks would have let us pass.
    Lsm {
        /// The active modules, as the kernel lists them.
        active: Option<String>,
    },
    /// A kernel without perf events, or without this one.
    NotSupported {
        /// The event.
        event: &'static str,
    },
    /// RLIMIT_NOFILE: one descriptor for each CPU, and for each file that is held.
    FileLimit {
        /// The soft limit.
        soft: Option<u64>,
        /// How far a user may raise it.
        hard: Option<u64>,
    },
    /// `fs.file-max`: the system's limit on open files.
    SystemFileLimit,
    /// `kernel.perf_event_max_sample_rate`, which the kernel lowers by itself under load.
    SampleRate {
        /// What was asked for.
        asked_hz: u32,
        /// Its value.
        max_hz: u32,
    },
    /// None of the above: the error itself is all there is.
    Unexplained,
}

/// Whether a missing capability is held where it does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldInUserNamespace {
    /// We are in a user namespace of our own, as in a rootless container.
    Yes,
    /// We are not.
    No,
}

/// Sampling was refused.
#[derive(Debug)]
pub struct Denied {
    /// By whom.
    pub gate: Gate,
    /// What was tried.
    pub attempt: Attempt,
    source: io::Error,
    hint: Option<String>,
}

/// Says who refused `attempt` with `error`. Looks at this thread's `/proc/thread-self/status` and at
/// the sysctls.
pub fn diagnose(error: &io::Error, attempt: Attempt) -> Denied {
    diagnose_here(error, attempt, &Circumstances::of_this_thread())
}

/// Every gate, as it was found, in a fixed order.
pub(crate) fn findings(here: &Circumstances, tried: &Tried) -> Vec<Finding> {
    vec![
        rights::pid_namespace(here),
        rights::seccomp(here, tried),
        rights::capabilities(here, tried),
        rights::paranoid(here, tried),
        rights::lsm(here, tried),
        rights::perf_events(here, tried),
        limits::cycles(tried),
        limits::locked_memory(here, tried),
        limits::open_files(here, tried),
        limits::sample_rate(here, tried),
        limits::max_stack(here),
        limits::kernel_symbols(here, tried),
        limits::cgroups(here, tried),
        limits::sample_cgroup(tried),
        limits::mount_namespaces(here, tried),
    ]
}

/// The one command that opens all of `findings` whose gates a runtime's flags open; `None` where
/// there are not several.
pub(crate) fn opens_all(findings: &[Finding], here: &Circumstances) -> Option<String> {
    let shut: Vec<&Finding> = findings
        .iter()
        .filter(|finding| !finding.run_flags.is_empty())
        .collect();
    let mut flags: Vec<String> = Vec::new();
    for flag in shut.iter().flat_map(|finding| &finding.run_flags) {
        if !flags.contains(flag) {
            flags.push(flag.clone());
        }
    }
    (shut.len() > 1).then(|| hint::run(&flags, here))
}

fn diagnose_here(error: &io::Error, attempt: Attempt, here: &Circumstances) -> Denied {
    let errno = error.raw_os_error();
    let gate = match attempt.step {
        Step::Open => refused_open(errno.unwrap_or(0), attempt, here),
        Step::MapRing { len_bytes, .. } => refused_map(errno.unwrap_or(0), len_bytes, here),
    };
    Denied {
        hint: hint::of(&gate, attempt, here),
        gate,
        attempt,
        source: errno.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error),
    }
}

fn refused_open(errno: i32, attempt: Attempt, here: &Circumstances) -> Gate {
    let event = attempt.event.name();
    match errno {
        // perf itself says EACCES; EPERM is a filter's answer, or lockdown's.
        libc::EPERM if here.is_filtered() => Gate::Seccomp,
        // With the sysctl there, so are perf events (perf_event_open(2), NOTES).
        libc::ENOSYS if here.is_filtered() && here.paranoid.is_some() => Gate::Seccomp,
        libc::ENOSYS => Gate::NotSupported { event },
        libc::EPERM | libc::EACCES => refused_by_privilege(attempt, here),
        libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV | libc::ENXIO => match attempt.event {
            SampledEvent::Cycles => Gate::NoPmu {
                event: attempt.event.name(),
            },
            event => Gate::NotSupported {
                event: event.name(),
            },
        },
        libc::EMFILE => Gate::FileLimit {
            soft: here.open_files_soft,
            hard: here.open_files_hard,
        },
        libc::ENFILE => Gate::SystemFileLimit,
        libc::EINVAL => match (attempt.rate_hz, here.max_rate_hz) {
            (Some(asked_hz), Some(max_hz)) if asked_hz > max_hz => {
                Gate::SampleRate { asked_hz, max_hz }
            }
            _ => Gate::Unexplained,
        },
        _ => Gate::Unexplained,
    }
}

fn refused_by_privilege(attempt: Attempt, here: &Circumstances) -> Gate {
    let lsm = || Gate::Lsm {
        active: here.lsm.clone(),
    };
    let missing = |needed| Gate::MissingCapability {
        needed,
        held_in_user_namespace: here.held_in_user_namespace(needed),
    };
    let has_own_value = here.paranoid.is_some_and(|found| found > 2);
    if here.counts(Capability::SysAdmin) {
        return lsm();
    }
    if here.counts(Capability::Perfmon) {
        // Debian's and Ubuntu's values 3 and 4 once asked for CAP_SYS_ADMIN.
        return match has_own_value {
            true => missing(Capability::SysAdmin),
            false => lsm(),
        };
    }
    let needed = here.perfmon();
    // perf_allow_cpu() passes up to 0, perf_allow_kernel() up to 1, everything up to 2; above that
    // only patched kernels make a difference.
    let allowed_paranoid = match (attempt.scope, attempt.kernel) {
        (Scope::System | Scope::Cgroup, _) => 0,
        (Scope::OwnProcess | Scope::OtherProcess, KernelSamples::Include) => 1,
        (Scope::OwnProcess | Scope::OtherProcess, KernelSamples::Exclude) => 2,
    };
    match here.paranoid {
        Some(found) if found > allowed_paranoid && !here.is_as_good_as_root() => Gate::Paranoid {
            found,
            needed: allowed_paranoid,
        },
        Some(found) if found > allowed_paranoid => missing(needed),
        // Neither is a question of perf_event_paranoid; the second is ptrace_may_access().
        _ if attempt.namespaces == NamespaceRecords::Wanted => missing(needed),
        _ if attempt.scope == Scope::OtherProcess => missing(needed),
        None => missing(needed),
        Some(_) => lsm(),
    }
}

fn refused_map(errno: i32, len_bytes: u64, here: &Circumstances) -> Gate {
    match errno {
        // perf_mmap(): over the budget, without CAP_IPC_LOCK, perf_event_paranoid above -1.
        libc::EPERM => Gate::MlockLimit {
            ring_kib: len_bytes.div_ceil(1024),
            mlock_kb: here.mlock_kb,
            memlock_kib: here.memlock_bytes.map(|bytes| bytes / 1024),
        },
        libc::EACCES => Gate::Lsm {
            active: here.lsm.clone(),
        },
        _ => Gate::Unexplained,
    }
}

impl Denied {
    /// The one command, or setting, that opens the gate.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl std::error::Error for Denied {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.attempt.event.name();
        let whose = match self.attempt.scope {
            Scope::System => "the whole system",
            Scope::Cgroup => "a container",
            Scope::OwnProcess => "a process of our own",
            Scope::OtherProcess => "another process",
        };
        match self.attempt.step {
            Step::Open => write!(f, "sampling {whose} by `{event}` is not possible: ")?,
            Step::MapRing { .. } => write!(f, "mapping a ring for {whose} is not possible: ")?,
        }
        self.gate.fmt(f)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seccomp => write!(f, "a seccomp filter refuses perf_event_open"),
            Self::MissingCapability {
                needed,
                held_in_user_namespace,
            } => f.write_str(&missing_words(&[*needed], *held_in_user_namespace)),
            Self::Paranoid { found, needed } => write!(
                f,
                "kernel.perf_event_paranoid is {found}, without privileges at most {needed} \
                 is needed"
            ),
            Self::MlockLimit {
                ring_kib,
                mlock_kb,
                memlock_kib,
            } => {
                write!(f, "its {ring_kib} KiB exceed this user's locked memory")?;
                if let Some(found) = mlock_kb {
                    write!(f, ", kernel.perf_event_mlock_kb is {found} for each CPU")?;
                }
                memlock_kib.map_or(Ok(()), |kib| write!(f, ", RLIMIT_MEMLOCK {kib} KiB"))
            }
            Self::NoPmu { event } => {
                write!(f, "this machine has no hardware counter for `{event}`")
            }
            Self::Lsm { active } => {
                f.write_str("a security module refuses it")?;
                active
                    .as_ref()
                    .map_or(Ok(()), |active| write!(f, " (active: {active})"))
            }
            Self::NotSupported { event } => write!(f, "this kernel has no perf event `{event}`"),
            Self::FileLimit { soft, .. } => {
                f.write_str("no descriptor is left")?;
                soft.map_or(Ok(()), |soft| write!(f, ", RLIMIT_NOFILE is {soft}"))
            }
            Self::SystemFileLimit => write!(f, "the system's limit fs.file-max is reached"),
            Self::SampleRate { asked_hz, max_hz } => write!(
                f,
                "{asked_hz} Hz were asked for, kernel.perf_event_max_sample_rate is {max_hz}"
            ),
            Self::Unexplained => write!(f, "the kernel refused without a known reason"),
        }
    }
}

/// What is missing, as a clause.
fn missing_words(missing: &[Capability], held: HeldInUserNamespace) -> String {
    let names: Vec<String> = missing
        .iter()
        .map(|capability| format!("CAP_{}", capability.name()))
        .collect();
    let are = if names.len() == 1 { "is" } else { "are" };
    let names = names.join(", ");
    match held {
        HeldInUserNamespace::No => format!("{names} {are} missing"),
        HeldInUserNamespace::Yes => {
            format!("{names} {are} held in a user namespace only, the host's is needed")
        }
    }
}
