//! The CPU controller's counters and limits of one cgroup: a container's own, or one above it.

use super::text::{read, value, word};
use std::path::{Path, PathBuf};

/// A limit on CPU time: `cpu.max`, or `cpu.cfs_quota_us` and `cpu.cfs_period_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// CPU time for each period.
    pub quota_us: u64,
    /// The period.
    pub period_us: u64,
}

impl Quota {
    /// The limit as a number of CPUs: 1.5 is one and a half.
    pub fn cpus(&self) -> f64 {
        self.quota_us as f64 / self.period_us as f64
    }
}

/// How much a cgroup counts among its siblings, in v1's shares: 1024 is the default. `cpu.weight` of
/// 100 is the same (`sched_weight_from_cgroup()`, kernel/sched/sched.h).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Weight(pub f64);

impl Weight {
    /// A cgroup's that nobody gave another.
    pub const DEFAULT: Weight = Weight(1024.0);

    fn of_v2(weight: u64) -> Self {
        match weight {
            // An idle group (`cpu.idle`) shows 0 and has `WEIGHT_IDLEPRIO`.
            0 => Weight(3.0),
            weight => Weight(weight as f64 * 10.24),
        }
    }
}

/// How often, and for how long, a limit held a cgroup back (`cpu.stat`). All counters grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which anything of it ran or wanted to.
    pub periods: u64,
    /// Those of them in which the quota ran out.
    pub throttled: u64,
    /// For how long, added up over CPUs.
    pub throttled_ns: u64,
}

impl Throttling {
    fn parse(cpu_stat: &str) -> Option<Self> {
        Some(Self {
            periods: value(cpu_stat, "nr_periods")?,
            throttled: value(cpu_stat, "nr_throttled")?,
            throttled_ns: value(cpu_stat, "throttled_time")
                .or_else(|| Some(value(cpu_stat, "throttled_usec")?.saturating_mul(1000)))?,
        })
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            periods: since(self.periods, before.periods),
            throttled: since(self.throttled, before.throttled),
            throttled_ns: since(self.throttled_ns, before.throttled_ns),
        }
    }
}

/// What a counter grew by; one that went back belongs to another cgroup of that name, which began
/// at 0.
pub(crate) fn since(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

/// Time lost to a resource that was short (PSI): of `cpu.pressure` and the like. Counters grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Microseconds in which at least one task waited.
    pub some_us: u64,
    /// Microseconds in which all tasks that were not idle waited; not told for a host's CPUs.
    pub full_us: Option<u64>,
}

impl Pressure {
    /// Reads a pressure file. `None` where the kernel keeps none (`psi=0`: EOPNOTSUPP).
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let text = read(path)?;
        let total = |key| {
            let line = word(&text, key)?;
            let (_, total) = line.split_once("total=")?;
            total.parse().ok()
        };
        Some(Self {
            some_us: total("some")?,
            full_us: total("full"),
        })
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            some_us: since(self.some_us, before.some_us),
            full_us: self
                .full_us
                .zip(before.full_us)
                .map(|(now, before)| since(now, before)),
        }
    }
}

/// CPU time of a cgroup and all below it since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CpuCounters {
    pub(crate) total_ns: u64,
    pub(crate) user_ns: Option<u64>,
    pub(crate) system_ns: Option<u64>,
}

/// A cgroup of the CPU controller's hierarchy, as it is now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LevelCounters {
    /// Its directory, as the host names it.
    pub(crate) dir: PathBuf,
    pub(crate) throttling: Option<Throttling>,
    /// Time in which it was held back by any limit, its own or one above (`cpu.stat.local`, 6.6).
    pub(crate) held_ns: Option<u64>,
    pub(crate) quota: Option<Quota>,
    pub(crate) weight: Option<Weight>,
    pub(crate) cpu: Option<CpuCounters>,
}

impl LevelCounters {
    /// `below`: the same directory in our reach. v1 has CPU time elsewhere (`cpuacct`).
    pub(crate) fn read(dir: PathBuf, below: &Path) -> Self {
        let stat = read(&below.join("cpu.stat")).unwrap_or_default();
        let local = read(&below.join("cpu.stat.local")).unwrap_or_default();
        Self {
            dir,
            throttling: Throttling::parse(&stat),
            held_ns: value(&local, "throttled_time")
                .or_else(|| Some(value(&local, "throttled_usec")?.saturating_mul(1000))),
            quota: quota(below),
            weight: weight(below),
            cpu: cpu_of_v2(&stat),
        }
    }
}

/// `usage_usec` and its parts of a v2 `cpu.stat`: kept for every cgroup, whatever the controllers.
pub(crate) fn cpu_of_v2(cpu_stat: &str) -> Option<CpuCounters> {
    let ns = |key| Some(value(cpu_stat, key)?.saturating_mul(1000));
    Some(CpuCounters {
        total_ns: ns("usage_usec")?,
        user_ns: ns("user_usec"),
        system_ns: ns("system_usec"),
    })
}

/// `None` without a limit.
fn quota(below: &Path) -> Option<Quota> {
    let quota = if let Some(max) = read(&below.join("cpu.max")) {
        let (quota, period) = max.trim().split_once(' ')?;
        Quota {
            quota_us: quota.parse().ok()?,
            period_us: period.parse().ok()?,
        }
    } else {
        Quota {
            // -1 is none.
            quota_us: super::text::number(&below.join("cpu.cfs_quota_us"))?,
            period_us: super::text::number(&below.join("cpu.cfs_period_us"))?,
        }
    };
    (quota.period_us > 0).then_some(quota)
}

fn weight(below: &Path) -> Option<Weight> {
    match super::text::number(&below.join("cpu.weight")) {
        Some(weight) => Some(Weight::of_v2(weight)),
        None => super::text::number(&below.join("cpu.shares")).map(|shares| Weight(shares as f64)),
    }
}

/// One cgroup on the way from the root to a container, over an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelUse {
    /// Its path in the CPU controller's hierarchy.
    pub cgroup_path: String,
    /// Its directory, where `cpu.stat` and its limits are, as the host names it.
    pub dir: PathBuf,
    /// What its limit did in the interval; `None` where the kernel does not say.
    pub throttling: Option<Throttling>,
    /// For how long it was held back by its own limit or one above, added up over CPUs
    /// (`cpu.stat.local`, Linux 6.6).
    pub held_ns: Option<u64>,
    /// Its limit at the end; `None` without one.
    pub quota: Option<Quota>,
    /// Its weight at the end.
    pub weight: Option<Weight>,
    /// CPU time of it and all below it.
    pub cpu_ns: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::test_tree::TempTree;

    #[test]
    fn throttling_is_nanoseconds_in_both_versions() {
        let v1 = "nr_periods 26\nnr_throttled 25\nthrottled_time 1701094868\nnr_bursts 0\n";
        let v2 = "usage_usec 5\nnr_periods 26\nnr_throttled 25\nthrottled_usec 1701094\n";
        let throttling = |text| Throttling::parse(text).map(|one| one.throttled_ns);
        assert_eq!(throttling(v1), Some(1_701_094_868));
        assert_eq!(throttling(v2), Some(1_701_094_000));
        assert_eq!(throttling("usage_usec 5\nuser_usec 1\n"), None);
    }

    #[test]
    fn a_limit_is_read_in_both_versions_and_none_is_none() {
        let tree = TempTree::new("usage-quota");
        for (dir, file, text, cpus) in [
            ("a", "cpu.max", "150000 100000\n", Some(1.5)),
            ("b", "cpu.max", "max 100000\n", None),
            ("c", "cpu.cfs_quota_us", "20000\n", Some(0.2)),
            ("d", "cpu.cfs_quota_us", "-1\n", None),
            ("e", "cpu.max", "5 0\n", None),
        ] {
            tree.write(&format!("{dir}/cpu.cfs_period_us"), "100000\n");
            tree.write(&format!("{dir}/{file}"), text);
            let quota = quota(&tree.root().join(dir));
            assert_eq!(quota.map(|quota| quota.cpus()), cpus, "{dir}");
        }
    }

    #[test]
    fn weights_of_both_versions_are_in_one_unit() {
        assert_eq!(Weight::of_v2(100), Weight::DEFAULT);
        assert_eq!(Weight::of_v2(10_000), Weight(102_400.0));
        assert_eq!(Weight::of_v2(0), Weight(3.0));
    }

    #[test]
    fn a_counter_that_went_back_began_anew() {
        assert_eq!(since(7, 5), 2);
        assert_eq!(since(3, 5), 3);
    }

    #[test]
    fn pressure_has_totals_and_a_cut_file_is_none() {
        let tree = TempTree::new("usage-pressure");
        let text = "some avg10=0.34 avg60=1.80 avg300=5.10 total=16628040723\n\
            full avg10=0.00 avg60=0.00 avg300=0.00 total=12\n";
        let path = tree.root().join("p");
        tree.write("p", text);
        let read = Pressure::read(&path).expect("whole");
        assert_eq!((read.some_us, read.full_us), (16_628_040_723, Some(12)));
        tree.write("p", "some avg10=0.34 avg60=1.8");
        assert_eq!(Pressure::read(&path), None);
        tree.write("p", text.lines().next().expect("one"));
        assert_eq!(Pressure::read(&path).and_then(|one| one.full_us), None);
    }
}
