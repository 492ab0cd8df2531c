//! Why a target's file could not be held or read: facts, no sentences.

use crate::HostPid;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What went wrong with a file of a target. Every `path` is the one that was asked for, as the
/// target sees it; never one to open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// No such file, or a directory on the way is missing or no directory.
    #[error("no file `{}`", path.display())]
    NotFound {
        /// What was looked for.
        path: PathBuf,
    },
    /// The process has exited, or has no memory and files left (a zombie).
    #[error("process {} is gone", pid.0)]
    Gone {
        /// Who was asked.
        pid: HostPid,
    },
    /// The process changed its mount namespace each time it was looked at.
    #[error("process {} keeps changing its mount namespace", pid.0)]
    Unsettled {
        /// Who was asked.
        pid: HostPid,
    },
    /// Something other than a regular file: opening it could block or do harm.
    #[error("`{}` is {kind}, not a regular file", path.display())]
    NotRegular {
        /// What was looked at.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// A link on the way that is not followed: a magic link of a proc file system, or one link too
    /// many. Before Linux 5.6 this is any link on the way.
    #[error("`{}` leads through a link that is not followed", path.display())]
    LinkRefused {
        /// What was looked for.
        path: PathBuf,
    },
    /// The way led out of the target's root.
    #[error("`{}` leads out of the target's root", path.display())]
    Escapes {
        /// What was looked for.
        path: PathBuf,
    },
    /// Larger than the reader takes. Nothing was read.
    #[error("`{}` has {size_bytes} bytes, the limit is {limit_bytes}", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
        /// The most that would have been read.
        limit_bytes: u64,
    },
    /// Asked for bytes past the file's end, as a damaged header does. Nothing was read.
    #[error(
        "`{}` has {size_bytes} bytes, {len_bytes} were asked for at offset {offset_bytes}",
        path.display()
    )]
    OutOfBounds {
        /// Which file.
        path: PathBuf,
        /// First byte asked for.
        offset_bytes: u64,
        /// How many were asked for.
        len_bytes: u64,
        /// The file's size when it was opened.
        size_bytes: u64,
    },
    /// The file became shorter after it was opened.
    #[error("`{}` shrank while it was read: {size_bytes} bytes became {end_bytes}", path.display())]
    Shrunk {
        /// Which file.
        path: PathBuf,
        /// Its size when it was opened.
        size_bytes: u64,
        /// Where it ends now.
        end_bytes: u64,
    },
    /// No answer in time; the thread that waits has been left behind.
    #[error("no answer within {} ms: {what}", deadline.as_millis())]
    TimedOut {
        /// What was being done.
        what: String,
        /// How long it was given.
        deadline: Duration,
    },
    /// The system said no.
    #[error("`{}` cannot be read", path.display())]
    Io {
        /// What was looked at.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl FileError {
    /// The error for a failed look at `path` below a target's root.
    pub(super) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Self::NotFound { path },
            Some(libc::ELOOP) => Self::LinkRefused { path },
            Some(libc::EXDEV) => Self::Escapes { path },
            _ => Self::Io { path, source },
        }
    }

    /// The error for a failed look at `path` below `/proc/PID`: a process that is gone answers
    /// ENOENT for its directory and ESRCH below it.
    pub(super) fn from_proc(pid: HostPid, path: &Path, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) => Self::Gone { pid },
            _ => Self::Io {
                path: path.to_path_buf(),
                source,
            },
        }
    }

    /// Whether it failed for want of a descriptor: nothing is wrong with the file.
    pub fn is_out_of_files(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
            }
            _ => false,
        }
    }

    /// Whether the right to look is what was missing.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::EACCES | libc::EPERM))
            }
            _ => false,
        }
    }

    /// What a user can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } => match source.raw_os_error() {
                Some(libc::EACCES | libc::EPERM) => Some(
                    "other users' processes need CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and \
                     CAP_CHECKPOINT_RESTORE: run as root",
                ),
                Some(libc::EMFILE) => Some("raise the limit on open files: `ulimit -n 65536`"),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file: the only one that is ever opened.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link that was not to be followed.
    Symlink,
    /// A named pipe: opening it can wait for ever.
    Fifo,
    /// A socket.
    Socket,
    /// A character device: opening it can rewind a tape.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// An anonymous inode, or a kind unknown to this program.
    Other,
}

impl FileKind {
    /// From the type bits of `st_mode`.
    pub(super) fn from_mode(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Self::Regular,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFCHR => Self::CharDevice,
            libc::S_IFBLK => Self::BlockDevice,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regular => "a regular file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Fifo => "a named pipe",
            Self::Socket => "a socket",
            Self::CharDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Other => "a special file",
        })
    }
}
