//! What a recording is written by: the events, in the order in which they are counted.

use crate::tally::Tally;
use profiler::CgroupId;
use profiler::record::{CgroupSeen, Event, Sample, Stamp};

/// Receives events on their way.
pub type Tap = Box<dyn FnMut(&Event<'_>)>;

impl Tally {
    /// Gives every event to `tap` before it is counted: whoever counts them again in that order
    /// counts the same. What is read of `/proc` and of the cgroups is among them, samples that are
    /// outside are not.
    pub fn tap(&mut self, tap: Tap) {
        self.tap = Tapped(Some(tap));
    }
}

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
