//! JVMs that cannot be asked, and what hostile containers make of being asked: nobody dies of it, nothing is left behind,
//! nothing is waited for, and each reason is said in its own sentence.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use support::container::{Builder, Container, Freeze, is_running};
use support::ctrflame::{Ctrflame, Finished};
use support::java::{FRAME_POINTERS, burn, wait_until_burning};
use support::workloads::Workload;
use support::{Need, needs, wait_until};

const SEEN: &[&str] = &[FRAME_POINTERS];

fn map(container: &Container) -> Finished {
    Ctrflame::new(["jvm", "map", &container.pid().to_string()]).run()
}

/// What is said of a JVM that does not write its map; and it runs on, without a file of ours.
fn refusal(container: &Container) -> String {
    let run = map(container).expect_code(125);
    assert!(is_running(container.pid()), "it died of being asked");
    assert!(!trigger(container).exists());
    assert!(!container.inside("/.attach_pid1").exists());
    run.stderr
}

fn trigger(container: &Container) -> PathBuf {
    container.inside("/tmp/.attach_pid1")
}

#[test]
fn a_jvm_that_would_die_or_cannot_answer_is_left_alone_and_says_why() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let reduced = burn(&host, "", &[FRAME_POINTERS, "-Xrs"], "").start();
    let disabled = burn(&host, "", &[FRAME_POINTERS], "")
        .env("JAVA_TOOL_OPTIONS=-XX:+DisableAttachMechanism")
        .start();
    let closed = burn(&host, "", SEEN, "").user(1000).tmp_mode("755").start();
    let only_cwd = burn(&host, "", SEEN, "")
        .user(1000)
        .tmp_mode("755")
        .tmpfs("/work")
        .cwd("/work")
        .start();
    let bare = burn(&host, "", &[], "").start();
    let all = [&reduced, &disabled, &closed, &only_cwd, &bare];
    all.into_iter().for_each(wait_until_burning);

    let args = ["-a", "-F", "499", "--duration", "2s"];
    let run = Ctrflame::record(args).run().expect_code(0);
    for (container, expected) in [
        (
            &reduced,
            "would die of being asked: it was started with -Xrs",
        ),
        (&disabled, "it was started with -XX:+DisableAttachMechanism"),
        (
            &closed,
            "there is no place in its /tmp for its socket: Permission denied",
        ),
        (
            &only_cwd,
            "there is no place in its /tmp for its socket: Permission denied",
        ),
    ] {
        let (pid, tag) = (container.pid(), container.tag());
        let note = format!("ctrflame: note: JVM {pid} in {tag} did not name all of its code: ");
        let note = run.stderr.lines().find_map(|line| line.strip_prefix(&note));
        assert!(
            note.is_some_and(|note| note.contains(expected)),
            "{expected}: {}",
            run.stderr
        );
        assert!(refusal(container).contains(expected), "{expected}");
    }
    assert!(
        !disabled.log().contains("Full thread dump"),
        "{}",
        disabled.log()
    );
    assert!(!only_cwd.inside("/work/.attach_pid1").exists());

    // Without frame pointers Java code has names, but stacks that end there.
    let note = format!("JVM {} in {} has no frame pointers", bare.pid(), bare.tag());
    assert!(run.stderr.contains(&note), "{}", run.stderr);
    assert!(
        run.stderr.contains("-XX:+PreserveFramePointer"),
        "{}",
        run.stderr
    );
    let subtitle = format!("no frame pointers in JVM {}", bare.pid());
    assert!(run.svg().text.contains(&subtitle));
    let leaves = run.folded().container(&bare.tag()).comm("burner");
    let named = leaves.share(|stack| stack.user_leaf() == Some("Burn.spin_[j]"));
    assert!(named >= 0.95, "{named}\n{leaves}");

    let status = Ctrflame::new(["jvm", "status"])
        .args(all.map(Container::id))
        .run();
    let status = status.expect_code(0).stdout;
    assert_eq!(
        status.matches("attachable       no: ").count(),
        4,
        "{status}"
    );
    assert_eq!(status.matches("frame pointers   no").count(), 1, "{status}");
    let forced = ["-G", reduced.id(), "--duration", "1s", "--jvm=force"];
    Ctrflame::record(forced).run().expect_code(125);
}

#[test]
fn a_stopped_jvm_is_told_and_answers_when_it_runs_on() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let container = burn(&host, "", SEEN, "").start();
    wait_until_burning(&container);
    container.signal(Signal::SIGSTOP);
    wait_until("it to stop", Duration::from_secs(5), || {
        let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).ok()?;
        status.contains("T (stopped)").then_some(())
    });
    let said = refusal(&container);
    assert!(
        said.contains("it is stopped (by a signal)") && said.contains("SIGCONT"),
        "{said}"
    );
    container.signal(Signal::SIGCONT);
    container.freeze(Freeze::Pause);
    let said = refusal(&container);
    assert!(
        said.contains("it is stopped (frozen with its cgroup)"),
        "{said}"
    );
    container.freeze(Freeze::Resume);
    map(&container).expect_code(0);
    assert!(
        !container.log().contains("Full thread dump"),
        "{}",
        container.log()
    );
}

/// A JVM after a shell that put something into its way.
fn behind<'a>(host: &'a support::Host, before: &str) -> Builder<'a> {
    burn(host, &format!("{before}; "), SEEN, "")
}

#[test]
fn what_lies_in_the_way_is_neither_followed_nor_waited_for() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let secret = tempfile::tempdir().expect("the temporary directory is writable");
    let path = secret.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("ours");
    listener.set_nonblocking(true).expect("a socket");
    let to_a_file = format!("ln -s {}/file /tmp/.attach_pid1", secret.path().display());
    // It gets its map all the same.
    let well = [
        behind(&host, ":").start(),
        behind(&host, ":").start(),
        behind(&host, "mkdir /tmp/.attach_pid1").start(),
        behind(&host, &to_a_file).start(),
    ];
    let fifo = behind(&host, "mkfifo /tmp/perf-1.map").start();
    let link = behind(&host, "ln -s /etc/passwd /tmp/perf-1.map").start();
    let sparse = behind(&host, "truncate -s 10G /tmp/perf-1.map").start();
    let all: Vec<&Container> = well.iter().chain([&fifo, &link, &sparse]).collect();
    all.iter()
        .for_each(|container| wait_until_burning(container));

    // A JVM that starts removes what has its socket's name: these come later.
    symlink(&path, well[0].inside("/tmp/.java_pid1")).expect("root may");
    mkfifo(&well[1].inside("/tmp/.java_pid1"), Mode::S_IRWXU).expect("root may");

    let started = Instant::now();
    let run = Ctrflame::record(["-a", "-F", "499", "--duration", "3s"])
        .run()
        .expect_code(0);
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    let folded = run.folded();
    for container in well.iter().chain([&sparse]) {
        let java = folded.container(&container.tag()).comm("burner");
        let named = java.share(|stack| stack.has_chain(&["Burn.middle_[j]", "Burn.spin_[j]"]));
        assert!(named >= 0.95, "{named}\n{java}");
    }
    for (container, kind) in [(&fifo, "a FIFO"), (&link, "a symbolic link")] {
        let sentence = format!("/tmp/perf-1.map in its container is {kind}");
        assert!(run.stderr.contains(&sentence), "{}", run.stderr);
        assert!(refusal(container).contains(&sentence));
    }
    assert!(
        listener.accept().is_err(),
        "somebody asked the host's socket"
    );
    assert!(!secret.path().join("file").exists(), "made on the host");
    for container in &well {
        assert!(!container.inside("/.attach_pid1").exists());
        assert!(!container.inside("/tmp/perf-1.map").exists());
    }
}

#[test]
fn another_process_on_its_socket_is_told_and_a_library_alone_makes_no_jvm() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let other = "/opt/jdk/bin/java -Xmx32m -XX:+UseSerialGC -cp /opt/app Burn 60 deaf &";
    let impostor = burn(&host, other, SEEN, "").start();
    let fake = Builder::new(&host, &["/app/libjvm.so", "60"])
        .file("/app/libjvm.so", Workload::HotA.build())
        .start();
    wait_until("both to burn", Duration::from_secs(30), || {
        (impostor.log().matches("burning\n").count() == 2).then_some(())
    });
    fake.wait_for_program("/app/libjvm.so");
    let said = refusal(&fake);
    assert!(said.contains("would die of being asked"), "{said}");
    // It listens in the other's place.
    let tmp = fs::read_dir(impostor.inside("/tmp")).expect("it runs");
    let names = tmp.flatten().map(|entry| entry.file_name());
    let socket = names
        .into_iter()
        .find(|name| name.to_string_lossy().starts_with(".java_pid"));
    let socket = impostor
        .inside("/tmp")
        .join(socket.expect("the deaf one's"));
    fs::rename(socket, impostor.inside("/tmp/.java_pid1")).expect("root may");
    let said = refusal(&impostor);
    assert!(
        said.contains("another process (pid ") && said.contains("listens on its socket"),
        "{said}"
    );
}

/// A JVM that is told not to listen where nobody sees it: it prints a thread dump instead.
fn silent(host: &support::Host) -> Container {
    let before = "echo +DisableAttachMechanism > /tmp/flags";
    let container = burn(
        host,
        &format!("{before}; "),
        &[FRAME_POINTERS, "-XX:Flags=/tmp/flags"],
        "",
    )
    .start();
    wait_until_burning(&container);
    container
}

fn wait_for_trigger(container: &Container, limit: Duration, is_there: bool) {
    wait_until("the trigger to come or go", limit, || {
        (trigger(container).exists() == is_there).then_some(())
    });
}

#[test]
fn a_jvm_that_is_silent_keeps_nobody_for_ever_and_the_trigger_goes_whatever_becomes_of_us() {
    let Some(host) = needs(Need::Java) else {
        return;
    };
    let killed = silent(&host);
    let interrupted = silent(&host);
    let waited_for = silent(&host);
    // It listens, and never answers.
    let deaf = burn(&host, "", SEEN, "deaf").start();
    wait_until_burning(&deaf);
    thread::scope(|scope| {
        scope.spawn(|| {
            let run = Ctrflame::new(["jvm", "map", killed.id()]).start();
            wait_for_trigger(&killed, Duration::from_secs(5), true);
            run.signal(Signal::SIGKILL);
            run.wait().expect_code(128 + 9);
            wait_for_trigger(&killed, Duration::from_secs(8), false);
        });
        scope.spawn(|| {
            let mut run = Ctrflame::record(["-G", interrupted.id()]).start();
            run.wait_until_sampling();
            wait_for_trigger(&interrupted, Duration::from_secs(5), true);
            run.signal(Signal::SIGINT);
            thread::sleep(Duration::from_millis(300));
            run.signal(Signal::SIGINT);
            let run = run.wait().expect_code(128 + 2);
            assert!(run.elapsed < Duration::from_secs(5), "{:?}", run.elapsed);
            assert_eq!(run.files(), [""; 0]);
            wait_for_trigger(&interrupted, Duration::from_secs(8), false);
        });
        scope.spawn(|| {
            let said = refusal(&waited_for);
            assert!(
                said.contains("it did not begin to listen within 6 s"),
                "{said}"
            );
        });
        scope.spawn(|| {
            let args = ["-G", deaf.id(), "--duration", "1s"];
            let run = Ctrflame::record(args).run().expect_code(0);
            assert!(run.elapsed < Duration::from_secs(25), "{:?}", run.elapsed);
            let said = "it did not answer within 15 s";
            assert!(run.stderr.contains(said), "{}", run.stderr);
            assert!(run.folded().comm("burner").total() > 0);
        });
    });
}
