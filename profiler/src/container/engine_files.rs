//! The engines' files about one container. The engines write them as root, but many of the strings
//! in them were chosen by whoever started the container.

use super::path::Runtime;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Larger files are not read.
const MAX_BYTES: u64 = 16 << 20;

/// What a container is called. Raw strings: escape them for wherever they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerName {
    /// The name that its engine knows it by.
    pub name: Option<String>,
    /// Its Kubernetes pod.
    pub pod: Option<String>,
    /// The pod's namespace.
    pub namespace: Option<String>,
    /// Its name inside the pod; `pause` for the pod's sandbox.
    pub container: Option<String>,
    /// The image as the user wrote it.
    pub image: Option<String>,
    /// The hostname that the engine gave it.
    pub hostname: Option<String>,
    /// Whose file said so, where the cgroup path does not tell.
    pub engine: Option<Runtime>,
}

/// The bytes of a regular file of at most [`MAX_BYTES`]; nothing for anything else, without ever
/// blocking on it.
pub(crate) fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= MAX_BYTES).then_some(bytes)
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&read_bounded(path)?).ok()
}

/// dockerd's `config.v2.json`, with the labels that kubelet's dockershim (cri-dockerd) set.
pub(crate) fn docker_config(path: &Path) -> Option<ContainerName> {
    #[derive(Deserialize)]
    struct Outer {
        #[serde(rename = "Name")]
        name: Option<String>,
        #[serde(rename = "Config")]
        config: Option<Inner>,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(rename = "Hostname")]
        hostname: Option<String>,
        #[serde(rename = "Image")]
        image: Option<String>,
        #[serde(rename = "Labels")]
        labels: Option<HashMap<String, String>>,
    }
    let outer: Outer = read_json(path)?;
    let inner = outer.config;
    let (hostname, image, labels) = match inner {
        Some(inner) => (
            inner.hostname,
            inner.image,
            inner.labels.unwrap_or_default(),
        ),
        None => Default::default(),
    };
    let kubernetes = kubernetes(&labels);
    let name = outer.name.unwrap_or_default();
    Some(ContainerName {
        name: some(name.strip_prefix('/').unwrap_or(&name)),
        image: image.as_deref().and_then(some),
        hostname: hostname.as_deref().and_then(some),
        engine: Some(Runtime::Docker),
        ..kubernetes
    })
}

/// An OCI bundle's `config.json`, and where it puts the container.
pub(crate) struct Bundle {
    pub(crate) name: ContainerName,
    /// As runc takes it: a path, or `slice:prefix:name`.
    pub(crate) cgroups_path: Option<String>,
}

/// Reads the `config.json` of a bundle (containerd's CRI and nerdctl, CRI-O, podman).
pub(crate) fn bundle_config(path: &Path) -> Option<Bundle> {
    #[derive(Deserialize)]
    struct Spec {
        hostname: Option<String>,
        annotations: Option<HashMap<String, String>>,
        linux: Option<Linux>,
    }
    #[derive(Deserialize)]
    struct Linux {
        #[serde(rename = "cgroupsPath")]
        cgroups_path: Option<String>,
    }
    let spec: Spec = read_json(path)?;
    let annotations = spec.annotations.unwrap_or_default();
    let first = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| annotations.get(*key).and_then(|value| some(value)))
    };
    let kubernetes = kubernetes(&annotations);
    Some(Bundle {
        name: ContainerName {
            name: first(&["nerdctl/name", "io.kubernetes.cri-o.Name"]),
            image: first(&[
                "io.kubernetes.cri.image-name",
                "io.kubernetes.cri-o.ImageName",
                "io.kubernetes.cri-o.Image",
            ]),
            hostname: spec.hostname.as_deref().and_then(some),
            ..kubernetes
        },
        cgroups_path: spec.linux.and_then(|linux| linux.cgroups_path),
    })
}

/// One entry of a storage's `containers.json` (containers/storage: podman, CRI-O).
#[derive(Deserialize)]
struct StorageEntry {
    id: String,
    names: Option<Vec<String>>,
    metadata: Option<String>,
}

/// The names in a storage's `containers.json`, by id.
pub(crate) fn storage_list(path: &Path) -> Option<HashMap<String, ContainerName>> {
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(rename = "image-name")]
        image_name: Option<String>,
    }
    let entries: Vec<StorageEntry> = read_json(path)?;
    let named = entries.into_iter().map(|entry| {
        // JSON inside of JSON.
        let metadata = entry
            .metadata
            .and_then(|text| serde_json::from_str::<Metadata>(&text).ok());
        let name = ContainerName {
            name: entry.names.unwrap_or_default().into_iter().next(),
            image: metadata.and_then(|metadata| metadata.image_name),
            ..ContainerName::default()
        };
        (entry.id, name)
    });
    Some(named.collect())
}

/// The cgroup directories in runc's `state.json`, as the host names them.
pub(crate) fn runc_cgroup_dirs(path: &Path) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct State {
        cgroup_paths: HashMap<String, String>,
    }
    let state: State = read_json(path)?;
    Some(state.cgroup_paths.into_values().collect())
}

/// Pod, namespace and container from labels or annotations: containerd's CRI has its own keys,
/// everybody else uses kubelet's.
fn kubernetes(labels: &HashMap<String, String>) -> ContainerName {
    let first = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| labels.get(*key).and_then(|value| some(value)))
    };
    let is_sandbox = [
        "io.kubernetes.cri.container-type",
        "io.kubernetes.cri-o.ContainerType",
    ]
    .iter()
    .any(|key| labels.get(*key).is_some_and(|kind| kind == "sandbox"));
    let container = first(&[
        "io.kubernetes.cri.container-name",
        "io.kubernetes.container.name",
    ]);
    let pod = first(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]);
    ContainerName {
        namespace: first(&[
            "io.kubernetes.cri.sandbox-namespace",
            "io.kubernetes.pod.namespace",
        ]),
        // Dockershim and CRI-O call the sandbox POD, containerd nothing at all.
        container: match container.as_deref() {
            Some("POD") => Some("pause".to_owned()),
            None if is_sandbox && pod.is_some() => Some("pause".to_owned()),
            _ => container,
        },
        pod,
        ..ContainerName::default()
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::test_tree::TempTree;

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let tree = TempTree::new("bounded");
        tree.write("small", "x");
        let at = |name: &str| tree.root().join(name);
        assert_eq!(read_bounded(&at("small")), Some(b"x".to_vec()));
        std::os::unix::fs::symlink(at("small"), at("link")).expect("a link");
        assert_eq!(read_bounded(&at("link")), None);
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        nix::unistd::mkfifo(&at("fifo"), mode).expect("a fifo");
        assert_eq!(read_bounded(&at("fifo")), None);
        assert_eq!(read_bounded(tree.root()), None);
        let huge = std::fs::File::create(at("huge")).expect("a file");
        huge.set_len(MAX_BYTES + 1).expect("sparse");
        assert_eq!(read_bounded(&at("huge")), None);
    }

    #[test]
    fn every_truncation_is_no_name_and_never_a_panic() {
        let tree = TempTree::new("truncated");
        let docker = r#"{"Name":"/web","Config":{"Labels":{"io.kubernetes.pod.name":"p"}}}"#;
        let storage = r#"[{"id":"a","names":["n"],"metadata":"{}"}]"#;
        let runc = r#"{"cgroup_paths":{"":"/sys/fs/cgroup/x"}}"#;
        let path = tree.root().join("file");
        for len in 0..=docker.len() {
            tree.write("file", &docker[..len]);
            let complete = len == docker.len();
            assert_eq!(docker_config(&path).is_some(), complete, "{len}");
            assert_eq!(bundle_config(&path).is_some(), complete, "{len}");
        }
        for len in 0..=storage.len() {
            tree.write("file", &storage[..len]);
            assert_eq!(storage_list(&path).is_some(), len == storage.len(), "{len}");
        }
        for len in 0..=runc.len() {
            tree.write("file", &runc[..len]);
            assert_eq!(
                runc_cgroup_dirs(&path).is_some(),
                len == runc.len(),
                "{len}"
            );
        }
    }

    #[test]
    fn labels_name_the_pod_and_the_sandbox_is_called_pause() {
        let labels = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            kubernetes(&owned.collect())
        };
        let cri = labels(&[
            ("io.kubernetes.cri.container-type", "sandbox"),
            ("io.kubernetes.cri.sandbox-name", "p"),
        ]);
        assert_eq!(cri.container.as_deref(), Some("pause"));
        let shim = labels(&[("io.kubernetes.container.name", "POD")]);
        assert_eq!(shim.container.as_deref(), Some("pause"));
        let app = labels(&[
            ("io.kubernetes.cri.container-type", "container"),
            ("io.kubernetes.cri.container-name", "app"),
            ("io.kubernetes.cri.sandbox-namespace", ""),
        ]);
        assert_eq!(app.container.as_deref(), Some("app"));
        assert_eq!(app.namespace, None);
    }
}
