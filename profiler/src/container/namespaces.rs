//! The namespaces of a process, and which of them are the host's.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a namespace isolates; the words are the names in `/proc/PID/ns` (namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamespaceKind {
    /// The root of what cgroups it sees (Linux 4.6).
    Cgroup,
    /// System V IPC, POSIX message queues.
    Ipc,
    /// Mounts.
    Mnt,
    /// Network devices, addresses, ports.
    Net,
    /// Process ids.
    Pid,
    /// User and group ids, capabilities.
    User,
    /// Hostname.
    Uts,
}

impl NamespaceKind {
    /// All of them, by name.
    pub const ALL: [Self; 7] = [
        Self::Cgroup,
        Self::Ipc,
        Self::Mnt,
        Self::Net,
        Self::Pid,
        Self::User,
        Self::Uts,
    ];

    /// Its name in `/proc/PID/ns`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Mnt => "mnt",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::User => "user",
            Self::Uts => "uts",
        }
    }
}

impl fmt::Display for NamespaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A namespace's file in nsfs, which tells two of them apart as long as both exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct File {
    dev: u64,
    inode: u64,
}

/// The namespaces of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// In the order of [`NamespaceKind::ALL`].
    files: [Option<File>; 7],
}

impl Namespaces {
    /// Those of the process whose `/proc/PID` this is. What may not be read, or is unknown to the
    /// kernel, is missing.
    pub(crate) fn of_dir(dir: &Path) -> Self {
        let dir = dir.join("ns");
        Self {
            files: NamespaceKind::ALL.map(|kind| {
                let file = fs::metadata(dir.join(kind.word())).ok()?;
                Some(File {
                    dev: file.dev(),
                    inode: file.ino(),
                })
            }),
        }
    }

    /// The host's: those of pid 1, and where these may not be read, our own.
    pub fn of_host() -> Self {
        Self::of_host_in(Path::new("/proc"))
    }

    pub(crate) fn of_host_in(proc_root: &Path) -> Self {
        let init = Self::of_dir(&proc_root.join("1"));
        let own = Self::of_dir(&proc_root.join("self"));
        let mut files = init.files;
        for (file, own) in files.iter_mut().zip(own.files) {
            *file = file.or(own);
        }
        Self { files }
    }

    /// The number that `ls -l /proc/PID/ns` and lsns(8) show; `None` where it may not be read.
    pub fn inode(&self, kind: NamespaceKind) -> Option<u64> {
        self.file(kind).map(|file| file.inode)
    }

    /// Whether this namespace is the same one in `other`; `None` where one of them is unknown.
    pub fn shares(&self, kind: NamespaceKind, other: &Self) -> Option<bool> {
        Some(self.file(kind)? == other.file(kind)?)
    }

    fn file(&self, kind: NamespaceKind) -> Option<File> {
        self.files.get(kind as usize).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_links() {
        let own = Namespaces::of_dir(Path::new("/proc/self"));
        for kind in NamespaceKind::ALL {
            let link = fs::read_link(Path::new("/proc/self/ns").join(kind.word()));
            let link = link.expect("our own may be read");
            let inode = own.inode(kind).expect("our own may be read");
            assert_eq!(link.to_string_lossy(), format!("{kind}:[{inode}]"));
        }
    }

    #[test]
    fn shared_is_said_of_equal_ones_and_nothing_of_unknown_ones() {
        let file = |inode| Some(File { dev: 4, inode });
        let (mut a, mut b) = (Namespaces::default(), Namespaces::default());
        (a.files[3], b.files[3]) = (file(7), file(7));
        (a.files[4], b.files[4]) = (file(7), file(8));
        a.files[0] = file(7);
        assert_eq!(a.shares(NamespaceKind::Net, &b), Some(true));
        assert_eq!(a.shares(NamespaceKind::Pid, &b), Some(false));
        assert_eq!(a.shares(NamespaceKind::Cgroup, &b), None);
        assert_eq!(b.inode(NamespaceKind::Cgroup), None);
        assert_eq!(b.inode(NamespaceKind::Pid), Some(8));
    }

    #[test]
    fn a_process_that_is_gone_has_unknown_ones() {
        assert_eq!(
            Namespaces::of_dir(Path::new("/proc/0")),
            Namespaces::default()
        );
    }
}
