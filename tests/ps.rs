//! `ctrflame ps` against what `/proc` and the engines say.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use support::cgroups::{self, OwnCgroup};
use support::container::{Builder, Container};
use support::ctrflame::{Ctrflame, Finished};
use support::docker::Docker;
use support::gates::Gate;
use support::{Host, Need, needs, random_hex, wait_until};

const SOON: Duration = Duration::from_secs(20);
const KINDS: [&str; 7] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/// One test at a time: a process that is started while another test writes a program holds that open,
/// and it cannot be run (ETXTBSY).
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ps(args: &[&str]) -> Finished {
    Ctrflame::new(["ps"]).args(args).run()
}

fn json(args: &[&str]) -> Vec<Value> {
    let run = ps(&[args, &["--json"]].concat()).expect_code(0);
    assert!(
        run.stdout.chars().all(|c| matches!(c, ' '..='~' | '\n')),
        "{:?}",
        run.stdout
    );
    serde_json::from_str(&run.stdout).expect("JSON")
}

/// The one that has this value in this field.
fn with<'a>(all: &'a [Value], field: &str, value: impl Into<Value>) -> &'a Value {
    let value = value.into();
    all.iter()
        .find(|one| one[field] == value)
        .unwrap_or_else(|| panic!("no {field} {value} in {all:#?}"))
}

/// The line of a table that has this word, as its words.
fn row<'a>(run: &'a Finished, word: &str) -> Vec<&'a str> {
    let words = |line: &'a str| line.split_whitespace().collect::<Vec<_>>();
    let mut lines = run.stdout.lines().map(words);
    lines
        .find(|words| words.contains(&word))
        .unwrap_or_else(|| panic!("no {word} in\n{}", run.stdout))
}

fn sleeper<'a>(host: &'a Host, hostname: &str) -> Builder<'a> {
    Builder::new(host, &["/bin/sh", "-c", "sleep 60; : \u{1b}[2J\u{202e}"])
        .busybox()
        .hostname(hostname)
}

/// The pids below the host's, as the kernel tells them.
fn pids_inside(pid: u32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("NStgid:"));
    let pids = line.expect("Linux 4.1").split_whitespace().skip(1);
    pids.map(|pid| pid.parse().expect("a number")).collect()
}

fn namespace(pid: impl std::fmt::Display, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("root may");
    link.to_string_lossy().into_owned()
}

fn assert_namespaces(process: &Value) {
    let pid = &process["pid"];
    for kind in KINDS {
        let told = &process["namespaces"][kind];
        let real = namespace(pid, kind);
        assert_eq!(format!("{kind}:[{}]", told["inode"]), real);
        let is_ours = real == namespace("self", kind);
        assert_eq!(told["is_hosts"], is_ours, "{kind} of {pid}");
    }
}

/// A container inside of another one: a cgroup below its, a process in a pid namespace below its.
struct Nested {
    id: String,
    entering: Child,
    cgroup: OwnCgroup,
}

impl Nested {
    fn start(outer: &Container) -> Self {
        let id = random_hex(32);
        let path = format!("{}/docker/{id}", outer.cgroup());
        let cgroup = OwnCgroup::plan(&path);
        let dirs: Vec<PathBuf> = cgroups::directories(outer.cgroup())
            .iter()
            .map(|dir| dir.join("docker").join(&id))
            .collect();
        let mut enter = String::new();
        for dir in &dirs {
            fs::create_dir_all(dir).expect("root may");
            // A v1 cpuset takes nobody in before it is given CPUs.
            enter.push_str(&format!("echo $$ 2>&- > {}/cgroup.procs; ", dir.display()));
        }
        let pid = outer.pid();
        let run = format!(
            "{enter} exec nsenter --target {pid} --pid -- unshare --fork --pid --kill-child sleep 61"
        );
        let entering = Command::new("sh")
            .args(["-c", &run])
            .stdin(Stdio::null())
            // unshare says there what it makes of its end.
            .stderr(Stdio::null())
            .spawn();
        Self {
            id,
            entering: entering.expect("a shell"),
            cgroup,
        }
    }

    /// The process that has only itself below it.
    fn sleep(&self) -> u32 {
        wait_until("the nested process", SOON, || self.find())
    }

    fn find(&self) -> Option<u32> {
        let dirs = cgroups::directories(self.cgroup.path());
        let lists = dirs.iter().map(|dir| dir.join("cgroup.procs"));
        let pids = lists.flat_map(|list| {
            let pids = fs::read_to_string(list).unwrap_or_default();
            pids.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        pids.filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command == b"sleep\x0061\0"
        })
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        if let Some(sleep) = self.find() {
            let pid = nix::unistd::Pid::from_raw(sleep.cast_signed());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.entering.kill();
        let _ = self.entering.wait();
        self.cgroup.remove();
    }
}

#[test]
fn a_container_is_a_row_with_both_pids_its_namespaces_and_its_command_escaped() {
    let _alone = alone();
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = sleeper(&host, "al\u{1b}pha").start();
    container.wait_for_program("/bin/busybox");
    let run = ps(&[]).expect_code(0);
    assert!(!run.stdout.contains('\u{1b}') && !run.stdout.contains('\u{202e}'));
    let row = row(&run, &container.id()[..12]);
    let pid = container.pid().to_string();
    assert_eq!(
        row[1..6],
        [r"al\x1bpha", "docker", &pid, "1", "2"],
        "{row:?}"
    );
    let line = run.stdout.lines().find(|line| line.contains(&pid));
    let line = line.expect("its row");
    assert!(
        line.ends_with(r"/bin/sh -c sleep 60; : \x1b[2J\u{202e}"),
        "{line}"
    );
    // runc's containers here have their own namespaces, but the host's users.
    assert!(
        line.contains("cgroup  ipc  mnt  net  pid  user! uts "),
        "{line}"
    );

    let all = json(&[]);
    let told = with(&all, "id", container.id());
    assert_eq!(told["hostname"], "al\u{1b}pha");
    assert_eq!(told["cgroup"], container.cgroup());
    assert_eq!(told["first"]["pid"], container.pid());
    assert_eq!(told["first"]["pid_inside"], 1);
    let command = &told["first"]["command"];
    assert_eq!(command, "/bin/sh -c sleep 60; : \u{1b}[2J\u{202e}");
    assert_eq!(told["pids"].as_array().map(Vec::len), Some(2));
    assert_namespaces(&told["first"]);
}

#[test]
fn a_nested_container_is_below_its_own_with_a_pid_for_each_namespace() {
    let _alone = alone();
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let outer = sleeper(&host, "outer").start();
    let nested = Nested::start(&outer);
    let pid = nested.sleep();
    let inner = pids_inside(pid);
    assert_eq!(inner.len(), 2, "{inner:?}");

    let run = ps(&[]).expect_code(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with(&outer.id()[..12]))
        .expect("the outer one");
    let branch = format!("└─{}", &nested.id[..12]);
    assert!(lines[at + 1].starts_with(&branch), "{}", run.stdout);

    // Asked by its pid: who it is in both, and in what.
    let run = ps(&[&pid.to_string()]).expect_code(0);
    let both = format!("{}/{}", inner[0], inner[1]);
    let chain = format!("{}/{}", &outer.id()[..12], &nested.id[..12]);
    let row = row(&run, &both);
    assert_eq!(row[..3], [&pid.to_string(), &both, &chain], "{row:?}");
    let told = json(&[&pid.to_string()]);
    assert_eq!(told[0]["pids_inside"], Value::from(inner));
    assert_eq!(told[0]["container"]["id"], nested.id);
    assert_eq!(
        told[0]["container"]["nested_in"],
        Value::from([outer.id()].to_vec())
    );

    // Of the outer one are all, of the nested one its own; by its own pid in there, the one.
    let told = json(&["-G", outer.id()]);
    for pid in [outer.pid(), pid] {
        assert_namespaces(with(&told, "pid", pid));
    }
    let told = json(&["--container", &nested.id]);
    assert!(told.iter().all(|one| one["container"]["id"] == nested.id));
    let told = json(&["--container", &nested.id, "1"]);
    let pids: Vec<&Value> = told.iter().map(|one| &one["pid"]).collect();
    assert_eq!(pids, [&Value::from(pid)]);
}

#[test]
fn a_process_of_the_host_and_a_thread_are_told_and_what_is_not_there_is_an_error() {
    let _alone = alone();
    let own = std::process::id();
    let thread = nix::unistd::gettid().to_string();
    assert_ne!(thread, own.to_string(), "tests run in threads");
    let run = ps(&[&thread]).expect_code(0);
    assert!(
        run.stderr
            .contains(&format!("{thread} is a thread of process {own}")),
        "{}",
        run.stderr
    );
    assert_eq!(row(&run, &own.to_string())[1], pid_inside_of(own));
    // Larger than any pid (PID_MAX_LIMIT).
    let run = ps(&["4194305", &own.to_string()]).expect_failure();
    assert!(run.stderr.contains("no process 4194305 runs"));
    assert!(
        run.stdout.contains(&own.to_string()),
        "what is there is told"
    );
    let run = ps(&["4194305"]).expect_failure();
    assert_eq!(run.stdout, "");
    ps(&["0"]).expect_code(2);
    let run = ps(&["-G", "no such container"]).expect_failure();
    assert_eq!(run.stdout, "");
}

fn pid_inside_of(pid: u32) -> String {
    pids_inside(pid).last().unwrap_or(&pid).to_string()
}

#[test]
fn who_may_not_look_sees_the_containers_all_the_same() {
    let _alone = alone();
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = sleeper(&host, "alpha").start();
    container.wait_for_program("/bin/busybox");
    let run = Ctrflame::new(["ps"])
        .behind(Gate::Nobody)
        .run()
        .expect_code(0);
    let row = row(&run, &container.id()[..12]);
    let pid = container.pid().to_string();
    // Its hostname is root's to ask.
    assert_eq!(row[1..6], ["-", "docker", &pid, "1", "2"], "{row:?}");
    assert!(row.contains(&"net?"), "{row:?}");
    let by_name = Ctrflame::new(["ps", "-G", "alpha"]).behind(Gate::Nobody);
    let said = by_name.run().expect_failure().stderr;
    assert!(
        said.contains("hint: most names are root's to read, `sudo ctrflame …` knows them; or give"),
        "{said}"
    );
    let as_root = ps(&["-G", "no-such-container"]).expect_failure().stderr;
    assert!(as_root.contains("hint: give a name"), "{as_root}");
}

#[test]
fn a_docker_container_has_its_name_its_image_and_what_it_shares_with_the_host() {
    let _alone = alone();
    let Some(host) = needs(Need::Docker) else {
        return;
    };
    let docker = Docker::start(&host);
    let busybox = support::which("busybox").expect("needs(Docker) looked");
    docker.import("tools:1", &busybox, "/bin/sleep");
    let own = docker.run("web", "tools:1", &["/bin/sleep", "60"]);
    let shared = docker.run_with(
        &["--name", "db", "--pid", "host", "--network", "host"],
        "tools:1",
        &["/bin/sleep", "60"],
    );
    let all = json(&[]);
    for (id, name) in [(&own, "web"), (&shared, "db")] {
        let told = with(&all, "id", id.as_str());
        assert_eq!(told["name"], name);
        assert_eq!(told["image"], "tools:1");
        assert_eq!(told["first"]["pid"], docker.pid_of(name));
        assert_namespaces(&told["first"]);
    }
    let first = &with(&all, "id", shared.as_str())["first"];
    assert_eq!(first["pid_inside"], first["pid"]);
    let run = ps(&[]).expect_code(0);
    let row = row(&run, &shared[..12]);
    for shared in ["pid!", "net!", "mnt", "user!"] {
        assert!(row.contains(&shared), "{row:?}");
    }
    assert!(row.contains(&"tools:1") && row.ends_with(&["/bin/sleep", "60"]));
}

#[test]
fn a_terminal_shows_what_is_the_hosts_in_red_and_ends_lines_where_it_ends() {
    let _alone = alone();
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(
        &host,
        &["/bin/sh", "-c", "sleep 60; : a command of many words"],
    )
    .busybox()
    .start();
    container.wait_for_program("/bin/busybox");
    let pty = nix::pty::openpty(
        Some(&nix::pty::Winsize {
            ws_row: 24,
            ws_col: 130,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }),
        None,
    )
    .expect("a pseudo-terminal");
    let show = |no_colour: &str| {
        let status = Command::new(env!("CARGO_BIN_EXE_ctrflame"))
            .args(["ps", "-G", container.id(), "1"])
            .env("NO_COLOR", no_colour)
            .env("TERM", "xterm")
            .current_dir(Path::new("/"))
            .stdout(pty.slave.try_clone().expect("a descriptor"))
            .status();
        assert!(status.expect("it runs").success());
        let mut shown = [0; 4096];
        let len = nix::unistd::read(&pty.master, &mut shown).expect("it wrote");
        String::from_utf8_lossy(&shown[..len]).into_owned()
    };
    let shown = show("");
    assert!(shown.contains("\u{1b}[31muser!\u{1b}[0m"), "{shown:?}");
    let shown = show("1");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let widest = shown.lines().map(|line| line.chars().count()).max();
    assert_eq!(widest, Some(130), "{shown:?}");
    assert!(shown.contains('…'));
}
