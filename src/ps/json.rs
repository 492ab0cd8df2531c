//! `ctrflame ps --json`.

use super::{Found, Place};
use crate::json;
use profiler::container::{Container, NamespaceKind, Namespaces, Process, Resident};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// What is not known is `null`; names are as the container or its engine wrote them.
#[derive(Serialize)]
struct OneContainer<'a> {
    id: &'a str,
    short_id: &'a str,
    name: Option<&'a str>,
    runtime: &'static str,
    /// Kubernetes'.
    namespace: Option<&'a str>,
    pod: Option<&'a str>,
    /// Its name inside the pod.
    container: Option<&'a str>,
    hostname: Option<&'a str>,
    image: Option<&'a str>,
    cgroup: &'a str,
    /// Ids, outermost first.
    nested_in: Vec<&'a str>,
}

#[derive(Serialize)]
struct OneResident<'a> {
    #[serde(flatten)]
    container: OneContainer<'a>,
    /// Directly in it, on the host.
    pids: Vec<u32>,
    first: Option<OneProcess<'a>>,
}

#[derive(Serialize)]
struct OneProcess<'a> {
    pid: u32,
    /// What it calls itself.
    pid_inside: u32,
    /// In each pid namespace below ours, outermost first.
    pids_inside: Vec<u32>,
    uid: u32,
    age_s: f64,
    started: Option<String>,
    command: &'a str,
    namespaces: BTreeMap<&'static str, OneNamespace>,
}

#[derive(Serialize)]
struct OneNamespace {
    inode: Option<u64>,
    is_hosts: Option<bool>,
}

#[derive(Serialize)]
struct OneFound<'a> {
    #[serde(flatten)]
    process: OneProcess<'a>,
    container: Option<OneContainer<'a>>,
    /// Of a process on the host: its systemd unit.
    unit: Option<&'a str>,
}

pub(super) fn residents(residents: &[Resident], host: &Namespaces) -> String {
    let all: Vec<OneResident<'_>> = residents
        .iter()
        .map(|resident| OneResident {
            container: container(&resident.container),
            pids: resident
                .container
                .processes
                .iter()
                .map(|pid| pid.0)
                .collect(),
            first: resident.first.as_ref().map(|first| process(first, host)),
        })
        .collect();
    json::document(&all)
}

pub(super) fn processes(found: &[Found], host: &Namespaces) -> String {
    let all: Vec<OneFound<'_>> = found
        .iter()
        .map(|found| {
            let (container, unit) = match &found.place {
                Place::Container(inner) => (Some(container(inner)), None),
                Place::Host(tag) => (None, tag.split_once(':').map(|(_, unit)| unit)),
            };
            OneFound {
                process: process(&found.process, host),
                container,
                unit,
            }
        })
        .collect();
    json::document(&all)
}

fn container(one: &Container) -> OneContainer<'_> {
    let hostnames = [&one.hostname, &one.name.hostname];
    OneContainer {
        id: &one.reference.id,
        short_id: one.reference.short_id(),
        name: one.called(),
        runtime: one.engine().word(),
        namespace: one.name.namespace.as_deref(),
        pod: one.name.pod.as_deref(),
        container: one.name.container.as_deref(),
        hostname: hostnames.into_iter().flatten().map(String::as_str).next(),
        image: one.name.image.as_deref(),
        cgroup: &one.cgroup_path,
        nested_in: one.outer.iter().map(|outer| &*outer.id).collect(),
    }
}

fn process<'a>(one: &'a Process, host: &Namespaces) -> OneProcess<'a> {
    let namespaces = NamespaceKind::ALL.map(|kind| {
        let namespace = OneNamespace {
            inode: one.namespaces.inode(kind),
            is_hosts: one.namespaces.shares(kind, host),
        };
        (kind.word(), namespace)
    });
    let started = SystemTime::now().checked_sub(one.age);
    OneProcess {
        pid: one.pid.0,
        pid_inside: one.inner_pid().0,
        pids_inside: one.inner_pids.iter().map(|pid| pid.0).collect(),
        uid: one.uid,
        age_s: (one.age.as_secs_f64() * 100.0).round() / 100.0,
        started: started.map(|at| humantime::format_rfc3339_seconds(at).to_string()),
        command: &one.command,
        namespaces: BTreeMap::from(namespaces),
    }
}
