//! Every number adds up: what was sampled is what is drawn, and it is as much as the clock says.

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use support::container::Builder;
use support::ctrflame::{Ctrflame, Finished};
use support::workloads::Workload;
use support::{Need, needs};

const RATE_HZ: f64 = 99.0;

/// Lets every CPU be busy for five seconds in a container of its own, records that container from before the first
/// instruction to after the last, and gives the CPU seconds it used by its own account.
fn record_a_busy_container(event: &str) -> Option<(Finished, f64)> {
    let host = needs(Need::Containers)?;
    let threads = host.cpus().to_string();
    let container = Builder::new(&host, &["/app/busy", &threads, "5", "wait"])
        .file("/app/busy", Workload::Busy.build())
        .hostname("busy")
        .start();
    container.wait_for_line("waiting", Duration::from_secs(20));
    let id = container.id();
    let mut recording =
        Ctrflame::record(["-G", id, "-F", "99", "-e", event, "--duration", "9s"]).start();
    recording.wait_until_sampling();
    container.signal(Signal::SIGUSR1);
    let line = container.wait_for_line("cpu_seconds", Duration::from_secs(30));
    let run = recording.wait().expect_code(0);
    let own = run.folded().container(&container.tag());
    assert_eq!(
        own.total(),
        run.folded().total(),
        "others in it\n{}",
        run.folded()
    );
    Some((run, line.parse().expect("seconds")))
}

/// The truth is the CPU time that the kernel charged to the process, not `CPUs * seconds`: where the machine is shared
/// with other loads or other guests, a busy loop gets less than the wall clock shows, and is sampled less by as much.
/// Beside the 5 %, each CPU may keep one period that was not over when the loop was.
fn assert_sampled_as_often_as_it_ran(run: &Finished, cpu_seconds: f64) {
    let expected = cpu_seconds * RATE_HZ;
    let samples = run.closing_samples() as f64;
    let unfinished = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    assert!(
        (samples - expected).abs() <= expected * 0.05 + unfinished,
        "{samples} samples, {expected} expected from {cpu_seconds} CPU seconds: {}",
        run.stderr
    );
}

#[test]
fn a_busy_loop_is_sampled_at_the_rate_that_was_asked_for_by_cpu_clock() {
    let Some((run, cpu_seconds)) = record_a_busy_container("cpu-clock") else {
        return;
    };
    assert_sampled_as_often_as_it_ran(&run, cpu_seconds);
}

#[test]
fn a_busy_loop_is_sampled_at_the_rate_that_was_asked_for_by_task_clock() {
    let Some((run, cpu_seconds)) = record_a_busy_container("task-clock") else {
        return;
    };
    assert_sampled_as_often_as_it_ran(&run, cpu_seconds);
}

#[test]
fn the_folded_counts_are_the_samples_of_the_closing_line() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let _container = Builder::new(&host, &["/app/hot", "60"])
        .file("/app/hot", Workload::HotA.build())
        .start();
    for target in [&["-a"][..], &["-G", _container.id()]] {
        let run = Ctrflame::record(target.iter().chain(&["-F", "999", "--duration", "2s"]))
            .run()
            .expect_code(0);
        let folded = run.folded();
        assert!(folded.total() > 0, "{target:?}: {}", run.stderr);
        assert_eq!(
            folded.total(),
            run.closing_samples(),
            "{target:?}: {}",
            run.stderr
        );
        assert_eq!(run.closing_lost(), 0, "{target:?}: {}", run.stderr);
        let svg = run.svg();
        let root = svg.titles.iter().find(|title| title.starts_with("all "));
        let root = root.unwrap_or_else(|| panic!("no root frame in {:?}", svg.titles));
        let digits: String = root
            .chars()
            .skip_while(|c| *c != '(')
            .take_while(|c| !c.is_alphabetic())
            .filter(char::is_ascii_digit)
            .collect();
        assert_eq!(digits, folded.total().to_string(), "root frame: {root}");
    }
}

#[test]
fn lost_samples_are_counted_and_said() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/hot", "60"])
        .file("/app/hot", Workload::HotA.build())
        .start();
    // One page a ring and as many samples as the kernel allows; the reader is stopped meanwhile, as on an overloaded host.
    let id = container.id();
    let mut recording =
        Ctrflame::record(["-G", id, "-F", "9999", "-m", "1", "--duration", "4s"]).start();
    recording.wait_until_sampling();
    recording.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    recording.signal(Signal::SIGCONT);
    let run = recording.wait().expect_code(0);
    assert!(run.closing_lost() > 0, "{}", run.stderr);
    assert_eq!(
        run.folded().total(),
        run.closing_samples(),
        "{}",
        run.stderr
    );
}
