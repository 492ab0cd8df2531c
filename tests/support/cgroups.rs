//! The cgroup hierarchies that are mounted here: one for v2, one for each v1 mount, all of them on a hybrid host.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Mount points of all cgroup hierarchies, v1 and v2.
pub(crate) fn mounts() -> Vec<PathBuf> {
    fs::read_to_string("/proc/self/mounts")
        .expect("/proc is mounted")
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (point, kind) = (fields.next()?, fields.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(point))
        })
        .collect()
}

/// The directories that exist for cgroup `path` (absolute, as in `/proc/PID/cgroup`), one a hierarchy at most.
pub(crate) fn directories(path: &str) -> Vec<PathBuf> {
    mounts()
        .iter()
        .map(|mount| mount.join(path.trim_start_matches('/')))
        .filter(|dir| dir.is_dir())
        .collect()
}

/// Path of `pid` in the hierarchy that perf_event lives in: its v1 line in `/proc/PID/cgroup`, else the v2 line.
pub(crate) fn perf_path_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let with = |wanted: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            controllers
                .split(',')
                .any(|controller| controller == wanted)
                .then(|| path.to_owned())
        })
    };
    with("perf_event").or_else(|| with(""))
}

/// Removes the directories of cgroup `path`, and of its parents those that are empty then.
pub(crate) fn remove_empty(path: &str) {
    for mount in mounts() {
        let leaf = mount.join(path.trim_start_matches('/'));
        for dir in leaf.ancestors().take_while(|dir| *dir != mount) {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// A cgroup path that a test makes, removed again with those of its parents that were not there before.
#[derive(Debug)]
pub(crate) struct OwnCgroup {
    path: String,
    /// Leaf first; only directories that did not exist when this value was made.
    new_dirs: Vec<PathBuf>,
}

impl OwnCgroup {
    /// Remembers which directories of `path` exist. Creates none: the container runtime does that.
    pub(crate) fn plan(path: &str) -> Self {
        let new_dirs = mounts()
            .iter()
            .flat_map(|mount| {
                mount
                    .join(path.trim_start_matches('/'))
                    .ancestors()
                    .take_while(|dir| *dir != mount)
                    .map(Path::to_path_buf)
                    .collect::<Vec<_>>()
            })
            .filter(|dir| !dir.exists())
            .collect();
        Self {
            path: path.to_owned(),
            new_dirs,
        }
    }

    /// The path, absolute from the root of each hierarchy.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Removes what is there now and was not before; a directory stays while its last tasks are still leaving it, so this
    /// tries for two seconds. Gives back what it could not remove.
    pub(crate) fn remove(&mut self) -> Vec<PathBuf> {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            self.new_dirs
                .retain(|dir| fs::remove_dir(dir).is_err() && dir.exists());
            if self.new_dirs.is_empty() || Instant::now() > deadline {
                return std::mem::take(&mut self.new_dirs);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
