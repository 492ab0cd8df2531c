//! Sums over all frames of all stacks, whether or not a tree has them all.

use std::collections::{BTreeMap, BTreeSet};

use symbolizer::{Frame, FrameId, Unresolved};

use crate::labels::Label;
use crate::tree::{NodeKind, Stored};

/// What sums tell frames apart by: kinds, and why they have no name. There are a dozen.
pub(crate) struct Sorts {
    all: Vec<(NodeKind, &'static str)>,
    of: Vec<Sorted>,
}

/// Which sort a frame is of, and how many functions were put into it.
#[derive(Clone, Copy)]
struct Sorted {
    sort: u32,
    inlined: u32,
}

impl Sorts {
    pub(crate) fn of(frames: &[Frame]) -> Self {
        let mut all: Vec<(NodeKind, &'static str)> = Vec::new();
        let of = frames.iter().map(|frame| {
            let new = match &frame.name {
                Ok(_) => (NodeKind::of(frame.kind), ""),
                Err(reason) => (NodeKind::Unresolved, reason.kind()),
            };
            let known = all.iter().position(|sort| *sort == new);
            let sort = known.unwrap_or_else(|| {
                all.push(new);
                all.len() - 1
            });
            Sorted {
                sort: sort as u32,
                inlined: u32::try_from(frame.inlined.len()).unwrap_or(u32::MAX),
            }
        });
        let of = of.collect();
        Self { all, of }
    }
}

/// What the frames of each sort weigh, in a part of the stacks.
pub(crate) struct Weights<'a> {
    sorts: &'a Sorts,
    of_sorts: Vec<u64>,
    inlined: u64,
    cut: u64,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(sorts: &'a Sorts) -> Self {
        Self {
            sorts,
            of_sorts: vec![0; sorts.all.len()],
            inlined: 0,
            cut: 0,
        }
    }

    /// Stacks of this weight have the frame.
    #[inline]
    pub(crate) fn add(&mut self, id: FrameId, weight: u64) {
        let Some(Sorted { sort, inlined }) = self.sorts.of.get(id.0 as usize) else {
            return;
        };
        if let Some(sum) = self.of_sorts.get_mut(*sort as usize) {
            *sum = sum.saturating_add(weight);
        }
        let inlined = weight.saturating_mul(u64::from(*inlined));
        self.inlined = self.inlined.saturating_add(inlined);
    }

    /// A stack of this weight was cut.
    pub(crate) fn add_cut(&mut self, weight: u64) {
        self.cut = self.cut.saturating_add(weight);
    }
}

/// How much the frames weigh: each as much as the stacks that it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// All but those that mark a cut.
    pub(crate) frames: u64,
    /// Those of them that have no name, by [`Unresolved::kind`].
    pub(crate) unnamed: BTreeMap<&'static str, u64>,
    /// Those that mark a cut.
    pub(crate) truncated: u64,
    /// The kinds of frames there are.
    pub(crate) kinds: BTreeSet<NodeKind>,
}

impl Sums {
    /// Of all parts.
    pub(crate) fn of_parts<'a>(parts: impl Iterator<Item = &'a Weights<'a>>) -> Self {
        let mut sums = Self::default();
        for part in parts {
            let cut = Unresolved::Truncated.kind();
            sums.add(NodeKind::Unresolved, cut, part.cut);
            sums.add(NodeKind::Inlined, "", part.inlined);
            for ((kind, reason), weight) in part.sorts.all.iter().zip(&part.of_sorts) {
                sums.add(*kind, reason, *weight);
            }
        }
        sums
    }

    /// Of a whole tree.
    pub(crate) fn of_nodes(nodes: &[Stored], labels: &[Label]) -> Self {
        let mut sums = Self::default();
        for node in nodes {
            if let Some(label) = labels.get(node.label as usize) {
                sums.add(label.kind, label.reason, node.total_weight);
            }
        }
        sums
    }

    fn add(&mut self, kind: NodeKind, reason: &'static str, weight: u64) {
        if weight == 0 || kind == NodeKind::Root || kind.is_layer() {
            return;
        }
        self.kinds.insert(kind);
        let is_unnamed = kind == NodeKind::Unresolved;
        let add = |sum: &mut u64| *sum = sum.saturating_add(weight);
        if is_unnamed && reason == Unresolved::Truncated.kind() {
            return add(&mut self.truncated);
        }
        add(&mut self.frames);
        if is_unnamed {
            add(self.unnamed.entry(reason).or_default());
        }
    }
}
