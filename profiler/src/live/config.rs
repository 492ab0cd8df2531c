//! What to record: targets, the event, limits. Plain values; nothing here asks the system.

use crate::HostPid;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// A recording, as asked for.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose stacks.
    pub target: Target,
    /// Samples a second on each CPU.
    pub rate_hz: u64,
    /// What is counted; `None`: cycles where the machine counts them, else the CPU clock.
    pub event: Option<SampledEvent>,
    /// Whether stacks inside the kernel are sampled.
    pub kernel: KernelSamples,
    /// What samples carry besides the kernel's chain.
    pub user: UserPart,
    /// Each CPU's sampling ring, rounded up to a power of two of pages. `None`: 512 KiB, or 2 MiB where
    /// copies of stacks fill that fast and so much may be locked.
    pub ring: Option<RingSize>,
    /// When it ends, besides by a signal and by the end of its target.
    pub stop: Stop,
}

/// Size of a ring buffer, without its header page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingSize {
    /// In pages of this machine.
    Pages(usize),
    /// In bytes.
    Bytes(usize),
}

/// Whose stacks are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every task on every CPU.
    Host,
    /// The tasks of one cgroup and of those below it; its directory in the perf_event hierarchy.
    Cgroup(PathBuf),
    /// These processes, all their threads and descendants.
    Processes(Vec<HostPid>),
    /// The command of [`Stop::Command`], from its exec on, with its descendants.
    Command,
}

/// The events that stacks are sampled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampledEvent {
    /// A timer on each CPU, in wall-clock time.
    CpuClock,
    /// A timer that runs while a task runs.
    TaskClock,
    /// Hardware cycles; needs a PMU.
    Cycles,
}

impl SampledEvent {
    /// The name as perf and `-e` spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuClock => "cpu-clock",
            Self::TaskClock => "task-clock",
            Self::Cycles => "cycles",
        }
    }
}

/// Whether the kernel's own stacks are part of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelSamples {
    /// Kernel and user stacks; needs privilege.
    Include,
    /// User stacks only.
    Exclude,
}

/// What samples carry for unwinding their user part here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserPart {
    /// Nothing: the chain is the kernel's.
    ChainOnly,
    /// The registers, and so many bytes of the stack from its pointer on: a multiple of 8, at most
    /// [`UserPart::STACK_BYTES_MAX`].
    Stack(u32),
}

impl UserPart {
    /// `sample_stack_user` is less than 64 KiB and a multiple of 8 (`perf_copy_attr()`,
    /// kernel/events/core.c).
    pub const STACK_BYTES_MAX: u32 = 65528;
    /// A ring where stacks are copied fast: a quarter of a second of 8 KiB at 999 Hz.
    pub(crate) const RING_BYTES: usize = 2 << 20;
    /// From here on, which is when one of 512 KiB is full after an eighth of a second.
    pub(crate) const LARGE_BYTES_A_SECOND: u64 = 4 << 20;

    /// Bytes of the stack that a sample carries.
    pub(crate) fn len_bytes(self) -> u64 {
        match self {
            Self::ChainOnly => 0,
            Self::Stack(bytes) => bytes.into(),
        }
    }

    /// Whether this machine's registers are known here.
    pub fn is_supported() -> bool {
        register_mask() != 0
    }
}

/// `sample_regs_user`: the registers by which frames are left (arch/*/include/uapi/asm/perf_regs.h).
pub(crate) fn register_mask() -> u64 {
    match std::env::consts::ARCH {
        // ax bx cx dx si di bp sp ip, r8 to r15
        "x86_64" => 0xff_01ff,
        // x0 to x30, sp, pc
        "aarch64" => (1 << 33) - 1,
        _ => 0,
    }
}

/// What ends a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The end of this command, which ctrflame starts: program and arguments.
    Command(Vec<OsString>),
    /// This much time.
    After(Duration),
    /// Only a signal, or the end of the target.
    Signal,
}
