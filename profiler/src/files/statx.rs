#![allow(unsafe_code)] // statx(2) has no wrapper in nix, and fstat(2) would wait for a FUSE daemon.
//! One `statx(2)`: the only way to look at an inode without asking the file system's server.

use super::FileKind;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether the answer may be the one that the kernel has cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Never waits for a server (`AT_STATX_DONT_SYNC`); the size may be out of date on FUSE and
    /// network file systems, the kind and the inode cannot.
    Cached,
    /// What `stat(2)` does: may wait for a server.
    Current,
}

/// What is known of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) kind: FileKind,
    pub(super) dev_major: u32,
    pub(super) dev_minor: u32,
    pub(super) inode: u64,
    pub(super) size_bytes: u64,
    pub(super) uid: u32,
    /// In nanoseconds since 1970, as the next.
    pub(super) mtime_ns: u64,
    pub(super) ctime_ns: u64,
    /// Since Linux 5.8.
    pub(super) mount_id: Option<u64>,
}

// The kernel writes this much (include/uapi/linux/stat.h).
const _: () = assert!(size_of::<libc::statx>() == 256);

/// Looks at what `fd` holds; `O_PATH` is enough.
pub(super) fn of_fd(fd: BorrowedFd<'_>, freshness: Freshness) -> io::Result<Stat> {
    statx(fd, c"", freshness)
}

/// Looks at `path` below the directory `dir`, following links: for paths of ours, such as those in
/// a directory of `/proc`, never for a target's.
pub(super) fn of_path_at(dir: BorrowedFd<'_>, path: &CStr) -> io::Result<Stat> {
    statx(dir, path, Freshness::Cached)
}

fn statx(dir: BorrowedFd<'_>, path: &CStr, freshness: Freshness) -> io::Result<Stat> {
    let sync = match freshness {
        Freshness::Cached => libc::AT_STATX_DONT_SYNC,
        Freshness::Current => libc::AT_STATX_SYNC_AS_STAT,
    };
    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: `dir` is a live descriptor and `path` a NUL-terminated string, both borrowed for the
    // call; the kernel writes at most sizeof(struct statx) = 256 bytes (asserted above) to `found`.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_statx,
            dir.as_raw_fd(),
            path.as_ptr(),
            libc::AT_EMPTY_PATH | sync,
            libc::STATX_BASIC_STATS | libc::STATX_MNT_ID,
            found.as_mut_ptr(),
        )
    };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a struct of integers, zeroed above: initialised whatever the kernel filled in.
    let found = unsafe { found.assume_init() };
    Ok(Stat {
        kind: FileKind::from_mode(u32::from(found.stx_mode)),
        dev_major: found.stx_dev_major,
        dev_minor: found.stx_dev_minor,
        inode: found.stx_ino,
        size_bytes: found.stx_size,
        uid: found.stx_uid,
        mtime_ns: nanoseconds(&found.stx_mtime),
        ctime_ns: nanoseconds(&found.stx_ctime),
        mount_id: (found.stx_mask & libc::STATX_MNT_ID != 0).then_some(found.stx_mnt_id),
    })
}

/// Since 1970; what was before is 1970.
fn nanoseconds(time: &libc::statx_timestamp) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::from(time.tv_nsec);
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_statx_says_what_the_standard_library_says() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), b"seven b").expect("writes");
        let expected = file.as_file().metadata().expect("metadata");
        for freshness in [Freshness::Cached, Freshness::Current] {
            let stat = of_fd(file.as_file().as_fd(), freshness).expect("statx");
            assert_eq!(stat.kind, FileKind::Regular);
            assert_eq!(stat.size_bytes, 7);
            assert_eq!(stat.inode, expected.ino());
            assert_eq!(stat.uid, expected.uid());
            let nanoseconds = |sec: i64, nsec: i64| sec as u64 * 1_000_000_000 + nsec as u64;
            let (mtime, ctime) = (
                nanoseconds(expected.mtime(), expected.mtime_nsec()),
                nanoseconds(expected.ctime(), expected.ctime_nsec()),
            );
            assert_eq!((stat.mtime_ns, stat.ctime_ns), (mtime, ctime));
            assert_eq!(stat.dev_major, libc::major(expected.dev()));
            assert_eq!(stat.dev_minor, libc::minor(expected.dev()));
        }
    }

    #[test]
    fn a_missing_path_is_an_error() {
        let dir = std::fs::File::open("/").expect("the root");
        let error = of_path_at(dir.as_fd(), c"no/such/file").expect_err("there is none");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}
