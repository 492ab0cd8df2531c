//! The host's counters: each CPU's time, the run queue, memory, disks, pressure, errors.

use super::cpu_set::CpuSet;
use super::level::Pressure;
use super::text::{read, value};
use std::collections::BTreeMap;
use std::path::Path;

/// Sectors of `/proc/diskstats` have this size, whatever the disk's (block/genhd.c).
const SECTOR_BYTES: u64 = 512;

/// Where one CPU's time went since the start of the host, in ticks of `sysconf(_SC_CLK_TCK)`
/// (proc_stat(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTicks {
    /// In programs, niced ones included.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// In interrupts, hard and soft.
    pub interrupts: u64,
    /// Taken by the hypervisor for others while this CPU had work.
    pub steal: u64,
    /// Idle, also while a disk was waited for.
    pub idle: u64,
}

impl CpuTicks {
    /// The fields behind `cpuN`. Guest time is in user time already (`account_guest_time()`).
    fn parse(fields: &str) -> Option<Self> {
        let mut fields = fields
            .split_whitespace()
            .map(|field| field.parse::<u64>().ok());
        let mut next = || fields.next().flatten();
        let (user, nice, system, idle) = (next()?, next()?, next()?, next()?);
        // Later fields came with later kernels.
        let mut more = || next().unwrap_or(0);
        let (iowait, irq, softirq, steal) = (more(), more(), more(), more());
        Some(Self {
            user: user.saturating_add(nice),
            system,
            interrupts: irq.saturating_add(softirq),
            steal,
            idle: idle.saturating_add(iowait),
        })
    }
}

/// The host's memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryCounters {
    /// All of it.
    pub total: u64,
    /// What programs can have without swapping.
    pub available: u64,
    /// Swap, and what is free of it.
    pub swap_total: u64,
    /// See there.
    pub swap_free: u64,
}

/// One disk's counters (Documentation/admin-guide/iostats.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Milliseconds in which at least one request was under way.
    pub busy_ms: u64,
    /// Milliseconds that requests took, added up: busy time times those under way.
    pub queued_ms: u64,
    /// Requests that failed (`ioerr_cnt`); `None` for disks that do not count them.
    pub errors: Option<u64>,
}

/// The host as it is now. What is not there is `None`, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// Each online CPU.
    pub cpus: BTreeMap<u32, CpuTicks>,
    /// Tasks on a CPU or waiting for one.
    pub running: Option<u64>,
    /// Tasks that wait for a disk or the like and cannot be interrupted.
    pub blocked: Option<u64>,
    /// Load averages of 1, 5 and 15 minutes, in hundredths.
    pub load_hundredths: Option<[u64; 3]>,
    /// PSI of CPU, memory and I/O.
    pub pressure: [Option<Pressure>; 3],
    /// Memory.
    pub memory: Option<MemoryCounters>,
    /// Pages swapped in and out.
    pub swapped_pages: Option<u64>,
    /// Times that memory ran out and a process was killed.
    pub oom_kills: Option<u64>,
    /// Times that CPUs were slowed for their heat; `None` where they do not count it.
    pub heat_throttles: Option<u64>,
    /// Whole disks, without partitions, loops and RAM disks.
    pub disks: BTreeMap<String, DiskCounters>,
}

impl HostCounters {
    pub(crate) fn read(fs_root: &Path) -> Self {
        let file = |path: &str| read(&fs_root.join(path));
        let stat = file("proc/stat").unwrap_or_default();
        let vmstat = file("proc/vmstat").unwrap_or_default();
        let pressure = |of: &str| Pressure::read(&fs_root.join("proc/pressure").join(of));
        let pages = |key| value(&vmstat, key);
        Self {
            cpus: cpus(&stat),
            running: value(&stat, "procs_running"),
            blocked: value(&stat, "procs_blocked"),
            load_hundredths: file("proc/loadavg").and_then(|text| load(&text)),
            pressure: ["cpu", "memory", "io"].map(pressure),
            memory: file("proc/meminfo").and_then(|text| memory(&text)),
            swapped_pages: pages("pswpin")
                .zip(pages("pswpout"))
                .map(|(inwards, outwards)| inwards.saturating_add(outwards)),
            oom_kills: pages("oom_kill"),
            heat_throttles: heat_throttles(fs_root),
            disks: file("proc/diskstats")
                .map(|text| disks(&text, fs_root))
                .unwrap_or_default(),
        }
    }

    /// The CPUs that are online.
    pub fn online(&self) -> CpuSet {
        self.cpus.keys().copied().collect()
    }
}

fn cpus(stat: &str) -> BTreeMap<u32, CpuTicks> {
    stat.lines()
        .filter_map(|line| {
            let (cpu, fields) = line.strip_prefix("cpu")?.split_once(' ')?;
            Some((cpu.parse().ok()?, CpuTicks::parse(fields)?))
        })
        .collect()
}

fn load(text: &str) -> Option<[u64; 3]> {
    let mut fields = text.split(' ').map(|field| {
        let (whole, hundredths) = field.split_once('.')?;
        let whole: u64 = whole.parse().ok()?;
        whole
            .checked_mul(100)?
            .checked_add(hundredths.parse().ok()?)
    });
    Some([fields.next()??, fields.next()??, fields.next()??])
}

fn memory(meminfo: &str) -> Option<MemoryCounters> {
    let bytes = |key| value(meminfo, key).map(|kib| kib.saturating_mul(1024));
    Some(MemoryCounters {
        total: bytes("MemTotal")?,
        available: bytes("MemAvailable").or_else(|| bytes("MemFree"))?,
        swap_total: bytes("SwapTotal").unwrap_or(0),
        swap_free: bytes("SwapFree").unwrap_or(0),
    })
}

fn heat_throttles(fs_root: &Path) -> Option<u64> {
    let online = read(&fs_root.join("sys/devices/system/cpu/online"))?;
    let counts = CpuSet::parse(&online)?;
    let counts = counts.iter().map(|cpu| {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count");
        super::text::number(&fs_root.join(path))
    });
    // The first CPU without a count ends it: none has one, in virtual machines and on ARM.
    counts.sum()
}

fn disks(diskstats: &str, fs_root: &Path) -> BTreeMap<String, DiskCounters> {
    diskstats
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(2);
            let name = fields.next()?;
            let counts: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
            let count = |at| counts.get(at).copied();
            let is_memory = ["loop", "ram", "zram"]
                .iter()
                .any(|one| name.starts_with(one));
            // A partition has no directory of its own there; a disk without requests tells nothing.
            let block = fs_root.join("sys/block").join(name);
            if is_memory || count(0)? + count(4)? == 0 || !block.exists() {
                return None;
            }
            let counters = DiskCounters {
                read_bytes: count(2)?.saturating_mul(SECTOR_BYTES),
                written_bytes: count(6)?.saturating_mul(SECTOR_BYTES),
                busy_ms: count(9)?,
                queued_ms: count(10)?,
                errors: errors(&block),
            };
            Some((name.to_owned(), counters))
        })
        .collect()
}

/// SCSI disks count, in hexadecimal (`sdev_show_ioerr_cnt`, drivers/scsi/scsi_sysfs.c).
fn errors(block: &Path) -> Option<u64> {
    let text = read(&block.join("device/ioerr_cnt"))?;
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::test_tree::TempTree;

    #[test]
    fn a_cpus_ticks_are_told_by_what_they_are() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\n\
            cpu0 100 10 40 700 50 3 4 5 20 0\ncpu3 1 2 3 4\ncpux 1 2 3 4\nintr 5\nprocs_running 3\n";
        let read = cpus(stat);
        let expected = CpuTicks {
            user: 110,
            system: 40,
            interrupts: 7,
            steal: 5,
            idle: 750,
        };
        assert_eq!(read.get(&0), Some(&expected));
        assert_eq!(read.get(&3).map(|cpu| (cpu.user, cpu.steal)), Some((3, 0)));
        assert_eq!(read.len(), 2);
        assert_eq!(value(stat, "procs_running"), Some(3));
    }

    #[test]
    fn disks_are_whole_ones_with_requests_and_their_errors() {
        let tree = TempTree::new("usage-disks");
        tree.write("sys/block/sda/device/ioerr_cnt", "0x1f\n");
        tree.write("sys/block/vda/size", "1\n");
        let text = "8 0 sda 10 0 20 5 1 0 2 5 0 70 80 0 0\n8 1 sda1 10 0 20 5 1 0 2 5 0 70 80\n\
            254 0 vda 0 0 0 0 0 0 0 0 0 0 0\n7 0 loop0 1 0 2 0 1 0 2 0 0 0 0\n8 16 sdb 1 2\n";
        let read = disks(text, tree.root());
        let sda = read.get("sda").expect("a disk");
        assert_eq!(
            (
                sda.read_bytes,
                sda.written_bytes,
                sda.busy_ms,
                sda.queued_ms
            ),
            (10_240, 1_024, 70, 80)
        );
        assert_eq!(sda.errors, Some(31));
        assert_eq!(read.len(), 1);
    }

    #[test]
    fn load_is_in_hundredths_and_memory_in_bytes() {
        assert_eq!(load("0.79 1.54 12.96 1/93 1452\n"), Some([79, 154, 1296]));
        assert_eq!(load("0.79 1.54"), None);
        let read = memory("MemTotal: 8 kB\nMemAvailable: 2 kB\nSwapTotal: 1 kB\n").expect("whole");
        assert_eq!(
            (read.total, read.available, read.swap_total),
            (8192, 2048, 1024)
        );
        assert_eq!(memory("MemTotal: 8 kB\n"), None);
    }

    #[test]
    fn a_host_without_files_has_no_counters() {
        let tree = TempTree::new("usage-nothing");
        assert_eq!(HostCounters::read(tree.root()), HostCounters::default());
    }
}
