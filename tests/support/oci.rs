//! The OCI runtime configuration of one container, and a root file system for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
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
        for place in std::iter::once("/tmp").chain(self.tmpfs.iter().map(String::as_str)) {
            mounts.push(
                json!({"destination": place, "type": "tmpfs", "source": "tmpfs",
                               "options": ["mode=1777", "exec"]}),
            );
        }
        let namespaces: Vec<Value> = ["pid", "mount", "uts", "ipc", "cgroup", "network"]
            .iter()
            .map(|kind| json!({ "type": kind }))
            .collect();
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
                "user": {"uid": 0, "gid": 0},
                "args": self.args,
                "cwd": "/",
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
                "capabilities": {
                    "bounding": capabilities, "effective": capabilities, "permitted": capabilities
                },
                "noNewPrivileges": true
            },
            "root": {"path": self.rootfs, "readonly": false},
            "mounts": mounts,
            "linux": {"namespaces": namespaces, "cgroupsPath": self.cgroup, "resources": {}}
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
