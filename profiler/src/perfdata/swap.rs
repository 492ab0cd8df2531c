//! A record of a foreign byte order, turned round in place, field by field: so that there is one decoder.

use super::bytes::ByteOrder;
use super::events::SAMPLE;
use crate::record::{Layout, read_bits, sample_bits as bit};

/// `PERF_SAMPLE_BRANCH_HW_INDEX` and `PERF_SAMPLE_BRANCH_COUNTERS` add words to a branch stack.
const BRANCH_HW_INDEX: u64 = 1 << 17;
const BRANCH_COUNTERS: u64 = 1 << 19;

/// Widths of the fields that follow a record's header; what follows them is text or bytes.
fn widths(kind: u32) -> &'static [usize] {
    match kind {
        // MMAP: pid, tid, start, length, offset, path
        1 => &[4, 4, 8, 8, 8],
        // LOST, LOST_SAMPLES, THROTTLE, UNTHROTTLE, AUX, AUX_OUTPUT_HW_ID
        2 => &[8, 8],
        13 | 21 => &[8],
        5 | 6 | 11 => &[8, 8, 8],
        // COMM
        3 => &[4, 4],
        // EXIT, FORK: pid, ppid, tid, ptid, time
        4 | 7 => &[4, 4, 4, 4, 8],
        // MMAP2 with an inode; with a build id those fields are bytes
        10 => &[4, 4, 8, 8, 8, 4, 4, 8, 8, 4, 4],
        // ITRACE_START, SWITCH_CPU_WIDE
        12 | 15 => &[4, 4],
        // KSYMBOL: address, length, type, flags, name
        17 => &[8, 4, 2, 2],
        // BPF_EVENT: type, flags, id, tag
        18 => &[2, 2, 4],
        // CGROUP
        19 => &[8],
        // TEXT_POKE
        20 => &[8, 2, 2],
        _ => &[],
    }
}

const MMAP2: u32 = 10;
const READ: u32 = 8;
const NAMESPACES: u32 = 16;
const MISC_MMAP_BUILD_ID: u16 = 1 << 14;

/// Turns a record's header round: (type, misc, size) as they now are.
pub(crate) fn swap_header(record: &mut [u8], from: ByteOrder) {
    let mut at = Swapper {
        bytes: record,
        from,
    };
    at.field::<4>();
    at.field::<2>();
    at.field::<2>();
}

/// Turns round what follows the header. A record that is too short stays half turned: its decoder
/// finds it short just the same.
pub(crate) fn swap_body(kind: u32, misc: u16, record: &mut [u8], from: ByteOrder, layout: &Layout) {
    let Some(body) = record.get_mut(8..) else {
        return;
    };
    if kind == SAMPLE {
        swap_sample(&mut Swapper { bytes: body, from }, layout);
        return;
    }
    let Some(fields_len) = body.len().checked_sub(layout.trailer_len_bytes()) else {
        return;
    };
    let (fields, trailer) = body.split_at_mut(fields_len);
    let mut at = Swapper {
        bytes: fields,
        from,
    };
    match kind {
        MMAP2 if misc & MISC_MMAP_BUILD_ID != 0 => {
            at.widths(&[4, 4, 8, 8, 8]);
            at.skip(24);
            at.widths(&[4, 4]);
        }
        NAMESPACES | READ => {
            at.widths(&[4, 4]);
            at.words(u64::MAX);
        }
        _ => at.widths(widths(kind)),
    }
    swap_trailer(
        &mut Swapper {
            bytes: trailer,
            from,
        },
        layout,
    );
}

fn swap_trailer(at: &mut Swapper<'_>, layout: &Layout) {
    for field in [
        bit::TID,
        bit::TIME,
        bit::ID,
        bit::STREAM_ID,
        bit::CPU,
        bit::IDENTIFIER,
    ] {
        if layout.has(field) {
            match field {
                bit::TID | bit::CPU => at.widths(&[4, 4]),
                _ => at.widths(&[8]),
            }
        }
    }
}

/// The fields in the order of `record::sample`, lengths read before they are turned.
fn swap_sample(at: &mut Swapper<'_>, layout: &Layout) {
    let leading = [
        bit::IDENTIFIER,
        bit::IP,
        bit::TID,
        bit::TIME,
        bit::ADDR,
        bit::ID,
        bit::STREAM_ID,
        bit::CPU,
        bit::PERIOD,
    ];
    for field in leading {
        if layout.has(field) {
            match field {
                bit::TID | bit::CPU => at.widths(&[4, 4]),
                _ => at.widths(&[8]),
            }
        }
    }
    if layout.has(bit::READ) {
        let has = |bit: u64| u64::from(layout.read_format & bit != 0);
        let times = has(read_bits::TOTAL_TIME_ENABLED) + has(read_bits::TOTAL_TIME_RUNNING);
        let each = 1 + has(read_bits::ID) + has(read_bits::LOST);
        let values = if has(read_bits::GROUP) == 1 {
            at.word()
        } else {
            1
        };
        at.words(values.saturating_mul(each).saturating_add(times));
    }
    if layout.has(bit::CALLCHAIN) {
        let entries = at.word();
        at.words(entries);
    }
    if layout.has(bit::RAW) {
        let len_bytes = at.field::<4>();
        at.skip(len_bytes);
    }
    if layout.has(bit::BRANCH_STACK) {
        let branches = at.word();
        let flags = layout.branch_sample_type;
        let index = u64::from(flags & BRANCH_HW_INDEX != 0);
        let each = 3 + u64::from(flags & BRANCH_COUNTERS != 0);
        at.words(branches.saturating_mul(each).saturating_add(index));
    }
    if layout.has(bit::REGS_USER) && at.word() != 0 {
        at.words(u64::from(layout.sample_regs_user.count_ones()));
    }
    if layout.has(bit::STACK_USER) {
        let len_bytes = at.word();
        at.skip(len_bytes);
        if len_bytes != 0 {
            at.word();
        }
    }
    for one in [
        bit::WEIGHT | bit::WEIGHT_STRUCT,
        bit::DATA_SRC,
        bit::TRANSACTION,
    ] {
        if layout.sample_type & one != 0 {
            at.word();
        }
    }
    if layout.has(bit::REGS_INTR) && at.word() != 0 {
        at.words(u64::from(layout.sample_regs_intr.count_ones()));
    }
    let behind = [
        bit::PHYS_ADDR,
        bit::CGROUP,
        bit::DATA_PAGE_SIZE,
        bit::CODE_PAGE_SIZE,
    ];
    for one in behind.into_iter().chain([bit::AUX]) {
        if layout.has(one) {
            at.word();
        }
    }
}

/// Turns one field after the other; stops at the end of the bytes.
struct Swapper<'a> {
    bytes: &'a mut [u8],
    /// The order that the bytes have before.
    from: ByteOrder,
}

impl Swapper<'_> {
    /// One field of `N` bytes; its value.
    fn field<const N: usize>(&mut self) -> u64 {
        let Some((field, rest)) = std::mem::take(&mut self.bytes).split_first_chunk_mut::<N>()
        else {
            return 0;
        };
        let value = field.iter().enumerate().fold(0, |value, (at, byte)| {
            let shift = match self.from {
                ByteOrder::Little => 8 * at,
                ByteOrder::Big => 8 * (N - 1 - at),
            };
            value | u64::from(*byte) << shift
        });
        field.reverse();
        self.bytes = rest;
        value
    }

    fn word(&mut self) -> u64 {
        self.field::<8>()
    }

    fn words(&mut self, count: u64) {
        let fitting = (self.bytes.len() / 8) as u64;
        for _ in 0..count.min(fitting) {
            self.word();
        }
    }

    fn widths(&mut self, widths: &[usize]) {
        for width in widths {
            match width {
                2 => self.field::<2>(),
                4 => self.field::<4>(),
                _ => self.field::<8>(),
            };
        }
    }

    fn skip(&mut self, len_bytes: u64) {
        let len = usize::try_from(len_bytes)
            .unwrap_or(usize::MAX)
            .min(self.bytes.len());
        let (_, rest) = std::mem::take(&mut self.bytes).split_at_mut(len);
        self.bytes = rest;
    }
}
