//! `struct perf_event_attr` of any size and either byte order becomes a [`RecordedEvent`].

use super::about::RecordedEvent;
use super::bytes::Fields;
use super::{PerfDataError, event_name};
use crate::record::Layout;

/// `PERF_ATTR_SIZE_VER0`: the first published size, and what a size of 0 means.
const SMALLEST_BYTES: u32 = 64;

/// Bits of the attr's bit field.
pub(crate) mod flag {
    pub(crate) const EXCLUDE_USER: u64 = 1 << 4;
    pub(crate) const EXCLUDE_KERNEL: u64 = 1 << 5;
    pub(crate) const EXCLUDE_HV: u64 = 1 << 6;
    pub(crate) const FREQUENCY: u64 = 1 << 10;
    pub(crate) const SAMPLE_ID_ALL: u64 = 1 << 18;
    pub(crate) const USE_CLOCK: u64 = 1 << 25;
    /// The records that our recordings have: mmap, comm, task, mmap2, comm_exec, namespaces, ksymbol,
    /// cgroup, build_id.
    pub(crate) const RECORDS: u64 =
        1 << 8 | 1 << 9 | 1 << 13 | 1 << 23 | 1 << 24 | 1 << 28 | 1 << 29 | 1 << 32 | 1 << 34;
    pub(crate) const EXCLUDE_HOST: u64 = 1 << 19;
    pub(crate) const EXCLUDE_GUEST: u64 = 1 << 20;
    /// `precise_ip`, two bits.
    pub(crate) const PRECISE_SHIFT: u32 = 15;
}

/// Reads one attr and leaves `fields` behind it, where its own size says. A tail that is newer than
/// this reader is skipped; what an older attr lacks is zero.
pub(crate) fn read(fields: &mut Fields<'_>) -> Result<RecordedEvent, PerfDataError> {
    let mut peek = *fields;
    let (_kind, mut size_bytes) = (peek.u32()?, peek.u32()?);
    if size_bytes == 0 {
        size_bytes = SMALLEST_BYTES;
    }
    if size_bytes < SMALLEST_BYTES {
        return Err(PerfDataError::BadField {
            offset: fields.offset() + 4,
            what: "size of an event's attributes (64 or more expected)",
            found: u64::from(size_bytes),
        });
    }
    let (offset, order) = (fields.offset(), fields.order());
    let bytes = fields.take(size_bytes as usize)?;
    let mut attr = Fields::new(bytes, offset, order, "event's attributes");
    let (kind, _size) = (attr.u32()?, attr.u32()?);
    let (config, period_or_hz) = (attr.u64()?, attr.u64()?);
    let (sample_type, read_format) = (attr.u64()?, attr.u64()?);
    let flags = order.bit_field(attr.array()?);
    // wakeup, bp_type, config1: the end of the first published size.
    attr.take(16)?;
    // config2 follows; sizes grow by whole fields, and what is not there is zero.
    let mut later = |skip: usize| -> u64 {
        let _ = attr.take(skip);
        attr.u64().unwrap_or(0)
    };
    let branch_sample_type = later(8);
    let sample_regs_user = later(0);
    // sample_stack_user, then the clock.
    let clock_id = attr.take(4).and_then(|_| attr.u32()).unwrap_or(0);
    let sample_regs_intr = attr.u64().unwrap_or(0);
    // aux_watermark, then a u16 and a reserved one.
    let max_stack = attr.take(4).and_then(|_| attr.u16()).unwrap_or(0);
    Ok(RecordedEvent {
        name: event_name::derived(kind, config, flags),
        kind,
        config,
        flags,
        layout: Layout {
            sample_type,
            read_format,
            branch_sample_type,
            sample_regs_user,
            sample_regs_intr,
            sample_id_all: flags & flag::SAMPLE_ID_ALL != 0,
        },
        period_or_hz,
        is_frequency: flags & flag::FREQUENCY != 0,
        max_stack,
        clock_id: (flags & flag::USE_CLOCK != 0).then_some(clock_id),
        ids: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::bytes::ByteOrder;
    use super::*;

    /// An attr of `size` bytes whose every field is its own number.
    fn attr(size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(1u32.to_le_bytes());
        bytes.extend((size as u32).to_le_bytes());
        for word in [
            0u64,
            4999,
            0x27,
            4,
            1 << 10 | 1 << 18,
            0,
            0,
            0,
            77,
            88,
            0,
            99,
        ] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.resize(size.max(bytes.len()), 0xee);
        bytes.truncate(size);
        bytes
    }

    fn read_le(bytes: &[u8]) -> Result<(RecordedEvent, usize), PerfDataError> {
        let mut fields = Fields::new(bytes, 0, ByteOrder::Little, "attr");
        Ok((read(&mut fields)?, fields.rest().len()))
    }

    #[test]
    fn attrs_of_every_size_are_read_as_far_as_they_go() {
        for (size, branch, user, intr) in [
            (64, 0, 0, 0),
            (72, 0, 0, 0),
            (80, 77, 0, 0),
            (96, 77, 88, 0),
            (104, 77, 88, 99),
            (136, 77, 88, 99),
            (4096, 77, 88, 99),
        ] {
            let mut bytes = attr(size);
            bytes.extend([1, 2, 3]);
            let (event, left) = read_le(&bytes).expect("a whole attr");
            assert_eq!(left, 3, "behind an attr of {size}");
            assert_eq!(
                (event.name.as_str(), event.period_or_hz),
                ("cpu-clock:HG", 4999)
            );
            let layout = event.layout;
            assert_eq!((layout.sample_type, layout.read_format), (0x27, 4));
            assert!(layout.sample_id_all && event.is_frequency);
            let found = (
                layout.branch_sample_type,
                layout.sample_regs_user,
                layout.sample_regs_intr,
            );
            assert_eq!(found, (branch, user, intr), "in an attr of {size}");
        }
    }

    #[test]
    fn the_clock_is_known_where_one_was_chosen() {
        let clock = |flags: u64, clock: u32| {
            let mut bytes = attr(112);
            bytes[40..48].copy_from_slice(&flags.to_le_bytes());
            bytes[92..96].copy_from_slice(&clock.to_le_bytes());
            read_le(&bytes).expect("a whole attr").0
        };
        assert_eq!(clock(0, 1).clock_id, None);
        assert_eq!(clock(flag::USE_CLOCK, 7).clock_id, Some(7));
        let chosen = clock(flag::USE_CLOCK, 1);
        assert!(chosen.is_monotonic());
        assert_eq!(chosen.layout.sample_regs_intr, 99);
        for other in [clock(0, 1), clock(flag::USE_CLOCK, 4)] {
            assert!(!other.is_monotonic());
        }
        let mut untimed = chosen;
        untimed.layout.sample_type = 3;
        assert!(!untimed.is_monotonic());
    }

    #[test]
    fn every_truncation_is_an_error_and_never_a_panic() {
        let whole = attr(112);
        for len in 0..whole.len() {
            assert!(read_le(&whole[..len]).is_err(), "accepted {len} of 112");
        }
        let mut small = attr(64);
        small[4] = 63;
        assert!(read_le(&small).is_err());
    }
}
