//! Records of many rings in one time order, by rounds.
//!
//! ```text
//!   ring of CPU 0   ──a──c────f──┐            round n: what was in the rings, sorted by time
//!   ring of CPU 1   ────b──d──e──┤──▶ a b c d │ e f      up to a limit: delivered
//!                                             └──▶        after it: kept for round n + 1
//! ```
//! A record's time is taken before it becomes visible to us, so a record with an earlier time can
//! still appear in another ring after this round's reading. The limit lies behind the start of the
//! reading by more than that takes; a record that is later still is delivered late, never lost.

/// Sorts the records of each round and hands them out in time order.
#[derive(Default)]
pub(crate) struct RoundSorter {
    bytes: Vec<u8>,
    /// Where the last round's bytes were: megabytes, whose pages the kernel need not give again.
    spare: Vec<u8>,
    entries: Vec<Entry>,
    /// Entries before this one were handed out.
    next: usize,
    /// Entries before this one may be handed out.
    ready: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    time_ns: u64,
    start: usize,
    len_bytes: u16,
    source: u8,
}

impl RoundSorter {
    /// Forgets what was handed out; what was kept back stays.
    pub(crate) fn begin_round(&mut self) {
        if self.next == self.entries.len() {
            self.bytes.clear();
            self.entries.clear();
        } else {
            let mut kept_bytes = std::mem::take(&mut self.spare);
            kept_bytes.clear();
            self.entries.drain(..self.next);
            for entry in &mut self.entries {
                let start = kept_bytes.len();
                let end = entry.start + usize::from(entry.len_bytes);
                kept_bytes.extend_from_slice(self.bytes.get(entry.start..end).unwrap_or(&[]));
                entry.start = start;
            }
            self.spare = std::mem::replace(&mut self.bytes, kept_bytes);
        }
        (self.next, self.ready) = (0, 0);
    }

    /// Takes a copy of one record. `source` says which layout it has; records of one source come in
    /// (nearly) ascending time, which makes the sort a merge.
    pub(crate) fn push(&mut self, time_ns: u64, record: &[u8], source: u8) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        // A record's length is a u16 in its header.
        self.entries.push(Entry {
            time_ns,
            start,
            len_bytes: record.len() as u16,
            source,
        });
    }

    /// Ends the round: records up to `until_ns` may now be handed out.
    pub(crate) fn end_round(&mut self, until_ns: u64) {
        // Stable, so that records of equal time keep their ring's order; run-detecting, so that the
        // sorted runs of the rings are merged rather than sorted.
        self.entries.sort_by_key(|entry| entry.time_ns);
        self.ready = self
            .entries
            .partition_point(|entry| entry.time_ns <= until_ns);
    }

    /// The next record in time order, with its source.
    pub(crate) fn pop(&mut self) -> Option<(&[u8], u8)> {
        if self.next == self.ready {
            return None;
        }
        let entry = self.entries.get(self.next)?;
        self.next += 1;
        let end = entry.start + usize::from(entry.len_bytes);
        self.bytes
            .get(entry.start..end)
            .map(|record| (record, entry.source))
    }

    /// Whether records wait for the next round.
    pub(crate) fn has_kept(&self) -> bool {
        self.next < self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn popped(sorter: &mut RoundSorter) -> Vec<(Vec<u8>, u8)> {
        std::iter::from_fn(|| sorter.pop().map(|(bytes, source)| (bytes.to_vec(), source)))
            .collect()
    }

    #[test]
    fn records_of_two_rings_come_in_time_order_and_equal_times_keep_their_rings_order() {
        let mut sorter = RoundSorter::default();
        sorter.begin_round();
        for (time, byte) in [(10, b'a'), (30, b'c'), (60, b'f')] {
            sorter.push(time, &[byte], 0);
        }
        for (time, byte) in [(20, b'b'), (30, b'd'), (50, b'e')] {
            sorter.push(time, &[byte], 1);
        }
        sorter.end_round(40);
        let order: Vec<u8> = popped(&mut sorter)
            .iter()
            .map(|(bytes, _)| bytes[0])
            .collect();
        assert_eq!(order, b"abcd");
        assert!(sorter.has_kept());
    }

    #[test]
    fn what_is_after_the_limit_is_delivered_by_a_later_round_with_its_bytes() {
        let mut sorter = RoundSorter::default();
        sorter.begin_round();
        sorter.push(50, b"kept", 1);
        sorter.push(5, b"first", 0);
        sorter.end_round(40);
        assert_eq!(popped(&mut sorter), [(b"first".to_vec(), 0)]);
        sorter.begin_round();
        sorter.push(45, b"second", 0);
        sorter.end_round(u64::MAX);
        assert_eq!(
            popped(&mut sorter),
            [(b"second".to_vec(), 0), (b"kept".to_vec(), 1)]
        );
        assert!(!sorter.has_kept());
        sorter.begin_round();
        sorter.end_round(u64::MAX);
        assert_eq!(popped(&mut sorter), []);
    }
}
