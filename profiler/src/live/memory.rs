//! A process's memory as it is now, read only.

use super::procfs::PROC;
use crate::HostPid;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// An open `/proc/PID/mem` (proc_pid_mem(5)). It stays that process's when its pid is used again, and reads nothing
/// when the process has ended or execed.
#[derive(Debug)]
pub struct ProcessMemory(File);

impl ProcessMemory {
    /// Refused without the right to trace the process (ptrace(2), `PTRACE_MODE_ATTACH_FSCREDS`).
    pub fn open(pid: HostPid) -> io::Result<Self> {
        File::open(Path::new(PROC).join(pid.0.to_string()).join("mem")).map(Self)
    }

    /// All of `bytes` from an address on, or an error.
    pub fn read_at(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory_is_read_and_what_is_not_mapped_is_an_error() {
        let memory = ProcessMemory::open(HostPid(std::process::id())).expect("ours");
        let known = *b"as it is now";
        let mut read = [0; 12];
        let address = known.as_ptr() as u64;
        memory.read_at(address, &mut read).expect("mapped");
        assert_eq!(read, known);
        assert!(memory.read_at(0, &mut read).is_err());
        assert!(ProcessMemory::open(HostPid(u32::MAX)).is_err());
    }
}
