//! Counted stacks merged into one tree, in an order that depends on the names alone.
//!
//! The nodes lie in one array, parents before their children and every subtree in one piece, so a
//! walk is a loop over a slice and no depth of a stack can exhaust ours.

use rayon::prelude::*;
use symbolizer::{FrameKind, Resolved, Unresolved};

use crate::labels::{Label, LabelId, Labels, Names};
use crate::paths::Paths;
use crate::rows::{Ground, Rows, Walked};
use crate::siblings::in_preorder;
use crate::split::{Splitter, saturated};
use crate::sums::{Sorts, Sums};

/// What a node of the tree stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeKind {
    /// All samples.
    Root,
    /// A container, or the host.
    Container,
    /// A thread name.
    Process,
    /// A process, a thread or a CPU by its number.
    Group,
    /// A function of an ELF image.
    Native,
    /// A function of the kernel.
    Kernel,
    /// A function of code generated at run time.
    Jit,
    /// A function that the compiler put into its caller.
    Inlined,
    /// A frame without a name; its label is the reason, in square brackets.
    Unresolved,
}

impl NodeKind {
    pub(crate) fn of(kind: FrameKind) -> Self {
        match kind {
            FrameKind::Native => Self::Native,
            FrameKind::Kernel => Self::Kernel,
            FrameKind::Jit => Self::Jit,
        }
    }

    /// Whether it stands for what stacks belong to, and not for a frame.
    pub(crate) fn is_layer(self) -> bool {
        matches!(self, Self::Container | Self::Process | Self::Group)
    }
}

/// The merged stacks: root `all`, then the layers that were asked for, and frames root first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameTree {
    /// Pre-order; never empty, the first is the root.
    nodes: Vec<Stored>,
    /// Distinct labels in the order of their first nodes.
    labels: Vec<Label>,
    /// Of all frames, also those that have no node.
    sums: Sums,
    leaves_out: bool,
}

/// Which nodes a tree has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// One for each path of frames that was sampled.
    All,
    /// Those of frames that at least one of as many samples is in, and of all containers, processes and groups. It
    /// is what a picture shows, and little of what a recording has.
    Wide {
        /// One of how many samples.
        one_of: u64,
    },
}

impl Detail {
    /// How many samples a frame has at least, of a tree of so many.
    pub fn samples_min(self, samples: u64) -> u64 {
        match self {
            Self::All => 1,
            Self::Wide { one_of } => samples.div_ceil(one_of.max(1)).max(1),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) label: u32,
    pub(crate) depth: u32,
    pub(crate) self_weight: u64,
    pub(crate) total_weight: u64,
}

/// One node, as a renderer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// Cleaned by [`clean_name`], which must not be applied again. May be empty.
    pub name: &'a str,
    /// What it stands for.
    pub kind: NodeKind,
    /// Why a frame has no name, in a word: `stripped`. Empty for all others.
    pub reason: &'static str,
    /// 0 for the root, 1 for what is right above it.
    pub depth: usize,
    /// Samples taken right here, with nothing deeper that the tree has; or the sum of their periods.
    pub self_samples: u64,
    /// Samples taken here and below.
    pub total_samples: u64,
}

impl FrameTree {
    /// Merges the stacks of a recording. The order they come in makes no difference; stacks of no
    /// weight add nothing.
    pub fn of(resolved: &Resolved, detail: Detail) -> Self {
        let Resolved {
            frames,
            contexts,
            parts,
            ..
        } = resolved;
        let sorts = Sorts::of(frames);
        let walked = parts.par_iter().map(|part| Walked::over(part, &sorts));
        let walked: Vec<Walked<'_>> = walked.collect();
        let rows = Rows::of(parts, &walked);
        let weight_min = detail.samples_min(saturated(rows.weight()));
        let layers = |ground: Ground, names: &mut Names| {
            let layers = contexts.get(ground.context).into_iter().flatten();
            let layers = layers.map(|layer| names.labels.of_layer(layer));
            let mut labels: Vec<LabelId> = layers.collect();
            if ground.is_cut {
                let cut = Unresolved::Truncated;
                labels.push(names.labels.intern_unresolved(&cut.to_string(), cut.kind()));
            }
            labels.into()
        };
        let nodes = Splitter::new(&rows, frames).nodes(weight_min, layers);
        let sums = Sums::of_parts(walked.iter().map(|walked| &walked.weights));
        Self {
            leaves_out: nodes.are_left_out,
            ..Self::made(nodes.stored, &nodes.labels, sums)
        }
    }

    /// The tree of paths that were counted already.
    pub fn new(labels: Labels, paths: Paths) -> Self {
        let (labels, ranks) = labels.ranked();
        let mut nodes = paths.into_nodes();
        for node in &mut nodes {
            node.label = ranks.of(node.label);
        }
        let nodes = in_preorder(&nodes);
        let sums = Sums::of_nodes(&nodes, &labels);
        Self::made(nodes, &labels, sums)
    }

    /// The nodes' labels come to be numbered in the order of the nodes; others are dropped.
    fn made(mut nodes: Vec<Stored>, all: &[Label], sums: Sums) -> Self {
        let mut labels = vec![Label {
            name: "all".into(),
            kind: NodeKind::Root,
            reason: "",
        }];
        let mut number_of = vec![0; all.len()];
        if let Some(root) = nodes.first_mut() {
            root.label = 0;
        }
        for node in nodes.iter_mut().skip(1) {
            let label = node.label as usize;
            let (Some(number), Some(label)) = (number_of.get_mut(label), all.get(label)) else {
                continue;
            };
            if *number == 0 {
                *number = labels.len() as u32;
                labels.push(label.clone());
            }
            node.label = *number;
        }
        Self {
            nodes,
            labels,
            sums,
            leaves_out: false,
        }
    }

    /// Whether it has not all nodes of its stacks: it was made with [`Detail::Wide`], and some were narrow.
    pub fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    /// Whether there are frames of a kind, drawn or not.
    pub fn has(&self, kind: NodeKind) -> bool {
        self.sums.kinds.contains(&kind)
    }

    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Samples of the whole tree.
    pub fn samples(&self) -> u64 {
        self.nodes.first().map_or(0, |root| root.total_weight)
    }

    /// All nodes, the root first, each before its children, children by name and then kind.
    pub fn preorder(&self) -> impl ExactSizeIterator<Item = Node<'_>> {
        self.nodes.iter().map(|stored| self.view(stored))
    }

    /// The containers and their samples, by name.
    pub fn containers(&self) -> Vec<(&str, u64)> {
        let mut containers: Vec<(&str, u64)> = Vec::new();
        let mut found: Vec<Node<'_>> = self
            .preorder()
            .filter(|node| node.kind == NodeKind::Container)
            .collect();
        found.sort_by_key(|node| node.name);
        for node in found {
            match containers.last_mut() {
                Some((name, samples)) if *name == node.name => {
                    *samples = samples.saturating_add(node.total_samples);
                }
                _ => containers.push((node.name, node.total_samples)),
            }
        }
        containers
    }

    fn view(&self, stored: &Stored) -> Node<'_> {
        let label = &self.labels[stored.label as usize];
        Node {
            name: &label.name,
            kind: label.kind,
            reason: label.reason,
            depth: stored.depth as usize,
            self_samples: stored.self_weight,
            total_samples: stored.total_weight,
        }
    }
}

#[cfg(test)]
mod tests;
