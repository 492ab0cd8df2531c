//! Names of generated code as they were at several times: a machine that throws code away writes maps
//! that have forgotten it.

use crate::jitmap::{JitMap, JitMapError, JitMapLimits};
use crate::name::READ_DEADLINE;
use crate::source::{MapFile, MapOwner, map_path, open_map};
use profiler::HostPid;
use profiler::files::{FileError, TargetRoot, within};
use profiler::live;

/// What HotSpot's compilers work in, by its names in the map.
const COMPILER_BUFFERS: [&[u8]; 3] = [
    b"C1 temporary CodeBuffer",
    b"Compile::scratch_buffer",
    b"JVMCI Compiler CodeBuffer",
];

/// The perf maps that a living JVM wrote so far, as one.
pub struct CodeSnapshot {
    pub(crate) host_pid: HostPid,
    /// When the first of them was read, on `CLOCK_MONOTONIC`.
    pub(crate) first_ns: u64,
    pub(crate) map: JitMap,
}

impl CodeSnapshot {
    /// Reads the map of a process now, in its own view of files and under its own pid. Waits for
    /// whoever serves its files, but not long.
    pub fn take(pid: HostPid) -> Result<Self, FileError> {
        within(READ_DEADLINE, "perf map", move || Self::read(pid))?
    }

    fn read(host_pid: HostPid) -> Result<Self, FileError> {
        let root = TargetRoot::of_process(host_pid)?;
        let identity = live::identity(host_pid).ok_or(FileError::Gone { pid: host_pid })?;
        let path = map_path(identity.ns_pid);
        let file = match open_map(&root, identity.ns_pid, MapOwner::Uid(identity.uid)) {
            MapFile::Found { file, .. } => file,
            MapFile::Absent => return Err(FileError::NotFound { path }),
            MapFile::Refused(error) => return Err(error),
        };
        let map = JitMap::read(file, &JitMapLimits::default());
        let mut map =
            map.map_err(|JitMapError::Read { source, .. }| FileError::Io { path, source })?;
        // They come and go where other code was, and nobody runs in them.
        map.forget(|name| COMPILER_BUFFERS.contains(&name));
        Ok(Self {
            host_pid,
            first_ns: live::monotonic_ns(),
            map,
        })
    }

    /// This one, and where it says nothing, the older one of the same process.
    pub fn over(self, older: Self) -> Self {
        Self {
            host_pid: self.host_pid,
            first_ns: older.first_ns,
            map: self.map.over(older.map),
        }
    }

    /// Whether it is of the process that had this pid and ran its program since then.
    pub(crate) fn is_of(&self, pid: HostPid, since_ns: u64) -> bool {
        self.host_pid == pid && since_ns <= self.first_ns
    }
}
