//! Whose file names an image of a recording in a file, where records tell more or less of it.

use profiler::record::{CgroupSeen, Event, EventSink, Layout, Mapped, MappedFile, Stamp, decode};
use profiler::{BuildId, CgroupId, HostPid, HostTid};
use std::path::Path;
use std::sync::Arc;
use symbolizer::{
    Counting, KeepNames, Lookup, LookupPlaces, Origin, RecordedOn, ResolveOptions, Selected,
    StackPart, Tally,
};

/// Where `alpha_inner` of `hot_a` is in its file.
const ALPHA_INNER: u64 = 0x1180;
const IMAGES: &str = "../samples/recordings/containers/images";
const HOT_A_ID: [u8; 20] = [
    0xe9, 0xfd, 0xf9, 0xe6, 0xf8, 0xe7, 0x61, 0xc7, 0x27, 0x32, 0xf6, 0x66, 0x98, 0xc9, 0xea, 0x3d,
    0x46, 0xba, 0x14, 0x7c,
];
/// Pids end at 2^22 (PID_MAX_LIMIT): nobody has it.
const FIRST_PID: u32 = 1 << 30;

/// A process for each cgroup, all with `/app/hot` mapped as `file` says and one sample in it; the leaf
/// of each, or its label.
fn leaves(cgroups: &[&str], file: MappedFile, lookup: &Lookup) -> Vec<String> {
    let mut tally = Tally::new(Counting::of(Origin::File), Box::new(|_| Selected::Yes));
    for (at, path) in cgroups.iter().enumerate() {
        let (number, pid) = (at as u64 + 1, FIRST_PID + at as u32);
        let stamp = Stamp {
            time_ns: number,
            pid: HostPid(pid),
            tid: HostTid(pid),
            cpu: 0,
        };
        tally.event(&Event::Cgroup(CgroupSeen {
            stamp,
            id: CgroupId(number),
            path: path.as_bytes(),
        }));
        tally.event(&Event::Mapped(Mapped {
            stamp,
            pid: HostPid(pid),
            avma: 0x40_1000..0x40_2000,
            file_offset_bytes: 0x1000,
            file,
            path: b"/app/hot",
            is_kernel: false,
        }));
        let (record, layout) = sample(pid, number);
        let event = decode(&record, &layout).expect("laid out right");
        tally.event(&event.expect("a sample"));
    }
    let resolved = tally.close().resolve(ResolveOptions {
        tag: &mut |place| place.cgroup_path.unwrap_or("host").into(),
        kallsyms: Err("not asked for".into()),
        lookup,
        build_ids: &[],
        max_stack: 127,
        known: None,
        snapshots: Vec::new(),
        held_maps: Vec::new(),
        keep_names: KeepNames::No,
    });
    let mut leaves: Vec<(String, String)> = Vec::new();
    for stack in resolved.parts.iter().flat_map(StackPart::stacks) {
        let leaf = stack.frames.last().expect("a frame");
        let name = match &resolved.frames[leaf.0 as usize].name {
            Ok(name) => name.to_string(),
            Err(reason) => reason.to_string(),
        };
        let container = &resolved.contexts[stack.context][0].label;
        leaves.push((container.to_string(), name));
    }
    leaves.sort();
    leaves.into_iter().map(|(_, name)| name).collect()
}

/// `PERF_RECORD_SAMPLE` with IP, TID, TIME, CALLCHAIN and CGROUP.
fn sample(pid: u32, cgroup: u64) -> (Vec<u8>, Layout) {
    let ip = 0x40_1000 + ALPHA_INNER - 0x1000;
    let user = -512_i64 as u64;
    let mut body = ip.to_ne_bytes().to_vec();
    body.extend(pid.to_ne_bytes());
    body.extend(pid.to_ne_bytes());
    for word in [cgroup, 2, user, ip, cgroup] {
        body.extend(word.to_ne_bytes());
    }
    let mut record = 9_u32.to_ne_bytes().to_vec();
    record.extend(2_u16.to_ne_bytes());
    record.extend((8 + body.len() as u16).to_ne_bytes());
    record.extend(body);
    let layout = Layout {
        sample_type: 1 | 1 << 1 | 1 << 2 | 1 << 5 | 1 << 21,
        read_format: 0,
        branch_sample_type: 0,
        sample_regs_user: 0,
        sample_regs_intr: 0,
        sample_id_all: true,
    };
    (record, layout)
}

fn root_with(image: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("app")).expect("ours");
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(IMAGES)
        .join(image);
    std::fs::copy(from, dir.path().join("app/hot")).expect("an image");
    dir
}

/// Sysroots by the cgroups that they are of, and nothing else.
fn with_sysroots(sysroots: &[(&'static str, &tempfile::TempDir)]) -> Lookup {
    let of: Vec<&'static str> = sysroots.iter().map(|(cgroup, _)| *cgroup).collect();
    let dirs = sysroots.iter().map(|(_, dir)| dir.path().to_owned());
    let nothing = tempfile::tempdir().expect("a directory");
    let lookup = Lookup::open(LookupPlaces {
        symfs: Some(nothing.path().to_owned()),
        sysroots: dirs.collect(),
        sysroot_of: Some(Arc::new(move |place| {
            let own = of.iter().position(|of| place.cgroup_path == Some(*of));
            own.into_iter().collect()
        })),
        ..LookupPlaces::default()
    });
    lookup.expect("all exist").recorded(RecordedOn::Elsewhere)
}

const INODE: MappedFile = MappedFile::Inode {
    major: 8,
    minor: 1,
    inode: 77,
    generation: 0,
};

#[test]
fn one_containers_file_does_not_vouch_for_anothers_that_only_has_its_path() {
    let (a, b) = (root_with("hot_a"), root_with("hot_b"));
    let path_only = MappedFile::PathOnly;
    let one = with_sysroots(&[("/a", &a)]);
    assert_eq!(leaves(&["/a"], path_only, &one), ["alpha_inner"]);
    assert_eq!(leaves(&["/a", "/b"], path_only, &one), ["[gone hot]"; 2]);
    let both = with_sysroots(&[("/a", &a), ("/b", &b)]);
    assert_eq!(leaves(&["/a", "/b"], path_only, &both), ["[gone hot]"; 2]);
    // One inode is one file: whoever knows it knows it for both.
    assert_eq!(leaves(&["/a", "/b"], INODE, &one), ["alpha_inner"; 2]);
}

#[test]
fn a_build_id_decides_whatever_the_user_says() {
    let (a, b) = (root_with("hot_a"), root_with("hot_b"));
    let hot_a = MappedFile::BuildId(BuildId::new(&HOT_A_ID).expect("twenty bytes"));
    let right = with_sysroots(&[("/a", &a)]);
    assert_eq!(leaves(&["/a", "/b"], hot_a, &right), ["alpha_inner"; 2]);
    let wrong = with_sysroots(&[("/a", &b)]);
    assert_eq!(leaves(&["/a"], hot_a, &wrong), ["[replaced hot]"]);
    // The wrong one goes first, the right one is found all the same.
    let both = with_sysroots(&[("/a", &b), ("/b", &a)]);
    assert_eq!(leaves(&["/a", "/b"], hot_a, &both), ["alpha_inner"; 2]);
}
