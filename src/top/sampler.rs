//! Measures: which containers run, and what their counters did since the last time.

use super::row::{Row, Used};
use crate::failure::Failure;
use crate::target::Host;
use profiler::container::{Container, Names, list};
use profiler::usage::{Detail, Group, HostUse, Interval, Reader, Snapshot};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

/// Everything at one moment.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) at: SystemTime,
    /// By label.
    pub(super) rows: Vec<Row>,
    /// `None` the first time.
    pub(super) host: Option<HostUse>,
}

pub(super) struct Sampler {
    host: Host,
    reader: Reader,
    /// Of the containers that ran the last time, by cgroup path.
    groups: BTreeMap<String, Group>,
    before: Option<Snapshot>,
}

impl Sampler {
    pub(super) fn start() -> Result<Self, Failure> {
        Ok(Self {
            host: Host::look()?,
            reader: Reader::discover()?,
            groups: BTreeMap::new(),
            before: None,
        })
    }

    /// What happened since the last call.
    pub(super) fn measure(&mut self) -> Measured {
        let mut containers = list(&self.host.hierarchy, &self.host.names);
        let is_new = |one: &Container| !self.groups.contains_key(&one.cgroup_path);
        if !self.groups.is_empty() && containers.iter().any(is_new) {
            // Its engine may have started with it, and keep its names somewhere else.
            self.host.names = Names::load(Path::new("/"));
            containers = list(&self.host.hierarchy, &self.host.names);
        }
        let mut known = std::mem::take(&mut self.groups);
        self.groups = containers
            .iter()
            .map(|one| {
                let path = &one.cgroup_path;
                let group = known.remove(path);
                let group = group.unwrap_or_else(|| self.reader.group(path, &one.processes));
                (path.clone(), group)
            })
            .collect();
        let after = self.reader.read(self.groups.values(), Detail::QUICK);
        let interval = self
            .before
            .as_ref()
            .map(|before| Interval::between(before, &after));
        self.before = Some(after);
        let mut rows: Vec<Row> = containers
            .into_iter()
            .map(|container| {
                let interval = interval.as_ref();
                let used = interval.and_then(|interval| {
                    let group = interval.group(&container.cgroup_path)?;
                    Some(Used::of(group, interval))
                });
                Row {
                    tag: container.tag(),
                    container,
                    used,
                }
            })
            .collect();
        rows.sort_by(|a, b| {
            (&a.tag, &a.container.cgroup_path).cmp(&(&b.tag, &b.container.cgroup_path))
        });
        Measured {
            at: SystemTime::now(),
            rows,
            host: interval.map(|interval| interval.host),
        }
    }
}
