//! The stacks of a recording in one row: where neighbours part, what those between two of them weigh, and
//! how much each frame is in.

use std::ops::Range;

use symbolizer::{FrameId, ResolvedStack, StackPart};

/// What one walk over a part tells.
pub(crate) struct Walked {
    /// What the stacks that each frame is in weigh, as often as it is in them.
    pub(crate) weights: Vec<u64>,
    /// What those weigh that were cut.
    pub(crate) cut: u64,
    /// The stacks, by their number, that share frames with one before them which stands on other ground,
    /// and all their frames.
    moved: Vec<(usize, Vec<FrameId>)>,
}

/// What the frames of a stack stand on: its context, and whether frames are missing between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ground {
    pub(crate) context: usize,
    pub(crate) is_cut: bool,
}

impl Ground {
    fn of(stack: &ResolvedStack<'_>) -> Self {
        Self {
            context: stack.context,
            is_cut: stack.is_cut,
        }
    }
}

impl Walked {
    /// Of a part whose frames are among so many.
    pub(crate) fn over(part: &StackPart, frames: usize) -> Self {
        let mut walked = Self {
            weights: vec![0; frames],
            cut: 0,
            moved: Vec::new(),
        };
        // The stack before, and what those weigh that end at or above each of its frames.
        let mut path: Vec<(FrameId, u64)> = Vec::new();
        let mut ground = None;
        for (number, stack) in part.stacks().enumerate() {
            walked.leave(&mut path, stack.shared);
            path.extend(stack.frames.iter().map(|id| (*id, 0)));
            if let Some((_, weight)) = path.last_mut() {
                *weight = weight.saturating_add(stack.weight);
            }
            if stack.is_cut {
                walked.cut = walked.cut.saturating_add(stack.weight);
            }
            let before = ground.replace(Ground::of(&stack));
            if stack.shared > 0 && before != ground {
                let all = path.iter().map(|(id, _)| *id);
                walked.moved.push((number, all.collect()));
            }
        }
        walked.leave(&mut path, 0);
        walked
    }

    /// Weighs the frames behind the first `kept` ones, and leaves them.
    fn leave(&mut self, path: &mut Vec<(FrameId, u64)>, kept: usize) {
        while path.len() > kept
            && let Some((id, weight)) = path.pop()
        {
            if let Some(sum) = self.weights.get_mut(id.0 as usize) {
                *sum = sum.saturating_add(weight);
            }
            if let Some((_, below)) = path.last_mut() {
                *below = below.saturating_add(weight);
            }
        }
    }
}

/// Stacks in a row that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    start: u32,
    end: u32,
    /// At least as many frames, from the root on, are the same in all of them; of one stack, endless.
    alike: u32,
}

impl Run {
    /// Of no stacks.
    pub(crate) const EMPTY: Self = Self {
        start: 0,
        end: 0,
        alike: 0,
    };
}

/// All stacks, those of one part and one ground side by side.
#[derive(Default)]
pub(crate) struct Rows<'a> {
    /// As many frames, from the root on, are those of the stack before.
    shared: Vec<u32>,
    /// The frames behind them.
    own: Vec<&'a [FrameId]>,
    /// What those before each stack weigh, and at last all. No count of 64 bits makes it overflow.
    before: Vec<u128>,
    /// What stands on one ground, in a row.
    grounds: Vec<(Ground, Range<u32>)>,
}

impl<'a> Rows<'a> {
    /// Of each part, and what a walk over it told.
    pub(crate) fn of(parts: &'a [StackPart], walked: &'a [Walked]) -> Self {
        let len = parts.iter().map(|part| part.stacks().len()).sum();
        let mut rows = Self {
            shared: Vec::with_capacity(len),
            own: Vec::with_capacity(len),
            before: Vec::with_capacity(len + 1),
            grounds: Vec::new(),
        };
        let mut sum = 0;
        for (part, walked) in parts.iter().zip(walked) {
            let mut moved = walked.moved.iter().peekable();
            let mut ground = None;
            for (number, stack) in part.stacks().enumerate() {
                let at = rows.shared.len() as u32;
                let (shared, own) = match moved.next_if(|(moved, _)| *moved == number) {
                    Some((_, all)) => (0, &all[..]),
                    None => (stack.shared as u32, stack.frames),
                };
                let before = ground.replace(Ground::of(&stack));
                match rows.grounds.last_mut() {
                    Some((_, row)) if before == ground => row.end = at + 1,
                    _ => rows.grounds.push((Ground::of(&stack), at..at + 1)),
                }
                rows.shared.push(shared);
                rows.own.push(own);
                rows.before.push(sum);
                sum += u128::from(stack.weight);
            }
        }
        rows.before.push(sum);
        rows
    }

    /// What all of them weigh.
    pub(crate) fn weight(&self) -> u128 {
        self.before.last().copied().unwrap_or(0)
    }

    /// The runs of all stacks, each on one ground.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (Ground, Run)> {
        self.grounds
            .iter()
            .map(|(ground, row)| (*ground, self.run(row.start, row.end)))
    }

    pub(crate) fn weight_of(&self, run: Run) -> u128 {
        let before = |at: u32| self.before.get(at as usize).copied().unwrap_or(0);
        before(run.end) - before(run.start)
    }

    /// Adds the runs of those of `run` that go on behind their first `depth` frames, which are alike, and the frame
    /// that each of them goes on with.
    pub(crate) fn split(&self, run: Run, depth: u32, found: &mut Vec<(FrameId, Run)>) {
        let mut part = |run: Run| {
            found.extend(self.frame(run.start, depth).map(|frame| (frame, run)));
        };
        if run.alike > depth {
            return part(run);
        }
        let mut start = run.start;
        let mut alike = u32::MAX;
        for at in run.start + 1..run.end {
            let shared = self.shared.get(at as usize).copied().unwrap_or(0);
            if shared <= depth {
                part(Run {
                    start,
                    end: at,
                    alike,
                });
                (start, alike) = (at, u32::MAX);
            } else {
                alike = alike.min(shared);
            }
        }
        part(Run {
            start,
            end: run.end,
            alike,
        });
    }

    /// The frame of a stack behind its first `depth` ones, which begins to differ there from the one before or earlier.
    fn frame(&self, at: u32, depth: u32) -> Option<FrameId> {
        let shared = self.shared.get(at as usize)?;
        let own = self.own.get(at as usize)?;
        own.get(depth.checked_sub(*shared)? as usize).copied()
    }

    fn run(&self, start: u32, end: u32) -> Run {
        let behind = self.shared.get(start as usize + 1..end as usize);
        let alike = behind.unwrap_or_default().iter().copied().min();
        Run {
            start,
            end,
            alike: alike.unwrap_or(u32::MAX),
        }
    }
}
