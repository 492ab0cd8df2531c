//! What a recording is written by: the events, in the order in which they are counted.

use crate::tally::Tally;
use profiler::CgroupId;
use profiler::record::{CgroupSeen, Chain, Event, Sample, Stamp};

/// What a tap is told.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// An event.
    Event(&'a Event<'a>),
    /// A sample that is counted here, by a chain that is not known yet.
    SampleWaits(&'a Sample<'a>),
    /// The sample that has waited longest, with its chain.
    SampleCame(&'a Sample<'a>),
}

/// Receives events on their way.
pub type Tap = Box<dyn FnMut(Told<'_>)>;

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
}

impl Tapped {
    pub(crate) fn is_listened_to(&self) -> bool {
        self.listener.is_some()
    }

    fn tell(&mut self, told: Told<'_>) {
        if let Some(tap) = &mut self.listener {
            tap(told);
        }
    }

    pub(crate) fn event(&mut self, event: &Event<'_>) {
        self.tell(Told::Event(event));
    }

    /// A sample waits for its chain.
    pub(crate) fn sample_waits(&mut self, sample: &Sample<'_>) {
        self.tell(Told::SampleWaits(sample));
    }

    /// The sample that has waited longest.
    pub(crate) fn sample_came(&mut self, sample: &Sample<'_>, chain: &[u64]) {
        if self.is_listened_to() {
            let words: Vec<_> = chain.iter().map(|word| word.to_ne_bytes()).collect();
            let chain = Chain { words: &words };
            self.tell(Told::SampleCame(&Sample { chain, ..*sample }));
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
