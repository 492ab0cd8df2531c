//! One event's ring: records are copied out in the order they were written.

use crate::order::RoundSorter;
use crate::record::{self, Layout};
use perf_event_open::count::Counter;
use perf_event_open::sample::Sampler;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Default size of a CPU's sampling ring: as perf's.
pub(crate) const SAMPLING_RING_BYTES: usize = 512 << 10;
/// Size of a CPU's tracking ring: some thousand records, between two wakes.
pub(crate) const TRACKING_RING_BYTES: usize = 256 << 10;

/// What the two rings of a CPU take, control pages included.
pub(crate) fn rings_of_cpu(sampling_bytes: usize, page_bytes: usize) -> usize {
    sampling_bytes + TRACKING_RING_BYTES.max(page_bytes) + 2 * page_bytes
}

/// An event and the ring it writes to.
pub(crate) struct Ring {
    counter: Counter,
    sampler: Sampler,
    /// Events that write into this ring too: the same event of other tasks on this CPU.
    sharing: Vec<Counter>,
    len_bytes: usize,
}

impl Ring {
    /// Maps a ring of 2^`exponent` pages for `counter`.
    pub(crate) fn map(counter: Counter, exponent: u8, page_bytes: usize) -> io::Result<Self> {
        let sampler = counter.sampler(exponent)?;
        Ok(Self {
            counter,
            sampler,
            sharing: Vec::new(),
            len_bytes: page_bytes << exponent,
        })
    }

    /// Lets another event of this CPU, with equal attributes, write into this ring.
    pub(crate) fn share_with(&mut self, counter: Counter) -> io::Result<()> {
        super::raw::share_ring(counter.file(), self.counter.file())?;
        self.sharing.push(counter);
        Ok(())
    }

    pub(crate) fn enable(&self) -> io::Result<()> {
        self.counters().try_for_each(Counter::enable)
    }

    pub(crate) fn disable(&self) -> io::Result<()> {
        self.counters().try_for_each(Counter::disable)
    }

    fn counters(&self) -> impl Iterator<Item = &Counter> {
        std::iter::once(&self.counter).chain(&self.sharing)
    }

    /// Moves what is in the ring into `sorter`. Stops after one ring's worth, so that a writer that
    /// is faster than we are cannot hold us here.
    pub(crate) fn drain(&self, layout: &Layout, source: u8, sorter: &mut RoundSorter) {
        let Some(records) = self.sampler.iter() else {
            return;
        };
        let mut records = records.into_cow();
        let mut drained_bytes = 0;
        while drained_bytes < self.len_bytes {
            let Some(record) = records.lending_next() else {
                break;
            };
            let bytes = record.as_raw().as_bytes();
            // A record without a time is delivered first: what it says already holds.
            sorter.push(record::time_ns(bytes, layout).unwrap_or(0), bytes, source);
            drained_bytes += bytes.len();
        }
    }

    /// How long the event was enabled so far, where it was opened to tell.
    pub(crate) fn enabled_ns(&self) -> Option<u64> {
        self.counter.stat().ok()?.time_enabled
    }

    /// Records that the kernel could not write so far, where it counts them (Linux 6.0).
    pub(crate) fn lost(&self) -> u64 {
        self.counters()
            .filter_map(|counter| counter.stat().ok()?.lost_records)
            .sum()
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.counter.file().as_fd()
    }
}
