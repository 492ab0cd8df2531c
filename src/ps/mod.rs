//! `ctrflame ps`: the containers that run; which one a process is in; the processes of one.

mod json;
mod said;

pub(crate) use json::OneContainer;

use crate::cli::PsArgs;
use crate::failure::Failure;
use crate::report;
use crate::target::{Host, Wanted};
use profiler::HostPid;
use profiler::container::{Container, Namespaces, ProcCgroups, Process, census, find, host_tag};
use profiler::live;
use std::process::ExitCode;

/// A process and where it runs.
pub(crate) struct Found {
    /// The id that it was asked for by: a process's or a thread's.
    asked: Option<u32>,
    pub(crate) process: Process,
    pub(crate) place: Place,
}

/// Where a process runs.
pub(crate) enum Place {
    Container(Box<Container>),
    /// On the host itself: the tag, with the systemd unit where there is one.
    Host(String),
}

/// Runs it; fails when a process that was named is not there.
pub(crate) fn run(args: &PsArgs) -> Result<ExitCode, Failure> {
    let host = Host::look()?;
    let host_namespaces = Namespaces::of_host();
    let (found, missing) = match (&args.container, args.pids.as_slice()) {
        (Some(what), inner_pids) => inside(what, inner_pids, &host)?,
        (None, []) => {
            let residents = census(&host.hierarchy, &host.names);
            if args.json {
                report::text(&json::residents(&residents, &host_namespaces))?;
            } else {
                report::table(&said::residents(&residents, &host_namespaces))?;
                if residents.is_empty() {
                    report::note("no container runs here");
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        (None, pids) => named(pids, &host),
    };
    if args.json {
        report::text(&json::processes(&found, &host_namespaces))?;
    } else if !found.is_empty() {
        report::table(&said::processes(&found, &host_namespaces))?;
        for Found { asked, process, .. } in &found {
            let of = process.pid.0;
            if let Some(thread) = asked.filter(|asked| *asked != of) {
                report::note(format_args!("{thread} is a thread of process {of}"));
            }
        }
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::NoProcess {
        pids: missing,
        container: args.container.clone(),
    })
}

/// The processes with these ids, each as often as it was named, and the ids that are nobody's.
fn named(ids: &[u32], host: &Host) -> (Vec<Found>, Vec<u32>) {
    let mut missing = Vec::new();
    let mut found = Vec::new();
    for id in ids {
        match Process::of_thread(*id) {
            Some(process) => found.push(Found {
                asked: Some(*id),
                place: place_of(process.pid, host),
                process,
            }),
            None => missing.push(*id),
        }
    }
    (found, missing)
}

/// The processes of what `what` means, nested containers included; of those only the ones that call
/// themselves by one of `inner_pids`, where any is given, and the ids that nobody calls itself by.
fn inside(what: &str, inner_pids: &[u32], host: &Host) -> Result<(Vec<Found>, Vec<u32>), Failure> {
    let wanted = Wanted::cgroups_of(&find(what, &host.hierarchy, &host.names)?);
    let pids = live::pids().map_err(Failure::Processes)?;
    let is_in = |pid: &HostPid| {
        let text = live::proc_cgroups(*pid);
        text.is_some_and(|text| wanted.has(&ProcCgroups::parse(&text)))
    };
    let processes = pids.into_iter().filter(is_in).filter_map(Process::look);
    let found: Vec<Found> = processes
        .filter(|process| inner_pids.is_empty() || inner_pids.contains(&process.inner_pid().0))
        .map(|process| Found {
            asked: None,
            place: place_of(process.pid, host),
            process,
        })
        .collect();
    let is_found = |id: &u32| found.iter().any(|one| one.process.inner_pid().0 == *id);
    let missing = inner_pids
        .iter()
        .copied()
        .filter(|id| !is_found(id))
        .collect();
    Ok((found, missing))
}

fn place_of(pid: HostPid, host: &Host) -> Place {
    let text = live::proc_cgroups(pid).unwrap_or_default();
    let cgroups = ProcCgroups::parse(&text);
    match host.container_of(pid, &cgroups) {
        Some(container) => Place::Container(Box::new(container)),
        None => Place::Host(host_tag(cgroups.perf_path().unwrap_or("/"))),
    }
}
