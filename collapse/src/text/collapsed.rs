//! What a text gave: its stacks as a tree, and all that a reader of the picture must know of them.

use std::fmt;

use super::Format;
use super::lines::Place;
use crate::totals::{Taken, Totals, counted, grouped};
use crate::tree::FrameTree;

/// A text that was read to its end.
#[derive(Clone, Debug)]
pub struct Collapsed {
    /// What it was.
    pub format: Format,
    /// Its stacks. Their weights are what [`Collapsed::weight`] says.
    pub tree: FrameTree,
    /// Samples that are in the tree, where the text has a line or more for each.
    pub samples: Option<u64>,
    /// What the weights of the tree count.
    pub weight: Counted,
    /// The event whose samples are drawn, where the text names it.
    pub event: Option<String>,
    /// The other events, in the order they were met, with their samples: they are not in the tree.
    pub other_events: Vec<(String, u64)>,
    /// Samples that were lost, where the text tells of losses.
    pub lost: Option<u64>,
    /// Samples of waiting threads, which the readers of some formats leave out.
    pub waiting: u64,
    /// Lines that were not understood; none unless that was allowed.
    pub left_out: LeftOut,
    /// Where the text ends within a sample: the sample is counted, its stack may be cut.
    pub cut: Option<Place>,
    /// Why nothing more was read, where that was allowed.
    pub broken: Option<String>,
}

/// What a weight is the sum of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Samples, or whatever the folded text counted.
    Samples,
    /// The periods of samples: the events that happened since the sample before, of clocks the
    /// nanoseconds.
    Periods,
}

/// Lines that were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub lines: u64,
    /// The first of them.
    pub first: Place,
}

impl LeftOut {
    pub(super) fn add(&mut self, at: Place) {
        if self.lines == 0 {
            self.first = at;
        }
        self.lines += 1;
    }
}

impl Collapsed {
    /// What the picture's widths count: `samples`, `ns`, `cycles`.
    pub fn unit(&self) -> &str {
        match (self.weight, self.event.as_deref()) {
            (Counted::Samples, _) | (Counted::Periods, None) => "samples",
            (Counted::Periods, Some(event)) if is_clock(event) => "ns",
            (Counted::Periods, Some(event)) => event,
        }
    }
}

/// Clocks are counted in nanoseconds (kernel/events/core.c, `cpu_clock_event_read`).
fn is_clock(event: &str) -> bool {
    let name = event.split(':').next().unwrap_or(event);
    matches!(name, "cpu-clock" | "task-clock")
}

impl fmt::Display for Collapsed {
    /// One line: `11 880 samples of cycles, weighted by period · 3.1 % of frames unnamed (2.0 %
    /// of a file, 1.1 % unknown)`. What the text does not tell is not said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = self.samples.unwrap_or(self.tree.samples());
        f.write_str(&counted(samples, "sample"))?;
        if let Some(event) = &self.event {
            write!(f, " of {event}")?;
        }
        if self.weight == Counted::Periods {
            f.write_str(", weighted by period")?;
        }
        if let Some(lost) = self.lost {
            write!(f, " · {} lost", grouped(lost))?;
        }
        if self.waiting > 0 {
            write!(f, " · {} waiting, not drawn", grouped(self.waiting))?;
        }
        if self.left_out.lines > 0 {
            write!(f, " · {} left out", counted(self.left_out.lines, "line"))?;
        }
        if self.broken.is_some() {
            f.write_str(" · damaged: only what came before")?;
        }
        let totals = Totals::of(&self.tree, Taken::default());
        let containers = totals.containers.len() as u64;
        if containers > 0 {
            write!(f, " · {}", counted(containers, "container"))?;
        }
        totals.write_unnamed(f)
    }
}
