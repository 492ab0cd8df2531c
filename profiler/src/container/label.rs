//! A container with all that is known of it, and the label that it gets in the picture.

use super::names::{ContainerName, Names};
use super::path::{ContainerRef, Runtime, systemd_unit};
use crate::HostPid;
use std::collections::HashMap;
use std::sync::Arc;

/// How a container's samples can be told from the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// By its cgroup: it has one in the hierarchy that perf_event lives in.
    Cgroup,
    /// Only process by process: its runtime entered other hierarchies, not this one.
    Processes,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The container itself.
    pub reference: ContainerRef,
    /// What it is nested in, outermost first.
    pub outer: Vec<ContainerRef>,
    /// What it is called.
    pub name: ContainerName,
    /// The hostname of its UTS namespace, where somebody asked.
    pub hostname: Option<String>,
    /// Its own cgroup directory: in the perf_event hierarchy, or with [`Reach::Processes`] in
    /// whichever one knows it.
    pub cgroup_path: String,
    /// Whether that is a cgroup perf_event can use.
    pub reach: Reach,
    /// The processes in it, and in no container further inside; empty where nobody counted.
    pub processes: Vec<HostPid>,
}

impl Container {
    /// The container that a task with this cgroup is in; `None` on the host.
    pub fn identify(cgroup_path: &str, names: &Names) -> Option<Self> {
        let mut chain = names.located(cgroup_path);
        let own = chain.pop()?;
        let cgroup_path = cgroup_path.get(..own.end).unwrap_or(cgroup_path);
        let name = names.lookup(&own.container, cgroup_path);
        Some(Self {
            reference: own.container,
            outer: chain.into_iter().map(|outer| outer.container).collect(),
            name: name.unwrap_or_default(),
            hostname: None,
            cgroup_path: cgroup_path.to_owned(),
            reach: Reach::Cgroup,
            processes: Vec::new(),
        })
    }

    /// Who runs it, as far as its cgroup path or its engine's files tell.
    pub fn engine(&self) -> Runtime {
        match self.reference.runtime {
            Runtime::Unknown | Runtime::Kubernetes | Runtime::Ecs => {
                self.name.engine.unwrap_or(self.reference.runtime)
            }
            runtime => runtime,
        }
    }

    /// What it is called: in a pod by the pod's name for it, else by its engine's, else by its hostname.
    /// `None` where only its id is left. Container-chosen text.
    pub fn called(&self) -> Option<&str> {
        if self.name.pod.is_some() && self.name.container.is_some() {
            return self.name.container.as_deref();
        }
        self.name.name.as_deref().or_else(|| self.own_hostname())
    }

    /// Its hostname; the default one is the id again.
    fn own_hostname(&self) -> Option<&str> {
        let hostnames = [&self.hostname, &self.name.hostname];
        hostnames
            .into_iter()
            .flatten()
            .map(String::as_str)
            .find(|hostname| !self.reference.id.starts_with(hostname))
    }

    /// Its label: `docker:web (3f2a12345678)`, `k8s:namespace/pod/container (3f2a12345678)`,
    /// `lxc:web`. Holds container-chosen text as it is: escape it for where it is shown. [`Tags`]
    /// makes sure that no two containers of one picture share one.
    pub fn tag(&self) -> String {
        let word = self.engine().word();
        let id = self.reference.short_id();
        if let Some(pod) = &self.name.pod {
            let parts = [
                &self.name.namespace,
                &Some(pod.clone()),
                &self.name.container,
            ];
            let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
            return format!("k8s:{} ({id})", parts.join("/"));
        }
        if !self.reference.has_random_id() {
            return self.chosen_tag(word);
        }
        match self.name.name.as_deref().or_else(|| self.own_hostname()) {
            Some(name) => format!("{word}:{name} ({id})"),
            None => format!("{word}:{id}"),
        }
    }

    /// The label of a container whose id is a name that somebody chose: it tells two containers
    /// apart only together with what it is nested in, and, where the runtime does not choose the
    /// cgroup by itself, with the cgroup.
    fn chosen_tag(&self, word: &str) -> String {
        let chain: Vec<&str> = self
            .outer
            .iter()
            .chain([&self.reference])
            .map(ContainerRef::short_id)
            .collect();
        let chain = chain.join("/");
        let usual = match self.reference.runtime {
            Runtime::Lxc => self.outer.is_empty() && self.cgroup_path.starts_with("/lxc"),
            Runtime::Nspawn => self.cgroup_path.starts_with("/machine.slice/"),
            _ => false,
        };
        let nested_lxc = self.reference.runtime == Runtime::Lxc && !self.outer.is_empty();
        if usual || nested_lxc {
            format!("{word}:{chain}")
        } else {
            format!("{word}:{chain} ({})", self.cgroup_path)
        }
    }

    /// Whether nothing names it so far, and a hostname would.
    pub fn needs_hostname(&self) -> bool {
        self.reference.has_random_id() && self.name.name.is_none() && self.name.pod.is_none()
    }

    /// What makes it the same container when seen again: the ids down to it, and where an id is
    /// only a name, the cgroup.
    pub(crate) fn identity(&self) -> String {
        if !self.reference.has_random_id() {
            return self.cgroup_path.clone();
        }
        let ids = self.outer.iter().chain([&self.reference]);
        ids.map(|container| container.id.as_ref())
            .collect::<Vec<_>>()
            .join("/")
    }
}

/// The label of what runs in no container: `host`, or `host:nginx.service`.
pub fn host_tag(cgroup_path: &str) -> String {
    match systemd_unit(cgroup_path) {
        Some(unit) => format!("host:{unit}"),
        None => "host".to_owned(),
    }
}

/// The labels of one picture, in which two different containers never share one.
#[derive(Debug, Default)]
pub struct Tags {
    by_identity: HashMap<String, Arc<str>>,
    /// Label to the identity that has it.
    taken: HashMap<Arc<str>, String>,
}

impl Tags {
    /// The container's label: [`Container::tag`], with its whole identity behind it where another
    /// container had that label first. The same container gets the same label every time.
    pub fn tag(&mut self, container: &Container) -> Arc<str> {
        let identity = container.identity();
        if let Some(tag) = self.by_identity.get(&identity) {
            return tag.clone();
        }
        let mut tag: Arc<str> = container.tag().into();
        while self.taken.contains_key(&tag) {
            tag = format!("{tag} [{identity}]").into();
        }
        self.taken.insert(tag.clone(), identity.clone());
        self.by_identity.insert(identity, tag.clone());
        tag
    }
}

#[cfg(test)]
#[path = "label_tests.rs"]
mod tests;
