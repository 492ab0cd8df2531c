//! What a recording is written by: the events, in the order in which they are counted.

use profiler::CgroupId;
use profiler::record::{CgroupSeen, Event, Sample, Stamp};

/// Receives events on their way.
pub type Tap = Box<dyn FnMut(&Event<'_>)>;

/// A tap, where somebody listens.
#[derive(Default)]
pub(crate) struct Tapped(pub(crate) Option<Tap>);

impl Tapped {
    pub(crate) fn event(&mut self, event: &Event<'_>) {
        if let Some(tap) = &mut self.0 {
            tap(event);
        }
    }

    pub(crate) fn sample(&mut self, sample: &Sample<'_>) {
        // A sample is large: it is copied for who listens only.
        if self.0.is_some() {
            self.event(&Event::Sample(*sample));
        }
    }

    /// A cgroup that was found, not told of.
    pub(crate) fn cgroup(&mut self, id: CgroupId, path: &str) {
        self.event(&Event::Cgroup(CgroupSeen {
            stamp: Stamp::UNKNOWN,
            id,
            path: path.as_bytes(),
        }));
    }
}
