//! What went wrong once: a command that could not be interrupted, samples counted twice, losses in silence.

mod support;

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use support::ctrflame::Ctrflame;
use support::workloads::Workload;
use support::{Need, needs};

/// The samples of the busy program named `comm` in a run of two seconds at 99 Hz: what one thread can have.
const ONE_THREAD_FOR_2_S: u64 = 2 * 99 + 20;

#[test]
fn a_command_has_the_signal_mask_and_the_limits_that_we_were_started_with() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let run = Ctrflame::record(["--", "sh", "-c", "grep SigBlk /proc/self/status; ulimit -n"])
        .run()
        .expect_code(0);
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("our own limit");
    let expected = format!("SigBlk:\t0000000000000000\n{soft}\n");
    assert_eq!(run.stdout, expected, "{}", run.stderr);
}

#[test]
fn a_sigterm_to_us_alone_ends_the_command_and_gives_its_status() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let mut running = Ctrflame::record(["--", "sleep", "60"]).start();
    running.wait_until_sampling().signal(Signal::SIGTERM);
    let run = running.wait().expect_code(128 + Signal::SIGTERM as i32);
    assert!(run.elapsed < Duration::from_secs(30), "{:?}", run.elapsed);
    assert_eq!(run.files(), ["out.folded", "out.svg"]);
}

#[test]
fn a_process_that_is_named_twice_is_sampled_once() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let mut busy = std::process::Command::new(Workload::Busy.build())
        .args(["1", "20"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("built just now");
    let pid = busy.id();
    let run = Ctrflame::record(["--duration", "2s", "-p", &format!("{pid},{pid}")])
        .run()
        .expect_code(0);
    busy.kill().expect("our child");
    busy.wait().expect("our child");
    let samples = run.closing_samples();
    assert!(
        samples <= ONE_THREAD_FOR_2_S,
        "{samples} samples of one thread"
    );
    assert_eq!(run.folded().total(), samples);
}

#[test]
fn an_output_that_fails_does_not_take_the_others_along() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let run = Ctrflame::new(["record", "-o", "/dev/full", "-o", "out.folded"])
        .args(["-a", "--duration", "0.3s"])
        .run()
        .expect_code(125);
    assert!(run.stderr.contains("/dev/full"), "{}", run.stderr);
    assert_eq!(run.files(), ["out.folded"]);
}

#[test]
fn records_of_processes_that_found_no_room_are_counted_and_said() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let mut running = Ctrflame::record(["-a", "--duration", "4s"]).start();
    running.wait_until_sampling().signal(Signal::SIGSTOP);
    // Each exec writes some kilobytes of records; a tracking ring is 256 KiB.
    let execs = "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done";
    let stormed = std::process::Command::new("sh")
        .args(["-c", execs])
        .status();
    running.signal(Signal::SIGCONT);
    assert!(stormed.expect("sh runs").success());
    let run = running.wait().expect_code(0);
    assert!(
        run.stderr
            .contains("records of what processes did were lost"),
        "{}",
        run.stderr
    );
}

#[test]
fn generated_code_in_a_chroot_is_named_by_the_map_in_that_chroot() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let root = tempfile::tempdir().expect("the temporary directory is writable");
    fs::create_dir(root.path().join("tmp")).expect("a new directory");
    fs::copy(Workload::JitLike.build(), root.path().join("jitlike")).expect("room for a copy");
    let run = Ctrflame::record(["--", "chroot"])
        .args([root.path().as_os_str()])
        .args(["/jitlike", "2"])
        .run()
        .expect_code(0);
    let jitlike = run.folded().comm("jitlike");
    let named = jitlike.share(|stack| {
        stack
            .user_leaf()
            .is_some_and(|leaf| leaf.starts_with("jit_"))
    });
    assert!(
        named >= 0.9,
        "{named} of the samples: {}",
        run.read("out.folded")
    );
}
