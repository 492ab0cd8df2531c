//! Shares of containers beside others, nested, limited and pinned.

use super::*;
use crate::usage::interval::{HostCpuUse, HostUse};
use crate::usage::level::Quota;
use crate::usage::{CpuSet, TaskUse};
use std::path::PathBuf;

const SECOND: u64 = 1_000_000_000;

fn level(path: &str, weight: f64, cpus: f64) -> LevelUse {
    LevelUse {
        cgroup_path: path.to_owned(),
        dir: PathBuf::from(path),
        throttling: None,
        held_ns: None,
        quota: None,
        weight: Some(Weight(weight)),
        cpu_ns: Some((cpus * SECOND as f64) as u64),
        cpuset: None,
    }
}

/// A host with four CPUs.
fn host(levels: &[LevelUse], root_cpus: f64) -> Interval {
    Interval {
        ns: SECOND,
        host: HostUse {
            cpus: (0..4).map(|cpu| (cpu, HostCpuUse::default())).collect(),
            ..HostUse::default()
        },
        groups: Vec::new(),
        levels: levels
            .iter()
            .map(|level| (level.cgroup_path.clone(), level.clone()))
            .collect(),
        root_cpu_ns: Some((root_cpus * SECOND as f64) as u64),
    }
}

fn group(levels: &[LevelUse]) -> GroupUse {
    GroupUse {
        cgroup_path: "/g".into(),
        cpu: None,
        levels: levels.to_vec(),
        pressure: None,
        cpuset: None,
        memory: None,
        task_count: None,
        task_limit: None,
        is_frozen: None,
        tasks: TaskUse::default(),
    }
}

#[test]
fn the_minimum_is_among_all_and_the_bursting_share_among_the_busy() {
    let own = level("/a", 1024.0, 1.0);
    let levels = [
        own.clone(),
        level("/b", 1024.0, 0.0),
        level("/c", 2048.0, 3.0),
    ];
    let entitled = host(&levels, 4.0)
        .entitlement(&group(&[own]))
        .expect("known");
    assert_eq!(entitled.minimum_cpus, 1.0);
    assert!((entitled.bursting_cpus - 4.0 / 3.0).abs() < 1e-9);
    assert_eq!(entitled.cpuset_cpus, 4);
}

#[test]
fn shares_of_nested_cgroups_multiply() {
    let (slice, own) = (level("/s", 1024.0, 2.0), level("/s/a", 3072.0, 1.0));
    let levels = [
        slice.clone(),
        own.clone(),
        level("/s/b", 1024.0, 1.0),
        level("/t", 1024.0, 2.0),
        // Another's children are not beside it.
        level("/t/x", 100_000.0, 2.0),
    ];
    let entitled = host(&levels, 4.0)
        .entitlement(&group(&[slice, own]))
        .expect("known");
    assert_eq!(entitled.minimum_cpus, 4.0 * 0.5 * 0.75);
    assert_eq!(entitled.bursting_cpus, 1.5);
}

#[test]
fn tasks_directly_in_the_parent_compete_while_they_run() {
    let own = level("/a", 1024.0, 1.0);
    // Three CPUs' worth of time in the root itself.
    let entitled = host(std::slice::from_ref(&own), 4.0)
        .entitlement(&group(&[own]))
        .expect("known");
    assert_eq!((entitled.minimum_cpus, entitled.bursting_cpus), (1.0, 1.0));
    let own = level("/a", 1024.0, 1.0);
    let alone = host(std::slice::from_ref(&own), 1.0);
    let entitled = alone.entitlement(&group(&[own])).expect("known");
    assert_eq!((entitled.minimum_cpus, entitled.bursting_cpus), (4.0, 4.0));
}

#[test]
fn limits_on_the_way_and_the_cpuset_cap_both_shares() {
    let quota = |cpus: u64| {
        Some(Quota {
            quota_us: cpus * 100_000,
            period_us: 100_000,
        })
    };
    let pod = LevelUse {
        quota: quota(2),
        ..level("/p", 1024.0, 1.0)
    };
    let own = LevelUse {
        quota: quota(3),
        ..level("/p/a", 1024.0, 1.0)
    };
    let levels = [pod.clone(), own.clone()];
    let mut wanted = group(&levels);
    let entitled = host(&levels, 1.0).entitlement(&wanted).expect("known");
    assert_eq!(entitled.bursting_cpus, 2.0);
    assert_eq!(entitled.limit, Some((2.0, "/p".to_owned())));
    wanted.cpuset = CpuSet::parse("3");
    let entitled = host(&levels, 1.0).entitlement(&wanted).expect("known");
    assert_eq!((entitled.bursting_cpus, entitled.cpuset_cpus), (1.0, 1));
}

#[test]
fn a_cgroup_without_a_weight_competes_as_a_part_of_the_one_above() {
    let slice = level("/s", 1024.0, 1.0);
    let own = LevelUse {
        weight: None,
        ..level("/s/a", 0.0, 1.0)
    };
    let levels = [slice.clone(), own.clone(), level("/t", 1024.0, 1.0)];
    let entitled = host(&levels, 2.0)
        .entitlement(&group(&[slice, own]))
        .expect("known");
    assert_eq!(entitled.minimum_cpus, 2.0);
}

#[test]
fn who_may_run_elsewhere_too_is_there_with_a_part_of_its_weight() {
    let pinned = |path: &str, weight: f64| LevelUse {
        cpuset: CpuSet::parse("3"),
        ..level(path, weight, 0.5)
    };
    let own = pinned("/a", 512.0);
    let mut wanted = group(std::slice::from_ref(&own));
    wanted.cpuset = CpuSet::parse("3");
    // Both on one CPU: a ninth of it.
    let beside_pinned = host(&[own.clone(), pinned("/b", 4096.0)], 1.0);
    let entitled = beside_pinned.entitlement(&wanted).expect("known");
    assert_eq!(entitled.minimum_cpus, 1.0 / 9.0);
    // The other one is on four CPUs, with 1024 on each.
    let beside_free = host(&[own.clone(), level("/b", 4096.0, 3.0)], 3.5);
    let entitled = beside_free.entitlement(&wanted).expect("known");
    assert_eq!(entitled.minimum_cpus, 1.0 / 3.0);
    // The other one is elsewhere.
    let elsewhere = LevelUse {
        cpuset: CpuSet::parse("0-2"),
        ..level("/b", 4096.0, 3.0)
    };
    let entitled = host(&[own, elsewhere], 3.5)
        .entitlement(&wanted)
        .expect("known");
    assert_eq!(entitled.minimum_cpus, 1.0);
}
