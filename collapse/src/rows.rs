//! The stacks of a recording in one row: where neighbours part, and what those between two of them weigh.

use std::ops::Range;

use symbolizer::{FrameId, ResolvedStack, StackPart};

use crate::sums::{Sorts, Weights};

/// What one walk over a part tells.
pub(crate) struct Walked<'a> {
    pub(crate) weights: Weights<'a>,
    /// In the order of the stacks.
    moved: Vec<Moved>,
}

/// A stack that shares more with the one before it, which stands on other ground, than with the last one on its own.
struct Moved {
    number: usize,
    /// What it shares with that, and its frames behind.
    shared: u32,
    own: Vec<FrameId>,
}

/// What the frames of a stack stand on: its context, and whether frames are missing between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The last stack of those that are whole, or of those that are cut: on what it stands, and how many of its frames
/// all stacks since have.
type Last = (Option<Ground>, usize);

impl<'a> Walked<'a> {
    /// Of a part whose frames are of these sorts.
    pub(crate) fn over(part: &StackPart, sorts: &'a Sorts) -> Self {
        let mut weights = Weights::new(sorts);
        let mut moved = Vec::new();
        // The stack before, and what those weigh that end at or above each of its frames.
        let mut path: Vec<(FrameId, u64)> = Vec::new();
        let mut lasts: [Last; 2] = [(None, 0); 2];
        for (number, stack) in part.stacks().enumerate() {
            leave(&mut path, stack.shared, &mut weights);
            path.extend(stack.frames.iter().map(|id| (*id, 0)));
            if let Some((_, weight)) = path.last_mut() {
                *weight = weight.saturating_add(stack.weight);
            }
            if stack.is_cut {
                weights.add_cut(stack.weight);
            }
            for (_, still) in &mut lasts {
                *still = stack.shared.min(*still);
            }
            let ground = Some(Ground::of(&stack));
            let [whole, cut] = &mut lasts;
            let last = if stack.is_cut { cut } else { whole };
            let shared = if last.0 == ground { last.1 } else { 0 };
            if shared < stack.shared {
                let own = path.iter().skip(shared).map(|(id, _)| *id);
                moved.push(Moved {
                    number,
                    shared: shared as u32,
                    own: own.collect(),
                });
            }
            *last = (ground, path.len());
        }
        leave(&mut path, 0, &mut weights);
        Self { weights, moved }
    }
}

/// Weighs the frames behind the first `kept` ones, and leaves them.
fn leave(path: &mut Vec<(FrameId, u64)>, kept: usize, weights: &mut Weights<'_>) {
    while path.len() > kept
        && let Some((id, weight)) = path.pop()
    {
        weights.add(id, weight);
        if let Some((_, below)) = path.last_mut() {
            *below = below.saturating_add(weight);
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
    /// What each stack and those before it weigh. No count of 64 bits makes it overflow.
    through: Vec<u128>,
    /// What stands on one ground, in a row.
    grounds: Vec<(Ground, Range<u32>)>,
}

impl<'a> Rows<'a> {
    /// Of each part, and what a walk over it told.
    pub(crate) fn of(parts: &'a [StackPart], walked: &'a [Walked<'_>]) -> Self {
        let len = parts.iter().map(|part| part.stacks().len()).sum();
        let mut rows = Self {
            shared: Vec::with_capacity(len),
            own: Vec::with_capacity(len),
            through: Vec::with_capacity(len),
            grounds: Vec::new(),
        };
        for (part, walked) in parts.iter().zip(walked) {
            let mut moved = walked.moved.iter().peekable();
            let numbered = part.stacks().enumerate();
            let stacks = numbered.map(|(number, stack)| {
                let moved = moved.next_if(|moved| moved.number == number);
                (stack, moved)
            });
            // Those that are cut come behind the others: one ground is not left for each stack that takes its turn.
            let mut cut = Vec::new();
            let mut ground = None;
            for (stack, moved) in stacks {
                match stack.is_cut {
                    true => cut.push((stack, moved)),
                    false => rows.push(&stack, moved, &mut ground),
                }
            }
            for (stack, moved) in cut {
                rows.push(&stack, moved, &mut ground);
            }
        }
        rows
    }

    /// Takes the next stack of a part; `ground` is that of the one before in it.
    fn push(
        &mut self,
        stack: &ResolvedStack<'a>,
        moved: Option<&'a Moved>,
        ground: &mut Option<Ground>,
    ) {
        let at = self.shared.len() as u32;
        let (shared, own) = match moved {
            Some(moved) => (moved.shared, &moved.own[..]),
            None => (stack.shared as u32, stack.frames),
        };
        let next = Ground::of(stack);
        let before = ground.replace(next);
        match self.grounds.last_mut() {
            Some((_, row)) if before == Some(next) => row.end = at + 1,
            _ => self.grounds.push((next, at..at + 1)),
        }
        self.shared.push(shared);
        self.own.push(own);
        self.through.push(self.weight() + u128::from(stack.weight));
    }

    /// What all of them weigh.
    pub(crate) fn weight(&self) -> u128 {
        self.through.last().copied().unwrap_or(0)
    }

    /// The runs of all stacks, each on one ground.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (Ground, Run)> {
        self.grounds.iter().map(|(ground, row)| {
            let Range { start, end } = *row;
            // Nobody has looked yet.
            let alike = 0;
            (*ground, Run { start, end, alike })
        })
    }

    pub(crate) fn weight_of(&self, run: Run) -> u128 {
        let before = |at: u32| {
            let last = at
                .checked_sub(1)
                .and_then(|at| self.through.get(at as usize));
            last.copied().unwrap_or(0)
        };
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
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use symbolizer::{Frame, FrameKind, NamedStack, Resolved};

    use super::*;

    #[test]
    fn stacks_that_take_turns_in_being_cut_copy_no_path_again() {
        const DEPTH: usize = 200;
        let frame = |name: String| Frame::new(Ok(Arc::from(name)), FrameKind::Native);
        let shared: Vec<Frame> = (0..DEPTH).map(|at| frame(at.to_string())).collect();
        let stack = |number: usize| NamedStack {
            is_cut: number % 2 == 1,
            container: "c".into(),
            comm: "p".into(),
            frames: [&shared[..], &[frame(format!("leaf {number}"))]].concat(),
            samples: 1,
        };
        let stacks: Vec<NamedStack> = (0..100).map(stack).collect();
        let resolved: Resolved = stacks.iter().collect();
        let sorts = Sorts::of(&resolved.frames);
        let walked = Walked::over(&resolved.parts[0], &sorts);
        let moved: Vec<usize> = walked.moved.iter().map(|moved| moved.own.len()).collect();
        // The first that is cut has its whole path; the others share with the last of their own ground.
        assert_eq!(moved, [DEPTH + 1]);
        let walked = [walked];
        let rows = Rows::of(&resolved.parts[..1], &walked);
        let runs: Vec<(bool, u128)> = rows
            .runs()
            .map(|(ground, run)| (ground.is_cut, rows.weight_of(run)))
            .collect();
        assert_eq!(runs, [(false, 50), (true, 50)]);
    }
}
