//! What a recording keeps is what it says when it is read again.

use super::*;
use crate::choice::Counting;
use crate::context::{Origin, Selected};
use crate::lookup::Lookup;
use crate::name::Kallsyms;
use crate::resolve::ResolveOptions;
use crate::stack::Resolved;
use crate::stack::{FrameKind, LayerKind};
use crate::tally::Tally;
use profiler::live::EventSink;
use profiler::record::{Branches, Chain, Comm, Event, Mapped, MappedFile, Sample, Stamp};
use profiler::{CgroupId, CodeAddr, HostTid};
use std::cell::RefCell;
use std::rc::Rc;

fn stamp(time_ns: u64) -> Stamp {
    Stamp {
        time_ns,
        pid: HostPid(7),
        tid: HostTid(7),
        cpu: 0,
    }
}

/// A program of one image, one stretch of generated code, and stacks through both and the kernel.
fn tell(tally: &mut Tally) {
    tally.event(&Event::Comm(Comm {
        stamp: stamp(1),
        pid: HostPid(7),
        tid: HostTid(7),
        name: b"hot",
        is_exec: true,
    }));
    let inode = |inode| MappedFile::Inode {
        major: 8,
        minor: 1,
        inode,
        generation: 0,
    };
    for (start, file, path) in [
        (0x10_0000, inode(99), &b"/nowhere/hot"[..]),
        (0x20_0000, inode(0), b"//anon"),
    ] {
        tally.event(&Event::Mapped(Mapped {
            stamp: stamp(2),
            pid: HostPid(7),
            avma: start..start + 0x1000,
            file_offset_bytes: 0,
            file,
            path,
            is_kernel: false,
        }));
    }
    let words = [
        -128_i64 as u64,
        0xffff_ffff_8100_0010,
        0xffff_ffff_8200_0001,
        -512_i64 as u64,
        0x20_0010,
        0x10_0011,
    ]
    .map(u64::to_ne_bytes);
    tally.event(&Event::Sample(Sample {
        stamp: stamp(3),
        cgroup: Some(CgroupId(5)),
        period: 1,
        ip: CodeAddr(0xffff_ffff_8100_0010),
        chain: Chain { words: &words },
        event_id: None,
        read: None,
        branches: Branches::default(),
        user_registers: None,
        user_stack: &[],
    }));
}

fn new_tally() -> Tally {
    Tally::new(Counting::of(Origin::File), Box::new(|_: &_| Selected::Yes))
}

fn resolve(known: Option<Known<'_>>, tag: &str, keep_names: KeepNames) -> Resolved {
    let mut tally = new_tally();
    tell(&mut tally);
    let kallsyms = b"ffffffff81000000 T here\nffffffff81000100 T _etext\n";
    tally.close().resolve(ResolveOptions {
        tag: &mut |_| tag.into(),
        kallsyms: Ok(Kallsyms::recorded(&kallsyms[..])),
        lookup: &Lookup::of_host(),
        build_ids: &[],
        max_stack: 127,
        known,
        snapshots: Vec::new(),
        held_maps: Vec::new(),
        keep_names,
    })
}

/// Tag, thread, frames root first.
fn shown(resolved: &Resolved) -> Vec<String> {
    let part = resolved.parts.first().expect("one stack");
    let stack = part.stacks().next().expect("one stack");
    let layers = resolved.contexts[stack.context].iter();
    let frames = stack.frames.iter().map(|id| {
        let frame = &resolved.frames[id.0 as usize];
        match &frame.name {
            Ok(name) => format!("{name} {:?}", frame.kind),
            Err(reason) => format!("{reason} {:?}", frame.kind),
        }
    });
    let layers = layers.map(|layer| layer.label.to_string());
    layers.chain(frames).collect()
}

/// As a recording that named everything would have kept it.
fn sidecar(names: [&str; 4]) -> Sidecar {
    let kept = resolve(None, "runc:web", KeepNames::Yes).kept;
    let mut builder = kept.expect("it was asked for").sidecar;
    let [image, generated, far, near] = names.map(|name| {
        let frame = Frame::new(Ok(name.into()), FrameKind::Native);
        frames_id(&mut builder, &frame)
    });
    let kept = &mut builder.sidecar;
    kept.images[0].1[0].1 = image;
    kept.generated[0].1[0].1 = generated;
    for (addr, frames) in &mut kept.kernel {
        *frames = match *addr {
            0xffff_ffff_8100_0010 => near,
            _ => far,
        };
    }
    builder.finish()
}

#[test]
fn what_is_kept_is_drawn_again_reasons_and_all() {
    let first = resolve(None, "runc:web", KeepNames::Yes);
    let expected = [
        "runc:web",
        "hot",
        "[gone hot] Native",
        "[jit, no map] Jit",
        "[kernel] Kernel",
        "here Kernel",
    ];
    assert_eq!(shown(&first), expected);
    let kept = first.kept.as_ref().expect("it was asked for");
    assert_eq!(kept.build_ids, []);
    let sidecar = first.kept.expect("it was asked for").sidecar.finish();
    let known = Known {
        sidecar: &sidecar,
        turn: Turn::First,
    };
    let again = resolve(Some(known), "another host's", KeepNames::No);
    assert!(again.kept.is_none());
    let part = again.parts.first().expect("one stack");
    assert_eq!(part.stacks().count(), 1);
    assert_eq!(shown(&again), expected);
    assert_eq!(again.problems.len(), 0, "nothing was looked up");
}

#[test]
fn names_that_came_with_a_recording_are_taken_first_or_where_nothing_else_is() {
    let sidecar = sidecar(["main", "jitted", "far", "near"]);
    let with = |turn| {
        let known = Known {
            sidecar: &sidecar,
            turn,
        };
        let resolved = resolve(Some(known), "here", KeepNames::No);
        shown(&resolved).split_off(2)
    };
    let recorded = ["main Native", "jitted Native", "far Native", "near Native"];
    assert_eq!(with(Turn::First), recorded);
    let found = ["main Native", "jitted Native", "far Native", "here Kernel"];
    assert_eq!(with(Turn::Last), found);
}

#[test]
fn what_is_tapped_counts_the_same_again_and_what_is_outside_is_not_in_it() {
    for selected in [Selected::Yes, Selected::No] {
        let told = Rc::new(RefCell::new(Vec::new()));
        let mut tally = Tally::new(Counting::of(Origin::File), Box::new(move |_: &_| selected));
        let tapped = Rc::clone(&told);
        tally.tap(Box::new(move |told| {
            let crate::Told::Event(event) = told else {
                panic!("nothing waits: {told:?}");
            };
            tapped.borrow_mut().push(match event {
                Event::Comm(_) => "comm",
                Event::Mapped(_) => "mapped",
                Event::Sample(_) => "sample",
                Event::Cgroup(_) => "cgroup",
                _ => "another",
            });
        }));
        tally.know_cgroup(CgroupId(5), "/docker/x");
        tally.know_cgroup(CgroupId(5), "/docker/x");
        tell(&mut tally);
        let mut expected = vec!["cgroup", "comm", "mapped", "mapped", "sample"];
        if selected == Selected::No {
            expected.pop();
        }
        assert_eq!(*told.borrow(), expected);
    }
}

#[test]
fn processes_of_one_cgroup_and_name_stay_in_their_containers() {
    // As on a host whose containers have no cgroup that perf_event knows.
    let mut builder = SidecarBuilder::default();
    for (pid, tag) in [(7, "runc:web"), (8, "runc:db")] {
        let tag = builder.text(tag);
        builder.sidecar.tags.push(Tagged {
            space: SpaceKey {
                pid: HostPid(pid),
                began_ns: 3,
            },
            cgroup: Some(CgroupId(1)),
            tag,
        });
    }
    let sidecar = Arc::new(builder.finish());
    for recorded in [
        RecordedTags::Known(Arc::clone(&sidecar)),
        RecordedTags::Later,
    ] {
        let mut tally = new_tally();
        tally.know_tags(recorded.clone());
        for (pid, samples) in [(7, 3), (8, 5)] {
            let stamp = Stamp {
                time_ns: 3,
                pid: HostPid(pid),
                tid: HostTid(pid),
                cpu: 0,
            };
            tally.event(&Event::Comm(Comm {
                stamp,
                pid: HostPid(pid),
                tid: HostTid(pid),
                name: b"hot",
                is_exec: true,
            }));
            let words = [-512_i64, 0x10].map(i64::to_ne_bytes);
            for _ in 0..samples {
                tally.event(&Event::Sample(Sample {
                    stamp,
                    cgroup: Some(CgroupId(1)),
                    period: 1,
                    ip: CodeAddr(0x10),
                    chain: Chain { words: &words },
                    event_id: None,
                    read: None,
                    branches: Branches::default(),
                    user_registers: None,
                    user_stack: &[],
                }));
            }
        }
        let resolved = tally.close().resolve(ResolveOptions {
            tag: &mut |_| "host".into(),
            kallsyms: Err("none".into()),
            lookup: &Lookup::of_host(),
            build_ids: &[],
            max_stack: 127,
            known: Some(Known {
                sidecar: &sidecar,
                turn: Turn::First,
            }),
            snapshots: Vec::new(),
            held_maps: Vec::new(),
            keep_names: KeepNames::No,
        });
        let stacks = resolved.parts.iter().flat_map(|part| part.stacks());
        let mut tags: Vec<(String, u64)> = stacks
            .map(|stack| {
                let mut layers = resolved.contexts[stack.context].iter();
                let tag = layers.find(|layer| layer.kind == LayerKind::Container);
                (tag.expect("a container").label.to_string(), stack.weight)
            })
            .collect();
        tags.sort();
        let expected = [("runc:db".to_owned(), 5), ("runc:web".to_owned(), 3)];
        assert_eq!(tags, expected, "{recorded:?}");
    }
}
