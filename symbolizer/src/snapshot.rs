//! Names of generated code from before the end of the recording: a machine that throws code away writes
//! maps that have forgotten it, and a process's map may be removed as soon as it has ended.

use crate::jitmap::{JitMap, JitMapError, JitMapLimits, Lines};
use crate::name::READ_DEADLINE;
use crate::source::{MapFile, MapOwner, hold_map, map_path, open_map};
use crate::tasks::SpaceId;
use profiler::HostPid;
use profiler::files::{FileError, HeldFile, TargetRoot, within};
use profiler::live::{self, Identity};
use std::sync::Arc;

/// What HotSpot's compilers work in, by its names in the map.
const COMPILER_BUFFERS: [&[u8]; 3] = [
    b"C1 temporary CodeBuffer",
    b"Compile::scratch_buffer",
    b"JVMCI Compiler CodeBuffer",
];

/// The perf maps that a process wrote so far, as one.
pub struct CodeSnapshot {
    host_pid: HostPid,
    /// When the first of them was read, on `CLOCK_MONOTONIC`.
    first_ns: u64,
    pub(crate) map: JitMap,
}

/// A process that generated code which was sampled, and ends.
pub struct EndedGenerator {
    pub(crate) space: SpaceId,
    pub(crate) identity: Identity,
    pub(crate) root: Arc<TargetRoot>,
}

/// The perf map of a process that has ended, held: it stays what it was, also when it is removed.
pub struct HeldMap {
    pub(crate) space: SpaceId,
    pub(crate) file: HeldFile,
}

impl EndedGenerator {
    /// Holds its map, if it wrote one. Waits for whoever serves its files, but not long.
    pub fn hold_map(self) -> Option<HeldMap> {
        let Self {
            space,
            identity,
            root,
        } = self;
        let hold = move || hold_map(&root, identity.ns_pid, MapOwner::Uid(identity.uid));
        // What cannot be held is looked for again in the end, and its reason said then.
        let file = within(READ_DEADLINE, "perf map", hold).ok()?.ok()?;
        Some(HeldMap { space, file })
    }
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
        let map = JitMap::read(file, &JitMapLimits::default(), Lines::All);
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
