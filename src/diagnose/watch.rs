//! Containers between two moments: their counters at both, and what they make.

use super::Diagnosis;
use super::facts::Facts;
use super::neighbours::{Running, neighbours};
use super::subject::{Subject, is_below};
use super::verdict::judge;
use profiler::container::{Container, HierarchyError};
use profiler::usage::{
    Detail, Group, Interval, Reader, Siblings, Snapshot, TaskDetail, TaskUse, Tasks,
};

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
        // Of a pod's containers each is a neighbour of the others.
        let is_inside_all = |path: &str| {
            let mut subjects = subjects.iter();
            subjects.all(|one| is_below(path, &one.cgroup_path))
        };
        let others: Vec<(String, Group)> = running
            .iter()
            .filter(|other| !is_inside_all(&other.cgroup_path))
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
    let running: Vec<Running> = others
        .iter()
        .filter_map(|(tag, group)| {
            let used = beside.group(&group.cgroup_path)?;
            Some(Running {
                tag: tag.clone(),
                cgroup_path: group.cgroup_path.clone(),
                cpus: beside.cpus(used.cpu?.total_ns),
                cpuset: used.cpuset.clone(),
            })
        })
        .collect();
    let neighbours = neighbours(
        &watched.subject,
        facts.used_cpus.unwrap_or(0.0),
        beside.host.sum(&beside.host.online()).busy(),
        &facts.waits_on,
        &running,
    );
    Some(Diagnosis {
        subject: watched.subject.clone(),
        seconds: interval.seconds(),
        judgement: judge(&facts),
        entitled: interval.entitlement(group),
        neighbours,
        facts,
        group: group.clone(),
        files: watched.group.files(),
        host: interval.host.clone(),
    })
}
