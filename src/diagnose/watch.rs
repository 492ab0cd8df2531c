//! Containers between two moments: their counters at both, and what they make.

use super::facts::Facts;
use super::subject::Subject;
use super::verdict::judge;
use super::{Diagnosis, Neighbour};
use profiler::container::{Container, HierarchyError};
use profiler::usage::{
    CpuSet, Detail, Group, Interval, Reader, Siblings, Snapshot, TaskDetail, TaskUse, Tasks,
};

/// The busiest of them are told.
const NEIGHBOURS_MAX: usize = 5;
/// Others that used less are none.
const NEIGHBOUR_CPUS: f64 = 0.01;

/// Where only limits and CPU time are of interest.
pub(super) const LIMITS: Detail = Detail {
    tasks: TaskDetail::Count,
    siblings: Siblings::Skip,
};

/// Containers that are watched.
pub(super) struct Watch {
    reader: Reader,
    watched: Vec<Watched>,
    others: Vec<(String, Group)>,
    detail: Detail,
    before: (Snapshot, Snapshot),
}

struct Watched {
    subject: Subject,
    group: Group,
    /// As they were when they were last looked at.
    last: Option<(Tasks, u64)>,
    /// What they did until then.
    used: Option<TaskUse>,
}

impl Watch {
    /// Reads the counters of `subjects`, and of the containers beside them, for the first time.
    pub(super) fn begin(
        subjects: Vec<Subject>,
        running: &[Container],
        detail: Detail,
    ) -> Result<Self, HierarchyError> {
        let reader = Reader::discover()?;
        let others: Vec<(String, Group)> = outermost(running)
            .filter(|other| !subjects.iter().any(|one| one.overlaps(&other.cgroup_path)))
            .map(|other| {
                let group = reader.group(&other.cgroup_path, &other.processes);
                (other.tag(), group)
            })
            .collect();
        let watched: Vec<Watched> = subjects
            .into_iter()
            .map(|subject| Watched {
                group: reader.group(&subject.cgroup_path, &subject.processes),
                subject,
                last: None,
                used: None,
            })
            .collect();
        let before = read(&reader, &watched, &others, detail);
        Ok(Self {
            reader,
            watched,
            others,
            detail,
            before,
        })
    }

    /// Looks at the threads once more: of those that end soon, this is all that is ever seen.
    pub(super) fn look(&mut self) {
        for one in &mut self.watched {
            let now = self.reader.tasks(&one.group, TaskDetail::Switches);
            one.add(now, &self.before.0);
        }
    }

    /// Reads them a second time. Gives what became of each, and those that are gone.
    pub(super) fn end(mut self) -> (Vec<Diagnosis>, Vec<Subject>) {
        let after = read(&self.reader, &self.watched, &self.others, self.detail);
        let mut interval = Interval::between(&self.before.0, &after.0);
        let beside = Interval::between(&self.before.1, &after.1);
        for group in &mut interval.groups {
            let watched = self
                .watched
                .iter_mut()
                .find(|one| one.group.cgroup_path == group.cgroup_path);
            let now = after.0.tasks_of(&group.cgroup_path).cloned();
            if let (Some(watched), Some(now)) = (watched.filter(|one| one.last.is_some()), now) {
                watched.add((now, after.0.at_ns), &self.before.0);
                group.tasks = watched.used.take().unwrap_or_default();
            }
        }
        let (mut diagnoses, mut gone) = (Vec::new(), Vec::new());
        for one in self.watched {
            match diagnose(&one, &interval, &beside, &self.others) {
                Some(diagnosis) => diagnoses.push(diagnosis),
                None => gone.push(one.subject),
            }
        }
        (diagnoses, gone)
    }
}

impl Watched {
    fn add(&mut self, now: (Tasks, u64), before: &Snapshot) {
        let first = || {
            (
                before.tasks_of(&self.group.cgroup_path).cloned(),
                before.at_ns,
            )
        };
        let (then, at_ns) = match self.last.take() {
            Some((then, at_ns)) => (then, at_ns),
            None => {
                let (then, at_ns) = first();
                (then.unwrap_or_default(), at_ns)
            }
        };
        let did = TaskUse::between(&then, &now.0, now.1.saturating_sub(at_ns));
        self.used = Some(match self.used.take() {
            Some(used) => used.then(did),
            None => did,
        });
        self.last = Some(now);
    }
}

fn read(
    reader: &Reader,
    watched: &[Watched],
    others: &[(String, Group)],
    detail: Detail,
) -> (Snapshot, Snapshot) {
    let watched = watched.iter().map(|one| &one.group);
    let others = others.iter().map(|(_, group)| group);
    (reader.read(watched, detail), reader.read(others, LIMITS))
}

/// Those that are in no other one: the others' time is counted with theirs.
fn outermost(running: &[Container]) -> impl Iterator<Item = &Container> {
    running.iter().filter(|one| {
        !running.iter().any(|other| {
            one.cgroup_path
                .strip_prefix(other.cgroup_path.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        })
    })
}

/// `None` for one that is gone.
fn diagnose(
    watched: &Watched,
    interval: &Interval,
    beside: &Interval,
    others: &[(String, Group)],
) -> Option<Diagnosis> {
    let group = interval.group(&watched.group.cgroup_path)?;
    // Every cgroup has CPU time, in v2 or by cpuacct.
    group.cpu?;
    let facts = Facts::of(group, interval);
    Some(Diagnosis {
        subject: watched.subject.clone(),
        seconds: interval.seconds(),
        judgement: judge(&facts),
        entitled: interval.entitlement(group),
        neighbours: neighbours(&facts, beside, others),
        facts,
        group: group.clone(),
        files: watched.group.files(),
        host: interval.host.clone(),
    })
}

/// Who ran besides a container, where it wanted to: containers, and all else as `host`.
fn neighbours(facts: &Facts, beside: &Interval, others: &[(String, Group)]) -> Vec<Neighbour> {
    let online = beside.host.online();
    let meets = |cpuset: &Option<CpuSet>| {
        cpuset
            .as_ref()
            .is_none_or(|cpuset| cpuset.meets(&facts.waits_on))
    };
    let mut in_containers = 0.0;
    let mut neighbours = Vec::new();
    for (tag, group) in others {
        let Some(used) = beside.group(&group.cgroup_path) else {
            continue;
        };
        let cpus = used.cpu.map_or(0.0, |cpu| beside.cpus(cpu.total_ns));
        in_containers += cpus;
        if cpus >= NEIGHBOUR_CPUS && meets(&used.cpuset) {
            neighbours.push(Neighbour {
                tag: tag.clone(),
                cpus,
            });
        }
    }
    let busy = beside.host.sum(&online).busy();
    let host = busy - in_containers - facts.used_cpus.unwrap_or(0.0);
    if host >= NEIGHBOUR_CPUS {
        neighbours.push(Neighbour {
            tag: "host".to_owned(),
            cpus: host,
        });
    }
    neighbours.sort_by(|a, b| b.cpus.total_cmp(&a.cpus).then_with(|| a.tag.cmp(&b.tag)));
    neighbours.truncate(NEIGHBOURS_MAX);
    neighbours
}
