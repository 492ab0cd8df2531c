//! Paths of labels from the root, counted as they come: a tree in which equal beginnings are one.

use std::hint::black_box;
use std::mem;

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
    /// Those whose nodes are still to be looked for, and their steps behind what they share with the one before.
    waiting: Vec<Waiting>,
    waiting_steps: Vec<Step>,
    /// The path whose node was looked for last.
    counted: Vec<Step>,
}

/// A path that waits for others: the table is larger than the caches, and their waits for it overlap.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    shared: usize,
    new: usize,
    hash: PathHash,
    weight: u64,
}

/// Paths that wait at most, and their steps, but for those of one long path.
const BATCH: usize = 32;
const STEPS_MAX: usize = 4096;

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
            waiting: Vec::new(),
            waiting_steps: Vec::new(),
            counted: Vec::new(),
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
        let new = self.last.get(shared..).unwrap_or_default();
        self.waiting_steps.extend_from_slice(new);
        self.waiting.push(Waiting {
            shared,
            new: new.len(),
            hash,
            weight,
        });
        if self.waiting.len() == BATCH || self.waiting_steps.len() >= STEPS_MAX {
            self.count_waiting();
        }
    }

    /// Parents before their children, the root first.
    pub(crate) fn into_nodes(mut self) -> Vec<PathNode> {
        self.count_waiting();
        self.nodes
    }

    fn count_waiting(&mut self) {
        let mut touched = 0;
        for path in &self.waiting {
            // Never equal: this only fetches what will be looked at.
            self.by_path.find(path.hash.place(), |slot| {
                touched ^= slot.node;
                false
            });
        }
        black_box(touched);
        let mut all = mem::take(&mut self.waiting);
        let steps = mem::take(&mut self.waiting_steps);
        let mut rest = &steps[..];
        for path in all.drain(..) {
            let (new, behind) = rest.split_at_checked(path.new).unwrap_or_default();
            rest = behind;
            self.counted.truncate(path.shared);
            self.counted.extend_from_slice(new);
            let node = self.node_of_counted();
            self.weigh(node, path.weight);
        }
        self.waiting = all;
        self.waiting_steps = steps;
        self.waiting_steps.clear();
        self.waiting_steps.shrink_to(2 * STEPS_MAX);
    }

    fn weigh(&mut self, at: u32, weight: u64) {
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.self_weight = node.self_weight.saturating_add(weight);
        }
    }

    /// The node of the path; those on the way that are not there yet are made.
    fn node_of_counted(&mut self) -> u32 {
        let mut known = ROOT;
        let mut missing = self.counted.len();
        while let Some(step) = missing.checked_sub(1).and_then(|at| self.counted.get(at)) {
            if let Some(node) = self.find(step.hash) {
                known = node;
                break;
            }
            missing -= 1;
        }
        for at in missing..self.counted.len() {
            if let Some(Step { label, hash }) = self.counted.get(at).copied() {
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
    fn long_paths_do_not_wait_for_others() {
        const LEN: usize = 10 * STEPS_MAX;
        let mut paths = Paths::default();
        for first in 0..2 * BATCH as u32 {
            let path = [first].into_iter().chain((1..LEN).map(|_| 7));
            paths.add(path.map(LabelId), 1);
            assert_eq!(paths.waiting.len(), 0);
            assert!(paths.waiting_steps.capacity() < LEN);
        }
        let weighed = paths.into_nodes().into_iter();
        let weighed = weighed.filter(|node| node.self_weight == 1);
        assert_eq!(weighed.count(), 2 * BATCH);
    }
}
