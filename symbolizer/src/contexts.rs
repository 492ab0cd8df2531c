//! What a sample belongs to: its context, and the address space that a process's first sample begins.
//! What must be asked while the process lives is asked then.

use crate::context::{
    Context, ContextId, ContextKind, KnownContext, Origin, Selected, Split, place_of,
};
use crate::gaps::{Gaps, Touched};
use crate::pins::RootRef;
use crate::stack::LayerKind;
use crate::tally::{IDLE_COMM, IDLE_PID, Tally};
use crate::tasks::{Space, SpaceId, UNKNOWN_COMM};
use profiler::live::{self, EventSink};
use profiler::record::{Comm, Sample};
use profiler::{CgroupId, HostPid};
use std::sync::Arc;

impl Tally {
    pub(crate) fn context_of(&mut self, sample: &Sample<'_>) -> ContextId {
        let (pid, tid) = (sample.stamp.pid, sample.stamp.tid);
        let is_split_by_cpu = self.counting.layers.contains(&LayerKind::Cpu);
        let key = (sample.cgroup, is_split_by_cpu.then_some(sample.stamp.cpu));
        let known = self.tasks.thread(pid, tid).map(|thread| thread.context);
        if let Some(Some((known, id))) = known
            && known == key
        {
            return id;
        }
        let split = Split::by(&self.counting.layers, &sample.stamp);
        // u32::MAX: the task is past its exit, the kernel has no pid for it any more.
        let taskless: Option<&[u8]> = match pid {
            IDLE_PID => Some(IDLE_COMM.as_bytes()),
            HostPid(u32::MAX) => Some(b"[exited]"),
            _ => None,
        };
        if let Some(comm) = taskless {
            let comm = self.tasks.intern_comm(comm);
            return self.intern_context(Context {
                space: None,
                cgroup: sample.cgroup,
                comm,
                split,
                filled: 0,
            });
        }
        if known.is_none() && self.counting.origin == Origin::LiveHost {
            // Never told of: begun while `/proc` was read, or its FORK was lost.
            live::scan(pid, &mut |event| self.event(event));
        }
        let comm = match self.tasks.thread(pid, tid) {
            Some(thread) => Arc::clone(&thread.comm),
            None => {
                self.tasks.comm(&Comm {
                    stamp: sample.stamp,
                    pid,
                    tid,
                    name: UNKNOWN_COMM,
                    is_exec: false,
                });
                Arc::from(UNKNOWN_COMM)
            }
        };
        let comm = self.tasks.intern_comm(&comm);
        let space = match self.tasks.process(pid).and_then(|process| process.space) {
            Some(space) => space,
            None => self.begin_space(sample),
        };
        let id = self.intern_context(Context {
            space: Some(space),
            cgroup: sample.cgroup,
            comm,
            split,
            filled: self.tasks.space(space).map_or(0, |space| space.filled),
        });
        if let Some(thread) = self.tasks.thread(pid, tid) {
            thread.context = Some((key, id));
        }
        id
    }

    /// The first sample of a process since its exec: what must be asked while it lives is asked now.
    fn begin_space(&mut self, sample: &Sample<'_>) -> SpaceId {
        let pid = sample.stamp.pid;
        if self.counting.origin == Origin::File {
            // Its images are looked for by their paths on this host, and checked.
            return self.begin(Space::unseen(pid, sample.stamp.time_ns, RootRef::Host));
        }
        let mnt = self.tasks.process(pid).and_then(|process| process.mnt);
        let others = self.tasks.living_in(mnt);
        let root = self.pins.pin(pid, mnt, sample.stamp.time_ns, others);
        if root == RootRef::Unknown {
            self.counts.unpinned += 1;
        }
        let identity = live::identity(pid);
        let is_root_cgroup =
            |id: CgroupId| self.cgroup_paths.get(&id).is_none_or(|path| &**path == "/");
        let proc_cgroups = if sample.cgroup.is_none_or(is_root_cgroup) {
            live::proc_cgroups(pid).map(Arc::from)
        } else {
            None
        };
        self.begin(Space {
            pid,
            since_ns: sample.stamp.time_ns,
            identity,
            began_ns: live::began_wall_ns(pid),
            root,
            maps: Arc::default(),
            proc_cgroups,
            dump: None,
            gaps: Gaps::default(),
            filled: 0,
            batch: 0,
            at: 0,
            touched: Touched::default(),
        })
    }

    /// At an exec in a mount namespace that is not pinned yet, it is: the process may be gone before
    /// its first sample is read.
    pub(crate) fn execed(&mut self, pid: HostPid, time_ns: u64) {
        if self.counting.origin == Origin::File {
            return;
        }
        let Some(mnt) = self.tasks.process(pid).and_then(|process| process.mnt) else {
            return;
        };
        if !self.pins.is_host(mnt) && !self.pins.has(mnt) {
            let others = self.tasks.living_in(Some(mnt));
            self.pins.pin_at_exec(pid, mnt, time_ns, others);
        }
    }

    fn begin(&mut self, space: Space) -> SpaceId {
        let pid = space.pid;
        let id = self.tasks.begin_space(space);
        let dump = self.dump_for(pid, id);
        if let Some(space) = self.tasks.space_mut(id) {
            space.dump = dump;
        }
        id
    }

    fn intern_context(&mut self, context: Context) -> ContextId {
        if let Some(id) = self.context_ids.get(&context) {
            return *id;
        }
        let id = ContextId(self.contexts.len() as u32);
        let place = place_of(&context, &self.tasks, &self.pins, &self.cgroup_paths);
        let comm = self.tasks.comm_name(context.comm);
        let selected = if comm.is_some_and(|comm| self.counting.choice.wants_comm(comm)) {
            (self.selector)(&place)
        } else {
            Selected::No
        };
        let kind = ContextKind::of(
            &context,
            &self.tasks,
            self.recorded.tag_of(&context, &self.tasks),
        );
        let space = context.space.and_then(|space| self.tasks.space(space));
        let dump = space.and_then(|space| space.dump);
        let counted_in = *self.counted_in.entry(kind).or_insert(id);
        self.contexts.push(KnownContext {
            context,
            selected,
            dump,
            counted_in,
        });
        self.context_ids.insert(context, id);
        id
    }
}
