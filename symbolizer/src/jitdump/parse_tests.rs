//! Dumps as a JIT writes them, cut, turned round and with sizes that lie.

use super::*;

/// Writes a dump as a JIT does.
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    pid: u32,
    is_swapped: bool,
}

impl Writer {
    pub(crate) fn new(pid: u32) -> Self {
        Self::of_order(pid, false)
    }

    fn of_order(pid: u32, is_swapped: bool) -> Self {
        let mut writer = Self {
            bytes: Vec::new(),
            pid,
            is_swapped,
        };
        for word in [MAGIC, VERSION, 40, 62, 0, pid] {
            writer.u32(word);
        }
        writer.u64(5);
        writer.u64(0);
        writer
    }

    fn u32(&mut self, value: u32) {
        let value = if self.is_swapped {
            value.swap_bytes()
        } else {
            value
        };
        self.bytes.extend(value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        let value = if self.is_swapped {
            value.swap_bytes()
        } else {
            value
        };
        self.bytes.extend(value.to_ne_bytes());
    }

    fn record(&mut self, id: u32, time_ns: u64, body_bytes: usize) {
        self.u32(id);
        self.u32((16 + body_bytes) as u32);
        self.u64(time_ns);
    }

    pub(crate) fn load(&mut self, time_ns: u64, addr: u64, code_bytes: u64, name: &str) {
        self.record(LOAD, time_ns, 40 + name.len() + 1 + code_bytes as usize);
        self.code(addr, &[addr, code_bytes, 1]);
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.bytes.extend(vec![0xcc; code_bytes as usize]);
    }

    pub(crate) fn moved(&mut self, time_ns: u64, (from, to): (u64, u64), code_bytes: u64) {
        self.record(MOVE, time_ns, 48);
        self.code(to, &[from, to, code_bytes, 1]);
    }

    fn code(&mut self, vma: u64, words: &[u64]) {
        let pid = self.pid;
        self.u32(pid);
        self.u32(pid);
        self.u64(vma);
        for word in words {
            self.u64(*word);
        }
    }

    /// A record that says nothing of a name.
    fn other(&mut self, id: u32, body: &[u8]) {
        self.record(id, 1, body.len());
        self.bytes.extend(body);
    }
}

fn sample(is_swapped: bool) -> Vec<u8> {
    let mut dump = Writer::of_order(7, is_swapped);
    dump.other(2, &[1; 40]);
    dump.load(100, 0x1000, 0x20, "first(int, char) const");
    dump.other(4, &[2; 33]);
    dump.other(77, &[3; 5]);
    dump.moved(200, (0x1000, 0x2000), 0x20);
    dump.load(300, 0x1000, 1, "x");
    dump.other(3, &[]);
    dump.bytes
}

fn all(dump: &[u8]) -> Result<Chunk, ReadError> {
    let header = Header::read(dump)?;
    let mut position = header.records;
    Ok(position.read(dump, header.pid, usize::MAX)?)
}

fn shown(chunk: &Chunk) -> Vec<String> {
    let show = |change: &Change| match change.what {
        What::Load { start, end, name } => {
            let name = String::from_utf8_lossy(chunk.name(name)).into_owned();
            format!("{} {start:x}-{end:x} {name}", change.time_ns)
        }
        What::Move { from, start, end } => {
            format!("{} {from:x} to {start:x}-{end:x}", change.time_ns)
        }
    };
    chunk.changes.iter().map(show).collect()
}

const SHOWN: [&str; 3] = [
    "100 1000-1020 first(int, char) const",
    "200 1000 to 2000-2020",
    "300 1000-1001 x",
];

#[test]
fn both_byte_orders_say_the_same() {
    for is_swapped in [false, true] {
        let dump = sample(is_swapped);
        let header = Header::read(&dump[..]).expect("a header");
        assert_eq!((header.pid, header.elf_machine), (7, 62));
        assert!(!header.has_arch_times);
        let chunk = all(&dump).expect("whole");
        assert_eq!(shown(&chunk), SHOWN);
        assert_eq!((chunk.bad_records, chunk.is_last), (0, true));
        assert_eq!(chunk.damage, None);
    }
}

#[test]
fn what_a_program_wrote_is_read() {
    let dump = include_bytes!("../../../samples/jitdump/workload.dump");
    let chunk = all(&dump[..]).expect("whole");
    let what: Vec<String> = shown(&chunk)
        .iter()
        .filter_map(|shown| Some(shown.split_once(' ')?.1.to_owned()))
        .collect();
    assert_eq!(
        what,
        [
            "200000000000-20000000000b jit_caller",
            "200000000100-20000000010f jit_first",
            "200000000100-20000000010f jit_second",
            "200000000800-20000000080f jit_third",
            "200000000800 to 200000000100-20000000010f",
        ]
    );
    let times = chunk.changes.iter().map(|change| change.time_ns);
    assert!(times.is_sorted());
    assert_eq!(
        (chunk.bad_records, chunk.records, chunk.is_last),
        (0, 10, true)
    );
}

#[test]
fn every_truncation_gives_the_records_before_it_and_never_a_panic() {
    let dump = sample(false);
    let whole = all(&dump).expect("whole");
    for len in 0..dump.len() {
        let cut = &dump[..len];
        let Ok(chunk) = all(cut) else {
            assert!(len < 40, "refused {len} of {} bytes", dump.len());
            continue;
        };
        assert!(len >= 40, "accepted {len} bytes");
        let found = shown(&chunk);
        assert_eq!(found[..], shown(&whole)[..found.len()], "of {len} bytes");
        assert!(chunk.is_last && chunk.damage.is_none() && chunk.bad_records == 0);
        if len < dump.len() - 16 {
            assert!(found.len() < 3, "all of it in {len} bytes");
        }
    }
}

#[test]
fn a_dump_that_grows_is_read_on_where_it_ended() {
    let dump = sample(true);
    let header = Header::read(&dump[..40]).expect("a header");
    let mut position = header.records;
    let mut found = Vec::new();
    for len in 40..=dump.len() {
        let chunk = position.read(&dump[..len], 7, 100).expect("memory");
        found.extend(shown(&chunk));
    }
    assert_eq!(found, SHOWN);
}

#[test]
fn what_is_no_dump_or_one_that_we_do_not_know_is_refused() {
    let whole = sample(false);
    let with = |at: usize, value: u32| {
        let mut dump = whole.clone();
        dump[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        match Header::read(&dump[..]) {
            Err(ReadError::Dump(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        with(0, 0x464c_457f),
        JitDumpError::Magic { found: 0x464c_457f }
    );
    assert_eq!(with(4, 2), JitDumpError::Version { found: 2 });
    assert_eq!(with(8, 39), JitDumpError::Header { found: 39 });
    assert_eq!(with(32, 3), JitDumpError::Flags { found: 3 });
    let mut dump = whole.clone();
    dump[32] = 1;
    assert!(
        Header::read(&dump[..])
            .expect("a flag that we know")
            .has_arch_times
    );
}

/// The sample with a word of its first LOAD, at this place in the record, overwritten.
fn lying(at: usize, value: &[u8]) -> Chunk {
    let mut dump = sample(false);
    let load = 40 + 56 + at;
    dump[load..load + value.len()].copy_from_slice(value);
    all(&dump).expect("a header")
}

#[test]
fn sizes_that_lie_cost_their_record_only() {
    let rest = &SHOWN[1..];
    let code_size = 40;
    for size in [0, 0x21, 1 << 20, u64::MAX] {
        let chunk = lying(code_size, &u64::to_ne_bytes(size));
        assert_eq!(shown(&chunk), rest, "code of {size} bytes");
        assert_eq!(chunk.bad_records, 1);
    }
    let past_the_end = lying(32, &u64::to_ne_bytes(u64::MAX - 0x10));
    assert_eq!(shown(&past_the_end), rest);
    let of_another_process = lying(16, &u32::to_ne_bytes(8));
    assert_eq!(shown(&of_another_process), rest);
    assert_eq!(of_another_process.bad_records, 1);
    let without_name = lying(56, &[0]);
    assert_eq!(shown(&without_name), rest);

    for size in 0..16 {
        let chunk = lying(4, &u32::to_ne_bytes(size));
        let damage = JitDumpError::Damaged {
            offset: 96,
            found: size,
        };
        assert_eq!((chunk.damage, chunk.changes.len()), (Some(damage), 0));
    }
    // Longer than the file: as if it were still being written.
    let chunk = lying(4, &u32::to_ne_bytes(u32::MAX));
    assert!(chunk.is_last && chunk.damage.is_none() && chunk.changes.is_empty());
    // Too short for what it should hold.
    for size in 16..56 {
        let chunk = lying(4, &u32::to_ne_bytes(size));
        assert!(chunk.bad_records > 0, "a LOAD of {size} bytes");
    }
}

#[test]
fn a_long_name_is_cut_and_code_is_never_read_as_one() {
    let long = "n".repeat(NAME_MAX_BYTES + 100);
    let mut dump = Writer::new(7);
    dump.load(1, 0x1000, 300_000, &long);
    dump.load(2, 0x2000, 16, &long[..NAME_MAX_BYTES]);
    let chunk = all(&dump.bytes).expect("whole");
    let lens: Vec<usize> = chunk
        .changes
        .iter()
        .map(|change| match change.what {
            What::Load { name, .. } => chunk.name(name).len(),
            What::Move { .. } => 0,
        })
        .collect();
    assert_eq!(lens, [NAME_MAX_BYTES + "…".len(), NAME_MAX_BYTES]);
    // No zero at all in the rest of the record.
    let mut dump = Writer::new(7);
    dump.load(1, 0x1000, 16, "endless");
    let zero = dump.bytes.len() - 17;
    dump.bytes[zero] = b'x';
    assert_eq!(all(&dump.bytes).expect("a header").bad_records, 1);
}
