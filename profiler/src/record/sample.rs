//! `PERF_RECORD_SAMPLE`: the fields in the kernel's order (`perf_output_sample()`, kernel/events/core.c).

use super::RecordError;
use super::cursor::Cursor;
use super::event::{Branches, Chain, GroupValues, ReadValues, Registers, Sample, Stamp};
use super::layout::{BRANCH_COUNTERS, BRANCH_HW_INDEX, Layout, read_bits, sample_bits as bit};
use crate::{CgroupId, CodeAddr, HostPid, HostTid};

/// The fields behind the chain, in their order: one test tells whether there is any.
const BEHIND_CHAIN: u64 = bit::RAW
    | bit::BRANCH_STACK
    | bit::REGS_USER
    | bit::STACK_USER
    | bit::WEIGHT
    | bit::WEIGHT_STRUCT
    | bit::DATA_SRC
    | bit::TRANSACTION
    | bit::REGS_INTR
    | bit::PHYS_ADDR
    | bit::CGROUP
    | bit::DATA_PAGE_SIZE
    | bit::CODE_PAGE_SIZE
    | bit::AUX;

/// Decodes the body of a sample. Inlined, so that it is made where the caller keeps it: there are millions,
/// and each is longer than what is read of its record.
#[inline(always)]
pub(crate) fn decode<'a>(mut at: Cursor<'a>, layout: &Layout) -> Result<Sample<'a>, RecordError> {
    // As one piece: whether they are there is asked once.
    let mut head = at.words(layout.head_words())?.iter();
    let mut next = |field: u64| match layout.has(field) {
        true => head.next().copied(),
        false => None,
    };
    let u64_of = |word: Option<[u8; 8]>| word.map(u64::from_ne_bytes);
    // Two halves, in the order in which they lie in memory.
    let halves_of = |[a, b, c, d, e, f, g, h]: [u8; 8]| {
        let halves = ([a, b, c, d], [e, f, g, h]);
        (u32::from_ne_bytes(halves.0), u32::from_ne_bytes(halves.1))
    };
    let identifier = u64_of(next(bit::IDENTIFIER));
    let ip = u64_of(next(bit::IP)).unwrap_or(0);
    let (pid, tid) = next(bit::TID).map_or((u32::MAX, u32::MAX), halves_of);
    let time_ns = u64_of(next(bit::TIME)).unwrap_or(0);
    next(bit::ADDR);
    let event_id = u64_of(next(bit::ID)).or(identifier);
    next(bit::STREAM_ID);
    let (cpu, _reserved) = next(bit::CPU).map_or((u32::MAX, 0), halves_of);
    let period = u64_of(next(bit::PERIOD)).unwrap_or(1);
    let read = if layout.has(bit::READ) {
        Some(decode_read(&mut at, layout.read_format)?)
    } else {
        None
    };
    let chain = if layout.has(bit::CALLCHAIN) {
        let entries = at.u64()?;
        Chain {
            words: at.words(entries)?,
        }
    } else {
        Chain { words: &[] }
    };
    let stamp = Stamp {
        time_ns,
        pid: HostPid(pid),
        tid: HostTid(tid),
        cpu,
    };
    let mut sample = Sample {
        stamp,
        cgroup: None,
        period,
        ip: CodeAddr(ip),
        chain,
        event_id,
        read,
        branches: Branches { words: &[] },
        user_registers: None,
        user_stack: &[],
    };
    match layout.sample_type & BEHIND_CHAIN {
        0 => {}
        // What container-aware recordings have, and most no more.
        bit::CGROUP => sample.cgroup = Some(CgroupId(at.u64()?)),
        _ => decode_behind_chain(&mut at, layout, &mut sample)?,
    }
    Ok(sample)
}

/// `struct read_format`: one value, or a group of them.
fn decode_read<'a>(at: &mut Cursor<'a>, read_format: u64) -> Result<ReadValues<'a>, RecordError> {
    let has = |bit: u64| read_format & bit != 0;
    let times = u64::from(has(read_bits::TOTAL_TIME_ENABLED))
        + u64::from(has(read_bits::TOTAL_TIME_RUNNING));
    let has_id = has(read_bits::ID);
    if has(read_bits::GROUP) {
        let values = at.u64()?;
        at.skip_words(times)?;
        let words_each = 1 + u64::from(has_id) + u64::from(has(read_bits::LOST));
        let words = at.words(values.saturating_mul(words_each))?;
        let group = GroupValues::new(words, words_each as usize, has_id);
        return Ok(ReadValues::Group(group));
    }
    let value = at.u64()?;
    at.skip_words(times)?;
    let id = if has_id { Some(at.u64()?) } else { None };
    if has(read_bits::LOST) {
        at.u64()?;
    }
    Ok(ReadValues::One { value, id })
}

fn decode_behind_chain<'a>(
    at: &mut Cursor<'a>,
    layout: &Layout,
    sample: &mut Sample<'a>,
) -> Result<(), RecordError> {
    if layout.has(bit::RAW) {
        let len_bytes = at.u32()?;
        at.take(len_bytes as usize)?;
    }
    if layout.has(bit::BRANCH_STACK) {
        sample.branches = decode_branches(at, layout.branch_sample_type)?;
    }
    if layout.has(bit::REGS_USER) {
        sample.user_registers = decode_registers(at, layout.sample_regs_user)?;
    }
    if layout.has(bit::STACK_USER) {
        sample.user_stack = decode_user_stack(at)?;
    }
    if layout.sample_type & (bit::WEIGHT | bit::WEIGHT_STRUCT) != 0 {
        at.u64()?;
    }
    for skipped in [bit::DATA_SRC, bit::TRANSACTION] {
        if layout.has(skipped) {
            at.u64()?;
        }
    }
    if layout.has(bit::REGS_INTR) {
        decode_registers(at, layout.sample_regs_intr)?;
    }
    if layout.has(bit::PHYS_ADDR) {
        at.u64()?;
    }
    if layout.has(bit::CGROUP) {
        sample.cgroup = Some(CgroupId(at.u64()?));
    }
    for skipped in [bit::DATA_PAGE_SIZE, bit::CODE_PAGE_SIZE] {
        if layout.has(skipped) {
            at.u64()?;
        }
    }
    if layout.has(bit::AUX) {
        let len_bytes = at.u64()?;
        at.take(usize::try_from(len_bytes).unwrap_or(usize::MAX))?;
    }
    Ok(())
}

fn decode_branches<'a>(
    at: &mut Cursor<'a>,
    branch_sample_type: u64,
) -> Result<Branches<'a>, RecordError> {
    let branches = at.u64()?;
    if branch_sample_type & BRANCH_HW_INDEX != 0 {
        at.u64()?;
    }
    let words = at.words(branches.saturating_mul(3))?;
    if branch_sample_type & BRANCH_COUNTERS != 0 {
        at.skip_words(branches)?;
    }
    Ok(Branches { words })
}

/// The bytes dumped, cut to those that were there (`dyn_size`).
fn decode_user_stack<'a>(at: &mut Cursor<'a>) -> Result<&'a [u8], RecordError> {
    let len_bytes = at.u64()?;
    let dumped = at.take(usize::try_from(len_bytes).unwrap_or(usize::MAX))?;
    if len_bytes == 0 {
        return Ok(dumped);
    }
    let valid = usize::try_from(at.u64()?).unwrap_or(usize::MAX);
    Ok(dumped.get(..valid).unwrap_or(dumped))
}

/// An ABI word, and the registers of the mask unless the ABI says that there are none.
fn decode_registers<'a>(
    at: &mut Cursor<'a>,
    mask: u64,
) -> Result<Option<Registers<'a>>, RecordError> {
    let abi = at.u64()?;
    if abi == 0 {
        return Ok(None);
    }
    let words = at.words(u64::from(mask.count_ones()))?;
    Ok(Some(Registers::new(abi, mask, words)))
}
