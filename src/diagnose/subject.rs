//! Who is diagnosed: containers, or a cgroup that is none.

use profiler::HostPid;
use profiler::container::{Container, Runtime, Target as Found};

/// One cgroup whose use of the CPU is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Its label; container-chosen text.
    pub(crate) tag: String,
    pub(crate) cgroup_path: String,
    /// Some that are in it.
    pub(crate) processes: Vec<HostPid>,
    /// Whose container, by which id; `None` for a cgroup that is none.
    pub(crate) container: Option<Of>,
}

/// What its engine knows a container by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Of {
    pub(crate) runtime: Runtime,
    pub(crate) short_id: String,
    /// `namespace/pod` and the container's name in it.
    pub(crate) pod: Option<String>,
    /// Its engine runs in another container: that of the host does not know it.
    pub(crate) is_nested: bool,
}

impl Subject {
    /// What a user meant by `what`: a cgroup as it is, else its containers one by one.
    pub(crate) fn of(what: &str, found: &Found) -> Vec<Self> {
        let is_own = |path: &String| found.containers.iter().any(|one| one.cgroup_path == *path);
        let others = found.cgroup_paths.iter().filter(|path| !is_own(path));
        let cgroups: Vec<Self> = others
            .map(|path| Self {
                tag: what.to_owned(),
                cgroup_path: path.clone(),
                processes: Vec::new(),
                container: None,
            })
            .collect();
        if cgroups.is_empty() {
            found.containers.iter().map(Self::from).collect()
        } else {
            cgroups
        }
    }

    /// Whether one of the two is in the other, or both are the same.
    pub(crate) fn overlaps(&self, cgroup_path: &str) -> bool {
        is_below(&self.cgroup_path, cgroup_path) || is_below(cgroup_path, &self.cgroup_path)
    }
}

impl From<&Container> for Subject {
    fn from(container: &Container) -> Self {
        let name = &container.name;
        let pod = name.pod.as_ref().map(|pod| {
            let parts = [name.namespace.as_ref(), Some(pod), name.container.as_ref()];
            let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
            parts.join("/")
        });
        let runtime = name.engine.unwrap_or(container.reference.runtime);
        Self {
            tag: container.tag(),
            cgroup_path: container.cgroup_path.clone(),
            processes: container.processes.clone(),
            container: Some(Of {
                runtime,
                short_id: container.reference.short_id().to_owned(),
                pod,
                is_nested: !container.outer.is_empty(),
            }),
        }
    }
}

/// Whether a cgroup is another one, or in it.
pub(super) fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &[&str]) -> Found {
        Found {
            cgroup_paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            containers: Vec::new(),
        }
    }

    #[test]
    fn a_cgroup_that_is_no_containers_is_diagnosed_as_a_whole() {
        let subjects = Subject::of("/kubepods", &found(&["/kubepods"]));
        let paths: Vec<&str> = subjects
            .iter()
            .map(|one| one.cgroup_path.as_str())
            .collect();
        assert_eq!(paths, ["/kubepods"]);
        assert_eq!(subjects[0].tag, "/kubepods");
    }

    #[test]
    fn what_is_around_it_and_what_is_in_it_overlaps_and_a_longer_name_does_not() {
        let [subject] = Subject::of("x", &found(&["/docker/a"]))
            .try_into()
            .expect("one");
        assert!(subject.overlaps("/docker/a") && subject.overlaps("/docker"));
        assert!(subject.overlaps("/docker/a/b") && subject.overlaps("/"));
        assert!(!subject.overlaps("/docker/ab") && !subject.overlaps("/docker/b"));
    }
}
