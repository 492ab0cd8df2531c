//! `ctrflame top` on a terminal of the test's own, and in a pipe.

mod support;

use std::io::Read;
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::{Pid, write};
use support::container::{Builder, Container};
use support::ctrflame::Ctrflame;
use support::workloads::Workload;
use support::{Host, Need, needs, wait_until};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);
const LINES: u16 = 24;
const COLUMNS: u16 = 80;

/// One test at a time: a process that is started while another test writes a program holds that open,
/// and it cannot be run (ETXTBSY).
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn some(size: u16) -> NonZero<u16> {
    NonZero::new(size).expect("not 0")
}

/// A terminal with `ctrflame top` on it.
struct Top {
    child: Child,
    /// Ours, so that it can be asked for its modes when the program is gone.
    slave: OwnedFd,
    keys: OwnedFd,
    written: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    modes_before: Termios,
    cwd: TempDir,
}

impl Top {
    fn start(args: &[&str]) -> Self {
        let size = Winsize {
            ws_row: LINES,
            ws_col: COLUMNS,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("a pseudo-terminal");
        let cwd = tempfile::tempdir().expect("the temporary directory is writable");
        let modes_before = tcgetattr(&slave).expect("a terminal");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let child = Command::new(env!("CARGO_BIN_EXE_ctrflame"))
            .arg("top")
            .args(args)
            .current_dir(cwd.path())
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("the binary was built with the tests");
        let mut output = std::fs::File::from(master.try_clone().expect("a descriptor"));
        let (send, written) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                if send.send(bytes[..len].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            slave,
            keys: master,
            written,
            screen: vt100::Parser::new(some(LINES), some(COLUMNS), 0),
            modes_before,
            cwd,
        }
    }

    fn press(&self, keys: &str) {
        write(&self.keys, keys.as_bytes()).expect("it is open");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("our child");
    }

    /// The lines as they are seen now.
    fn lines(&mut self) -> Vec<String> {
        while let Ok(bytes) = self.written.recv_timeout(Duration::from_millis(20)) {
            self.screen.process(&bytes);
        }
        let (_, columns) = self.screen.screen().size();
        self.screen.screen().rows(0, columns.into()).collect()
    }

    /// Waits until a line fulfils this; that line.
    fn wait_for(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            let lines = self.lines();
            if let Some(line) = lines.iter().find(|line| is_it(line)) {
                return line.clone();
            }
            assert!(
                Instant::now() < deadline,
                "no {what} on\n{}",
                lines.join("\n")
            );
        }
    }

    /// Waits until no line begins with this.
    fn wait_until_gone(&mut self, name: &str) {
        let deadline = Instant::now() + SOON;
        while self.lines().iter().any(|line| line.starts_with(name)) {
            assert!(Instant::now() < deadline, "{name} is still there");
        }
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("a terminal");
        !modes
            .local_flags
            .intersects(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Waits for its end; its status as a shell would give it. Panics unless the terminal is as it was
    /// before, with its own screen and its cursor.
    fn end(&mut self) -> i32 {
        let status = wait_until("it to end", SOON, || self.child.try_wait().expect("ours"));
        self.lines();
        let modes = tcgetattr(&self.slave).expect("a terminal");
        assert_eq!(modes, self.modes_before);
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        status.code().expect("it exits by itself")
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sleeper(host: &Host, hostname: &str) -> Container {
    let container = Builder::new(host, &["/bin/sleep", "60"])
        .busybox()
        .hostname(hostname)
        .start();
    container.wait_for_program("/bin/busybox");
    container
}

/// The words of a line as numbers, from the back.
fn last_numbers(line: &str) -> Vec<Option<f64>> {
    line.split_whitespace()
        .rev()
        .map(|word| word.parse().ok())
        .collect()
}

#[test]
fn rows_come_and_go_and_q_gives_the_terminal_back() {
    let _alone = alone();
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let first = sleeper(&host, "first");
    let mut top = Top::start(&["-d", "200ms"]);
    top.wait_for("row", |line| line.starts_with("first "));
    assert!(top.is_raw());
    assert!(top.screen.screen().alternate_screen());
    let second = sleeper(&host, "second");
    top.wait_for("new row", |line| line.starts_with("second "));
    drop(first);
    top.wait_until_gone("first ");
    // With its numbers: one task, as a number in the last column.
    top.wait_for("tasks", |line| {
        line.starts_with("second ") && last_numbers(line).first() == Some(&Some(1.0))
    });
    top.press("/nobody");
    top.wait_until_gone("second ");
    top.press("\u{1b}");
    top.wait_for("row", |line| line.starts_with("second "));
    drop(second);
    top.wait_until_gone("second ");
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn ctrl_c_and_signals_give_the_terminal_back() {
    let _alone = alone();
    for (end, code) in [
        (None, 0),
        (Some(Signal::SIGTERM), 143),
        (Some(Signal::SIGINT), 130),
    ] {
        let mut top = Top::start(&[]);
        top.wait_for("keys", |line| line.starts_with("q quit"));
        assert!(top.is_raw());
        match end {
            None => top.press("\u{3}"),
            Some(signal) => top.signal(signal),
        }
        assert_eq!(top.end(), code, "{end:?}");
    }
}

#[test]
fn another_size_is_drawn_anew() {
    let _alone = alone();
    let mut top = Top::start(&[]);
    top.wait_for("keys", |line| line.starts_with("q quit"));
    let title = top.wait_for("title", |line| line.starts_with("NAME"));
    assert!(
        title.ends_with("TASKS") && !title.contains("PSI%"),
        "{title}"
    );
    assert_eq!(title.chars().count(), usize::from(COLUMNS));
    let (rows, columns) = (10, 120);
    rustix::termios::tcsetwinsize(
        top.slave.as_fd(),
        rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )
    .expect("a terminal");
    top.screen.screen_mut().set_size(some(rows), some(columns));
    // No session of its own has this terminal: the kernel tells nobody of the change.
    top.signal(Signal::SIGWINCH);
    let title = top.wait_for("title", |line| {
        line.starts_with("NAME") && line.contains("PSI%")
    });
    assert_eq!(title.chars().count(), usize::from(columns));
    let keys = top.lines().last().cloned().unwrap_or_default();
    assert!(keys.starts_with("q quit"), "{keys}");
    top.press("q");
    assert_eq!(top.end(), 0);
}

fn pictures(top: &Top) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(top.cwd.path()).expect("ours");
    entries
        .map(|entry| entry.expect("readable").path())
        .collect()
}

#[test]
fn enter_records_the_selected_container_and_says_where_the_picture_is() {
    let _alone = alone();
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/hot", "60"])
        .file("/app/hot", Workload::HotA.build())
        .hostname("top-alpha")
        .start();
    let _other = sleeper(&host, "top-idle");
    let mut top = Top::start(&["-d", "200ms", "--record-for", "2s", "-f", "docker:top-"]);
    // It is the first, since it works: with whatever others leave of a CPU.
    let row = top.wait_for("busy row", |line| {
        line.starts_with("top-alpha ")
            && line
                .split_whitespace()
                .nth(1)
                .and_then(|cpu| cpu.parse::<f64>().ok())
                .is_some_and(|cpu| cpu > 10.0)
    });
    assert!(row.split_whitespace().count() >= 12, "{row}");
    top.press("\r");
    top.wait_for("recording", |line| {
        line.starts_with("recording docker:top-alpha")
    });
    let said = top.wait_for("picture", |line| line.contains(".svg"));
    let pictures = pictures(&top);
    let [picture] = pictures.as_slice() else {
        panic!("{pictures:?}")
    };
    let name = picture.file_name().expect("a file").to_string_lossy();
    assert!(name.starts_with("ctrflame-top-alpha-"), "{name}");
    assert!(said.contains(&*name), "{said}");
    let svg = std::fs::read_to_string(picture).expect("UTF-8");
    assert!(svg.contains(&container.tag()) && svg.contains("alpha_inner"));
    assert!(!svg.contains("docker:top-idle"));
    top.press("q");
    assert_eq!(top.end(), 0);
}

#[test]
fn leaving_while_it_records_draws_what_there_is() {
    let _alone = alone();
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/hot", "60"])
        .file("/app/hot", Workload::HotA.build())
        .hostname("alpha")
        .start();
    let mut top = Top::start(&["-d", "200ms", "--record-for", "1h", "-f", container.id()]);
    top.wait_for("row", |line| line.starts_with("alpha "));
    top.press("\r");
    top.wait_for("recording", |line| {
        line.starts_with("recording docker:alpha")
    });
    // A first sample, of which there are 99 a second.
    std::thread::sleep(Duration::from_secs(1));
    top.press("q");
    assert_eq!(top.end(), 0);
    let said = top.wait_for("picture", |line| line.contains(".svg"));
    assert!(said.starts_with("ctrflame: note: "), "{said}");
    assert_eq!(pictures(&top).len(), 1);
}

#[test]
fn a_pipe_gets_plain_tables_and_one_that_is_closed_ends_it() {
    let _alone = alone();
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = sleeper(&host, "al\u{1b}pha");
    let run = Ctrflame::new(["top", "-n", "2", "-d", "200ms"])
        .run()
        .expect_code(0);
    let is_plain = |c: char| c == '\n' || !c.is_control();
    assert!(run.stdout.chars().all(is_plain), "{:?}", run.stdout);
    let tables = run.stdout.split("\n\n").count();
    assert_eq!(tables, 2, "{}", run.stdout);
    let rows = run
        .stdout
        .lines()
        .filter(|line| line.starts_with(&container.id()[..12]));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 2, "{}", run.stdout);
    for row in rows {
        assert_eq!(row.len(), 14, "{row:?}");
        assert_eq!(
            (row[1], row[12], row[13]),
            ("0.0", "1", r"al\x1bpha"),
            "{row:?}"
        );
    }
    let json = Ctrflame::new([
        "top",
        "--json",
        "-n",
        "1",
        "-d",
        "200ms",
        "-f",
        container.id(),
    ])
    .run()
    .expect_code(0);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(json["containers"][0]["id"], container.id());
    assert_eq!(json["containers"][0]["used"]["tasks"], 1);
    assert!(json["containers"][1].is_null());

    let mut endless = Command::new(env!("CARGO_BIN_EXE_ctrflame"))
        .args(["top", "--batch", "-d", "100ms"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary was built with the tests");
    let mut first = [0; 16];
    let mut output = endless.stdout.take().expect("a pipe");
    output.read_exact(&mut first).expect("a table");
    drop(output);
    let ended = wait_until("its end", SOON, || endless.try_wait().expect("ours"));
    assert!(ended.success());
}

#[test]
fn a_limit_that_holds_a_container_back_is_seen() {
    let _alone = alone();
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/hot", "60"])
        .file("/app/hot", Workload::HotA.build())
        .hostname("capped")
        .start();
    // Real cgroups: v1's where the controller is there, else v2's.
    let dirs = support::cgroups::directories(container.cgroup());
    let file = |name: &str| {
        dirs.iter()
            .map(|dir| dir.join(name))
            .find(|file| file.exists())
    };
    match (file("cpu.cfs_quota_us"), file("cpu.max")) {
        (Some(quota), _) => std::fs::write(quota, "25000"),
        (None, Some(max)) => std::fs::write(max, "25000 100000"),
        (None, None) => panic!("no CPU controller for {}", container.cgroup()),
    }
    .expect("root may");
    let run = Ctrflame::new([
        "top",
        "-b",
        "--json",
        "-n",
        "1",
        "-d",
        "2s",
        "-f",
        container.id(),
    ])
    .run()
    .expect_code(0);
    let json: serde_json::Value = serde_json::from_str(&run.stdout).expect("JSON");
    let used = &json["containers"][0]["used"];
    assert_eq!(used["limit_cpus"], 0.25);
    let number = |name: &str| used[name].as_f64().unwrap_or_default();
    assert!((20.0..30.0).contains(&number("cpu_percent")), "{used}");
    assert!(number("throttled_percent") > 50.0, "{used}");
    assert!(number("throttled_ms_per_s") > 400.0, "{used}");
    let of_host = number("host_percent") * host.cpus() as f64;
    assert!((of_host - number("cpu_percent")).abs() < 0.5, "{used}");
}
