//! The decoder against records laid out by hand from perf_event_open(2).

use super::*;

const LAYOUT: Layout = Layout {
    sample_type: sample_bits::IP
        | sample_bits::TID
        | sample_bits::TIME
        | sample_bits::CPU
        | sample_bits::PERIOD
        | sample_bits::CALLCHAIN
        | sample_bits::CGROUP,
    read_format: 0,
    branch_sample_type: 0,
    sample_regs_user: 0,
    sample_regs_intr: 0,
    sample_id_all: true,
};

fn record(kind: u32, misc: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_ne_bytes().to_vec();
    bytes.extend(misc.to_ne_bytes());
    bytes.extend(((body.len() + 8) as u16).to_ne_bytes());
    bytes.extend(body);
    bytes
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn pair(low: u32, high: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&low.to_ne_bytes());
    bytes[4..].copy_from_slice(&high.to_ne_bytes());
    bytes
}

/// pid 7, tid 8, time 99, cpu 3.
fn trailer() -> Vec<u8> {
    [pair(7, 8).as_slice(), &99u64.to_ne_bytes(), &pair(3, 0)].concat()
}

fn sample_record() -> Vec<u8> {
    let body = [
        words(&[0x1234]).as_slice(),
        &pair(7, 8),
        &words(&[99]),
        &pair(3, 0),
        &words(&[10_000_000, 3, -512i64 as u64, 0x1234, 0x5678, 42]),
    ]
    .concat();
    record(9, 2, &body)
}

fn mmap2_record(with_build_id: bool) -> Vec<u8> {
    let mut body = [pair(7, 8).as_slice(), &words(&[0x1000, 0x2000, 0x3000])].concat();
    if with_build_id {
        body.extend([4, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef]);
        body.extend([0; 16]);
    } else {
        body.extend(pair(8, 1));
        body.extend(words(&[77, 5]));
    }
    body.extend(pair(5, 2));
    body.extend(b"/app/hot\0\0\0\0\0\0\0\0");
    body.extend(trailer());
    record(10, if with_build_id { 1 << 14 | 2 } else { 2 }, &body)
}

const STAMP: Stamp = Stamp {
    time_ns: 99,
    pid: HostPid(7),
    tid: HostTid(8),
    cpu: 3,
};

#[test]
fn a_sample_is_read_in_the_kernels_order() {
    let bytes = sample_record();
    let Ok(Some(Event::Sample(sample))) = decode(&bytes, &LAYOUT) else {
        panic!("no sample")
    };
    assert_eq!(sample.stamp, STAMP);
    assert_eq!(
        (sample.ip, sample.period, sample.cgroup),
        (CodeAddr(0x1234), 10_000_000, Some(CgroupId(42)))
    );
    assert_eq!(
        sample.chain.iter().collect::<Vec<_>>(),
        [-512i64 as u64, 0x1234, 0x5678]
    );
    assert_eq!(time_ns(&bytes, &LAYOUT), Some(99));
}

#[test]
fn the_cgroup_is_found_behind_every_optional_field() {
    let layout = Layout {
        sample_type: LAYOUT.sample_type
            | sample_bits::READ
            | sample_bits::RAW
            | sample_bits::BRANCH_STACK
            | sample_bits::REGS_USER
            | sample_bits::STACK_USER
            | sample_bits::WEIGHT
            | sample_bits::DATA_SRC
            | sample_bits::TRANSACTION
            | sample_bits::REGS_INTR
            | sample_bits::PHYS_ADDR,
        read_format: read_bits_all(),
        branch_sample_type: 1 << 17,
        sample_regs_user: 0b101,
        sample_regs_intr: 0b1,
        sample_id_all: true,
    };
    let body = [
        words(&[0x1234]).as_slice(),
        &pair(7, 8),
        &words(&[99]),
        &pair(3, 0),
        &words(&[1]),
        // READ as a group of two: nr, enabled, running, {value, id, lost} x 2
        &words(&[2, 0, 0, 1, 2, 3, 4, 5, 6]),
        &words(&[0]),
        // RAW of 12 bytes behind its u32 length
        &12u32.to_ne_bytes(),
        &[0; 12],
        // BRANCH_STACK: nr, hw_idx, {from, to, flags}
        &words(&[1, 9, 1, 2, 3]),
        // REGS_USER: abi and two registers; STACK_USER: 8 bytes and its dynamic size
        &words(&[2, 11, 12, 8, 0, 8]),
        // WEIGHT, DATA_SRC, TRANSACTION, REGS_INTR without an abi, PHYS_ADDR, CGROUP
        &words(&[1, 2, 3, 0, 4, 42]),
    ]
    .concat();
    let bytes = record(9, 2, &body);
    let Ok(Some(Event::Sample(sample))) = decode(&bytes, &layout) else {
        panic!("no sample")
    };
    assert_eq!(sample.cgroup, Some(CgroupId(42)));
    let Some(ReadValues::Group(group)) = sample.read else {
        panic!("no group: {:?}", sample.read)
    };
    let counters: Vec<_> = group.iter().collect();
    assert_eq!(counters, [(Some(2), 1), (Some(5), 4)]);
    let branches: Vec<_> = sample.branches.iter().collect();
    assert_eq!(branches, [(CodeAddr(1), CodeAddr(2))]);
    let registers = sample.user_registers.expect("user registers were dumped");
    assert_eq!(
        (registers.get(0), registers.get(1), registers.get(2)),
        (Some(11), None, Some(12))
    );
    assert_eq!(sample.user_stack, 0u64.to_ne_bytes());
}

fn read_bits_all() -> u64 {
    use super::layout::read_bits as read;
    read::TOTAL_TIME_ENABLED | read::TOTAL_TIME_RUNNING | read::ID | read::GROUP | read::LOST
}

#[test]
fn a_mapping_has_its_inode_or_its_build_id() {
    let bytes = mmap2_record(false);
    let Ok(Some(Event::Mapped(mapped))) = decode(&bytes, &LAYOUT) else {
        panic!("no mapping")
    };
    assert_eq!((mapped.stamp, mapped.pid), (STAMP, HostPid(7)));
    assert_eq!(
        (mapped.avma, mapped.file_offset_bytes, mapped.path),
        (0x1000..0x3000, 0x3000, &b"/app/hot"[..])
    );
    assert_eq!(
        mapped.file,
        MappedFile::Inode {
            major: 8,
            minor: 1,
            inode: 77,
            generation: 5
        }
    );

    let bytes = mmap2_record(true);
    let Ok(Some(Event::Mapped(mapped))) = decode(&bytes, &LAYOUT) else {
        panic!("no mapping")
    };
    let id = BuildId::new(&[0xde, 0xad, 0xbe, 0xef]).expect("four bytes are a build id");
    assert_eq!(
        (mapped.file, mapped.path),
        (MappedFile::BuildId(id), &b"/app/hot"[..])
    );
}

#[test]
fn the_small_records_say_what_they_say() {
    let with_trailer = |body: Vec<u8>| [body, trailer()].concat();
    let comm = record(
        3,
        1 << 13,
        &with_trailer([pair(7, 8).as_slice(), b"java\0\0\0\0"].concat()),
    );
    let expected = Comm {
        stamp: STAMP,
        pid: HostPid(7),
        tid: HostTid(8),
        name: b"java",
        is_exec: true,
    };
    assert_eq!(decode(&comm, &LAYOUT), Ok(Some(Event::Comm(expected))));

    let fork = record(
        7,
        0,
        &with_trailer([pair(20, 7), pair(21, 8), [0; 8]].concat()),
    );
    let Ok(Some(Event::Fork(fork))) = decode(&fork, &LAYOUT) else {
        panic!("no fork")
    };
    assert_eq!((fork.pid, fork.tid), (HostPid(20), HostTid(21)));
    assert_eq!((fork.parent_pid, fork.parent_tid), (HostPid(7), HostTid(8)));

    let lost = record(2, 0, &with_trailer(words(&[1, 500])));
    assert_eq!(
        decode(&lost, &LAYOUT),
        Ok(Some(Event::Lost(Lost {
            stamp: STAMP,
            count: 500
        })))
    );

    for (kind, is_end) in [(5, false), (6, true)] {
        let throttle = record(kind, 0, &with_trailer(words(&[1, 2, 3])));
        let expected = Throttle {
            stamp: STAMP,
            is_end,
        };
        assert_eq!(
            decode(&throttle, &LAYOUT),
            Ok(Some(Event::Throttle(expected)))
        );
    }

    let links: Vec<u64> = (0..7).flat_map(|index| [4, 100 + index]).collect();
    let ns = record(
        16,
        0,
        &with_trailer([pair(7, 8).as_slice(), &words(&[7]), &words(&links)].concat()),
    );
    let expected = NamespacesSeen {
        stamp: STAMP,
        pid: HostPid(7),
        mnt: Some(MntNs(105)),
        links: std::array::from_fn(|index| NsLink {
            dev: 4,
            inode: 100 + index as u64,
        }),
    };
    assert_eq!(decode(&ns, &LAYOUT), Ok(Some(Event::Namespaces(expected))));

    let cgroup = record(
        19,
        0,
        &with_trailer([words(&[42]).as_slice(), b"/docker/a\0\0\0\0\0\0\0"].concat()),
    );
    let expected = CgroupSeen {
        stamp: STAMP,
        id: CgroupId(42),
        path: b"/docker/a",
    };
    assert_eq!(decode(&cgroup, &LAYOUT), Ok(Some(Event::Cgroup(expected))));

    let body = [
        words(&[0xffff_8000]).as_slice(),
        &pair(64, 0x0001_0001),
        b"bpf_x\0\0\0",
    ]
    .concat();
    let bytes = record(17, 0, &with_trailer(body));
    let Ok(Some(Event::Ksymbol(ksymbol))) = decode(&bytes, &LAYOUT) else {
        panic!("no ksymbol")
    };
    assert_eq!(
        (ksymbol.addr, ksymbol.len_bytes, ksymbol.is_unregister),
        (CodeAddr(0xffff_8000), 64, true)
    );
    // With others that listen too, it has more bytes than the kernel wrote.
    for others in 1..4 {
        let left = vec![0xee; others * LAYOUT.trailer_len_bytes()];
        let grown = record(17, 0, &[&bytes[8..], &left].concat());
        assert_eq!(decode(&grown, &LAYOUT), Ok(Some(Event::Ksymbol(ksymbol))));
        assert_eq!(time_ns(&grown, &LAYOUT), Some(STAMP.time_ns));
    }

    assert_eq!(
        decode(&record(8, 0, &with_trailer(words(&[1, 2, 3]))), &LAYOUT),
        Ok(None)
    );
}

#[test]
fn every_truncation_is_an_error_and_never_a_panic() {
    for whole in [sample_record(), mmap2_record(false), mmap2_record(true)] {
        for len in 0..whole.len() {
            assert!(
                decode(&whole[..len], &LAYOUT).is_err(),
                "accepted {len} of {} bytes",
                whole.len()
            );
            // The same cut with a header that agrees with it. Strings may be cut, numbers may not.
            let mut cut = whole[..len].to_vec();
            if len >= 8 {
                cut[6..8].copy_from_slice(&(len as u16).to_ne_bytes());
                let _ = decode(&cut, &LAYOUT);
            }
        }
    }
}

#[test]
fn a_chain_longer_than_its_record_is_refused_before_it_is_believed() {
    let mut bytes = sample_record();
    let nr_at = 8 + 8 * 5;
    bytes[nr_at..nr_at + 8].copy_from_slice(&u64::MAX.to_ne_bytes());
    assert!(matches!(
        decode(&bytes, &LAYOUT),
        Err(RecordError::Truncated {
            offset_bytes: 56,
            ..
        })
    ));
}
