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

/// What perf makes of type, configuration and exclusions; as long as 6.12, when most recordings were made.
pub(crate) fn derived(kind: u32, config: u64, flags: u64) -> String {
    named(kind, config, modifiers(flags, Guests::LeftOut))
}

/// What any perf makes of them.
pub(crate) fn spellings(kind: u32, config: u64, flags: u64) -> [String; 2] {
    [Guests::LeftOut, Guests::Sampled].map(|rule| named(kind, config, modifiers(flags, rule)))
}

/// What perf does with guests when nobody says, and so does not print.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guests {
    /// Up to 6.12: they are left out, but not by an event that has modifiers.
    LeftOut,
    /// Since 6.13 (`evsel__add_modifiers()` without `exclude_guest_default`).
    Sampled,
}

fn named(kind: u32, config: u64, modifiers: String) -> String {
    let low = usize::try_from(config & 0xffff_ffff).unwrap_or(usize::MAX);
    let plain = match kind {
        kind::HARDWARE => HARDWARE.get(low).map(|name| (*name).to_owned()),
        kind::SOFTWARE => SOFTWARE.get(low).map(|name| (*name).to_owned()),
        kind::HW_CACHE => cache_name(config),
        kind::TRACEPOINT => Some(format!("tracepoint:{config}")),
        kind::RAW => Some(format!("raw 0x{config:x}")),
        kind::BREAKPOINT => Some("mem".to_owned()),
        _ => None,
    };
    match plain {
        Some(name) if kind != kind::TRACEPOINT => name + &modifiers,
        Some(name) => name,
        None => format!("type {kind} config 0x{config:x}"),
    }
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

/// `:u`, `:ppp`, `:HG` and the like (`perf_evsel__add_modifiers()`).
fn modifiers(flags: u64, guests: Guests) -> String {
    let mut letters = String::new();
    let mut print = |pairs: &[(u64, char)]| {
        let included = pairs.iter().filter(|(excluded, _)| flags & excluded == 0);
        letters.extend(included.map(|(_, letter)| letter));
    };
    let is_excluding = flags & (flag::EXCLUDE_USER | flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV) != 0;
    if is_excluding {
        print(&[
            (flag::EXCLUDE_KERNEL, 'k'),
            (flag::EXCLUDE_USER, 'u'),
            (flag::EXCLUDE_HV, 'h'),
        ]);
    }
    let precise = flags >> flag::PRECISE_SHIFT & 3;
    for _ in 0..precise {
        print(&[(0, 'p')]);
    }
    let guest_is_excluded = flags & flag::EXCLUDE_GUEST != 0;
    let is_guest_worth_a_word = match guests {
        Guests::LeftOut => guest_is_excluded == (is_excluding || precise > 0),
        Guests::Sampled => guest_is_excluded,
    };
    if flags & flag::EXCLUDE_HOST != 0 || is_guest_worth_a_word {
        print(&[(flag::EXCLUDE_HOST, 'H'), (flag::EXCLUDE_GUEST, 'G')]);
    }
    if letters.is_empty() {
        return letters;
    }
    format!(":{letters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_perf_prints() {
        // What perf sets unless it is told otherwise.
        let plain = flag::EXCLUDE_GUEST;
        assert_eq!(derived(0, 0, plain), "cycles");
        assert_eq!(derived(0, 0, 0), "cycles:HG");
        let user_only = flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV;
        assert_eq!(derived(0, 1, user_only), "instructions:u");
        let precise = 2 << flag::PRECISE_SHIFT;
        assert_eq!(derived(0, 0, precise), "cycles:pp");
        assert_eq!(derived(0, 0, precise | plain), "cycles:ppH");
        let of_any_perf = |flags| spellings(0, 0, flags).map(|name| name.replace("cycles", ""));
        assert_eq!(of_any_perf(plain), ["", ":H"]);
        assert_eq!(of_any_perf(0), [":HG", ""]);
        assert_eq!(of_any_perf(user_only | plain), [":uH", ":uH"]);
        assert_eq!(of_any_perf(precise), [":pp", ":pp"]);
        assert_eq!(derived(1, 0, plain), "cpu-clock");
        assert_eq!(derived(3, 0x1_0003, plain), "dTLB-load-misses");
        assert_eq!(derived(4, 0x1a8, plain), "raw 0x1a8");
        assert_eq!(derived(9, 5, 0), "type 9 config 0x5");
    }
}
