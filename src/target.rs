//! Whom a recording is of: what the user wrote becomes what the kernel is asked for, and a filter
//! for what it cannot be asked for.

use crate::cli::RecordArgs;
use profiler::HostPid;
use profiler::container::{
    Container, ContainerError, Hierarchy, HierarchyError, Names, ProcCgroups, Reach,
    Target as Found, find, hostname_of_process,
};
use profiler::live;
use std::path::Path;
use symbolizer::{Place, Selected};

/// Whom to record.
pub(crate) struct Target {
    /// What the events are attached to.
    pub(crate) live: live::Target,
    /// Which of their samples are wanted.
    pub(crate) wanted: Wanted,
    /// For the picture's title.
    pub(crate) title: String,
}

/// Which samples are wanted.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// All that the events give.
    All,
    /// Those of tasks in these cgroups or below them, in whatever hierarchy.
    Cgroups(Vec<String>),
}

/// The host's containers, as they are now.
pub(crate) struct Host {
    pub(crate) hierarchy: Hierarchy,
    pub(crate) names: Names,
}

impl Host {
    pub(crate) fn look() -> Result<Self, HierarchyError> {
        Ok(Self {
            hierarchy: Hierarchy::discover()?,
            names: Names::load(Path::new("/")),
        })
    }

    /// The container that a process with these cgroups is in, by name or by hostname; `None` on the host.
    pub(crate) fn container_of(&self, pid: HostPid, cgroups: &ProcCgroups) -> Option<Container> {
        // perf_event's line first: a plain runc container's cgroup may be of any shape.
        let paths = [cgroups.perf_path(), cgroups.container_path()];
        let mut container = paths
            .into_iter()
            .flatten()
            .find_map(|path| Container::identify(path, &self.names))?;
        if container.needs_hostname() {
            container.hostname = hostname_of_process(pid);
        }
        Some(container)
    }
}

/// The target that the flags name.
pub(crate) fn choose(args: &RecordArgs, host: Option<&Host>) -> Result<Target, ContainerError> {
    if !args.pids.is_empty() {
        let pids: Vec<String> = args.pids.iter().map(u32::to_string).collect();
        return Ok(Target {
            live: live::Target::Processes(args.pids.iter().copied().map(HostPid).collect()),
            wanted: Wanted::All,
            title: format!("process {}", pids.join(", ")),
        });
    }
    if let (false, Some(host)) = (args.containers.is_empty(), host) {
        return containers(&args.containers, host);
    }
    if args.all || args.argv.is_empty() {
        return Ok(Target {
            live: live::Target::Host,
            wanted: Wanted::All,
            title: "whole host".into(),
        });
    }
    let words: Vec<_> = args
        .argv
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    Ok(Target {
        live: live::Target::Command,
        wanted: Wanted::All,
        title: words.join(" "),
    })
}

/// One cgroup is asked of the kernel; several, or a container that perf_event's hierarchy does not
/// know, are told apart sample by sample: never an event for each cgroup on each CPU.
fn containers(wanted: &[String], host: &Host) -> Result<Target, ContainerError> {
    let found = wanted
        .iter()
        .map(|what| find(what, &host.hierarchy, &host.names))
        .collect::<Result<Vec<Found>, _>>()?;
    let mut labels: Vec<String> = Vec::new();
    let mut paths: Vec<String> = Vec::new();
    let mut by_process = false;
    for (what, target) in wanted.iter().zip(&found) {
        let tags: Vec<String> = target.containers.iter().map(Container::tag).collect();
        labels.push(if tags.is_empty() {
            what.clone()
        } else {
            tags.join(", ")
        });
        paths.extend(target.cgroup_paths.iter().cloned());
        for container in target
            .containers
            .iter()
            .filter(|container| container.reach == Reach::Processes)
        {
            by_process = true;
            paths.push(container.cgroup_path.clone());
        }
    }
    paths.sort();
    paths.dedup();
    let title = labels.join(", ");
    if let ([path], false) = (paths.as_slice(), by_process)
        && let Some(directory) = host.hierarchy.dir_of(path)
    {
        return Ok(Target {
            live: live::Target::Cgroup(directory),
            wanted: Wanted::All,
            title,
        });
    }
    Ok(Target {
        live: live::Target::Host,
        wanted: Wanted::Cgroups(paths),
        title,
    })
}

impl Wanted {
    /// Those of a target that was found.
    pub(crate) fn cgroups_of(found: &Found) -> Self {
        let of_processes = found.containers.iter().map(|one| one.cgroup_path.clone());
        Self::Cgroups(
            found
                .cgroup_paths
                .iter()
                .cloned()
                .chain(of_processes)
                .collect(),
        )
    }

    /// Whether a process with these cgroups is wanted.
    pub(crate) fn has(&self, cgroups: &ProcCgroups) -> bool {
        let Self::Cgroups(wanted) = self else {
            return true;
        };
        let mut lines = cgroups.lines.iter();
        lines.any(|line| wanted.iter().any(|cgroup| is_below(&line.path, cgroup)))
    }

    /// Whether a task's samples are wanted.
    pub(crate) fn select(&self, place: &Place<'_>) -> Selected {
        let Self::Cgroups(cgroups) = self else {
            return Selected::Yes;
        };
        let is_in = |path: &str| cgroups.iter().any(|cgroup| is_below(path, cgroup));
        let by_sample = place.cgroup_path.is_some_and(is_in);
        let by_process = || self.has(&ProcCgroups::parse(place.proc_cgroups.unwrap_or_default()));
        if by_sample || by_process() {
            Selected::Yes
        } else {
            Selected::No
        }
    }
}

/// Whether `path` is `cgroup` or below it.
fn is_below(path: &str, cgroup: &str) -> bool {
    path.strip_prefix(cgroup.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(cgroup_path: Option<&'a str>, proc_cgroups: Option<&'a str>) -> Place<'a> {
        Place {
            pid: None,
            cgroup_path,
            proc_cgroups,
            root: None,
        }
    }

    #[test]
    fn a_task_is_wanted_in_the_cgroup_itself_and_below_but_not_beside_it() {
        let wanted = Wanted::Cgroups(vec!["/docker/a1".into()]);
        assert_eq!(
            wanted.select(&place(Some("/docker/a1"), None)),
            Selected::Yes
        );
        assert_eq!(
            wanted.select(&place(Some("/docker/a1/init"), None)),
            Selected::Yes
        );
        assert_eq!(
            wanted.select(&place(Some("/docker/a12"), None)),
            Selected::No
        );
        assert_eq!(wanted.select(&place(None, None)), Selected::No);
        let elsewhere = "4:memory:/docker/a1\n0::/\n";
        assert_eq!(
            wanted.select(&place(Some("/"), Some(elsewhere))),
            Selected::Yes
        );
        assert_eq!(
            wanted.select(&place(Some("/"), Some("0::/docker/b\n"))),
            Selected::No
        );
        assert_eq!(Wanted::All.select(&place(None, None)), Selected::Yes);
    }
}
