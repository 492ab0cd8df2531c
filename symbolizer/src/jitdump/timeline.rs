//! The generated code of a process as it changes: records of its dump are applied up to a time, in the
//! order of their times.
//!
//! Threads that compile write one behind the other but take their times before, so records may be a little
//! out of order: some are read ahead and sorted. Where times cannot be compared all are applied first, in
//! the order of the file: the last record of an address names it.

use super::code::{CodeName, CodeNames, CodeTable, PIECES_MAX};
use super::parse::{Chunk, What};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

/// Records that are read ahead.
const AHEAD: usize = 1024;

/// Whether the times of a dump can be compared with those of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    Comparable,
    Meaningless,
}

/// A record that waits for its time. Of one time, the order of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ahead {
    time_ns: u64,
    number: u64,
    what: Code,
}

/// What it does, its name among the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Code {
    Load {
        start: u64,
        end: u64,
        name: CodeName,
    },
    Move {
        from: u64,
        start: u64,
        end: u64,
    },
}

/// The code at the time of the last sample.
pub(crate) struct Timeline {
    table: CodeTable,
    /// Pieces of code that it may have.
    pub(crate) pieces_max: usize,
    /// Changes with the table.
    version: u64,
    ahead: BinaryHeap<Reverse<Ahead>>,
    records: u64,
    /// Records that took effect.
    pub(crate) applied: u64,
    /// MOVEs of code that was never loaded.
    pub(crate) lost_moves: u64,
    /// Code that was left out because there is too much.
    pub(crate) left_out: u64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            table: CodeTable::default(),
            pieces_max: PIECES_MAX,
            version: 0,
            ahead: BinaryHeap::new(),
            records: 0,
            applied: 0,
            lost_moves: 0,
            left_out: 0,
        }
    }
}

impl Timeline {
    /// Pieces of code that it has.
    pub(crate) fn pieces(&self) -> usize {
        self.table.len()
    }

    /// The function at an address now.
    pub(crate) fn find(&self, addr: u64) -> Option<CodeName> {
        self.table.find(addr)
    }

    /// While it stays the same, every address means what it meant.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Records that wait for their time.
    pub(crate) fn ahead(&self) -> usize {
        self.ahead.len()
    }

    /// Applies what happened up to `time_ns`. `more` reads on in the dump; `None` where there is no more
    /// for now.
    pub(crate) fn advance(
        &mut self,
        time_ns: u64,
        times: Times,
        names: &mut CodeNames,
        more: &mut dyn FnMut() -> Option<Chunk>,
    ) {
        let until = match times {
            Times::Comparable => time_ns,
            Times::Meaningless => u64::MAX,
        };
        loop {
            while self.ahead.len() < AHEAD {
                match more() {
                    Some(chunk) => self.take(&chunk, times, names),
                    None => break,
                }
            }
            let mut is_due = 0;
            while let Some(Reverse(next)) = self.ahead.peek()
                && next.time_ns <= until
                // So that what is read ahead stays that much.
                && is_due < AHEAD / 2
            {
                let what = next.what;
                self.ahead.pop();
                self.apply(what);
                is_due += 1;
            }
            if is_due < AHEAD / 2 {
                return;
            }
        }
    }

    /// Something else is there from now on: a file was mapped.
    pub(crate) fn hide(&mut self, range: Range<u64>) {
        self.table.remove(range);
        self.version += 1;
    }

    fn take(&mut self, chunk: &Chunk, times: Times, names: &mut CodeNames) {
        for change in &chunk.changes {
            let what = match change.what {
                What::Load { start, end, name } => match names.intern(chunk.name(name)) {
                    Some(name) => Code::Load { start, end, name },
                    None => {
                        self.left_out += 1;
                        continue;
                    }
                },
                What::Move { from, start, end } => Code::Move { from, start, end },
            };
            self.ahead.push(Reverse(Ahead {
                time_ns: match times {
                    Times::Comparable => change.time_ns,
                    Times::Meaningless => 0,
                },
                number: self.records,
                what,
            }));
            self.records += 1;
        }
    }

    fn apply(&mut self, what: Code) {
        let (range, name) = match what {
            Code::Load { start, end, name } => (start..end, name),
            // The old place keeps its name until something else is there: who still returns to it runs
            // the same function.
            Code::Move { from, start, end } => match self.table.starting_at(from) {
                Some(name) => (start..end, name),
                None => {
                    self.lost_moves += 1;
                    return;
                }
            },
        };
        if self.table.len() >= self.pieces_max {
            self.left_out += 1;
            return;
        }
        self.table.insert(range, name);
        self.version += 1;
        self.applied += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::Header;
    use super::super::parse::tests::Writer;
    use super::*;

    /// What is at `addr` at each of `times`.
    fn named(dump: &[u8], times: &[u64], how: Times, addr: u64) -> Vec<Option<String>> {
        let header = Header::read(dump).expect("a header");
        let mut position = header.records;
        let mut is_last = false;
        let mut more = || {
            if is_last {
                return None;
            }
            // One record at a time: the order in which they come must not matter.
            let chunk = position.read(dump, header.pid, 1).expect("memory");
            is_last = chunk.is_last || chunk.damage.is_some();
            Some(chunk)
        };
        let mut names = CodeNames::default();
        let mut timeline = Timeline::default();
        times
            .iter()
            .map(|time_ns| {
                timeline.advance(*time_ns, how, &mut names, &mut more);
                let name = timeline.find(addr)?;
                Some(String::from_utf8_lossy(names.get(name)).into_owned())
            })
            .collect()
    }

    fn some(names: &[&str]) -> Vec<Option<String>> {
        let given = |name: &&str| (!name.is_empty()).then(|| (*name).to_owned());
        names.iter().map(given).collect()
    }

    #[test]
    fn an_address_has_the_name_of_its_time() {
        for order in 0..2 {
            let mut loads = [(100, "first"), (200, "second")];
            if order == 1 {
                // As two threads may write them.
                loads.reverse();
            }
            let mut dump = Writer::new(7);
            for (time_ns, name) in loads {
                dump.load(time_ns, 0x1000, 0x100, name);
            }
            let times = [99, 100, 199, 200, u64::MAX];
            let found = named(&dump.bytes, &times, Times::Comparable, 0x10ff);
            assert_eq!(found, some(&["", "first", "first", "second", "second"]));
        }
    }

    #[test]
    fn without_times_the_last_record_of_the_file_names_it() {
        let mut dump = Writer::new(7);
        dump.load(200, 0x1000, 0x100, "first");
        dump.load(100, 0x1000, 0x100, "second");
        let found = named(&dump.bytes, &[1], Times::Meaningless, 0x1000);
        assert_eq!(found, some(&["second"]));
    }

    #[test]
    fn moved_code_has_its_name_in_both_places_until_other_code_is_there() {
        let mut dump = Writer::new(7);
        dump.load(100, 0x1000, 0x100, "moving");
        dump.moved(200, (0x1000, 0x5000), 0x100);
        dump.load(300, 0x1000, 0x80, "other");
        // Never loaded.
        dump.moved(400, (0x9000, 0x5000), 0x100);
        let times = [150, 250, 350, 450];
        let at = |addr| named(&dump.bytes, &times, Times::Comparable, addr);
        assert_eq!(at(0x1000), some(&["moving", "moving", "other", "other"]));
        assert_eq!(at(0x1080), some(&["moving"; 4]));
        assert_eq!(at(0x5000), some(&["", "moving", "moving", "moving"]));
    }

    #[test]
    fn many_records_are_applied_however_they_come() {
        let mut dump = Writer::new(7);
        for load in 0..20_000_u64 {
            // Each swapped with its neighbour.
            let time_ns = (load ^ 1) * 10;
            dump.load(time_ns, 0x1000, 0x10, &format!("f{}", load ^ 1));
        }
        let times = [5, 99_995, 199_990];
        let found = named(&dump.bytes, &times, Times::Comparable, 0x1000);
        assert_eq!(found, some(&["f0", "f9999", "f19999"]));
    }
}
