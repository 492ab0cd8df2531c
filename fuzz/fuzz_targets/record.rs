//! One record, laid out as the first bytes say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler::record::{Layout, decode};

fuzz_target!(|bytes: &[u8]| {
    let Some((head, record)) = bytes.split_first_chunk::<40>() else {
        return;
    };
    let word = |at: usize| {
        let bytes = head.get(at..).and_then(|rest| rest.first_chunk::<8>());
        u64::from_le_bytes(bytes.copied().unwrap_or_default())
    };
    let layout = Layout {
        sample_type: word(0),
        read_format: word(8),
        branch_sample_type: word(16),
        sample_regs_user: word(24),
        sample_regs_intr: word(32),
        sample_id_all: word(0) >> 63 == 1,
    };
    let _ = decode(record, &layout);
    // The same with a size that fits: beyond the first check.
    let mut record = record.to_vec();
    if record.len() >= 8 {
        record.truncate(0xffff);
        let size = (record.len() as u16).to_ne_bytes();
        record[6..8].copy_from_slice(&size);
        let _ = decode(&record, &layout);
    }
});
