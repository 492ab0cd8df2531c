//! Counted stacks merged into one tree, in an order that depends on the names alone.
//!
//! The nodes lie in one array, parents before their children and every subtree in one piece, so a
//! walk is a loop over a slice and no depth of a stack can exhaust ours.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::{BuildHasherDefault, Hasher};

use symbolizer::{Frame, FrameKind, ResolvedStack, Unresolved};

use crate::clean::clean_name;

/// What a node of the tree stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeKind {
    /// All samples.
    Root,
    /// A container, or the host.
    Container,
    /// A thread name.
    Process,
    /// A function of an ELF image.
    Native,
    /// A function of the kernel.
    Kernel,
    /// A function of code generated at run time.
    Jit,
    /// A frame without a name; its label is the reason, in square brackets.
    Unresolved,
}

/// The merged stacks: root `all`, then containers, thread names, and frames root first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameTree {
    /// Pre-order; never empty, the first is the root.
    nodes: Vec<Stored>,
    /// Distinct cleaned names, sorted.
    names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    name: usize,
    kind: NodeKind,
    depth: usize,
    /// One past the last node below this one.
    end: usize,
    self_samples: u64,
    total_samples: u64,
}

/// One node, as a renderer sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node<'a> {
    /// Cleaned by [`clean_name`], which must not be applied again. May be empty.
    pub name: &'a str,
    /// What it stands for.
    pub kind: NodeKind,
    /// 0 for the root, 1 for containers, 2 for thread names, 3 for the outermost functions.
    pub depth: usize,
    /// Samples taken right here, with nothing deeper.
    pub self_samples: u64,
    /// Samples taken here and below.
    pub total_samples: u64,
}

impl FrameTree {
    /// Merges stacks. The order they come in makes no difference; stacks of no samples add nothing.
    pub fn from_stacks<'a>(stacks: impl IntoIterator<Item = &'a ResolvedStack>) -> Self {
        let mut labels = Labels::default();
        let mut steps: Vec<u32> = Vec::new();
        let mut paths = Vec::new();
        for stack in stacks.into_iter().filter(|stack| stack.samples > 0) {
            let start = steps.len();
            steps.push(labels.of_name(&stack.container, NodeKind::Container));
            steps.push(labels.of_name(&stack.comm, NodeKind::Process));
            steps.extend(stack.frames.iter().map(|frame| labels.of_frame(frame)));
            paths.push((start..steps.len(), stack.samples));
        }
        let (names, labels, rank_of) = labels.ranked();
        for step in &mut steps {
            *step = rank_of[*step as usize];
        }
        let mut paths: Vec<(&[u32], u64)> = paths
            .into_iter()
            .map(|(range, samples)| (&steps[range], samples))
            .collect();
        paths.sort_unstable();
        Self {
            nodes: merge_sorted(&paths, &labels, names.len() - 1),
            names,
        }
    }

    /// Samples of the whole tree.
    pub fn samples(&self) -> u64 {
        self.nodes.first().map_or(0, |root| root.total_samples)
    }

    /// All nodes, the root first, each before its children, children by name and then kind.
    pub fn preorder(&self) -> impl ExactSizeIterator<Item = Node<'_>> {
        self.nodes.iter().map(|stored| self.view(stored))
    }

    /// The containers, by name.
    pub fn containers(&self) -> impl Iterator<Item = Node<'_>> {
        let mut at = 1;
        std::iter::from_fn(move || {
            let stored = self.nodes.get(at)?;
            at = stored.end;
            Some(self.view(stored))
        })
    }

    fn view(&self, stored: &Stored) -> Node<'_> {
        Node {
            name: &self.names[stored.name],
            kind: stored.kind,
            depth: stored.depth,
            self_samples: stored.self_samples,
            total_samples: stored.total_samples,
        }
    }
}

/// Builds the nodes from paths of label ranks in ascending order: equal beginnings are neighbours.
fn merge_sorted(paths: &[(&[u32], u64)], labels: &[Label], root_name: usize) -> Vec<Stored> {
    let node = |name, kind, depth| Stored {
        name,
        kind,
        depth,
        end: 0,
        self_samples: 0,
        total_samples: 0,
    };
    let mut nodes = vec![node(root_name, NodeKind::Root, 0)];
    // The nodes from the root to the latest leaf; node `open[d + 1]` came from step d.
    let mut open = vec![0];
    let mut previous: &[u32] = &[];
    for (path, samples) in paths {
        let shared = previous
            .iter()
            .zip(*path)
            .take_while(|(a, b)| a == b)
            .count();
        for closed in open.drain(shared + 1..) {
            nodes[closed].end = nodes.len();
        }
        for step in &path[shared..] {
            let Label { name, kind } = labels[*step as usize];
            open.push(nodes.len());
            nodes.push(node(name, kind, open.len() - 1));
        }
        for at in &open {
            let total = &mut nodes[*at].total_samples;
            *total = total.saturating_add(*samples);
        }
        if let Some(leaf) = open.last() {
            let own = &mut nodes[*leaf].self_samples;
            *own = own.saturating_add(*samples);
        }
        previous = path;
    }
    for closed in open {
        nodes[closed].end = nodes.len();
    }
    nodes
}

/// A name's place in the sorted names, and a kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Label {
    name: usize,
    kind: NodeKind,
}

/// Numbers labels in the order they are met.
///
/// Frames share their names' allocations, so nearly every lookup is one of a pointer. Pointers
/// decide how fast a number is found, never which.
#[derive(Default)]
struct Labels<'a> {
    by_address: HashMap<(usize, usize, NodeKind), u32, BuildHasherDefault<AddressHasher>>,
    by_reason: HashMap<&'a Unresolved, u32>,
    by_text: HashMap<(String, NodeKind), u32>,
}

impl<'a> Labels<'a> {
    fn of_frame(&mut self, frame: &'a Frame) -> u32 {
        match (&frame.name, frame.kind) {
            (Ok(name), FrameKind::Native) => self.of_name(name, NodeKind::Native),
            (Ok(name), FrameKind::Kernel) => self.of_name(name, NodeKind::Kernel),
            (Ok(name), FrameKind::Jit) => self.of_name(name, NodeKind::Jit),
            (Err(reason), _) => self.of_reason(reason),
        }
    }

    fn of_name(&mut self, name: &'a str, kind: NodeKind) -> u32 {
        let key = (name.as_ptr().addr(), name.len(), kind);
        if let Some(found) = self.by_address.get(&key) {
            return *found;
        }
        let number = self.of_text(name, kind);
        self.by_address.insert(key, number);
        number
    }

    fn of_reason(&mut self, reason: &'a Unresolved) -> u32 {
        if let Some(found) = self.by_reason.get(reason) {
            return *found;
        }
        let number = self.of_text(&reason as &dyn Display, NodeKind::Unresolved);
        self.by_reason.insert(reason, number);
        number
    }

    fn of_text(&mut self, text: impl Display, kind: NodeKind) -> u32 {
        let next = u32::try_from(self.by_text.len()).expect("2^32 labels do not fit in memory");
        let text = clean_name(&text.to_string()).into_owned();
        *self.by_text.entry((text, kind)).or_insert(next)
    }

    /// The sorted names with the root's appended, the labels in ascending order, and each number's
    /// place among them.
    fn ranked(self) -> (Vec<String>, Vec<Label>, Vec<u32>) {
        let mut sorted: Vec<((String, NodeKind), u32)> = self.by_text.into_iter().collect();
        sorted.sort_unstable();
        let mut rank_of = vec![0; sorted.len()];
        let mut names: Vec<String> = Vec::new();
        let mut labels = Vec::with_capacity(sorted.len());
        for (rank, ((name, kind), number)) in (0..).zip(sorted) {
            if names.last() != Some(&name) {
                names.push(name);
            }
            labels.push(Label {
                name: names.len() - 1,
                kind,
            });
            rank_of[number as usize] = rank;
        }
        names.push("all".to_owned());
        (names, labels, rank_of)
    }
}

/// Mixes addresses, lengths and kinds: none of them is of anybody's choosing.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        // Odd, close to 2^64 divided by the golden ratio; the rotation brings the well mixed high
        // bits down, where the table takes its index from.
        self.0 = (self.0 ^ value)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(26);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn frame(name: &str, kind: FrameKind) -> Frame {
        Frame {
            name: Ok(name.into()),
            kind,
        }
    }

    fn stack(container: &str, comm: &str, frames: Vec<Frame>, samples: u64) -> ResolvedStack {
        ResolvedStack {
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

    fn three_stacks() -> Vec<ResolvedStack> {
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
        assert_eq!(lines(&FrameTree::from_stacks(&three_stacks())), expected);
    }

    #[test]
    fn the_order_of_the_stacks_makes_no_difference() {
        let stacks = three_stacks();
        let tree = FrameTree::from_stacks(&stacks);
        assert_eq!(FrameTree::from_stacks(stacks.iter().rev()), tree);
        for turn in 0..stacks.len() {
            let (a, b) = stacks.split_at(turn);
            assert_eq!(FrameTree::from_stacks(b.iter().chain(a)), tree);
        }
    }

    #[test]
    fn one_name_of_two_kinds_is_two_nodes_and_one_name_in_two_allocations_is_one() {
        let tree = FrameTree::from_stacks(&[
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
        let unnamed = |kind| Frame {
            name: Err(reason.clone()),
            kind,
        };
        let tree = FrameTree::from_stacks(&[
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
        let stacks = three_stacks();
        let tree = FrameTree::from_stacks(&stacks);
        let containers: Vec<_> = tree
            .containers()
            .map(|c| (c.name, c.total_samples))
            .collect();
        assert_eq!(containers, [("db", 2), ("web", 26)]);
    }

    #[test]
    fn no_stacks_are_a_root_of_no_samples() {
        let tree = FrameTree::from_stacks(&[]);
        assert_eq!(lines(&tree), ["all Root 0/0"]);
        assert_eq!((tree.samples(), tree.containers().count()), (0, 0));
    }

    #[test]
    fn a_very_deep_stack_and_absurd_counts_neither_overflow_nor_recurse() {
        let name: Arc<str> = "f".into();
        let deep = vec![
            Frame {
                name: Ok(name),
                kind: FrameKind::Native
            };
            200_000
        ];
        let tree = FrameTree::from_stacks(&[
            stack("c", "p", deep, u64::MAX),
            stack("c", "p", native(&["g"]), 5),
        ]);
        assert_eq!(tree.preorder().len(), 200_004);
        assert_eq!(tree.samples(), u64::MAX);
    }
}
