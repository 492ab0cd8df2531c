//! Every branch of the diagnosis, and the borders between them.

use super::super::facts::{Cap, Facts};
use super::*;
use profiler::usage::CpuSet;

/// Half a CPU used, on two CPUs that are idle otherwise; nothing waits.
fn calm_facts() -> Facts {
    Facts {
        used_cpus: Some(0.5),
        wait_cpus: Some(0.002),
        wait_ms_each: Some(0.02),
        voluntary_per_s: Some(100.0),
        involuntary_per_s: Some(2.0),
        pressure: None,
        caps: Vec::new(),
        held_cpus: None,
        allowed_cpus: 2,
        waits_on: CpuSet::parse("0-1").expect("a list"),
        cpus: 2,
        idle_cpus: 1.5,
        busy_cpus: 0.5,
        steal_cpus: 0.0,
        own_cpus: 0.5,
        busiest_thread: Some(0.5),
        is_frozen: false,
        is_short_lived: false,
    }
}

/// Two spinning threads on two CPUs, with others that have `others` CPUs of them.
fn crowded(others: f64) -> Facts {
    Facts {
        used_cpus: Some(2.0 - others),
        wait_cpus: Some(others),
        wait_ms_each: Some(4.0),
        voluntary_per_s: Some(0.0),
        involuntary_per_s: Some(200.0),
        idle_cpus: 0.0,
        busy_cpus: 2.0,
        own_cpus: 2.0 - others,
        busiest_thread: Some((2.0 - others) / 2.0),
        ..calm_facts()
    }
}

/// `threads` spinning threads, alone on one CPU of two.
fn pinned(threads: f64) -> Facts {
    Facts {
        used_cpus: Some(1.0),
        wait_cpus: Some(threads - 1.0),
        wait_ms_each: Some(3.0),
        voluntary_per_s: Some(0.0),
        involuntary_per_s: Some(250.0),
        allowed_cpus: 1,
        waits_on: CpuSet::parse("1").expect("a list"),
        cpus: 1,
        idle_cpus: 0.0,
        busy_cpus: 1.0,
        own_cpus: 1.0,
        busiest_thread: Some(1.0 / threads),
        ..calm_facts()
    }
}

fn cap(hits: u64, periods: u64, lost_cpus: f64) -> Cap {
    Cap {
        cgroup_path: "/docker/a".into(),
        is_own: true,
        limit_cpus: Some(0.5),
        period_us: Some(100_000),
        periods,
        hits,
        lost_cpus,
        each_ms: None,
        file: "/sys/fs/cgroup/docker/a/cpu.stat".into(),
    }
}

fn above(cap: Cap) -> Cap {
    Cap {
        is_own: false,
        ..cap
    }
}

fn verdict(facts: &Facts) -> Verdict {
    judge(facts).verdict
}

fn remarks(facts: &Facts) -> Vec<Remark> {
    judge(facts).remarks
}

fn not(calm: Calm) -> Verdict {
    Verdict::NotThrottled(calm)
}

#[test]
fn a_limit_that_is_hit_is_the_verdict_on_idle_and_on_busy_cpus() {
    let idle = Facts {
        wait_cpus: Some(1.5),
        wait_ms_each: Some(60.0),
        caps: vec![cap(98, 100, 1.0)],
        ..calm_facts()
    };
    assert_eq!(verdict(&idle), Verdict::CapThrottled);
    assert_eq!(remarks(&idle), []);
    let busy = Facts {
        caps: vec![cap(98, 100, 1.0)],
        ..crowded(1.5)
    };
    assert_eq!(verdict(&busy), Verdict::CapThrottled);
    assert_eq!(remarks(&busy), [Remark::CrowdedToo]);
}

#[test]
fn a_limit_that_is_not_hit_is_none() {
    let facts = Facts {
        caps: vec![cap(0, 100, 0.0)],
        ..calm_facts()
    };
    assert_eq!(
        (verdict(&facts), remarks(&facts)),
        (not(Calm::Runs), vec![])
    );
}

#[test]
fn a_bursty_container_is_cap_throttled_though_it_uses_little() {
    // Ten bursts in ten seconds, each longer than its quota: on average far below its limit.
    let facts = Facts {
        used_cpus: Some(0.08),
        wait_cpus: Some(0.06),
        wait_ms_each: Some(9.0),
        busiest_thread: Some(0.08),
        caps: vec![cap(10, 22, 0.05)],
        ..calm_facts()
    };
    assert_eq!(verdict(&facts), Verdict::CapThrottled);
}

#[test]
fn a_limit_hit_now_and_then_is_the_verdict_unless_others_cost_more() {
    let now_and_then = |facts| Facts {
        caps: vec![cap(5, 100, 0.02)],
        ..facts
    };
    let alone = Facts {
        wait_cpus: Some(0.05),
        wait_ms_each: Some(2.0),
        ..now_and_then(calm_facts())
    };
    assert_eq!(verdict(&alone), Verdict::CapThrottled);
    let among_others = now_and_then(crowded(1.0));
    assert_eq!(verdict(&among_others), Verdict::ShareThrottled);
    assert_eq!(remarks(&among_others), [Remark::LimitHitToo]);
}

#[test]
fn the_border_between_limit_and_neighbours_is_every_tenth_period() {
    let hit = |hits| Facts {
        caps: vec![cap(hits, 1000, 0.1)],
        ..crowded(1.0)
    };
    assert_eq!(verdict(&hit(99)), Verdict::ShareThrottled);
    assert_eq!(verdict(&hit(100)), Verdict::CapThrottled);
}

#[test]
fn a_limit_hit_for_a_moment_is_a_remark() {
    let facts = Facts {
        caps: vec![cap(1, 1000, 0.0001)],
        ..calm_facts()
    };
    assert_eq!(verdict(&facts), not(Calm::Runs));
    assert_eq!(remarks(&facts), [Remark::LimitHitToo]);
}

#[test]
fn one_throttle_that_lasts_longer_than_the_interval_is_a_cap() {
    let facts = Facts {
        used_cpus: Some(0.02),
        caps: vec![cap(1, 0, 0.0)],
        ..calm_facts()
    };
    assert_eq!(verdict(&facts), Verdict::CapThrottled);
}

#[test]
fn a_throttled_ancestor_throttles_a_container_that_waits_for_it() {
    let waits = Facts {
        wait_cpus: Some(0.5),
        wait_ms_each: Some(40.0),
        caps: vec![above(cap(90, 100, 1.2))],
        ..calm_facts()
    };
    assert_eq!(verdict(&waits), Verdict::CapThrottled);
    let sleeps = Facts {
        caps: vec![above(cap(90, 100, 1.2))],
        ..calm_facts()
    };
    assert_eq!(verdict(&sleeps), not(Calm::Runs));
    assert_eq!(remarks(&sleeps), [Remark::LimitHitsOthers]);
}

#[test]
fn where_the_kernel_counts_what_ancestors_hold_back_that_is_believed() {
    let held = |held| Facts {
        held_cpus: Some(held),
        wait_cpus: Some(0.5),
        wait_ms_each: Some(40.0),
        caps: vec![above(cap(90, 100, 1.2))],
        ..calm_facts()
    };
    assert_eq!(verdict(&held(0.4)), Verdict::CapThrottled);
    // It waited, but for another reason.
    assert_eq!(verdict(&held(0.0)), not(Calm::Bursts));
}

#[test]
fn of_two_limits_the_one_that_costs_more_counts() {
    let facts = Facts {
        held_cpus: Some(0.0),
        caps: vec![above(cap(90, 100, 2.0)), cap(1, 1000, 0.0)],
        ..calm_facts()
    };
    assert_eq!(verdict(&facts), not(Calm::Runs));
}

#[test]
fn neighbours_on_busy_cpus_make_it_share_throttled_whichever_of_them_it_is() {
    assert_eq!(verdict(&crowded(1.6)), Verdict::ShareThrottled);
    assert_eq!(verdict(&crowded(0.4)), Verdict::ShareThrottled);
}

#[test]
fn neighbours_and_too_many_threads_of_its_own_is_share_throttled() {
    let facts = Facts {
        wait_cpus: Some(9.0),
        ..crowded(1.0)
    };
    assert_eq!(verdict(&facts), Verdict::ShareThrottled);
}

#[test]
fn alone_on_too_few_cpus_is_physical_whatever_runs_elsewhere() {
    assert_eq!(verdict(&pinned(3.0)), Verdict::PhysicalCpuThrottled);
    assert_eq!(remarks(&pinned(3.0)), []);
}

#[test]
fn the_border_between_neighbours_and_itself_is_a_tenth_of_the_cpus() {
    let with = |others: f64| Facts {
        used_cpus: Some(1.0 - others),
        own_cpus: 1.0 - others,
        ..pinned(8.0)
    };
    assert_eq!(verdict(&with(0.09)), Verdict::PhysicalCpuThrottled);
    assert_eq!(verdict(&with(0.11)), Verdict::ShareThrottled);
}

#[test]
fn who_wants_no_more_than_there_is_waits_for_others_however_little_they_have() {
    let facts = Facts {
        used_cpus: Some(0.93),
        wait_cpus: Some(0.07),
        own_cpus: 0.93,
        ..pinned(1.0)
    };
    assert_eq!(verdict(&facts), Verdict::ShareThrottled);
}

#[test]
fn a_thread_alone_on_its_cpu_that_it_fills_is_not_throttled() {
    let facts = Facts {
        wait_cpus: Some(0.004),
        wait_ms_each: Some(0.4),
        ..pinned(1.0)
    };
    assert_eq!(verdict(&facts), not(Calm::Runs));
}

#[test]
fn waiting_beside_idle_cpus_is_bursts_until_they_are_few() {
    let waits = |idle: f64| Facts {
        used_cpus: Some(2.0 - idle),
        own_cpus: 2.0 - idle,
        wait_cpus: Some(6.0),
        wait_ms_each: Some(20.0),
        busy_cpus: 2.0 - idle,
        idle_cpus: idle,
        ..calm_facts()
    };
    assert_eq!(verdict(&waits(1.5)), not(Calm::Bursts));
    assert_eq!(verdict(&waits(0.21)), not(Calm::Bursts));
    assert_eq!(verdict(&waits(0.19)), Verdict::PhysicalCpuThrottled);
}

#[test]
fn a_little_idle_time_does_not_excuse_what_neighbours_took() {
    let facts = Facts {
        idle_cpus: 0.25,
        busy_cpus: 1.75,
        used_cpus: Some(0.3),
        own_cpus: 0.3,
        ..crowded(1.45)
    };
    assert_eq!(verdict(&facts), Verdict::ShareThrottled);
}

#[test]
fn a_sleeper_that_is_woken_often_is_not_waiting_for_cpus() {
    // Ten thousand wake-ups of 20 us each, on a busy host.
    let facts = Facts {
        used_cpus: Some(0.2),
        own_cpus: 0.2,
        busy_cpus: 2.0,
        idle_cpus: 0.0,
        wait_cpus: Some(0.2),
        wait_ms_each: Some(0.02),
        voluntary_per_s: Some(10_000.0),
        involuntary_per_s: Some(20.0),
        busiest_thread: Some(0.2),
        ..calm_facts()
    };
    assert_eq!(verdict(&facts), not(Calm::Sleeps));
}

#[test]
fn a_sleeper_that_is_kept_waiting_at_each_wake_up_is_share_throttled_without_a_preemption() {
    let facts = Facts {
        used_cpus: Some(0.02),
        own_cpus: 0.02,
        busy_cpus: 2.0,
        idle_cpus: 0.0,
        wait_cpus: Some(0.08),
        wait_ms_each: Some(8.0),
        voluntary_per_s: Some(10.0),
        involuntary_per_s: Some(0.0),
        busiest_thread: Some(0.02),
        ..calm_facts()
    };
    assert_eq!(verdict(&facts), Verdict::ShareThrottled);
}

#[test]
fn a_container_that_does_nothing_is_idle_on_a_busy_host_too() {
    for host in [calm_facts(), crowded(1.0)] {
        let facts = Facts {
            used_cpus: Some(0.001),
            wait_cpus: Some(0.002),
            own_cpus: 0.001,
            busiest_thread: Some(0.001),
            ..host
        };
        assert_eq!(verdict(&facts), not(Calm::Idle));
    }
}

#[test]
fn one_busy_thread_among_many_cpus_is_not_throttled_and_says_so() {
    let facts = Facts {
        used_cpus: Some(1.0),
        own_cpus: 1.0,
        busiest_thread: Some(0.99),
        cpus: 16,
        allowed_cpus: 16,
        idle_cpus: 15.0,
        ..calm_facts()
    };
    assert_eq!(verdict(&facts), not(Calm::OneThread));
    assert_eq!(remarks(&facts), []);
}

#[test]
fn a_cpuset_smaller_than_the_limit_is_physical_and_remarked() {
    let facts = Facts {
        caps: vec![Cap {
            limit_cpus: Some(2.0),
            ..cap(0, 100, 0.0)
        }],
        ..pinned(4.0)
    };
    assert_eq!(verdict(&facts), Verdict::PhysicalCpuThrottled);
    assert_eq!(remarks(&facts), [Remark::CpusBelowLimit]);
}

#[test]
fn what_the_hypervisor_takes_is_physical_and_remarked() {
    let facts = Facts {
        used_cpus: Some(1.4),
        own_cpus: 1.4,
        busy_cpus: 1.4,
        steal_cpus: 0.6,
        wait_cpus: Some(0.6),
        ..crowded(0.6)
    };
    assert_eq!(verdict(&facts), Verdict::PhysicalCpuThrottled);
    assert_eq!(remarks(&facts), [Remark::Steal]);
}

#[test]
fn without_waiting_times_pressure_tells_and_without_both_involuntary_switches() {
    let blind = |pressure, involuntary| Facts {
        wait_cpus: None,
        wait_ms_each: None,
        pressure,
        involuntary_per_s: Some(involuntary),
        ..crowded(1.0)
    };
    assert_eq!(verdict(&blind(Some(0.4), 0.0)), Verdict::ShareThrottled);
    assert_eq!(verdict(&blind(Some(0.01), 500.0)), not(Calm::Runs));
    assert_eq!(verdict(&blind(None, 200.0)), Verdict::ShareThrottled);
    assert_eq!(verdict(&blind(None, 3.0)), not(Calm::Runs));
}

#[test]
fn threads_that_live_too_shortly_leave_it_unknown_unless_a_limit_is_hit() {
    let blind = Facts {
        wait_cpus: None,
        wait_ms_each: None,
        is_short_lived: true,
        ..crowded(1.0)
    };
    assert_eq!(verdict(&blind), Verdict::Unknown);
    assert_eq!(remarks(&blind), [Remark::ShortLived]);
    let capped = Facts {
        caps: vec![cap(50, 100, 0.3)],
        ..blind
    };
    assert_eq!(verdict(&capped), Verdict::CapThrottled);
}

#[test]
fn waiting_counts_from_a_twentieth_of_the_wanted_time() {
    let waits = |wait: f64| Facts {
        wait_cpus: Some(wait),
        used_cpus: Some(1.0),
        ..crowded(1.0)
    };
    assert_eq!(verdict(&waits(0.052)), not(Calm::Runs));
    assert_eq!(verdict(&waits(0.053)), Verdict::ShareThrottled);
}

#[test]
fn who_is_paused_is_not_idle_and_who_ran_was_not_paused_all_the_time() {
    let paused = Facts {
        used_cpus: Some(0.0),
        wait_cpus: Some(0.0),
        is_frozen: true,
        ..calm_facts()
    };
    assert_eq!(verdict(&paused), not(Calm::Frozen));
    let at_the_end = Facts {
        is_frozen: true,
        ..crowded(1.0)
    };
    assert_eq!(verdict(&at_the_end), Verdict::ShareThrottled);
}
