//! Which containers a cgroup path names: the shapes that the runtimes give their cgroups.

use std::fmt;
use std::sync::Arc;

/// Who made a container, as far as its cgroup path (or what an engine left on disk) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Runtime {
    /// dockerd.
    Docker,
    /// containerd: CRI, nerdctl, ctr.
    Containerd,
    /// CRI-O.
    CriO,
    /// podman.
    Podman,
    /// LXC, LXD, Incus, and libvirt's LXC driver.
    Lxc,
    /// systemd-nspawn and whatever else registers a machine that is no virtual machine.
    Nspawn,
    /// Amazon ECS and Fargate.
    Ecs,
    /// Cloud Foundry's garden.
    Garden,
    /// A build step of BuildKit.
    Buildkit,
    /// Below `kubepods`, and the path does not say which CRI made it.
    Kubernetes,
    /// runc without an engine.
    Runc,
    /// A container by the shape of its id; nothing says whose.
    Unknown,
}

impl Runtime {
    /// The word that a tag starts with.
    pub fn word(self) -> &'static str {
        match self {
            Runtime::Docker => "docker",
            Runtime::Containerd => "containerd",
            Runtime::CriO => "crio",
            Runtime::Podman => "podman",
            Runtime::Lxc => "lxc",
            Runtime::Nspawn => "nspawn",
            Runtime::Ecs => "ecs",
            Runtime::Garden => "garden",
            Runtime::Buildkit => "buildkit",
            Runtime::Kubernetes => "k8s",
            Runtime::Runc => "runc",
            Runtime::Unknown => "container",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One container, as its cgroup path names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerRef {
    /// Who made it.
    pub runtime: Runtime,
    /// 64 hex digits for most engines; LXC, nspawn and plain runc use the container's name.
    pub id: Arc<str>,
}

impl ContainerRef {
    /// Whether the id is an engine's random one, so that it alone tells two containers apart and
    /// its first 12 digits are what people know.
    pub fn has_random_id(&self) -> bool {
        is_hex_id(&self.id)
            || is_task_id(&self.id)
            || is_uuid(&self.id)
            || self.runtime == Runtime::Buildkit
    }

    /// What people call the container when it has no name: 12 digits of a random id, else the id.
    pub fn short_id(&self) -> &str {
        if is_hex_id(&self.id) {
            self.id.get(..12).unwrap_or(&self.id)
        } else {
            &self.id
        }
    }
}

/// A container and the cgroup directory that is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) container: ContainerRef,
    /// Bytes of the path up to the end of the container's own directory.
    pub(crate) end: usize,
}

/// The containers that a cgroup path lies in, outermost first: the last one is the task's own, the
/// others are what it is nested in (kind, docker-in-docker). Empty on the host.
pub fn containers_in(cgroup_path: &str) -> Vec<ContainerRef> {
    located_in(cgroup_path)
        .into_iter()
        .map(|located| located.container)
        .collect()
}

/// The part of a path that is this container's own directory, in whichever shape the path has it.
/// `None` where the path is not in that container.
pub(crate) fn path_of_container<'a>(path: &'a str, wanted: &ContainerRef) -> Option<&'a str> {
    let mut chain = located_in(path).into_iter();
    let own = chain.find(|located| located.container.id == wanted.id)?;
    path.get(..own.end)
}

/// The innermost systemd unit (`*.service`, `*.scope`) of a path that is no container's: tells host
/// processes apart (`nginx.service`, `session-3.scope`). As systemd wrote it, escapes included.
pub fn systemd_unit(cgroup_path: &str) -> Option<&str> {
    let mut seen = Seen::default();
    let mut unit = None;
    for component in cgroup_path.split('/') {
        let is_unit = component.ends_with(".service") || component.ends_with(".scope");
        let is_container = seen.container(component).is_some();
        if is_unit && !is_container && !component.starts_with('.') {
            unit = Some(component);
        }
        seen.passed(component);
    }
    unit
}

/// [`containers_in`], each with the extent of its own directory.
pub(crate) fn located_in(cgroup_path: &str) -> Vec<Located> {
    let mut found: Vec<Located> = Vec::new();
    let mut seen = Seen::default();
    let mut end = 0;
    for component in cgroup_path.split('/') {
        end += component.len();
        if let Some(container) = seen.container(component) {
            // `…/<pod id>/libpod-<id>` (podman's pods under a parent of the user's choice): the
            // bare id directly above a libpod container is the pod, which runs nothing itself.
            if container.runtime == Runtime::Podman
                && found.last().is_some_and(|outer| {
                    outer.container.runtime == Runtime::Unknown
                        && outer.end + 1 + component.len() == end
                })
            {
                found.pop();
            }
            // Some runtimes repeat the id in a payload cgroup of their own: still one container.
            if found.last().map(|outer| &outer.container.id) != Some(&container.id) {
                found.push(Located { container, end });
            }
        }
        seen.passed(component);
        end += 1;
    }
    found
}

/// What the components so far say about the next one.
#[derive(Default)]
struct Seen<'a> {
    last: &'a str,
    before_last: &'a str,
    below_kubepods: bool,
}

impl<'a> Seen<'a> {
    fn passed(&mut self, component: &'a str) {
        self.below_kubepods |= component.contains("kubepods");
        self.before_last = self.last;
        self.last = component;
    }

    /// The container whose own directory `component` is.
    fn container(&self, component: &str) -> Option<ContainerRef> {
        if matches!(component, "" | "." | "..") || is_conmon(component) {
            return None;
        }
        let (runtime, id) = self
            .named_by_its_parent(component)
            .or_else(|| machine(component))
            .or_else(|| self.colon_separated(component))
            .or_else(|| self.prefixed(component))
            .or_else(|| self.bare(component))?;
        Some(ContainerRef {
            runtime,
            id: id.into(),
        })
    }

    /// `/lxc/NAME`, `/lxc.payload/NAME`, `/lxc.payload.NAME`, `/garden/ID`, `…/buildkit/ID`.
    fn named_by_its_parent(&self, component: &str) -> Option<(Runtime, String)> {
        if let Some(name) = component.strip_prefix("lxc.payload.") {
            return (!name.is_empty()).then(|| (Runtime::Lxc, name.to_owned()));
        }
        let runtime = match (self.before_last, self.last) {
            (_, "lxc" | "lxc.payload") if !component.starts_with("lxc.") => Runtime::Lxc,
            // garden sorts its containers by how much CPU they were promised.
            ("garden", "good" | "bad") => Runtime::Garden,
            (_, "garden") if !matches!(component, "good" | "bad") => Runtime::Garden,
            (_, "buildkit") if is_buildkit_id(component) => Runtime::Buildkit,
            _ => return None,
        };
        Some((runtime, component.to_owned()))
    }

    /// `kubepods-…-pod….slice:cri-containerd:ID`: a systemd cgroups path given to a runtime that
    /// was not told to use systemd, and took it for a directory name.
    fn colon_separated(&self, component: &str) -> Option<(Runtime, String)> {
        let (rest, id) = component.rsplit_once(':')?;
        let prefix = rest.rsplit_once(':').map_or(rest, |(_, prefix)| prefix);
        let below_kubepods = self.below_kubepods || rest.contains("kubepods");
        with_prefix(prefix, id, below_kubepods)
    }

    /// `docker-ID.scope`, `crio-ID`, `libpod-payload-ID` …
    fn prefixed(&self, component: &str) -> Option<(Runtime, String)> {
        let unit = component.strip_suffix(".scope").unwrap_or(component);
        let (prefix, id) = unit.rsplit_once('-')?;
        with_prefix(prefix, id, self.below_kubepods)
    }

    /// An id and nothing else, told by where it is.
    fn bare(&self, component: &str) -> Option<(Runtime, String)> {
        let id = component.strip_suffix(".scope").unwrap_or(component);
        if is_task_id(id) {
            return Some((Runtime::Ecs, id.to_owned()));
        }
        // Directly below libpod_parent is a pod; its containers say `libpod-`.
        if !is_hex_id(id) || self.last == "libpod_parent" {
            return None;
        }
        let runtime = if self.last == "docker" {
            Runtime::Docker
        } else if self.below_kubepods {
            Runtime::Kubernetes
        } else if self.before_last == "ecs" || self.last == "ecs" {
            Runtime::Ecs
        } else {
            Runtime::Unknown
        };
        Some((runtime, id.to_owned()))
    }
}

/// The container `prefix` and `id` name together, whatever stands between them.
fn with_prefix(prefix: &str, id: &str, below_kubepods: bool) -> Option<(Runtime, String)> {
    if is_conmon(prefix) {
        return None;
    }
    if prefix == "docker" && is_buildkit_id(id) {
        return Some((Runtime::Buildkit, id.to_owned()));
    }
    if !is_hex_id(id) {
        return None;
    }
    let runtime = match prefix {
        "docker" => Runtime::Docker,
        "cri-containerd" | "containerd" | "nerdctl" => Runtime::Containerd,
        "crio" => Runtime::CriO,
        "libpod" | "libpod-payload" | "podman" => Runtime::Podman,
        "buildkit" => Runtime::Buildkit,
        "runc" => Runtime::Runc,
        _ if below_kubepods => Runtime::Kubernetes,
        _ => Runtime::Unknown,
    };
    Some((runtime, id.to_owned()))
}

/// `machine-NAME.scope` (machined) and `systemd-nspawn@NAME.service`. `machine-qemu\x2d…` is a
/// virtual machine: what perf sees of it is qemu, on the host.
fn machine(component: &str) -> Option<(Runtime, String)> {
    let escaped = component
        .strip_prefix("machine-")
        .and_then(|rest| rest.strip_suffix(".scope"))
        .or_else(|| {
            component
                .strip_prefix("systemd-nspawn@")
                .and_then(|rest| rest.strip_suffix(".service"))
        })?;
    let name = systemd_unescaped(escaped);
    if name.is_empty() || name.starts_with("qemu-") {
        return None;
    }
    let runtime = if name.starts_with("lxc-") {
        Runtime::Lxc
    } else {
        Runtime::Nspawn
    };
    Some((runtime, name))
}

/// Undoes `\x2d` and the like (systemd.unit(5), "String Escaping for Inclusion in Unit Names").
/// What is no escape, or no UTF-8 when undone, stays as it was.
fn systemd_unescaped(escaped: &str) -> String {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let value = match tail {
            [b'x', high, low, ..] if first == b'\\' => hex_value(*high)
                .zip(hex_value(*low))
                .map(|(high, low)| high * 16 + low),
            _ => None,
        };
        bytes.push(value.unwrap_or(first));
        rest = tail
            .get(if value.is_some() { 3 } else { 0 }..)
            .unwrap_or(&[]);
    }
    String::from_utf8(bytes).unwrap_or_else(|_| escaped.to_owned())
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// conmon watches a container from outside: `crio-conmon-ID.scope`, `libpod-conmon-ID.scope`.
fn is_conmon(component: &str) -> bool {
    component.split(['-', '.']).any(|word| word == "conmon")
}

/// The id that docker, containerd's CRI, CRI-O and podman draw: 256 random bits in lower-case hex.
pub(crate) fn is_hex_id(id: &str) -> bool {
    id.len() == 64 && is_lower_hex(id)
}

/// Fargate's id: the task's 32 hex digits, a dash, a number.
fn is_task_id(id: &str) -> bool {
    id.split_once('-').is_some_and(|(task, number)| {
        task.len() == 32
            && is_lower_hex(task)
            && !number.is_empty()
            && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// BuildKit's id: 128 random bits in base 36 (`identity.NewID`).
fn is_buildkit_id(id: &str) -> bool {
    id.len() == 25
        && id
            .bytes()
            .all(|digit| digit.is_ascii_digit() || digit.is_ascii_lowercase())
}

/// garden's id; anywhere else a uuid is no container (terminals name scopes so).
fn is_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
