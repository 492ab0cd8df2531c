//! Which container a user means by what they wrote after `-G`.

use super::error::{Candidate, ContainerError};
use super::hierarchy::Hierarchy;
use super::label::{Container, Reach};
use super::names::Names;
use super::scan::{hostname_of, list};
use std::collections::BTreeMap;

/// Fewer digits of an id are not taken for one.
const MIN_ID_DIGITS: usize = 3;

/// What is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Cgroups of the perf_event hierarchy, descendants included; none is below another.
    pub cgroup_paths: Vec<String>,
    /// The containers meant. Those with [`Reach::Processes`] are in none of the cgroups and have
    /// to be told by process. Empty for a cgroup that is no container's.
    pub containers: Vec<Container>,
}

/// The one container, pod or cgroup that `what` means: an id or at least three digits of one, a
/// container's name, `namespace/pod[/container]`, a pod's name, a cgroup path (absolute, relative,
/// or a directory under any cgroup mount), a hostname, a tag as pictures show it (with or without
/// the id in it). Only what runs counts. What matches whole beats an id's prefix, and that a
/// hostname; several equally good matches are an error.
pub fn find(what: &str, hierarchy: &Hierarchy, names: &Names) -> Result<Target, ContainerError> {
    let what = what.trim();
    let running = list(hierarchy, names);
    if what.starts_with('/')
        && let Some(target) = cgroup(what, hierarchy, names, &running)
    {
        return Ok(target);
    }
    if !what.is_empty() {
        if let Some(matched) = chosen(what, &running, whole_match)? {
            return Ok(target_of(matched));
        }
        if let Some(target) = cgroup(what, hierarchy, names, &running) {
            return Ok(target);
        }
        if let Some(matched) = chosen(what, &running, id_prefix_match)? {
            return Ok(target_of(matched));
        }
        let asked: Vec<Container> = running
            .iter()
            .map(|container| Container {
                hostname: hostname_of(container, hierarchy.fs_root()),
                ..container.clone()
            })
            .collect();
        if let Some(matched) = chosen(what, &asked, hostname_match)? {
            return Ok(target_of(matched));
        }
    }
    Err(ContainerError::NotFound {
        what: what.to_owned(),
        searched: hierarchy.mount_point().to_owned(),
        candidates: running.iter().map(Candidate::from).collect(),
    })
}

/// What a match means: two matches of one unit are one match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Pod(Option<String>, String),
    Container(String),
}

fn itself(container: &Container) -> Unit {
    Unit::Container(container.identity())
}

/// The containers that the one matching unit has; nothing where none matches.
pub(super) fn chosen(
    what: &str,
    running: &[Container],
    matching: fn(&str, &Container) -> Option<Unit>,
) -> Result<Option<Vec<Container>>, ContainerError> {
    let mut units: BTreeMap<Unit, Vec<&Container>> = BTreeMap::new();
    for container in running {
        if let Some(unit) = matching(what, container) {
            units.entry(unit).or_default().push(container);
        }
    }
    if units.len() > 1 {
        // A pod, and one of its own containers that has the pod's name.
        let pods: Vec<&Container> = units
            .iter()
            .filter(|(unit, _)| matches!(unit, Unit::Pod(..)))
            .flat_map(|(_, containers)| containers.iter().copied())
            .collect();
        let in_a_pod = |container: &Container| {
            pods.iter().any(|pod| {
                pod.name.pod == container.name.pod && pod.name.namespace == container.name.namespace
            })
        };
        let is_inner: Vec<Unit> = units
            .iter()
            .filter(|(unit, containers)| {
                matches!(unit, Unit::Container(_)) && containers.iter().all(|one| in_a_pod(one))
            })
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in is_inner {
            units.remove(&unit);
        }
    }
    if units.len() > 1 {
        return Err(ContainerError::Ambiguous {
            what: what.to_owned(),
            candidates: units
                .values()
                .flatten()
                .map(|one| Candidate::from(*one))
                .collect(),
        });
    }
    let only = units.into_values().next();
    Ok(only.map(|containers| containers.into_iter().cloned().collect()))
}

/// Whether `what` is the container's tag, `docker:web (3f2a1b…)`, or that without the id.
fn is_shown_as(what: &str, container: &Container) -> bool {
    let tag = container.tag();
    tag == what || tag.split_once(" (").is_some_and(|(shown, _)| shown == what)
}

/// The whole id, the whole tag, or a whole name of the container or of its pod.
pub(super) fn whole_match(what: &str, container: &Container) -> Option<Unit> {
    let name = &container.name;
    if container.reference.id.as_ref() == what
        || name.name.as_deref() == Some(what)
        || is_shown_as(what, container)
    {
        return Some(itself(container));
    }
    let pod = name.pod.as_deref()?;
    let unit = || Unit::Pod(name.namespace.clone(), pod.to_owned());
    if what == pod {
        return Some(unit());
    }
    if name.container.as_deref() == Some(what) {
        return Some(itself(container));
    }
    let rest = match &name.namespace {
        Some(namespace) => what.strip_prefix(namespace.as_str())?.strip_prefix('/')?,
        None => what,
    };
    match rest.strip_prefix(pod)? {
        "" => Some(unit()),
        rest => {
            let inner = rest.strip_prefix('/')?;
            (name.container.as_deref() == Some(inner)).then(|| itself(container))
        }
    }
}

pub(super) fn id_prefix_match(what: &str, container: &Container) -> Option<Unit> {
    let is_prefix = what.len() >= MIN_ID_DIGITS
        && container.reference.has_random_id()
        && container.reference.id.starts_with(what);
    is_prefix.then(|| itself(container))
}

pub(super) fn hostname_match(what: &str, container: &Container) -> Option<Unit> {
    let hostnames = [&container.hostname, &container.name.hostname];
    let matches = hostnames.into_iter().flatten().any(|name| name == what);
    // The tag has the hostname in it, now that it is known.
    (matches || is_shown_as(what, container)).then(|| itself(container))
}

/// A cgroup that exists, or a container's in a hierarchy that perf_event does not live in.
fn cgroup(
    written: &str,
    hierarchy: &Hierarchy,
    names: &Names,
    running: &[Container],
) -> Option<Target> {
    let path = hierarchy.path_of(written);
    if !hierarchy.exists(&path) {
        let elsewhere = running
            .iter()
            .find(|one| one.reach == Reach::Processes && one.cgroup_path == path)?;
        return Some(target_of(vec![elsewhere.clone()]));
    }
    // Everything below the cgroup; or the container that it is a part of.
    let below = format!("{}/", path.trim_end_matches('/'));
    let mut containers: Vec<Container> = running
        .iter()
        .filter(|one| one.reach == Reach::Cgroup)
        .filter(|one| one.cgroup_path == path || one.cgroup_path.starts_with(&below))
        .cloned()
        .collect();
    if containers.is_empty() {
        containers.extend(Container::identify(&path, names));
    }
    Some(Target {
        cgroup_paths: vec![path],
        containers,
    })
}

fn target_of(containers: Vec<Container>) -> Target {
    let own = containers
        .iter()
        .filter(|container| container.reach == Reach::Cgroup)
        .map(|container| container.cgroup_path.clone());
    Target {
        cgroup_paths: topmost(own.collect()),
        containers,
    }
}

/// Without those below another: perf_event counts descendants already.
fn topmost(mut paths: Vec<String>) -> Vec<String> {
    paths.sort();
    paths.dedup();
    let covered = |path: &String| {
        paths.iter().any(|above| {
            path.strip_prefix(above.trim_end_matches('/'))
                .is_some_and(|rest| path != above && rest.starts_with('/'))
        })
    };
    paths
        .iter()
        .filter(|path| !covered(path))
        .cloned()
        .collect()
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
