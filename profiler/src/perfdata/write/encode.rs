//! Events become records again: `record::decode` the other way round, in host byte order.

use super::super::attr::flag;
use super::super::walk::FINISHED_ROUND;
use crate::live::{KernelSamples, SampledEvent};
use crate::record::{
    CgroupSeen, Comm, Event, Fork, Ksymbol, Lost, Mapped, MappedFile, NamespacesSeen, Sample,
    Stamp, Throttle, misc, record_type, sample_bits as bit,
};
use crate::{HostPid, HostTid};

/// What the samples are of: their event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampled {
    /// What was counted.
    pub event: SampledEvent,
    /// Samples a second on each CPU.
    pub rate_hz: u64,
    /// Whether kernel stacks are among them.
    pub kernel: KernelSamples,
    /// Entries at which the kernel cut a chain.
    pub max_stack: u16,
}

/// Size of the attr: with `sample_max_stack`, its last field (`PERF_ATTR_SIZE_VER5`, Linux 4.8). A
/// perf refuses a larger one than it knows.
pub(crate) const ATTR_BYTES: u32 = 112;

/// `PROT_READ | PROT_EXEC` and `MAP_PRIVATE`: what all mappings in a recording have in common.
const MAP_PROT: u32 = 5;
const MAP_FLAGS: u32 = 2;

/// A chain's `PERF_CONTEXT_*` markers, and what part of the machine they stand for as
/// `PERF_RECORD_MISC_*` has it.
const PARTS: [(i64, u16); 6] = [
    (-32, 3),
    (-128, misc::KERNEL),
    (-512, misc::USER),
    (-2048, 5),
    (-2176, 4),
    (-2560, 5),
];

/// Which fields the samples have: as the first one shows, since all of a recording are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SampleFields {
    pub(crate) has_cgroup: bool,
}

impl SampleFields {
    pub(crate) fn of(sample: &Sample<'_>) -> Self {
        Self {
            has_cgroup: sample.cgroup.is_some(),
        }
    }

    pub(crate) fn sample_type(self) -> u64 {
        let cgroup = if self.has_cgroup { bit::CGROUP } else { 0 };
        bit::IP | bit::TID | bit::TIME | bit::CPU | bit::PERIOD | bit::CALLCHAIN | cgroup
    }
}

/// The one attr of a recording.
pub(crate) fn attr(sampled: &Sampled, fields: SampleFields) -> Vec<u8> {
    let (kind, config): (u32, u64) = match sampled.event {
        SampledEvent::Cycles => (0, 0),
        SampledEvent::CpuClock => (1, 0),
        SampledEvent::TaskClock => (1, 1),
    };
    let exclude = match sampled.kernel {
        KernelSamples::Include => 0,
        KernelSamples::Exclude => flag::EXCLUDE_KERNEL,
    };
    let flags = flag::FREQUENCY | flag::SAMPLE_ID_ALL | flag::RECORDS | flag::USE_CLOCK | exclude;
    let mut bytes = Vec::with_capacity(ATTR_BYTES as usize);
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(ATTR_BYTES.to_ne_bytes());
    for word in [config, sampled.rate_hz, fields.sample_type(), 0] {
        bytes.extend(word.to_ne_bytes());
    }
    // The first-named bit of a C bit field is the last one on a big-endian machine.
    let flags = match cfg!(target_endian = "big") {
        true => flags.reverse_bits(),
        false => flags,
    };
    bytes.extend(flags.to_ne_bytes());
    // wakeup, bp_type, config1, config2, branches, user registers, user stack, and the clock.
    bytes.resize(92, 0);
    bytes.extend(libc::CLOCK_MONOTONIC.to_ne_bytes());
    // registers at the interrupt, AUX watermark
    bytes.resize(108, 0);
    bytes.extend(sampled.max_stack.to_ne_bytes());
    bytes.resize(ATTR_BYTES as usize, 0);
    bytes
}

/// Puts records behind each other.
pub(crate) struct Encoder<'a> {
    pub(crate) into: &'a mut Vec<u8>,
    pub(crate) fields: SampleFields,
    /// Time of the record that is written, where it is not the event's own.
    pub(crate) time_ns: u64,
}

/// Longest record: its size is a `u16`, and a multiple of eight.
const RECORD_MAX_BYTES: usize = 65528;

impl Encoder<'_> {
    /// Appends `event`. One that is longer than a record can be is left out: `false`. No event that
    /// came out of a record is.
    pub(crate) fn event(&mut self, event: &Event<'_>) -> bool {
        let start = self.into.len();
        let (kind, misc) = kind_of(event);
        self.u32(kind);
        self.u16(misc);
        self.u16(0);
        match event {
            Event::Sample(sample) => self.sample(sample),
            Event::Mapped(mapped) => self.mapped(mapped),
            Event::Comm(comm) => self.comm(comm),
            Event::Fork(task) | Event::Exit(task) => self.task(task),
            Event::Namespaces(seen) => self.namespaces(seen),
            Event::Cgroup(seen) => self.cgroup(seen),
            Event::Ksymbol(seen) => self.ksymbol(seen),
            Event::Lost(lost) => self.lost(lost),
            Event::Throttle(_) => self.throttle(),
        }
        if !matches!(event, Event::Sample(_)) {
            self.trailer(event.stamp());
        }
        self.close(start)
    }

    /// Writes the size of the record that begins at `start`.
    fn close(&mut self, start: usize) -> bool {
        let len = self.into.len() - start;
        if len > RECORD_MAX_BYTES {
            self.into.truncate(start);
            return false;
        }
        if let Some(size) = self.into.get_mut(start + 6..start + 8) {
            size.copy_from_slice(&(len as u16).to_ne_bytes());
        }
        true
    }

    /// Appends the mark between two rounds.
    pub(crate) fn finished_round(&mut self) {
        self.u32(FINISHED_ROUND);
        self.u16(0);
        self.u16(8);
    }

    /// Appends a mapping of the kernel's own code, as perf tells of it: by the old MMAP record, of a
    /// process that is none.
    pub(crate) fn kernel_mapped(&mut self, start: u64, len_bytes: u64, offset: u64, path: &[u8]) {
        let at = self.into.len();
        self.u32(record_type::MMAP);
        self.u16(misc::KERNEL);
        self.u16(0);
        self.pair(u32::MAX, 0);
        for word in [start, len_bytes, offset] {
            self.u64(word);
        }
        self.string(path);
        self.trailer(&Stamp {
            time_ns: 0,
            pid: HostPid(u32::MAX),
            tid: HostTid(0),
            cpu: 0,
        });
        self.close(at);
    }

    /// Appends a count of samples that no LOST record told of.
    pub(crate) fn lost_samples(&mut self, count: u64) {
        let at = self.into.len();
        self.u32(record_type::LOST_SAMPLES);
        self.u32(0);
        self.u64(count);
        self.trailer(&Stamp {
            time_ns: 0,
            pid: HostPid(u32::MAX),
            tid: HostTid(u32::MAX),
            cpu: 0,
        });
        self.close(at);
    }

    fn u16(&mut self, value: u16) {
        self.into.extend(value.to_ne_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.into.extend(value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.into.extend(value.to_ne_bytes());
    }

    fn pair(&mut self, first: u32, second: u32) {
        self.u32(first);
        self.u32(second);
    }

    /// With at least one NUL, up to eight bytes: what the kernel does.
    fn string(&mut self, text: &[u8]) {
        self.into.extend(text);
        self.into.extend(std::iter::repeat_n(0, 8 - text.len() % 8));
    }

    fn trailer(&mut self, stamp: &Stamp) {
        self.pair(stamp.pid.0, stamp.tid.0);
        self.u64(self.time_ns);
        self.pair(stamp.cpu, 0);
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        self.u64(sample.ip.0);
        self.pair(sample.stamp.pid.0, sample.stamp.tid.0);
        self.u64(self.time_ns);
        self.pair(sample.stamp.cpu, 0);
        self.u64(sample.period);
        self.u64(sample.chain.len() as u64);
        self.into.extend(sample.chain.words.as_flattened());
        if self.fields.has_cgroup {
            self.u64(sample.cgroup.map_or(0, |id| id.0));
        }
    }

    fn mapped(&mut self, mapped: &Mapped<'_>) {
        let Mapped {
            stamp, pid, avma, ..
        } = mapped;
        let tid = if stamp.pid == *pid {
            stamp.tid.0
        } else {
            pid.0
        };
        self.pair(pid.0, tid);
        self.u64(avma.start);
        self.u64(avma.end.saturating_sub(avma.start));
        self.u64(mapped.file_offset_bytes);
        match mapped.file {
            MappedFile::PathOnly => self.into.extend([0; 24]),
            MappedFile::Inode {
                major,
                minor,
                inode,
                generation,
            } => {
                self.pair(major, minor);
                self.u64(inode);
                self.u64(generation);
            }
            MappedFile::BuildId(id) => {
                let id = id.as_bytes();
                self.into.extend([id.len() as u8, 0, 0, 0]);
                let padded = self.into.len() + 20;
                self.into.extend(id);
                self.into.resize(padded, 0);
            }
        }
        self.pair(MAP_PROT, MAP_FLAGS);
        self.string(mapped.path);
    }

    fn comm(&mut self, comm: &Comm<'_>) {
        self.pair(comm.pid.0, comm.tid.0);
        self.string(comm.name);
    }

    fn task(&mut self, task: &Fork) {
        self.pair(task.pid.0, task.parent_pid.0);
        self.pair(task.tid.0, task.parent_tid.0);
        self.u64(self.time_ns);
    }

    fn namespaces(&mut self, seen: &NamespacesSeen) {
        let stamp = seen.stamp;
        let tid = if stamp.pid == seen.pid {
            stamp.tid.0
        } else {
            seen.pid.0
        };
        self.pair(seen.pid.0, tid);
        self.u64(seen.links.len() as u64);
        for link in seen.links {
            self.u64(link.dev);
            self.u64(link.inode);
        }
    }

    fn cgroup(&mut self, seen: &CgroupSeen<'_>) {
        self.u64(seen.id.0);
        self.string(seen.path);
    }

    fn ksymbol(&mut self, seen: &Ksymbol<'_>) {
        self.u64(seen.addr.0);
        self.u32(seen.len_bytes);
        self.u16(seen.kind);
        self.u16(u16::from(seen.is_unregister));
        self.string(seen.name);
    }

    fn throttle(&mut self) {
        self.u64(self.time_ns);
        // No id, no stream's: of the one event that there is.
        self.u64(0);
        self.u64(0);
    }

    fn lost(&mut self, lost: &Lost) {
        // No id: of the one event that there is.
        self.u64(0);
        self.u64(lost.count);
    }
}

/// A record's type and `misc` bits.
fn kind_of(event: &Event<'_>) -> (u32, u16) {
    match event {
        Event::Sample(sample) => (record_type::SAMPLE, part_of(sample)),
        Event::Mapped(mapped) => {
            let part = if mapped.is_kernel {
                misc::KERNEL
            } else {
                misc::USER
            };
            match mapped.file {
                MappedFile::BuildId(_) => (record_type::MMAP2, part | misc::MMAP_BUILD_ID),
                _ => (record_type::MMAP2, part),
            }
        }
        Event::Comm(comm) if comm.is_exec => (record_type::COMM, misc::COMM_EXEC),
        Event::Comm(_) => (record_type::COMM, 0),
        Event::Fork(_) => (record_type::FORK, 0),
        Event::Exit(_) => (record_type::EXIT, 0),
        Event::Namespaces(_) => (record_type::NAMESPACES, 0),
        Event::Cgroup(_) => (record_type::CGROUP, 0),
        Event::Ksymbol(_) => (record_type::KSYMBOL, 0),
        Event::Lost(_) => (record_type::LOST, 0),
        Event::Throttle(Throttle { is_end: false, .. }) => (record_type::THROTTLE, 0),
        Event::Throttle(_) => (record_type::UNTHROTTLE, 0),
    }
}

/// Where a sample's instruction was: its chain begins with the marker of that part; without a chain
/// the address tells, since kernels have the upper half.
fn part_of(sample: &Sample<'_>) -> u16 {
    let marker = sample.chain.iter().next().map(|word| word as i64);
    let part = marker.and_then(|marker| PARTS.iter().find(|(known, _)| *known == marker));
    match part {
        Some((_, part)) => *part,
        None if (sample.ip.0 as i64) < 0 => misc::KERNEL,
        None => misc::USER,
    }
}
