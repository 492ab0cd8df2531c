//! Sums over all frames of all stacks, whether or not a tree has them all.

use std::collections::{BTreeMap, BTreeSet};

use symbolizer::{Frame, Unresolved};

use crate::labels::Label;
use crate::rows::Walked;
use crate::tree::{NodeKind, Stored};

/// How much the frames weigh: each as much as the stacks that it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// All but those that mark a cut.
    pub(crate) frames: u64,
    /// Those of them that have no name, by [`Unresolved::kind`].
    pub(crate) unnamed: BTreeMap<&'static str, u64>,
    /// Those that mark a cut.
    pub(crate) truncated: u64,
    /// The kinds there are.
    pub(crate) kinds: BTreeSet<NodeKind>,
}

impl Sums {
    /// Of the frames of a recording, by walks over its parts.
    pub(crate) fn of_frames(frames: &[Frame], walked: &[Walked]) -> Self {
        let mut sums = Self::default();
        for walked in walked {
            sums.add(
                NodeKind::Unresolved,
                Unresolved::Truncated.kind(),
                walked.cut,
            );
            for (frame, weight) in frames.iter().zip(&walked.weights) {
                sums.add_frame(frame, *weight);
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

    fn add_frame(&mut self, frame: &Frame, weight: u64) {
        match &frame.name {
            Ok(_) => self.add(NodeKind::of(frame.kind), "", weight),
            Err(reason) => self.add(NodeKind::Unresolved, reason.kind(), weight),
        }
        let inlined = frame.inlined.len() as u64;
        self.add(NodeKind::Inlined, "", weight.saturating_mul(inlined));
    }

    fn add(&mut self, kind: NodeKind, reason: &'static str, weight: u64) {
        if weight == 0 {
            return;
        }
        self.kinds.insert(kind);
        let add = |sum: &mut u64| *sum = sum.saturating_add(weight);
        match kind {
            NodeKind::Root | NodeKind::Container | NodeKind::Process | NodeKind::Group => {}
            NodeKind::Unresolved if reason == Unresolved::Truncated.kind() => {
                add(&mut self.truncated);
            }
            NodeKind::Unresolved => {
                add(&mut self.frames);
                add(self.unnamed.entry(reason).or_default());
            }
            NodeKind::Native | NodeKind::Kernel | NodeKind::Jit | NodeKind::Inlined => {
                add(&mut self.frames);
            }
        }
    }
}
