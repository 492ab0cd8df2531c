//! From events to stacks: which mapping an address is named by, and that all weights are counted.

use super::*;
use crate::lookup::Lookup;
use crate::name::Kallsyms;
use crate::recorded::KeepNames;
use crate::resolve::ResolveOptions;
use profiler::record::{Branches, Chain, Comm};
use profiler::{CodeAddr, HostTid};
use std::collections::BTreeMap;
use std::ops::Range;

const USER: u64 = -512_i64 as u64;
const PID: u32 = 7;

fn stamp(time_ns: u64) -> Stamp {
    Stamp {
        time_ns,
        pid: HostPid(PID),
        tid: HostTid(PID),
        cpu: 0,
    }
}

struct Recording {
    tally: Tally,
    time_ns: u64,
}

impl Recording {
    fn new(weight: Weight) -> Self {
        let counting = Counting {
            weight,
            ..Counting::of(Origin::File)
        };
        let tally = Tally::new(counting, Box::new(|_: &_| Selected::Yes));
        Self { tally, time_ns: 0 }
    }

    fn now(&mut self) -> Stamp {
        self.time_ns += 1;
        stamp(self.time_ns)
    }

    fn execs(&mut self) {
        let stamp = self.now();
        self.tally.event(&Event::Comm(Comm {
            stamp,
            pid: HostPid(PID),
            tid: HostTid(PID),
            name: b"program",
            is_exec: true,
        }));
    }

    fn maps(&mut self, avma: Range<u64>, path: &str) {
        let stamp = self.now();
        self.tally.event(&Event::Mapped(Mapped {
            stamp,
            pid: HostPid(PID),
            avma,
            file_offset_bytes: 0,
            file: MappedFile::PathOnly,
            path: path.as_bytes(),
            is_kernel: false,
        }));
    }

    /// Leaf first.
    fn sample(&mut self, addrs: &[u64], period: u64) {
        let stamp = self.now();
        let words = [USER].into_iter().chain(addrs.iter().copied());
        let words: Vec<_> = words.map(u64::to_ne_bytes).collect();
        self.tally.event(&Event::Sample(Sample {
            stamp,
            cgroup: None,
            period,
            ip: CodeAddr(0),
            chain: Chain { words: &words },
            event_id: None,
            read: None,
            branches: Branches::default(),
            user_registers: None,
            user_stack: &[],
        }));
    }

    /// How often each stack was sampled; its frames root first.
    fn ends(self) -> BTreeMap<String, u64> {
        let resolved = self.tally.close().resolve(ResolveOptions {
            tag: &mut |_| "host".into(),
            kallsyms: Ok(Kallsyms::recorded(&b""[..])),
            lookup: &Lookup::of_host(),
            build_ids: &[],
            max_stack: 127,
            known: None,
            snapshots: Vec::new(),
            held_maps: Vec::new(),
            keep_names: KeepNames::No,
        });
        let mut stacks = BTreeMap::new();
        for part in &resolved.parts {
            let mut path: Vec<String> = Vec::new();
            for stack in part.stacks() {
                path.truncate(stack.shared);
                path.extend(stack.frames.iter().map(|id| {
                    let name = &resolved.frames[id.0 as usize].name;
                    name.as_ref()
                        .map_or_else(ToString::to_string, ToString::to_string)
                }));
                *stacks.entry(path.join(" ")).or_default() += stack.weight;
            }
        }
        stacks
    }
}

fn of<const N: usize>(stacks: [(&str, u64); N]) -> BTreeMap<String, u64> {
    stacks
        .map(|(stack, weight)| (stack.to_owned(), weight))
        .into()
}

#[test]
fn a_mapping_names_what_is_sampled_from_then_on_in_stacks_that_were_seen_before_too() {
    let mut recording = Recording::new(Weight::Samples);
    recording.execs();
    recording.maps(0x1000..0x2000, "/program");
    for _ in 0..3 {
        recording.sample(&[0x5008, 0x1010], 1);
    }
    // Elsewhere.
    recording.maps(0x9000..0xa000, "/other");
    recording.sample(&[0x5008, 0x1010], 1);
    recording.maps(0x4000..0x6000, "/library");
    for _ in 0..5 {
        recording.sample(&[0x5008, 0x1010], 1);
    }
    let stacks = recording.ends();
    let expected = [
        ("[gone program] [unmapped]", 4),
        ("[gone program] [gone library]", 5),
    ];
    assert_eq!(stacks, of(expected));
}

#[test]
fn what_is_located_in_the_background_is_what_was_mapped_when_it_was_sampled() {
    const STEPS: u64 = 40;
    // More than go on together, so that some are located when a mapping comes and some are not.
    const STACKS: u64 = 700;
    let mut recording = Recording::new(Weight::Samples);
    recording.execs();
    recording.maps(0x1000..0x8000, "/program");
    let page = |step: u64| 0x10_0000 + (step << 12);
    for step in 0..STEPS {
        // Of the page that is mapped next, and of one that is mapped last.
        let stack = |leaf: u64| {
            [
                0x1010 + leaf,
                page(step) + 8,
                0x1010,
                page(STEPS) + 8,
                0x1010,
            ]
        };
        for leaf in 0..STACKS {
            recording.sample(&stack(leaf), 1);
        }
        recording.maps(page(step)..page(step + 1), "/library");
        for leaf in 0..STACKS {
            recording.sample(&stack(leaf), 1);
        }
    }
    recording.maps(page(STEPS)..page(STEPS + 1), "/last");
    let stacks = recording.ends();
    let expected = [
        ("[unmapped] [gone program]", STEPS * STACKS),
        ("[gone library] [gone program]", STEPS * STACKS),
    ]
    .map(|(stack, weight)| {
        let root = "[gone program] [unmapped] [gone program]";
        (format!("{root} {stack}"), weight)
    });
    // Each address is a stack of its own, of one name.
    assert_eq!(stacks, expected.into());
}

#[test]
fn what_replaces_a_mapping_names_only_what_is_sampled_behind_it() {
    let mut recording = Recording::new(Weight::Samples);
    recording.execs();
    for round in 0..2_000 {
        let path = ["/even", "/odd"][round % 2];
        recording.maps(0x1000..0x2000, path);
        recording.sample(&[0x1010], 1);
    }
    recording.execs();
    recording.sample(&[0x1010], 1);
    let expected = [
        ("[gone even]", 1_000),
        ("[gone odd]", 1_000),
        ("[unmapped]", 1),
    ];
    assert_eq!(recording.ends(), of(expected));
}

#[test]
fn stacks_that_were_forgotten_keep_their_weights() {
    let mut recording = Recording::new(Weight::Period);
    recording.execs();
    recording.maps(0x1000..0x2000, "/program");
    recording.maps(0x10_0000..0x1000_0000, "/large");
    // More than are known at a time.
    let many = 700_000;
    recording.sample(&[0x1010], u64::from(u32::MAX));
    for stack in 0..many {
        recording.sample(&[0x10_0000 + stack, 0x1011], 2);
    }
    recording.sample(&[0x1010], 10);
    for stack in 0..many {
        recording.sample(&[0x10_0000 + stack, 0x1011], 1);
    }
    let expected = [
        ("[gone program]", u64::from(u32::MAX) + 10),
        ("[gone program] [gone large]", 3 * many),
    ];
    assert_eq!(recording.ends(), of(expected));
}
