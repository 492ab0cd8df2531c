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
