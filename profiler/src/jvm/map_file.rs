//! The file in which a JVM writes the names of its code.

use super::Jvm;
use crate::files::TargetRoot;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The place of a JVM's map, as it was before the JVM was asked: what was not there is not left there.
#[derive(Debug)]
pub struct MapFile {
    tmp: OwnedFd,
    name: String,
    was_there: bool,
}

impl MapFile {
    /// Looks at a living JVM's. `None` when it is gone, or has no /tmp.
    pub fn of(jvm: &Jvm) -> Option<Self> {
        let name = format!("perf-{}.map", jvm.ns_pid().ok()?.0);
        let root = TargetRoot::of_process(jvm.pid).ok()?;
        let tmp = root.open_directory(Path::new("/tmp")).ok()?;
        let was_there = fstatat(&tmp, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW).is_ok();
        Some(Self {
            tmp,
            name,
            was_there,
        })
    }

    /// Removes what the JVM wrote for us; the process may have ended.
    pub fn remove_ours(self) {
        let found = fstatat(&self.tmp, self.name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        let is_regular = found.is_ok_and(|found| {
            SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
        });
        if is_regular && !self.was_there {
            // Its container may have been quicker.
            let _ = unlinkat(&self.tmp, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
