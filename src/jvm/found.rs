//! Which JVMs a user means.

use crate::failure::Failure;
use crate::target::{Host, Wanted};
use profiler::HostPid;
use profiler::container::{ProcCgroups, find, host_tag};
use profiler::jvm::Jvm;
use profiler::live;

/// A JVM and where it runs.
pub(crate) struct Found {
    pub(crate) jvm: Jvm,
    /// Its container's tag, or the host's.
    pub(crate) tag: String,
}

/// The JVMs in these containers or with these pids; all of the host where nothing is named. By pid.
pub(crate) fn jvms(targets: &[String]) -> Result<Vec<Found>, Failure> {
    let host = Host::look();
    let pids = live::pids().map_err(Failure::Processes)?;
    let mut wanted: Vec<HostPid> = Vec::new();
    for target in targets {
        // A container's id may begin with digits alone: what runs as that pid goes first.
        let pid = target.parse().ok().map(HostPid);
        if let Some(pid) = pid.filter(|pid| pids.contains(pid)) {
            wanted.push(pid);
            continue;
        }
        let host = match &host {
            Ok(host) => host,
            Err(_) => &Host::look()?,
        };
        let cgroups = Wanted::cgroups_of(&find(target, &host.hierarchy, &host.names)?);
        let in_it = pids.iter().filter(|pid| {
            let text = live::proc_cgroups(**pid);
            text.is_some_and(|text| cgroups.has(&ProcCgroups::parse(&text)))
        });
        wanted.extend(in_it);
    }
    if targets.is_empty() {
        wanted = pids;
    }
    wanted.sort_unstable();
    wanted.dedup();
    let found = wanted.into_iter().filter_map(Jvm::look);
    Ok(found
        .map(|jvm| Found {
            tag: tag_of(jvm.pid, host.as_ref().ok()),
            jvm,
        })
        .collect())
}

/// Its container's tag, or the host's.
pub(super) fn tag_of(pid: HostPid, host: Option<&Host>) -> String {
    let text = live::proc_cgroups(pid).unwrap_or_default();
    let cgroups = ProcCgroups::parse(&text);
    match host.and_then(|host| host.container_of(pid, &cgroups)) {
        Some(container) => container.tag(),
        None => host_tag(cgroups.perf_path().unwrap_or("/")),
    }
}
