//! A real Docker daemon of our own: private data root, socket and pid file, no bridge, no iptables rule.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tempfile::TempDir;

use super::cgroups::OwnCgroup;
use super::{Host, oci, wait_until, warn, which};

/// A running `dockerd`. Dropping it removes its containers, stops it and removes what it kept.
pub(crate) struct Docker<'a> {
    _host: &'a Host,
    daemon: Child,
    dir: TempDir,
    cgroup: OwnCgroup,
}

impl<'a> Docker<'a> {
    /// Starts the daemon and waits until it answers.
    pub(crate) fn start(host: &'a Host) -> Self {
        // Not below target/: a unix socket's path has at most 107 bytes.
        let dir = tempfile::Builder::new()
            .prefix("ctrflame-docker-")
            .tempdir();
        let dir = dir.expect("the temporary directory is writable");
        let place = |name: &str| dir.path().join(name);
        let config = json!({
            "hosts": [format!("unix://{}", place("sock").display())],
            "data-root": place("data"),
            "exec-root": place("exec"),
            "pidfile": place("pid"),
            "iptables": false,
            "bridge": "none",
            "exec-opts": ["native.cgroupdriver=cgroupfs"]
        });
        fs::write(place("daemon.json"), config.to_string()).expect("ours");
        let log = File::create(place("log")).expect("ours");
        let daemon = Command::new(which("dockerd").expect("needs(Docker) looked"))
            .arg("--config-file")
            .arg(place("daemon.json"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("dockerd runs");
        let mut docker = Self {
            _host: host,
            daemon,
            dir,
            cgroup: OwnCgroup::plan("/docker"),
        };
        wait_until("dockerd to answer", Duration::from_secs(60), || {
            let ended = docker.daemon.try_wait().expect("our child");
            assert!(ended.is_none(), "dockerd: {ended:?}: {}", docker.log());
            docker.client(&["version"]).status.success().then_some(())
        });
        docker
    }

    /// Makes an image that holds `program` at `inside` and nothing else.
    pub(crate) fn import(&self, image: &str, program: &Path, inside: &str) {
        let root = self.dir.path().join("rootfs");
        oci::empty_rootfs(&root);
        fs::copy(program, root.join(inside.trim_start_matches('/'))).expect("ours");
        let archive = self.dir.path().join("image.tar");
        let tar = Command::new("tar")
            .arg("--create")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(&root)
            .arg(".")
            .status();
        assert!(tar.expect("tar runs").success(), "tar");
        self.must(&["import", &archive.to_string_lossy(), image]);
        fs::remove_dir_all(root).expect("ours");
    }

    /// `docker run --detach --network none --name NAME IMAGE ARGS…`; gives the container's 64-digit id.
    pub(crate) fn run(&self, name: &str, image: &str, args: &[&str]) -> String {
        self.run_with(&["--network", "none", "--name", name], image, args)
    }

    /// `docker run --detach OPTIONS… IMAGE ARGS…`; gives the container's 64-digit id.
    pub(crate) fn run_with(&self, options: &[&str], image: &str, args: &[&str]) -> String {
        self.must(&[&["run", "--detach"], options, &[image], args].concat())
    }

    /// Host pid of a container's init.
    pub(crate) fn pid_of(&self, container: &str) -> u32 {
        self.must(&["inspect", "--format", "{{.State.Pid}}", container])
            .parse()
            .expect("docker prints a number")
    }

    fn must(&self, args: &[&str]) -> String {
        let done = self.client(args);
        assert!(
            done.status.success(),
            "docker {args:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    fn client(&self, args: &[&str]) -> Output {
        Command::new(which("docker").expect("needs(Docker) looked"))
            .arg("--host")
            .arg(format!("unix://{}/sock", self.dir.path().display()))
            .args(args)
            // Not the user's context, credentials or proxy settings.
            .env("DOCKER_CONFIG", self.dir.path().join("client"))
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::null())
            .output()
            .expect("docker runs")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Mounts that are still there below the daemon's own directory, the last one first.
    fn mounts_left(&self) -> Vec<PathBuf> {
        let mut mounts: Vec<PathBuf> = fs::read_to_string("/proc/self/mounts")
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split(' ').nth(1).map(PathBuf::from))
            .filter(|mount| mount.starts_with(self.dir.path()))
            .collect();
        mounts.reverse();
        mounts
    }
}

impl Drop for Docker<'_> {
    fn drop(&mut self) {
        let ids = self.client(&["ps", "--all", "--quiet"]).stdout;
        for id in String::from_utf8_lossy(&ids).lines() {
            self.client(&["rm", "--force", id]);
        }
        let _ = kill(
            Pid::from_raw(self.daemon.id().cast_signed()),
            Signal::SIGTERM,
        );
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(self.daemon.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                warn(&format!("dockerd does not stop: {}", self.log()));
                let _ = self.daemon.kill();
                let _ = self.daemon.wait();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for mount in self.mounts_left() {
            if let Err(error) = nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH) {
                warn(&format!("{}: {error}", mount.display()));
            }
        }
        for dir in self.cgroup.remove() {
            warn(&format!("cannot remove {}", dir.display()));
        }
    }
}
