//! What the events of a recording are attached to: CPUs, a cgroup, tasks.

use super::LiveError;
use super::config::{Config, Target};
use super::events::Attachment;
use super::gate::Scope;
use super::procfs;
use crate::HostPid;
use std::fs::File;
use std::path::Path;

/// What the events are attached to, kept open for CPUs that come later.
pub(crate) enum Attached {
    Cpu,
    Cgroup(File),
    Tasks(Vec<u32>),
    TaskFromExec(u32),
}

impl Attached {
    /// To what the target says; `command` is held until its exec.
    pub(crate) fn to(config: &Config, command: Option<HostPid>) -> Result<Self, LiveError> {
        Ok(match (&config.target, command) {
            (Target::Host, _) => Self::Cpu,
            (Target::Cgroup(directory), _) => {
                Self::Cgroup(File::open(directory).map_err(|source| LiveError::Cgroup {
                    directory: directory.clone(),
                    source,
                })?)
            }
            (Target::Processes(pids), _) => {
                for pid in pids {
                    if procfs::start_ticks(Path::new("/proc"), *pid).is_none() {
                        return Err(LiveError::NoProcess { pid: *pid });
                    }
                }
                Self::Tasks(tasks_of(pids))
            }
            (Target::Command, Some(pid)) => Self::TaskFromExec(pid.0),
            (Target::Command, None) => return Err(LiveError::NoTasks),
        })
    }

    /// To its tasks as they are now, for a CPU that came later.
    pub(crate) fn again(&self, config: &Config) -> Self {
        match (self, &config.target) {
            (_, Target::Processes(pids)) => Self::Tasks(tasks_of(pids)),
            (Self::TaskFromExec(tid), _) => Self::Tasks(tasks_of(&[HostPid(*tid)])),
            (Self::Tasks(tids), _) => Self::Tasks(
                tids.first()
                    .map(|tid| tasks_of(&[HostPid(*tid)]))
                    .unwrap_or_default(),
            ),
            _ => Self::Cpu,
        }
    }

    pub(crate) fn attachments(&self) -> Vec<Attachment<'_>> {
        match self {
            Self::Cpu => vec![Attachment::Cpu],
            Self::Cgroup(directory) => vec![Attachment::Cgroup(directory)],
            Self::Tasks(tids) => tids.iter().map(|tid| Attachment::Task(*tid)).collect(),
            Self::TaskFromExec(tid) => vec![Attachment::TaskFromExec(*tid)],
        }
    }

    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::Cpu => Scope::System,
            Self::Cgroup(_) => Scope::Cgroup,
            Self::Tasks(_) => Scope::OtherProcess,
            Self::TaskFromExec(_) => Scope::OwnProcess,
        }
    }

    /// What tracks processes: the whole CPU where the target is a cgroup, since a container's first
    /// process begins outside its cgroup.
    pub(crate) fn tracking_attachments(&self) -> Vec<Attachment<'_>> {
        match self {
            Self::Cgroup(_) => vec![Attachment::Cpu],
            Self::TaskFromExec(tid) => vec![Attachment::Task(*tid)],
            _ => self.attachments(),
        }
    }
}

/// All threads of `pids` and of their descendants.
fn tasks_of(pids: &[HostPid]) -> Vec<u32> {
    let proc_root = Path::new("/proc");
    let family = procfs::with_descendants(proc_root, pids).unwrap_or_else(|_| pids.to_vec());
    family
        .into_iter()
        .flat_map(|pid| procfs::threads(proc_root, pid).unwrap_or_default())
        .map(|tid| tid.0)
        .collect()
}
