//! Real OCI containers, made by `runc` without a daemon, an image or a network, with cgroup paths of our choice.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroups::{self, OwnCgroup};
use super::oci::{self, Place, Spec};
use super::{Host, random_hex, wait_until, warn, which};

/// A container that is not running yet.
pub(crate) struct Builder<'a> {
    host: &'a Host,
    id: String,
    hostname: String,
    cgroup: Option<String>,
    busybox: bool,
    place: Place,
    files: Vec<(String, PathBuf)>,
    tmpfs: Vec<String>,
    args: Vec<String>,
}

impl<'a> Builder<'a> {
    /// A container that is to run `args`, its init; the first is an absolute path inside.
    pub(crate) fn new(host: &'a Host, args: &[&str]) -> Self {
        Self {
            host,
            id: random_hex(32),
            hostname: "box".to_owned(),
            cgroup: None,
            busybox: false,
            place: Place::default(),
            files: Vec::new(),
            tmpfs: Vec::new(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
        }
    }

    /// The 64 hexadecimal digits of its id; random unless set.
    pub(crate) fn id(mut self, id: &str) -> Self {
        self.id = id.to_owned();
        self
    }

    /// Its UTS hostname; `box` unless set.
    pub(crate) fn hostname(mut self, hostname: &str) -> Self {
        self.hostname = hostname.to_owned();
        self
    }

    /// Its cgroup path in every hierarchy; `/docker/<id>` unless set.
    pub(crate) fn cgroup(mut self, path: &str) -> Self {
        self.cgroup = Some(path.to_owned());
        self
    }

    /// Puts busybox and its applets into `/bin`; without it the root file system holds the added files only.
    pub(crate) fn busybox(mut self) -> Self {
        self.busybox = true;
        self
    }

    /// Copies the host's file `from`, with its mode, to `inside` (absolute).
    pub(crate) fn file(mut self, inside: &str, from: impl AsRef<Path>) -> Self {
        self.files
            .push((inside.to_owned(), from.as_ref().to_path_buf()));
        self
    }

    /// Mounts the host's directory `from` at `inside` (absolute), read-only.
    pub(crate) fn bind(mut self, from: impl AsRef<Path>, inside: &str) -> Self {
        let from = from.as_ref().to_path_buf();
        self.place.binds.push((from, inside.to_owned()));
        self
    }

    /// The host's shared libraries, for its programs that are not static.
    pub(crate) fn host_libraries(self) -> Self {
        self.bind("/usr/lib", "/usr/lib")
            .bind("/usr/lib", "/lib")
            .bind("/lib64", "/lib64")
    }

    /// The uid and gid of its init, as itself sees them; 0 unless set.
    pub(crate) fn user(mut self, id: u32) -> Self {
        self.place.user = id;
        self
    }

    /// Its own user namespace: its ids 0 to 65535 are the host's from `first` on.
    pub(crate) fn user_namespace(mut self, first: u32) -> Self {
        self.place.ids_from = Some(first);
        self
    }

    /// Nothing but its tmpfs can be written.
    pub(crate) fn read_only(mut self) -> Self {
        self.place.read_only = true;
        self
    }

    /// The working directory of its init; `/` unless set.
    pub(crate) fn cwd(mut self, inside: &str) -> Self {
        self.place.cwd = Some(inside.to_owned());
        self
    }

    /// Another variable in its environment, `NAME=VALUE`.
    pub(crate) fn env(mut self, variable: &str) -> Self {
        self.place.env.push(variable.to_owned());
        self
    }

    /// The mode of its `/tmp`; 1777 unless set.
    pub(crate) fn tmp_mode(mut self, mode: &str) -> Self {
        self.place.tmp_mode = Some(mode.to_owned());
        self
    }

    /// A further tmpfs at `place`, writable for everybody.
    pub(crate) fn tmpfs(mut self, place: &str) -> Self {
        self.tmpfs.push(place.to_owned());
        self
    }

    /// Mounts a further tmpfs at `place`, and lets init copy its own program onto it and run it from there: a
    /// file that is gone, with its mount, as soon as the container is.
    pub(crate) fn on_tmpfs(mut self, place: &str) -> Self {
        let program = self.args.remove(0);
        let name = Path::new(&program).file_name().expect("a program's path");
        let copy = format!("{place}/{}", name.to_string_lossy());
        let script = format!("cp {program} {copy} && exec {copy} \"$@\"");
        self.tmpfs.push(place.to_owned());
        self.args
            .splice(0..0, ["/bin/sh", "-c", &script, "sh"].map(str::to_owned));
        self.busybox()
    }

    /// Starts it. Its standard output and error go to a file, see [`Container::log`]: a detached container that
    /// inherited our pipes would keep them open.
    pub(crate) fn start(self) -> Container {
        let path = self
            .cgroup
            .unwrap_or_else(|| format!("/docker/{}", self.id));
        let bundle = self.host.lab().join(&self.id);
        let rootfs = bundle.join("rootfs");
        fs::create_dir_all(&rootfs).expect("target/ is writable");
        let mut container = Container {
            state: self.host.lab().join("runc"),
            id: self.id,
            hostname: self.hostname,
            bundle,
            cgroup: OwnCgroup::plan(&path),
            pid: 0,
        };
        oci::empty_rootfs(&rootfs);
        if let Some(mode) = &self.place.tmp_mode {
            // runc gives a tmpfs the mode of the directory below it.
            let mode = u32::from_str_radix(mode, 8).expect("octal");
            fs::set_permissions(rootfs.join("tmp"), Permissions::from_mode(mode)).expect("ours");
        }
        if self.busybox {
            oci::add_busybox(
                &rootfs,
                &which("busybox").expect("needs(Containers) looked"),
            );
        }
        for (inside, from) in &self.files {
            let to = rootfs.join(inside.trim_start_matches('/'));
            fs::create_dir_all(to.parent().expect("below the rootfs")).expect("the rootfs is ours");
            fs::copy(from, &to).unwrap_or_else(|error| panic!("{from:?} to {to:?}: {error}"));
        }
        let binds = self.place.binds.iter().map(|(_, inside)| inside);
        for place in self.tmpfs.iter().chain(binds) {
            fs::create_dir_all(rootfs.join(place.trim_start_matches('/'))).expect("ours");
        }
        let config = Spec {
            rootfs: &rootfs,
            hostname: &container.hostname,
            cgroup: &path,
            args: &self.args,
            tmpfs: &self.tmpfs,
            place: &self.place,
        }
        .config();
        fs::write(container.bundle.join("config.json"), config.to_string()).expect("ours");
        container.run();
        container
    }
}

/// What to do with a running container.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Freeze {
    Pause,
    Resume,
}

/// A started container. Dropping it kills it and removes everything it was made of.
pub(crate) struct Container {
    id: String,
    hostname: String,
    bundle: PathBuf,
    state: PathBuf,
    cgroup: OwnCgroup,
    /// Host pid of its init.
    pid: u32,
}

impl Container {
    fn run(&mut self) {
        let log = File::create(self.bundle.join("log")).expect("ours");
        let status = runc(&self.state)
            .args(["run", "--detach", "--pid-file"])
            .arg(self.bundle.join("pid"))
            .arg("--bundle")
            .arg(&self.bundle)
            .arg(&self.id)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .status()
            .expect("runc runs");
        assert!(status.success(), "runc run: {status}: {}", self.log());
        let pid = fs::read_to_string(self.bundle.join("pid")).expect("runc wrote --pid-file");
        self.pid = pid.trim().parse().expect("runc writes a number");
    }

    /// All 64 digits.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// What the picture calls it: nobody left a name on disk, so it is known by its hostname.
    pub(crate) fn tag(&self) -> String {
        format!("docker:{} ({})", self.hostname, &self.id[..12])
    }

    /// Host pid of its init.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Absolute, the same in every hierarchy.
    pub(crate) fn cgroup(&self) -> &str {
        self.cgroup.path()
    }

    /// Its root file system as the host sees it.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// The file system as its init sees it.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    /// Stops all its processes as `docker pause` does, or lets them run on.
    pub(crate) fn freeze(&self, verb: Freeze) {
        let verb = match verb {
            Freeze::Pause => "pause",
            Freeze::Resume => "resume",
        };
        let status = runc(&self.state).args([verb, &self.id]).status();
        assert!(status.expect("runc runs").success(), "runc {verb}");
    }

    /// Everything that its processes have printed so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.bundle.join("log")).unwrap_or_default()
    }

    /// Waits until its processes have printed a line that starts with `word`, and gives the rest of that line.
    pub(crate) fn wait_for_line(&self, word: &str, limit: Duration) -> String {
        wait_until(&format!("`{word}` from the container"), limit, || {
            let log = self.log();
            // A line is whole once its newline is there.
            log.split_inclusive('\n')
                .filter_map(|line| line.strip_suffix('\n')?.strip_prefix(word))
                .map(|rest| rest.trim().to_owned())
                .next()
        })
    }

    /// Sends `signal` to its init.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid.cast_signed()), signal).expect("init is our process to signal");
    }

    /// Waits until its init has called `execve` for a program with this path inside.
    pub(crate) fn wait_for_program(&self, inside: &str) {
        wait_until(&format!("{inside} to run"), Duration::from_secs(20), || {
            let exe = fs::read_link(format!("/proc/{}/exe", self.pid)).ok()?;
            (exe == Path::new(inside)).then_some(())
        });
    }

    /// Waits until its init is gone.
    pub(crate) fn wait_for_exit(&self, limit: Duration) {
        wait_until("the container to end", limit, || {
            (!is_running(self.pid)).then_some(())
        });
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(reason) = delete(&self.state, &self.id) {
            warn(&reason);
        }
        if self.pid != 0 && is_running(self.pid) {
            warn(&format!("container {} still runs as {}", self.id, self.pid));
        }
        for dir in self.cgroup.remove() {
            warn(&format!("cannot remove {}", dir.display()));
        }
        let _ = fs::remove_dir_all(&self.bundle);
    }
}

/// Removes what a test run that was killed has left behind: its bundles are still in the lab, and nobody else uses them while
/// this process holds the lock.
pub(crate) fn sweep(host: &Host) {
    let Ok(entries) = fs::read_dir(host.lab()) else {
        return;
    };
    for bundle in entries.flatten().map(|entry| entry.path()) {
        let config = fs::read(bundle.join("config.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
        let Some(id) = bundle.file_name().and_then(OsStr::to_str) else {
            continue;
        };
        if id == "runc" {
            continue;
        }
        let _ = delete(&host.lab().join("runc"), id);
        let path = config["linux"]["cgroupsPath"].as_str().unwrap_or("/");
        cgroups::remove_empty(path);
        let _ = fs::remove_dir_all(&bundle);
    }
}

/// `runc delete --force`: kills every process of the container, then removes its cgroups and its state.
fn delete(state: &Path, id: &str) -> Result<(), String> {
    let done = runc(state)
        .args(["delete", "--force", id])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("runc delete: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!(
        "runc delete {id}: {}",
        String::from_utf8_lossy(&done.stderr).trim()
    ))
}

fn runc(state: &Path) -> Command {
    let mut command = Command::new(which("runc").expect("needs(Containers) looked"));
    command.arg("--root").arg(state);
    command
}

/// Whether the process exists and is more than a zombie that nobody has collected.
pub(crate) fn is_running(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with(['Z', 'X'])))
        .is_some_and(|dead| !dead)
}
