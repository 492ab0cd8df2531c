//! Counted paths become the nodes of a tree: siblings come in the order of their labels.
//!
//! There are a million of them and each is met in no order, so what is asked of a node lies together.

use crate::paths::{PathNode, ROOT};
use crate::tree::Stored;

/// What building the tree asks of a node of the paths.
#[derive(Clone, Copy)]
struct Branch {
    self_weight: u64,
    total_weight: u64,
    label: u32,
    /// One past its children in [`Branches::children`]; they begin where those of the node before it end.
    end: u32,
}

struct Branches {
    nodes: Vec<Branch>,
    /// The children of each node, in the order of their labels.
    children: Vec<Child>,
}

/// A node below another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Child {
    label: u32,
    number: u32,
}

/// The nodes in pre-order, those without any weight left out. A label's number is its place among the labels.
pub(crate) fn in_preorder(paths: &[PathNode]) -> Vec<Stored> {
    let branches = Branches::of(paths);
    let mut stored = Vec::with_capacity(paths.len());
    let mut waiting = vec![(ROOT, 0)];
    while let Some((number, depth)) = waiting.pop() {
        let Some(branch) = branches.nodes.get(number as usize) else {
            continue;
        };
        if branch.total_weight == 0 && depth > 0 {
            continue;
        }
        stored.push(Stored {
            label: branch.label,
            depth,
            self_weight: branch.self_weight,
            total_weight: branch.total_weight,
        });
        let above = branches.children_of(number).iter().rev();
        waiting.extend(above.map(|child| (child.number, depth + 1)));
    }
    stored
}

impl Branches {
    fn of(paths: &[PathNode]) -> Self {
        let branch = |node: &PathNode| Branch {
            self_weight: node.self_weight,
            total_weight: node.self_weight,
            label: node.label.0,
            end: 0,
        };
        let mut nodes: Vec<Branch> = paths.iter().map(branch).collect();
        // Children have higher numbers than their parents. Until all are counted, `end` is how many there are.
        for (number, node) in paths.iter().enumerate().skip(1).rev() {
            let total = nodes.get(number).map_or(0, |node| node.total_weight);
            if let Some(parent) = nodes.get_mut(node.parent as usize) {
                parent.total_weight = parent.total_weight.saturating_add(total);
                parent.end += 1;
            }
        }
        // Now it is where they begin; each that is put there moves it.
        let mut sum = 0;
        for node in &mut nodes {
            let count = node.end;
            node.end = sum;
            sum += count;
        }
        let none = Child {
            label: 0,
            number: ROOT,
        };
        let mut children = vec![none; sum as usize];
        for (number, node) in (0..).zip(paths).skip(1) {
            let Some(parent) = nodes.get_mut(node.parent as usize) else {
                continue;
            };
            if let Some(slot) = children.get_mut(parent.end as usize) {
                *slot = Child {
                    label: node.label.0,
                    number,
                };
            }
            parent.end += 1;
        }
        let mut rest = &mut children[..];
        let mut start = 0;
        for node in &nodes {
            let (siblings, behind) = rest.split_at_mut((node.end - start) as usize);
            if siblings.len() > 1 {
                siblings.sort_unstable();
            }
            (rest, start) = (behind, node.end);
        }
        Self { nodes, children }
    }

    fn children_of(&self, number: u32) -> &[Child] {
        let end_of = |number: u32| self.nodes.get(number as usize).map_or(0, |node| node.end);
        let start = number.checked_sub(1).map_or(0, end_of);
        let children = self.children.get(start as usize..end_of(number) as usize);
        children.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::LabelId;

    #[test]
    fn siblings_are_in_the_order_of_their_labels_and_those_without_weight_are_none() {
        let node = |label, parent, self_weight| PathNode {
            label: LabelId(label),
            parent,
            self_weight,
        };
        let paths = [
            node(u32::MAX, ROOT, 0),
            node(3, 0, u64::MAX),
            node(2, 1, 0),
            node(1, 2, 2),
            node(1, 1, 7),
            node(0, 2, 0),
            node(4, 0, 0),
            node(2, 0, 1),
        ];
        let found = in_preorder(&paths);
        let found: Vec<_> = found
            .iter()
            .skip(1)
            .map(|node| (node.depth, node.label, node.self_weight, node.total_weight))
            .collect();
        let whole = (1, 3, u64::MAX, u64::MAX);
        let below = [(2, 1, 7, 7), (2, 2, 0, 2), (3, 1, 2, 2)];
        assert_eq!(found, [[(1, 2, 1, 1), whole].as_slice(), &below].concat());
    }
}
