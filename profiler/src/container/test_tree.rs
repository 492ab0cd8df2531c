//! Hosts to test on: frozen ones of `samples/hosts`, and small ones made for one test.

use std::fs;
use std::path::{Path, PathBuf};

/// A hybrid host with docker, containerd, podman and plain runc, all moved below `/srv/lab`.
pub(crate) const FOUR_ENGINES: &str = "four-engines-hybrid";
/// A cgroup v2 host with the engines' files at their default places.
pub(crate) const DEFAULT_PLACES: &str = "default-places-v2";

/// The root directory of a frozen host.
pub(crate) fn host(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../samples/hosts")).join(name)
}

/// A directory that goes with the test.
pub(crate) struct TempTree(PathBuf);

impl TempTree {
    /// `name` must be the test's own.
    pub(crate) fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("ctrflame-{}-{name}", std::process::id()));
        fs::remove_dir_all(&root).ok();
        fs::create_dir_all(&root).expect("a temporary directory");
        Self(root)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    /// Makes the parents too.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("parents");
        fs::write(path, text).expect("a file");
    }
}

impl Drop for TempTree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
