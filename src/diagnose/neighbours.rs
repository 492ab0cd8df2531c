//! Who else ran: the containers beside one, those around it, and the host.

use super::subject::{Subject, is_below};
use profiler::usage::CpuSet;

/// The busiest of them are told.
const NEIGHBOURS_MAX: usize = 5;
/// Others that used less are none.
const NEIGHBOUR_CPUS: f64 = 0.01;

/// Somebody else on the CPUs that a container may run on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Neighbour {
    /// A container's tag, or `host` for all that is in none.
    pub(crate) tag: String,
    /// What it used, without the container itself where that is nested in it.
    pub(crate) cpus: f64,
}

/// A container that runs on this host.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) tag: String,
    pub(super) cgroup_path: String,
    /// With all that is nested in it.
    pub(super) cpus: f64,
    /// `None` where it is not known.
    pub(super) cpuset: Option<CpuSet>,
}

/// Who ran beside `subject`, the busiest first. `own_cpus` are what it used itself, `busy_cpus` what the host
/// did in all; those that may not run on one of `waits_on` are no neighbours.
pub(super) fn neighbours(
    subject: &Subject,
    own_cpus: f64,
    busy_cpus: f64,
    waits_on: &CpuSet,
    running: &[Running],
) -> Vec<Neighbour> {
    let beside = outermost(
        running
            .iter()
            .filter(|one| !subject.overlaps(&one.cgroup_path)),
    );
    let mut neighbours: Vec<(&str, &Option<CpuSet>, f64)> = beside
        .iter()
        .map(|one| (one.tag.as_str(), &one.cpuset, one.cpus))
        .collect();
    // From the inside out: what each has besides the one in it, and besides those that were counted.
    let (mut inner_path, mut inner_cpus) = (subject.cgroup_path.as_str(), own_cpus);
    for around in around(subject, running) {
        let is_between = |one: &&&Running| {
            is_below(&one.cgroup_path, &around.cgroup_path)
                && !is_below(&one.cgroup_path, inner_path)
        };
        let between: f64 = beside.iter().filter(is_between).map(|one| one.cpus).sum();
        let rest = around.cpus - inner_cpus - between;
        neighbours.push((&around.tag, &around.cpuset, rest));
        (inner_path, inner_cpus) = (&around.cgroup_path, around.cpus);
    }
    let outside = |one: &&&Running| !is_below(&one.cgroup_path, inner_path);
    let outside: f64 = beside.iter().filter(outside).map(|one| one.cpus).sum();
    neighbours.push(("host", &None, busy_cpus - inner_cpus - outside));
    let meets = |cpuset: &Option<CpuSet>| cpuset.as_ref().is_none_or(|its| its.meets(waits_on));
    let mut neighbours: Vec<Neighbour> = neighbours
        .into_iter()
        .filter(|(_, cpuset, cpus)| *cpus >= NEIGHBOUR_CPUS && meets(cpuset))
        .map(|(tag, _, cpus)| Neighbour {
            tag: tag.to_owned(),
            cpus,
        })
        .collect();
    neighbours.sort_by(|a, b| b.cpus.total_cmp(&a.cpus).then_with(|| a.tag.cmp(&b.tag)));
    neighbours.truncate(NEIGHBOURS_MAX);
    neighbours
}

/// Those that are in no other one of them: the others' time is counted with theirs.
fn outermost<'a>(all: impl Iterator<Item = &'a Running>) -> Vec<&'a Running> {
    let all: Vec<&Running> = all.collect();
    let is_inside = |one: &Running, other: &Running| {
        one.cgroup_path != other.cgroup_path && is_below(&one.cgroup_path, &other.cgroup_path)
    };
    all.iter()
        .filter(|one| !all.iter().any(|other| is_inside(one, other)))
        .copied()
        .collect()
}

/// The containers that it is nested in, innermost first.
fn around<'a>(subject: &Subject, running: &'a [Running]) -> Vec<&'a Running> {
    let is_around = |one: &&Running| {
        one.cgroup_path != subject.cgroup_path && is_below(&subject.cgroup_path, &one.cgroup_path)
    };
    let mut around: Vec<&Running> = running.iter().filter(is_around).collect();
    around.sort_by_key(|one| std::cmp::Reverse(one.cgroup_path.len()));
    around
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(path: &str) -> Subject {
        Subject {
            tag: "own".into(),
            cgroup_path: path.into(),
            processes: Vec::new(),
            container: None,
        }
    }

    fn running(path: &str, cpus: f64) -> Running {
        Running {
            tag: path.trim_start_matches('/').into(),
            cgroup_path: path.into(),
            cpus,
            cpuset: None,
        }
    }

    fn told(path: &str, own: f64, busy: f64, running: &[Running]) -> Vec<(String, f64)> {
        let cpus = CpuSet::parse("0-3").expect("a list");
        neighbours(&subject(path), own, busy, &cpus, running)
            .into_iter()
            .map(|one| (one.tag, (one.cpus * 100.0).round() / 100.0))
            .collect()
    }

    #[test]
    fn the_other_container_of_a_pod_is_a_neighbour_and_not_the_host() {
        let pod = [running("/pod/a", 0.25), running("/pod/b", 0.5)];
        assert_eq!(
            told("/pod/a", 0.25, 1.75, &pod),
            [("host".to_owned(), 1.0), ("pod/b".to_owned(), 0.5)]
        );
    }

    #[test]
    fn of_what_it_is_nested_in_only_the_rest_is_a_neighbour() {
        let all = [
            running("/a", 1.5),
            running("/a/own", 0.25),
            running("/a/beside", 0.5),
            running("/a/beside/in", 0.4),
            running("/b", 0.3),
            running("/b/in", 0.2),
        ];
        let expected = [("a", 0.75), ("a/beside", 0.5), ("b", 0.3), ("host", 0.2)];
        assert_eq!(
            told("/a/own", 0.25, 2.0, &all),
            expected.map(|(tag, cpus)| (tag.to_owned(), cpus))
        );
        let twice = [running("/a", 1.0), running("/a/b", 0.75)];
        assert_eq!(
            told("/a/b/own", 0.25, 1.0, &twice),
            [("a/b".to_owned(), 0.5), ("a".to_owned(), 0.25)]
        );
    }

    #[test]
    fn what_is_in_it_is_its_own_and_who_is_pinned_elsewhere_is_no_neighbour() {
        let elsewhere = Running {
            cpuset: CpuSet::parse("4-5"),
            ..running("/pinned", 1.5)
        };
        let all = [running("/own", 1.0), running("/own/in", 0.9), elsewhere];
        assert_eq!(told("/own", 1.0, 2.505, &all), []);
    }
}
