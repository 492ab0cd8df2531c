//! Where the engines of this host keep what they know: default places, their configuration, and
//! the command lines of the ones that run, because hosts move their data.

use super::engine_files::{read_bounded, read_json};
use super::hierarchy::below;
use super::proc_cgroups::ProcCgroups;
use serde::Deserialize;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Directories as the host names them, most trusted first, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EngineDirs {
    /// dockerd's data roots: `containers/<id>/config.v2.json`.
    pub(crate) docker: Vec<PathBuf>,
    /// containerd's task directories: `<namespace>/<id>/config.json`.
    pub(crate) tasks: Vec<PathBuf>,
    /// podman's and CRI-O's storage: `overlay-containers/…`.
    pub(crate) storage: Vec<PathBuf>,
    /// runc's own state: `<name>/state.json`.
    pub(crate) runc: Vec<PathBuf>,
    /// Containers that a running conmon names on its command line, by id.
    pub(crate) conmons: HashMap<String, ConmonName>,
}

/// What a conmon's command line says of its container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConmonName {
    pub(crate) name: String,
    /// Whose conmon; `None` for the host's root. A user's may only name what is that user's.
    pub(crate) uid: Option<u32>,
}

const TASKS: &str = "io.containerd.runtime.v2.task";

impl EngineDirs {
    /// Of the host whose filesystem lies below `fs_root`.
    pub(crate) fn discover(fs_root: &Path) -> Self {
        let mut dirs = Self::default();
        dirs.add_docker_config(fs_root, Path::new("/etc/docker/daemon.json"));
        for root in ["/var/lib/docker", "/var/snap/docker/common/var-lib-docker"] {
            add(&mut dirs.docker, Path::new(root));
        }
        dirs.add_containerd_config(fs_root, Path::new("/etc/containerd/config.toml"));
        for state in [
            "/run/containerd",
            "/run/docker/containerd/daemon",
            "/run/k3s/containerd",
            "/var/snap/microk8s/common/run/containerd",
        ] {
            add(&mut dirs.tasks, &Path::new(state).join(TASKS));
        }
        dirs.add_storage_config(fs_root);
        for root in ["/var/lib/containers/storage", "/run/containers/storage"] {
            add(&mut dirs.storage, Path::new(root));
        }
        add(&mut dirs.runc, Path::new("/run/runc"));
        dirs.add_running(fs_root);
        dirs
    }

    /// The engines that run. A process in a container could call itself dockerd and point
    /// anywhere: only those that are in no container count, and only root's name directories.
    fn add_running(&mut self, fs_root: &Path) {
        let proc = fs_root.join("proc");
        let (Ok(root), Ok(listing)) = (fs::metadata(&proc), fs::read_dir(&proc)) else {
            return;
        };
        for process in listing.filter_map(Result::ok) {
            let is_pid = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
            if !process.file_name().to_str().is_some_and(is_pid) {
                continue;
            }
            let dir = process.path();
            let Some(command) = read_bounded(&dir.join("cmdline")) else {
                continue;
            };
            let command = String::from_utf8_lossy(&command);
            let args: Vec<&str> = command.split('\0').collect();
            let program = args.first().and_then(|first| first.rsplit('/').next());
            let (Some(program), Ok(owner)) = (program, fs::metadata(&dir)) else {
                continue;
            };
            let is_engine = matches!(program, "dockerd" | "containerd" | "conmon")
                || program.starts_with("containerd-shim");
            if !is_engine || in_container(&dir) {
                continue;
            }
            // procfs itself is the host root's; in a frozen tree, whoever checked it out.
            let by_root = owner.uid() == root.uid();
            match program {
                "conmon" => self.add_conmon(&args, (!by_root).then_some(owner.uid())),
                _ if !by_root => {}
                "dockerd" => self.add_dockerd(fs_root, &args),
                "containerd" => self.add_containerd(fs_root, &args),
                _ => self.add_shim(&dir),
            }
        }
    }

    fn add_dockerd(&mut self, fs_root: &Path, args: &[&str]) {
        if let Some(file) = option(args, &["--config-file"]) {
            self.add_docker_config(fs_root, Path::new(file));
        }
        if let Some(root) = option(args, &["--data-root", "-g", "--graph"]) {
            add(&mut self.docker, Path::new(root));
        }
        if let Some(exec) = option(args, &["--exec-root"]) {
            self.add_exec_root(exec);
        }
    }

    fn add_docker_config(&mut self, fs_root: &Path, file: &Path) {
        #[derive(Deserialize)]
        struct DaemonJson {
            #[serde(rename = "data-root", alias = "graph")]
            data_root: Option<String>,
            #[serde(rename = "exec-root")]
            exec_root: Option<String>,
        }
        let Some(config) = read_json::<DaemonJson>(&below(fs_root, file)) else {
            return;
        };
        if let Some(root) = config.data_root {
            add(&mut self.docker, Path::new(&root));
        }
        if let Some(exec) = config.exec_root {
            self.add_exec_root(&exec);
        }
    }

    /// dockerd starts a containerd of its own there.
    fn add_exec_root(&mut self, exec: &str) {
        let state = Path::new(exec).join("containerd/daemon");
        add(&mut self.tasks, &state.join(TASKS));
    }

    fn add_containerd(&mut self, fs_root: &Path, args: &[&str]) {
        if let Some(file) = option(args, &["--config", "-c"]) {
            self.add_containerd_config(fs_root, Path::new(file));
        }
        if let Some(state) = option(args, &["--state"]) {
            add(&mut self.tasks, &Path::new(state).join(TASKS));
        }
    }

    fn add_containerd_config(&mut self, fs_root: &Path, file: &Path) {
        if let Some(state) = toml_string(&below(fs_root, file), "state") {
            add(&mut self.tasks, &Path::new(&state).join(TASKS));
        }
    }

    /// A shim's working directory is its container's bundle: `…/<namespace>/<id>`.
    fn add_shim(&mut self, dir: &Path) {
        if let Ok(bundle) = fs::read_link(dir.join("cwd"))
            && let Some(tasks) = bundle.ancestors().nth(2)
            && tasks.file_name().is_some_and(|name| name == TASKS)
        {
            add(&mut self.tasks, tasks);
        }
    }

    fn add_storage_config(&mut self, fs_root: &Path) {
        for file in [
            "/etc/containers/storage.conf",
            "/usr/share/containers/storage.conf",
        ] {
            let file = below(fs_root, Path::new(file));
            for key in ["graphroot", "runroot"] {
                if let Some(root) = toml_string(&file, key) {
                    add(&mut self.storage, Path::new(&root));
                }
            }
        }
    }

    /// `-b …/overlay-containers/<id>/userdata` gives the storage, `-c` and `-n` the name itself.
    fn add_conmon(&mut self, args: &[&str], uid: Option<u32>) {
        if uid.is_none()
            && let Some(bundle) = option(args, &["-b", "--bundle"])
            && let Some(storage) = Path::new(bundle).ancestors().nth(3)
        {
            add(&mut self.storage, storage);
        }
        if let (Some(id), Some(name)) = (option(args, &["-c", "--cid"]), option(args, &["-n", "--name"]))
            // Root's word on a container is never replaced by a user's.
            && (uid.is_none() || !self.conmons.contains_key(id))
        {
            let name = name.to_owned();
            self.conmons.insert(id.to_owned(), ConmonName { name, uid });
        }
    }
}

fn add(dirs: &mut Vec<PathBuf>, dir: &Path) {
    if dir.is_absolute() && !dirs.iter().any(|known| known == dir) {
        dirs.push(dir.to_owned());
    }
}

fn in_container(proc_dir: &Path) -> bool {
    read_bounded(&proc_dir.join("cgroup")).is_some_and(|text| {
        let cgroups = ProcCgroups::parse(&String::from_utf8_lossy(&text));
        !cgroups.containers().is_empty()
    })
}

/// The last value of an option, `--name VALUE` or `--name=VALUE`.
fn option<'a>(args: &[&'a str], names: &[&str]) -> Option<&'a str> {
    let mut value = None;
    let mut args = args.iter().skip(1);
    while let Some(arg) = args.next() {
        if names.contains(arg) {
            value = args.next().copied();
        } else if let Some((name, joined)) = arg.split_once('=')
            && names.contains(&name)
        {
            value = Some(joined);
        }
    }
    value.filter(|value| !value.is_empty())
}

/// The first `key = "…"` of a TOML file: enough for the one key that is looked for in each of the
/// engines' files, none of which has it in another table with another meaning.
fn toml_string(file: &Path, key: &str) -> Option<String> {
    let text = read_bounded(file)?;
    String::from_utf8_lossy(&text).lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, _) = value.get(1..)?.split_once(quote)?;
        (name.trim() == key).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::test_tree::{FOUR_ENGINES, TempTree, host};

    fn has(dirs: &[PathBuf], dir: &str) -> bool {
        dirs.iter().any(|known| known == Path::new(dir))
    }

    #[test]
    fn engines_that_moved_their_data_are_found_by_their_processes() {
        let dirs = EngineDirs::discover(&host(FOUR_ENGINES));
        assert!(has(&dirs.docker, "/srv/lab/docker/data"), "{dirs:?}");
        assert!(has(&dirs.docker, "/var/lib/docker"));
        let state = "/srv/lab/containerd/state/io.containerd.runtime.v2.task";
        assert!(has(&dirs.tasks, state), "{dirs:?}");
        assert!(has(&dirs.storage, "/srv/lab/podman/root"), "{dirs:?}");
        assert!(dirs.conmons.values().any(|conmon| conmon.name == "p1"));
    }

    #[test]
    fn an_engine_inside_a_container_points_nowhere() {
        let tree = TempTree::new("fake-engine");
        tree.write("proc/7/cmdline", "dockerd\0--data-root=/evil\0");
        tree.write(
            "proc/7/cgroup",
            &format!("0::/docker/{}/x\n", "a".repeat(64)),
        );
        tree.write("proc/8/cmdline", "/usr/bin/dockerd\0--data-root\0/good\0");
        tree.write("proc/8/cgroup", "0::/system.slice/docker.service\n");
        tree.write("proc/9/cmdline", "dockerd\0--data-root=relative\0");
        let dirs = EngineDirs::discover(tree.root());
        assert!(has(&dirs.docker, "/good"));
        assert!(!has(&dirs.docker, "/evil") && !has(&dirs.docker, "relative"));
    }

    #[test]
    fn configuration_files_are_honoured() {
        let tree = TempTree::new("engine-config");
        tree.write("etc/docker/daemon.json", r#"{"data-root":"/big/docker"}"#);
        tree.write(
            "etc/containerd/config.toml",
            "version = 2\n# state = \"/no\"\nstate = '/big/ctd' # moved\n[grpc]\n",
        );
        tree.write(
            "etc/containers/storage.conf",
            "[storage]\ngraphroot = \"/big/graph\"\nrunroot=\"/big/run\"\n",
        );
        let dirs = EngineDirs::discover(tree.root());
        assert_eq!(dirs.docker[0], Path::new("/big/docker"));
        assert_eq!(dirs.tasks[0], Path::new("/big/ctd").join(TASKS));
        assert_eq!(
            dirs.storage[..2],
            [Path::new("/big/graph"), Path::new("/big/run")]
        );
    }

    #[test]
    fn an_options_last_value_counts_in_either_spelling() {
        let args = ["x", "--a=1", "-a", "2", "--b", "--a"];
        assert_eq!(
            option(&args, &["--a", "-a"]),
            None,
            "the last one has no value"
        );
        assert_eq!(option(&args[..4], &["--a", "-a"]), Some("2"));
        assert_eq!(option(&["--a=1"], &["--a"]), None, "the program's own name");
    }
}
