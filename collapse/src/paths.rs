//! Paths of labels from the root, counted as they come: a tree in which equal beginnings are one.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::labels::LabelId;

/// Counted paths, in the order they were met. The node of the empty path is the root.
#[derive(Debug)]
pub struct Paths {
    nodes: Vec<PathNode>,
    children: HashTable<u32>,
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
    /// Counts a path, root first, without the root `all`. One of no weight adds nothing.
    pub fn add(&mut self, path: impl IntoIterator<Item = LabelId>, weight: u64) {
        if weight == 0 {
            return;
        }
        let mut shared = 0;
        let mut at = ROOT;
        for label in path {
            match self.last.get(shared) {
                Some((known, node)) if *known == label => at = *node,
                _ => {
                    self.last.truncate(shared);
                    at = self.child(at, label);
                    self.last.push((label, at));
                }
            }
            shared += 1;
        }
        self.last.truncate(shared);
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
        let is_it = |number: &u32| {
            nodes
                .get(*number as usize)
                .is_some_and(|node| node.parent == parent && node.label == label)
        };
        let hash = hash(*seed, parent, label);
        if let Some(number) = children.find(hash, is_it) {
            return *number;
        }
        let number = nodes.len() as u32;
        nodes.push(PathNode {
            label,
            parent,
            self_weight: 0,
        });
        children.insert_unique(hash, number, |number| {
            nodes
                .get(*number as usize)
                .map_or(0, |node| hash_of(*seed, node))
        });
        number
    }
}

fn hash_of(seed: u64, node: &PathNode) -> u64 {
    hash(seed, node.parent, node.label)
}

/// One 64 × 64 → 128 bit multiplication, its halves folded together.
fn hash(seed: u64, parent: u32, label: LabelId) -> u64 {
    let word = u64::from(parent) << 32 | u64::from(label.0);
    let product = u128::from(word ^ seed) * u128::from(0x9e37_79b9_7f4a_7c15_u64 ^ seed << 1 | 1);
    (product as u64) ^ ((product >> 64) as u64)
}
