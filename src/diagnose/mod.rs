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
use profiler::live::Signals;
use profiler::usage::{Detail, Entitlement, Files, GroupUse, HostUse};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use verdict::{Judgement, Verdict};
use watch::Watch;

/// Threads are read this often, those that live shorter are seen less; longer where it would cost more
/// than a fiftieth of the time.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Signals this close to each other are one wish: timeout(1) sends each twice, to us and to our group.
const SAME_STOP: Duration = Duration::from_millis(500);

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

/// Watches, then says what it saw; a signal ends the watching, a second one all of it.
pub(crate) fn run(args: &DiagnoseArgs) -> Result<ExitCode, Failure> {
    let host = Host::look()?;
    let found = find(&args.container, &host.hierarchy, &host.names)?;
    let subjects = Subject::of(&args.container, &found);
    let tags: Vec<&str> = subjects.iter().map(|one| one.tag.as_str()).collect();
    let (_tell, stop) = stop_of_signals()?;
    report::meanwhile(said::watching(&tags, args.duration));
    let running = list(&host.hierarchy, &host.names);
    let mut watch = Watch::begin(subjects, &running, Detail::FULL)?;
    let end = Instant::now() + args.duration;
    let mut pause = LOOK_EVERY;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.recv_timeout(pause.min(left)).is_ok() {
            break;
        }
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
        report::text(&crate::json::document(&json::document(&diagnoses)))?;
    } else {
        report::answers(&said::all(&diagnoses))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Gets something when somebody wants us to stop; as long as we hold its other end, it waits for that.
fn stop_of_signals() -> Result<(Sender<()>, Receiver<()>), Failure> {
    // Before any thread is started: they inherit the mask.
    let signals = Signals::block().map_err(Failure::Signals)?;
    let (tell, stop) = channel();
    let ours = tell.clone();
    let wait = move || {
        let mut first: Option<Instant> = None;
        while let Ok(signal) = signals.wait_for_stop() {
            let since = first.get_or_insert_with(Instant::now).elapsed();
            let _ = tell.send(());
            // It does not even get rid of its answer.
            if since > SAME_STOP {
                report::stop_at_once(signal);
            }
        }
    };
    let thread = thread::Builder::new().name("signals".into());
    thread.spawn(wait).map_err(Failure::Thread)?;
    Ok((ours, stop))
}
