//! Paths of labels from the root, counted as they come: a tree in which equal beginnings are one.

use hashbrown::HashTable;
use symbolizer::{PathHash, PathSeed};

use crate::labels::LabelId;

/// Counted paths, in the order they were met. The node of the empty path is the root.
///
/// A node is found by a hash of the whole path to it: a path that was met before is one lookup,
/// however long it is.
#[derive(Debug)]
pub struct Paths {
    nodes: Vec<PathNode>,
    by_path: HashTable<Slot>,
    seed: PathSeed,
    /// The path that was added last: the next one mostly begins like it.
    last: Vec<Step>,
}

/// A label of the path that was added last.
#[derive(Clone, Copy, Debug)]
struct Step {
    label: LabelId,
    hash: PathHash,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    place: u64,
    check: u32,
    node: u32,
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
        let root = PathNode {
            label: LabelId(u32::MAX),
            parent: ROOT,
            self_weight: 0,
        };
        Self {
            nodes: vec![root],
            by_path: HashTable::new(),
            seed: PathSeed::default(),
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
            let is_new = self
                .last
                .get(shared)
                .is_none_or(|step| step.label != *label);
            shared += usize::from(!is_new);
            is_new
        });
        self.last.truncate(shared);
        let mut hash = self.last.last().map_or(self.seed.root(), |step| step.hash);
        for label in differs.into_iter().chain(path) {
            hash = self.seed.then(hash, u64::from(label.0));
            self.last.push(Step { label, hash });
        }
        let node = self.node_of_last();
        self.weigh(node, weight);
    }

    /// Parents before their children, the root first.
    pub(crate) fn into_nodes(self) -> Vec<PathNode> {
        self.nodes
    }

    fn weigh(&mut self, at: u32, weight: u64) {
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.self_weight = node.self_weight.saturating_add(weight);
        }
    }

    /// The node of the path; those on the way that are not there yet are made.
    fn node_of_last(&mut self) -> u32 {
        let mut known = ROOT;
        let mut missing = self.last.len();
        while let Some(step) = missing.checked_sub(1).and_then(|at| self.last.get(at)) {
            if let Some(node) = self.find(step.hash) {
                known = node;
                break;
            }
            missing -= 1;
        }
        for at in missing..self.last.len() {
            if let Some(Step { label, hash }) = self.last.get(at).copied() {
                known = self.insert(known, label, hash);
            }
        }
        known
    }

    fn find(&self, hash: PathHash) -> Option<u32> {
        let is_it = |slot: &Slot| slot.place == hash.place() && slot.check == hash.check();
        let slot = self.by_path.find(hash.place(), is_it);
        slot.map(|slot| slot.node)
    }

    fn insert(&mut self, parent: u32, label: LabelId, hash: PathHash) -> u32 {
        let node = self.nodes.len() as u32;
        self.nodes.push(PathNode {
            label,
            parent,
            self_weight: 0,
        });
        let slot = Slot {
            place: hash.place(),
            check: hash.check(),
            node,
        };
        self.by_path
            .insert_unique(hash.place(), slot, |slot| slot.place);
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_that_part_at_the_root_are_all_counted() {
        const LEN: usize = 40_960;
        const PATHS: usize = 64;
        let mut paths = Paths::default();
        for first in 0..PATHS as u32 {
            let path = [first].into_iter().chain((1..LEN).map(|_| 7));
            paths.add(path.map(LabelId), 1);
        }
        let weighed = paths.into_nodes().into_iter();
        let weighed = weighed.filter(|node| node.self_weight == 1);
        assert_eq!(weighed.count(), PATHS);
    }
}
