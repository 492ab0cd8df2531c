//! JVMs in containers are asked from the host, and their code is named, whoever they run as.

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use support::container::Container;
use support::ctrflame::{Ctrflame, Finished};
use support::folded::{Folded, Stack};
use support::gates::Gate;
use support::java::{FRAME_POINTERS, burn, classes, jdk, wait_until_burning};
use support::{Need, needs, wait_until};

/// What a JVM is told that is to be seen whole.
const SEEN: &[&str] = &[FRAME_POINTERS];
const KNOWN: [&str; 3] = ["Burn.outer_[j]", "Burn.middle_[j]", "Burn.spin_[j]"];

fn record(args: &[&str]) -> Finished {
    Ctrflame::record(["-F", "499"]).args(args).run()
}

/// The samples in Java code, without the interpreter's.
fn in_java(folded: &Folded) -> Folded {
    folded.comm("burner").only(|stack| {
        let leaf = stack.user_leaf().unwrap_or_default();
        leaf.ends_with("_[j]") && leaf != "[interpreter]_[j]" || leaf.contains("no map")
    })
}

/// From where the thread began, through its run(), with no frame without a name.
fn is_whole(stack: &Stack) -> bool {
    let begins = stack.frames.first().is_some_and(|root| {
        root.starts_with("start_thread") || root.starts_with("clone") || root.contains("libc.so")
    });
    let runs = stack
        .frames
        .iter()
        .any(|frame| frame == "[interpreter]_[j]" || frame.contains(".run_[j]"));
    begins && runs && !stack.frames.iter().any(|frame| frame.contains("no map"))
}

/// At least 99 of 100 samples in Java code are in these functions, on whole stacks.
fn assert_named(folded: &Folded, container: &Container, names: impl Fn(&Stack) -> bool) {
    let java = in_java(&folded.container(&container.tag()));
    assert!(java.total() >= 100, "{}: {java}", container.tag());
    let named = java.share(|stack| is_whole(stack) && names(stack));
    assert!(named >= 0.99, "{}: {named}\n{java}", container.tag());
}

/// Names in a directory of a container that a JVM does not make anyway.
fn ours_in(container: &Container, dir: &str) -> Vec<String> {
    let entries = fs::read_dir(container.inside(dir)).expect("it runs");
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut ours: Vec<String> = names
        .filter(|name| name.starts_with('.') || name.ends_with(".map"))
        .collect();
    ours.sort();
    ours
}

#[test]
fn whole_stacks_are_named_for_root_other_users_and_user_namespaces_and_nothing_is_left() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let jvms = [
        burn(&host, "", SEEN, "").start(),
        burn(&host, "", SEEN, "").user(1000).start(),
        burn(&host, "", SEEN, "").user_namespace(100_000).start(),
        // Of this one neither the root nor the working directory can be written.
        burn(&host, "", SEEN, "")
            .user_namespace(300_000)
            .user(1000)
            .read_only()
            .start(),
    ];
    // Another program, also pid 1.
    let phases = burn(&host, "", SEEN, "phases").start();
    jvms.iter().chain([&phases]).for_each(wait_until_burning);
    let run = record(&["-a", "--duration", "4s", "--jvm=force"]).expect_code(0);
    assert!(!run.stderr.contains("JVM"), "{}", run.stderr);
    let folded = run.folded();
    for jvm in &jvms {
        assert_named(&folded, jvm, |stack| stack.has_chain(&KNOWN));
    }
    // Of what it threw away between two questions the names are gone.
    let java = in_java(&folded.container(&phases.tag()));
    let named = java.share(|stack| {
        stack
            .frames
            .iter()
            .any(|frame| frame.starts_with("Phase") || frame == "[jit, no map]")
    });
    assert!(named >= 0.95, "{named}\n{java}");
    assert!(java.mentions("Phase"), "{java}");
    assert!(!folded.container(&phases.tag()).mentions("Burn.spin"));
    for jvm in jvms.iter().chain([&phases]) {
        assert_eq!(ours_in(jvm, "/tmp"), [".java_pid1"], "{}", jvm.tag());
        assert_eq!(ours_in(jvm, "/"), [""; 0], "{}", jvm.tag());
    }
}

#[test]
fn code_that_was_thrown_away_is_named_by_the_map_of_its_time() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let container = burn(&host, "", SEEN, "phases").start();
    wait_until_burning(&container);
    let args = [
        "-G",
        container.id(),
        "--duration",
        "4s",
        "--jvm-map-interval",
        "200ms",
    ];
    let run = record(&args).expect_code(0);
    let folded = run.folded();
    let phase = |stack: &Stack| {
        let leaf = stack.user_leaf().unwrap_or_default();
        leaf.strip_prefix("Phase")
            .and_then(|name| name.split_once('.'))
            .map(|(number, _)| number.to_owned())
    };
    let mut phases: Vec<String> = folded.stacks.iter().filter_map(phase).collect();
    phases.sort();
    phases.dedup();
    assert!(phases.len() >= 6, "{phases:?}\n{folded}");
    let named = in_java(&folded).share(|stack| phase(stack).is_some());
    assert!(named >= 0.95, "{named}\n{folded}");
}

#[test]
fn a_jvm_that_starts_and_one_that_ends_meanwhile_are_named() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let ends = burn(&host, "", SEEN, "").start();
    wait_until_burning(&ends);
    let mut recording = Ctrflame::record(["-a", "-F", "499", "--duration", "5s"]).start();
    recording.wait_until_sampling();
    let starts = burn(&host, "sleep 0.2; ", SEEN, "").start();
    wait_until_burning(&starts);
    let tag = ends.tag();
    drop(ends);
    let run = recording.wait().expect_code(0);
    let folded = run.folded();
    let ended = in_java(&folded.container(&tag));
    let named = ended.share(|stack| is_whole(stack) && stack.has_chain(&KNOWN));
    assert!(named >= 0.99, "{named}\n{ended}");
    // Code that was compiled before the first question and replaced since has no name.
    let started = in_java(&folded.container(&starts.tag()));
    let named = started.share(|stack| stack.has_chain(&KNOWN));
    assert!(named >= 0.95, "{named}\n{started}");
    assert!(!run.stderr.contains("JVM"), "{}", run.stderr);
}

#[test]
fn a_map_that_was_there_stays_and_one_that_was_asked_for_is_where_it_is_said_to_be() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let before = "echo '1000 10 of_another_time' > /tmp/perf-1.map; ";
    let container = burn(&host, before, SEEN, "").start();
    wait_until_burning(&container);
    record(&["-G", container.id(), "--duration", "1s"]).expect_code(0);
    let map = container.inside("/tmp/perf-1.map");
    let text = fs::read_to_string(&map).expect("it was there before");
    assert!(text.contains("Burn.spin") && !text.contains("of_another_time"));

    fs::remove_file(&map).expect("root may");
    for target in [container.id(), &container.pid().to_string()] {
        let said = Ctrflame::new(["jvm", "map", target]).run().expect_code(0);
        let expected = format!(
            "{} · {} bytes · JVM {} in {}\n",
            map.display(),
            fs::metadata(&map).expect("it was asked for").len(),
            container.pid(),
            container.tag()
        );
        assert_eq!(said.stdout, expected);
    }
    let said = Ctrflame::new(["jvm", "status", container.id()])
        .run()
        .expect_code(0);
    let mut lines = said.stdout.lines();
    assert_eq!(
        lines.next(),
        Some(
            format!(
                "JVM {}, 1 to itself in {}",
                container.pid(),
                container.tag()
            )
            .as_str()
        )
    );
    for expected in [
        "attachable       yes",
        "frame pointers   yes",
        "/tmp/perf-1.map · ",
    ] {
        assert!(
            said.stdout.contains(expected),
            "{expected}: {}",
            said.stdout
        );
    }
    let off = record(&["-G", container.id(), "--duration", "1s", "--jvm=off"]).expect_code(0);
    assert!(off.folded().mentions("Burn.spin"), "the map is there");
    fs::remove_file(&map).expect("root may");
    let off = record(&["-G", container.id(), "--duration", "1s", "--jvm=off"]).expect_code(0);
    assert!(!off.folded().mentions("Burn"), "nobody asked");
}

#[test]
fn a_socket_that_a_former_jvm_left_or_a_cleaner_took_away_is_made_anew() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let container = burn(&host, "", SEEN, "").start();
    wait_until_burning(&container);
    let socket = container.inside("/tmp/.java_pid1");
    let map = || {
        let run = Ctrflame::new(["jvm", "map", container.id()])
            .run()
            .expect_code(0);
        assert!(run.elapsed < Duration::from_secs(3), "{:?}", run.elapsed);
    };
    // Nobody listens on it any more.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("its tmpfs"));
    map();
    fs::remove_file(&socket).expect("it listens");
    map();
    assert_eq!(ours_in(&container, "/tmp"), [".java_pid1", "perf-1.map"]);
}

/// A JVM on the host as another user; killed and collected on drop.
struct HostJvm(Child);

impl Drop for HostJvm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        for name in [".java_pid", "perf-"] {
            let map = if name == "perf-" { ".map" } else { "" };
            let _ = fs::remove_file(format!("/tmp/{name}{}{map}", self.0.id()));
        }
    }
}

#[test]
fn a_user_asks_its_own_jvms_and_no_others() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let container = burn(&host, "", SEEN, "").start();
    // The checkout may be closed to other users.
    let open = tempfile::tempdir().expect("the temporary directory is writable");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(open.path(), mode).expect("ours");
    for class in fs::read_dir(classes()).expect("compiled").flatten() {
        fs::copy(class.path(), open.path().join(class.file_name())).expect("ours");
    }
    let jvm = Command::new(jdk().join("bin/java"))
        .args([
            FRAME_POINTERS,
            "-Xmx64m",
            "-XX:+UseSerialGC",
            "-XX:-UsePerfData",
            "-cp",
        ])
        .arg(open.path())
        .args(["Burn", "60"])
        .current_dir("/")
        .uid(65534)
        .gid(65534)
        .stdout(std::process::Stdio::null())
        .spawn();
    let jvm = HostJvm(jvm.expect("java runs"));
    wait_until_burning(&container);
    let pid = jvm.0.id().to_string();
    let hsperf = format!("/proc/{pid}/task");
    wait_until("its threads", Duration::from_secs(20), || {
        (fs::read_dir(&hsperf).ok()?.count() > 8).then_some(())
    });
    let own = Ctrflame::new(["jvm", "map", &pid])
        .behind(Gate::Nobody)
        .run()
        .expect_code(0);
    assert!(
        own.stdout
            .starts_with(&format!("/proc/{pid}/root/tmp/perf-{pid}.map")),
        "{}",
        own.stdout
    );
    assert!(!Path::new(&format!("/tmp/.attach_pid{pid}")).exists());
    let all = Ctrflame::new(["jvm", "status"])
        .behind(Gate::Nobody)
        .run()
        .expect_code(0);
    assert!(all.stdout.contains(&format!("JVM {pid}")), "{}", all.stdout);
    assert!(!all.stdout.contains(&container.tag()), "{}", all.stdout);
    let others = Ctrflame::new(["jvm", "map", &container.pid().to_string()]);
    let others = others.behind(Gate::Nobody).run().expect_failure();
    assert!(
        others.stderr.contains("no JVM in what was named"),
        "{}",
        others.stderr
    );
}
