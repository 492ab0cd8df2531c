//! The same question beside a recording: two readings, one before it and one behind it.

use super::subject::Subject;
use super::verdict::Verdict;
use super::watch::{LIMITS, Watch};
use super::{Diagnosis, said};
use crate::target::{Host, Target, Wanted};
use profiler::container::list;
use profiler::live;
use profiler::usage::Detail;

/// More containers are not looked at one by one.
const SUBJECTS_MAX: usize = 8;
/// More verdicts are not told in a picture's subtitle.
const TOLD_MAX: usize = 3;
/// More containers are not noted.
const NOTED_MAX: usize = 5;
/// Between the parts of a closing line.
const GAP: &str = " · ";
/// In a shorter time the kernel's ticks say nothing.
const SECONDS_MIN: f64 = 0.5;

/// What is asked beside a recording.
pub(crate) struct Check {
    /// Whether they are those that were asked for, and not all there are.
    are_named: bool,
    watch: Option<Watch>,
    diagnoses: Vec<Diagnosis>,
}

/// What came out: text of ours and of containers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Behind the totals in the closing line: ` · …`; may be empty.
    pub(crate) verdict: String,
    /// Of a recording of the whole host: who was held back by a limit.
    pub(crate) notes: Vec<String>,
}

impl Checked {
    /// The verdict before the totals: a picture's subtitle is cut where it is too long, and not there.
    pub(crate) fn in_front(&self) -> String {
        match self.verdict.strip_prefix(GAP) {
            Some(verdict) => format!("{verdict}{GAP}"),
            None => String::new(),
        }
    }
}

impl Check {
    /// Reads for the first time: the containers that are recorded, or with a recording of the host the
    /// limits of all of them.
    pub(crate) fn begin(target: &Target, host: Option<&Host>) -> Self {
        let is_host = matches!(
            (&target.live, &target.wanted),
            (live::Target::Host, Wanted::All)
        );
        let are_named = !target.subjects.is_empty();
        let watch = host.and_then(|host| {
            let running = || list(&host.hierarchy, &host.names);
            // A recording does not fail for what could not be read beside it.
            if are_named && target.subjects.len() <= SUBJECTS_MAX {
                Watch::begin(target.subjects.clone(), &[], Detail::FULL).ok()
            } else if is_host {
                let all = running().iter().map(Subject::from).collect();
                Watch::begin(all, &[], LIMITS).ok()
            } else {
                None
            }
        });
        Self {
            are_named,
            watch,
            diagnoses: Vec::new(),
        }
    }

    /// Reads for the second time.
    pub(crate) fn end(&mut self) {
        if let Some(watch) = self.watch.take() {
            // Of those that are gone there is nothing to be said.
            (self.diagnoses, _) = watch.end();
        }
    }

    /// What is to be said of it.
    pub(crate) fn finish(self) -> Checked {
        let diagnoses: Vec<&Diagnosis> = self
            .diagnoses
            .iter()
            .filter(|one| one.seconds >= SECONDS_MIN)
            .collect();
        match self.are_named {
            true => Checked {
                verdict: verdicts(&diagnoses),
                notes: Vec::new(),
            },
            false => Checked {
                verdict: String::new(),
                notes: notes(&diagnoses),
            },
        }
    }
}

fn verdicts(diagnoses: &[&Diagnosis]) -> String {
    match diagnoses {
        [one] => format!("{GAP}{}", one.short()),
        several => {
            let held: Vec<String> = several
                .iter()
                .filter(|one| is_held_back(one.verdict()))
                .take(TOLD_MAX)
                .map(|one| format!("{GAP}{}: {}", one.subject.tag, one.short()))
                .collect();
            match (several.is_empty(), held.is_empty()) {
                (false, true) => format!("{GAP}not throttled"),
                _ => held.concat(),
            }
        }
    }
}

fn is_held_back(verdict: Verdict) -> bool {
    !matches!(verdict, Verdict::NotThrottled(_) | Verdict::Unknown)
}

fn notes(diagnoses: &[&Diagnosis]) -> Vec<String> {
    let mut capped: Vec<&&Diagnosis> = diagnoses
        .iter()
        .filter(|one| one.verdict() == Verdict::CapThrottled)
        .collect();
    let lost = |one: &Diagnosis| one.facts.worst_cap().map_or(0.0, |cap| cap.lost_cpus);
    capped.sort_by(|a, b| lost(b).total_cmp(&lost(a)));
    let mut notes: Vec<String> = capped
        .iter()
        .take(NOTED_MAX)
        .map(|one| format!("{} was cap throttled: {}", one.subject.tag, said::why(one)))
        .collect();
    if let Some(more) = capped.len().checked_sub(NOTED_MAX).filter(|more| *more > 0) {
        notes.push(format!(
            "and {more} more containers were held back by their limits"
        ));
    }
    notes
}
