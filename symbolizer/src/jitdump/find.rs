//! Where a jitdump is: held when its process is first sampled with it, looked for when it is read.

use super::DumpId;
use super::dump::{Checks, Dump, State};
use super::note::JitDumpNote;
use super::settle::RecordingClock;
use super::timeline::Timeline;
use super::waiting::Waiting;
use crate::context::{Origin, place_of};
use crate::living;
use crate::lookup::{RecordedOn, View};
use crate::stack::Unresolved;
use crate::tally::Tally;
use crate::tasks::SpaceId;
use profiler::HostPid;
use profiler::files::HeldFile;
use std::sync::Arc;

/// Dumps that are read at most. Each costs a descriptor.
const DUMPS_MAX: usize = 1 << 10;

impl Tally {
    /// The dump of a process whose space begins now. It is held from now on, not read.
    pub(crate) fn dump_for(&mut self, pid: HostPid, space: SpaceId) -> Option<DumpId> {
        let process = self.tasks.process(pid)?;
        if let Some(known) = process.dump {
            return Some(known);
        }
        let marker = process.marker?;
        let image = self.images.get(marker.image)?;
        if self.jits.dumps.len() >= DUMPS_MAX {
            let is_said = |(_, _, note): &_| matches!(note, JitDumpNote::TooMany { .. });
            if !self.jits.notes.iter().any(is_said) {
                let note = JitDumpNote::TooMany { most: DUMPS_MAX };
                self.jits.notes.push((space, image.path.clone(), note));
            }
            return None;
        }
        let (root, since_ns, identity) = {
            let space = self.tasks.space(space)?;
            (space.root, space.since_ns, space.identity)
        };
        let mut image = image.by_path();
        image.root = root;
        if self.counting.origin == Origin::LiveHost {
            match HeldFile::mapped(pid, marker.start..marker.end) {
                Ok(held) => image.held = Some(held.into()),
                Err(error) => self.images.out_of_files += u64::from(error.is_out_of_files()),
            }
        }
        // So that what is mapped there can be compared when the recording is read.
        self.tasks.keep_mapping(space, marker.start);
        let id = DumpId(self.jits.dumps.len() as u32);
        self.jits.dumps.push(Some(Box::new(Dump {
            pid,
            space,
            since_ns,
            marker,
            image,
            ns_pid: identity.map(|identity| identity.ns_pid.0),
            waiting: Waiting::default(),
            timeline: Timeline::default(),
            state: State::New,
            bad_records: 0,
            notes: Vec::new(),
        })));
        self.tasks.has_dump(pid, id);
        Some(id)
    }

    /// Looks for a dump where other files of its process are looked for.
    pub(super) fn open_dump(&mut self, dump: &mut Dump) {
        if matches!(dump.state, State::Unused) {
            return;
        }
        let root = dump.image.root;
        if self.jits.stuck.contains(&root) {
            let reason = Unresolved::Unreadable(Arc::clone(&dump.image.label));
            return dump.give_up(JitDumpNote::Missing(reason));
        }
        let lookup = self.jits.lookup.clone();
        let pinned = self.pins.root(root).cloned().map(View::of_target);
        let views = match self.counting.origin {
            Origin::LiveHost => pinned.into_iter().collect(),
            Origin::File => {
                if dump.image.held.is_none() && lookup.recorded_on() != RecordedOn::Elsewhere {
                    let marker = dump.marker;
                    let found = living::holding(dump.pid, dump.since_ns, marker.start, &dump.image);
                    if let Some((held, identity)) = found {
                        dump.image.held = Some(held.into());
                        dump.ns_pid = Some(identity.ns_pid.0);
                    }
                }
                let contexts = self.contexts.iter().map(|known| &known.context);
                let mut of_space = contexts.filter(|context| context.space == Some(dump.space));
                let sysroots = of_space.next().map(|context| {
                    let place = place_of(context, &self.tasks, &self.pins, &self.cgroup_paths);
                    lookup.sysroots_of(&place)
                });
                lookup.views(sysroots.unwrap_or_default(), None)
            }
        };
        let arch = self.jits.arch.clone();
        let checks = Checks {
            arch: arch.as_deref(),
            are_times_comparable: self.jits.clock == RecordingClock::Monotonic,
        };
        dump.open(views, &lookup, checks);
        if dump.notes.iter().any(JitDumpNote::is_timed_out) {
            self.jits.stuck.insert(root);
        }
    }
}
