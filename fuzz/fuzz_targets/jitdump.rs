//! A jitdump: what a container wrote about its generated code, and when. Of the records up to a time, in the order of
//! their times, the last that covers an address names it, whatever the file says of sizes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolizer::fuzzing::JitDump;

/// Records that are certainly sorted as a whole: fewer than are read ahead.
const SORTED_MAX: usize = 1000;
const NAME_MAX: usize = 4096;

struct Numbers<'a> {
    rest: &'a [u8],
    is_swapped: bool,
}

impl Numbers<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        let mut bytes = *first;
        if self.is_swapped {
            bytes.reverse();
        }
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }
}

#[derive(Clone)]
enum Record {
    Load(u64, u64, Vec<u8>),
    Move(u64, u64, u64),
}

/// The specification, record by record. `None` for a record that says nothing.
fn record(id: u32, body: &[u8], is_swapped: bool, pid: u32) -> Option<Record> {
    let mut at = Numbers { rest: body, is_swapped };
    let (of, _tid, _vma) = (at.u32()?, at.u32()?, at.u64()?);
    let (first, second, third, fourth) = (at.u64()?, at.u64()?, at.u64()?, if id == 1 { at.u64()? } else { 0 });
    let _index = fourth;
    if of != pid {
        return None;
    }
    if id == 1 {
        let end = second.checked_add(third)?;
        return (third > 0).then_some(Record::Move(first, second, end));
    }
    let (start, len) = (first, second);
    let text = &at.rest[..at.rest.len().min(NAME_MAX + 1)];
    let name_len = text.iter().position(|byte| *byte == 0);
    let mut name = text[..name_len.unwrap_or(text.len()).min(NAME_MAX)].to_vec();
    let whole = name_len.unwrap_or(text.len());
    if name_len.is_none() {
        if text.len() <= NAME_MAX {
            return None;
        }
        name.extend("…".as_bytes());
    }
    let room = (at.rest.len() as u64).checked_sub(whole as u64 + 1)?;
    let end = start.checked_add(len)?;
    (len > 0 && len <= room && !name.is_empty()).then_some(Record::Load(start, end, name))
}

/// All records with their times, and how many say nothing.
fn records(bytes: &[u8], pid: u32) -> (Vec<(u64, Record)>, u64) {
    let is_swapped = bytes[..4] != 0x4a69_5444_u32.to_ne_bytes();
    let mut header = Numbers { rest: &bytes[8..], is_swapped };
    let mut offset = header.u32().expect("a header") as usize;
    let (mut found, mut bad) = (Vec::new(), 0);
    while let Some(rest) = bytes.get(offset..) {
        let mut prefix = Numbers { rest, is_swapped };
        let (Some(id), Some(len), Some(time)) = (prefix.u32(), prefix.u32(), prefix.u64()) else {
            break;
        };
        let Some(whole) = rest.get(..len as usize).filter(|_| len >= 16) else {
            break;
        };
        if id <= 1 {
            match record(id, &whole[16..], is_swapped, pid) {
                Some(record) => found.push((time, record)),
                None => bad += 1,
            }
        }
        offset += len as usize;
    }
    (found, bad)
}

/// Who covers an address: the last of these ranges.
fn covering(applied: &[(u64, u64, Vec<u8>)], addr: u64) -> Option<usize> {
    applied.iter().rposition(|(start, end, _)| (*start..*end).contains(&addr))
}

fn apply(applied: &mut Vec<(u64, u64, Vec<u8>)>, record: &Record) {
    match record {
        Record::Load(start, end, name) => applied.push((*start, *end, name.clone())),
        Record::Move(from, start, end) => {
            let Some(found) = covering(applied, *from) else { return };
            // Only what begins there was moved.
            let before = from.checked_sub(1).and_then(|before| covering(applied, before));
            if before != Some(found) {
                let name = applied[found].2.clone();
                applied.push((*start, *end, name));
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    // The last byte says how much is read at once; so a dump is an input as it is.
    let Some((few, bytes)) = input.split_last() else { return };
    let Some(mut dump) = JitDump::new(bytes) else { return };
    let (all, bad) = records(bytes, dump.pid());
    let mut sorted: Vec<_> = all.iter().enumerate().collect();
    sorted.sort_by_key(|(number, (time, _))| (*time, *number));
    let is_sorted = sorted.len() <= SORTED_MAX;
    let mut applied = Vec::new();
    let mut next = 0;
    let mut times: Vec<u64> = all.iter().map(|(time, _)| *time).take(64).chain([u64::MAX]).collect();
    times.sort_unstable();
    let edges: Vec<u64> = all
        .iter()
        .take(64)
        .flat_map(|(_, record)| match record {
            Record::Load(start, end, _) => [start.wrapping_sub(1), *start, end - 1, *end],
            Record::Move(from, start, end) => [*from, *start, end - 1, *end],
        })
        .chain([0, u64::MAX])
        .collect();
    for time in times {
        dump.advance(time, usize::from(*few) + 1);
        if !is_sorted {
            continue;
        }
        while let Some((_, (_, record))) = sorted.get(next).filter(|(_, (at, _))| *at <= time) {
            apply(&mut applied, record);
            next += 1;
        }
        for addr in &edges {
            let expected = covering(&applied, *addr).map(|found| applied[found].2.as_slice());
            assert_eq!(dump.lookup(*addr), expected, "{addr:x} at {time}");
        }
    }
    assert_eq!(dump.bad_records, bad);
});
