//! The file in which a JVM writes the names of its code.

use super::{Jvm, JvmError};
use crate::files::TargetRoot;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The place of a JVM's map, as it was before the JVM was asked: what was not there is not left there.
#[derive(Debug)]
pub struct MapFile {
    tmp: OwnedFd,
    name: String,
    before: Option<Found>,
}

/// What tells a file from one that was written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    inode: u64,
    len_bytes: i64,
    changed: (i64, i64),
}

impl From<FileStat> for Found {
    fn from(stat: FileStat) -> Self {
        Self {
            inode: stat.st_ino,
            len_bytes: stat.st_size,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl MapFile {
    /// Looks at a living JVM's. What is there and is no regular file is an error: a JVM opens whatever it
    /// finds, holding a lock that its compilers need (`CodeCache::write_perf_map`).
    pub fn of(jvm: &Jvm) -> Result<Self, JvmError> {
        let name = format!("perf-{}.map", jvm.ns_pid()?.0);
        let root = TargetRoot::of_process(jvm.pid);
        let tmp = root.and_then(|root| root.open_directory(Path::new("/tmp")));
        let tmp = tmp.map_err(|error| JvmError::NoPlace(error.to_string()))?;
        Self::at(tmp, name)
    }

    fn at(tmp: OwnedFd, name: String) -> Result<Self, JvmError> {
        let mut map = Self {
            tmp,
            name,
            before: None,
        };
        map.before = match map.look() {
            Ok(stat) if is_regular(&stat) => Some(stat.into()),
            Ok(stat) => {
                return Err(JvmError::MapPlace {
                    path: map.path(),
                    kind: kind_of(&stat).into(),
                });
            }
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(JvmError::system(map.path(), errno)),
        };
        Ok(map)
    }

    /// Where it is, as its container sees it.
    pub fn path(&self) -> String {
        format!("/tmp/{}", self.name)
    }

    /// Whether it was written since then.
    pub(crate) fn is_new(&self) -> bool {
        self.look()
            .is_ok_and(|stat| is_regular(&stat) && self.before != Some(stat.into()))
    }

    /// Removes what the JVM wrote for us; the process may have ended.
    pub fn remove_ours(&self) {
        if self.before.is_none() && self.look().is_ok_and(|stat| is_regular(&stat)) {
            // Its container may have been quicker.
            let _ = unlinkat(&self.tmp, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }

    fn look(&self) -> nix::Result<FileStat> {
        fstatat(&self.tmp, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn is_regular(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFREG
}

fn kind_of(stat: &FileStat) -> &'static str {
    match kind(stat) {
        SFlag::S_IFLNK => "a symbolic link",
        SFlag::S_IFIFO => "a FIFO",
        SFlag::S_IFDIR => "a directory",
        SFlag::S_IFSOCK => "a socket",
        _ => "a device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_was_not_there_is_removed_and_what_was_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let map = |name: &str| {
            let tmp = fs::File::open(dir.path()).expect("ours");
            MapFile::at(tmp.into(), name.into())
        };
        fs::write(dir.path().join("old"), "1").expect("ours");
        let (old, new) = (map("old").expect("a file"), map("new").expect("nothing"));
        assert!(!old.is_new() && !new.is_new(), "nobody wrote");
        for name in ["old", "new"] {
            fs::write(dir.path().join(name), "1000 10 f\n").expect("ours");
        }
        assert!(old.is_new() && new.is_new());
        old.remove_ours();
        new.remove_ours();
        assert!(dir.path().join("old").exists());
        assert!(!dir.path().join("new").exists());
    }

    #[test]
    fn a_jvm_is_not_sent_into_what_is_no_file() {
        let dir = tempfile::tempdir().expect("a directory");
        nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("ours");
        symlink("fifo", dir.path().join("link")).expect("ours");
        fs::create_dir(dir.path().join("dir")).expect("ours");
        for (name, kind) in [
            ("fifo", "a FIFO"),
            ("link", "a symbolic link"),
            ("dir", "a directory"),
        ] {
            let tmp = fs::File::open(dir.path()).expect("ours");
            let error = MapFile::at(tmp.into(), name.into()).expect_err("no file");
            assert_eq!(
                error.to_string(),
                format!("/tmp/{name} in its container is {kind}")
            );
        }
    }
}
