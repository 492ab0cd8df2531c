//! The command line as a contract: exit statuses, signals, where output goes, and that no half-written file is left.

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::ctrflame::{Ctrflame, Finished};
use support::folded::Folded;
use support::svg::Svg;
use support::workloads::Workload;
use support::{Host, Need, needs};

#[test]
fn wrong_usage_exits_with_2_and_writes_nothing() {
    for args in [
        &["record", "--no-such-flag"][..],
        &["no-such-command"],
        &["record", "-F", "not-a-number", "-a"],
        &["record", "-e", "no-such-event", "-a"],
        &["record", "--duration", "soon", "-a"],
    ] {
        let run = Ctrflame::new(args).run().expect_code(2);
        assert_eq!(run.stdout, "", "{args:?}");
        assert_eq!(run.files(), Vec::<String>::new(), "{args:?}");
        assert!(!run.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn the_help_names_every_option_and_exits_with_0() {
    let run = Ctrflame::new(["record", "--help"]).run().expect_code(0);
    for option in [
        "-a",
        "-G",
        "-p",
        "-F",
        "-e",
        "--no-kernel",
        "-m",
        "--duration",
        "-o",
    ] {
        assert!(run.stdout.contains(option), "no {option} in {}", run.stdout);
    }
}

#[test]
fn the_exit_status_of_the_command_is_passed_on() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let busy = Workload::Busy.build();
    for status in ["0", "7"] {
        let run = Ctrflame::record(["-F", "999", "--"])
            .args([&busy])
            .args(["1", "1", "status", status])
            .run()
            .expect_code(status.parse().expect("a number"));
        assert_eq!(run.files(), ["out.folded", "out.svg"]);
    }
}

#[test]
fn a_command_that_cannot_run_gives_the_status_that_a_shell_would_give() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    for (command, status) in [("/no/such/program", 127), ("/etc/passwd", 126)] {
        let run = Ctrflame::record(["--", command]).run().expect_code(status);
        assert!(
            run.stderr.starts_with("ctrflame: error: ") && run.stderr.contains(command),
            "{}",
            run.stderr
        );
        assert_eq!(run.files(), Vec::<String>::new());
    }
}

#[test]
fn an_output_that_cannot_be_written_is_named_before_anything_is_sampled() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let started = Instant::now();
    let run = Ctrflame::new([
        "record",
        "-a",
        "--duration",
        "20s",
        "-o",
        "/no/such/dir/out.svg",
    ])
    .run()
    .expect_code(125);
    assert!(run.stderr.contains("/no/such/dir"), "{}", run.stderr);
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn the_picture_is_ctrflame_svg_unless_told_otherwise() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let run = record_hot(&[]);
    assert_eq!(run.files(), ["ctrflame.svg"]);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.contains("ctrflame.svg"), "{}", run.stderr);
    assert_draws_hot(run.read("ctrflame.svg"));
}

#[test]
fn a_dash_sends_the_picture_to_standard_output() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let run = record_hot(&["-o".as_ref(), "-".as_ref()]);
    assert_eq!(run.files(), Vec::<String>::new());
    assert_draws_hot(run.stdout);
}

#[test]
fn existing_output_is_replaced_as_a_whole() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let (svg, folded) = (dir.path().join("p.svg"), dir.path().join("p.folded"));
    for path in [&svg, &folded] {
        fs::write(path, "x".repeat(10_000_000)).expect("ours");
    }
    record_hot(&[
        "-o".as_ref(),
        svg.as_os_str(),
        "-o".as_ref(),
        folded.as_os_str(),
    ]);
    let text = fs::read_to_string(&folded).expect("written");
    assert!(Folded::parse(&text).mentions("alpha_inner"), "{text}");
    assert_draws_hot(fs::read_to_string(&svg).expect("written"));
    assert_eq!(
        fs::read_dir(dir.path()).expect("ours").count(),
        2,
        "nothing beside them"
    );
}

/// `ctrflame record OPTIONS -- hot_a 1`, which prints nothing of its own.
fn record_hot(options: &[&OsStr]) -> Finished {
    Ctrflame::new(["record", "-F", "999"])
        .args(options)
        .args([
            "--".as_ref(),
            Workload::HotA.build().as_os_str(),
            "1".as_ref(),
        ])
        .run()
        .expect_code(0)
}

fn assert_draws_hot(picture: String) {
    let svg = Svg::parse(picture);
    let drawn = svg.titles.iter().any(|title| title.contains("alpha_inner"));
    assert!(drawn, "{:?}", svg.titles);
}

fn interrupt(_host: &Host, signal: Signal) {
    let mut recording = Ctrflame::record(["-a", "-F", "99"]).start();
    recording.wait_until_sampling();
    let mut load = std::process::Command::new(Workload::Short.build())
        .arg("1")
        .spawn()
        .expect("it was just built");
    load.wait().expect("our child");
    recording.signal(signal);
    let run = recording.wait().expect_code(0);
    assert_eq!(run.files(), ["out.folded", "out.svg"], "{signal}");
    let folded = run.folded();
    assert!(folded.total() > 0, "{signal}: {}", run.stderr);
    assert_eq!(
        folded.total(),
        run.closing_samples(),
        "{signal}: {}",
        run.stderr
    );
    assert!(folded.mentions("short_inner"), "{signal}\n{folded}");
    assert!(!run.svg().titles.is_empty());
}

#[test]
fn an_interrupt_ends_the_sampling_and_the_picture_is_drawn() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    interrupt(&host, Signal::SIGINT);
}

#[test]
fn a_termination_ends_the_sampling_and_the_picture_is_drawn() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    interrupt(&host, Signal::SIGTERM);
}

#[test]
fn a_second_interrupt_stops_at_once_and_leaves_no_partial_file() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    // The command holds on to life, so that the first interrupt cannot already have ended everything.
    let script = "trap '' INT TERM; while :; do sleep 0.1; done";
    let mut recording = Ctrflame::record(["-F", "99", "--", "/bin/sh", "-c", script]).start();
    recording.wait_until_sampling();
    let command = child_of(recording.pid());
    recording.signal(Signal::SIGINT);
    recording.signal(Signal::SIGINT);
    let second = Instant::now();
    let run = recording.wait();
    let took = second.elapsed();
    // It is ours to end now, whatever ctrflame did with it.
    if let Some(pid) = command {
        let pid = nix::unistd::Pid::from_raw(pid);
        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
    }
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Either it was all written when the second one came, or nothing was.
    let files = run.files();
    assert!(
        files.is_empty() || files == ["out.folded", "out.svg"],
        "left behind: {files:?}"
    );
    if !files.is_empty() {
        run.folded();
        run.svg();
    }
}

#[test]
fn a_kill_leaves_nothing_beside_the_outputs() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let args = ["record", "-a", "-o", "x.data", "-o", "x.svg"];
    let mut recording = Ctrflame::new(args).start();
    recording.wait_until_sampling();
    recording.signal(Signal::SIGKILL);
    let run = recording.wait().expect_code(137);
    assert_eq!(run.files(), Vec::<String>::new());
}

fn child_of(pid: u32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error_and_one_that_nobody_reads_is_none() {
    let run = |args: &[&str], stdout: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_ctrflame"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(stdout)
            .output()
            .expect("the binary was built with the tests")
    };
    for args in [
        &["ps"][..],
        &["ps", "--json"],
        &["top", "--batch", "-n", "1", "-d", "100ms"],
        &["diagnose", "/", "--duration", "100ms"],
        &["doctor"],
    ] {
        let full = File::options().write(true).open("/dev/full");
        let full = run(args, Stdio::from(full.expect("a device of Linux's")));
        let said = String::from_utf8_lossy(&full.stderr);
        assert_eq!(full.status.code(), Some(125), "{args:?}: {said}");
        assert!(
            said.contains("ctrflame: error: cannot write to standard output: No space left"),
            "{args:?}: {said}"
        );
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let unread = run(args, Stdio::from(writer));
        assert_ne!(unread.status.code(), Some(125), "{args:?}");
        let said = String::from_utf8_lossy(&unread.stderr);
        // Where no container runs, `ps` says so.
        assert!(!said.contains("error"), "{args:?}: {said}");
    }
}
