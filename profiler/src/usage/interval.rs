//! What happened between two readings.

use super::cpu_set::CpuSet;
use super::host::{CpuTicks, DiskCounters, HostCounters, MemoryCounters};
use super::level::{CpuCounters, LevelCounters, LevelUse, Pressure, since};
use super::snapshot::{GroupCounters, Memory, Snapshot};
use super::tasks::TaskUse;
use std::collections::BTreeMap;

/// CPU time of a container in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// All of it.
    pub total_ns: u64,
    /// In programs; in v1 counted in ticks of 10 ms.
    pub user_ns: Option<u64>,
    /// In the kernel; in v1 counted in ticks of 10 ms.
    pub system_ns: Option<u64>,
}

/// What one container did in an interval, and what it has at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupUse {
    /// As it was asked for.
    pub cgroup_path: String,
    /// Its CPU time.
    pub cpu: Option<CpuTime>,
    /// It, last, and the cgroups above it, outermost first, without the root.
    pub levels: Vec<LevelUse>,
    /// Time lost to CPUs that were short (PSI).
    pub pressure: Option<Pressure>,
    /// The CPUs that its cpuset allows.
    pub cpuset: Option<CpuSet>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Threads now; its own limit on them.
    pub task_count: Option<u64>,
    /// See there.
    pub task_limit: Option<u64>,
    /// Whether its tasks are frozen at the end.
    pub is_frozen: Option<bool>,
    /// Its threads.
    pub tasks: TaskUse,
}

/// How one CPU spent an interval: parts of 1, which together are 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HostCpuUse {
    /// In programs.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
    /// In interrupts.
    pub interrupts: f64,
    /// Taken by the hypervisor.
    pub steal: f64,
    /// With nothing to do.
    pub idle: f64,
}

impl HostCpuUse {
    /// With work of this host.
    pub fn busy(&self) -> f64 {
        self.user + self.system + self.interrupts
    }

    fn between(before: &CpuTicks, after: &CpuTicks) -> Option<Self> {
        // A CPU that was offline in between may count its idle time anew.
        let ticks = |of: fn(&CpuTicks) -> u64| of(after).saturating_sub(of(before)) as f64;
        let parts = [
            ticks(|cpu| cpu.user),
            ticks(|cpu| cpu.system),
            ticks(|cpu| cpu.interrupts),
            ticks(|cpu| cpu.steal),
            ticks(|cpu| cpu.idle),
        ];
        let all: f64 = parts.iter().sum();
        if all == 0.0 {
            return None;
        }
        let [user, system, interrupts, steal, idle] = parts.map(|part| part / all);
        Some(Self {
            user,
            system,
            interrupts,
            steal,
            idle,
        })
    }
}

/// What a disk did in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DiskUse {
    /// Part of the time in which a request was under way: 1 is always. A disk that serves many at
    /// once may have room all the same.
    pub busy: f64,
    /// Requests under way, on average.
    pub queue: f64,
    /// Bytes read and written.
    pub read_bytes: u64,
    /// See there.
    pub written_bytes: u64,
    /// Requests that failed, where that is counted.
    pub errors: Option<u64>,
}

/// What the host did in an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostUse {
    /// Each CPU that was online in both readings.
    pub cpus: BTreeMap<u32, HostCpuUse>,
    /// Tasks on a CPU or waiting for one, at the end.
    pub running: Option<u64>,
    /// Tasks that wait for a disk or the like, at the end.
    pub blocked: Option<u64>,
    /// Load averages of 1, 5 and 15 minutes at the end, in hundredths.
    pub load_hundredths: Option<[u64; 3]>,
    /// PSI of CPU, memory and I/O.
    pub pressure: [Option<Pressure>; 3],
    /// Memory at the end.
    pub memory: Option<MemoryCounters>,
    /// Pages swapped in and out.
    pub swapped_pages: Option<u64>,
    /// Processes killed because memory ran out.
    pub oom_kills: Option<u64>,
    /// Times that a CPU was slowed for its heat.
    pub heat_throttles: Option<u64>,
    /// Disks that were there in both readings.
    pub disks: BTreeMap<String, DiskUse>,
}

impl HostUse {
    fn between(before: &HostCounters, after: &HostCounters, ns: u64) -> Self {
        let grown = |of: fn(&HostCounters) -> Option<u64>| Some(since(of(after)?, of(before)?));
        let mut pressure = [None; 3];
        for (used, (now, then)) in pressure
            .iter_mut()
            .zip(after.pressure.iter().zip(&before.pressure))
        {
            *used = now.zip(*then).map(|(now, then)| now.since(&then));
        }
        Self {
            cpus: in_both(&before.cpus, &after.cpus, HostCpuUse::between),
            running: after.running,
            blocked: after.blocked,
            load_hundredths: after.load_hundredths,
            pressure,
            memory: after.memory,
            swapped_pages: grown(|host| host.swapped_pages),
            oom_kills: grown(|host| host.oom_kills),
            heat_throttles: grown(|host| host.heat_throttles),
            disks: in_both(&before.disks, &after.disks, |then, now| disk(then, now, ns)),
        }
    }

    /// The CPUs.
    pub fn online(&self) -> CpuSet {
        self.cpus.keys().copied().collect()
    }

    /// What these CPUs did, added up: `busy()` and the like are numbers of CPUs.
    pub fn sum(&self, cpus: &CpuSet) -> HostCpuUse {
        let mut sum = HostCpuUse::default();
        for (_, cpu) in self.cpus.iter().filter(|(cpu, _)| cpus.contains(**cpu)) {
            sum.user += cpu.user;
            sum.system += cpu.system;
            sum.interrupts += cpu.interrupts;
            sum.steal += cpu.steal;
            sum.idle += cpu.idle;
        }
        sum
    }
}

/// Two readings, and what grew between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// Its length in nanoseconds; at least 1.
    pub ns: u64,
    /// The host.
    pub host: HostUse,
    /// The containers that are in both readings, by cgroup path.
    pub groups: Vec<GroupUse>,
    /// All cgroups that were read, by path in the CPU controller's hierarchy.
    pub(crate) levels: BTreeMap<String, LevelUse>,
    /// CPU time of the host's cgroups all together.
    pub(crate) root_cpu_ns: Option<u64>,
}

impl Interval {
    /// Between two readings of one reader.
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let ns = after.at_ns.saturating_sub(before.at_ns).max(1);
        let levels: BTreeMap<String, LevelUse> = after
            .levels
            .iter()
            .filter_map(|(path, now)| {
                let then = before.levels.get(path)?;
                Some((path.clone(), level(path, then, now)))
            })
            .collect();
        let groups = after
            .groups
            .iter()
            .filter_map(|(path, now)| Some(group(before.groups.get(path)?, now, &levels, ns)))
            .collect();
        Self {
            ns,
            host: HostUse::between(&before.host, &after.host, ns),
            groups,
            levels,
            root_cpu_ns: cpu_ns(before.root_cpu, after.root_cpu),
        }
    }

    /// A container that was asked for.
    pub fn group(&self, cgroup_path: &str) -> Option<&GroupUse> {
        self.groups
            .iter()
            .find(|group| group.cgroup_path == cgroup_path)
    }

    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        self.ns as f64 / 1e9
    }

    /// Time in the interval as a number of CPUs: 1 for as long as the interval.
    pub fn cpus(&self, ns: u64) -> f64 {
        ns as f64 / self.ns as f64
    }
}

fn in_both<K: Ord + Clone, C, U>(
    before: &BTreeMap<K, C>,
    after: &BTreeMap<K, C>,
    between: impl Fn(&C, &C) -> Option<U>,
) -> BTreeMap<K, U> {
    after
        .iter()
        .filter_map(|(key, now)| Some((key.clone(), between(before.get(key)?, now)?)))
        .collect()
}

fn disk(before: &DiskCounters, after: &DiskCounters, ns: u64) -> Option<DiskUse> {
    let ms = ns as f64 / 1e6;
    Some(DiskUse {
        busy: (since(after.busy_ms, before.busy_ms) as f64 / ms).min(1.0),
        queue: since(after.queued_ms, before.queued_ms) as f64 / ms,
        read_bytes: since(after.read_bytes, before.read_bytes),
        written_bytes: since(after.written_bytes, before.written_bytes),
        errors: after
            .errors
            .zip(before.errors)
            .map(|(now, then)| since(now, then)),
    })
}

fn cpu_ns(before: Option<CpuCounters>, after: Option<CpuCounters>) -> Option<u64> {
    Some(since(after?.total_ns, before?.total_ns))
}

fn level(path: &str, before: &LevelCounters, after: &LevelCounters) -> LevelUse {
    LevelUse {
        cgroup_path: path.to_owned(),
        dir: after.dir.clone(),
        throttling: after
            .throttling
            .zip(before.throttling)
            .map(|(now, then)| now.since(&then)),
        held_ns: after
            .held_ns
            .zip(before.held_ns)
            .map(|(now, then)| since(now, then)),
        quota: after.quota,
        weight: after.weight,
        cpu_ns: cpu_ns(before.cpu, after.cpu),
        cpuset: after.cpuset.clone(),
    }
}

fn group(
    before: &GroupCounters,
    after: &GroupCounters,
    levels: &BTreeMap<String, LevelUse>,
    ns: u64,
) -> GroupUse {
    let path = after.group.cpu_path.as_deref().unwrap_or_default();
    let above = path
        .match_indices('/')
        .map(|(at, _)| at)
        .filter(|at| *at > 0)
        .chain([path.len()])
        .filter_map(|end| levels.get(path.get(..end)?).cloned());
    let part = |of: fn(&CpuCounters) -> Option<u64>| {
        let (now, then) = after.cpu.as_ref().zip(before.cpu.as_ref())?;
        Some(since(of(now)?, of(then)?))
    };
    let count = after.tasks.count() as u64;
    GroupUse {
        cgroup_path: after.group.cgroup_path.clone(),
        cpu: cpu_ns(before.cpu, after.cpu).map(|total_ns| CpuTime {
            total_ns,
            user_ns: part(|cpu| cpu.user_ns),
            system_ns: part(|cpu| cpu.system_ns),
        }),
        levels: above.collect(),
        pressure: after
            .pressure
            .zip(before.pressure)
            .map(|(now, then)| now.since(&then)),
        cpuset: after.cpuset.clone(),
        memory: after.memory,
        task_count: after.task_count.or((count > 0).then_some(count)),
        task_limit: after.task_limit,
        is_frozen: after.is_frozen,
        tasks: TaskUse::between(&before.tasks, &after.tasks, ns),
    }
}

#[cfg(test)]
#[path = "interval_tests.rs"]
mod tests;
