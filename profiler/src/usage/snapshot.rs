//! The counters of many containers and of the host, read once.

use super::cpu_set::CpuSet;
use super::group::{Dir, Group, Mounts, children};
use super::host::HostCounters;
use super::level::{CpuCounters, LevelCounters, Pressure, cpu_of_v2};
use super::tasks::Tasks;
use super::text::{number, read, value};
use crate::HostPid;
use crate::container::HierarchyError;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What is read of each thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskDetail {
    /// Nothing: threads are only counted.
    Count,
    /// Time on CPUs and waiting for one (one small file for each thread).
    Waiting,
    /// Switches and affinity too (a second file, which costs the kernel four times as much).
    Switches,
}

/// Whether the cgroups beside a container and beside its ancestors are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Siblings {
    /// For [`super::Entitlement`] and its neighbours.
    Read,
    /// Those that are no container's ancestors are left out.
    Skip,
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Of threads.
    pub tasks: TaskDetail,
    /// Of cgroups.
    pub siblings: Siblings,
}

impl Detail {
    /// For many containers, every second.
    pub const QUICK: Detail = Detail {
        tasks: TaskDetail::Waiting,
        siblings: Siblings::Skip,
    };
    /// For a verdict on a few.
    pub const FULL: Detail = Detail {
        tasks: TaskDetail::Switches,
        siblings: Siblings::Read,
    };
}

/// A cgroup's memory now, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In use, page cache included.
    pub used_bytes: u64,
    /// Its own limit; `None` without one.
    pub limit_bytes: Option<u64>,
}

/// A container's counters that are not of the CPU controller.
#[derive(Clone, Debug)]
pub(crate) struct GroupCounters {
    pub(crate) group: Group,
    pub(crate) cpu: Option<CpuCounters>,
    pub(crate) pressure: Option<Pressure>,
    pub(crate) cpuset: Option<CpuSet>,
    pub(crate) memory: Option<Memory>,
    pub(crate) task_limit: Option<u64>,
    pub(crate) tasks: Tasks,
    pub(crate) task_count: Option<u64>,
    pub(crate) is_frozen: Option<bool>,
}

/// All that was read at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// `CLOCK_MONOTONIC`, when the reading began.
    pub at_ns: u64,
    /// The host.
    pub host: HostCounters,
    /// By cgroup path in the CPU controller's hierarchy: containers, what is above them, and with
    /// [`Siblings::Read`] what is beside those.
    pub(crate) levels: BTreeMap<String, LevelCounters>,
    /// By the path that was asked for.
    pub(crate) groups: BTreeMap<String, GroupCounters>,
    /// CPU time of the root cgroup.
    pub(crate) root_cpu: Option<CpuCounters>,
}

/// Reads counters.
#[derive(Clone, Debug)]
pub struct Reader {
    mounts: Mounts,
}

impl Reader {
    /// Of this host.
    pub fn discover() -> Result<Self, HierarchyError> {
        Self::discover_with_root(Path::new("/"))
    }

    /// Of the host whose filesystem lies below `fs_root`.
    pub fn discover_with_root(fs_root: &Path) -> Result<Self, HierarchyError> {
        let path = fs_root.join("proc/self/mountinfo");
        let text = fs::read_to_string(&path).map_err(|source| HierarchyError::MountTable {
            path: path.clone(),
            source,
        })?;
        let mounts = Mounts::new(&text, fs_root);
        if mounts.is_empty() {
            return Err(HierarchyError::NotMounted { path });
        }
        Ok(Self { mounts })
    }

    /// A container, or any cgroup with all below it, as [`crate::container::Container`] has it;
    /// `processes`: some that are in it, which tell where it is in hierarchies where its path is
    /// another. Look it up once and keep it.
    pub fn group(&self, cgroup_path: &str, processes: &[HostPid]) -> Group {
        Group::find(&self.mounts, cgroup_path, processes)
    }

    /// Reads everything now.
    pub fn read<'a>(
        &self,
        groups: impl IntoIterator<Item = &'a Group>,
        detail: Detail,
    ) -> Snapshot {
        let at_ns = crate::live::monotonic_ns();
        let host = HostCounters::read(self.mounts.fs_root());
        let mut levels = BTreeMap::new();
        let groups = groups
            .into_iter()
            .map(|group| {
                self.read_levels(group, detail.siblings, &mut levels);
                let counters = self.read_group(group, detail.tasks);
                (group.cgroup_path.clone(), counters)
            })
            .collect();
        Snapshot {
            at_ns,
            host,
            levels,
            groups,
            root_cpu: self.cpu_of("/"),
        }
    }

    /// The threads of one container now, and when that was: for more readings in between, which
    /// [`super::TaskUse::then`] adds up.
    pub fn tasks(&self, group: &Group, detail: TaskDetail) -> (Tasks, u64) {
        let at_ns = crate::live::monotonic_ns();
        (Tasks::read(group, self.mounts.fs_root(), detail), at_ns)
    }

    fn read_group(&self, group: &Group, detail: TaskDetail) -> GroupCounters {
        let tasks = match detail {
            TaskDetail::Count => Tasks::default(),
            _ => Tasks::read(group, self.mounts.fs_root(), detail),
        };
        let file = |dir: &Option<Dir>, name: &str| Some(dir.as_ref()?.reached.join(name));
        let count = |name| file(&group.pids, name).and_then(|path| number(&path));
        GroupCounters {
            cpu: cpu(group.cpuacct.as_ref(), group.unified.as_ref()),
            pressure: file(&group.unified, "cpu.pressure").and_then(|path| Pressure::read(&path)),
            cpuset: cpuset(group.cpuset.as_ref()),
            memory: group.memory.as_ref().and_then(|dir| memory(&dir.reached)),
            task_limit: count("pids.max"),
            task_count: count("pids.current"),
            is_frozen: group
                .freezer
                .as_ref()
                .and_then(|dir| is_frozen(&dir.reached)),
            tasks,
            group: group.clone(),
        }
    }

    fn read_levels(
        &self,
        group: &Group,
        siblings: Siblings,
        levels: &mut BTreeMap<String, LevelCounters>,
    ) {
        let (Some(path), Some(mount)) = (&group.cpu_path, self.mounts.of("cpu")) else {
            return;
        };
        let mut read = |path: &str| {
            if !levels.contains_key(path)
                && let Some(dir) = self.mounts.dir(mount, path)
            {
                let mut counters = LevelCounters::read(dir.shown, &dir.reached);
                if siblings == Siblings::Read {
                    counters.cpu = counters.cpu.or_else(|| self.cpu_of(path));
                    let dir = |mount| self.mounts.dir(mount, path);
                    counters.cpuset = cpuset(self.mounts.of("cpuset").and_then(dir).as_ref());
                }
                levels.insert(path.to_owned(), counters);
            }
        };
        let mut parent = String::new();
        for level in path.split('/').filter(|part| !part.is_empty()) {
            if siblings == Siblings::Read {
                let dir = self.mounts.dir(mount, &format!("{parent}/"));
                for child in dir.iter().flat_map(|dir| children(&dir.reached)) {
                    if let Some(name) = child.file_name().and_then(|name| name.to_str()) {
                        read(&format!("{parent}/{name}"));
                    }
                }
            }
            parent = format!("{parent}/{level}");
            read(&parent);
        }
    }

    /// CPU time of a cgroup that has the same path in each hierarchy.
    fn cpu_of(&self, path: &str) -> Option<CpuCounters> {
        let dir = |mount| self.mounts.dir(mount, path);
        let cpuacct = self.mounts.of("cpuacct").and_then(dir);
        cpu(
            cpuacct.as_ref(),
            self.mounts.unified().and_then(dir).as_ref(),
        )
    }
}

impl Snapshot {
    /// The threads of a container.
    pub fn tasks_of(&self, cgroup_path: &str) -> Option<&Tasks> {
        self.groups.get(cgroup_path).map(|group| &group.tasks)
    }
}

/// v1 `cpuacct` is exact to the nanosecond, its parts to a tick; v2 has all three in one file.
fn cpu(cpuacct: Option<&Dir>, unified: Option<&Dir>) -> Option<CpuCounters> {
    /// `cpuacct.stat` counts in ticks, which `USER_HZ` makes 100 a second on every architecture but
    /// alpha and ia64.
    const TICK_NS: u64 = 10_000_000;
    let of_v1 = cpuacct.and_then(|dir| {
        let total_ns = number(&dir.reached.join("cpuacct.usage"))?;
        let stat = read(&dir.reached.join("cpuacct.stat")).unwrap_or_default();
        let ns = |key| value(&stat, key).map(|ticks| ticks.saturating_mul(TICK_NS));
        Some(CpuCounters {
            total_ns,
            user_ns: ns("user"),
            system_ns: ns("system"),
        })
    });
    of_v1.or_else(|| cpu_of_v2(&read(&unified?.reached.join("cpu.stat"))?))
}

/// The CPUs that a cgroup may use: its own file, or that of the nearest cgroup above with the
/// controller.
fn cpuset(dir: Option<&Dir>) -> Option<CpuSet> {
    let dir = dir?;
    let above: Vec<PathBuf> = dir.reached.ancestors().map(Path::to_path_buf).collect();
    // cgroup paths are short, and above the mount there is no such file.
    above.iter().take(64).find_map(|dir| {
        let list = read(&dir.join("cpuset.cpus.effective"))
            .or_else(|| read(&dir.join("cpuset.effective_cpus")))
            .or_else(|| read(&dir.join("cpuset.cpus")))?;
        CpuSet::parse(&list).filter(|cpus| !cpus.is_empty())
    })
}

/// Whether a cgroup's tasks are stopped until somebody thaws them, by it or by a cgroup above (v1
/// cgroup-v1/freezer-subsystem.rst: THAWED, FREEZING, FROZEN; v2 `cgroup.events`).
fn is_frozen(dir: &Path) -> Option<bool> {
    match read(&dir.join("freezer.state")) {
        Some(state) => Some(state.trim() != "THAWED"),
        None => value(&read(&dir.join("cgroup.events"))?, "frozen").map(|frozen| frozen == 1),
    }
}

fn memory(dir: &Path) -> Option<Memory> {
    /// v1 writes "no limit" as the largest number of whole pages (`PAGE_COUNTER_MAX`).
    const NO_LIMIT: u64 = 1 << 62;
    let either = |v2: &str, v1: &str| number(&dir.join(v2)).or_else(|| number(&dir.join(v1)));
    Some(Memory {
        used_bytes: either("memory.current", "memory.usage_in_bytes")?,
        limit_bytes: either("memory.max", "memory.limit_in_bytes").filter(|max| *max < NO_LIMIT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::test_tree::TempTree;

    #[test]
    fn what_is_frozen_is_told_in_both_versions_and_not_known_without_a_freezer() {
        let tree = TempTree::new("usage-frozen");
        for (dir, file, text, expected) in [
            ("a", "freezer.state", "FROZEN\n", Some(true)),
            ("b", "freezer.state", "FREEZING\n", Some(true)),
            ("c", "freezer.state", "THAWED\n", Some(false)),
            ("d", "cgroup.events", "populated 1\nfrozen 1\n", Some(true)),
            ("e", "cgroup.events", "populated 1\nfrozen 0\n", Some(false)),
            ("f", "cgroup.events", "populated 1\n", None),
            ("g", "cpu.stat", "usage_usec 1\n", None),
        ] {
            tree.write(&format!("{dir}/{file}"), text);
            assert_eq!(is_frozen(&tree.root().join(dir)), expected, "{dir}");
        }
    }
}
