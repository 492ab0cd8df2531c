//! One container in one interval: the numbers that are shown.

use profiler::container::Container;
use profiler::usage::{GroupUse, Interval, LevelUse};

/// A container.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) container: Container,
    /// Its label in pictures.
    pub(super) tag: String,
    /// `None` until it was there for a whole interval.
    pub(super) used: Option<Used>,
}

/// What a container did in an interval, and what it has at its end. `None` is not known, or not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Used {
    /// Percent of one CPU, nested containers included.
    pub(super) cpu_percent: Option<f64>,
    pub(super) user_percent: Option<f64>,
    pub(super) system_percent: Option<f64>,
    /// Percent of the periods in which it ran: those in which a limit held it back, its own or that of a
    /// cgroup above it, whichever did more. `None` without a limit.
    pub(super) throttled_percent: Option<f64>,
    /// For how long, in milliseconds a second, added up over CPUs.
    pub(super) throttled_ms_per_s: Option<f64>,
    /// Its threads' time in run queues, in percent of the interval, added up.
    pub(super) wait_percent: Option<f64>,
    /// Percent of the time in which at least one of its tasks had to wait for a CPU (PSI).
    pub(super) pressure_percent: Option<f64>,
    /// Of all that the host's CPUs can do.
    pub(super) host_percent: Option<f64>,
    /// The smallest limit on it or above it, in CPUs.
    pub(super) limit_cpus: Option<f64>,
    /// Its own weight, 1024 unless somebody gave it another.
    pub(super) weight: Option<f64>,
    pub(super) memory_bytes: Option<u64>,
    pub(super) memory_limit_bytes: Option<u64>,
    /// Threads.
    pub(super) tasks: Option<u64>,
}

impl Used {
    pub(super) fn of(group: &GroupUse, interval: &Interval) -> Self {
        let percent = |ns: u64| interval.cpus(ns) * 100.0;
        let cpu = group.cpu;
        let cpus = interval.host.cpus.len();
        let throttling = Throttled::of(&group.levels);
        let seconds = interval.seconds();
        Self {
            cpu_percent: cpu.map(|cpu| percent(cpu.total_ns)),
            user_percent: cpu.and_then(|cpu| cpu.user_ns).map(percent),
            system_percent: cpu.and_then(|cpu| cpu.system_ns).map(percent),
            throttled_percent: throttling.percent,
            throttled_ms_per_s: throttling.ns.map(|ns| ns as f64 / 1e6 / seconds),
            wait_percent: group.tasks.wait_ns.map(percent),
            pressure_percent: group
                .pressure
                .map(|pressure| percent(pressure.some_us.saturating_mul(1000)).min(100.0)),
            host_percent: cpu
                .filter(|_| cpus > 0)
                .map(|cpu| percent(cpu.total_ns) / cpus as f64),
            limit_cpus: group
                .levels
                .iter()
                .filter_map(|level| Some(level.quota?.cpus()))
                .min_by(f64::total_cmp),
            weight: group.levels.last().and_then(|own| Some(own.weight?.0)),
            memory_bytes: group.memory.map(|memory| memory.used_bytes),
            memory_limit_bytes: group.memory.and_then(|memory| memory.limit_bytes),
            tasks: group.task_count,
        }
    }
}

/// What limits did, on the way from the root to a container.
struct Throttled {
    percent: Option<f64>,
    ns: Option<u64>,
}

impl Throttled {
    fn of(levels: &[LevelUse]) -> Self {
        let has_limit = |level: &&LevelUse| level.quota.is_some();
        let limited = || levels.iter().filter(has_limit);
        let percent = limited()
            .filter_map(|level| level.throttling)
            .map(|one| match one.periods {
                0 => 0.0,
                periods => one.throttled as f64 * 100.0 / periods as f64,
            })
            .max_by(f64::total_cmp);
        // What it was itself held back for, by whichever limit, where the kernel tells (Linux 6.6);
        // else the longest of a limit's, which above a container is also its neighbours'.
        let own = levels.last().filter(|_| limited().next().is_some());
        let held = own.and_then(|own| own.held_ns);
        let by_limits = limited()
            .filter_map(|level| Some(level.throttling?.throttled_ns))
            .max();
        Self {
            percent,
            ns: held.or(by_limits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler::usage::{Quota, Throttling};

    fn level(quota_us: Option<u64>, periods: u64, throttled: u64, throttled_ns: u64) -> LevelUse {
        LevelUse {
            cgroup_path: "/x".into(),
            dir: "/x".into(),
            throttling: Some(Throttling {
                periods,
                throttled,
                throttled_ns,
            }),
            held_ns: None,
            quota: quota_us.map(|quota_us| Quota {
                quota_us,
                period_us: 100_000,
            }),
            weight: None,
            cpu_ns: None,
            cpuset: None,
        }
    }

    #[test]
    fn the_limit_that_held_it_back_most_is_told_its_own_or_one_above() {
        let pod = level(Some(50_000), 20, 15, 900_000_000);
        let own = level(Some(80_000), 20, 5, 100_000_000);
        let by_pod = Throttled::of(&[pod.clone(), own.clone()]);
        assert_eq!(by_pod.percent, Some(75.0));
        assert_eq!(by_pod.ns, Some(900_000_000));
        // The kernel's own word on the container is the better one.
        let told = LevelUse {
            held_ns: Some(400_000_000),
            ..own
        };
        assert_eq!(Throttled::of(&[pod, told]).ns, Some(400_000_000));
    }

    #[test]
    fn without_a_limit_nothing_throttles_and_an_idle_one_was_not_throttled() {
        let free = Throttled::of(&[level(None, 0, 0, 0)]);
        assert_eq!((free.percent, free.ns), (None, None));
        let idle = Throttled::of(&[level(Some(50_000), 0, 0, 0)]);
        assert_eq!((idle.percent, idle.ns), (Some(0.0), Some(0)));
    }
}
