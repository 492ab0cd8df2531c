//! What is written is delivered again: the same events, in the same order.

use super::super::about::ImageBuildId;
use super::super::{Outcome, PerfDataError, ReadOptions, Recording};
use super::*;
use crate::live::{KernelMap, KernelSamples, SampledEvent};
use crate::perfdata::sidecar::SidecarBuilder;
use crate::record::{
    Branches, CgroupSeen, Chain, Comm, EventSink, Fork, Ksymbol, Lost, Mapped, MappedFile,
    NamespacesSeen, NsLink, Sample, Throttle,
};
use crate::{BuildId, CgroupId, CodeAddr, HostTid, MntNs};
use std::io::Cursor;

/// What was delivered, in words: what an event lends is gone afterwards.
#[derive(Default)]
struct Seen(Vec<String>);

impl EventSink for Seen {
    fn event(&mut self, event: &Event<'_>) {
        self.0.push(format!("{event:?}"));
    }
}

fn stamp(time_ns: u64) -> Stamp {
    Stamp {
        time_ns,
        pid: HostPid(7),
        tid: HostTid(8),
        cpu: 1,
    }
}

/// As of what is read of /proc.
fn untimed() -> Stamp {
    Stamp {
        cpu: u32::MAX,
        ..stamp(0)
    }
}

const WORDS: [[u8; 8]; 3] = [
    (-128_i64).to_ne_bytes(),
    0xffff_ffff_8100_0010_u64.to_ne_bytes(),
    (-512_i64).to_ne_bytes(),
];

fn sample(time_ns: u64) -> Event<'static> {
    Event::Sample(Sample {
        stamp: stamp(time_ns),
        cgroup: Some(CgroupId(42)),
        period: 10_101_010,
        ip: CodeAddr(0xffff_ffff_8100_0010),
        chain: Chain { words: &WORDS },
        event_id: None,
        read: None,
        branches: Branches { words: &[] },
        user_registers: None,
        user_stack: &[],
    })
}

/// One of each, in an order that times do not tell.
fn events() -> Vec<Event<'static>> {
    let task = |stamp| Fork {
        stamp,
        pid: HostPid(20),
        tid: HostTid(21),
        parent_pid: HostPid(7),
        parent_tid: HostTid(8),
    };
    let comm = |stamp, is_exec| {
        Event::Comm(Comm {
            stamp,
            pid: HostPid(7),
            tid: HostTid(8),
            name: b"a b\xff\n",
            is_exec,
        })
    };
    let mapped = |stamp, file| {
        Event::Mapped(Mapped {
            stamp,
            pid: HostPid(7),
            avma: 0x7f00_0000_1000..0x7f00_0000_3000,
            file_offset_bytes: 0x2000,
            file,
            path: b"/usr/lib/my lib.so",
            is_kernel: false,
        })
    };
    let build_id = BuildId::new(&[3; 8]).expect("a build id");
    let inode = MappedFile::Inode {
        major: 254,
        minor: 1,
        inode: 1234,
        generation: 9,
    };
    vec![
        comm(untimed(), false),
        mapped(untimed(), inode),
        sample(1000),
        comm(stamp(1100), true),
        mapped(stamp(1200), MappedFile::BuildId(build_id)),
        Event::Fork(task(stamp(1300))),
        // A process that was met by its sample.
        Event::Fork(task(untimed())),
        // Late.
        Event::Exit(task(stamp(1250))),
        Event::Namespaces(NamespacesSeen {
            stamp: stamp(1400),
            pid: HostPid(7),
            mnt: Some(MntNs(5)),
            links: std::array::from_fn(|at| NsLink {
                dev: 4,
                inode: at as u64,
            }),
        }),
        Event::Cgroup(CgroupSeen {
            stamp: stamp(1500),
            id: CgroupId(42),
            path: b"/docker/12345678",
        }),
        Event::Ksymbol(Ksymbol {
            stamp: stamp(1600),
            addr: CodeAddr(0xffff_ffff_c000_0000),
            len_bytes: 64,
            kind: 1,
            name: b"bpf_prog_x",
            is_unregister: true,
        }),
        Event::Lost(Lost {
            stamp: stamp(1700),
            count: 3,
        }),
        Event::Throttle(Throttle {
            stamp: stamp(1750),
            is_end: false,
        }),
        Event::Throttle(Throttle {
            stamp: stamp(1760),
            is_end: true,
        }),
        sample(1800),
    ]
}

fn origin() -> Origin {
    Origin {
        hostname: "h".into(),
        os_release: "6.1.0".into(),
        arch: "x86_64".into(),
        cpus: (4, 2),
        cpu_name: "a CPU".into(),
        cpu_id: "Vendor,6,85,7".into(),
        memory_kib: 1024,
        recorder: "ctrflame 9".into(),
        command_line: vec!["ctrflame".into(), "record".into()],
        wall_clock_ns: (1_700_000_000_000_000_000, 1000),
        clock_resolution_ns: 1,
    }
}

fn kernel() -> KernelMaps {
    KernelMaps {
        maps: vec![KernelMap {
            start: 0xffff_ffff_8100_0000,
            len_bytes: 0x100_0000,
            offset: 0xffff_ffff_8100_0000,
            path: "[kernel.kallsyms]_text".into(),
            build_id: BuildId::new(&[9; 20]),
        }],
    }
}

fn no_links(_: HostPid) -> NsLinks {
    NsLinks::default()
}

fn sampled() -> Sampled {
    Sampled {
        event: SampledEvent::CpuClock,
        rate_hz: 99,
        kernel: KernelSamples::Include,
        max_stack: 127,
    }
}

fn sidecar() -> Sidecar {
    let mut builder = SidecarBuilder::default();
    builder.text("host");
    builder.sidecar.max_stack = 127;
    builder.finish()
}

fn written(events: &[Event<'_>], lost: u64) -> Vec<u8> {
    let mut writer = Writer::with_links(Cursor::new(Vec::new()), &kernel(), no_links);
    for event in events {
        writer.event(event);
    }
    finished(writer, lost)
}

fn finished(writer: Writer<Cursor<Vec<u8>>>, lost: u64) -> Vec<u8> {
    let image = ImageBuildId {
        pid: -1,
        id: BuildId::new(&[1; 20]).expect("a build id"),
        path: b"/bin/sh".to_vec(),
        is_kernel: false,
    };
    let ending = Ending {
        sampled: sampled(),
        origin: &origin(),
        lost,
        build_ids: &[image],
        sidecar: &sidecar(),
    };
    let file = writer.finish(&ending).expect("memory takes all of it");
    file.into_inner()
}

fn read(file: Vec<u8>) -> Result<(Vec<String>, Outcome), PerfDataError> {
    let mut seen = Seen::default();
    let recording = Recording::from_stream(Box::new(Cursor::new(file)))?;
    let outcome = recording.read(&ReadOptions::default(), &mut seen)?;
    Ok((seen.0, outcome))
}

#[test]
fn what_was_delivered_is_delivered_again_in_the_same_order() {
    let (seen, outcome) = read(written(&events(), 0)).expect("our own file");
    let told: Vec<String> = events().iter().map(|event| format!("{event:?}")).collect();
    // The kernel's mapping goes before.
    assert_eq!(seen.get(1..), Some(told.as_slice()));
    assert!(
        seen.first()
            .is_some_and(|first| first.contains("is_kernel: true"))
    );
    assert_eq!((outcome.samples, outcome.late), (vec![2], 0));
}

#[test]
fn a_recording_says_where_and_how_it_was_made() {
    let (_, outcome) = read(written(&events(), 0)).expect("our own file");
    let about = outcome.about;
    assert_eq!(about.unreadable, []);
    assert_eq!(about.hostname.as_deref(), Some("h"));
    assert_eq!(about.os_release.as_deref(), Some("6.1.0"));
    assert_eq!(about.arch.as_deref(), Some("x86_64"));
    assert_eq!(about.perf_version.as_deref(), Some("ctrflame 9"));
    assert_eq!(about.cpus, Some((4, 2)));
    assert_eq!(about.command_line, ["ctrflame", "record"]);
    assert_eq!(about.sample_time_ns, Some((1000, 1800)));
    assert_eq!(about.clock_id, Some(1));
    assert_eq!(about.wall_clock_ns, Some((1_700_000_000_000_000_000, 1000)));
    let images = about.build_ids.iter();
    let images: Vec<_> = images
        .map(|image| (image.path.as_slice(), image.is_kernel))
        .collect();
    assert_eq!(
        images,
        [(&b"[kernel.kallsyms]"[..], true), (b"/bin/sh", false)]
    );
    assert_eq!(about.sidecar.as_deref(), Some(&sidecar()));
    let [event] = outcome.events.as_slice() else {
        panic!("one event: {:?}", outcome.events)
    };
    assert_eq!((event.name.as_str(), event.kind), ("cpu-clock", 1));
    assert_eq!((event.period_or_hz, event.max_stack), (99, 127));
}

#[test]
fn samples_that_no_record_told_of_are_told_at_the_end() {
    let (seen, _) = read(written(&events(), 10)).expect("our own file");
    let lost: Vec<&String> = seen
        .iter()
        .filter(|event| event.starts_with("Lost"))
        .collect();
    assert_eq!(lost.len(), 2);
    assert!(
        lost[0].ends_with("count: 3 })") && lost[1].ends_with("count: 7 })"),
        "{lost:?}"
    );
}

#[test]
fn perf_is_never_given_what_it_has_handed_on_already() {
    let second = 1_000_000_000;
    let events = [
        sample(second),
        sample(2 * second),
        sample(3 * second),
        // Two rounds late.
        sample(second / 2),
        sample(4 * second),
    ];
    let (seen, outcome) = read(written(&events, 0)).expect("our own file");
    let time = |event: &String| {
        let (_, time) = event.split_once("time_ns: ").expect("a time");
        let (time, _) = time.split_once(',').expect("more behind it");
        time.parse::<u64>().expect("a number") / second
    };
    let times: Vec<u64> = seen.iter().skip(1).map(time).collect();
    assert_eq!(times, [1, 2, 3, 2, 4]);
    assert_eq!(outcome.stats.of(super::super::walk::FINISHED_ROUND), 4);
}

#[test]
fn samples_that_wait_are_where_they_were_taken_whenever_their_chains_come() {
    let events: Vec<_> = (1..2000).map(|at| sample(at * 1_000_000)).collect();
    let whole = written(&events, 0);
    let as_sample = |event: &Event<'static>| match event {
        Event::Sample(sample) => *sample,
        _ => panic!("samples only"),
    };
    // Every third, fetched by as many rounds as there are numbers here.
    for fetched_every in [1, 7, 5000] {
        let mut writer = Writer::with_links(Cursor::new(Vec::new()), &kernel(), no_links);
        let mut waiting = VecDeque::new();
        for (at, event) in events.iter().enumerate() {
            if at % 3 == 0 {
                let sample = as_sample(event);
                writer.sample_waits(&Sample {
                    chain: Chain { words: &[] },
                    ..sample
                });
                waiting.push_back(sample);
            } else {
                writer.event(event);
            }
            if at % fetched_every == 0 {
                waiting
                    .drain(..)
                    .for_each(|sample| writer.sample_came(&sample));
            }
        }
        waiting
            .drain(..)
            .for_each(|sample| writer.sample_came(&sample));
        assert!(finished(writer, 0) == whole, "every {fetched_every}");
    }
}

#[test]
fn a_disk_that_is_full_is_told_at_the_end() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Seek for Full {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(0)
        }
    }
    let mut writer = Writer::with_links(Full, &kernel(), no_links);
    for time in 1..5000 {
        writer.event(&sample(time));
    }
    let ending = Ending {
        sampled: sampled(),
        origin: &origin(),
        lost: 0,
        build_ids: &[],
        sidecar: &sidecar(),
    };
    let error = writer.finish(&ending).err().expect("nothing was written");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn every_truncation_is_an_error_or_a_note_and_never_a_panic() {
    let whole = written(&events(), 10);
    let mut noted = 0;
    for len in 0..whole.len() {
        if let Ok((_, outcome)) = read(whole[..len].to_vec()) {
            let cut = outcome.about.cut.expect("a note");
            assert_eq!(cut.len_bytes, len as u64);
            assert!(!cut.features.is_empty() || len + 8 > whole.len(), "{len}");
            assert_eq!(outcome.about.unreadable, [], "{len}");
            noted += 1;
        }
    }
    assert!(noted > 100, "a cut behind the records keeps the samples");
}

#[test]
fn a_damaged_sidecar_is_noted_with_its_place_and_the_samples_stay() {
    let mut file = written(&events(), 0);
    let at = file
        .windows(8)
        .rposition(|bytes| bytes == b"ctrflame")
        .expect("the sidecar");
    file[at + 8] = 77;
    let (seen, outcome) = read(file).expect("the samples are whole");
    assert_eq!(seen.len(), events().len() + 1);
    assert_eq!(outcome.about.sidecar, None);
    let [unread] = outcome.about.unreadable.as_slice() else {
        panic!("{:?}", outcome.about.unreadable)
    };
    let expected = format!(
        "version of the sidecar (1 expected) at byte {} is 77",
        at + 8
    );
    assert_eq!((unread.feature, &unread.reason), (200, &expected));
}
