//! Jitdumps: what a JIT says of its code, and when. `jit-PID.dump`, of which it maps a page with PROT_EXEC
//! so that a profiler sees where it is (V8 `--perf-prof`, LLVM, libperf-jvmti, Wasmtime, .NET, PHP …).
//!
//! ```text
//!  a sample of a process with a dump ─▶ Waiting ─┐ the oldest, up to its time
//!                 its dump ─▶ parse ─▶ Timeline ─┴▶ words: addresses become functions ─▶ Stacks
//! ```
//! Stacks are counted by places, whenever they were sampled, and an address of generated code means another
//! place at another time. So before a stack is counted, its addresses that a dump knows are replaced by the
//! functions that were there at its time: no mapping is made of them, no address space is left when one
//! is replaced, and functions of one name are one place in all processes. Memory follows the names, the
//! pieces of code that are there at one time, and a bounded number of samples that wait
//! ([decision 0010](../../../docs/decisions/0010-jitdump-by-time.md)).

mod code;
mod dump;
mod find;
mod note;
mod parse;
mod settle;
mod timeline;
mod waiting;
mod words;

pub(crate) use code::{CodeName, CodeNames};
pub use note::{JitDumpNote, Timeless};
pub(crate) use parse::Header;
pub use parse::JitDumpError;
pub(crate) use settle::Jits;
pub use settle::{JitDumpOptions, RecordingClock};
pub(crate) use timeline::{Timeline, Times};
pub(crate) use words::name_in;

use crate::image::ImageId;

/// Index of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DumpId(pub(crate) u32);

/// The mapping by which a process shows where its dump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// First address of the mapping.
    pub(crate) start: u64,
    /// One past its last.
    pub(crate) end: u64,
    /// The dump.
    pub(crate) image: ImageId,
    /// The pid in its name: the process's, as it sees itself.
    pub(crate) pid: u32,
}

/// The pid of `jit-PID.dump`; `None` for any other path. Where the file lies is the JIT's choice.
pub(crate) fn pid_of(path: &[u8]) -> Option<u32> {
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let name = path.rsplit(|byte| *byte == b'/').next()?;
    let digits = name.strip_prefix(b"jit-")?.strip_suffix(b".dump")?;
    // `parse` would take a sign.
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_known_by_its_name_wherever_it_lies() {
        let some: [&[u8]; 4] = [
            b"/tmp/jit-17.dump",
            b"jit-17.dump",
            b"/root/.debug/jit/llvm-x/jit-17.dump",
            b"/tmp/jit-17.dump (deleted)",
        ];
        assert!(some.iter().all(|path| pid_of(path) == Some(17)));
        let none: [&[u8]; 8] = [
            b"/tmp/jit-.dump",
            b"/tmp/jit-+17.dump",
            b"/tmp/jit-17.dump.so",
            b"/tmp/jit-17x.dump",
            b"/tmp/myjit-17.dump",
            b"/tmp/jit-17.dump/x",
            b"/tmp/jit-99999999999.dump",
            b"",
        ];
        assert!(none.iter().all(|path| pid_of(path).is_none()));
    }
}
