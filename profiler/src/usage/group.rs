//! Where a container's cgroup lies in each hierarchy: v1, v2, or both beside each other.

use super::text::read;
use crate::HostPid;
use crate::container::{
    CgroupMount, ProcCgroups, below, cgroup_mounts, containers_in, path_of_container,
};
use std::fs;
use std::path::{Path, PathBuf};

/// The cgroup hierarchies of a host.
#[derive(Clone, Debug)]
pub(crate) struct Mounts {
    fs_root: PathBuf,
    mounts: Vec<CgroupMount>,
}

/// A cgroup's directory: as the host names it, and as we reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dir {
    pub(crate) shown: PathBuf,
    pub(crate) reached: PathBuf,
}

impl Dir {
    /// Where a file in it is shown to be, if it is there.
    fn has(&self, file: &str) -> Option<PathBuf> {
        self.reached
            .join(file)
            .exists()
            .then(|| self.shown.join(file))
    }
}

impl Mounts {
    pub(crate) fn new(mountinfo: &str, fs_root: &Path) -> Self {
        let mut mounts = cgroup_mounts(mountinfo);
        // Of two mounts of one hierarchy the whole one is the better.
        mounts.sort_by_key(|mount| mount.subtree != "/");
        Self {
            fs_root: fs_root.to_owned(),
            mounts,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mounts.is_empty()
    }

    pub(crate) fn fs_root(&self) -> &Path {
        &self.fs_root
    }

    pub(crate) fn unified(&self) -> Option<&CgroupMount> {
        self.mounts.iter().find(|mount| mount.unified)
    }

    /// Where a controller lives: its v1 mount, else cgroup v2.
    pub(crate) fn of(&self, controller: &str) -> Option<&CgroupMount> {
        let v1 = self.mounts.iter().find(|mount| mount.has_v1(controller));
        v1.or_else(|| self.unified())
    }

    /// The directory of a cgroup, if it exists.
    pub(crate) fn dir(&self, mount: &CgroupMount, path: &str) -> Option<Dir> {
        let shown = mount.dir_of(path)?;
        let reached = below(&self.fs_root, &shown);
        reached.is_dir().then_some(Dir { shown, reached })
    }
}

/// A cgroup and all below it, found in every hierarchy: what [`super::Reader::read`] takes.
#[derive(Clone, Debug)]
pub struct Group {
    /// As it was asked for.
    pub cgroup_path: String,
    /// Its path in the CPU controller's hierarchy.
    pub(crate) cpu_path: Option<String>,
    pub(crate) cpu: Option<Dir>,
    pub(crate) cpuacct: Option<Dir>,
    pub(crate) unified: Option<Dir>,
    pub(crate) cpuset: Option<Dir>,
    pub(crate) memory: Option<Dir>,
    pub(crate) pids: Option<Dir>,
    pub(crate) freezer: Option<Dir>,
}

/// The files that a group's numbers come from, as the host names them; `None` for those that are
/// not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// CPU time.
    pub usage: Option<PathBuf>,
    /// PSI.
    pub pressure: Option<PathBuf>,
    /// Which CPUs it may run on.
    pub cpuset: Option<PathBuf>,
    /// The list of its threads.
    pub threads: Option<PathBuf>,
    /// Memory in use.
    pub memory: Option<PathBuf>,
    /// Whether it is frozen.
    pub frozen: Option<PathBuf>,
}

impl Group {
    /// `processes`: some that are in it, if they are known: they tell where it is in hierarchies in
    /// which its path is another.
    pub(crate) fn find(mounts: &Mounts, cgroup_path: &str, processes: &[HostPid]) -> Self {
        // 0: a process outside of our own pid namespace.
        let pid = processes.iter().find(|pid| pid.0 != 0);
        let told = pid.and_then(|pid| {
            let proc = mounts.fs_root.join("proc").join(pid.0.to_string());
            Some(ProcCgroups::parse(&read(&proc.join("cgroup"))?))
        });
        let place = |controller: Option<&str>| {
            let mount = match controller {
                Some(controller) => mounts.of(controller)?,
                None => mounts.unified()?,
            };
            let told = told
                .as_ref()
                .and_then(|told| told.path_in((!mount.unified).then_some(controller?)));
            let path = match told {
                Some(told) => own_path(cgroup_path, told)?,
                None => cgroup_path.to_owned(),
            };
            let dir = mounts.dir(mount, &path)?;
            Some((path, dir))
        };
        let dir = |controller| Some(place(Some(controller))?.1);
        let (cpu_path, cpu) = place(Some("cpu")).unzip();
        Self {
            cgroup_path: cgroup_path.to_owned(),
            cpu_path,
            cpu,
            cpuacct: dir("cpuacct"),
            unified: place(None).map(|(_, dir)| dir),
            cpuset: dir("cpuset"),
            memory: dir("memory"),
            pids: dir("pids"),
            freezer: dir("freezer"),
        }
    }

    /// Where its numbers come from.
    pub fn files(&self) -> Files {
        let file = |dir: &Option<Dir>, name| dir.as_ref().and_then(|dir| dir.has(name));
        Files {
            usage: file(&self.cpuacct, "cpuacct.usage").or_else(|| file(&self.unified, "cpu.stat")),
            pressure: file(&self.unified, "cpu.pressure"),
            cpuset: file(&self.cpuset, "cpuset.effective_cpus")
                .or_else(|| file(&self.cpuset, "cpuset.cpus.effective")),
            threads: file(&self.cpu, "tasks").or_else(|| file(&self.cpu, "cgroup.threads")),
            memory: file(&self.memory, "memory.usage_in_bytes")
                .or_else(|| file(&self.memory, "memory.current")),
            frozen: file(&self.freezer, "freezer.state")
                .or_else(|| file(&self.freezer, "cgroup.events")),
        }
    }

    /// The directories of the CPU controller's hierarchy from the group down.
    pub(crate) fn thread_dirs(&self) -> Vec<PathBuf> {
        /// More are no container's.
        const DIRS_MAX: usize = 4096;
        let mut dirs: Vec<PathBuf> = self.cpu.iter().map(|dir| dir.reached.clone()).collect();
        let mut at = 0;
        while let Some(dir) = dirs.get(at).filter(|_| dirs.len() < DIRS_MAX) {
            let children = children(dir);
            dirs.extend(children);
            at += 1;
        }
        dirs
    }
}

/// The cgroups directly below one.
pub(crate) fn children(dir: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    // A directory has a link for each one in it, its own `.`, and its name (kernfs_add_one()).
    if fs::metadata(dir).is_ok_and(|dir| dir.nlink() == 2) {
        return Vec::new();
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    dirs.sort();
    dirs
}

/// The path of a group in another hierarchy, where one of its processes is at `told`. `None` where it
/// has none of its own there.
fn own_path(cgroup_path: &str, told: &str) -> Option<String> {
    let is_below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    if cgroup_path == "/" || told.strip_prefix(cgroup_path).is_some_and(is_below) {
        return Some(cgroup_path.to_owned());
    }
    let wanted = containers_in(cgroup_path).pop()?;
    path_of_container(told, &wanted).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn a_group_is_where_its_process_is_and_as_far_up_as_it_is_its_own() {
        let docker = format!("/docker/{A}");
        let own = |told: &str| own_path(&docker, told);
        assert_eq!(own(&docker), Some(docker.clone()));
        assert_eq!(own(&format!("{docker}/init")), Some(docker.clone()));
        let scope = format!("/system.slice/docker-{A}.scope");
        assert_eq!(own(&format!("{scope}/init")), Some(scope));
        // The whole host is no container's.
        assert_eq!(own("/"), None);
        assert_eq!(own_path("/my", "/"), None);
        assert_eq!(own_path("/my", "/my/deep"), Some("/my".to_owned()));
        assert_eq!(own_path("/my", "/mymy"), None);
    }
}
