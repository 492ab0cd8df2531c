//! Whether anything of a target still runs.

use super::config::Target;
use super::procfs::{self, PROC, start_ticks};
use crate::HostPid;
use std::path::{Path, PathBuf};

/// A target's ending, looked at rather than waited for.
pub(crate) enum TargetWatch {
    /// The host does not end.
    Never,
    /// A cgroup's directory in the perf_event hierarchy.
    Cgroup(PathBuf),
    /// Processes with their start times: a reused pid is another process.
    Processes(Vec<(HostPid, Option<u64>)>),
}

impl TargetWatch {
    pub(crate) fn new(target: &Target) -> Self {
        match target {
            Target::Host | Target::Command => Self::Never,
            Target::Cgroup(directory) => Self::Cgroup(directory.clone()),
            Target::Processes(pids) => Self::Processes(
                pids.iter()
                    .map(|pid| {
                        let leader = procfs::leader_of(Path::new(PROC), *pid).unwrap_or(*pid);
                        (leader, start_ticks(Path::new(PROC), leader))
                    })
                    .collect(),
            ),
        }
    }

    /// Whether nothing of it runs any more. A cgroup has ended when it is gone, or when cgroup v2
    /// says that neither it nor one below it has a process; v1 does not say.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::Never => false,
            Self::Cgroup(directory) => {
                match std::fs::read_to_string(directory.join("cgroup.events")) {
                    Ok(events) => events.lines().any(|line| line == "populated 0"),
                    Err(_) => !directory.exists(),
                }
            }
            Self::Processes(pids) => pids.iter().all(|(pid, started)| {
                let proc_root = Path::new(PROC);
                start_ticks(proc_root, *pid) != *started || procfs::is_zombie(proc_root, *pid)
            }),
        }
    }
}
