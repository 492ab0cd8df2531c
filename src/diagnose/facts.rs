//! The numbers that the verdict is made of, from the counters of an interval.

use profiler::usage::{CpuSet, GroupUse, Interval};
use std::path::PathBuf;

/// Threads that were seen ran less than this part of the container's time: they tell too little.
const SEEN_MIN: f64 = 0.10;
/// Below this it is worth a remark.
const SEEN_FEW: f64 = 0.50;

/// A limit, of the container or of a cgroup above it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cap {
    pub(crate) cgroup_path: String,
    /// The container's own.
    pub(crate) is_own: bool,
    /// `None`: it has been lifted meanwhile.
    pub(crate) limit_cpus: Option<f64>,
    /// For how much time its quota is.
    pub(crate) period_us: Option<u64>,
    /// Periods in which something below it ran.
    pub(crate) periods: u64,
    /// Those of them in which the quota ran out.
    pub(crate) hits: u64,
    /// Time for which CPUs were held back, as a number of CPUs.
    pub(crate) lost_cpus: f64,
    /// How long it held back each time, on each CPU.
    pub(crate) each_ms: Option<f64>,
    /// `cpu.stat`.
    pub(crate) file: PathBuf,
}

impl Cap {
    /// Part of the periods in which it was hit; 1 where it held back all the time, so that no period
    /// was counted.
    pub(crate) fn hit_ratio(&self) -> f64 {
        match self.periods {
            0 => 1.0,
            periods => self.hits as f64 / periods as f64,
        }
    }

    fn is_hit(&self) -> bool {
        self.hits > 0 || self.lost_cpus > 0.0
    }
}

/// What is known of one container in an interval. Times are numbers of CPUs: 1.5 is one and a half CPUs
/// for as long as the interval.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// CPU time that it had; `None` where the kernel does not tell.
    pub(crate) used_cpus: Option<f64>,
    /// Time for which threads were ready and had no CPU, limits included.
    pub(crate) wait_cpus: Option<f64>,
    /// The same for each turn on a CPU, in milliseconds.
    pub(crate) wait_ms_each: Option<f64>,
    pub(crate) voluntary_per_s: Option<f64>,
    pub(crate) involuntary_per_s: Option<f64>,
    /// Part of the time in which some thread waited for a CPU (PSI).
    pub(crate) pressure: Option<f64>,
    /// Its limit and those above it.
    pub(crate) caps: Vec<Cap>,
    /// Time for which it was ready and a limit, its own or one above, held it (`cpu.stat.local`).
    pub(crate) held_cpus: Option<f64>,
    /// How many CPUs its cpuset lets it have.
    pub(crate) allowed_cpus: usize,
    /// The CPUs that those of its threads that waited may run on, and how many they are.
    pub(crate) waits_on: CpuSet,
    pub(crate) cpus: usize,
    /// Of these: idle, with any work, taken by the hypervisor, with its own work.
    pub(crate) idle_cpus: f64,
    pub(crate) busy_cpus: f64,
    pub(crate) steal_cpus: f64,
    pub(crate) own_cpus: f64,
    /// How much of the interval its busiest thread ran.
    pub(crate) busiest_thread: Option<f64>,
    /// All of it stands still until somebody thaws it.
    pub(crate) is_frozen: bool,
    /// Threads that were seen did not have most of its CPU time.
    pub(crate) is_short_lived: bool,
}

impl Facts {
    /// Of a container in an interval, whose cgroups above it were read.
    pub(crate) fn of(group: &GroupUse, interval: &Interval) -> Self {
        let cpus = |ns: u64| interval.cpus(ns);
        let per_s = |count: u64| count as f64 / interval.seconds();
        let tasks = &group.tasks;
        let seen = tasks.run_ns.map(cpus);
        let used = group.cpu.map(|cpu| cpus(cpu.total_ns)).or(seen);
        // Of threads that ended in between only their CPU time is known, by their cgroup; they are
        // taken to have waited as the others did.
        let unseen = match (used, seen) {
            (Some(used), Some(seen)) if used >= 0.01 => (seen / used).min(1.0),
            _ => 1.0,
        };
        let wait = tasks
            .wait_ns
            .filter(|_| unseen >= SEEN_MIN)
            .map(|ns| cpus(ns) / unseen);
        let online = interval.host.online();
        let allowed = match &group.cpuset {
            Some(cpuset) => cpuset.and(&online),
            None => online.clone(),
        };
        let waits_on = waits_on(group)
            .map(|cpus| cpus.and(&online))
            .filter(|cpus| !cpus.is_empty())
            .unwrap_or_else(|| allowed.clone());
        let there = interval.host.sum(&waits_on);
        let own: u64 = tasks
            .by_affinity
            .iter()
            .filter(|one| one.cpus.meets(&waits_on))
            .map(|one| one.run_ns)
            .sum();
        let own = match tasks.by_affinity.is_empty() || unseen < SEEN_MIN {
            true => used.unwrap_or(0.0),
            false => cpus(own) / unseen,
        };
        Self {
            used_cpus: used,
            wait_cpus: wait,
            wait_ms_each: tasks
                .wait_ns
                .zip(tasks.slices)
                .filter(|(_, slices)| *slices > 0)
                .map(|(ns, slices)| ns as f64 / slices as f64 / 1e6),
            voluntary_per_s: tasks.voluntary.map(per_s),
            involuntary_per_s: tasks.involuntary.map(per_s),
            pressure: group
                .pressure
                .map(|pressure| cpus(pressure.some_us.saturating_mul(1000)).min(1.0)),
            caps: caps(group, interval),
            held_cpus: group.levels.last().and_then(|own| own.held_ns).map(cpus),
            allowed_cpus: allowed.len(),
            cpus: waits_on.len(),
            waits_on,
            idle_cpus: there.idle,
            busy_cpus: there.busy(),
            steal_cpus: there.steal,
            own_cpus: own.min(there.busy()),
            busiest_thread: tasks.busiest.map(|(_, ns)| cpus(ns)),
            is_frozen: group.is_frozen == Some(true),
            is_short_lived: unseen < SEEN_FEW,
        }
    }

    /// The limits that were hit.
    pub(crate) fn hitting_caps(&self) -> impl Iterator<Item = &Cap> {
        self.caps.iter().filter(|cap| cap.is_hit())
    }

    /// The limit that cost most time.
    pub(crate) fn worst_cap(&self) -> Option<&Cap> {
        self.hitting_caps()
            .max_by(|a, b| a.lost_cpus.total_cmp(&b.lost_cpus))
    }

    /// Time that others had on the CPUs that it waited for.
    pub(crate) fn others_cpus(&self) -> f64 {
        (self.busy_cpus - self.own_cpus).max(0.0)
    }

    /// Part of its switches that it did not want.
    pub(crate) fn preempted_ratio(&self) -> Option<f64> {
        let (own, forced) = self.voluntary_per_s.zip(self.involuntary_per_s)?;
        (own + forced > 0.0).then(|| forced / (own + forced))
    }

    /// Part of the time in which it wanted a CPU that it had none.
    pub(crate) fn wait_ratio(&self) -> Option<f64> {
        let (used, wait) = self.used_cpus.zip(self.wait_cpus)?;
        (used + wait > 0.0).then(|| wait / (used + wait))
    }
}

/// The CPUs of those threads that have nine tenths of all the waiting.
fn waits_on(group: &GroupUse) -> Option<CpuSet> {
    let mut by_wait: Vec<_> = group.tasks.by_affinity.iter().collect();
    by_wait.sort_by(|a, b| b.wait_ns.cmp(&a.wait_ns).then_with(|| a.cpus.cmp(&b.cpus)));
    let all: u64 = by_wait.iter().map(|one| one.wait_ns).sum();
    if all == 0 {
        return None;
    }
    let (mut sum, mut cpus) = (0, CpuSet::default());
    for one in by_wait {
        if sum as f64 >= 0.9 * all as f64 {
            break;
        }
        sum += one.wait_ns;
        cpus = cpus.or(&one.cpus);
    }
    Some(cpus)
}

fn caps(group: &GroupUse, interval: &Interval) -> Vec<Cap> {
    let last = group.levels.len().saturating_sub(1);
    let levels = group.levels.iter().enumerate();
    let caps = levels.filter_map(|(at, level)| {
        let throttling = level.throttling?;
        Some(Cap {
            cgroup_path: level.cgroup_path.clone(),
            is_own: at == last,
            limit_cpus: level.quota.map(|quota| quota.cpus()),
            period_us: level.quota.map(|quota| quota.period_us),
            periods: throttling.periods,
            hits: throttling.throttled,
            lost_cpus: interval.cpus(throttling.throttled_ns),
            each_ms: (throttling.throttled > 0)
                .then(|| throttling.throttled_ns as f64 / throttling.throttled as f64 / 1e6),
            file: level.dir.join("cpu.stat"),
        })
    });
    caps.filter(|cap| cap.limit_cpus.is_some() || cap.is_hit())
        .collect()
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
