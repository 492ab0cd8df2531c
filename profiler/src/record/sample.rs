//! `PERF_RECORD_SAMPLE`: the fields in the kernel's order (`perf_output_sample()`, kernel/events/core.c).

use super::RecordError;
use super::cursor::Cursor;
use super::event::{Chain, Sample, Stamp};
use super::layout::{BRANCH_HW_INDEX, Layout, read_bits, sample_bits as bit};
use crate::{CgroupId, CodeAddr, HostPid, HostTid};

/// Decodes the body of a sample.
pub(crate) fn decode<'a>(mut at: Cursor<'a>, layout: &Layout) -> Result<Sample<'a>, RecordError> {
    if layout.has(bit::IDENTIFIER) {
        at.u64()?;
    }
    let ip = if layout.has(bit::IP) { at.u64()? } else { 0 };
    let (pid, tid) = if layout.has(bit::TID) {
        (at.u32()?, at.u32()?)
    } else {
        (u32::MAX, u32::MAX)
    };
    let time_ns = if layout.has(bit::TIME) { at.u64()? } else { 0 };
    for skipped in [bit::ADDR, bit::ID, bit::STREAM_ID] {
        if layout.has(skipped) {
            at.u64()?;
        }
    }
    let cpu = if layout.has(bit::CPU) {
        at.u64()? as u32
    } else {
        u32::MAX
    };
    let period = if layout.has(bit::PERIOD) {
        at.u64()?
    } else {
        1
    };
    if layout.has(bit::READ) {
        skip_read(&mut at, layout.read_format)?;
    }
    let chain = if layout.has(bit::CALLCHAIN) {
        let entries = at.u64()?;
        Chain {
            words: at.words(entries)?,
        }
    } else {
        Chain { words: &[] }
    };
    // The fields between the chain and the cgroup are walked over only when the cgroup is wanted.
    let cgroup = if layout.has(bit::CGROUP) {
        Some(cgroup_after_chain(&mut at, layout)?)
    } else {
        None
    };
    let stamp = Stamp {
        time_ns,
        pid: HostPid(pid),
        tid: HostTid(tid),
        cpu,
    };
    Ok(Sample {
        stamp,
        cgroup,
        period,
        ip: CodeAddr(ip),
        chain,
    })
}

/// `struct read_format`: one value, or a group of them.
fn skip_read(at: &mut Cursor<'_>, read_format: u64) -> Result<(), RecordError> {
    let has = |bit: u64| u64::from(read_format & bit != 0);
    let per_value = 1 + has(read_bits::ID) + has(read_bits::LOST);
    let times = has(read_bits::TOTAL_TIME_ENABLED) + has(read_bits::TOTAL_TIME_RUNNING);
    let values = if read_format & read_bits::GROUP != 0 {
        at.u64()?
    } else {
        1
    };
    at.skip_words(times)?;
    at.skip_words(values.saturating_mul(per_value))
}

fn cgroup_after_chain(at: &mut Cursor<'_>, layout: &Layout) -> Result<CgroupId, RecordError> {
    if layout.has(bit::RAW) {
        let len_bytes = at.u32()?;
        at.take(len_bytes as usize)?;
    }
    if layout.has(bit::BRANCH_STACK) {
        let branches = at.u64()?;
        let index = u64::from(layout.branch_sample_type & BRANCH_HW_INDEX != 0);
        at.skip_words(branches.saturating_mul(3).saturating_add(index))?;
    }
    if layout.has(bit::REGS_USER) {
        skip_registers(at, layout.sample_regs_user)?;
    }
    if layout.has(bit::STACK_USER) {
        let len_bytes = at.u64()?;
        at.take(usize::try_from(len_bytes).unwrap_or(usize::MAX))?;
        if len_bytes != 0 {
            at.u64()?;
        }
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
        skip_registers(at, layout.sample_regs_intr)?;
    }
    if layout.has(bit::PHYS_ADDR) {
        at.u64()?;
    }
    Ok(CgroupId(at.u64()?))
}

/// An ABI word, and the registers of the mask unless the ABI says that there are none.
fn skip_registers(at: &mut Cursor<'_>, mask: u64) -> Result<(), RecordError> {
    if at.u64()? == 0 {
        return Ok(());
    }
    at.skip_words(u64::from(mask.count_ones()))
}
