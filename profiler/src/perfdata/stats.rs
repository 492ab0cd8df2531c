//! How many records of each type were read, under the names of `perf report --stats`.

/// Types from here on are no records of any perf.
pub(crate) const KINDS: usize = 256;

/// Records by type, user-space types included; what was decompressed counts as what it became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    counts: Vec<u64>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            counts: vec![0; KINDS],
        }
    }
}

impl Stats {
    pub(crate) fn count(&mut self, kind: u32) {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
    }

    /// Records of all types.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Records of one type (`PERF_RECORD_*`).
    pub fn of(&self, kind: u32) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }

    /// (type, name, count) of every type that occurred, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'static str, u64)> + '_ {
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count != 0)
            .map(|(kind, count)| (kind as u32, name(kind as u32), *count))
    }
}

/// `perf_event__name()` of tools/perf.
fn name(kind: u32) -> &'static str {
    match kind {
        1 => "MMAP",
        2 => "LOST",
        3 => "COMM",
        4 => "EXIT",
        5 => "THROTTLE",
        6 => "UNTHROTTLE",
        7 => "FORK",
        8 => "READ",
        9 => "SAMPLE",
        10 => "MMAP2",
        11 => "AUX",
        12 => "ITRACE_START",
        13 => "LOST_SAMPLES",
        14 => "SWITCH",
        15 => "SWITCH_CPU_WIDE",
        16 => "NAMESPACES",
        17 => "KSYMBOL",
        18 => "BPF_EVENT",
        19 => "CGROUP",
        20 => "TEXT_POKE",
        21 => "AUX_OUTPUT_HW_ID",
        22 => "CALLCHAIN_DEFERRED",
        64 => "ATTR",
        65 => "EVENT_TYPE",
        66 => "TRACING_DATA",
        67 => "BUILD_ID",
        68 => "FINISHED_ROUND",
        69 => "ID_INDEX",
        70 => "AUXTRACE_INFO",
        71 => "AUXTRACE",
        72 => "AUXTRACE_ERROR",
        73 => "THREAD_MAP",
        74 => "CPU_MAP",
        75 => "STAT_CONFIG",
        76 => "STAT",
        77 => "STAT_ROUND",
        78 => "EVENT_UPDATE",
        79 => "TIME_CONV",
        80 => "FEATURE",
        81 => "COMPRESSED",
        82 => "FINISHED_INIT",
        83 => "COMPRESSED2",
        _ => "UNKNOWN",
    }
}
