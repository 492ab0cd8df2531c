//! One file of a target, held without being opened: nothing it is, and nobody who serves it, can stop us.

use super::statx::{self, Freshness};
use super::{BoundedFile, FileError, FileKind};
use crate::HostPid;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A regular file of a target, held by an `O_PATH` descriptor: kept as it is when it is deleted or
/// replaced and when its process and mount namespace are gone.
#[derive(Debug)]
pub struct HeldFile {
    fd: OwnedFd,
    /// What it was held by: for messages, never opened again.
    shown: PathBuf,
}

/// What tells one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Device number, major part, as `stat` has it: on overlayfs and btrfs not the one in
    /// `/proc/PID/maps`.
    pub dev_major: u32,
    /// Device number, minor part.
    pub dev_minor: u32,
    /// Inode number on that device.
    pub inode: u64,
    /// Length. May be out of date on FUSE and network file systems.
    pub size_bytes: u64,
    /// Owner, as a host uid.
    pub uid: u32,
    /// Last modification, nanoseconds since 1970.
    pub mtime_ns: u64,
}

impl HeldFile {
    /// Holds the very file that `pid` has mapped over `avma.start`, also when it is deleted or
    /// replaced under its path. Does not block. Needs CAP_CHECKPOINT_RESTORE (5.9) or
    /// CAP_SYS_ADMIN.
    ///
    /// `avma` is tried as it is first. A mapping event's range is often larger than what is left of
    /// it when the loader has mapped other segments over its end; then the mapping that contains
    /// `avma.start` now is taken.
    pub fn mapped(pid: HostPid, avma: Range<u64>) -> Result<Self, FileError> {
        let proc_dir = open_proc_dir(pid)?;
        let asked = format!("map_files/{:x}-{:x}", avma.start, avma.end);
        let shown = PathBuf::from(format!("/proc/{}/{asked}", pid.0));
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let fd = match openat(&proc_dir, asked.as_str(), flags, Mode::empty()) {
            Err(nix::errno::Errno::ENOENT) => {
                let now = mapping_at(&proc_dir, avma.start, pid, &shown)?;
                openat(&proc_dir, now.as_str(), flags, Mode::empty())
            }
            answer => answer,
        }
        .map_err(|errno| match errno {
            nix::errno::Errno::ESRCH => FileError::Gone { pid },
            _ => FileError::from_io(&shown, errno.into()),
        })?;
        Self::regular(fd, shown)
    }

    /// The same file, held once more.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            shown: self.shown.clone(),
        })
    }

    /// `fd`, if it is a regular file.
    pub(super) fn regular(fd: OwnedFd, shown: PathBuf) -> Result<Self, FileError> {
        let kind = statx::of_fd(fd.as_fd(), Freshness::Cached)
            .map_err(|source| FileError::from_io(&shown, source))?
            .kind;
        if kind != FileKind::Regular {
            return Err(FileError::NotRegular { path: shown, kind });
        }
        Ok(Self { fd, shown })
    }

    /// Device, inode, size, owner, time. Does not block, whoever serves the file.
    pub fn identity(&self) -> Result<FileIdentity, FileError> {
        let stat = statx::of_fd(self.fd.as_fd(), Freshness::Cached)
            .map_err(|source| FileError::from_io(&self.shown, source))?;
        Ok(FileIdentity {
            dev_major: stat.dev_major,
            dev_minor: stat.dev_minor,
            inode: stat.inode,
            size_bytes: stat.size_bytes,
            uid: stat.uid,
            mtime_ns: stat.mtime_ns,
        })
    }

    /// When it last changed, its content (mtime) or its owner, name or rights (ctime), whichever is
    /// later: nanoseconds since 1970. Nobody can set ctime back. Does not block.
    pub fn changed_ns(&self) -> Result<u64, FileError> {
        let stat = statx::of_fd(self.fd.as_fd(), Freshness::Cached)
            .map_err(|source| FileError::from_io(&self.shown, source))?;
        Ok(stat.mtime_ns.max(stat.ctime_ns))
    }

    /// Opens the file for reading at most `limit_bytes`; larger ones are refused unread. Waits for
    /// whoever serves the file system: wrap it in [`super::within`].
    pub fn open_regular(&self, limit_bytes: u64) -> Result<BoundedFile, FileError> {
        let held_size_bytes = self.identity()?.size_bytes;
        if held_size_bytes > limit_bytes {
            return Err(FileError::TooLarge {
                path: self.shown.clone(),
                size_bytes: held_size_bytes,
                limit_bytes,
            });
        }
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
        let reopen = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let fd = open(reopen.as_str(), flags, Mode::empty()).map_err(|errno| FileError::Io {
            path: self.shown.clone(),
            source: errno.into(),
        })?;
        BoundedFile::new(fd, self.shown.clone(), limit_bytes)
    }

    /// The path it was held by, as the target sees it: for messages, never to be opened.
    pub fn shown_path(&self) -> &Path {
        &self.shown
    }
}

/// `/proc/PID`, bound to this very process: when it is gone, what is below answers ESRCH or ENOENT
/// even if its number is used again.
pub(super) fn open_proc_dir(pid: HostPid) -> Result<OwnedFd, FileError> {
    let path = PathBuf::from(format!("/proc/{}", pid.0));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(&path, flags, Mode::empty())
        .map_err(|errno| FileError::from_proc(pid, &path, errno.into()))
}

/// The name below `/proc/PID` of the file mapping that contains `addr` now.
fn mapping_at(
    proc_dir: &OwnedFd,
    addr: u64,
    pid: HostPid,
    shown: &Path,
) -> Result<String, FileError> {
    let listed = format!("/proc/self/fd/{}/map_files", proc_dir.as_raw_fd());
    let entries =
        std::fs::read_dir(listed).map_err(|source| FileError::from_proc(pid, shown, source))?;
    let mut is_empty = true;
    for entry in entries {
        let entry = entry.map_err(|source| FileError::from_proc(pid, shown, source))?;
        is_empty = false;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if parse_range(name).is_some_and(|range| range.contains(&addr)) {
            return Ok(format!("map_files/{name}"));
        }
    }
    Err(if is_empty {
        // Its memory is gone: it has exited.
        FileError::Gone { pid }
    } else {
        FileError::NotFound {
            path: shown.to_path_buf(),
        }
    })
}

fn parse_range(name: &str) -> Option<Range<u64>> {
    let (start, end) = name.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}
