//! Paths of labels from the root, counted as they come: a tree in which equal beginnings are one.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::labels::LabelId;

/// Counted paths, in the order they were met. The node of the empty path is the root.
#[derive(Debug)]
pub struct Paths {
    nodes: Vec<PathNode>,
    children: HashTable<Child>,
    seed: u64,
    /// The path that was added last, with its nodes: the next one mostly begins like it.
    last: Vec<(LabelId, u32)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PathNode {
    pub(crate) label: LabelId,
    /// Always of a lower number.
    pub(crate) parent: u32,
    pub(crate) self_weight: u64,
}

pub(crate) const ROOT: u32 = 0;

/// A node by its parent and label: all that a search compares, so that it waits for memory once.
#[derive(Clone, Copy, Debug)]
struct Child {
    parent: u32,
    label: LabelId,
    number: u32,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            nodes: vec![PathNode {
                label: LabelId(u32::MAX),
                parent: ROOT,
                self_weight: 0,
            }],
            children: HashTable::new(),
            // Decides how fast a node is found, never which.
            seed: RandomState::new().hash_one(0) | 1,
            last: Vec::new(),
        }
    }
}

impl Paths {
    /// Counts a path, root first, without the root `all`.
    pub fn add(&mut self, path: impl IntoIterator<Item = LabelId>, weight: u64) {
        let mut path = path.into_iter();
        let mut shared = 0;
        let differs = path.by_ref().find(|label| {
            let is_new = self.last.get(shared).is_none_or(|(last, _)| last != label);
            shared += usize::from(!is_new);
            is_new
        });
        self.add_after(shared, differs.into_iter().chain(path), weight);
    }

    /// Counts the path that begins like the one added last for `shared` labels, and goes on with
    /// these.
    pub fn add_after(
        &mut self,
        shared: usize,
        labels: impl IntoIterator<Item = LabelId>,
        weight: u64,
    ) {
        self.last.truncate(shared);
        let mut at = self.last.last().map_or(ROOT, |(_, node)| *node);
        for label in labels {
            at = self.child(at, label);
            self.last.push((label, at));
        }
        self.weigh(at, weight);
    }

    /// Adds all paths of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        let mut ours = Vec::with_capacity(other.nodes.len());
        for (number, node) in other.nodes.iter().enumerate() {
            let at = if number == 0 {
                ROOT
            } else {
                let parent = ours.get(node.parent as usize).copied().unwrap_or(ROOT);
                self.child(parent, node.label)
            };
            ours.push(at);
            self.weigh(at, node.self_weight);
        }
        self.last.clear();
    }

    /// Parents before their children, the root first.
    pub(crate) fn nodes(&self) -> &[PathNode] {
        &self.nodes
    }

    fn weigh(&mut self, at: u32, weight: u64) {
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.self_weight = node.self_weight.saturating_add(weight);
        }
    }

    fn child(&mut self, parent: u32, label: LabelId) -> u32 {
        let Self {
            nodes,
            children,
            seed,
            ..
        } = self;
        let hash = hash(*seed, parent, label);
        let is_it = |child: &Child| child.parent == parent && child.label == label;
        if let Some(child) = children.find(hash, is_it) {
            return child.number;
        }
        let number = nodes.len() as u32;
        nodes.push(PathNode {
            label,
            parent,
            self_weight: 0,
        });
        let child = Child {
            parent,
            label,
            number,
        };
        children.insert_unique(hash, child, |child| {
            self::hash(*seed, child.parent, child.label)
        });
        number
    }
}

/// One 64 × 64 → 128 bit multiplication, its halves folded together.
fn hash(seed: u64, parent: u32, label: LabelId) -> u64 {
    let word = u64::from(parent) << 32 | u64::from(label.0);
    let product = u128::from(word ^ seed) * u128::from(0x9e37_79b9_7f4a_7c15_u64 ^ seed << 1 | 1);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Labels;
    use crate::tree::{FrameTree, NodeKind};

    #[test]
    fn parts_that_are_merged_are_one_whole() {
        let all: Vec<(Vec<u32>, u64)> = (0..500_u32)
            .map(|n| {
                (
                    (0..n % 7).map(|depth| n / 3 % (depth + 2)).collect(),
                    u64::from(n % 5),
                )
            })
            .collect();
        let tree_of = |parts: &[&[(Vec<u32>, u64)]]| {
            let mut labels = Labels::default();
            let ids: Vec<_> = (0..10)
                .map(|n| labels.intern(NodeKind::Native, &n.to_string()))
                .collect();
            let mut whole = Paths::default();
            for part in parts {
                let mut paths = Paths::default();
                for (path, weight) in *part {
                    paths.add(path.iter().map(|n| ids[*n as usize]), *weight);
                }
                whole.merge(&paths);
            }
            FrameTree::new(labels, whole)
        };
        let whole = tree_of(&[&all]);
        assert_eq!(
            whole.samples(),
            all.iter().map(|(_, weight)| weight).sum::<u64>()
        );
        assert_eq!(
            tree_of(&[&all[..100], &all[100..101], &[], &all[101..]]),
            whole
        );
        assert_eq!(tree_of(&[&all[250..], &all[..250]]), whole);
    }
}
