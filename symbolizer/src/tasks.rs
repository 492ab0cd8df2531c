//! Processes and threads as the records tell of them: who is who at this moment, and which address
//! space a sample of it belongs to.
//!
//! ```text
//!   thread (tid) ──▶ process (pid, since its exec) ──▶ mappings now
//!        │                    └──▶ space: those mappings that sampled stacks led through
//!        └──▶ name now
//! ```
//! A space is left and a new one begun whenever an address may change its meaning: at an exec, when
//! a mapping is replaced, when the pid is used again.

use crate::chain::{Part, entries};
use crate::context::ContextId;
use crate::gaps::{Gaps, Touched};
use crate::hash::FastMap;
use crate::image::ImageId;
use crate::jitdump::{DumpId, Marker};
use crate::maps::{Change, MapTable, Mapping};
use crate::pins::RootRef;
use profiler::live::Identity;
use profiler::record::{Comm, Fork};
use profiler::{CgroupId, HostPid, HostTid, MntNs};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Index of an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SpaceId(pub(crate) u32);

/// Index of a thread name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CommId(pub(crate) u32);

/// An address space that was sampled.
pub(crate) struct Space {
    pub(crate) pid: HostPid,
    /// When it was first sampled, on the recording's clock.
    pub(crate) since_ns: u64,
    /// Its pid inside its container and its uid, if it was seen alive.
    pub(crate) identity: Option<Identity>,
    /// When it began, by the wall clock in nanoseconds since 1970, if it was seen alive.
    pub(crate) began_ns: Option<u64>,
    pub(crate) root: RootRef,
    /// Its mappings that sampled stacks led through: a program may have a million others, and may
    /// change them between any two samples. Shared with those who locate its stacks.
    pub(crate) maps: Arc<MapTable>,
    /// `/proc/PID/cgroup`, where the sample's cgroup does not tell the container.
    pub(crate) proc_cgroups: Option<Arc<str>>,
    /// What says of its generated code what was there, and when.
    pub(crate) dump: Option<DumpId>,
    /// Where stacks led to nothing.
    pub(crate) gaps: Gaps,
    /// How often something was mapped there.
    pub(crate) filled: u32,
    /// The last batch of new stacks that has one of it.
    pub(crate) batch: u64,
    /// Where that one has it.
    pub(crate) at: usize,
    /// Where those led.
    pub(crate) touched: Touched,
}

impl Space {
    /// One of which nothing is known but that it was sampled, and where its images are looked for.
    pub(crate) fn unseen(pid: HostPid, since_ns: u64, root: RootRef) -> Self {
        Self {
            pid,
            since_ns,
            identity: None,
            began_ns: None,
            root,
            maps: Arc::default(),
            proc_cgroups: None,
            dump: None,
            gaps: Gaps::default(),
            filled: 0,
            batch: 0,
            at: 0,
            touched: Touched::default(),
        }
    }
}

/// A process since its last exec.
#[derive(Default)]
pub(crate) struct Process {
    maps: Arc<MapTable>,
    pub(crate) space: Option<SpaceId>,
    pub(crate) mnt: Option<MntNs>,
    /// Where its jitdump is. A child does not inherit it: it is of the process that writes it.
    pub(crate) marker: Option<Marker>,
    /// That dump, once the process was sampled with it.
    pub(crate) dump: Option<DumpId>,
    tids: Vec<HostTid>,
}

/// What the samples of one thread may differ in: the CPU only where it is told apart.
pub(crate) type CgroupAndCpu = (Option<CgroupId>, Option<u32>);

/// A thread.
pub(crate) struct Thread {
    pub(crate) pid: HostPid,
    /// Its name now, as it wrote it. Interned only when it is sampled: a program may rename itself
    /// without end.
    pub(crate) comm: Arc<[u8]>,
    /// What its last sample belonged to, while nothing of it changed.
    pub(crate) context: Option<(CgroupAndCpu, ContextId)>,
    has_exited: bool,
}

/// Ended tasks are known for this long: their last samples may come after their EXIT.
const KEPT_AFTER_EXIT_NS: u64 = 2_000_000_000;

/// Executable mappings of one process that are kept: twice what the kernel allows by default
/// (`vm.max_map_count`). It never tells of an unmapping, so that a program that maps code at ever
/// new addresses seems to have more and more.
const MAPPINGS_MAX: usize = 1 << 17;

/// Mappings that are copied rather than waited for: some microseconds' work.
const COPIED_MAX: usize = 1 << 8;

/// The name of a thread that was never told of.
pub(crate) const UNKNOWN_COMM: &[u8] = b"[unknown]";

/// All tasks and the spaces that were sampled.
pub(crate) struct Tasks {
    processes: FastMap<HostPid, Process>,
    threads: FastMap<HostTid, Thread>,
    spaces: Vec<Space>,
    comms: Vec<Arc<str>>,
    comm_ids: HashMap<Arc<str>, CommId>,
    exited: VecDeque<(u64, HostTid)>,
    mapped: u32,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            processes: FastMap::default(),
            threads: FastMap::default(),
            spaces: Vec::new(),
            comms: Vec::new(),
            comm_ids: HashMap::new(),
            exited: VecDeque::new(),
            mapped: 0,
        }
    }

    /// The thread `tid`, if it is one of `pid`: a tid that is used again may still be known as a
    /// thread of the process that had it before.
    pub(crate) fn thread(&mut self, pid: HostPid, tid: HostTid) -> Option<&mut Thread> {
        self.threads
            .get_mut(&tid)
            .filter(|thread| thread.pid == pid)
    }

    pub(crate) fn process(&self, pid: HostPid) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// Processes that are in `mnt` and have not ended, as far as records told.
    pub(crate) fn living_in(&self, mnt: Option<MntNs>) -> impl Iterator<Item = HostPid> {
        let is_there = move |process: &Process| mnt.is_some() && process.mnt == mnt;
        self.processes
            .iter()
            .filter(move |(_, process)| is_there(process))
            .map(|(pid, _)| *pid)
            .filter(|pid| {
                let leader = self.threads.get(&HostTid(pid.0));
                leader.is_some_and(|leader| !leader.has_exited)
            })
    }

    pub(crate) fn space(&self, id: SpaceId) -> Option<&Space> {
        self.spaces.get(id.0 as usize)
    }

    /// All address spaces.
    pub(crate) fn spaces(&self) -> impl Iterator<Item = (SpaceId, &Space)> {
        let numbered = self.spaces.iter().enumerate();
        numbered.map(|(at, space)| (SpaceId(at as u32), space))
    }

    pub(crate) fn space_mut(&mut self, id: SpaceId) -> Option<&mut Space> {
        self.spaces.get_mut(id.0 as usize)
    }

    pub(crate) fn space_ids(&self) -> impl Iterator<Item = SpaceId> + use<> {
        (0..self.spaces.len() as u32).map(SpaceId)
    }

    /// The mappings that a process has now.
    pub(crate) fn maps_of(&self, pid: HostPid) -> Option<&MapTable> {
        self.processes.get(&pid).map(|process| &*process.maps)
    }

    /// The mappings that a process has now, as they are, whatever it maps later.
    pub(crate) fn shared_maps_of(&self, pid: HostPid) -> Option<Arc<MapTable>> {
        self.processes
            .get(&pid)
            .map(|process| Arc::clone(&process.maps))
    }

    /// Keeps the mappings that a stack of `space` led through, which were `maps` when it was sampled.
    pub(crate) fn keep_from(&mut self, space: SpaceId, maps: &MapTable, words: &[u64]) {
        let Some(space) = self.spaces.get_mut(space.0 as usize) else {
            return;
        };
        let mut last = 0..0;
        for (part, addr) in entries(words.iter().copied()) {
            if part != Part::User || last.contains(&addr) {
                continue;
            }
            let kept = space.maps.find(addr);
            let Some((mapping, _)) = kept.or_else(|| maps.find(addr)) else {
                continue;
            };
            last = mapping.start..mapping.end;
            if kept.is_none() {
                Arc::make_mut(&mut space.maps).insert(mapping);
            }
        }
    }

    /// The mappings of a space as they are now; of one that its process has left, those that stacks led through.
    pub(crate) fn maps_now(&self, id: SpaceId) -> Option<&Arc<MapTable>> {
        let space = self.space(id)?;
        let process = self.processes.get(&space.pid);
        let process = process.filter(|process| process.space == Some(id));
        Some(process.map_or(&space.maps, |process| &process.maps))
    }

    /// Keeps a mapping that a stack of `space` led through; its process and its view of files.
    pub(crate) fn keep(&mut self, space: SpaceId, mapping: Mapping) -> Option<(HostPid, RootRef)> {
        let space = self.spaces.get_mut(space.0 as usize)?;
        Arc::make_mut(&mut space.maps).insert(mapping);
        Some((space.pid, space.root))
    }

    /// Keeps the mapping that the process of the space `id` has at `addr` now; the process, its view of
    /// files, and the mapping. Only for a space that its process has not left.
    pub(crate) fn keep_mapping(
        &mut self,
        id: SpaceId,
        addr: u64,
    ) -> Option<(HostPid, RootRef, Mapping)> {
        let space = self.spaces.get_mut(id.0 as usize)?;
        let mapping = match space.maps.find(addr) {
            Some((kept, _)) => kept,
            None => {
                let process = self.processes.get(&space.pid);
                let process = process.filter(|process| process.space == Some(id))?;
                let (found, _) = process.maps.find(addr)?;
                Arc::make_mut(&mut space.maps).insert(found);
                found
            }
        };
        Some((space.pid, space.root, mapping))
    }

    /// A stack of `space` led to nothing at this address.
    pub(crate) fn led_to_nothing(&mut self, id: SpaceId, addr: u64) {
        let Some(space) = self.spaces.get_mut(id.0 as usize) else {
            return;
        };
        // What is mapped there later is mapped in another one, if its process has left it.
        let process = self.processes.get(&space.pid);
        let Some(process) = process.filter(|process| process.space == Some(id)) else {
            return;
        };
        let (pid, is_filled) = (space.pid, process.maps.find(addr).is_some());
        space.gaps.note(addr);
        if is_filled {
            // Of a stack that waited, and meanwhile something was mapped.
            self.fill(pid, &(addr..addr.saturating_add(1)));
        }
    }

    /// All stacks of a batch are located: where they led to nothing is known exactly.
    pub(crate) fn is_located(&mut self, id: SpaceId, batch: u64) {
        if let Some(space) = self.space_mut(id).filter(|space| space.batch == batch) {
            space.touched.clear();
        }
    }

    pub(crate) fn comm_name(&self, id: CommId) -> Option<&Arc<str>> {
        self.comms.get(id.0 as usize)
    }

    pub(crate) fn intern_comm(&mut self, name: &[u8]) -> CommId {
        let name = String::from_utf8_lossy(name);
        if let Some(id) = self.comm_ids.get(name.as_ref()) {
            return *id;
        }
        let id = CommId(self.comms.len() as u32);
        let name: Arc<str> = name.into();
        self.comms.push(name.clone());
        self.comm_ids.insert(name, id);
        id
    }

    pub(crate) fn fork(&mut self, fork: &Fork) {
        self.forget_exited(fork.stamp.time_ns);
        let comm = match self.threads.get(&fork.parent_tid) {
            Some(parent) => Arc::clone(&parent.comm),
            None => Arc::from(UNKNOWN_COMM),
        };
        self.leave(fork.tid);
        self.threads.insert(
            fork.tid,
            Thread {
                pid: fork.pid,
                comm,
                context: None,
                has_exited: false,
            },
        );
        if fork.pid != fork.parent_pid {
            let mut child = match self.processes.get(&fork.parent_pid) {
                Some(parent) => Process {
                    maps: Arc::clone(&parent.maps),
                    mnt: parent.mnt,
                    ..Process::default()
                },
                None => Process::default(),
            };
            child.tids.push(fork.tid);
            self.retire(fork.pid);
            self.processes.insert(fork.pid, child);
        } else {
            self.processes
                .entry(fork.pid)
                .or_default()
                .tids
                .push(fork.tid);
        }
    }

    /// A tid that is used again: its last owner must not keep it.
    fn leave(&mut self, tid: HostTid) {
        if let Some(old) = self.threads.remove(&tid)
            && let Some(process) = self.processes.get_mut(&old.pid)
        {
            process.tids.retain(|known| *known != tid);
        }
    }

    pub(crate) fn comm(&mut self, comm: &Comm<'_>) {
        if self
            .threads
            .get(&comm.tid)
            .is_some_and(|known| known.pid != comm.pid)
        {
            self.leave(comm.tid);
        }
        if comm.is_exec {
            self.retire(comm.pid);
            let mnt = self
                .processes
                .get(&comm.pid)
                .and_then(|process| process.mnt);
            let fresh = Process {
                mnt,
                tids: vec![comm.tid],
                ..Process::default()
            };
            self.processes.insert(comm.pid, fresh);
        }
        let thread = Thread {
            pid: comm.pid,
            comm: comm.name.into(),
            context: None,
            has_exited: false,
        };
        if self.threads.insert(comm.tid, thread).is_none() && !comm.is_exec {
            self.processes
                .entry(comm.pid)
                .or_default()
                .tids
                .push(comm.tid);
        }
    }

    /// The mount namespace of a process as of now: at a clone, a setns, an unshare.
    pub(crate) fn entered(&mut self, pid: HostPid, mnt: Option<MntNs>) {
        self.processes.entry(pid).or_default().mnt = mnt;
    }

    pub(crate) fn exit(&mut self, exit: &Fork) {
        self.forget_exited(exit.stamp.time_ns);
        if let Some(thread) = self.threads.get_mut(&exit.tid) {
            thread.has_exited = true;
            self.exited.push_back((exit.stamp.time_ns, exit.tid));
        }
    }

    fn forget_exited(&mut self, now_ns: u64) {
        while let Some((time_ns, tid)) = self.exited.front().copied() {
            if time_ns.saturating_add(KEPT_AFTER_EXIT_NS) > now_ns {
                return;
            }
            self.exited.pop_front();
            // Not if the tid is another thread's by now.
            let Some(thread) = self.threads.get(&tid).filter(|thread| thread.has_exited) else {
                continue;
            };
            let pid = thread.pid;
            self.leave(tid);
            if self
                .processes
                .get(&pid)
                .is_some_and(|process| process.tids.is_empty())
            {
                self.retire(pid);
                self.processes.remove(&pid);
            }
        }
    }

    /// How many mappings came; it begins anew when they are too many for it.
    pub(crate) fn mapped(&self) -> u32 {
        self.mapped
    }

    pub(crate) fn map(&mut self, pid: HostPid, mapping: Mapping) {
        self.mapped = self.mapped.wrapping_add(1);
        if let Some(process) = self.processes.get(&pid)
            && process.maps.len() >= MAPPINGS_MAX
        {
            self.forget(pid);
        }
        let process = self.processes.entry(pid).or_default();
        if process.space.is_some() && process.maps.change_by(&mapping) == Change::Replaced {
            self.retire(pid);
        }
        self.fill(pid, &(mapping.start..mapping.end));
        if let Some(process) = self.processes.get_mut(&pid) {
            Arc::make_mut(&mut process.maps).insert(mapping);
        }
    }

    /// The last batch of new stacks that has one of the process, if it is to be waited for before something is mapped:
    /// one of its stacks may have led to where nothing is yet, or its many mappings would be copied, since the batch
    /// has them too.
    pub(crate) fn batch_before(&self, pid: HostPid, mapping: &Mapping) -> Option<u64> {
        let process = self.process(pid)?;
        let space = self.space(process.space?)?;
        let avma = mapping.start..mapping.end;
        let mut gaps = process.maps.gaps_in(&avma);
        let is_awaited = (process.maps.len() > COPIED_MAX && self.stays_in(pid, mapping).is_none())
            || gaps.any(|gap| space.touched.are_in(&gap));
        is_awaited.then_some(space.batch)
    }

    /// The space that a process is in and will be in when it has this mapping.
    pub(crate) fn stays_in(&self, pid: HostPid, mapping: &Mapping) -> Option<SpaceId> {
        let process = self.process(pid)?;
        let is_left = process.maps.len() >= MAPPINGS_MAX
            || process.maps.change_by(mapping) == Change::Replaced;
        process.space.filter(|_| !is_left)
    }

    /// Something is mapped where stacks of the process may have led to nothing: from now on its samples belong to
    /// other contexts, and their stacks are looked at anew.
    fn fill(&mut self, pid: HostPid, avma: &Range<u64>) {
        let Some(process) = self.processes.get(&pid) else {
            return;
        };
        let space = process
            .space
            .and_then(|id| self.spaces.get_mut(id.0 as usize));
        let Some(space) = space.filter(|space| space.gaps.are_in(avma)) else {
            return;
        };
        space.gaps = Gaps::default();
        space.filled += 1;
        // What waits for a dump is located by the mappings that its space had.
        match process.dump {
            Some(_) => self.retire(pid),
            None => self.forget_contexts(pid),
        }
    }

    /// The process has mapped its jitdump: its space is left, so that the next one has it.
    pub(crate) fn mark(&mut self, pid: HostPid, marker: Marker) {
        let process = self.processes.entry(pid).or_default();
        if process.marker.map(|known| known.image) == Some(marker.image) {
            return;
        }
        process.marker = Some(marker);
        process.dump = None;
        self.retire(pid);
    }

    /// The process has this dump from now on.
    pub(crate) fn has_dump(&mut self, pid: HostPid, dump: DumpId) {
        if let Some(process) = self.processes.get_mut(&pid) {
            process.dump = Some(dump);
        }
    }

    /// Forgets a process: at its next sample, `/proc` tells what it is.
    fn forget(&mut self, pid: HostPid) {
        if let Some(process) = self.processes.remove(&pid) {
            for tid in process.tids {
                self.threads.remove(&tid);
            }
        }
    }

    /// Images that a mapping leads to, of a living process or of a sampled space.
    pub(crate) fn images_in_use(&self) -> HashSet<ImageId> {
        let living = self.processes.values().map(|process| &*process.maps);
        let sampled = self.spaces.iter().map(|space| &*space.maps);
        living.chain(sampled).flat_map(MapTable::images).collect()
    }

    /// Forgets the mappings of spaces that no process is in any more. No stack may wait for being
    /// counted by them, but those that wait for a jitdump may.
    pub(crate) fn forget_left_maps(&mut self) {
        let current: HashSet<SpaceId> = self
            .processes
            .values()
            .filter_map(|process| process.space)
            .collect();
        for (space, number) in self.spaces.iter_mut().zip(0..) {
            if space.maps.len() > 0 && space.dump.is_none() && !current.contains(&SpaceId(number)) {
                space.maps = Arc::default();
            }
        }
    }

    /// Leaves the space of a process: later samples of it begin a new one.
    fn retire(&mut self, pid: HostPid) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        if let Some(left) = process.space.take() {
            if let Some(space) = self.space_mut(left) {
                space.touched.clear();
                space.gaps = Gaps::default();
            }
            self.forget_contexts(pid);
        }
    }

    /// What the samples of its threads belong to is looked for again.
    fn forget_contexts(&mut self, pid: HostPid) {
        let Some(process) = self.processes.get(&pid) else {
            return;
        };
        for tid in &process.tids {
            if let Some(thread) = self.threads.get_mut(tid) {
                thread.context = None;
            }
        }
    }

    /// Begins the space of a process at its first sample.
    pub(crate) fn begin_space(&mut self, space: Space) -> SpaceId {
        let id = SpaceId(self.spaces.len() as u32);
        if let Some(process) = self.processes.get_mut(&space.pid) {
            process.space = Some(id);
        }
        self.spaces.push(space);
        id
    }
}

#[cfg(test)]
#[path = "tasks_tests.rs"]
mod tests;
