//! Threads that go on, come, go, and are not what they were.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn thread(run: u64, wait: u64, switches: (u64, u64), allowed: &str) -> Counters {
    Counters {
        sched: Some((run, wait, 10)),
        switches: Some(switches),
        allowed: Some(allowed.into()),
    }
}

fn tasks(threads: &[(u32, Counters)]) -> Tasks {
    Tasks {
        by_tid: threads
            .iter()
            .map(|(tid, counters)| (HostTid(*tid), counters.clone()))
            .collect(),
        unread: 0,
    }
}

#[test]
fn threads_are_added_up_and_one_that_began_counts_from_nothing() {
    let before = tasks(&[
        (1, thread(100, 50, (5, 1), "0-1")),
        (2, thread(9, 9, (9, 9), "0-1")),
    ]);
    let after = tasks(&[
        (1, thread(300, 150, (6, 4), "0-1")),
        (3, thread(40, 7, (1, 1), "1")),
    ]);
    let used = TaskUse::between(&before, &after, SECOND);
    assert_eq!((used.run_ns, used.wait_ns), (Some(240), Some(107)));
    assert_eq!((used.voluntary, used.involuntary), (Some(2), Some(4)));
    assert_eq!((used.threads, used.began, used.ended), (2, 1, 1));
    assert_eq!(used.busiest, Some((HostTid(1), 200)));
    let cpus = |used: &TaskUse| -> Vec<(String, u64)> {
        let by = used.by_affinity.iter();
        by.map(|one| (one.cpus.to_string(), one.wait_ns)).collect()
    };
    assert_eq!(cpus(&used), [("0-1".to_owned(), 100), ("1".to_owned(), 7)]);
}

#[test]
fn a_tid_that_is_used_again_is_another_thread() {
    let before = tasks(&[(1, thread(500, 500, (50, 50), "0"))]);
    let after = tasks(&[(1, thread(30, 900, (2, 60), "0"))]);
    let used = TaskUse::between(&before, &after, SECOND);
    assert_eq!((used.run_ns, used.wait_ns), (Some(30), Some(900)));
    assert_eq!((used.voluntary, used.involuntary), (Some(2), Some(60)));
}

#[test]
fn the_history_of_a_thread_that_came_from_elsewhere_is_not_the_containers() {
    let after = tasks(&[
        (1, thread(3 * SECOND, 0, (9, 9), "0")),
        (2, thread(5, 5, (1, 1), "0")),
    ]);
    let used = TaskUse::between(&tasks(&[]), &after, SECOND);
    assert_eq!((used.run_ns, used.threads, used.unread), (Some(5), 1, 1));
}

#[test]
fn a_wait_that_began_before_the_interval_is_the_containers_all_the_same() {
    const MS: u64 = 1_000_000;
    // Held back for 900 ms, and read every 200.
    let before = tasks(&[(1, thread(SECOND, 5 * SECOND, (0, 9), "0"))]);
    let after = tasks(&[(
        1,
        thread(SECOND + 90 * MS, 5 * SECOND + 900 * MS, (0, 10), "0"),
    )]);
    let used = TaskUse::between(&before, &after, 200 * MS);
    assert_eq!((used.run_ns, used.wait_ns), (Some(90 * MS), Some(900 * MS)));
    assert_eq!((used.threads, used.unread), (1, 0));
    // A tick is counted at once, also if the interval was shorter.
    let ticks = tasks(&[(1, thread(4 * MS, 0, (0, 0), "0"))]);
    let used = TaskUse::between(&tasks(&[]), &ticks, MS);
    assert_eq!((used.run_ns, used.threads), (Some(4 * MS), 1));
}

#[test]
fn a_kernel_without_schedstat_or_a_reading_without_status_is_none_and_not_0() {
    let only_switches = Counters {
        switches: Some((3, 4)),
        ..Counters::default()
    };
    let used = TaskUse::between(&tasks(&[]), &tasks(&[(1, only_switches)]), SECOND);
    assert_eq!(
        (used.run_ns, used.wait_ns, used.busiest),
        (None, None, None)
    );
    assert_eq!(used.involuntary, Some(4));
    let only_sched = Counters {
        sched: Some((1, 2, 3)),
        ..Counters::default()
    };
    let used = TaskUse::between(&tasks(&[]), &tasks(&[(1, only_sched)]), SECOND);
    assert_eq!((used.wait_ns, used.involuntary), (Some(2), None));
}

#[test]
fn two_intervals_in_a_row_are_one() {
    let first = tasks(&[(1, thread(0, 0, (0, 0), "0"))]);
    let second = tasks(&[(1, thread(10, 20, (1, 2), "0"))]);
    let third = tasks(&[
        (1, thread(15, 21, (1, 5), "0")),
        (2, thread(4, 4, (0, 0), "1")),
    ]);
    let both =
        TaskUse::between(&first, &second, SECOND).then(TaskUse::between(&second, &third, SECOND));
    assert_eq!((both.run_ns, both.wait_ns), (Some(19), Some(25)));
    assert_eq!(
        (both.involuntary, both.threads, both.began),
        (Some(5), 2, 1)
    );
    assert_eq!(both.busiest, Some((HostTid(1), 15)));
    assert_eq!(both.by_affinity.len(), 2);
}
