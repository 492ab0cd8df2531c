//! Whether anything of a target still runs.

use super::config::Target;
use super::procfs::{self, PROC, start_ticks};
use crate::HostPid;
use std::fs::File;
use std::io::Read;
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

    /// Whether nothing of it runs any more. A cgroup has ended when it is gone, or when neither it
    /// nor one below it has a process.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::Never => false,
            Self::Cgroup(directory) => {
                match std::fs::read_to_string(directory.join("cgroup.events")) {
                    Ok(events) => events.lines().any(|line| line == "populated 0"),
                    // The root and v1 have no such file.
                    Err(_) => !has_process(directory),
                }
            }
            Self::Processes(pids) => pids.iter().all(|(pid, started)| {
                let proc_root = Path::new(PROC);
                start_ticks(proc_root, *pid) != *started || procfs::is_zombie(proc_root, *pid)
            }),
        }
    }
}

/// Whether a process is in the cgroup or below it; also where that cannot be read.
fn has_process(directory: &Path) -> bool {
    let Ok(mut procs) = File::open(directory.join("cgroup.procs")) else {
        return directory.exists();
    };
    // One byte is enough: the kernel lists all processes otherwise.
    if procs.read(&mut [0]).is_ok_and(|read| read == 0) {
        let Ok(below) = std::fs::read_dir(directory) else {
            return directory.exists();
        };
        return below
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .any(|entry| has_process(&entry.path()));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_v1_cgroup_has_ended_when_no_process_is_left_in_it_or_below() {
        let v1 = tempfile::tempdir().expect("a temporary directory");
        let below = v1.path().join("init");
        std::fs::create_dir(&below).expect("a new directory");
        let procs = |of: &Path, text: &str| {
            std::fs::write(of.join("cgroup.procs"), text).expect("a new file");
        };
        let watch = TargetWatch::Cgroup(v1.path().to_owned());
        procs(v1.path(), "");
        procs(&below, "17\n");
        assert!(!watch.has_ended());
        procs(v1.path(), "4\n");
        procs(&below, "");
        assert!(!watch.has_ended());
        procs(v1.path(), "");
        assert!(watch.has_ended());
        drop(v1);
        assert!(watch.has_ended());
    }

    #[test]
    fn a_v2_cgroup_has_ended_when_it_is_not_populated() {
        let v2 = tempfile::tempdir().expect("a temporary directory");
        let events = |text: &str| {
            std::fs::write(v2.path().join("cgroup.events"), text).expect("a new file");
        };
        let watch = TargetWatch::Cgroup(v2.path().to_owned());
        events("populated 1\nfrozen 0\n");
        assert!(!watch.has_ended());
        events("populated 0\nfrozen 0\n");
        assert!(watch.has_ended());
    }
}
