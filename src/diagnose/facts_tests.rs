//! Facts of frozen hosts, of threads that were not seen, and of the CPUs that are waited for.

use super::super::verdict::{Remark, Verdict, judge};
use super::*;
use profiler::usage::{AffinityUse, CpuTime, Detail, Reader, TaskUse};
use std::path::Path;

/// The container with the limit of a frozen host, over the time that lay between its two states.
fn frozen(name: &str, ns: u64) -> (Interval, GroupUse) {
    let id = "3f2a000000000000000000000000000000000000000000000000000000000000";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples/hosts")
        .join(name);
    let read = |when: &str| {
        let reader = Reader::discover_with_root(&root.join(when)).expect("mounts");
        reader.read(&[reader.group(&format!("/docker/{id}"), &[])], Detail::FULL)
    };
    let (before, mut after) = (read("before"), read("after"));
    after.at_ns = before.at_ns + ns;
    let interval = Interval::between(&before, &after);
    let group = interval.groups.first().expect("in both").clone();
    (interval, group)
}

#[test]
fn frozen_containers_at_their_limit_are_cap_throttled_among_others() {
    for (name, ns, limit) in [
        ("usage-hybrid", 3_800_000_000, 0.05),
        ("usage-v2", 3_700_000_000, 0.2),
    ] {
        let (interval, group) = frozen(name, ns);
        let facts = Facts::of(&group, &interval);
        let judged = judge(&facts);
        assert_eq!(judged.verdict, Verdict::CapThrottled, "{name}: {facts:#?}");
        assert_eq!(judged.remarks, [Remark::CrowdedToo], "{name}: {facts:#?}");
        let cap = facts.worst_cap().expect("it was hit");
        assert_eq!((cap.limit_cpus, cap.is_own), (Some(limit), true), "{name}");
        assert_eq!(cap.hit_ratio(), 1.0, "{name}");
        assert!(
            facts.used_cpus.is_some_and(|used| used <= limit * 1.02),
            "{name}"
        );
    }
}

fn with(tasks: TaskUse) -> Facts {
    let (interval, mut group) = frozen("usage-v2", 3_700_000_000);
    group.tasks = tasks;
    group.cpu = Some(CpuTime {
        total_ns: 3_700_000_000,
        user_ns: None,
        system_ns: None,
    });
    Facts::of(&group, &interval)
}

fn affinity(cpus: &str, run_ns: u64, wait_ns: u64) -> AffinityUse {
    AffinityUse {
        cpus: CpuSet::parse(cpus).expect("a list"),
        run_ns,
        wait_ns,
    }
}

#[test]
fn threads_that_were_not_seen_waited_as_those_that_were() {
    let seen = |run_ns: u64| TaskUse {
        run_ns: Some(run_ns),
        wait_ns: Some(run_ns),
        slices: Some(100),
        ..TaskUse::default()
    };
    let half = with(seen(1_850_000_000));
    assert_eq!((half.wait_cpus, half.is_short_lived), (Some(1.0), false));
    let few = with(seen(1_110_000_000));
    assert_eq!((few.wait_cpus, few.is_short_lived), (Some(1.0), true));
    // Of a tenth nothing follows.
    let none = with(seen(300_000_000));
    assert_eq!((none.wait_cpus, none.is_short_lived), (None, true));
}

#[test]
fn its_cpus_are_those_that_its_waiting_threads_may_run_on() {
    let facts = with(TaskUse {
        run_ns: Some(3_700_000_000),
        wait_ns: Some(1_000),
        by_affinity: vec![
            affinity("0-1", 1_850_000_000, 50),
            affinity("1", 1_850_000_000, 950),
        ],
        ..TaskUse::default()
    });
    assert_eq!(facts.waits_on, CpuSet::parse("1").expect("a list"));
    assert_eq!((facts.cpus, facts.allowed_cpus), (1, 2));
    let nobody_waits = with(TaskUse {
        by_affinity: vec![affinity("1", 5, 0)],
        ..TaskUse::default()
    });
    assert_eq!(nobody_waits.waits_on.to_string(), "0-1");
}
