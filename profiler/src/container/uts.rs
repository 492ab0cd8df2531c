//! The hostname of a UTS namespace, read without leaving our own.

use nix::sched::{CloneFlags, setns};
use nix::sys::utsname::uname;
use std::io;
use std::os::fd::BorrowedFd;
use std::thread;

/// The hostname inside the UTS namespace that `ns` (an open `/proc/PID/ns/uts`) is. Needs
/// CAP_SYS_ADMIN there. The calling thread's namespace is never changed: a thread of its own
/// enters, asks and ends. Container-chosen text.
pub fn hostname_in(ns: BorrowedFd<'_>) -> io::Result<String> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("uts".into())
            .spawn_scoped(scope, || {
                setns(ns, CloneFlags::CLONE_NEWUTS)?;
                Ok(uname()?.nodename().to_string_lossy().into_owned())
            })?
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that asks for a hostname died")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn a_file_that_is_no_uts_namespace_is_an_error() {
        let file = File::open("/proc/self/status").expect("procfs is mounted");
        assert!(hostname_in(file.as_fd()).is_err());
    }

    #[test]
    fn our_own_namespace_answers_with_our_own_hostname_or_not_permitted() {
        let here = File::open("/proc/self/ns/uts").expect("procfs is mounted");
        let own = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("procfs is mounted");
        match hostname_in(here.as_fd()) {
            Ok(name) => assert_eq!(name, own.trim_end()),
            Err(refused) => assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
