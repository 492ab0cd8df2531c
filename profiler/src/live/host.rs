//! Which host this is and which kernel it runs: to tell whether a recording was made here.

use super::clock;
use super::procfs::PROC;
use crate::BuildId;
use std::path::Path;

/// The kernel's notes, as it maps them (Documentation/ABI/testing/sysfs-kernel-notes).
const NOTES: &str = "/sys/kernel/notes";
/// `NT_GNU_BUILD_ID` (elf(5)).
const BUILD_ID_NOTE: u32 = 3;

/// This host's name, as `uname -n` prints it.
pub fn hostname() -> Option<String> {
    let name = std::fs::read_to_string(Path::new(PROC).join("sys/kernel/hostname")).ok()?;
    Some(name.trim_end().to_owned())
}

/// The build id of the running kernel.
pub fn kernel_build_id() -> Option<BuildId> {
    build_id_in(&std::fs::read(NOTES).ok()?)
}

/// `CLOCK_MONOTONIC` now, in nanoseconds: what the records of a live recording are stamped with, and
/// roughly what perf's default clock says.
pub fn monotonic_ns() -> u64 {
    clock::monotonic_ns()
}

/// The build id among ELF notes: `{u32 name bytes, u32 value bytes, u32 type, name, value}`, name and
/// value padded to 4 bytes.
pub(super) fn build_id_in(mut notes: &[u8]) -> Option<BuildId> {
    loop {
        let (header, rest) = notes.split_first_chunk::<12>()?;
        let word = |at: usize| {
            let bytes = header.get(at..)?.first_chunk::<4>()?;
            Some(u32::from_ne_bytes(*bytes))
        };
        let (name_len, value_len) = (word(0)? as usize, word(4)? as usize);
        let padded = |len: usize| len.checked_next_multiple_of(4);
        let (name, rest) = (rest.get(..name_len)?, rest.get(padded(name_len)?..)?);
        let value = rest.get(..value_len)?;
        if word(8)? == BUILD_ID_NOTE && name == b"GNU\0" {
            return BuildId::new(value);
        }
        notes = rest.get(padded(value_len)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(name: &[u8], kind: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [name.len() as u32, value.len() as u32, kind] {
            bytes.extend(word.to_ne_bytes());
        }
        for part in [name, value] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes_and_every_truncation_is_none() {
        let id = [0xab; 20];
        let mut notes = note(b"Linux\0", 0x101, &[0; 6]);
        notes.extend(note(b"GNU\0", 3, &id));
        assert_eq!(build_id_in(&notes), BuildId::new(&id));
        for len in 0..notes.len() {
            assert_eq!(build_id_in(&notes[..len]), None, "{len} bytes");
        }
        assert_eq!(build_id_in(&[255; 64]), None);
    }
}
