//! The numbers that must not be swapped: host and namespace pids, addresses, cgroup and namespace ids.

use std::fmt;

/// Process id (thread-group id) in the host's initial pid namespace: finds `/proc/PID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPid(pub u32);

/// Thread id in the host's initial pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostTid(pub u32);

/// Process id in the innermost pid namespace of its process (last column of `NStgid:` in
/// `/proc/PID/status`): names files such as `/tmp/perf-PID.map` inside a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NsPid(pub u32);

/// A cgroup's kernfs id: the inode number of its directory in the hierarchy that perf_event lives
/// in (the v1 `perf_event` mount where there is one, else cgroup v2). 1 is the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupId(pub u64);

/// Inode number of a mount namespace (`/proc/PID/ns/mnt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MntNs(pub u64);

/// An instruction address in the address space of a process (AVMA) or of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodeAddr(pub u64);

/// The GNU build id of an ELF image: at most 20 bytes (the kernel's `BUILD_ID_SIZE_MAX`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildId {
    len: u8,
    bytes: [u8; BuildId::MAX_BYTES],
}

impl BuildId {
    /// Longest build id that the kernel reports (`include/linux/buildid.h`).
    pub const MAX_BYTES: usize = 20;

    /// `None` for an empty id and for one longer than [`Self::MAX_BYTES`].
    pub fn new(id: &[u8]) -> Option<Self> {
        if id.is_empty() || id.len() > Self::MAX_BYTES {
            return None;
        }
        let mut bytes = [0; Self::MAX_BYTES];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self {
            len: id.len() as u8,
            bytes,
        })
    }

    /// The id's own bytes, without padding.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.len))
            .unwrap_or(&self.bytes)
    }

    /// Whether `other` is the same id, the shorter one zero-padded: the kernel pads ids below 20
    /// bytes in old records and reports length 20.
    pub fn matches(&self, other: &BuildId) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

impl fmt::Display for BuildId {
    /// Lower-case hexadecimal, two digits a byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_shows_its_own_bytes_and_matches_its_padded_twin() {
        let short = BuildId::new(&[0xab, 0x01]).expect("two bytes are a build id");
        let mut padded = [0; 20];
        padded[..2].copy_from_slice(&[0xab, 0x01]);
        let padded = BuildId::new(&padded).expect("twenty bytes are a build id");
        assert_eq!(short.to_string(), "ab01");
        assert!(short.matches(&padded));
        assert_eq!(BuildId::new(&[]), None);
        assert_eq!(BuildId::new(&[0; 21]), None);
    }
}
