//! Records of a file in one time order, by the rounds that perf marked in it.
//!
//! `perf record` reads its rings one after the other and writes FINISHED_ROUND behind each reading:
//! what is not later than the end of the round before can no longer be overtaken (perf's
//! `OE_FLUSH__ROUND`). Records stay where they are, in the chunk that was read; only their places
//! are sorted. A file without rounds is sorted through a window of bounded size.

use super::chunk::{Entry, Place};

/// Chunks that may wait for the end of a round, in bytes. Rounds are some rings long (512 KiB for
/// each CPU by default), so that only files without rounds come here.
const MOST_KEPT_BYTES: u64 = 96 << 20;
/// Records that may wait.
const MOST_KEPT_RECORDS: usize = 1 << 20;

/// Sorts the places of records.
pub(crate) struct Rounds {
    /// Waiting for the end of a round, sorted up to where the last round ended.
    kept: Vec<Entry>,
    /// In their order, to be delivered.
    ready: Vec<Entry>,
    /// Latest time of all rounds before this one.
    limit_ns: u64,
    latest_ns: u64,
    /// Time of the last record that had one.
    last_ns: u64,
    is_ordered: bool,
    /// Of those that wait, the first in its chunk's number.
    first_chunk: Option<u32>,
}

impl Rounds {
    /// `is_ordered` false: everything stays in the file's order.
    pub(crate) fn new() -> Self {
        Self {
            kept: Vec::new(),
            ready: Vec::new(),
            limit_ns: 0,
            latest_ns: 0,
            last_ns: 0,
            is_ordered: true,
            first_chunk: None,
        }
    }

    /// Whether records are sorted at all.
    pub(crate) fn order_by_time(&mut self, is_ordered: bool) {
        self.is_ordered = is_ordered;
    }

    /// Takes a record. One without a time is delivered at once, before all that waits, as perf does:
    /// perf made it up itself, for what was there before.
    pub(crate) fn push(&mut self, time_ns: Option<u64>, place: Place) {
        match time_ns.filter(|_| self.is_ordered) {
            Some(time_ns) => {
                self.latest_ns = self.latest_ns.max(time_ns);
                self.last_ns = time_ns;
                self.first_chunk.get_or_insert(place.chunk);
                self.kept.push(Entry { time_ns, place });
            }
            None => self.ready.push(Entry {
                time_ns: time_ns.unwrap_or(0),
                place,
            }),
        }
    }

    /// A round ends: what is not later than the round before becomes ready.
    pub(crate) fn end_round(&mut self) {
        self.sort();
        let limit = self.limit_ns;
        let count = self.kept.partition_point(|entry| entry.time_ns <= limit);
        self.release(count);
        self.limit_ns = self.latest_ns;
    }

    /// The recording ends: everything becomes ready.
    pub(crate) fn end(&mut self) {
        self.sort();
        self.release(self.kept.len());
    }

    /// Keeps what waits within bounds: the earlier half becomes ready, or all where that is not enough.
    pub(crate) fn limit_memory(&mut self, kept_bytes: impl Fn(u32) -> u64) {
        let is_too_much = |rounds: &Self, bytes: u64, records: usize| {
            let kept = rounds.first_chunk.map_or(0, &kept_bytes);
            rounds.kept.len() > records || kept > bytes
        };
        if !is_too_much(self, MOST_KEPT_BYTES, MOST_KEPT_RECORDS) {
            return;
        }
        self.sort();
        self.release(self.kept.len() / 2);
        if is_too_much(self, MOST_KEPT_BYTES / 4 * 3, MOST_KEPT_RECORDS / 4 * 3) {
            self.release(self.kept.len());
        }
    }

    /// Stable, so that records of equal time keep the file's order; run-detecting, so that the
    /// sorted runs of the rings are merged.
    fn sort(&mut self) {
        self.kept.sort_by_key(|entry| entry.time_ns);
    }

    fn release(&mut self, count: usize) {
        self.ready
            .extend(self.kept.drain(..count.min(self.kept.len())));
        self.first_chunk = self.kept.iter().map(|entry| entry.place.chunk).min();
    }

    /// Time of the last record that had one: where in time its stream has come to.
    pub(crate) fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// Takes what is ready, leaving `empty` to be filled; with it the first chunk that is still needed.
    pub(crate) fn take_ready(&mut self, empty: Vec<Entry>) -> (Vec<Entry>, Option<u32>) {
        (std::mem::replace(&mut self.ready, empty), self.first_chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(at: u32) -> Place {
        Place {
            chunk: at / 100,
            at,
            len_bytes: 8,
            event: 0,
        }
    }

    fn ready(rounds: &mut Rounds) -> Vec<u32> {
        let (ready, _) = rounds.take_ready(Vec::new());
        ready.iter().map(|entry| entry.place.at).collect()
    }

    #[test]
    fn a_round_releases_what_is_not_later_than_the_round_before() {
        let mut rounds = Rounds::new();
        for time in [10, 30, 20] {
            rounds.push(Some(time), place(time as u32));
        }
        rounds.end_round();
        assert_eq!(ready(&mut rounds), [0u32; 0]);
        for time in [25, 40] {
            rounds.push(Some(time), place(time as u32));
        }
        rounds.push(None, place(1));
        rounds.end_round();
        assert_eq!(ready(&mut rounds), [1, 10, 20, 25, 30]);
        rounds.end();
        assert_eq!(ready(&mut rounds), [40]);
    }

    #[test]
    fn equal_times_keep_the_files_order_and_a_file_without_times_its_own() {
        let mut rounds = Rounds::new();
        for at in [3, 1, 2] {
            rounds.push(Some(5), place(at));
        }
        rounds.end();
        assert_eq!(ready(&mut rounds), [3, 1, 2]);
        rounds.order_by_time(false);
        for time in [9, 4] {
            rounds.push(Some(time), place(time as u32));
        }
        assert_eq!(ready(&mut rounds), [9, 4]);
    }

    #[test]
    fn without_rounds_the_earlier_half_goes_when_too_much_waits() {
        let mut rounds = Rounds::new();
        for at in 0..400 {
            // Neighbours are in the wrong order.
            rounds.push(Some(u64::from(at ^ 1) + 1), place(at));
        }
        // Every chunk stands for 32 MiB: four of them are too many, two are not.
        rounds.limit_memory(|first| u64::from(4 - first) * (32 << 20));
        let (earlier, first) = rounds.take_ready(Vec::new());
        assert_eq!((earlier.len(), first), (200, Some(2)));
        assert_eq!(earlier.last().map(|entry| entry.time_ns), Some(200));
        assert!(earlier.is_sorted_by_key(|entry| entry.time_ns));
    }
}
