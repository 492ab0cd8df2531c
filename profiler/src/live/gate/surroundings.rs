//! Where we run, by our namespaces and by what runtimes leave in their containers.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where we run: decides which command opens a gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Surroundings {
    #[default]
    Host,
    Docker,
    Podman,
    Kubernetes,
}

impl Surroundings {
    pub(super) fn here() -> Self {
        // Virtual machines made from container images carry the same marks. No runtime shares all
        // of these by default; Kubernetes shares pid, network and UTS on demand, IPC separately.
        let shares_all = ["ipc", "uts", "pid", "cgroup"]
            .into_iter()
            .all(|name| is_in_initial(name) != Some(false));
        if shares_all {
            Self::Host
        } else if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
            Self::Kubernetes
        } else if Path::new("/run/.containerenv").exists() {
            Self::Podman
        } else if Path::new("/.dockerenv").exists() {
            Self::Docker
        } else {
            Self::Host
        }
    }

    /// In words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Host => "on the host",
            Self::Docker => "in a docker container",
            Self::Podman => "in a podman container",
            Self::Kubernetes => "in a pod",
        }
    }
}

/// Whether this thread is in the namespace that the kernel booted with: those have fixed inode
/// numbers (`PROC_*_INIT_INO`, include/linux/proc_ns.h).
pub(super) fn is_in_initial(name: &str) -> Option<bool> {
    let initial = match name {
        "ipc" => 0xEFFF_FFFF,
        "uts" => 0xEFFF_FFFE,
        "user" => 0xEFFF_FFFD,
        "pid" => 0xEFFF_FFFC,
        "cgroup" => 0xEFFF_FFFB,
        _ => return None,
    };
    let found = fs::metadata(format!("/proc/thread-self/ns/{name}")).ok()?;
    Some(found.ino() == initial)
}
