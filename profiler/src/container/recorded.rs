//! Which containers of a recording a user means: the rules of `-G`, for what is met one by one.
//!
//! A live host is looked through before the recording; of a file, containers become known with its
//! samples. So each place is asked for itself while the recording is read, and once all are known
//! the answers are checked for what was not there or not unique.

use super::error::{Candidate, ContainerError};
use super::find::{chosen, hostname_match, id_prefix_match, whole_match};
use super::label::{Container, host_tag};
use std::collections::BTreeMap;

/// What stands for everything that runs in no container.
const HOST: &str = "host";

/// Whether `what` can mean a task with this cgroup, in this container (`None`: on the host).
///
/// The rules are those of [`super::find`]: a cgroup at or above the task's, whole ids and names,
/// tags, an id's prefix, hostnames; and for what is in no container the tags that pictures show,
/// `host` (all of it) or `host:nginx.service`. Says nothing about other containers that `what` can
/// mean as well: see [`Recorded::check`].
pub fn is_meant(what: &str, cgroup_path: &str, container: Option<&Container>) -> bool {
    let what = what.trim();
    if is_in_cgroup(what, cgroup_path) {
        return true;
    }
    match container {
        Some(container) => [whole_match, id_prefix_match, hostname_match]
            .iter()
            .any(|matching| matching(what, container).is_some()),
        None => what == HOST || what == host_tag(cgroup_path),
    }
}

/// Whether `written` is a cgroup, and `cgroup_path` is it or below it. A directory below a cgroup
/// mount is its path from there: of the recorded host only the usual places are known.
fn is_in_cgroup(written: &str, cgroup_path: &str) -> bool {
    const MOUNTS: [&str; 3] = [
        "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup/perf_event",
        "/sys/fs/cgroup",
    ];
    let is_root = written.starts_with('/');
    let written = written.trim_end_matches('/');
    let below_mount = MOUNTS.iter().find_map(|mount| {
        let below = written.strip_prefix(mount)?;
        (below.is_empty() || below.starts_with('/')).then_some(below)
    });
    let wanted = below_mount.unwrap_or(written).trim_start_matches('/');
    if wanted.is_empty() {
        // The root, as `/` or as the mount itself: everything. Nothing written is nothing.
        return is_root || below_mount.is_some();
    }
    let own = cgroup_path.trim_start_matches('/');
    own.strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The places of a recording, once all are known.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Cgroup path to the container it is in, if any.
    by_path: BTreeMap<String, Option<Container>>,
}

impl Recorded {
    /// A task was sampled in this cgroup, and that is in this container.
    pub fn add(&mut self, cgroup_path: &str, container: Option<&Container>) {
        self.by_path
            .entry(cgroup_path.to_owned())
            .or_insert_with(|| container.cloned());
    }

    /// Whether `what` means something of the recording, and only one: otherwise the error says what
    /// there is. A cgroup means all below it, a pod all of its containers.
    pub fn check(&self, what: &str) -> Result<(), ContainerError> {
        let what = what.trim();
        let containers = self.containers();
        let is_cgroup = self.by_path.keys().any(|path| is_in_cgroup(what, path));
        let on_host = |(path, container): (&String, &Option<Container>)| {
            container.is_none() && is_meant(what, path, None)
        };
        if is_cgroup || self.by_path.iter().any(on_host) {
            return Ok(());
        }
        // What is taken is what matches in any way: all of that must be one.
        let any = |what: &str, container: &Container| {
            whole_match(what, container)
                .or_else(|| id_prefix_match(what, container))
                .or_else(|| hostname_match(what, container))
        };
        match chosen(what, &containers, any) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(ContainerError::NotRecorded {
                what: what.to_owned(),
                candidates: containers.iter().map(Candidate::from).collect(),
            }),
            Err(ContainerError::Ambiguous { what, candidates }) => {
                Err(ContainerError::AmbiguousRecorded { what, candidates })
            }
            Err(error) => Err(error),
        }
    }

    /// The containers, each once.
    fn containers(&self) -> Vec<Container> {
        let mut by_cgroup: BTreeMap<&str, &Container> = BTreeMap::new();
        for container in self.by_path.values().flatten() {
            by_cgroup.insert(&container.cgroup_path, container);
        }
        by_cgroup.into_values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_tree::{DEFAULT_PLACES, host};
    use super::super::{Hierarchy, Names, list};
    use super::*;

    fn recorded() -> Vec<Container> {
        let root = host(DEFAULT_PLACES);
        let hierarchy = Hierarchy::discover_with_root(&root).expect("a hierarchy");
        list(&hierarchy, &Names::load(&root))
    }

    fn tags_meant(what: &str, containers: &[Container]) -> Vec<String> {
        containers
            .iter()
            .filter(|container| is_meant(what, &container.cgroup_path, Some(container)))
            .map(Container::tag)
            .collect()
    }

    #[test]
    fn a_container_is_meant_by_all_that_the_live_flag_takes() {
        let containers = recorded();
        let db = "k8s:shop/db-0/db (ed4e6417a92a)";
        for what in [
            "ed4e64",
            "ed4e6417a92a59f144547d5c4d13bf7f4fd07a670f7cf4d64660e7cebac0aad1",
            "shop/db-0",
            "shop/db-0/db",
            "db-0",
            "db",
            db,
            " k8s:shop/db-0/db ",
        ] {
            assert_eq!(tags_meant(what, &containers), [db], "{what}");
        }
        let pod = tags_meant("shop/api-0", &containers);
        assert_eq!(pod.len(), 2, "{pod:?}");
        assert_eq!(tags_meant("lxc.payload.web", &containers), ["lxc:web"]);
        assert_eq!(tags_meant("web", &containers), ["lxc:web"]);
        for what in ["", "ed", "ap", "shop", "host"] {
            assert_eq!(tags_meant(what, &containers), [""; 0], "{what}");
        }
    }

    #[test]
    fn a_cgroup_means_what_is_in_it_and_below_it_wherever_it_is_mounted() {
        for written in [
            "/docker/a1",
            "docker/a1/",
            "/docker",
            "/sys/fs/cgroup/docker",
            "/sys/fs/cgroup/unified/docker/a1",
            "/sys/fs/cgroup/perf_event/docker/a1",
            "/",
            "/sys/fs/cgroup",
        ] {
            assert!(is_meant(written, "/docker/a1", None), "{written}");
        }
        for written in ["/docker/a", "/docker/a1/x", "/sys/fs/cgroup/x", "a1", ""] {
            assert!(!is_meant(written, "/docker/a1", None), "{written}");
        }
    }

    #[test]
    fn what_is_in_no_container_is_the_host_or_its_unit() {
        let nginx = "/system.slice/nginx.service";
        assert!(is_meant("host", nginx, None) && is_meant("host:nginx.service", nginx, None));
        assert!(!is_meant("host:sshd.service", nginx, None));
        assert!(is_meant("host", "", None));
    }

    #[test]
    fn nothing_and_several_are_errors_with_what_was_sampled() {
        let containers = recorded();
        let mut recorded = Recorded::default();
        recorded.add("/system.slice/nginx.service", None);
        for container in &containers {
            recorded.add(&container.cgroup_path, Some(container));
        }
        for what in ["db", "shop/api-0", "host", "/", "host:nginx.service"] {
            assert_eq!(recorded.check(what), Ok(()), "{what}");
        }
        let missing = recorded.check("nosuch").expect_err("there is none");
        assert_eq!(
            missing.to_string(),
            "no container and no cgroup `nosuch` in the recording"
        );
        assert!(missing.hint().contains("k8s:shop/db-0/db (ed4e6417a92a)"));
        let mut twins = Recorded::default();
        let names = Names::load(&host(DEFAULT_PLACES));
        for digit in ["0", "1"] {
            let path = format!("/docker/abc{}", digit.repeat(61));
            twins.add(&path, Container::identify(&path, &names).as_ref());
        }
        let several = twins.check("abc").expect_err("there are two");
        assert_eq!(
            several.to_string(),
            "`abc` means 2 containers of the recording"
        );
        let nobody = Recorded::default().check("web").expect_err("nothing");
        assert!(nobody.hint().contains("--all-cgroups"));
    }
}
