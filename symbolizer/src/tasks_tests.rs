//! The life of tasks, told by records.

use super::*;
use crate::maps::Backing;
use profiler::record::Stamp;

fn stamp(time_ns: u64) -> Stamp {
    Stamp {
        time_ns,
        pid: HostPid(0),
        tid: HostTid(0),
        cpu: 0,
    }
}

fn fork(time_ns: u64, pid: u32, tid: u32, parent: u32) -> Fork {
    Fork {
        stamp: stamp(time_ns),
        pid: HostPid(pid),
        tid: HostTid(tid),
        parent_pid: HostPid(parent),
        parent_tid: HostTid(parent),
    }
}

fn comm(pid: u32, name: &'static [u8], is_exec: bool) -> Comm<'static> {
    Comm {
        stamp: stamp(1),
        pid: HostPid(pid),
        tid: HostTid(pid),
        name,
        is_exec,
    }
}

fn mapping(image: u32) -> Mapping {
    Mapping {
        start: 0x1000,
        end: 0x2000,
        file_offset: 0,
        backing: Backing::Image(ImageId(image)),
    }
}

fn space(tasks: &mut Tasks, pid: u32) -> SpaceId {
    tasks.begin_space(Space::unseen(HostPid(pid), 0, RootRef::Unknown))
}

/// A sample in `space` that leads to 0x1800.
fn sampled(tasks: &mut Tasks, space: SpaceId) {
    tasks.keep_mapping(space, 0x1800);
}

fn image_at(tasks: &Tasks, id: SpaceId) -> Option<Backing> {
    tasks
        .space(id)
        .and_then(|space| space.maps.find(0x1800))
        .map(|found| found.0.backing)
}

fn named(tasks: &mut Tasks, tid: u32) -> String {
    let thread = tasks
        .threads
        .get(&HostTid(tid))
        .expect("the thread is known");
    String::from_utf8_lossy(&thread.comm).into_owned()
}

#[test]
fn a_child_has_its_parents_mappings_and_name_until_it_execs() {
    let mut tasks = Tasks::new();
    tasks.comm(&comm(10, b"sh", false));
    tasks.map(HostPid(10), mapping(1));
    tasks.fork(&fork(5, 11, 11, 10));
    assert_eq!(named(&mut tasks, 11), "sh");
    let before = space(&mut tasks, 11);
    sampled(&mut tasks, before);
    tasks.comm(&comm(11, b"hot", true));
    tasks.map(HostPid(11), mapping(2));
    let after = space(&mut tasks, 11);
    sampled(&mut tasks, after);
    assert_eq!(image_at(&tasks, before), Some(Backing::Image(ImageId(1))));
    assert_eq!(image_at(&tasks, after), Some(Backing::Image(ImageId(2))));
    assert_eq!(named(&mut tasks, 11), "hot");
    assert_eq!(named(&mut tasks, 10), "sh");
}

#[test]
fn a_replaced_mapping_begins_a_new_space_and_an_added_one_does_not() {
    let mut tasks = Tasks::new();
    tasks.comm(&comm(10, b"srv", false));
    tasks.map(HostPid(10), mapping(1));
    let first = space(&mut tasks, 10);
    sampled(&mut tasks, first);
    tasks.map(
        HostPid(10),
        Mapping {
            start: 0x8000,
            end: 0x9000,
            ..mapping(3)
        },
    );
    assert_eq!(
        tasks.process(HostPid(10)).and_then(|process| process.space),
        Some(first)
    );
    tasks.map(HostPid(10), mapping(2));
    assert_eq!(
        tasks.process(HostPid(10)).and_then(|process| process.space),
        None
    );
    let second = space(&mut tasks, 10);
    sampled(&mut tasks, second);
    assert_eq!(image_at(&tasks, first), Some(Backing::Image(ImageId(1))));
    assert_eq!(image_at(&tasks, second), Some(Backing::Image(ImageId(2))));
}

#[test]
fn a_pid_that_is_used_again_is_another_process() {
    let mut tasks = Tasks::new();
    tasks.comm(&comm(10, b"old", false));
    tasks.map(HostPid(10), mapping(1));
    let old = space(&mut tasks, 10);
    sampled(&mut tasks, old);
    tasks.exit(&fork(100, 10, 10, 1));
    assert_eq!(
        named(&mut tasks, 10),
        "old",
        "known for a while after its exit"
    );
    tasks.comm(&comm(1, b"init", false));
    tasks.fork(&fork(200, 10, 10, 1));
    assert_eq!(named(&mut tasks, 10), "init");
    tasks.exit(&fork(200 + 2 * KEPT_AFTER_EXIT_NS, 99, 99, 1));
    assert_eq!(
        named(&mut tasks, 10),
        "init",
        "the old exit does not end the new thread"
    );
    assert_eq!(
        tasks.process(HostPid(10)).and_then(|process| process.space),
        None
    );
    assert_eq!(image_at(&tasks, old), Some(Backing::Image(ImageId(1))));
}

#[test]
fn a_thread_has_its_own_name_and_its_process_mappings() {
    let mut tasks = Tasks::new();
    tasks.comm(&comm(10, b"java", false));
    tasks.fork(&Fork {
        parent_pid: HostPid(10),
        ..fork(3, 10, 12, 10)
    });
    tasks.comm(&Comm {
        tid: HostTid(12),
        ..comm(10, b"C2 Compiler", false)
    });
    tasks.map(HostPid(10), mapping(1));
    assert_eq!(named(&mut tasks, 12), "C2 Compiler");
    assert_eq!(named(&mut tasks, 10), "java");
    assert_eq!(
        tasks
            .thread(HostPid(10), HostTid(12))
            .map(|thread| thread.pid),
        Some(HostPid(10))
    );
    tasks.exit(&fork(10, 10, 12, 10));
    tasks.exit(&fork(10 + 2 * KEPT_AFTER_EXIT_NS, 77, 77, 1));
    assert!(tasks.thread(HostPid(10), HostTid(12)).is_none());
    assert!(tasks.process(HostPid(10)).is_some());
}

#[test]
fn names_are_kept_of_living_threads_only_however_often_one_renames_itself() {
    let mut tasks = Tasks::new();
    for name in 0..10_000_u32 {
        let name = name.to_string();
        tasks.comm(&Comm {
            stamp: stamp(1),
            pid: HostPid(10),
            tid: HostTid(10),
            name: name.as_bytes(),
            is_exec: false,
        });
    }
    assert_eq!(tasks.comms.len(), 0, "none was sampled");
    assert_eq!(named(&mut tasks, 10), "9999");
}

#[test]
fn a_tid_that_another_process_has_now_is_not_its_former_owners_thread() {
    let mut tasks = Tasks::new();
    tasks.comm(&comm(10, b"old", false));
    tasks.fork(&Fork {
        parent_pid: HostPid(10),
        ..fork(3, 10, 12, 10)
    });
    assert!(tasks.thread(HostPid(10), HostTid(12)).is_some());
    // Its EXIT and the other's FORK were lost.
    assert!(tasks.thread(HostPid(20), HostTid(12)).is_none());
    tasks.comm(&Comm {
        tid: HostTid(12),
        ..comm(20, b"new", false)
    });
    assert!(tasks.thread(HostPid(20), HostTid(12)).is_some());
    let of = |tasks: &Tasks, pid| tasks.process(HostPid(pid)).map(|found| found.tids.clone());
    assert_eq!(of(&tasks, 10), Some(vec![HostTid(10)]));
    assert_eq!(of(&tasks, 20), Some(vec![HostTid(12)]));
}

#[test]
fn a_space_keeps_the_mappings_that_were_sampled_and_none_of_the_others() {
    let mut tasks = Tasks::new();
    tasks.comm(&comm(10, b"many", false));
    for at in 1..=1000_u64 {
        tasks.map(
            HostPid(10),
            Mapping {
                start: at << 12,
                end: (at + 1) << 12,
                ..mapping(at as u32)
            },
        );
    }
    let id = space(&mut tasks, 10);
    let kept = |tasks: &mut Tasks, addr| {
        tasks
            .keep_mapping(id, addr)
            .map(|(_, _, mapping)| mapping.backing)
    };
    assert_eq!(kept(&mut tasks, 0x5800), Some(Backing::Image(ImageId(5))));
    assert_eq!(kept(&mut tasks, 0x5900), Some(Backing::Image(ImageId(5))));
    assert_eq!(kept(&mut tasks, 0x9000), Some(Backing::Image(ImageId(9))));
    assert_eq!(kept(&mut tasks, 0x100), None);
    assert_eq!(tasks.space(id).map(|space| space.maps.len()), Some(2));
}

#[test]
fn a_process_that_maps_without_end_is_forgotten_and_asked_for_again() {
    let mut tasks = Tasks::new();
    tasks.comm(&comm(10, b"endless", false));
    let piece = |at: usize| Mapping {
        start: (at as u64) << 12,
        end: (at as u64 + 1) << 12,
        ..mapping(at as u32)
    };
    for at in 0..MAPPINGS_MAX {
        tasks.map(HostPid(10), piece(at));
    }
    assert!(tasks.thread(HostPid(10), HostTid(10)).is_some());
    tasks.map(HostPid(10), piece(MAPPINGS_MAX));
    assert!(tasks.thread(HostPid(10), HostTid(10)).is_none());
    assert_eq!(
        tasks.images_in_use(),
        HashSet::from([ImageId(MAPPINGS_MAX as u32)])
    );
}
