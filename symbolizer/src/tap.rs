//! What a recording is written by: the events, in the order in which they are counted.

use crate::tally::Tally;
use profiler::CgroupId;
use profiler::record::{CgroupSeen, Chain, Event, Sample, Stamp};

/// Receives events on their way. Samples that wait for their chains come later, with their own times; beside
/// each event the time of the oldest of them.
pub type Tap = Box<dyn FnMut(&Event<'_>, Option<u64>)>;

impl Tally {
    /// Gives every event to `tap` before it is counted: whoever counts them again in that order
    /// counts the same. What is read of `/proc` and of the cgroups is among them, samples that are
    /// outside are not.
    pub fn tap(&mut self, tap: Tap) {
        self.tap.listener = Some(tap);
    }
}

/// A tap, where somebody listens.
#[derive(Default)]
pub(crate) struct Tapped {
    listener: Option<Tap>,
    /// Time of the oldest sample that waits for its chain.
    pub(crate) waiting_ns: Option<u64>,
}

impl Tapped {
    pub(crate) fn is_listened_to(&self) -> bool {
        self.listener.is_some()
    }

    pub(crate) fn event(&mut self, event: &Event<'_>) {
        if let Some(tap) = &mut self.listener {
            tap(event, self.waiting_ns);
        }
    }

    /// A sample by the chain that was made of it.
    pub(crate) fn made(&mut self, sample: &Sample<'_>, chain: &[u64]) {
        if self.is_listened_to() {
            let words: Vec<_> = chain.iter().map(|word| word.to_ne_bytes()).collect();
            let chain = Chain { words: &words };
            self.event(&Event::Sample(Sample { chain, ..*sample }));
        }
    }

    pub(crate) fn sample(&mut self, sample: &Sample<'_>) {
        // A sample is large: it is copied for who listens only.
        if self.is_listened_to() {
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
