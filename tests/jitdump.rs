//! Generated code that is told by a jitdump: each function by its time, live and from a recording, in a container that is
//! gone and for perf.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::container::Builder;
use support::ctrflame::{Ctrflame, Finished};
use support::folded::Folded;
use support::workloads::Workload;
use support::{Need, needs, wait_until};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);
/// All at one address, one after the other.
const FUNCTIONS: [&str; 3] = ["jit_first", "jit_second", "jit_third"];

/// Samples in each of the functions.
fn counts(folded: &Folded) -> BTreeMap<&'static str, u64> {
    let own = |name| folded.only(|stack| stack.has_chain(&[&format!("{name}_[j]")]));
    FUNCTIONS.map(|name| (name, own(name).total())).into()
}

/// Whether as many samples are in each function as the program says that it ran.
fn agree(folded: &Folded, printed: &str, rate_hz: f64) {
    let counts = counts(folded);
    for (name, samples) in &counts {
        let seconds = printed
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
            .unwrap_or_else(|| panic!("no {name} in {printed:?}"));
        let expected = seconds * rate_hz;
        let share = *samples as f64 / expected;
        assert!(
            (0.85..1.15).contains(&share),
            "{samples} samples in {name}, {expected} expected\n{folded}"
        );
    }
    // But for samples in a function's first or last instruction, without its caller.
    let called = folded.share(|stack| {
        let called =
            |name| ["main", "run", "jit_caller_[j]", &format!("{name}_[j]")].map(str::to_owned);
        let chains = FUNCTIONS.map(called);
        let mut chains = chains
            .iter()
            .map(|chain| chain.each_ref().map(String::as_str));
        chains.any(|chain| stack.has_chain(&chain))
    });
    assert!(called > 0.95, "{called} called\n{folded}");
    assert!(!folded.mentions("[jit, no map]"), "{folded}");
}

/// What `perf record` with these arguments makes of the program, which leaves its dump in the directory too; what
/// the program printed.
fn perf_records(args: &[&str]) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let recorded = Command::new("perf")
        .args(["record", "-q", "-e", "cpu-clock", "-F", "499", "-g"])
        .args(["-o", "perf.data"])
        .args(args)
        .arg(Workload::JitDump.build())
        .arg("1")
        .env("JITDUMPDIR", dir.path())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("perf runs");
    assert!(recorded.status.success(), "{recorded:?}");
    let printed = String::from_utf8_lossy(&recorded.stdout).into_owned();
    (dir, printed)
}

fn convert(recording: &Path, more: &[&str]) -> Finished {
    let recording = recording.to_str().expect("our own paths are text");
    let convert = Ctrflame::new(["convert", recording, "-o", "out.folded"]);
    convert.args(more.iter().copied()).run().expect_code(0)
}

/// In which functions `perf script` has the innermost frames of generated code, of perf's own
/// injected recording.
fn by_perf(dir: &Path) -> BTreeMap<&'static str, u64> {
    let perf = |args: &[&str]| {
        let done = Command::new("perf")
            .args(args)
            .env("HOME", dir)
            .current_dir(dir)
            .stdin(Stdio::null())
            .output()
            .expect("perf runs");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    perf(&["inject", "--jit", "-i", "perf.data", "-o", "jit.data"]);
    let script = perf(&["script", "-i", "jit.data", "-F", "comm,tid,time,ip,sym"]);
    let symbol = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let symbols: Vec<String> = script.lines().filter_map(symbol).collect();
    let count = |name: &str| symbols.iter().filter(|symbol| *symbol == name).count() as u64;
    FUNCTIONS.map(|name| (name, count(name))).into()
}

#[test]
fn a_recording_of_perf_names_each_function_by_its_time_as_perf_inject_does() {
    let Some(_host) = needs(Need::Perf) else {
        return;
    };
    let (dir, printed) = perf_records(&["-k", "mono"]);
    let run = convert(&dir.path().join("perf.data"), &[]);
    let folded = run.folded();
    agree(&folded, &printed, 499.0);
    assert_eq!(counts(&folded), by_perf(dir.path()));
    assert_eq!(folded.total(), run.closing_samples());
    assert!(!run.stderr.contains("note:"), "{}", run.stderr);

    // From a pipe its events are known only while it is read.
    let piped = Command::new("sh")
        .args([
            "-c",
            "perf inject -i perf.data -o - | \"$0\" convert - -o piped.folded",
        ])
        .arg(env!("CARGO_BIN_EXE_ctrflame"))
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    assert!(piped.status.success(), "{piped:?}");
    let piped = fs::read_to_string(dir.path().join("piped.folded")).expect("written");
    assert_eq!(counts(&Folded::parse(&piped)), counts(&folded));

    // A part of it: before the second function can have begun.
    let begin = ["--time", "+0,+0.5"];
    let begin = counts(&convert(&dir.path().join("perf.data"), &begin).folded());
    assert!(begin["jit_first"] > 50, "{begin:?}");
    assert_eq!((begin["jit_second"], begin["jit_third"]), (0, 0));
}

#[test]
fn of_another_clock_the_last_function_of_an_address_names_it_and_a_note_says_so() {
    let Some(_host) = needs(Need::Perf) else {
        return;
    };
    let (dir, _) = perf_records(&[]);
    let run = convert(&dir.path().join("perf.data"), &[]);
    let counts = counts(&run.folded());
    assert_eq!((counts["jit_first"], counts["jit_second"]), (0, 0));
    assert!(counts["jit_third"] > 1000, "{counts:?}\n{}", run.folded());
    assert_eq!(run.stderr.matches("`perf record -k mono` can").count(), 1);
}

#[test]
fn a_dump_is_read_where_the_user_says_it_is_and_another_file_in_its_place_is_not() {
    let Some(_host) = needs(Need::Perf) else {
        return;
    };
    let (dir, printed) = perf_records(&["-k", "mono"]);
    let recording = dir.path().join("perf.data");
    let dump = fs::read_dir(dir.path())
        .expect("ours")
        .map(|entry| entry.expect("ours").path())
        .find(|path| path.extension().is_some_and(|end| end == "dump"))
        .expect("the program wrote one");
    let copy = tempfile::tempdir().expect("a directory");
    let below = copy.path().join(dump.strip_prefix("/").expect("absolute"));
    fs::create_dir_all(below.parent().expect("below the copy")).expect("ours");
    let bytes = fs::read(&dump).expect("it is there");
    fs::write(&below, &bytes).expect("ours");
    // The same bytes in another file: nothing tells that it is the one that was mapped.
    fs::rename(&dump, dir.path().join("away")).expect("ours");
    fs::write(&dump, &bytes).expect("ours");
    let run = convert(&recording, &[]);
    assert!(run.folded().mentions("[jit, no map]"));
    assert!(
        run.stderr.contains("another file is in its place"),
        "{}",
        run.stderr
    );

    fs::remove_file(&dump).expect("ours");
    let symfs = format!("--symfs={}", copy.path().display());
    let places = [&symfs, "--sysroot=host=/"];
    let run = convert(&recording, &places);
    agree(&run.folded(), &printed, 499.0);

    // Its torn end costs what came last, nothing else.
    let third = bytes
        .windows(9)
        .position(|name| name == b"jit_third")
        .expect("it is told");
    fs::write(&below, &bytes[..third]).expect("ours");
    let torn = counts(&convert(&recording, &places).folded());
    let whole = counts(&run.folded());
    assert_eq!(torn["jit_first"], whole["jit_first"]);
    assert_eq!(torn["jit_second"], whole["jit_second"] + whole["jit_third"]);

    let mut damaged = bytes.clone();
    damaged[4] = 9;
    fs::write(&below, &damaged).expect("ours");
    let run = convert(&recording, &places);
    assert!(
        run.stderr.contains("jitdump of version 9"),
        "{}",
        run.stderr
    );
    assert_eq!(counts(&run.folded()).values().sum::<u64>(), 0);
}

#[test]
fn a_container_that_is_gone_is_named_by_its_dump_and_its_recording_by_itself() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let program = Workload::JitDump.build();
    let mut recording = Ctrflame::record(["-a", "-F", "499", "-o", "x.data"]).start();
    recording.wait_until_sampling();
    let container = Builder::new(&host, &["/app/jitdump", "1"])
        .file("/app/jitdump", program)
        .on_tmpfs("/tmp")
        .start();
    container.wait_for_line("jit_third", SOON);
    container.wait_for_exit(SOON);
    let (tag, printed) = (container.tag(), container.log());
    // The dump goes with its mount.
    drop(container);
    recording.signal(Signal::SIGINT);
    let run = recording.wait().expect_code(0);
    let own = run.folded().container(&tag).comm("jitdump");
    agree(&own, &printed, 499.0);

    let again = convert(&run.cwd().join("x.data"), &[]);
    assert_eq!(again.read("out.folded"), run.read("out.folded"));
    assert!(!again.stderr.contains("note:"), "{}", again.stderr);
}

#[test]
fn a_recorded_container_is_named_by_its_own_dump_while_it_runs_and_then_by_a_copy() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let Some(_perf) = support::which("perf") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let mut perf = Command::new("perf")
        .args([
            "record",
            "-q",
            "-a",
            "-k",
            "mono",
            "-e",
            "cpu-clock",
            "-F",
            "499",
            "-g",
        ])
        .args(["--all-cgroups", "-o", "perf.data"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .spawn()
        .expect("perf runs");
    let pid = Pid::from_raw(perf.id().cast_signed());
    let recording = dir.path().join("perf.data");
    wait_until("perf to record", SOON, || {
        recording.metadata().ok().filter(|file| file.len() > 0)
    });
    let container = Builder::new(&host, &["/app/jitdump", "1", "wait"])
        .file("/app/jitdump", Workload::JitDump.build())
        .start();
    container.wait_for_line("jit_third", SOON);
    kill(pid, Signal::SIGINT).expect("our child");
    let _ = perf.wait();
    // Its hostname is nowhere in the recording.
    let tag = format!("docker:{}", &container.id()[..12]);
    let printed = container.log();
    let own = |run: &Finished| run.folded().container(&tag).comm("jitdump");
    let alive = own(&convert(&recording, &[]));
    agree(&alive, &printed, 499.0);

    let copy = tempfile::tempdir().expect("a directory");
    let dump = "tmp/jit-1.dump";
    fs::create_dir(copy.path().join("tmp")).expect("ours");
    let inside = format!("/proc/{}/root/{dump}", container.pid());
    fs::copy(inside, copy.path().join(dump)).expect("it is its own pid 1");
    let sysroot = format!("--sysroot={tag}={}", copy.path().display());
    drop(container);
    let gone = convert(&recording, &[]);
    assert_eq!(counts(&own(&gone)).values().sum::<u64>(), 0);
    assert!(
        gone.stderr.contains("/tmp/jit-1.dump: not used"),
        "{}",
        gone.stderr
    );
    let given = own(&convert(&recording, &[&sysroot]));
    assert_eq!(counts(&given), counts(&alive));
}

#[test]
fn a_dump_of_another_clock_or_process_gives_no_wrong_names() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let program = Workload::JitDump.build();
    let program = program.to_str().expect("our own paths are text");
    let recorded = |how: &str| {
        let args = ["-F", "199", "--", program, "0.3", how];
        let run = Ctrflame::record(args).run().expect_code(0);
        (counts(&run.folded()), run)
    };
    let none = FUNCTIONS.map(|name| (name, 0)).into();

    let (counts, run) = recorded("pid");
    assert_eq!(counts, none);
    assert!(run.stderr.contains("mapped by process"), "{}", run.stderr);
    let (counts, run) = recorded("late");
    assert_eq!(counts, none);
    assert!(run.stderr.contains("of another clock"), "{}", run.stderr);
    let (counts, run) = recorded("tsc");
    assert_eq!((counts["jit_first"], counts["jit_second"]), (0, 0));
    assert!(counts["jit_third"] > 100, "{counts:?}");
    assert!(
        run.stderr.contains("times are the processor's"),
        "{}",
        run.stderr
    );
}
