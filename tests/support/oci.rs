//! The OCI runtime configuration of one container, and a root file system for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// What differs from one container to the next.
pub(crate) struct Spec<'a> {
    pub(crate) rootfs: &'a Path,
    pub(crate) hostname: &'a str,
    /// Absolute; runc enters the same path in every hierarchy.
    pub(crate) cgroup: &'a str,
    pub(crate) args: &'a [String],
    /// Where further tmpfs are mounted, besides the private `/tmp`.
    pub(crate) tmpfs: &'a [String],
    pub(crate) place: &'a Place,
}

/// What a program finds where it runs, as far as it is not as usual.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// Directories of the host, and where they are mounted, read-only.
    pub(crate) binds: Vec<(PathBuf, String)>,
    pub(crate) user: u32,
    /// The host's id for its 0; `None` without a user namespace.
    pub(crate) ids_from: Option<u32>,
    pub(crate) read_only: bool,
    pub(crate) cwd: Option<String>,
    pub(crate) env: Vec<String>,
    pub(crate) tmp_mode: Option<String>,
}

impl Spec<'_> {
    /// `config.json`: all six namespaces new, a private tmpfs `/tmp` on which programs may run, few capabilities.
    pub(crate) fn config(&self) -> Value {
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                   "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
            json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                   "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]}),
        ];
        let tmp_mode = self.place.tmp_mode.as_deref().unwrap_or("1777");
        let tmp = std::iter::once(("/tmp", tmp_mode));
        for (place, mode) in tmp.chain(self.tmpfs.iter().map(|place| (place.as_str(), "1777"))) {
            mounts.push(
                json!({"destination": place, "type": "tmpfs", "source": "tmpfs",
                               "options": [format!("mode={mode}"), "exec".to_owned()]}),
            );
        }
        for (from, inside) in &self.place.binds {
            mounts.push(
                json!({"destination": inside, "type": "bind", "source": from, "options": ["rbind", "ro"]}),
            );
        }
        let kinds = ["pid", "mount", "uts", "ipc", "cgroup", "network"];
        let user_namespace = self.place.ids_from.map(|_| "user");
        let namespaces: Vec<Value> = kinds
            .into_iter()
            .chain(user_namespace)
            .map(|kind| json!({ "type": kind }))
            .collect();
        let ids: Vec<Value> = self
            .place
            .ids_from
            .map(|first| json!({"containerID": 0, "hostID": first, "size": 65536}))
            .into_iter()
            .collect();
        let mut env = vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"];
        env.extend(self.place.env.iter().map(String::as_str));
        let capabilities = json!([
            "CAP_KILL",
            "CAP_SYS_CHROOT",
            "CAP_SETUID",
            "CAP_SETGID",
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE"
        ]);
        json!({
            "ociVersion": "1.0.2",
            "hostname": self.hostname,
            "process": {
                "terminal": false,
                "user": {"uid": self.place.user, "gid": self.place.user},
                "args": self.args,
                "cwd": self.place.cwd.as_deref().unwrap_or("/"),
                "env": env,
                "capabilities": {
                    "bounding": capabilities, "effective": capabilities, "permitted": capabilities
                },
                "noNewPrivileges": true
            },
            "root": {"path": self.rootfs, "readonly": self.place.read_only},
            "mounts": mounts,
            "linux": {"namespaces": namespaces, "uidMappings": ids, "gidMappings": ids,
                      "cgroupsPath": self.cgroup, "resources": {}}
        })
    }
}

/// Makes the directories that a runtime mounts on, and nothing else.
pub(crate) fn empty_rootfs(root: &Path) {
    for dir in ["proc", "sys", "dev", "tmp", "etc", "root", "app", "bin"] {
        fs::create_dir_all(root.join(dir)).expect("the rootfs is ours");
    }
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777))
        .expect("the rootfs is ours");
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")
        .expect("the rootfs is ours");
    fs::write(root.join("etc/group"), "root:x:0:\n").expect("the rootfs is ours");
}

/// Adds the static busybox and a link for each of its applets.
pub(crate) fn add_busybox(root: &Path, busybox: &Path) {
    let inside = root.join("bin/busybox");
    fs::copy(busybox, &inside).expect("busybox can be copied");
    let list = Command::new(&inside)
        .arg("--list")
        .output()
        .expect("busybox is static and runs");
    for applet in String::from_utf8_lossy(&list.stdout).lines() {
        if applet != "busybox" {
            symlink("/bin/busybox", root.join("bin").join(applet)).expect("each applet is new");
        }
    }
}
