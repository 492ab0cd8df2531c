//! The stacks of a recording become the nodes of a tree, from the root on: those below one node are split by
//! the label that they go on with. What is above a node that is not wanted is never looked at.

use symbolizer::{Frame, FrameId};

use crate::labels::{Label, LabelId, Names};
use crate::rows::{Ground, Rows, Run};
use crate::tree::Stored;

/// A tree's nodes in pre-order. The root's label is none of them.
pub(crate) struct Nodes {
    pub(crate) stored: Vec<Stored>,
    pub(crate) labels: Vec<Label>,
    /// Whether some are missing for their weight.
    pub(crate) are_left_out: bool,
}

/// A run of stacks above one node, and what they go on with.
#[derive(Clone, Copy)]
struct Part {
    run: Run,
    /// How many frames are behind them.
    depth: u32,
    /// Labels that come before the next frame.
    rest: Rest,
}

/// The rest of a list of labels.
#[derive(Clone, Copy)]
struct Rest {
    list: u32,
    at: u32,
}

const NOTHING: Rest = Rest {
    list: u32::MAX,
    at: 0,
};

/// A node that waits for what is above it. When it is its turn, its parts are the last of all.
struct Waiting {
    label: LabelId,
    depth: u32,
    weight: u128,
    parts: usize,
}

/// Parts that go on with one label.
struct Group {
    label: LabelId,
    weight: u128,
    parts: usize,
    /// Where the next of them is put; none of those that are not wanted.
    place: Option<usize>,
}

/// Splits stacks.
pub(crate) struct Splitter<'a> {
    rows: &'a Rows<'a>,
    labels: FrameLabels<'a>,
    /// Parts of nodes that wait.
    parts: Vec<Part>,
    waiting: Vec<Waiting>,
    /// Of a part: the runs that go on, and with which frame.
    runs: Vec<(FrameId, Run)>,
    /// Of the node whose turn it is: what goes on, and in which group.
    found: Vec<(u32, Part)>,
    groups: Vec<Group>,
    /// By label; [`NO_GROUP`] for most.
    group_of: Vec<u32>,
}

const NO_GROUP: u32 = u32::MAX;

impl Part {
    const NONE: Self = Self {
        run: Run::EMPTY,
        depth: 0,
        rest: NOTHING,
    };
}

impl<'a> Splitter<'a> {
    pub(crate) fn new(rows: &'a Rows<'a>, frames: &'a [Frame]) -> Self {
        Self {
            rows,
            labels: FrameLabels::new(frames),
            parts: Vec::new(),
            waiting: Vec::new(),
            runs: Vec::new(),
            found: Vec::new(),
            groups: Vec::new(),
            group_of: Vec::new(),
        }
    }

    /// The nodes that weigh at least `weight_min`, and those that stand for layers if they weigh anything;
    /// `layers` tells the labels of a ground.
    pub(crate) fn nodes(
        mut self,
        weight_min: u64,
        mut layers: impl FnMut(Ground, &mut Names) -> Box<[LabelId]>,
    ) -> Nodes {
        for (ground, run) in self.rows.runs() {
            let list = layers(ground, &mut self.labels.names);
            let rest = self.labels.keep(list);
            let depth = 0;
            self.parts.push(Part { run, depth, rest });
        }
        self.waiting.push(Waiting {
            label: LabelId(u32::MAX),
            depth: 0,
            weight: self.rows.weight(),
            parts: self.parts.len(),
        });
        let mut stored = Vec::new();
        let mut are_left_out = false;
        while let Some(node) = self.waiting.pop() {
            self.group(&node);
            let wanted = self.wanted(weight_min);
            let weight_of = |at: &u32| self.groups.get(*at as usize).map_or(0, |it| it.weight);
            let above: u128 = wanted.iter().map(weight_of).sum();
            are_left_out |= above < self.groups.iter().map(|group| group.weight).sum();
            stored.push(Stored {
                label: node.label.0,
                depth: node.depth,
                self_weight: saturated(node.weight - above),
                total_weight: saturated(node.weight),
            });
            self.wait(&wanted, node.depth + 1);
        }
        Nodes {
            stored,
            labels: self.labels.names.into_labels(),
            are_left_out,
        }
    }

    /// Groups what the stacks of a node go on with by its label.
    fn group(&mut self, node: &Waiting) {
        let Self {
            rows,
            labels,
            parts,
            found,
            groups,
            group_of,
            runs,
            ..
        } = self;
        found.clear();
        groups.clear();
        let mut goes_on = |label: LabelId, part: Part| {
            let slot = label.0 as usize;
            if slot >= group_of.len() {
                group_of.resize(2 * slot + 1, NO_GROUP);
            }
            let Some(number) = group_of.get_mut(slot) else {
                return;
            };
            if *number == NO_GROUP {
                *number = groups.len() as u32;
                groups.push(Group {
                    label,
                    weight: 0,
                    parts: 0,
                    place: None,
                });
            }
            if let Some(group) = groups.get_mut(*number as usize) {
                group.weight += rows.weight_of(part.run);
                group.parts += 1;
                found.push((*number, part));
            }
        };
        let first = parts.len() - node.parts;
        for part in parts.drain(first..) {
            if let Some((label, rest)) = labels.next(part.rest) {
                goes_on(label, Part { rest, ..part });
                continue;
            }
            // In two passes: the frames lie far apart, and the waits for them overlap.
            runs.clear();
            rows.split(part.run, part.depth, &mut *runs);
            for (frame, run) in &*runs {
                if let Some((label, rest)) = labels.of(*frame) {
                    let depth = part.depth + 1;
                    let run = *run;
                    goes_on(label, Part { run, depth, rest });
                }
            }
        }
        for group in groups {
            if let Some(number) = group_of.get_mut(group.label.0 as usize) {
                *number = NO_GROUP;
            }
        }
    }

    /// The groups that are to be nodes, in the order of their labels.
    fn wanted(&self, weight_min: u64) -> Vec<u32> {
        let names = &self.labels.names;
        let label_of = |at: u32| names.label(self.groups.get(at as usize)?.label);
        let numbered = (0..).zip(&self.groups);
        let wanted = numbered.filter(|(at, group)| {
            let is_layer = label_of(*at).is_some_and(|label| label.kind.is_layer());
            group.weight >= u128::from(if is_layer { 1 } else { weight_min })
        });
        let mut wanted: Vec<u32> = wanted.map(|(at, _)| at).collect();
        wanted.sort_unstable_by_key(|at| label_of(*at));
        wanted
    }

    /// Lets these groups wait for their turn: the first of them has it next.
    fn wait(&mut self, wanted: &[u32], depth: u32) {
        let mut end = self.parts.len();
        for at in wanted.iter().rev() {
            if let Some(group) = self.groups.get_mut(*at as usize) {
                group.place = Some(end);
                end += group.parts;
                self.waiting.push(Waiting {
                    label: group.label,
                    depth,
                    weight: group.weight,
                    parts: group.parts,
                });
            }
        }
        self.parts.resize(end, Part::NONE);
        for (number, part) in &self.found {
            let group = self.groups.get_mut(*number as usize);
            if let Some(place) = group.and_then(|group| group.place.as_mut()) {
                if let Some(slot) = self.parts.get_mut(*place) {
                    *slot = *part;
                }
                *place += 1;
            }
        }
    }
}

pub(crate) fn saturated(weight: u128) -> u64 {
    u64::try_from(weight).unwrap_or(u64::MAX)
}

/// The labels of frames; each frame's are made when a node may be of it.
struct FrameLabels<'a> {
    frames: &'a [Frame],
    names: Names,
    /// Of each frame.
    known: Vec<u32>,
    /// The labels of grounds, and of frames that have several.
    lists: Vec<Box<[LabelId]>>,
}

/// What is known of a frame that was not asked for.
const UNKNOWN: u32 = u32::MAX;
/// Set in what is known of a frame whose labels are a list: the rest is its number.
const SEVERAL: u32 = 1 << 31;

impl<'a> FrameLabels<'a> {
    fn new(frames: &'a [Frame]) -> Self {
        Self {
            frames,
            names: Names::default(),
            known: vec![UNKNOWN; frames.len()],
            lists: Vec::new(),
        }
    }

    /// The first label of a frame, and those behind it.
    #[inline]
    fn of(&mut self, id: FrameId) -> Option<(LabelId, Rest)> {
        match *self.known.get(id.0 as usize)? {
            UNKNOWN => self.ask(id),
            known if known & SEVERAL != 0 => self.next(Rest {
                list: known & !SEVERAL,
                at: 0,
            }),
            known => Some((LabelId(known), NOTHING)),
        }
    }

    #[cold]
    fn ask(&mut self, id: FrameId) -> Option<(LabelId, Rest)> {
        let frame = self.frames.get(id.0 as usize)?;
        let label = self.names.of_frame(frame);
        let (known, found) = if frame.inlined.is_empty() && label.0 < SEVERAL {
            (label.0, Some((label, NOTHING)))
        } else {
            let inlined = self.names.of_inlined(frame);
            let list = [label].into_iter().chain(inlined).collect();
            let list = self.keep(list);
            (SEVERAL | list.list, self.next(list))
        };
        if let Some(slot) = self.known.get_mut(id.0 as usize) {
            *slot = known;
        }
        found
    }

    fn keep(&mut self, list: Box<[LabelId]>) -> Rest {
        self.lists.push(list);
        Rest {
            list: self.lists.len() as u32 - 1,
            at: 0,
        }
    }

    /// The next label of a list, and what is behind it.
    #[inline]
    fn next(&self, Rest { list, at }: Rest) -> Option<(LabelId, Rest)> {
        let label = self.lists.get(list as usize)?.get(at as usize)?;
        let at = at + 1;
        Some((*label, Rest { list, at }))
    }
}
