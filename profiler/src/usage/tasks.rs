//! The threads of a container: how long they ran, how long they waited for a CPU, how they left it.

use super::cpu_set::CpuSet;
use super::group::Group;
use super::level::since;
use super::snapshot::TaskDetail;
use super::text::{read, value, word};
use crate::HostTid;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Of a container with more threads than this, the rest is not asked: it is an eighth of a second.
const READ_MAX: usize = 8192;

/// One thread's counters since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counters {
    /// `/proc/TID/schedstat`: on a CPU, runnable and not on one, times on a CPU.
    sched: Option<(u64, u64, u64)>,
    /// `/proc/TID/status`: voluntary and involuntary switches, CPUs as a list.
    switches: Option<(u64, u64)>,
    allowed: Option<Box<str>>,
}

/// The threads of a container, as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tasks {
    by_tid: HashMap<HostTid, Counters>,
    /// Listed, but not read: gone meanwhile, or beyond what is read.
    unread: usize,
}

impl Tasks {
    /// `fs_root/proc` is asked about each thread of the group.
    pub(crate) fn read(group: &Group, fs_root: &Path, detail: TaskDetail) -> Self {
        let proc = fs_root.join("proc");
        let mut tasks = Self::default();
        for dir in group.thread_dirs() {
            let Some(list) = read(&dir.join("tasks")).or_else(|| read(&dir.join("cgroup.threads")))
            else {
                continue;
            };
            for tid in list.lines().filter_map(|line| line.trim().parse().ok()) {
                // 0: outside of our own pid namespace.
                let room = tid != 0 && tasks.by_tid.len() < READ_MAX;
                let counters =
                    room.then(|| Counters::read(&proc.join(u32::to_string(&tid)), detail));
                match counters.flatten() {
                    Some(counters) => {
                        tasks.by_tid.insert(HostTid(tid), counters);
                    }
                    None => tasks.unread += 1,
                }
            }
        }
        tasks
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.by_tid.len() + self.unread
    }
}

impl Counters {
    fn read(dir: &Path, detail: TaskDetail) -> Option<Self> {
        let sched = read(&dir.join("schedstat")).and_then(|text| {
            let mut fields = text.split_whitespace().map(|field| field.parse().ok());
            Some((fields.next()??, fields.next()??, fields.next()??))
        });
        let status = match detail {
            TaskDetail::Switches => read(&dir.join("status")),
            _ => None,
        };
        let status = status.as_deref();
        let switches = |key| status.and_then(|status| value(status, key));
        let counters = Self {
            sched,
            switches: switches("voluntary_ctxt_switches")
                .zip(switches("nonvoluntary_ctxt_switches")),
            allowed: status
                .and_then(|status| word(status, "Cpus_allowed_list"))
                .map(Box::from),
        };
        (counters.sched.is_some() || counters.switches.is_some()).then_some(counters)
    }

    /// What it did since; a thread that was not there before began in between. `None` for one that
    /// came from another cgroup: its history is not this container's.
    ///
    /// A wait is counted when it ends (`sched_info_arrive()`, kernel/sched/stats.h), all of it: that of
    /// a thread that goes on may be longer than the interval.
    fn since(&self, before: Option<&Self>, interval_ns: u64) -> Option<Self> {
        /// Time on a CPU is counted in ticks, and threads are read one after the other.
        const TICK_NS: u64 = 10_000_000;
        let fresh = Self::default();
        // A tid that is used again is another thread: its counters went back.
        let goes_on = |then: &&Self| {
            let ran = |one: &Self| one.sched.map_or(0, |(run_ns, ..)| run_ns);
            ran(self) >= ran(then)
        };
        let known = before.filter(goes_on);
        let before = known.unwrap_or(&fresh);
        let sched = self.sched.map(|(run, wait, slices)| {
            let (run_then, wait_then, slices_then) = before.sched.unwrap_or_default();
            (
                since(run, run_then),
                since(wait, wait_then),
                since(slices, slices_then),
            )
        });
        // One that began in the interval has no more history than that.
        let most_ns = interval_ns
            .saturating_add(interval_ns / 16)
            .saturating_add(TICK_NS);
        if known.is_none() && sched.is_some_and(|(run, wait, _)| run.saturating_add(wait) > most_ns)
        {
            return None;
        }
        let switches = self.switches.map(|(own, forced)| {
            let (own_then, forced_then) = before.switches.unwrap_or_default();
            (since(own, own_then), since(forced, forced_then))
        });
        Some(Self {
            sched,
            switches,
            allowed: self.allowed.clone(),
        })
    }
}

/// What the threads of a container did in an interval, added up. What a thread did after it was last
/// seen is not in it: compare with the cgroup's own CPU time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskUse {
    /// On a CPU; `None` where the kernel keeps no `schedstat` (CONFIG_SCHED_INFO).
    pub run_ns: Option<u64>,
    /// Runnable, and not on a CPU.
    pub wait_ns: Option<u64>,
    /// How often one got a CPU.
    pub slices: Option<u64>,
    /// How often one gave its CPU away: it had to wait for something.
    pub voluntary: Option<u64>,
    /// How often one was taken off its CPU: others, or its limit.
    pub involuntary: Option<u64>,
    /// Threads that were there at the end, with their use counted.
    pub threads: usize,
    /// Those of them that began in the interval.
    pub began: usize,
    /// Those that were gone at the end.
    pub ended: usize,
    /// Those that were not read, or came from elsewhere.
    pub unread: usize,
    /// The thread that ran longest, with how long.
    pub busiest: Option<(HostTid, u64)>,
    /// By the CPUs that threads may run on (`sched_setaffinity()` and cpuset together).
    pub by_affinity: Vec<AffinityUse>,
}

/// The threads with one set of CPUs that they may run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffinityUse {
    /// The CPUs.
    pub cpus: CpuSet,
    /// How long those threads ran.
    pub run_ns: u64,
    /// How long they waited for a CPU.
    pub wait_ns: u64,
}

impl TaskUse {
    /// Between two readings, `interval_ns` apart.
    pub fn between(before: &Tasks, after: &Tasks, interval_ns: u64) -> Self {
        let mut used = Self {
            unread: after.unread,
            ..Self::default()
        };
        let mut by_cpus: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (tid, counters) in &after.by_tid {
            let then = before.by_tid.get(tid);
            let Some(did) = counters.since(then, interval_ns) else {
                used.unread += 1;
                continue;
            };
            used.threads += 1;
            used.began += usize::from(then.is_none());
            let (run, wait, slices) = did.sched.unwrap_or_default();
            if did.sched.is_some() {
                add(&mut used.run_ns, run);
                add(&mut used.wait_ns, wait);
                add(&mut used.slices, slices);
                // The lower tid of equals: the order of the map is not one.
                let key = |(tid, run): (HostTid, u64)| (run, std::cmp::Reverse(tid));
                if used
                    .busiest
                    .is_none_or(|busiest| key((*tid, run)) > key(busiest))
                {
                    used.busiest = Some((*tid, run));
                }
            }
            if let Some((own, forced)) = did.switches {
                add(&mut used.voluntary, own);
                add(&mut used.involuntary, forced);
            }
            if let Some(allowed) = &counters.allowed {
                let sums = by_cpus.entry(allowed).or_default();
                *sums = (sums.0.saturating_add(run), sums.1.saturating_add(wait));
            }
        }
        used.ended = before
            .by_tid
            .keys()
            .filter(|tid| !after.by_tid.contains_key(tid))
            .count();
        used.by_affinity = by_cpus
            .into_iter()
            .filter_map(|(list, (run_ns, wait_ns))| {
                let cpus = CpuSet::parse(list).filter(|cpus| !cpus.is_empty())?;
                Some(AffinityUse {
                    cpus,
                    run_ns,
                    wait_ns,
                })
            })
            .collect();
        used
    }

    /// Together with what they did in the interval right behind this one: more readings see more of
    /// threads that do not live long.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        for (sum, more) in [
            (&mut self.run_ns, next.run_ns),
            (&mut self.wait_ns, next.wait_ns),
            (&mut self.slices, next.slices),
            (&mut self.voluntary, next.voluntary),
            (&mut self.involuntary, next.involuntary),
        ] {
            if let Some(more) = more {
                add(sum, more);
            }
        }
        for more in next.by_affinity {
            match self
                .by_affinity
                .iter_mut()
                .find(|one| one.cpus == more.cpus)
            {
                Some(one) => {
                    one.run_ns = one.run_ns.saturating_add(more.run_ns);
                    one.wait_ns = one.wait_ns.saturating_add(more.wait_ns);
                }
                None => self.by_affinity.push(more),
            }
        }
        self.busiest = match (self.busiest, next.busiest) {
            (Some((tid, run)), Some((same, more))) if tid == same => Some((tid, run + more)),
            (Some(one), Some(other)) if one.1 >= other.1 => Some(one),
            (one, other) => other.or(one),
        };
        Self {
            threads: next.threads,
            began: self.began + next.began,
            ended: self.ended + next.ended,
            unread: next.unread,
            ..self
        }
    }
}

fn add(sum: &mut Option<u64>, more: u64) {
    *sum = Some(sum.unwrap_or(0).saturating_add(more));
}

#[cfg(test)]
#[path = "tasks_tests.rs"]
mod tests;
