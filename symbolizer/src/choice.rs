//! Which samples of a recording are drawn, and how.

use crate::context::Origin;
use crate::stack::LayerKind;
use profiler::record::Stamp;
use profiler::{HostPid, HostTid};

/// How a recording is counted.
#[derive(Clone, Debug)]
pub struct Counting {
    /// Where its tasks are.
    pub origin: Origin,
    /// What stands above the stacks, outermost first.
    pub layers: Vec<LayerKind>,
    /// Which samples are wanted.
    pub choice: Choice,
    /// What a sample counts.
    pub weight: Weight,
    /// Whether the idle task is drawn.
    pub idle: Idle,
}

impl Counting {
    /// All samples, below their container and thread name; the idle task only counted.
    pub fn of(origin: Origin) -> Self {
        Self {
            origin,
            layers: vec![LayerKind::Container, LayerKind::Comm],
            choice: Choice::default(),
            weight: Weight::Samples,
            idle: Idle::CountedOnly,
        }
    }
}

/// What a sample counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// One.
    Samples,
    /// As many events as there were since the sample before.
    Period,
}

/// What becomes of the samples of pid 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// They are a number.
    CountedOnly,
    /// They are drawn as the thread `swapper`.
    Drawn,
}

/// Samples that are wanted: those that agree with every list that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Of these processes.
    pub pids: Vec<HostPid>,
    /// Of these threads.
    pub tids: Vec<HostTid>,
    /// Of threads with these names.
    pub comms: Vec<String>,
    /// On these CPUs.
    pub cpus: Vec<u32>,
    /// From this time on.
    pub from: Option<Moment>,
    /// Up to this time.
    pub to: Option<Moment>,
}

/// A time in a recording, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Of the recording's clock, as records have it.
    Clock(u64),
    /// Since the first sample.
    SinceFirst(u64),
}

impl Choice {
    /// Whether a sample is wanted, as far as its stamp tells; `first_ns` is the first sample's time.
    pub(crate) fn wants(&self, stamp: &Stamp, first_ns: u64) -> bool {
        let of = |moment: Moment| match moment {
            Moment::Clock(time_ns) => time_ns,
            Moment::SinceFirst(after_ns) => first_ns.saturating_add(after_ns),
        };
        is_in(&self.pids, &stamp.pid)
            && is_in(&self.tids, &stamp.tid)
            && is_in(&self.cpus, &stamp.cpu)
            && self.from.is_none_or(|from| of(from) <= stamp.time_ns)
            && self.to.is_none_or(|to| stamp.time_ns <= of(to))
    }

    pub(crate) fn wants_comm(&self, comm: &str) -> bool {
        self.comms.is_empty() || self.comms.iter().any(|wanted| wanted == comm)
    }
}

fn is_in<T: PartialEq>(list: &[T], item: &T) -> bool {
    list.is_empty() || list.contains(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(pid: u32, tid: u32, cpu: u32, time_ns: u64) -> Stamp {
        Stamp {
            time_ns,
            pid: HostPid(pid),
            tid: HostTid(tid),
            cpu,
        }
    }

    #[test]
    fn a_sample_must_agree_with_every_list() {
        let choice = Choice {
            pids: vec![HostPid(1), HostPid(2)],
            cpus: vec![0],
            ..Choice::default()
        };
        assert!(choice.wants(&stamp(2, 5, 0, 0), 0));
        assert!(!choice.wants(&stamp(2, 5, 1, 0), 0));
        assert!(!choice.wants(&stamp(3, 5, 0, 0), 0));
        assert!(Choice::default().wants(&stamp(3, 5, 7, 9), 0));
    }

    #[test]
    fn both_ends_of_a_time_are_in_it_and_may_count_from_the_first_sample() {
        let choice = Choice {
            from: Some(Moment::Clock(100)),
            to: Some(Moment::SinceFirst(20)),
            ..Choice::default()
        };
        let wants = |time_ns| choice.wants(&stamp(1, 1, 0, time_ns), 90);
        assert_eq!([99, 100, 110, 111].map(wants), [false, true, true, false]);
    }
}
