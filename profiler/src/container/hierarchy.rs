//! The cgroup hierarchy that perf_event lives in: where it is mounted, its directories, their ids.

use super::mountinfo::{self, CgroupMount};
use crate::{CgroupId, HostPid};
use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Deeper cgroups are not walked into: the path of one this deep is beyond what any runtime makes.
const MAX_DEPTH: usize = 128;

/// Which kind of hierarchy perf_event lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HierarchyKind {
    /// A cgroup v1 mount with the `perf_event` controller.
    PerfEventV1,
    /// cgroup v2, where perf_event is always on.
    Unified,
}

/// No cgroup hierarchy that perf_event could use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HierarchyError {
    /// The mount table could not be read.
    #[error("cannot read {}", path.display())]
    MountTable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Neither cgroup2 nor v1 perf_event is mounted.
    #[error("no cgroup2 and no v1 perf_event mount in {}", path.display())]
    NotMounted {
        /// The mount table that was searched.
        path: PathBuf,
    },
}

impl HierarchyError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            HierarchyError::MountTable { .. } => Some("is /proc mounted?"),
            HierarchyError::NotMounted { .. } => Some(
                "mount one with `mount -t cgroup2 none /sys/fs/cgroup`, or let the container that ctrflame runs in see the host's /sys/fs/cgroup",
            ),
        }
    }
}

/// The hierarchy whose directories `PERF_FLAG_PID_CGROUP` takes and whose inodes are the ids in
/// samples. Cgroup paths are relative to its root, with a leading slash, as in `/proc/PID/cgroup`.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    kind: HierarchyKind,
    fs_root: PathBuf,
    mount: CgroupMount,
    others: Vec<CgroupMount>,
}

impl Hierarchy {
    /// The one of this host: v1 `perf_event` where it is mounted, else cgroup v2 (perf's own rule,
    /// `cgroupfs_find_mountpoint`).
    pub fn discover() -> Result<Self, HierarchyError> {
        Self::discover_with_root(Path::new("/"))
    }

    /// As [`Self::discover`], of the host whose filesystem lies below `fs_root`.
    pub fn discover_with_root(fs_root: &Path) -> Result<Self, HierarchyError> {
        let path = fs_root.join("proc/self/mountinfo");
        let text = fs::read_to_string(&path).map_err(|source| HierarchyError::MountTable {
            path: path.clone(),
            source,
        })?;
        Self::from_mounts(&text, fs_root).ok_or(HierarchyError::NotMounted { path })
    }

    /// As [`Self::discover_with_root`], from the text of a `mountinfo`.
    pub fn from_mounts(mountinfo: &str, fs_root: &Path) -> Option<Self> {
        let mut mounts = mountinfo::cgroup_mounts(mountinfo);
        let best = mounts
            .iter()
            .enumerate()
            // A mount of the whole hierarchy beats a bind mount of a part of it.
            .min_by_key(|(_, mount)| {
                (
                    !mount.has_perf_event(),
                    !mount.unified,
                    mount.subtree != "/",
                )
            })
            .filter(|(_, mount)| mount.has_perf_event() || mount.unified)?
            .0;
        let mount = mounts.remove(best);
        Some(Self {
            kind: if mount.unified {
                HierarchyKind::Unified
            } else {
                HierarchyKind::PerfEventV1
            },
            fs_root: fs_root.to_owned(),
            mount,
            others: mounts,
        })
    }

    /// Which kind it is.
    pub fn kind(&self) -> HierarchyKind {
        self.kind
    }

    /// Where it is mounted, as the host names the place.
    pub fn mount_point(&self) -> &Path {
        &self.mount.mount_point
    }

    /// Whether other hierarchies are mounted beside it, so that a container may be in those only.
    pub fn is_hybrid(&self) -> bool {
        !self.others.is_empty()
    }

    /// Below which directory the host's filesystem lies: `/`, except for frozen trees.
    pub(crate) fn fs_root(&self) -> &Path {
        &self.fs_root
    }

    /// The directory of a cgroup, whether it exists or not. `None` where the mount does not reach
    /// it: the path climbs with `..`, or only a part of the hierarchy is mounted and it is outside.
    pub fn dir_of(&self, path: &str) -> Option<PathBuf> {
        let dir = self.mount.dir_of(path)?;
        Some(below(&self.fs_root, &dir))
    }

    /// The id of a cgroup: its directory's inode number.
    pub fn id_of(&self, path: &str) -> io::Result<CgroupId> {
        let dir = self.dir_of(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(CgroupId(fs::metadata(dir)?.ino()))
    }

    /// Whether the cgroup exists now.
    pub fn exists(&self, path: &str) -> bool {
        self.dir_of(path).is_some_and(|dir| dir.is_dir())
    }

    /// A cgroup as a user may write it — with or without a leading slash, or as a directory below
    /// any cgroup mount (`/sys/fs/cgroup/unified/…`, `/sys/fs/cgroup/cpu/…`) — as a path of this
    /// hierarchy. Says nothing about whether it exists.
    pub fn path_of(&self, written: &str) -> String {
        let written = written.trim_end_matches('/');
        let mounts = std::iter::once(&self.mount).chain(&self.others);
        // The longest mount point wins: `/sys/fs/cgroup` may itself be one.
        let below = mounts
            .filter_map(|mount| {
                let point = mount.mount_point.to_str()?;
                let below = written.strip_prefix(point)?;
                let whole = below.is_empty() || below.starts_with('/');
                whole.then_some((point.len(), mount.subtree.as_str(), below))
            })
            .max_by_key(|(len, ..)| *len);
        match below {
            Some((_, "/", "")) => "/".to_owned(),
            Some((_, "/", below)) => below.to_owned(),
            Some((_, subtree, below)) => format!("{subtree}{below}"),
            None => format!("/{}", written.trim_start_matches('/')),
        }
    }

    /// Every cgroup that exists: id and path, each before its children, siblings by name. One that
    /// vanishes meanwhile, or may not be read, is left out.
    pub fn walk(&self) -> impl Iterator<Item = (CgroupId, String)> + use<> {
        let top = self.top();
        let root = fs::metadata(&top).ok().map(|metadata| Entry {
            id: CgroupId(metadata.ino()),
            path: self.mount.subtree.clone(),
            depth: 0,
            dir: top,
        });
        Walk {
            pending: root.into_iter().collect(),
        }
    }

    /// The processes directly in a cgroup, as host pids. 0 stands for one outside of our own pid
    /// namespace. Empty where the cgroup is gone.
    pub fn processes_in(&self, path: &str) -> Vec<HostPid> {
        let Some(dir) = self.dir_of(path) else {
            return Vec::new();
        };
        // cgroup.procs of a threaded v2 cgroup is EOPNOTSUPP; its threads are then what there is.
        fs::read_to_string(dir.join("cgroup.procs"))
            .or_else(|_| fs::read_to_string(dir.join("cgroup.threads")))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.trim().parse().ok().map(HostPid))
            .collect()
    }

    /// The mount point, below the filesystem root that was given.
    fn top(&self) -> PathBuf {
        below(&self.fs_root, &self.mount.mount_point)
    }
}

/// `path` (absolute, as the host names it) below `fs_root`.
pub(crate) fn below(fs_root: &Path, path: &Path) -> PathBuf {
    fs_root.join(path.strip_prefix("/").unwrap_or(path))
}

struct Entry {
    id: CgroupId,
    path: String,
    dir: PathBuf,
    depth: usize,
}

struct Walk {
    /// Last one first.
    pending: Vec<Entry>,
}

impl Iterator for Walk {
    type Item = (CgroupId, String);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.pending.pop()?;
        if entry.depth < MAX_DEPTH {
            let mut children = children_of(&entry);
            children.sort_by(|a, b| b.path.cmp(&a.path));
            self.pending.append(&mut children);
        }
        Some((entry.id, entry.path))
    }
}

fn children_of(parent: &Entry) -> Vec<Entry> {
    let Ok(listing) = fs::read_dir(&parent.dir) else {
        return Vec::new();
    };
    let prefix = parent.path.trim_end_matches('/');
    listing
        .filter_map(|child| {
            let child = child.ok()?;
            // The type comes with the listing, so a link is never followed.
            child.file_type().ok().filter(fs::FileType::is_dir)?;
            let name = child.file_name();
            Some(Entry {
                id: CgroupId(child.ino()),
                path: format!("{prefix}/{}", name.to_string_lossy()),
                dir: child.path(),
                depth: parent.depth + 1,
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "hierarchy_tests.rs"]
mod tests;
