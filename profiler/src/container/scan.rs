//! The containers that run now.

use super::engine_files::read_bounded;
use super::hierarchy::Hierarchy;
use super::label::{Container, Reach};
use super::names::Names;
use super::path::located_in;
use super::proc_cgroups::ProcCgroups;
use super::uts::hostname_in;
use crate::HostPid;
use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The containers in which, or in a cgroup below which, at least one process runs, by cgroup path.
/// Cgroups inside a container are no containers of their own. On a hybrid host, those that only
/// other hierarchies know come last, with [`Reach::Processes`].
pub fn list(hierarchy: &Hierarchy, names: &Names) -> Vec<Container> {
    let mut found: BTreeMap<String, Container> = BTreeMap::new();
    for (_, path) in hierarchy.walk() {
        let chain = names.located(&path);
        let Some(innermost) = chain.last() else {
            continue;
        };
        let processes = hierarchy.processes_in(&path);
        if processes.is_empty() {
            continue;
        }
        // What a container is nested in runs as well, even with no process of its own.
        for located in &chain {
            let Some(own) = path.get(..located.end) else {
                continue;
            };
            if !found.contains_key(own)
                && let Some(container) = Container::identify(own, names)
            {
                found.insert(own.to_owned(), container);
            }
            if located.end == innermost.end
                && let Some(container) = found.get_mut(own)
            {
                container.processes.extend(&processes);
            }
        }
    }
    let mut containers: Vec<Container> = found.into_values().collect();
    if hierarchy.is_hybrid() {
        let elsewhere = outside(hierarchy, names, &containers);
        containers.extend(elsewhere);
    }
    for container in &mut containers {
        if container.needs_hostname() {
            container.hostname = hostname_of(container, hierarchy.fs_root());
        }
    }
    containers
}

/// The containers of a hybrid host that are not in perf_event's hierarchy, by `/proc/*/cgroup`.
fn outside(hierarchy: &Hierarchy, names: &Names, inside: &[Container]) -> Vec<Container> {
    let seen: HashSet<HostPid> = inside
        .iter()
        .flat_map(|container| container.processes.iter().copied())
        .collect();
    let mut found: BTreeMap<String, Container> = BTreeMap::new();
    for (pid, cgroups) in processes(hierarchy.fs_root()) {
        if seen.contains(&pid) {
            continue;
        }
        let known_to_perf = cgroups
            .perf_path()
            .is_some_and(|path| !names.located(path).is_empty());
        let Some(path) = cgroups.container_path().filter(|_| !known_to_perf) else {
            continue;
        };
        let Some(end) = located_in(path).last().map(|located| located.end) else {
            continue;
        };
        let Some(own) = path.get(..end) else {
            continue;
        };
        if !found.contains_key(own)
            && let Some(mut container) = Container::identify(own, names)
        {
            container.reach = Reach::Processes;
            found.insert(own.to_owned(), container);
        }
        if let Some(container) = found.get_mut(own) {
            container.processes.push(pid);
        }
    }
    for container in found.values_mut() {
        container.processes.sort_unstable();
    }
    found.into_values().collect()
}

/// Every process, with its cgroups; one that ends meanwhile is left out.
fn processes(fs_root: &Path) -> impl Iterator<Item = (HostPid, ProcCgroups)> {
    fs::read_dir(fs_root.join("proc"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let text = read_bounded(&entry.path().join("cgroup"))?;
            Some((
                HostPid(pid),
                ProcCgroups::parse(&String::from_utf8_lossy(&text)),
            ))
        })
}

/// Asks for the hostname of a container's first process, as [`hostname_of_process`].
pub(crate) fn hostname_of(container: &Container, fs_root: &Path) -> Option<String> {
    // 0: a process outside of our own pid namespace.
    let pid = container.processes.iter().find(|pid| pid.0 != 0)?;
    hostname_in_proc(&fs_root.join("proc"), *pid)
}

/// The hostname that a process sees. `None` where we may not ask, or it has the host's (`--uts
/// host`), which names no container. Container-chosen text.
pub fn hostname_of_process(pid: HostPid) -> Option<String> {
    hostname_in_proc(Path::new("/proc"), pid)
}

fn hostname_in_proc(proc_root: &Path, pid: HostPid) -> Option<String> {
    let theirs = File::open(proc_root.join(pid.0.to_string()).join("ns/uts")).ok()?;
    let ours = fs::metadata(proc_root.join("self/ns/uts")).ok()?;
    if theirs.metadata().ok()?.ino() == ours.ino() {
        return None;
    }
    hostname_in(theirs.as_fd())
        .ok()
        .filter(|name| !name.is_empty())
}
