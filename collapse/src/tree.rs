//! Counted stacks merged into one tree, in an order that depends on the names alone.
//!
//! The nodes lie in one array, parents before their children and every subtree in one piece, so a
//! walk is a loop over a slice and no depth of a stack can exhaust ours.

use rayon::prelude::*;
use symbolizer::{Resolved, StackPart, Unresolved};

use crate::labels::{Label, LabelId, Labels};
use crate::paths::{PathNode, Paths, ROOT, side_by_side};

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
struct Stored {
    label: u32,
    depth: u32,
    self_weight: u64,
    total_weight: u64,
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
        let paths_of = |part: StackPart| {
            // A stack mostly adds a node or none: stacks also differ by addresses in one function.
            let mut paths = Paths::with_room_for(part.stacks().len());
            // The stack before: what it stands below, the labels of its frames, and how many there are up
            // to each of them.
            let mut last_top = None;
            let mut frames: Vec<LabelId> = Vec::new();
            let mut ends: Vec<usize> = Vec::new();
            for stack in part.stacks() {
                ends.truncate(stack.shared);
                let shared = ends.last().copied().unwrap_or(0);
                frames.truncate(shared);
                for id in stack.frames {
                    if let Some(labels) = frame_labels.get(id.0 as usize) {
                        frames.push(labels.outer);
                        frames.extend_from_slice(&labels.inlined);
                    }
                    ends.push(frames.len());
                }
                let layers = layers.get(stack.context).map_or(&[][..], Vec::as_slice);
                let cut = stack.is_cut.then_some(&cut);
                let above = layers.len() + usize::from(stack.is_cut);
                if last_top == Some((stack.context, stack.is_cut)) {
                    let new = frames.get(shared..).unwrap_or_default();
                    paths.add_after(above + shared, new.iter().copied(), stack.weight);
                } else {
                    let path = layers.iter().chain(cut).chain(&frames);
                    paths.add(path.copied(), stack.weight);
                    last_top = Some((stack.context, stack.is_cut));
                }
            }
            paths
        };
        let parts = resolved.parts.into_par_iter();
        let parts = parts.map(|part| paths_of(part).into_nodes()).collect();
        Self::of_nodes(labels, &side_by_side(parts))
    }

    /// The tree of paths that were counted already.
    pub fn new(labels: Labels, paths: Paths) -> Self {
        Self::of_nodes(labels, &paths.into_nodes())
    }

    /// Nodes of one label below one parent become one.
    pub(crate) fn of_nodes(labels: Labels, nodes: &[PathNode]) -> Self {
        let (mut labels, rank_of) = labels.ranked();
        let rank = |number: u32| {
            let label = nodes.get(number as usize).map(|node| node.label);
            label
                .and_then(|label| rank_of.get(label.0 as usize).copied())
                .unwrap_or(labels.len() as u32)
        };
        let children = Children::of(nodes, rank);
        let totals = totals(nodes);
        let mut stored = Vec::with_capacity(nodes.len());
        let mut waiting = vec![(Same::One(ROOT), 0)];
        while let Some((same, depth)) = waiting.pop() {
            let numbers = same.numbers();
            let (mut self_weight, mut total_weight) = (0_u64, 0_u64);
            for number in numbers {
                let node = nodes.get(*number as usize);
                let total = totals.get(*number as usize).copied().unwrap_or(0);
                self_weight = self_weight.saturating_add(node.map_or(0, |node| node.self_weight));
                total_weight = total_weight.saturating_add(total);
            }
            if total_weight == 0 && depth > 0 {
                continue;
            }
            stored.push(Stored {
                label: numbers.first().map_or(0, |number| rank(*number)),
                depth,
                self_weight,
                total_weight,
            });
            let gathered;
            let below = match same {
                Same::One(number) => children.of_node(number),
                Same::Many(ref numbers) => {
                    let each = numbers.iter().map(|number| children.of_node(*number));
                    gathered = sorted(each.flatten().copied().collect(), rank);
                    &gathered
                }
            };
            let groups = below.chunk_by(|a, b| rank(*a) == rank(*b)).rev();
            waiting.extend(groups.map(|group| (Same::of(group), depth + 1)));
        }
        labels.push(Label {
            name: "all".into(),
            kind: NodeKind::Root,
            reason: "",
        });
        Self {
            nodes: stored,
            labels,
        }
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

/// Nodes that are one in the tree: mostly a single one.
enum Same {
    One(u32),
    Many(Vec<u32>),
}

impl Same {
    fn of(group: &[u32]) -> Self {
        match group {
            [number] => Self::One(*number),
            numbers => Self::Many(numbers.to_vec()),
        }
    }

    fn numbers(&self) -> &[u32] {
        match self {
            Self::One(number) => std::slice::from_ref(number),
            Self::Many(numbers) => numbers,
        }
    }
}

fn sorted(mut numbers: Vec<u32>, rank: impl Fn(u32) -> u32) -> Vec<u32> {
    numbers.sort_unstable_by_key(|number| rank(*number));
    numbers
}

/// The weight of each node with all below it.
fn totals(nodes: &[PathNode]) -> Vec<u64> {
    let mut totals: Vec<u64> = nodes.iter().map(|node| node.self_weight).collect();
    // Children have higher numbers than their parents.
    for (number, node) in nodes.iter().enumerate().skip(1).rev() {
        let total = totals.get(number).copied().unwrap_or(0);
        if let Some(parent) = totals.get_mut(node.parent as usize) {
            *parent = parent.saturating_add(total);
        }
    }
    totals
}

/// The children of every node, in the order of their labels.
struct Children {
    /// Where a node's children begin in `numbers`; one more entry than there are nodes.
    starts: Vec<u32>,
    numbers: Vec<u32>,
}

impl Children {
    fn of(nodes: &[PathNode], rank: impl Fn(u32) -> u32) -> Self {
        let mut starts = vec![0_u32; nodes.len() + 1];
        for node in nodes.iter().skip(1) {
            starts[node.parent as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut free = starts.clone();
        let mut numbers = vec![0; nodes.len().saturating_sub(1)];
        for (number, node) in (0..).zip(nodes).skip(1) {
            let slot = &mut free[node.parent as usize];
            numbers[*slot as usize] = number;
            *slot += 1;
        }
        for (start, end) in starts.iter().zip(starts.iter().skip(1)) {
            let siblings = &mut numbers[*start as usize..*end as usize];
            if siblings.len() > 1 {
                siblings.sort_unstable_by_key(|number| rank(*number));
            }
        }
        Self { starts, numbers }
    }

    fn of_node(&self, number: u32) -> &[u32] {
        let at = number as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => self
                .numbers
                .get(*start as usize..*end as usize)
                .unwrap_or_default(),
            _ => &[],
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
