//! Who may not sample is told which gate is closed and how it is opened, and gets no file.

mod support;

use std::time::Duration;
use support::ctrflame::{Ctrflame, Finished};
use support::gates::{CAP_PERFMON, CAP_SYS_ADMIN, Gate, Paranoid};
use support::{Host, Need, needs, wait_until};

/// Records the whole host behind `gate`, which must fail, with all of `facts` in what is said.
fn assert_refused(_host: &Host, gate: Gate, facts: &[&str]) -> Finished {
    let run = Ctrflame::record(["-a", "--duration", "1s"])
        .behind(gate)
        .run()
        .expect_failure();
    for fact in facts {
        assert!(
            run.stderr.contains(fact),
            "{gate:?}: no {fact:?} in {:?}",
            run.stderr
        );
    }
    assert_eq!(run.files(), Vec::<String>::new(), "{gate:?}");
    run
}

#[test]
fn a_user_without_rights_is_told_of_perf_event_paranoid_and_its_value() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    for value in [2, 3] {
        let _paranoid = Paranoid::set(&host, value);
        let shown = value.to_string();
        assert_refused(&host, Gate::Nobody, &["perf_event_paranoid", &shown]);
    }
}

#[test]
fn root_without_the_capabilities_is_told_which_one_is_missing() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let _paranoid = Paranoid::set(&host, 2);
    let gate = Gate::WithoutCapabilities(&[CAP_PERFMON, CAP_SYS_ADMIN]);
    assert_refused(&host, gate, &["CAP_PERFMON"]);
}

#[test]
fn a_seccomp_filter_is_named_as_the_one_that_refused() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let run = assert_refused(&host, Gate::Seccomp, &["seccomp"]);
    // Opening another gate would not help.
    assert!(!run.stderr.contains("sysctl"), "{}", run.stderr);
}

#[test]
fn a_command_whose_recording_is_refused_never_runs_and_does_not_wait_for_ever() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let _paranoid = Paranoid::set(&host, 2);
    let run = Ctrflame::record(["--", "/bin/sh", "-c", "touch ran"])
        .behind(Gate::Nobody)
        .run()
        .expect_failure();
    // The one that was to become the command is a copy of us until its exec.
    let program = run.cwd().with_file_name("ctrflame");
    let is_ours = |entry: std::fs::DirEntry| {
        std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == program)
    };
    wait_until("the child to end", Duration::from_secs(5), || {
        let mut processes = std::fs::read_dir("/proc")
            .expect("/proc is mounted")
            .flatten();
        (!processes.any(is_ours)).then_some(())
    });
    assert_eq!(run.files(), Vec::<String>::new());
}

#[test]
fn a_user_may_record_a_command_of_their_own() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let _paranoid = Paranoid::set(&host, 2);
    let script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exit 3";
    let run = Ctrflame::record(["-F", "99", "--no-kernel", "--", "/bin/sh", "-c", script])
        .behind(Gate::Nobody)
        .run()
        .expect_code(3);
    let folded = run.folded();
    assert!(folded.comm("sh").total() > 0, "{folded}\n{}", run.stderr);
    assert_eq!(folded.total(), run.closing_samples());
}
