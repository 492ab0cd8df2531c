//! A path resolved below a directory as if that were the root, by the kernel or, before 5.6, by hand.

use super::statx::{self, Freshness};
use super::{FileError, FileKind};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

/// What to do when the last component of a path is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// Follow it, below the same root: images and debug files.
    Follow,
    /// Refuse it: files that a target wrote for us, such as perf maps.
    Refuse,
}

/// Who resolves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// `openat2(2)`, and [`Self::Walk`] where the kernel has none.
    Kernel,
    /// One component at a time, refusing every link.
    Walk,
}

/// Renames and mounts anywhere on the host make the kernel give up on a path with `..` in it
/// (EAGAIN); somebody who renames without end must not keep us here.
const ATTEMPTS_MAX: usize = 32;

/// Holds (`O_PATH`) what `path` leads to when `root` is the root directory. Absolute links and `..`
/// stay below it. May be anything, a link included: the caller looks at its kind.
pub(super) fn hold_below(
    root: BorrowedFd<'_>,
    path: &Path,
    last: LastLink,
    resolver: Resolver,
) -> Result<OwnedFd, FileError> {
    if resolver == Resolver::Walk {
        return walk(root, path);
    }
    let mut flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    if last == LastLink::Refuse {
        // With O_PATH this holds the link itself, whose kind then says so.
        flags |= OFlag::O_NOFOLLOW;
    }
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 0..ATTEMPTS_MAX {
        match openat2(root, path, how) {
            Ok(fd) => return Ok(fd),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // ENOSYS: before 5.6. EPERM: a seccomp filter older than openat2; an O_PATH open
            // has no other reason to say it, and the walk allows less, never more.
            Err(Errno::ENOSYS | Errno::EPERM) => return walk(root, path),
            Err(errno) => return Err(FileError::from_io(path, errno.into())),
        }
    }
    Err(FileError::from_io(path, Errno::EAGAIN.into()))
}

/// No link is followed, so `..` is the directory that we came from: which is held, so that nobody
/// can move it from under us.
fn walk(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, FileError> {
    let mut way: Vec<OwnedFd> = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                way.pop();
            }
            Component::Normal(name) => {
                let here = way.last().map_or(root, AsFd::as_fd);
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let next = openat(here, name, flags, Mode::empty())
                    .map_err(|errno| FileError::from_io(path, errno.into()))?;
                let stat = statx::of_fd(next.as_fd(), Freshness::Cached)
                    .map_err(|source| FileError::from_io(path, source))?;
                if stat.kind == FileKind::Symlink {
                    return Err(FileError::LinkRefused {
                        path: path.to_path_buf(),
                    });
                }
                way.push(next);
            }
        }
    }
    way.pop().ok_or_else(|| FileError::NotRegular {
        path: path.to_path_buf(),
        kind: FileKind::Directory,
    })
}
