//! Which of a recording's events a name means, as somebody types it who has read it in perf.
//!
//! perf prints an event by the name that it was asked for, where the recording tells it (EVENT_DESC has
//! the text of `-e`: `cpu-clock:u`, `cycles:P`, `cpu/cycles/ppp`), and otherwise makes one of type,
//! configuration and exclusions, `cpu-clock:uH`, `cycles:ppp`; so that one event goes by several.

use super::about::RecordedEvent;
use super::attr::flag;
use super::event_name;

/// The event that `wanted` means: the one that has this name; else the one that perf calls so; else the
/// one of this name whose modifiers say the same; else, if `wanted` has no modifiers, the one of this
/// name. If none is, or several are, those that are.
pub(crate) fn find(events: &[RecordedEvent], wanted: &str) -> Result<usize, Vec<usize>> {
    if let Some(exact) = events.iter().position(|event| event.name == wanted) {
        return Ok(exact);
    }
    let (wanted_name, wanted_modifiers) = split(wanted);
    let is_plain = wanted_modifiers.is_empty();
    let is_meant: [&IsMeant; 3] = [
        &|_, name| name == wanted,
        &|event, name| {
            let (name, modifiers) = split(name);
            !is_plain
                && name == wanted_name
                && Modifiers::of(wanted_modifiers).mean(Modifiers::of(modifiers), event)
        },
        &|_, name| is_plain && split(name).0 == wanted_name,
    ];
    for is_meant in is_meant {
        let found: Vec<usize> = events
            .iter()
            .enumerate()
            .filter(|(_, event)| {
                let mut names = names_of_perf(event).into_iter();
                is_meant(event, &event.name) || names.any(|name| is_meant(event, &name))
            })
            .map(|(at, _)| at)
            .collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok(*one),
            _ => return Err(found),
        }
    }
    Err(Vec::new())
}

/// Whether an event is meant, by one of its names.
type IsMeant<'a> = dyn Fn(&RecordedEvent, &str) -> bool + 'a;

fn names_of_perf(event: &RecordedEvent) -> [String; 2] {
    event_name::spellings(event.kind, event.config, event.flags)
}

/// A name and its modifiers: what follows the last colon, of a PMU's event the last slash. A
/// tracepoint's name has a colon of its own (`sched:sched_switch`).
fn split(name: &str) -> (&str, &str) {
    // `event_modifiers` of tools/perf/util/parse-events.l.
    let is_modifiers = |text: &str| {
        let mut letters = text.chars();
        letters.all(|letter| "ukhpPGHSDIWeRbX".contains(letter))
    };
    if let Some((pmu, rest)) = name.rsplit_once('/') {
        let modifiers = rest.strip_prefix(':').unwrap_or(rest);
        if is_modifiers(modifiers) {
            // Up to and with the slash.
            return (name.get(..pmu.len() + 1).unwrap_or(name), modifiers);
        }
    }
    match name.rsplit_once(':') {
        Some((name, modifiers)) if !modifiers.is_empty() && is_modifiers(modifiers) => {
            (name, modifiers)
        }
        _ => (name, ""),
    }
}

/// What modifiers say of which samples are taken. Those of groups, of pinning and the like say nothing
/// of that, and perf does not print them but where they were typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Modifiers {
    user: bool,
    kernel: bool,
    hypervisor: bool,
    host: bool,
    guest: bool,
    /// How many `p`.
    precise: u8,
    /// `P`: as precise as can be, which perf made one to three `p` when it recorded.
    most_precise: bool,
}

impl Modifiers {
    fn of(letters: &str) -> Self {
        let mut modifiers = Self::default();
        for letter in letters.chars() {
            match letter {
                'u' => modifiers.user = true,
                'k' => modifiers.kernel = true,
                'h' => modifiers.hypervisor = true,
                'H' => modifiers.host = true,
                'G' => modifiers.guest = true,
                'p' => modifiers.precise = modifiers.precise.saturating_add(1),
                'P' => modifiers.most_precise = true,
                _ => {}
            }
        }
        modifiers
    }

    /// Whether these are those of `event`, whose name has the modifiers `named`. Whether perf prints `H` and
    /// `G` depends on its version: there the attributes are asked.
    fn mean(self, named: Self, event: &RecordedEvent) -> bool {
        let modes = |one: Self| (one.user, one.kernel, one.hypervisor);
        let is_sampled = |excluded| event.flags & excluded == 0;
        let machine_agrees = (!self.host && !self.guest)
            || self.host == is_sampled(flag::EXCLUDE_HOST)
                && self.guest == is_sampled(flag::EXCLUDE_GUEST);
        let precise_agrees = if self.most_precise {
            named.most_precise || named.precise > 0
        } else {
            !named.most_precise && named.precise == self.precise
        };
        modes(self) == modes(named) && machine_agrees && precise_agrees
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Layout;

    const USER_ONLY: u64 = flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV | flag::EXCLUDE_GUEST;

    fn cycles(name: &str, flags: u64) -> RecordedEvent {
        RecordedEvent {
            name: name.to_owned(),
            kind: 0,
            config: 0,
            flags,
            clock_id: None,
            layout: Layout {
                sample_type: 0,
                read_format: 0,
                branch_sample_type: 0,
                sample_regs_user: 0,
                sample_regs_intr: 0,
                sample_id_all: true,
            },
            period_or_hz: 1,
            is_frequency: false,
            max_stack: 0,
            ids: Vec::new(),
        }
    }

    fn other(name: &str) -> RecordedEvent {
        RecordedEvent {
            kind: 2,
            config: 77,
            ..cycles(name, 0)
        }
    }

    #[test]
    fn an_event_goes_by_its_recorded_name_and_by_those_that_perf_makes() {
        let precise = 3 << flag::PRECISE_SHIFT | flag::EXCLUDE_GUEST;
        let events = [
            cycles("cycles:u", USER_ONLY),
            cycles("cycles:P", precise),
            other("sched:sched_switch"),
            other("cpu/instructions/ku"),
        ];
        for (wanted, expected) in [
            ("cycles:u", 0),
            ("cycles:uH", 0),
            ("cycles:Hu", 0),
            ("cycles:uS", 0),
            ("cycles:P", 1),
            ("cycles:ppp", 1),
            ("cycles:pppH", 1),
            ("sched:sched_switch", 2),
            ("cpu/instructions/", 3),
            ("cpu/instructions/uk", 3),
            ("cpu/instructions/:ku", 3),
        ] {
            assert_eq!(find(&events, wanted), Ok(expected), "{wanted}");
        }
        for wanted in [
            "",
            ":",
            ":u",
            "cycles:k",
            "cycles:uk",
            "cycles:p",
            "cycles:uG",
            "sched",
            "sched:",
            "cpu/instructions",
            "cpu/instructions/k",
            "cycles:nonsense",
        ] {
            assert_eq!(find(&events, wanted), Err(Vec::new()), "{wanted}");
        }
        // A pipe's event has only the name that was made: as it was asked for it is found too.
        let pipe = [cycles("cycles:pppH", precise)];
        for wanted in ["cycles:P", "cycles:ppp", "cycles"] {
            assert_eq!(find(&pipe, wanted), Ok(0), "{wanted}");
        }
    }

    #[test]
    fn a_name_without_modifiers_is_an_events_if_no_other_has_it() {
        let user = cycles("cycles:u", USER_ONLY);
        let all = cycles("cycles", flag::EXCLUDE_GUEST);
        let find = |events: &[RecordedEvent]| find(events, "cycles");
        assert_eq!(find(&[other("a:b"), user.clone()]), Ok(1));
        assert_eq!(find(&[user.clone(), all]), Ok(1));
        let kernel = cycles("cycles:k", flag::EXCLUDE_USER | flag::EXCLUDE_HV);
        assert_eq!(find(&[user.clone(), kernel]), Err(vec![0, 1]));
        let second = cycles("cycles:u#2", USER_ONLY);
        assert_eq!(find(&[user, second]), Err(vec![0, 1]));
        assert_eq!(find(&[]), Err(Vec::new()));
    }
}
