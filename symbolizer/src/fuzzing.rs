//! Readers of foreign bytes, for the fuzzer alone (`fuzz/`): no part of what this crate offers.

use crate::jitdump::{CodeNames, Header, Timeline, Times};
use crate::jitmap::{JitMap, JitMapLimits, Lines};

/// A perf map within the limits that a recording has.
pub struct PerfMap(JitMap);

impl PerfMap {
    /// Reads one. Memory cannot fail.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        JitMap::read(bytes, &JitMapLimits::default(), Lines::All)
            .ok()
            .map(Self)
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

/// A jitdump as it is applied to the code of its process.
pub struct JitDump<'a> {
    bytes: &'a [u8],
    header: Header,
    names: CodeNames,
    timeline: Timeline,
    is_read: bool,
    /// Records that say nothing.
    pub bad_records: u64,
}

impl<'a> JitDump<'a> {
    /// Takes one whose header can be believed.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            bytes,
            header: Header::read(bytes).ok()?,
            names: CodeNames::default(),
            timeline: Timeline::default(),
            is_read: false,
            bad_records: 0,
        })
    }

    /// The process that it is of.
    pub fn pid(&self) -> u32 {
        self.header.pid
    }

    /// Goes on to a time, reading `few` records at once.
    pub fn advance(&mut self, time_ns: u64, few: usize) {
        let Self {
            bytes,
            header,
            is_read,
            bad_records,
            ..
        } = self;
        let pid = header.pid;
        let mut more = || {
            if *is_read {
                return None;
            }
            // Memory cannot fail.
            let chunk = header.records.read(*bytes, pid, few).ok()?;
            *is_read = chunk.is_last || chunk.damage.is_some();
            *bad_records += chunk.bad_records;
            Some(chunk)
        };
        let times = Times::Comparable;
        let names = &mut self.names;
        self.timeline.advance(time_ns, times, names, &mut more);
    }

    /// The function at an address at that time.
    pub fn lookup(&self, address: u64) -> Option<&[u8]> {
        let name = self.timeline.find(address)?;
        Some(self.names.get(name))
    }
}
