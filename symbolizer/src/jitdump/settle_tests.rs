//! Samples of processes that have dumps, from events to named frames.

use super::super::parse::tests::Writer;
use super::*;
use crate::choice::Counting;
use crate::context::Origin;
use crate::context::Selected;
use crate::lookup::LookupPlaces;
use crate::lookup::RecordedOn;
use crate::recorded::{KeepNames, Kept};
use crate::resolve::ResolveOptions;
use crate::stack::Resolved;
use profiler::live::EventSink;
use profiler::record::{Branches, Chain, Comm, Event, Fork, Mapped, MappedFile, Sample, Stamp};
use profiler::{CodeAddr, HostTid};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// The code of all processes here: a piece at the beginning, all of it anonymous.
const CODE: u64 = 0x10_0000;
/// Where their dumps are mapped.
const MARKER: u64 = 0x70_0000;
const USER: u64 = -512_i64 as u64;

/// A recording in the making, of processes whose dumps lie in a directory.
struct Recording {
    dir: TempDir,
    tally: Tally,
}

fn stamp(pid: u32, time_ns: u64) -> Stamp {
    Stamp {
        time_ns,
        pid: HostPid(pid),
        tid: HostTid(pid),
        cpu: 0,
    }
}

impl Recording {
    fn new(clock: RecordingClock) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("tmp")).expect("ours");
        let mut tally = Tally::new(Counting::of(Origin::File), Box::new(|_: &_| Selected::Yes));
        let lookup = Lookup::open(LookupPlaces {
            symfs: Some(dir.path().to_owned()),
            ..LookupPlaces::default()
        });
        tally.read_dumps(&JitDumpOptions {
            lookup: &lookup.expect("a directory"),
            arch: Some("x86_64"),
            clock,
            turn: Turn::First,
        });
        Self { dir, tally }
    }

    fn dump(&self, pid: u32) -> PathBuf {
        self.dir.path().join(format!("tmp/jit-{pid}.dump"))
    }

    fn execs(&mut self, pid: u32, time_ns: u64) {
        self.tally.event(&Event::Comm(Comm {
            stamp: stamp(pid, time_ns),
            pid: HostPid(pid),
            tid: HostTid(pid),
            name: b"jit",
            is_exec: true,
        }));
        self.maps(pid, time_ns, (CODE, 0x1_0000), "//anon");
    }

    fn maps(&mut self, pid: u32, time_ns: u64, (start, len): (u64, u64), path: &str) {
        self.tally.event(&Event::Mapped(Mapped {
            stamp: stamp(pid, time_ns),
            pid: HostPid(pid),
            avma: start..start + len,
            file_offset_bytes: 0,
            file: MappedFile::PathOnly,
            path: path.as_bytes(),
            is_kernel: false,
        }));
    }

    fn maps_its_dump(&mut self, pid: u32, time_ns: u64) {
        let path = format!("/tmp/jit-{pid}.dump");
        self.maps(pid, time_ns, (MARKER, 0x1000), &path);
    }

    fn sample(&mut self, pid: u32, time_ns: u64, addrs: &[u64]) {
        let words = [USER].into_iter().chain(addrs.iter().copied());
        let words: Vec<_> = words.map(u64::to_ne_bytes).collect();
        self.tally.event(&Event::Sample(Sample {
            stamp: stamp(pid, time_ns),
            cgroup: None,
            period: 1,
            ip: CodeAddr(0),
            chain: Chain { words: &words },
            event_id: None,
            read: None,
            branches: Branches::default(),
            user_registers: None,
            user_stack: &[],
        }));
    }

    fn ends(self) -> Named {
        let mut resolved = self.tally.close().resolve(ResolveOptions {
            tag: &mut |_| "box".into(),
            kallsyms: Err("none".into()),
            lookup: &Lookup::of_host().recorded(RecordedOn::Elsewhere),
            build_ids: &[],
            max_stack: 127,
            known: None,
            snapshots: Vec::new(),
            held_maps: Vec::new(),
            keep_names: KeepNames::Yes,
        });
        Named {
            stacks: shown(&resolved),
            kept: resolved.kept.take(),
            notes: resolved.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What became of it.
struct Named {
    /// Frames, root first, with their weight.
    stacks: BTreeMap<String, u64>,
    kept: Option<Kept>,
    notes: Vec<String>,
}

fn shown(resolved: &Resolved) -> BTreeMap<String, u64> {
    let mut stacks = BTreeMap::new();
    for part in &resolved.parts {
        let mut frames = Vec::new();
        for stack in part.stacks() {
            frames.truncate(stack.shared);
            frames.extend(stack.frames.iter().map(|id| {
                let frame = &resolved.frames[id.0 as usize];
                match &frame.name {
                    Ok(name) => name.to_string(),
                    Err(reason) => reason.to_string(),
                }
            }));
            *stacks.entry(frames.join(";")).or_insert(0) += stack.weight;
        }
    }
    stacks
}

fn of<const N: usize>(stacks: [(&str, u64); N]) -> BTreeMap<String, u64> {
    stacks
        .map(|(stack, weight)| (stack.to_owned(), weight))
        .into()
}

#[test]
fn a_stack_is_named_by_what_was_at_its_addresses_at_its_time() {
    let mut recording = Recording::new(RecordingClock::Monotonic);
    let mut dump = Writer::new(7);
    dump.load(10, CODE, 0x100, "caller");
    dump.load(20, CODE + 0x100, 0x100, "first");
    dump.load(200, CODE + 0x100, 0x100, "second");
    fs::write(recording.dump(7), &dump.bytes).expect("ours");
    recording.execs(7, 1);
    // Before it says where its dump is, and after.
    let stack = [CODE + 0x1ff, CODE + 0x100];
    recording.sample(7, 30, &stack);
    recording.maps_its_dump(7, 40);
    for time_ns in [50, 51, 199, 200, 300] {
        recording.sample(7, time_ns, &stack);
    }
    // A word that no address is, put where a return address is looked for.
    recording.sample(7, 301, &[CODE, 0x4a49_0000_0000_0001]);
    let named = recording.ends();
    assert_eq!(
        named.stacks,
        of([
            ("[jit, no map];[jit, no map]", 1),
            ("caller;first", 3),
            ("caller;second", 2),
            ("[unmapped];caller", 1),
        ])
    );
}

#[test]
fn another_process_under_its_pid_and_a_child_have_nothing_of_its_dump() {
    let mut recording = Recording::new(RecordingClock::Monotonic);
    let mut dump = Writer::new(7);
    dump.load(10, CODE, 0x100, "old");
    fs::write(recording.dump(7), &dump.bytes).expect("ours");
    recording.execs(7, 1);
    recording.maps_its_dump(7, 20);
    recording.sample(7, 30, &[CODE]);
    recording.tally.event(&Event::Fork(Fork {
        stamp: stamp(8, 40),
        pid: HostPid(8),
        tid: HostTid(8),
        parent_pid: HostPid(7),
        parent_tid: HostTid(7),
    }));
    recording.sample(8, 50, &[CODE]);
    recording.execs(7, 60);
    recording.sample(7, 70, &[CODE]);
    let named = recording.ends();
    assert_eq!(named.stacks, of([("old", 1), ("[jit, no map]", 2)]));
}

#[test]
fn functions_of_one_name_are_one_frame_in_all_processes() {
    let mut recording = Recording::new(RecordingClock::Monotonic);
    for pid in [7, 8] {
        let mut dump = Writer::new(pid);
        dump.load(10, CODE + u64::from(pid) * 0x100, 0x100, "shared");
        fs::write(recording.dump(pid), &dump.bytes).expect("ours");
        recording.execs(pid, 1);
        recording.maps_its_dump(pid, 20);
        recording.sample(pid, 30, &[CODE + u64::from(pid) * 0x100]);
    }
    let counted = recording.tally.close();
    let stacks: usize = counted
        .located
        .finish()
        .stacks
        .into_parts(1)
        .iter()
        .map(|part| part.stacks().count())
        .sum();
    assert_eq!(stacks, 1);
}

#[test]
fn a_file_that_is_mapped_hides_the_code_that_was_there_and_anonymous_memory_does_not() {
    let mut recording = Recording::new(RecordingClock::Monotonic);
    let mut dump = Writer::new(7);
    dump.load(10, CODE, 0x1000, "code");
    dump.load(300, CODE, 0x100, "late");
    fs::write(recording.dump(7), &dump.bytes).expect("ours");
    recording.execs(7, 1);
    recording.maps_its_dump(7, 20);
    recording.sample(7, 30, &[CODE]);
    recording.maps(7, 40, (CODE, 0x1000), "//anon");
    recording.sample(7, 50, &[CODE]);
    recording.maps(7, 100, (CODE, 0x1000), "/lib/plugin.so");
    recording.sample(7, 200, &[CODE]);
    // Built-in functions lie in the program's own file.
    recording.sample(7, 300, &[CODE]);
    let named = recording.ends();
    let gone = "[gone plugin.so]";
    assert_eq!(named.stacks, of([("code", 2), (gone, 1), ("late", 1)]));
}

#[test]
fn of_another_clock_the_last_record_names_an_address_and_that_is_said_once() {
    let mut recording = Recording::new(RecordingClock::Other);
    for pid in [7, 8] {
        let mut dump = Writer::new(pid);
        dump.load(1_000_000, CODE, 0x100, "first");
        dump.load(999_999, CODE, 0x100, "last");
        fs::write(recording.dump(pid), &dump.bytes).expect("ours");
        recording.execs(pid, 1);
        recording.maps_its_dump(pid, 20);
        recording.sample(pid, 30, &[CODE]);
    }
    let named = recording.ends();
    assert_eq!(named.stacks, of([("last", 2)]));
    assert_eq!(named.notes.len(), 1, "{:?}", named.notes);
    assert!(named.notes[0].contains("-k mono"), "{:?}", named.notes);
}

#[test]
fn samples_beyond_the_limit_are_counted_by_what_their_dump_says_by_then() {
    let mut recording = Recording::new(RecordingClock::Monotonic);
    let mut dump = Writer::new(7);
    dump.load(10, CODE, 0x100, "flushed");
    fs::write(recording.dump(7), &dump.bytes).expect("ours");
    recording.execs(7, 1);
    recording.maps_its_dump(7, 20);
    let half = STEPS_MAX as u64 / 2;
    for number in 0..3 * half {
        recording.sample(7, 100 + number, &[CODE]);
    }
    assert_eq!(recording.tally.counts().drawn, 3 * half);
    let waiting = recording
        .tally
        .jits
        .waiting(DumpId(0))
        .map(|waiting| waiting.len());
    assert!(waiting.is_some_and(|waiting| waiting <= STEPS_MAX + LOOK_EVERY as usize));
    // What its JIT had in its buffer until now: of a time of which all was counted, and of a later one.
    dump.load(100 + half / 2, CODE, 0x100, "late");
    dump.load(100 + 2 * half, CODE, 0x100, "in time");
    fs::write(recording.dump(7), &dump.bytes).expect("ours");
    let named = recording.ends();
    let weight = |name: &str| named.stacks.get(name).copied().unwrap_or(0);
    assert_eq!(weight("in time"), half);
    assert_eq!(weight("flushed") + weight("late"), 2 * half);
    assert!(
        weight("flushed") > half / 2 && weight("late") > 0,
        "{:?}",
        named.stacks
    );
    assert_eq!(named.stacks.len(), 3);
}

#[test]
fn a_process_that_maps_files_without_end_fills_no_memory() {
    let mut recording = Recording::new(RecordingClock::Monotonic);
    let mut dump = Writer::new(7);
    dump.load(10, CODE, 0x100, "code");
    fs::write(recording.dump(7), &dump.bytes).expect("ours");
    recording.execs(7, 1);
    recording.maps_its_dump(7, 20);
    recording.sample(7, 30, &[CODE]);
    for number in 0..2 * STEPS_MAX as u64 {
        recording.maps(7, 40 + number, (CODE + 0x1000, 0x1000), "/lib/plugin.so");
    }
    let waiting = recording
        .tally
        .jits
        .waiting(DumpId(0))
        .map(|waiting| waiting.len());
    assert!(waiting.is_some_and(|waiting| waiting <= STEPS_MAX + LOOK_EVERY as usize));
    recording.sample(7, 1 << 40, &[CODE]);
    assert_eq!(recording.ends().stacks, of([("code", 2)]));
}

#[test]
fn a_dump_that_is_not_there_or_not_its_own_is_said_and_names_nothing() {
    let mut recording = Recording::new(RecordingClock::Monotonic);
    let dump = Writer::new(9);
    fs::write(recording.dump(8), &dump.bytes).expect("ours");
    let mut late = Writer::new(10);
    late.load(1 << 60, CODE, 0x100, "of another clock");
    late.load(1 << 60, CODE, 0, "without code");
    fs::write(recording.dump(10), &late.bytes).expect("ours");
    for pid in [7, 8, 10] {
        recording.execs(pid, 1);
        recording.maps_its_dump(pid, 20);
        recording.sample(pid, 30, &[CODE]);
    }
    let named = recording.ends();
    assert_eq!(named.stacks, of([("[jit, no map]", 3)]));
    let wanted = [
        ("box: /tmp/jit-7.dump: ", "it is not there"),
        (
            "box: /tmp/jit-8.dump: ",
            "jitdump of process 9, mapped by process 8",
        ),
        ("box: /tmp/jit-10.dump: ", "1 records not understood"),
        ("box: /tmp/jit-10.dump: ", "of another clock"),
    ];
    for (begins, has) in wanted {
        let mut notes = named.notes.iter();
        let is_there = notes.any(|note| note.starts_with(begins) && note.contains(has));
        assert!(is_there, "{begins}{has}: {:?}", named.notes);
    }
}

#[test]
fn a_recording_that_carries_the_names_is_named_as_it_was_without_the_dump() {
    let tell = |recording: &mut Recording| {
        recording.execs(7, 1);
        recording.maps_its_dump(7, 20);
        for time_ns in [30, 60, 80, 130, 180] {
            recording.sample(7, time_ns, &[CODE + 0x10, CODE + 0x200, CODE + 0x5000]);
        }
        recording.maps(7, 200, (CODE, 0x1_0000), "/lib/plugin.so");
        recording.sample(7, 230, &[CODE + 0x10]);
        recording.maps(7, 240, (CODE, 0x1_0000), "//anon");
        recording.sample(7, 250, &[CODE + 0x10]);
    };
    let mut recording = Recording::new(RecordingClock::Monotonic);
    recording.tally.tap(Box::new(|_| {}));
    let mut dump = Writer::new(7);
    dump.load(10, CODE + 0x100, 0x100, "caller");
    dump.load(50, CODE, 0x100, "first");
    dump.load(100, CODE, 0x100, "second");
    dump.moved(150, (CODE + 0x100, CODE), 0x100);
    fs::write(recording.dump(7), &dump.bytes).expect("ours");
    tell(&mut recording);
    let named = recording.ends();
    let leaves = ["[jit, no map]", "first", "second", "caller"];
    for (leaf, weight) in leaves.into_iter().zip([1, 2, 1, 1]) {
        let stack = format!("[jit, no map];caller;{leaf}");
        assert_eq!(
            named.stacks.get(&stack),
            Some(&weight),
            "{:?}",
            named.stacks
        );
    }

    let sidecar = named.kept.expect("it was asked for").sidecar.finish();
    let mut again = Recording::new(RecordingClock::Monotonic);
    again
        .tally
        .know_tags(RecordedTags::Known(Arc::new(sidecar)));
    tell(&mut again);
    let again = again.ends();
    assert_eq!(again.stacks, named.stacks);
    assert!(
        !again.notes.iter().any(|note| note.contains("jit-7")),
        "{:?}",
        again.notes
    );
}

#[test]
fn what_is_mapped_later_does_not_name_a_sample_that_waited() {
    let mut recording = Recording::new(RecordingClock::Monotonic);
    let mut dump = Writer::new(7);
    dump.load(10, CODE, 0x100, "caller");
    fs::write(recording.dump(7), &dump.bytes).expect("ours");
    recording.execs(7, 1);
    recording.maps_its_dump(7, 20);
    recording.sample(7, 30, &[CODE, 0x90_0010]);
    recording.maps(7, 40, (0x90_0000, 0x1000), "/nowhere/later");
    recording.sample(7, 50, &[CODE, 0x90_0010]);
    let named = recording.ends();
    let expected = [("[unmapped];caller", 1), ("[gone later];caller", 1)];
    assert_eq!(named.stacks, of(expected));
}
