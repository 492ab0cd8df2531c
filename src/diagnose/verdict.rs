//! The differential diagnosis: what held a container back, from counters alone.
//!
//! The order is the talk's ("Container Performance Analysis", B. Gregg, 2017): its limit, then whether
//! it waited at all, then whether its CPUs were idle, then who else was on them. The talk asks for
//! involuntary switches; a thread that sleeps a lot, and is kept waiting each time it wakes, has
//! none. So waiting is measured as the time in which threads were ready and had no CPU
//! (`schedstat`), and switches only tell it from the time that a wake-up takes anyway.

use super::facts::{Cap, Facts};

/// Below this many CPUs of run and wait a container does nothing.
const IDLE_CPUS: f64 = 0.01;
/// Part of the periods in which a limit is hit, from which on the limit is what holds it back,
/// however crowded the CPUs are.
const CAPPED: f64 = 0.10;
/// A limit that cost less, in periods and in time, is only remarked.
const CAPPED_MIN: f64 = 0.01;
/// Part of the time in which it wanted a CPU that it waited for one.
const WAITED: f64 = 0.05;
/// A shorter wait for each turn on a CPU is what waking up takes.
const WAKE_UP_MS: f64 = 0.5;
/// Part of the switches that took the CPU away, from which on others wanted it.
const PREEMPTED: f64 = 0.05;
/// Part of its CPUs that is idle, or used by others: less is neither.
const SOME: f64 = 0.10;
/// A thread that runs this part of the time never sleeps.
const ALWAYS: f64 = 0.95;

/// What held a container back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A limit, its own or one above it.
    CapThrottled,
    /// Others on its CPUs, by the weights.
    ShareThrottled,
    /// Itself, on CPUs that nobody else used: they are too few.
    PhysicalCpuThrottled,
    /// Nothing of the kind.
    NotThrottled(Calm),
    /// The counters do not tell.
    Unknown,
}

/// What a container does that is not held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calm {
    /// Nothing.
    Idle,
    /// Nothing, and nothing can: it is paused.
    Frozen,
    /// It mostly sleeps: what it waits for is no CPU.
    Sleeps,
    /// It runs whenever it wants.
    Runs,
    /// One thread runs all the time, and more CPUs would not help it.
    OneThread,
    /// It waited, although its CPUs were idle for long enough: many threads at once, now and then.
    Bursts,
}

impl Verdict {
    /// Two or three words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::CapThrottled => "cap throttled",
            Self::ShareThrottled => "share throttled",
            Self::PhysicalCpuThrottled => "physical CPU throttled",
            Self::NotThrottled(_) => "not throttled",
            Self::Unknown => "unknown",
        }
    }
}

/// What is true besides the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// A limit was hit too, but not often.
    LimitHitToo,
    /// A limit above it was hit, and not by it: others below that limit wait.
    LimitHitsOthers,
    /// Without the limit it would wait for CPUs all the same.
    CrowdedToo,
    /// Its limit is for more CPUs than it may run on.
    CpusBelowLimit,
    /// The hypervisor took a part of its CPUs.
    Steal,
    /// One thread ran all the time.
    OneThread,
    /// Most of its threads did not live long enough to be seen waiting.
    ShortLived,
}

/// The verdict, and what else is worth a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) remarks: Vec<Remark>,
}

/// Judges. Depends on nothing but its argument.
pub(crate) fn judge(facts: &Facts) -> Judgement {
    let waited = waited(facts);
    let caps = facts.hitting_caps().filter(|cap| costs(cap, facts));
    let cap = caps.max_by(|a, b| a.lost_cpus.total_cmp(&b.lost_cpus));
    // Where its wait is not known, a limit above it is taken to be felt.
    let is_felt = |cap: &Cap| cap.is_own || felt(facts, waited);
    let without_caps = crowd(facts, waited);
    let verdict = match cap.filter(|cap| is_felt(cap)) {
        Some(cap) if cap.hit_ratio() >= CAPPED || !without_caps.is_crowded() => {
            Verdict::CapThrottled
        }
        _ => without_caps,
    };
    Judgement {
        remarks: remarks(facts, verdict, waited, without_caps),
        verdict,
    }
}

impl Verdict {
    fn is_crowded(self) -> bool {
        matches!(self, Self::ShareThrottled | Self::PhysicalCpuThrottled)
    }
}

/// Whether a limit's cost is more than a moment's.
fn costs(cap: &Cap, facts: &Facts) -> bool {
    let wanted = facts.used_cpus.unwrap_or(0.0) + cap.lost_cpus;
    cap.hit_ratio() >= CAPPED_MIN || cap.lost_cpus >= CAPPED_MIN * wanted
}

/// Whether the container itself was kept waiting while a limit above it was hit.
fn felt(facts: &Facts, waited: Option<bool>) -> bool {
    match facts.held_cpus {
        // The kernel counts it only while some thread of it is ready.
        Some(held) => held >= CAPPED_MIN * (held + facts.used_cpus.unwrap_or(0.0)) && held > 0.0,
        None => waited.unwrap_or(true),
    }
}

/// Whether its threads waited for CPUs, and more than waking up takes. `None` where nothing tells.
fn waited(facts: &Facts) -> Option<bool> {
    let Some(wait) = facts.wait_cpus else {
        return match (facts.pressure, facts.involuntary_per_s) {
            (Some(pressure), _) => Some(pressure >= WAITED),
            // The talk's question, where the kernel has nothing better and all threads were seen.
            (None, Some(involuntary)) if !facts.is_short_lived => Some(involuntary >= 10.0),
            _ => None,
        };
    };
    let wanted = wait + facts.used_cpus.unwrap_or(0.0);
    let is_preempted = facts
        .preempted_ratio()
        .is_some_and(|part| part >= PREEMPTED);
    let is_long = facts.wait_ms_each.is_none_or(|ms| ms >= WAKE_UP_MS);
    Some(wait >= WAITED * wanted && wait >= IDLE_CPUS && (is_long || is_preempted))
}

/// The verdict as if there were no limits.
fn crowd(facts: &Facts, waited: Option<bool>) -> Verdict {
    let used = facts.used_cpus.unwrap_or(0.0);
    let wanted = used + facts.wait_cpus.unwrap_or(0.0);
    if wanted < IDLE_CPUS && facts.used_cpus.is_some() {
        return Verdict::NotThrottled(match facts.is_frozen {
            true => Calm::Frozen,
            false => Calm::Idle,
        });
    }
    match waited {
        Some(true) => {}
        Some(false) => return Verdict::NotThrottled(calm(facts)),
        None => return Verdict::Unknown,
    }
    let all = facts.cpus as f64;
    // What it can have at most: the hypervisor's part is nobody's here.
    let room = (all - facts.steal_cpus).max(0.0);
    // Time for which it was ready, and others, or nobody, had its CPUs.
    let lost = wanted.min(room) - facts.own_cpus;
    if facts.idle_cpus >= SOME * all && facts.idle_cpus >= 0.5 * lost {
        return Verdict::NotThrottled(Calm::Bursts);
    }
    let others = facts.others_cpus();
    // Where it wants no more than there is, only others can have kept it waiting.
    let fits = facts.wait_cpus.is_some() && wanted <= room * 1.05;
    if others >= SOME * all || (fits && others > facts.steal_cpus) {
        Verdict::ShareThrottled
    } else {
        Verdict::PhysicalCpuThrottled
    }
}

fn calm(facts: &Facts) -> Calm {
    let used = facts.used_cpus.unwrap_or(0.0);
    let busiest = facts.busiest_thread.unwrap_or(0.0);
    if busiest >= ALWAYS && used < 0.75 * facts.cpus as f64 {
        Calm::OneThread
    } else if busiest < 0.5 && used < 0.5 * facts.cpus as f64 {
        Calm::Sleeps
    } else {
        Calm::Runs
    }
}

fn remarks(
    facts: &Facts,
    verdict: Verdict,
    waited: Option<bool>,
    without_caps: Verdict,
) -> Vec<Remark> {
    let capped = verdict == Verdict::CapThrottled;
    let mut remarks = Vec::new();
    let mut when = |is_true: bool, remark: Remark| {
        if is_true {
            remarks.push(remark);
        }
    };
    let own = facts.hitting_caps().any(|cap| cap.is_own);
    let above = facts.hitting_caps().any(|cap| !cap.is_own);
    let feels_above = felt(facts, waited);
    when(
        !capped && (own || (above && feels_above)),
        Remark::LimitHitToo,
    );
    when(above && !feels_above, Remark::LimitHitsOthers);
    when(
        capped && without_caps == Verdict::ShareThrottled,
        Remark::CrowdedToo,
    );
    let limit = facts.caps.iter().filter_map(|cap| cap.limit_cpus);
    let limit = limit.fold(f64::INFINITY, f64::min);
    when(
        limit.is_finite() && limit > facts.allowed_cpus as f64,
        Remark::CpusBelowLimit,
    );
    when(facts.steal_cpus >= 0.05 * facts.cpus as f64, Remark::Steal);
    let one = facts
        .busiest_thread
        .is_some_and(|busiest| busiest >= ALWAYS);
    let is_all = facts.used_cpus.is_some_and(|used| used < 1.2);
    when(
        one && is_all
            && facts.allowed_cpus > 1
            && !capped
            && verdict != Verdict::NotThrottled(Calm::OneThread),
        Remark::OneThread,
    );
    when(facts.is_short_lived, Remark::ShortLived);
    remarks
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
