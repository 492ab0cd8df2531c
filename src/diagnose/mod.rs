//! `ctrflame diagnose`: is a container held back from the CPU, by whom, and how much?

mod check;
mod facts;
mod host_said;
mod json;
mod neighbours;
mod next;
mod said;
mod subject;
mod verdict;
mod watch;

pub(crate) use check::{Check, Checked};
pub(crate) use subject::Subject;

use crate::cli::DiagnoseArgs;
use crate::failure::Failure;
use crate::report;
use crate::target::Host;
use facts::Facts;
use neighbours::Neighbour;
use profiler::container::{find, list};
use profiler::usage::{Detail, Entitlement, Files, GroupUse, HostUse};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use verdict::{Judgement, Verdict};
use watch::Watch;

/// Threads are read this often, those that live shorter are seen less; longer where it would cost more
/// than a fiftieth of the time.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What became of one container in an interval.
#[derive(Clone, Debug)]
pub(crate) struct Diagnosis {
    pub(crate) subject: Subject,
    /// Length of the interval.
    pub(crate) seconds: f64,
    facts: Facts,
    judgement: Judgement,
    /// `None` where weights are not known.
    entitled: Option<Entitlement>,
    /// Who else ran, the busiest first.
    neighbours: Vec<Neighbour>,
    group: GroupUse,
    /// Where its numbers come from.
    files: Files,
    host: HostUse,
}

impl Diagnosis {
    /// The verdict.
    pub(crate) fn verdict(&self) -> Verdict {
        self.judgement.verdict
    }
}

/// Watches, then says what it saw.
pub(crate) fn run(args: &DiagnoseArgs) -> Result<ExitCode, Failure> {
    let host = Host::look()?;
    let found = find(&args.container, &host.hierarchy, &host.names)?;
    let subjects = Subject::of(&args.container, &found);
    let running = list(&host.hierarchy, &host.names);
    let mut watch = Watch::begin(subjects, &running, Detail::FULL)?;
    let end = Instant::now() + args.duration;
    let mut pause = LOOK_EVERY;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        std::thread::sleep(pause.min(left));
        let began = Instant::now();
        watch.look();
        pause = LOOK_EVERY.max(began.elapsed() * 50);
    }
    let (diagnoses, gone) = watch.end();
    if diagnoses.is_empty() {
        return Err(Failure::Gone {
            what: gone.into_iter().map(|subject| subject.tag).collect(),
        });
    }
    if args.json {
        report::text(&crate::json::document(&json::document(&diagnoses)));
    } else {
        report::answers(&said::all(&diagnoses));
    }
    Ok(ExitCode::SUCCESS)
}
