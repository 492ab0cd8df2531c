//! A process's view of files, pinned: its root directory and the mount namespace it lies in.

use super::below::{Resolver, hold_below};
use super::held::open_proc_dir;
use super::statx::{self, Freshness};
use super::{FileError, FileKind, HeldFile, LastLink};
use crate::{HostPid, MntNs};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A pin on a process's view of files. Outlives the process and its mount namespace: the root
/// directory alone would keep the root mount, but not the tmpfs and volumes mounted in it; the
/// namespace's descriptor keeps them all (and so the file systems, until it is dropped).
#[derive(Debug)]
pub struct TargetRoot {
    root: OwnedFd,
    /// Never read: holding it is what keeps the mounts.
    _mnt_ns: OwnedFd,
    uts_ns: Option<OwnedFd>,
    identity: RootIdentity,
}

/// What tells one view of files from another: processes for which it is equal share a pin. Numbers
/// of namespaces and mounts are used again, so it holds only while one of them is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RootIdentity {
    /// The mount namespace.
    pub mnt_ns: MntNs,
    /// Device of the root directory, major part.
    pub dev_major: u32,
    /// Device of the root directory, minor part.
    pub dev_minor: u32,
    /// Inode of the root directory.
    pub inode: u64,
    /// Mount that the root directory lies in; unknown before Linux 5.8.
    pub mount_id: Option<u64>,
}

/// How often a process that changes its mount namespace meanwhile is looked at again.
const ATTEMPTS_MAX: usize = 8;

const DIRECTORY: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);
const NAMESPACE: OFlag = OFlag::O_RDONLY.union(OFlag::O_CLOEXEC);

/// The mount namespace of `pid`: one `stat`, nothing is kept. Also takes a thread's id.
pub fn mnt_ns_of(pid: HostPid) -> io::Result<MntNs> {
    std::fs::metadata(format!("/proc/{}/ns/mnt", pid.0)).map(|found| MntNs(found.ino()))
}

impl RootIdentity {
    /// Looks at `pid` without pinning: to find the pin that is already there.
    pub fn of_process(pid: HostPid) -> Result<Self, FileError> {
        let proc_dir = open_proc_dir(pid)?;
        let look = |name| {
            statx::of_path_at(proc_dir.as_fd(), name)
                .map_err(|source| FileError::from_proc(pid, &proc_path(pid, name), source))
        };
        let root = look(c"root")?;
        Ok(Self::new(MntNs(look(c"ns/mnt")?.inode), root))
    }

    fn new(mnt_ns: MntNs, root: statx::Stat) -> Self {
        Self {
            mnt_ns,
            dev_major: root.dev_major,
            dev_minor: root.dev_minor,
            inode: root.inode,
            mount_id: root.mount_id,
        }
    }
}

impl TargetRoot {
    /// Pins what `pid` sees. Needs CAP_SYS_PTRACE for another user's process. Does not block.
    pub fn of_process(pid: HostPid) -> Result<Self, FileError> {
        let proc_dir = open_proc_dir(pid)?;
        for _ in 0..ATTEMPTS_MAX {
            let pinned = Self::pin(&proc_dir, "root").map_err(|(name, source)| {
                FileError::from_proc(pid, &proc_path(pid, name), source)
            })?;
            let now = statx::of_path_at(proc_dir.as_fd(), c"ns/mnt")
                .map_err(|source| FileError::from_proc(pid, &proc_path(pid, c"ns/mnt"), source))?;
            // Namespace and root belong together only if nobody called setns(2) in between.
            if pinned.mnt_ns() == MntNs(now.inode) {
                return Ok(pinned);
            }
        }
        Err(FileError::Unsettled { pid })
    }

    /// Pins our own view: of the calling thread.
    pub fn host() -> Result<Self, FileError> {
        let path = Path::new("/proc/thread-self");
        let io = |source| FileError::Io {
            path: path.to_path_buf(),
            source,
        };
        let proc_dir = open(path, DIRECTORY, Mode::empty()).map_err(|errno| io(errno.into()))?;
        Self::pin(&proc_dir, "/").map_err(|(_, source)| io(source))
    }

    /// `root` is looked up in `proc_dir` unless it is absolute. An error names what was opened.
    fn pin(
        proc_dir: &OwnedFd,
        root: &'static str,
    ) -> Result<Self, (&'static std::ffi::CStr, io::Error)> {
        let ns = |name: &'static std::ffi::CStr| {
            openat(proc_dir, name, NAMESPACE, Mode::empty())
                .map_err(|errno| (name, io::Error::from(errno)))
        };
        let stat = |fd: &OwnedFd, name| {
            statx::of_fd(fd.as_fd(), Freshness::Cached).map_err(|source| (name, source))
        };
        let mnt_ns = ns(c"ns/mnt")?;
        // A kernel without CONFIG_UTS_NS has none.
        let uts_ns = match ns(c"ns/uts") {
            Err((_, error)) if error.raw_os_error() == Some(libc::ENOENT) => None,
            answer => Some(answer?),
        };
        let root = openat(proc_dir, root, DIRECTORY, Mode::empty())
            .map_err(|errno| (c"root", errno.into()))?;
        let identity = RootIdentity::new(
            MntNs(stat(&mnt_ns, c"ns/mnt")?.inode),
            stat(&root, c"root")?,
        );
        Ok(Self {
            root,
            _mnt_ns: mnt_ns,
            uts_ns,
            identity,
        })
    }

    /// The pinned mount namespace.
    pub fn mnt_ns(&self) -> MntNs {
        self.identity.mnt_ns
    }

    /// The UTS namespace (host name) that the process was in; `None` on kernels without them.
    pub fn uts_ns(&self) -> Option<BorrowedFd<'_>> {
        self.uts_ns.as_ref().map(AsFd::as_fd)
    }

    /// What tells this view from others.
    pub fn root_identity(&self) -> RootIdentity {
        self.identity
    }

    /// Holds the regular file that `path` names inside. Links, `..` and absolute paths resolve
    /// below this root as they do for the target, except that magic links (`/proc/1/root`) are
    /// refused. Kernels before 5.6 cannot resolve so: there, every link on the way is refused.
    ///
    /// Waits for whoever serves the directories on the way: wrap it in [`super::within`].
    pub fn open(&self, path: &Path, last: LastLink) -> Result<HeldFile, FileError> {
        self.open_by(path, last, Resolver::Kernel)
    }

    /// Holds (`O_PATH`) the directory that `path` names inside, resolved as [`Self::open`] does.
    pub(crate) fn open_directory(&self, path: &Path) -> Result<OwnedFd, FileError> {
        let fd = hold_below(self.root.as_fd(), path, LastLink::Follow, Resolver::Kernel)?;
        let found = statx::of_fd(fd.as_fd(), Freshness::Cached)
            .map_err(|source| FileError::from_io(path, source))?;
        if found.kind == FileKind::Directory {
            return Ok(fd);
        }
        Err(FileError::NotFound {
            path: path.to_path_buf(),
        })
    }

    /// `dir`, a directory of this host that the user chose, as if it were a target's root: an image
    /// that was exported, a cache. The way to it is followed as it is for us.
    pub fn of_directory(dir: &Path) -> Result<Self, FileError> {
        let root = open(dir, DIRECTORY, Mode::empty())
            .map_err(|errno| FileError::from_io(dir, errno.into()))?;
        let found = statx::of_fd(root.as_fd(), Freshness::Cached)
            .map_err(|source| FileError::from_io(dir, source))?;
        let own = Self::host()?;
        let identity = RootIdentity::new(own.mnt_ns(), found);
        Ok(Self {
            root,
            identity,
            ..own
        })
    }

    /// `dir` as if it were a target's root.
    #[cfg(test)]
    pub(super) fn test_root(dir: &Path) -> Self {
        Self::of_directory(dir).expect("a directory")
    }

    pub(super) fn open_by(
        &self,
        path: &Path,
        last: LastLink,
        resolver: Resolver,
    ) -> Result<HeldFile, FileError> {
        let fd = hold_below(self.root.as_fd(), path, last, resolver)?;
        HeldFile::regular(fd, path.to_path_buf())
    }
}

fn proc_path(pid: HostPid, name: &std::ffi::CStr) -> std::path::PathBuf {
    format!("/proc/{}/{}", pid.0, name.to_string_lossy()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_and_the_host_are_the_same_view() {
        let own = HostPid(std::process::id());
        let pin = TargetRoot::of_process(own).expect("we are allowed to look at ourselves");
        let host = TargetRoot::host().expect("our own root");
        assert_eq!(pin.root_identity(), host.root_identity());
        assert_eq!(
            pin.root_identity(),
            RootIdentity::of_process(own).expect("identity")
        );
        assert_eq!(pin.mnt_ns(), mnt_ns_of(own).expect("one stat"));
        let link = std::fs::read_link("/proc/self/ns/mnt").expect("the link");
        assert_eq!(link.to_string_lossy(), format!("mnt:[{}]", pin.mnt_ns().0));
        assert!(pin.uts_ns().is_some());
    }

    #[test]
    fn a_chosen_directory_is_a_root_and_a_file_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("x"), "x").expect("writes");
        std::os::unix::fs::symlink("/x", dir.path().join("link")).expect("a link");
        let root = TargetRoot::of_directory(dir.path()).expect("a directory");
        let open = |path: &str| root.open(Path::new(path), LastLink::Follow);
        assert!(open("/x").is_ok() && open("/link").is_ok());
        assert!(matches!(
            open("/etc/passwd"),
            Err(FileError::NotFound { .. })
        ));
        let file = dir.path().join("x");
        assert!(matches!(
            TargetRoot::of_directory(&file),
            Err(FileError::NotFound { .. })
        ));
    }

    #[test]
    fn a_process_that_never_was_is_gone() {
        // Pids end at 2^22 (PID_MAX_LIMIT).
        let nobody = HostPid(1 << 30);
        assert!(
            matches!(TargetRoot::of_process(nobody), Err(FileError::Gone { pid }) if pid == nobody)
        );
        assert!(matches!(
            RootIdentity::of_process(nobody),
            Err(FileError::Gone { .. })
        ));
        assert!(matches!(
            HeldFile::mapped(nobody, 0..4096),
            Err(FileError::Gone { .. })
        ));
        assert!(mnt_ns_of(nobody).is_err());
    }
}
