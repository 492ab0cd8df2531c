//! Readers of foreign bytes, for the fuzzer alone (`fuzz/`): no part of what this crate offers.

use crate::jitmap::{JitMap, JitMapLimits};

/// A perf map within the limits that a recording has.
pub struct PerfMap(JitMap);

impl PerfMap {
    /// Reads one. Memory cannot fail.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        JitMap::read(bytes, &JitMapLimits::default()).ok().map(Self)
    }

    /// The name at an address.
    pub fn lookup(&self, address: u64) -> Option<&[u8]> {
        self.0.lookup(address)
    }

    /// Lines that say nothing.
    pub fn bad_lines(&self) -> u64 {
        self.0.bad_lines()
    }
}
