//! The sidecar's bytes: what is written is read again, what is damaged is refused.

use super::super::PerfDataError;
use super::super::bytes::{ByteOrder, Fields};
use super::*;

fn space(pid: u32, began_ns: u64) -> SpaceKey {
    SpaceKey {
        pid: HostPid(pid),
        began_ns,
    }
}

/// One of everything.
fn sample() -> Sidecar {
    let mut builder = SidecarBuilder::default();
    let mut named = |name: &str, reason| {
        let text = builder.text(name);
        builder.frames(&[NamedFrame {
            kind: 1,
            reason,
            text,
        }])
    };
    let (main, hot, none) = (named("main", 0), named("hot", 0), named("libz.so", 3));
    assert_eq!(named("main", 0), main, "equal names are one");
    let text = builder.text("inlined");
    let inner = NamedFrame {
        kind: 3,
        reason: 0,
        text,
    };
    let both = builder.frames(&[inner, inner]);
    let (host, web) = (builder.text("host"), builder.text("runc:web (0123)"));
    let empty = builder.text("");
    let id = BuildId::new(&[7; 20]).expect("a build id");
    let sidecar = &mut builder.sidecar;
    sidecar.max_stack = 127;
    sidecar.kernel = vec![(u64::MAX - 5, hot), (0xffff_ffff_8100_0000, main)];
    sidecar.vdso = vec![(0x700, hot)];
    let inode = ImageFile::Inode {
        major: 254,
        minor: 1,
        inode: 1 << 40,
        generation: 9,
    };
    let path = ImageFile::Path {
        mnt: Some(MntNs(4026531841)),
        path: b"/a\xff".to_vec(),
    };
    sidecar.images = vec![
        (path, vec![(0, none)]),
        (
            ImageFile::BuildId(id),
            vec![(0x40, hot), (0x10, main), (0x9000, both)],
        ),
        (inode, Names::new()),
    ];
    sidecar.generated = vec![(space(8, 50), vec![(0x7f00_0000_1000, hot)])];
    let jitted = |pid, addr, from_ns, text| Jitted {
        pid: HostPid(pid),
        addr,
        from_ns,
        text,
    };
    sidecar.jitted = vec![
        jitted(8, 0x7f00, 200, Some(web)),
        jitted(9, 0x10, 5, Some(web)),
        jitted(8, 0x7f00, 100, Some(host)),
        jitted(8, 0x7f08, 50, Some(web)),
        jitted(8, 0x7f00, 300, None),
    ];
    let tagged = |space, cgroup, tag| Tagged { space, cgroup, tag };
    sidecar.tags = vec![
        tagged(space(8, 50), Some(CgroupId(1)), host),
        tagged(space(8, 90), Some(CgroupId(1)), web),
        tagged(space(8, 60), None, web),
    ];
    sidecar.processes = vec![ProcessSeen {
        space: space(8, 50),
        ns_pid: NsPid(1),
        uid: 0,
    }];
    sidecar.containers = vec![ContainerSeen {
        tag: web,
        id: web,
        name: empty,
        cgroup_path: host,
    }];
    builder.finish()
}

fn decode(bytes: &[u8]) -> Result<Sidecar, PerfDataError> {
    Sidecar::decode(Fields::new(bytes, 1000, ByteOrder::NATIVE, "sidecar"))
}

#[test]
fn what_is_written_is_what_is_read() {
    let written = sample();
    let read = decode(&written.encode()).expect("our own bytes");
    assert_eq!(read, written);
    let (_, names) = &read.images[0];
    let shown: Vec<String> = names
        .iter()
        .flat_map(|(_, frames)| read.frames(*frames))
        .map(|frame| read.text(frame.text).into_owned())
        .collect();
    assert_eq!(shown, ["main", "hot", "inlined", "inlined"]);
    assert_eq!(name_at(names, 0x10), Some(names[0].1));
    assert_eq!(name_at(names, 0x11), None);
}

#[test]
fn a_space_that_begins_later_has_the_tag_and_the_code_of_the_one_that_had_begun() {
    let sidecar = sample();
    let tag = |began, cgroup| {
        let tag = sidecar.tag_of(space(8, began), cgroup);
        tag.map(|tag| sidecar.text(tag).into_owned())
    };
    let one = Some(CgroupId(1));
    assert_eq!(tag(50, one).as_deref(), Some("host"));
    assert_eq!(tag(89, one).as_deref(), Some("host"));
    assert_eq!(tag(1000, one).as_deref(), Some("runc:web (0123)"));
    // Cut at the front, so that the first sample is an earlier one of another cgroup.
    assert_eq!(tag(1, one).as_deref(), Some("host"));
    assert_eq!(tag(60, None).as_deref(), Some("runc:web (0123)"));
    assert_eq!(tag(60, Some(CgroupId(7))), None);
    assert_eq!(sidecar.tag_of(space(9, 60), one), None);
    assert!(sidecar.generated_by(space(8, 70)).is_some());
    assert!(sidecar.generated_by(space(8, 49)).is_none());
    assert!(sidecar.generated_by(space(9, 70)).is_none());
}

#[test]
fn generated_code_has_the_name_that_it_had_at_a_time() {
    let read = decode(&sample().encode()).expect("our own bytes");
    let at = |pid, addr, time_ns| {
        let text = read.jitted_at(HostPid(pid), addr, time_ns)?;
        Some(read.text(text).into_owned())
    };
    assert_eq!(at(8, 0x7f00, 99), None);
    assert_eq!(at(8, 0x7f00, 100).as_deref(), Some("host"));
    assert_eq!(at(8, 0x7f00, 299).as_deref(), Some("runc:web (0123)"));
    assert_eq!(at(8, 0x7f00, 300), None);
    assert_eq!(at(8, 0x7f08, u64::MAX).as_deref(), Some("runc:web (0123)"));
    for (pid, addr) in [(8, 0x7f07), (8, 0x7f09), (7, 0x7f00), (9, 0x11)] {
        assert_eq!(at(pid, addr, u64::MAX), None);
    }
}

#[test]
fn a_block_of_a_later_version_is_passed_over() {
    let written = sample();
    let mut bytes = written.encode();
    bytes.extend(999_u32.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(3_u64.to_ne_bytes());
    bytes.extend([1, 2, 3]);
    assert_eq!(decode(&bytes).expect("one block more"), written);
    bytes[8] = 2;
    let error = decode(&bytes).expect_err("another version");
    assert_eq!(
        error.to_string(),
        "version of the sidecar (1 expected) at byte 1008 is 2"
    );
}

#[test]
fn every_truncation_is_an_error_or_lacks_whole_blocks_and_never_a_panic() {
    let whole = sample().encode();
    let mut at_blocks = 0;
    for len in 0..whole.len() {
        at_blocks += usize::from(decode(&whole[..len]).is_ok());
    }
    // In front of each block, and nowhere else.
    assert_eq!(at_blocks, 12);
}

#[test]
fn every_byte_that_is_another_one_is_an_error_or_another_value_and_never_a_panic() {
    let whole = sample().encode();
    for at in 0..whole.len() {
        for with in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = with;
            if let Ok(read) = decode(&bytes) {
                // All that can be asked of it.
                for (_, names) in &read.images {
                    for (addr, frames) in names {
                        assert_eq!(name_at(names, *addr), Some(*frames));
                        read.frames(*frames).for_each(|frame| {
                            read.text(frame.text);
                        });
                    }
                }
                read.tag_of(space(8, 50), Some(CgroupId(1)));
                read.generated_by(space(8, 50));
                for jitted in &read.jitted {
                    let found = read.jitted_at(jitted.pid, jitted.addr, jitted.from_ns);
                    assert_eq!(found, jitted.text);
                    found.map(|text| read.text(text).len());
                }
            }
        }
    }
}

#[test]
fn a_count_that_is_larger_than_what_follows_is_refused_with_its_offset() {
    let mut bytes = b"ctrflame".to_vec();
    bytes.extend(1_u64.to_ne_bytes());
    bytes.extend(2_u64.to_ne_bytes());
    bytes.extend(5_u64.to_ne_bytes());
    bytes.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    let error = decode(&bytes).expect_err("four thousand million strings");
    assert_eq!(error.offset(), Some(1032), "{error}");
}

#[test]
fn what_would_cost_many_times_its_length_is_refused() {
    let mut bytes = b"ctrflame".to_vec();
    bytes.extend(1_u64.to_ne_bytes());
    let mut block = |kind: u64, content: &[u8]| {
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((content.len() as u64).to_ne_bytes());
        bytes.extend(content);
    };
    // One empty list of frames, and 3.5 million kernel addresses of two bytes each: 56 MB.
    block(4, &[1, 0]);
    let mut names = vec![0xe0, 0xcf, 0xd5, 0x01];
    names.extend([1, 0].repeat(3_500_000));
    block(5, &names);
    let error = decode(&bytes).expect_err("eight times its length");
    assert_eq!(
        error.to_string(),
        "room for what the sidecar tells (a small multiple of its length expected) at byte 1050 \
         is 56000000"
    );
}
