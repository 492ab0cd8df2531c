//! The name that perf prints for an event whose recording does not name it.

use super::attr::flag;

/// `PERF_TYPE_*`.
mod kind {
    pub(super) const HARDWARE: u32 = 0;
    pub(super) const SOFTWARE: u32 = 1;
    pub(super) const TRACEPOINT: u32 = 2;
    pub(super) const HW_CACHE: u32 = 3;
    pub(super) const RAW: u32 = 4;
    pub(super) const BREAKPOINT: u32 = 5;
}

/// `enum perf_hw_id`, as `evsel__hw_names` of tools/perf spells it.
const HARDWARE: [&str; 10] = [
    "cycles",
    "instructions",
    "cache-references",
    "cache-misses",
    "branches",
    "branch-misses",
    "bus-cycles",
    "stalled-cycles-frontend",
    "stalled-cycles-backend",
    "ref-cycles",
];

/// `enum perf_sw_ids`.
const SOFTWARE: [&str; 12] = [
    "cpu-clock",
    "task-clock",
    "page-faults",
    "context-switches",
    "cpu-migrations",
    "minor-faults",
    "major-faults",
    "alignment-faults",
    "emulation-faults",
    "dummy",
    "bpf-output",
    "cgroup-switches",
];

/// `perf_hw_cache_id`, `perf_hw_cache_op_id`, `perf_hw_cache_op_result_id`.
const CACHES: [&str; 7] = [
    "L1-dcache",
    "L1-icache",
    "LLC",
    "dTLB",
    "iTLB",
    "branch",
    "node",
];
const CACHE_OPS: [(&str, &str); 3] = [
    ("loads", "load"),
    ("stores", "store"),
    ("prefetches", "prefetch"),
];

/// What perf makes of type, configuration and exclusions.
pub(crate) fn derived(kind: u32, config: u64, flags: u64) -> String {
    let low = usize::try_from(config & 0xffff_ffff).unwrap_or(usize::MAX);
    let name = match kind {
        kind::HARDWARE => HARDWARE.get(low).map(|name| (*name).to_owned()),
        kind::SOFTWARE => SOFTWARE.get(low).map(|name| (*name).to_owned()),
        kind::HW_CACHE => cache_name(config),
        kind::TRACEPOINT => Some(format!("tracepoint:{config}")),
        kind::RAW => Some(format!("raw 0x{config:x}")),
        kind::BREAKPOINT => Some("mem".to_owned()),
        _ => None,
    };
    let mut name = name.unwrap_or_else(|| format!("type {kind} config 0x{config:x}"));
    name.push_str(&modifiers(flags));
    name
}

fn cache_name(config: u64) -> Option<String> {
    let part = |shift: u32| usize::try_from(config >> shift & 0xff).unwrap_or(usize::MAX);
    let cache = CACHES.get(part(0))?;
    let (many, one) = CACHE_OPS.get(part(8))?;
    match part(16) {
        0 => Some(format!("{cache}-{many}")),
        1 => Some(format!("{cache}-{one}-misses")),
        _ => None,
    }
}

/// `:u`, `:kpp` and the like.
fn modifiers(flags: u64) -> String {
    let mut letters = String::new();
    let excluded = flags & (flag::EXCLUDE_USER | flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV);
    if excluded != 0 {
        for (bit, letter) in [
            (flag::EXCLUDE_KERNEL, 'k'),
            (flag::EXCLUDE_USER, 'u'),
            (flag::EXCLUDE_HV, 'h'),
        ] {
            if excluded & bit == 0 {
                letters.push(letter);
            }
        }
    }
    for _ in 0..flags >> flag::PRECISE_SHIFT & 3 {
        letters.push('p');
    }
    if !letters.is_empty() {
        letters.insert(0, ':');
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_perf_prints() {
        assert_eq!(derived(0, 0, 0), "cycles");
        let user_only = flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV;
        assert_eq!(derived(0, 1, user_only), "instructions:u");
        assert_eq!(derived(0, 0, 2 << flag::PRECISE_SHIFT), "cycles:pp");
        assert_eq!(derived(1, 0, 0), "cpu-clock");
        assert_eq!(derived(3, 0x1_0003, 0), "dTLB-load-misses");
        assert_eq!(derived(4, 0x1a8, 0), "raw 0x1a8");
        assert_eq!(derived(9, 5, 0), "type 9 config 0x5");
    }
}
