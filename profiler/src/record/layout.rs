//! Which fields a record carries and where: what an event's `perf_event_attr` promised.

/// `PERF_SAMPLE_*` bits of `perf_event_attr.sample_type` (include/uapi/linux/perf_event.h).
pub(crate) mod sample_bits {
    pub(crate) const IP: u64 = 1 << 0;
    pub(crate) const TID: u64 = 1 << 1;
    pub(crate) const TIME: u64 = 1 << 2;
    pub(crate) const ADDR: u64 = 1 << 3;
    pub(crate) const READ: u64 = 1 << 4;
    pub(crate) const CALLCHAIN: u64 = 1 << 5;
    pub(crate) const ID: u64 = 1 << 6;
    pub(crate) const CPU: u64 = 1 << 7;
    pub(crate) const PERIOD: u64 = 1 << 8;
    pub(crate) const STREAM_ID: u64 = 1 << 9;
    pub(crate) const RAW: u64 = 1 << 10;
    pub(crate) const BRANCH_STACK: u64 = 1 << 11;
    pub(crate) const REGS_USER: u64 = 1 << 12;
    pub(crate) const STACK_USER: u64 = 1 << 13;
    pub(crate) const WEIGHT: u64 = 1 << 14;
    pub(crate) const DATA_SRC: u64 = 1 << 15;
    pub(crate) const IDENTIFIER: u64 = 1 << 16;
    pub(crate) const TRANSACTION: u64 = 1 << 17;
    pub(crate) const REGS_INTR: u64 = 1 << 18;
    pub(crate) const PHYS_ADDR: u64 = 1 << 19;
    pub(crate) const AUX: u64 = 1 << 20;
    pub(crate) const CGROUP: u64 = 1 << 21;
    pub(crate) const DATA_PAGE_SIZE: u64 = 1 << 22;
    pub(crate) const CODE_PAGE_SIZE: u64 = 1 << 23;
    pub(crate) const WEIGHT_STRUCT: u64 = 1 << 24;
}

/// `PERF_FORMAT_*` bits of `perf_event_attr.read_format`.
pub(crate) mod read_bits {
    pub(crate) const TOTAL_TIME_ENABLED: u64 = 1 << 0;
    pub(crate) const TOTAL_TIME_RUNNING: u64 = 1 << 1;
    pub(crate) const ID: u64 = 1 << 2;
    pub(crate) const GROUP: u64 = 1 << 3;
    pub(crate) const LOST: u64 = 1 << 4;
}

/// `PERF_SAMPLE_BRANCH_HW_INDEX`: a branch stack starts with the index of its newest entry.
pub(crate) const BRANCH_HW_INDEX: u64 = 1 << 17;

/// `PERF_SAMPLE_BRANCH_CALL_STACK`: of the branches, only calls that have not returned are kept.
const BRANCH_CALL_STACK: u64 = 1 << 11;

/// `PERF_SAMPLE_BRANCH_COUNTERS`: behind the entries, one word of counts for each (Linux 6.8).
pub(crate) const BRANCH_COUNTERS: u64 = 1 << 19;

/// The parts of a `perf_event_attr` that decide how its records are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `PERF_SAMPLE_*` bits.
    pub sample_type: u64,
    /// `PERF_FORMAT_*` bits.
    pub read_format: u64,
    /// `PERF_SAMPLE_BRANCH_*` bits.
    pub branch_sample_type: u64,
    /// One bit for each user register dumped.
    pub sample_regs_user: u64,
    /// One bit for each register dumped at the interrupt.
    pub sample_regs_intr: u64,
    /// Records other than samples end in a `sample_id`.
    pub sample_id_all: bool,
}

/// Fields of the `sample_id` trailer, in its order (perf_event_open(2), `struct sample_id`).
const TRAILER: [u64; 6] = [
    sample_bits::TID,
    sample_bits::TIME,
    sample_bits::ID,
    sample_bits::STREAM_ID,
    sample_bits::CPU,
    sample_bits::IDENTIFIER,
];

/// Fields before a sample's time, in their order.
const BEFORE_TIME: [u64; 3] = [sample_bits::IDENTIFIER, sample_bits::IP, sample_bits::TID];

/// Fields before a sample's id where it has no IDENTIFIER, in their order.
const BEFORE_ID: [u64; 4] = [
    sample_bits::IP,
    sample_bits::TID,
    sample_bits::TIME,
    sample_bits::ADDR,
];

/// Fields of a sample before its counters and its chain: each is one word.
const HEAD: u64 = sample_bits::IDENTIFIER
    | sample_bits::IP
    | sample_bits::TID
    | sample_bits::TIME
    | sample_bits::ADDR
    | sample_bits::ID
    | sample_bits::STREAM_ID
    | sample_bits::CPU
    | sample_bits::PERIOD;

impl Layout {
    /// Words that a sample has before its counters and its chain.
    pub(crate) fn head_words(&self) -> u64 {
        u64::from((self.sample_type & HEAD).count_ones())
    }

    /// Whether all of `bits` are in the sample type.
    pub(crate) fn has(&self, bits: u64) -> bool {
        self.sample_type & bits == bits
    }

    /// Whether samples have user registers and a copy of the user stack.
    pub fn has_user_stacks(&self) -> bool {
        self.has(sample_bits::REGS_USER | sample_bits::STACK_USER)
    }

    /// Whether samples have branch stacks.
    pub fn has_branches(&self) -> bool {
        self.has(sample_bits::BRANCH_STACK)
    }

    /// Whether they are of calls that have not returned, rather than of any branches.
    pub fn has_call_branches(&self) -> bool {
        self.has_branches() && self.branch_sample_type & BRANCH_CALL_STACK != 0
    }

    /// Length of the `sample_id` trailer: every field is eight bytes.
    pub(crate) fn trailer_len_bytes(&self) -> usize {
        if !self.sample_id_all {
            return 0;
        }
        8 * TRAILER.iter().filter(|bit| self.has(**bit)).count()
    }

    /// Where in a record its time is, in bytes from the record's start (`record_len_bytes` long,
    /// header included); `None` when it carries none.
    pub(crate) fn time_offset_bytes(
        &self,
        is_sample: bool,
        record_len_bytes: usize,
    ) -> Option<usize> {
        if !self.has(sample_bits::TIME) {
            return None;
        }
        if is_sample {
            return Some(8 + 8 * BEFORE_TIME.iter().filter(|bit| self.has(**bit)).count());
        }
        let trailer = self.trailer_len_bytes();
        if trailer == 0 {
            return None;
        }
        let before_time = if self.has(sample_bits::TID) { 8 } else { 0 };
        record_len_bytes
            .checked_sub(trailer)
            .map(|start| start + before_time)
    }

    /// Where a sample's event id is, in bytes from the record's start.
    pub(crate) fn sample_id_offset_bytes(&self) -> Option<usize> {
        if self.has(sample_bits::IDENTIFIER) {
            return Some(8);
        }
        self.has(sample_bits::ID)
            .then(|| 8 + 8 * BEFORE_ID.iter().filter(|bit| self.has(**bit)).count())
    }

    /// Where another record's event id is, in bytes back from the record's end.
    pub(crate) fn trailer_id_back_bytes(&self) -> Option<usize> {
        if !self.sample_id_all {
            return None;
        }
        if self.has(sample_bits::IDENTIFIER) {
            return Some(8);
        }
        let behind = [sample_bits::STREAM_ID, sample_bits::CPU];
        self.has(sample_bits::ID)
            .then(|| 8 + 8 * behind.iter().filter(|bit| self.has(**bit)).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_found_without_decoding_the_record() {
        let layout = Layout {
            sample_type: sample_bits::IP | sample_bits::TID | sample_bits::TIME | sample_bits::CPU,
            read_format: 0,
            branch_sample_type: 0,
            sample_regs_user: 0,
            sample_regs_intr: 0,
            sample_id_all: true,
        };
        // header, ip, pid+tid, time
        assert_eq!(layout.time_offset_bytes(true, 200), Some(24));
        // trailer: pid+tid, time, cpu
        assert_eq!(layout.trailer_len_bytes(), 24);
        assert_eq!(layout.time_offset_bytes(false, 64), Some(48));
        assert_eq!(layout.time_offset_bytes(false, 16), None);
        let untimed = Layout {
            sample_type: sample_bits::IP,
            ..layout
        };
        assert_eq!(untimed.time_offset_bytes(true, 200), None);
    }
}
