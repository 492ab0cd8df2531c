//! What a record says, borrowed from its bytes: host pids, addresses as the kernel delivered them.

use crate::{BuildId, CgroupId, CodeAddr, HostPid, HostTid, MntNs};
use std::ops::Range;

/// When and where a record was written: the `sample_id` trailer, or a sample's own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds of the recording's clock (live: `CLOCK_MONOTONIC`). 0 for what was read from
    /// `/proc` at the start.
    pub time_ns: u64,
    /// The task that was running; -1 as `u32::MAX` where the kernel no longer knew.
    pub pid: HostPid,
    /// Its thread.
    pub tid: HostTid,
    /// The CPU that wrote the record.
    pub cpu: u32,
}

impl Stamp {
    /// Of what no record told.
    pub const UNKNOWN: Self = Self {
        time_ns: 0,
        pid: HostPid(u32::MAX),
        tid: HostTid(u32::MAX),
        cpu: u32::MAX,
    };
}

/// One record, decoded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stack was sampled.
    Sample(Sample<'a>),
    /// A file or anonymous memory was mapped executable.
    Mapped(Mapped<'a>),
    /// A thread got a name, by `exec` or by `prctl`.
    Comm(Comm<'a>),
    /// A process or thread began.
    Fork(Fork),
    /// A process or thread ended.
    Exit(Fork),
    /// A process's namespaces are now these.
    Namespaces(NamespacesSeen),
    /// A cgroup was made (or was there at the start).
    Cgroup(CgroupSeen<'a>),
    /// Kernel code was registered or went: BPF programs and trampolines.
    Ksymbol(Ksymbol<'a>),
    /// The kernel dropped records because a ring was full.
    Lost(Lost),
    /// The kernel stopped sampling on a CPU for a while, or goes on.
    Throttle(Throttle),
}

impl Event<'_> {
    /// When and where it was written.
    pub fn stamp(&self) -> &Stamp {
        match self {
            Self::Sample(sample) => &sample.stamp,
            Self::Mapped(mapped) => &mapped.stamp,
            Self::Comm(comm) => &comm.stamp,
            Self::Fork(task) | Self::Exit(task) => &task.stamp,
            Self::Namespaces(seen) => &seen.stamp,
            Self::Cgroup(seen) => &seen.stamp,
            Self::Ksymbol(seen) => &seen.stamp,
            Self::Lost(lost) => &lost.stamp,
            Self::Throttle(throttle) => &throttle.stamp,
        }
    }

    pub(crate) fn stamp_mut(&mut self) -> &mut Stamp {
        match self {
            Self::Sample(sample) => &mut sample.stamp,
            Self::Mapped(mapped) => &mut mapped.stamp,
            Self::Comm(comm) => &mut comm.stamp,
            Self::Fork(task) | Self::Exit(task) => &mut task.stamp,
            Self::Namespaces(seen) => &mut seen.stamp,
            Self::Cgroup(seen) => &mut seen.stamp,
            Self::Ksymbol(seen) => &mut seen.stamp,
            Self::Lost(lost) => &mut lost.stamp,
            Self::Throttle(throttle) => &mut throttle.stamp,
        }
    }
}

/// One sampled stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// When, and in which task. Pid 0 is the idle task of its CPU.
    pub stamp: Stamp,
    /// The task's cgroup, where the kernel told (`PERF_SAMPLE_CGROUP`, Linux 5.7).
    pub cgroup: Option<CgroupId>,
    /// Events since the last sample: nanoseconds for the clocks, cycles for cycles.
    pub period: u64,
    /// The instruction that was interrupted.
    pub ip: CodeAddr,
    /// The call chain, leaf first, with its context markers.
    pub chain: Chain<'a>,
    /// The event that the sample is of: what `sample_id` says, where the record carries an id.
    pub event_id: Option<u64>,
    /// Counter values read with the sample (`PERF_SAMPLE_READ`).
    pub read: Option<ReadValues<'a>>,
    /// The last branches taken, newest first (`PERF_SAMPLE_BRANCH_STACK`).
    pub branches: Branches<'a>,
    /// The user registers at the sample (`PERF_SAMPLE_REGS_USER`).
    pub user_registers: Option<Registers<'a>>,
    /// What was on the user stack, from the stack pointer upwards (`PERF_SAMPLE_STACK_USER`).
    pub user_stack: &'a [u8],
}

/// Counter values read with a sample (`struct read_format`): running totals, not differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReadValues<'a> {
    /// The sampled event's.
    One {
        /// The counter.
        value: u64,
        /// Its event's id, where the format has ids.
        id: Option<u64>,
    },
    /// Those of the sampled event's group.
    Group(GroupValues<'a>),
}

/// The counters of a group, leader first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupValues<'a> {
    words: &'a [[u8; 8]],
    /// Words a counter: its value, its event's id, what was lost.
    words_each: usize,
    has_id: bool,
}

impl<'a> GroupValues<'a> {
    pub(crate) fn new(words: &'a [[u8; 8]], words_each: usize, has_id: bool) -> Self {
        Self {
            words,
            words_each: words_each.max(1),
            has_id,
        }
    }

    /// Each counter with its event's id, where the format has ids.
    pub fn iter(&self) -> impl Iterator<Item = (Option<u64>, u64)> + 'a {
        let has_id = self.has_id;
        self.words.chunks_exact(self.words_each).map(move |value| {
            let word = |at: usize| value.get(at).map(|word| u64::from_ne_bytes(*word));
            (word(1).filter(|_| has_id), word(0).unwrap_or(0))
        })
    }
}

/// A branch stack as the kernel delivered it: newest branch first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Branches<'a> {
    /// `struct perf_branch_entry`: from, to, flags.
    pub(crate) words: &'a [[u8; 8]],
}

impl<'a> Branches<'a> {
    /// Of entries of three words: from, to, flags.
    pub fn new(words: &'a [[u8; 8]]) -> Self {
        Self { words }
    }

    /// (from, to) of each branch, newest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (CodeAddr, CodeAddr)> + 'a {
        self.words.chunks_exact(3).map(|entry| {
            let word = |at: usize| entry.get(at).map_or(0, |word| u64::from_ne_bytes(*word));
            (CodeAddr(word(0)), CodeAddr(word(1)))
        })
    }
}

/// Registers dumped with a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Registers<'a> {
    /// `PERF_SAMPLE_REGS_ABI_*`: 1 for 32-bit code, 2 for 64-bit.
    pub abi: u64,
    /// Which registers: bit n is the architecture's register n (`asm/perf_regs.h`).
    pub mask: u64,
    words: &'a [[u8; 8]],
}

impl<'a> Registers<'a> {
    /// Of `words`: one for each bit of the mask, the lowest first.
    pub fn new(abi: u64, mask: u64, words: &'a [[u8; 8]]) -> Self {
        Self { abi, mask, words }
    }

    /// The value of the architecture's register `number`, when it was dumped.
    pub fn get(&self, number: u32) -> Option<u64> {
        let bit = 1u64.checked_shl(number)?;
        if self.mask & bit == 0 {
            return None;
        }
        let at = (self.mask & (bit - 1)).count_ones() as usize;
        self.words.get(at).map(|word| u64::from_ne_bytes(*word))
    }
}

/// A call chain as the kernel delivered it: leaf first, with `PERF_CONTEXT_*` markers between its
/// kernel and its user part. Entries after a part's first are return addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chain<'a> {
    /// Eight bytes an entry, in host byte order.
    pub words: &'a [[u8; 8]],
}

impl<'a> Chain<'a> {
    /// Entries leaf first, markers included.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u64> + DoubleEndedIterator + 'a {
        self.words.iter().map(|word| u64::from_ne_bytes(*word))
    }

    /// Entries, markers included.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// No entry at all, not even a marker.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// An executable mapping (`PERF_RECORD_MMAP`, `PERF_RECORD_MMAP2`, or a line of `/proc/PID/maps`).
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped<'a> {
    /// When, and by which task.
    pub stamp: Stamp,
    /// The process whose address space it is in.
    pub pid: HostPid,
    /// Where the mapping lies, as the process sees it.
    pub avma: Range<u64>,
    /// Offset in the file of the mapping's first byte.
    pub file_offset_bytes: u64,
    /// Which file, as far as the record says.
    pub file: MappedFile,
    /// The path as seen from the mapping task's own root, or a label such as `//anon` or `[vdso]`.
    pub path: &'a [u8],
    /// Kernel text rather than a process's (misc bits say `KERNEL`).
    pub is_kernel: bool,
}

/// What a mapping record knows of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MappedFile {
    /// Nothing beyond the path.
    PathOnly,
    /// Device and inode as the kernel printed them; both zero for anonymous memory.
    Inode {
        /// Device number, major part.
        major: u32,
        /// Device number, minor part.
        minor: u32,
        /// Inode number on that device.
        inode: u64,
        /// Inode generation (0 when read from `/proc`).
        generation: u64,
    },
    /// The build id that the kernel read in the mapped file.
    BuildId(BuildId),
}

/// A thread's name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comm<'a> {
    /// When.
    pub stamp: Stamp,
    /// The named thread's process.
    pub pid: HostPid,
    /// The named thread.
    pub tid: HostTid,
    /// At most 15 bytes, any byte but NUL: written by the program itself.
    pub name: &'a [u8],
    /// The name came with an `exec`: all mappings are gone, the process is a new one under its old pid.
    pub is_exec: bool,
}

/// A task began or ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fork {
    /// When.
    pub stamp: Stamp,
    /// The task's process. Equal to `parent_pid` for a thread.
    pub pid: HostPid,
    /// The task.
    pub tid: HostTid,
    /// The parent's process.
    pub parent_pid: HostPid,
    /// The parent.
    pub parent_tid: HostTid,
}

/// The namespaces that matter here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NamespacesSeen {
    /// When.
    pub stamp: Stamp,
    /// Whose.
    pub pid: HostPid,
    /// Its mount namespace, when the record had one.
    pub mnt: Option<MntNs>,
    /// All of them, in the record's order (`enum perf_ns_link`: NET, UTS, IPC, PID, USER, MNT, CGROUP).
    pub links: NsLinks,
}

/// The namespaces of a process, in the order of `enum perf_ns_link`.
pub type NsLinks = [NsLink; 7];

/// A namespace, by its file in nsfs; zeros where nothing told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NsLink {
    /// Device of nsfs.
    pub dev: u64,
    /// Inode number: the number in brackets of `/proc/PID/ns/*`.
    pub inode: u64,
}

/// A cgroup's id and path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CgroupSeen<'a> {
    /// When.
    pub stamp: Stamp,
    /// Its id.
    pub id: CgroupId,
    /// Its path below the root of the perf_event hierarchy.
    pub path: &'a [u8],
}

/// Kernel code that comes and goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ksymbol<'a> {
    /// When.
    pub stamp: Stamp,
    /// First address.
    pub addr: CodeAddr,
    /// Length in bytes.
    pub len_bytes: u32,
    /// `PERF_RECORD_KSYMBOL_TYPE_*`.
    pub kind: u16,
    /// Its name, such as `bpf_prog_…`.
    pub name: &'a [u8],
    /// It went rather than came.
    pub is_unregister: bool,
}

/// Records that the kernel could not write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lost {
    /// When.
    pub stamp: Stamp,
    /// How many. Of a sampling ring nearly all are samples; of a tracking ring none is.
    pub count: u64,
}

/// Receives the events of a recording in time order.
pub trait EventSink {
    /// One event; what it borrows is gone afterwards.
    fn event(&mut self, event: &Event<'_>);

    /// All that was there to read at once was given: what was put off should be done now.
    fn round_ended(&mut self) {}
}

/// Sampling took more interrupts than `kernel.perf_event_max_sample_rate` allows: until the next tick
/// there are none (`perf_log_throttle` in kernel/events/core.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// When, and on which CPU.
    pub stamp: Stamp,
    /// Whether it goes on again.
    pub is_end: bool,
}
