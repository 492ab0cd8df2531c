//! Counted stacks merged into one tree, in an order that depends on the names alone.
//!
//! The nodes lie in one array, parents before their children and every subtree in one piece, so a
//! walk is a loop over a slice and no depth of a stack can exhaust ours.

use rayon::prelude::*;
use symbolizer::{Resolved, Unresolved};

use crate::labels::{Label, LabelId, Labels};
use crate::parts::{Below, LabelsOfFrames, paths_of};
use crate::paths::{PathNode, Paths, side_by_side};
use crate::siblings::in_preorder;

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

/// The merged stacks: root `all`, then the layers that were asked for, and frames root first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameTree {
    /// Pre-order; never empty, the first is the root.
    nodes: Vec<Stored>,
    /// Distinct labels, ascending; the root's is the last.
    labels: Vec<Label>,
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
    /// Samples taken right here, with nothing deeper; or the sum of their periods.
    pub self_samples: u64,
    /// Samples taken here and below.
    pub total_samples: u64,
}

impl FrameTree {
    /// Merges the stacks of a recording. The order they come in makes no difference; stacks of no
    /// weight add nothing.
    pub fn of(resolved: Resolved) -> Self {
        let mut labels = Labels::default();
        let frame_labels = labels.of_frames(&resolved.frames);
        let cut = Unresolved::Truncated;
        let cut = labels.intern_unresolved(&cut.to_string(), cut.kind());
        let layers: Vec<Vec<LabelId>> = resolved
            .contexts
            .iter()
            .map(|layers| layers.iter().map(|layer| labels.of_layer(layer)).collect())
            .collect();
        // Numbered by their order from here on: what stands side by side is sorted by it.
        let (labels, ranks) = labels.ranked();
        let ranked =
            |layers: Vec<LabelId>| layers.into_iter().map(|label| ranks.of(label)).collect();
        let below = Below {
            layers: layers.into_iter().map(ranked).collect(),
            cut: ranks.of(cut),
        };
        let frame_labels = LabelsOfFrames::of(&frame_labels, |label| ranks.of(label));
        let parts = resolved.parts.into_par_iter();
        let parts = parts.map(|part| paths_of(&part, &below, &frame_labels).into_nodes());
        Self::of_nodes(labels, &side_by_side(parts.collect()))
    }

    /// The tree of paths that were counted already.
    pub fn new(labels: Labels, paths: Paths) -> Self {
        let (labels, ranks) = labels.ranked();
        let mut nodes = paths.into_nodes();
        for node in &mut nodes {
            node.label = ranks.of(node.label);
        }
        Self::of_nodes(labels, &nodes)
    }

    /// The tree of nodes whose labels are numbered in their order.
    pub(crate) fn of_nodes(mut labels: Vec<Label>, nodes: &[PathNode]) -> Self {
        let mut nodes = in_preorder(nodes);
        if let Some(root) = nodes.first_mut() {
            root.label = labels.len() as u32;
        }
        labels.push(Label {
            name: "all".into(),
            kind: NodeKind::Root,
            reason: "",
        });
        Self { nodes, labels }
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
mod tests {
    use std::sync::Arc;

    use symbolizer::{Frame, FrameKind, NamedStack, Unresolved};

    use super::*;

    fn tree_of<'a>(stacks: impl IntoIterator<Item = &'a NamedStack>) -> FrameTree {
        FrameTree::of(stacks.into_iter().collect())
    }

    fn frame(name: &str, kind: FrameKind) -> Frame {
        Frame::new(Ok(name.into()), kind)
    }

    fn stack(container: &str, comm: &str, frames: Vec<Frame>, samples: u64) -> NamedStack {
        NamedStack {
            container: container.into(),
            comm: comm.into(),
            frames,
            samples,
        }
    }

    fn native(names: &[&str]) -> Vec<Frame> {
        names
            .iter()
            .map(|name| frame(name, FrameKind::Native))
            .collect()
    }

    fn lines(tree: &FrameTree) -> Vec<String> {
        tree.preorder()
            .map(|n| {
                let indent = " ".repeat(n.depth);
                format!(
                    "{indent}{} {:?} {}/{}",
                    n.name, n.kind, n.self_samples, n.total_samples
                )
            })
            .collect()
    }

    fn three_stacks() -> Vec<NamedStack> {
        let mut in_kernel = native(&["main", "read"]);
        in_kernel.push(frame("read", FrameKind::Kernel));
        vec![
            stack("web", "nginx", native(&["main", "read"]), 3),
            stack("db", "sh", vec![], 2),
            stack("web", "nginx", in_kernel, 5),
            stack("web", "nginx", native(&["main"]), 1),
            stack("web", "cron", native(&["main"]), 7),
            stack("web", "nginx", native(&["main", "read"]), 10),
            stack("none", "none", native(&["main"]), 0),
        ]
    }

    #[test]
    fn what_was_put_into_a_function_stands_above_it() {
        let with = |frame: Frame, inlined: &[&str]| Frame {
            inlined: inlined.iter().map(|name| Arc::from(*name)).collect(),
            ..frame
        };
        let outer = frame("outer", FrameKind::Jit);
        let leaf = frame("leaf", FrameKind::Native);
        let stacks = [
            stack(
                "web",
                "java",
                vec![with(outer.clone(), &["a", "b"]), leaf],
                2,
            ),
            stack("web", "java", vec![with(outer.clone(), &["a"])], 3),
            stack("web", "java", vec![outer], 4),
        ];
        assert_eq!(
            lines(&tree_of(&stacks)),
            [
                "all Root 0/9",
                " web Container 0/9",
                "  java Process 0/9",
                "   outer Jit 4/9",
                "    a Inlined 3/5",
                "     b Inlined 0/2",
                "      leaf Native 2/2",
            ]
        );
    }

    const THREE_STACKS: [&str; 9] = [
        "all Root 0/28",
        " db Container 0/2",
        "  sh Process 2/2",
        " web Container 0/26",
        "  cron Process 0/7",
        "   main Native 7/7",
        "  nginx Process 0/19",
        "   main Native 1/19",
        "    read Native 13/18",
    ];

    #[test]
    fn equal_stacks_are_one_path_and_every_sample_is_in_it() {
        let mut expected: Vec<&str> = THREE_STACKS.to_vec();
        expected.push("     read Kernel 5/5");
        assert_eq!(lines(&tree_of(&three_stacks())), expected);
    }

    #[test]
    fn the_order_of_the_stacks_makes_no_difference() {
        let stacks = three_stacks();
        let tree = tree_of(&stacks);
        assert_eq!(tree_of(stacks.iter().rev()), tree);
        for turn in 0..stacks.len() {
            let (a, b) = stacks.split_at(turn);
            assert_eq!(tree_of(b.iter().chain(a)), tree);
        }
    }

    #[test]
    fn one_name_of_two_kinds_is_two_nodes_and_one_name_in_two_allocations_is_one() {
        let tree = tree_of(&[
            stack("c", "p", vec![frame("f", FrameKind::Kernel)], 1),
            stack("c", "p", vec![frame("f", FrameKind::Jit)], 2),
            stack("c", "p", vec![frame("f", FrameKind::Native)], 4),
            stack("c", "p", vec![frame("f", FrameKind::Native)], 8),
        ]);
        assert_eq!(
            lines(&tree)[3..],
            ["   f Native 12/12", "   f Kernel 1/1", "   f Jit 2/2"].map(str::to_owned)
        );
    }

    #[test]
    fn an_unresolved_frame_is_a_node_labelled_by_its_reason() {
        let reason = Unresolved::Stripped(Arc::from("lib\nfoo.so"));
        let unnamed = |kind| Frame::new(Err(reason.clone()), kind);
        let tree = tree_of(&[
            stack("c", "p", vec![unnamed(FrameKind::Native)], 1),
            stack("c", "p", vec![unnamed(FrameKind::Kernel)], 1),
            stack("c", "p", native(&[r"[stripped lib\x0afoo.so]"]), 1),
        ]);
        assert_eq!(
            lines(&tree)[3..],
            [
                r"   [stripped lib\x0afoo.so] Unresolved 2/2",
                r"   [stripped lib\x5cx0afoo.so] Native 1/1"
            ]
            .map(str::to_owned)
        );
    }

    #[test]
    fn containers_are_listed_with_their_samples() {
        let tree = tree_of(&three_stacks());
        assert_eq!(tree.containers(), [("db", 2), ("web", 26)]);
    }

    #[test]
    fn a_container_below_other_layers_is_listed_once() {
        let mut labels = Labels::default();
        let comm = |labels: &mut Labels, name| labels.intern(NodeKind::Process, name);
        let (sh, cron) = (comm(&mut labels, "sh"), comm(&mut labels, "cron"));
        let web = labels.intern(NodeKind::Container, "web");
        let mut paths = Paths::default();
        paths.add([sh, web], 2);
        paths.add([cron, web], 3);
        assert_eq!(FrameTree::new(labels, paths).containers(), [("web", 5)]);
    }

    #[test]
    fn no_stacks_are_a_root_of_no_samples() {
        let tree = tree_of(&[]);
        assert_eq!(lines(&tree), ["all Root 0/0"]);
        assert_eq!((tree.samples(), tree.containers().len()), (0, 0));
    }

    #[test]
    fn a_very_deep_stack_and_absurd_counts_neither_overflow_nor_recurse() {
        let name: Arc<str> = "f".into();
        let deep = vec![Frame::new(Ok(name), FrameKind::Native); 200_000];
        let tree = tree_of(&[
            stack("c", "p", deep, u64::MAX),
            stack("c", "p", native(&["g"]), 5),
        ]);
        assert_eq!(tree.preorder().len(), 200_004);
        assert_eq!(tree.samples(), u64::MAX);
    }
}
