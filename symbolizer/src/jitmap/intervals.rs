//! Overlapping ranges, of which the newest covers, as disjoint ones.

use std::collections::BinaryHeap;

/// A range of code and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interval {
    /// First address.
    pub(super) start: u64,
    /// Where the name starts in the arena. Names are appended line by line, so this is also the
    /// order of the lines: the greater, the newer.
    pub(super) name: u32,
    /// In bytes, not zero. `start + len` does not overflow.
    pub(super) len: u32,
}

impl Interval {
    fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.len))
    }
}

/// Sorted disjoint intervals that cover the same addresses, each byte by the newest of those that
/// cover it in `intervals`.
///
/// A sweep over the sorted starts with a heap of what is open, newest on top. Each step closes an
/// interval or reaches the next start, so there are at most twice as many pieces as lines, and all
/// of it is O(n log n). Maps without overlap (after dropping what a later line hides wholly at
/// the same start: code is most often replaced in place) need the sort only, and no second array.
pub(super) fn newest_first_cover(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable();
    drop_hidden_at_the_same_start(&mut intervals);
    let disjoint = intervals
        .iter()
        .zip(intervals.iter().skip(1))
        .all(|(earlier, later)| earlier.end() <= later.start);
    if !disjoint {
        intervals = cut(&intervals);
    }
    intervals.shrink_to_fit();
    intervals
}

fn drop_hidden_at_the_same_start(intervals: &mut Vec<Interval>) {
    // Backwards, so that the newest of a start is met first: it hides what is not longer.
    intervals.reverse();
    let mut last = None;
    intervals.retain(|interval| {
        let hidden = last.is_some_and(|newer: Interval| {
            newer.start == interval.start && newer.len >= interval.len
        });
        if !hidden {
            last = Some(*interval);
        }
        !hidden
    });
    intervals.reverse();
}

fn cut(sorted: &[Interval]) -> Vec<Interval> {
    let mut pieces: Vec<Interval> = Vec::with_capacity(sorted.len());
    let mut open: BinaryHeap<(u32, u64)> = BinaryHeap::new();
    let mut position = 0;
    let last = std::iter::once(u64::MAX);
    let starts = sorted.iter().map(|interval| interval.start).chain(last);
    for (until, opening) in starts.zip(sorted.iter().map(Some).chain([None])) {
        while let Some(&(name, end)) = open.peek() {
            if end <= position {
                open.pop();
                continue;
            }
            if position >= until {
                break;
            }
            let stop = end.min(until);
            match pieces.last_mut() {
                Some(piece) if piece.name == name && piece.end() == position => {
                    // Part of one interval, whose length has 32 bits.
                    piece.len = (stop - piece.start) as u32;
                }
                _ => pieces.push(Interval {
                    start: position,
                    name,
                    len: (stop - position) as u32,
                }),
            }
            position = stop;
        }
        position = until;
        if let Some(opening) = opening {
            open.push((opening.name, opening.end()));
        }
    }
    pieces
}
