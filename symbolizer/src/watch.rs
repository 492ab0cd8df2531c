//! What is told while it happens: of processes that something outside has to look at in time.

use crate::maps::Backing;
use crate::snapshot::EndedGenerator;
use crate::tally::Tally;
use profiler::HostPid;
use profiler::record::Fork;
use std::sync::Arc;

/// What is told of processes that may map a certain file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessNews {
    /// It has mapped the file.
    Mapped(HostPid),
    /// Its first thread has exited.
    Exited(HostPid),
}

/// Whom to tell.
#[derive(Default)]
pub(crate) struct Watches {
    mapped: Option<MapWatch>,
    ended: Option<Box<dyn FnMut(EndedGenerator)>>,
}

/// Whom to tell of mappings of a file.
struct MapWatch {
    file_name: &'static str,
    tell: Box<dyn FnMut(ProcessNews)>,
}

impl Watches {
    /// A process has mapped a file.
    pub(crate) fn mapped(&mut self, pid: HostPid, path: &[u8]) {
        if let Some(watch) = &mut self.mapped
            && path.ends_with(watch.file_name.as_bytes())
        {
            (watch.tell)(ProcessNews::Mapped(pid));
        }
    }
}

impl Tally {
    /// Tells of each process that maps a file of this name, when it does; and of each exit.
    pub fn watch_mapped(&mut self, file_name: &'static str, tell: Box<dyn FnMut(ProcessNews)>) {
        self.watches.mapped = Some(MapWatch { file_name, tell });
    }

    /// Tells of each process that ends and has generated code that was sampled.
    pub fn watch_ended(&mut self, tell: Box<dyn FnMut(EndedGenerator)>) {
        self.watches.ended = Some(tell);
    }

    pub(crate) fn exited(&mut self, exit: &Fork) {
        if exit.pid.0 == exit.tid.0
            && let Some(watch) = &mut self.watches.mapped
        {
            (watch.tell)(ProcessNews::Exited(exit.pid));
        }
        // The leader's: what it wrote of its code is all there.
        if exit.pid.0 == exit.tid.0
            && let Some(tell) = &mut self.watches.ended
            && let Some(id) = self
                .tasks
                .process(exit.pid)
                .and_then(|process| process.space)
            && let Some(space) = self.tasks.space(id)
            && space
                .maps
                .iter()
                .any(|mapping| matches!(mapping.backing, Backing::Generated(_)))
            && let (Some(identity), Some(root)) = (space.identity, self.pins.root(space.root))
        {
            tell(EndedGenerator {
                space: id,
                identity,
                root: Arc::clone(root),
            });
        }
        self.tasks.exit(exit);
    }
}
