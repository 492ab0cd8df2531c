//! The containers that run, each with its first process, in the order of a tree.

use super::hierarchy::Hierarchy;
use super::label::Container;
use super::names::Names;
use super::process::{Process, first_of};
use super::scan::list;

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// What it is.
    pub container: Container,
    /// In how many containers of the census it lies.
    pub depth: usize,
    /// Its init: of the processes directly in it the one that began first. `None` where it has only
    /// nested ones, or ended meanwhile.
    pub first: Option<Process>,
}

/// The containers that run: by label, each directly behind what it is nested in.
pub fn census(hierarchy: &Hierarchy, names: &Names) -> Vec<Resident> {
    let proc_root = hierarchy.fs_root().join("proc");
    in_tree_order(list(hierarchy, names))
        .into_iter()
        .map(|(depth, container)| Resident {
            first: first_of(&proc_root, &container.processes)
                .and_then(|pid| Process::look_in(&proc_root, pid)),
            depth,
            container,
        })
        .collect()
}

/// With the depth of each.
fn in_tree_order(mut containers: Vec<Container>) -> Vec<(usize, Container)> {
    containers.sort_by_cached_key(|one| (one.tag(), one.cgroup_path.clone()));
    let parents: Vec<Option<usize>> = containers
        .iter()
        .map(|one| parent_of(one, &containers))
        .collect();
    // A parent's chain is shorter than its child's, so that nothing is its own ancestor.
    let mut order: Vec<(usize, usize)> = Vec::with_capacity(containers.len());
    let mut pending: Vec<(usize, usize)> = roots_or_children(&parents, None, 0);
    while let Some((depth, at)) = pending.pop() {
        order.push((depth, at));
        pending.append(&mut roots_or_children(&parents, Some(at), depth + 1));
    }
    let mut containers: Vec<Option<Container>> = containers.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|(depth, at)| Some((depth, containers.get_mut(at)?.take()?)))
        .collect()
}

/// Those with this parent, the last one first.
fn roots_or_children(
    parents: &[Option<usize>],
    parent: Option<usize>,
    depth: usize,
) -> Vec<(usize, usize)> {
    let those = parents.iter().enumerate().rev();
    those
        .filter(|(_, of)| **of == parent)
        .map(|(at, _)| (depth, at))
        .collect()
}

/// The innermost of its outer containers that is listed: by its cgroup, and where the two are known to
/// different hierarchies, by the ids.
fn parent_of(inner: &Container, containers: &[Container]) -> Option<usize> {
    let is_above = |outer: &Container| {
        let below = inner.cgroup_path.strip_prefix(outer.cgroup_path.as_str());
        let by_path = below.is_some_and(|rest| rest.starts_with('/'));
        let by_ids = outer.reach != inner.reach
            && inner.outer.get(..=outer.outer.len()).is_some_and(|chain| {
                let (above, own) = chain.split_at(outer.outer.len());
                above == outer.outer && own == [outer.reference.clone()]
            });
        outer.outer.len() < inner.outer.len() && (by_path || by_ids)
    };
    let above = containers.iter().enumerate();
    above
        .filter(|(_, outer)| is_above(outer))
        .max_by_key(|(_, outer)| outer.outer.len())
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Reach;
    use crate::container::path::located_in;
    use std::path::Path;

    fn container(path: &str) -> Container {
        let mut chain = located_in(path);
        let own = chain.pop().expect("a container's path");
        Container {
            reference: own.container,
            outer: chain.into_iter().map(|outer| outer.container).collect(),
            name: Default::default(),
            hostname: None,
            cgroup_path: path.to_owned(),
            reach: Reach::Cgroup,
            processes: Vec::new(),
        }
    }

    fn id(digit: &str) -> String {
        digit.repeat(64)
    }

    #[test]
    fn a_nested_container_comes_behind_what_it_is_in() {
        let (a, b, c, d) = (id("a"), id("b"), id("c"), id("d"));
        let tree = in_tree_order(vec![
            container(&format!("/docker/{b}")),
            container(&format!("/docker/{a}/docker/{d}")),
            container(&format!("/docker/{a}/docker/{c}/kubepods/pod1/{b}")),
            container(&format!("/docker/{a}/docker/{c}")),
            container(&format!("/docker/{a}")),
        ]);
        let shown: Vec<(usize, &str)> = tree
            .iter()
            .map(|(depth, one)| (*depth, one.reference.id.get(..1).unwrap_or("")))
            .collect();
        assert_eq!(shown, [(0, "a"), (1, "c"), (2, "b"), (1, "d"), (0, "b")]);
    }

    #[test]
    fn one_that_only_another_hierarchy_knows_is_nested_by_its_ids() {
        let (a, b) = (id("a"), id("b"));
        let mut inner = container(&format!("/elsewhere/docker/{a}/docker/{b}"));
        inner.reach = Reach::Processes;
        let tree = in_tree_order(vec![inner, container(&format!("/docker/{a}"))]);
        let depths: Vec<usize> = tree.iter().map(|(depth, _)| *depth).collect();
        assert_eq!(depths, [0, 1]);
    }

    #[test]
    fn a_container_whose_outer_one_is_not_listed_is_not_lost() {
        let (a, b) = (id("a"), id("b"));
        let tree = in_tree_order(vec![container(&format!("/docker/{a}/docker/{b}"))]);
        assert_eq!(tree.len(), 1);
        assert_eq!(tree[0].0, 0);
    }

    #[test]
    fn a_frozen_host_is_counted_without_processes_to_look_at() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/hosts/default-places-v2");
        let hierarchy = Hierarchy::discover_with_root(&root).expect("a cgroup2 mount");
        let names = Names::load(&root);
        let found = census(&hierarchy, &names);
        assert_eq!(found.len(), list(&hierarchy, &names).len());
        assert!(!found.is_empty());
        assert!(found.iter().all(|one| one.first.is_none()));
    }
}
