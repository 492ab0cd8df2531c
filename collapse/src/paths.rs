//! Paths of labels from the root, counted as they come: a tree in which equal beginnings are one.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::labels::LabelId;

/// Counted paths, in the order they were met. The node of the empty path is the root.
///
/// A node is found by a hash of the whole path to it: a path that was met before is one lookup,
/// however long it is.
#[derive(Debug)]
pub struct Paths {
    nodes: Vec<PathNode>,
    by_path: HashTable<Slot>,
    seed: u64,
    /// The path that was added last: the next one mostly begins like it.
    last: Vec<Step>,
}

/// A label of the path that was added last.
#[derive(Clone, Copy, Debug)]
struct Step {
    label: LabelId,
    hash: PathHash,
}

/// 96 bits, made independently and seeded: nobody can make two paths that agree in all of them, and of
/// a million that just happen to be, two do with a probability of 10^-17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PathHash {
    /// Where a search begins.
    place: u64,
    /// The higher half counts.
    check: u64,
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
        Self {
            nodes: vec![PathNode {
                label: LabelId(u32::MAX),
                parent: ROOT,
                self_weight: 0,
            }],
            by_path: HashTable::new(),
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
            let is_new = self
                .last
                .get(shared)
                .is_none_or(|step| step.label != *label);
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
        let mut hash = self.last.last().map_or(self.root_hash(), |step| step.hash);
        for label in labels {
            hash = hash.then(label, self.seed);
            self.last.push(Step { label, hash });
        }
        let node = self.node_of_last();
        self.weigh(node, weight);
    }

    /// All paths of both.
    pub(crate) fn merged(self, other: Self) -> Self {
        let (mut large, small) = if self.nodes.len() >= other.nodes.len() {
            (self, other)
        } else {
            (other, self)
        };
        large.last.clear();
        // For each node of the small one its number in the large one, and the hash of its path there.
        let mut places = Vec::with_capacity(small.nodes.len());
        for (number, node) in small.nodes.iter().enumerate() {
            let root = (ROOT, large.root_hash());
            let place = if number == 0 {
                root
            } else {
                let (parent, hash) = places.get(node.parent as usize).copied().unwrap_or(root);
                let hash = hash.then(node.label, large.seed);
                let known = large.find(hash);
                let place = known.unwrap_or_else(|| large.insert(parent, node.label, hash));
                (place, hash)
            };
            places.push(place);
            large.weigh(place.0, node.self_weight);
        }
        large
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

    /// The node of the last path; those on the way that are not there yet are made.
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

    fn root_hash(&self) -> PathHash {
        PathHash {
            place: self.seed,
            check: self.seed.rotate_left(32),
        }
    }

    fn find(&self, hash: PathHash) -> Option<u32> {
        let is_it = |slot: &Slot| slot.place == hash.place && slot.check == hash.checked();
        let slot = self.by_path.find(hash.place, is_it);
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
            place: hash.place,
            check: hash.checked(),
            node,
        };
        self.by_path
            .insert_unique(hash.place, slot, |slot| slot.place);
        node
    }
}

impl PathHash {
    fn checked(self) -> u32 {
        (self.check >> 32) as u32
    }

    /// Of the path that goes on with `label`.
    fn then(self, label: LabelId, seed: u64) -> Self {
        let label = u64::from(label.0);
        Self {
            place: fold(self.place ^ label, seed ^ 0x9e37_79b9_7f4a_7c15),
            check: fold(
                self.check ^ label,
                seed.rotate_left(29) ^ 0xd6e8_feb8_6659_fd93,
            ),
        }
    }
}

/// One 64 × 64 → 128 bit multiplication, its halves folded together.
fn fold(value: u64, factor: u64) -> u64 {
    let product = u128::from(value) * u128::from(factor | 1);
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
            let paths_of = |part: &&[(Vec<u32>, u64)]| {
                let mut paths = Paths::default();
                for (path, weight) in *part {
                    paths.add(path.iter().map(|n| ids[*n as usize]), *weight);
                }
                paths
            };
            let whole = parts.iter().map(paths_of).reduce(Paths::merged);
            FrameTree::new(labels, whole.expect("a part"))
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
