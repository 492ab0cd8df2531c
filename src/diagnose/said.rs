//! What `ctrflame diagnose` says: the verdict, what it stands on, the host.

use super::facts::Cap;
use super::verdict::{Calm, Remark, Verdict};
use super::{Diagnosis, host_said, next};
use std::path::Path;
use std::time::Duration;

/// Of each diagnosed container, then of the host, as lines. They hold container-chosen text.
pub(super) fn all(diagnoses: &[Diagnosis]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for diagnosis in diagnoses {
        lines.extend(one(diagnosis));
        lines.push(String::new());
    }
    if let Some(diagnosis) = diagnoses.first() {
        lines.extend(host_said::screen(&diagnosis.host, diagnosis.seconds));
    }
    lines
}

/// What goes on until there is an answer.
pub(super) fn watching(tags: &[&str], time: Duration) -> String {
    let time = humantime::format_duration(time);
    let tags = match tags {
        [one] => (*one).to_owned(),
        several => format!("{} containers", several.len()),
    };
    format!("watching {tags} for {time}; Ctrl-C ends it and answers")
}

impl Diagnosis {
    /// The verdict in a few words, with the number that tells most: for a picture's subtitle.
    pub(crate) fn short(&self) -> String {
        let words = self.verdict().words();
        let waited = || {
            self.facts
                .wait_ratio()
                .map_or_else(String::new, |part| format!(", waited {}", percent(part)))
        };
        match self.verdict() {
            Verdict::CapThrottled => match self.facts.worst_cap() {
                Some(cap) => format!("{words} in {}", times(cap)),
                None => words.to_owned(),
            },
            Verdict::ShareThrottled | Verdict::PhysicalCpuThrottled => {
                format!("{words}{}", waited())
            }
            Verdict::NotThrottled(Calm::Idle) => format!("{words}, idle"),
            Verdict::NotThrottled(Calm::Frozen) => format!("{words}, frozen"),
            Verdict::NotThrottled(_) => words.to_owned(),
            Verdict::Unknown => "throttling unknown".to_owned(),
        }
    }
}

fn one(diagnosis: &Diagnosis) -> Vec<String> {
    let mut lines = vec![
        format!("{}: {}", diagnosis.subject.tag, diagnosis.verdict().words()),
        format!("  {}", why(diagnosis)),
    ];
    let remarks = diagnosis.judgement.remarks.iter();
    lines.extend(remarks.map(|remark| format!("  {}", remarked(*remark, diagnosis))));
    lines.push(String::new());
    lines.extend(evidence(diagnosis));
    lines.push(String::new());
    lines.extend(entitled(diagnosis));
    lines.push(row("neighbours", &neighbours(diagnosis)));
    let mut name = "next";
    for command in next::steps(diagnosis) {
        lines.push(row(name, &command));
        name = "";
    }
    lines
}

/// A sentence for the verdict.
pub(super) fn why(diagnosis: &Diagnosis) -> String {
    let facts = &diagnosis.facts;
    let cpus = format!("CPU{} {}", plural(facts.cpus), facts.waits_on);
    let waited = facts.wait_ratio().map_or_else(
        || "its threads waited".to_owned(),
        |part| {
            format!(
                "it waited {} of the time that it wanted a CPU",
                percent(part)
            )
        },
    );
    match diagnosis.verdict() {
        Verdict::CapThrottled => facts.worst_cap().map_or_else(String::new, |cap| {
            let whose = if cap.is_own {
                "its limit".to_owned()
            } else {
                format!("the limit of {}", cap.cgroup_path)
            };
            format!("{whose}{} held it back in {}", limit(cap), hits(cap))
        }),
        Verdict::ShareThrottled => format!(
            "{waited}: others had {:.2} of the {} CPU{} that it may run on",
            facts.others_cpus(),
            facts.cpus,
            plural(facts.cpus)
        ),
        Verdict::PhysicalCpuThrottled => {
            format!("{waited}, on {cpus}, which nobody else used: its own threads fill them")
        }
        Verdict::NotThrottled(calm) => match calm {
            Calm::Idle => "it did nothing: neither ran nor wanted to".to_owned(),
            Calm::Frozen => {
                "it is frozen: nothing of it runs until somebody thaws it".to_owned()
            }
            Calm::Sleeps => "it mostly sleeps: what it waits for is no CPU".to_owned(),
            Calm::Runs => "it runs whenever it wants to".to_owned(),
            Calm::OneThread => {
                "one thread runs all the time, and it alone: more CPUs would not make it faster"
                    .to_owned()
            }
            Calm::Bursts => format!(
                "{waited}, but {:.2} of the {} CPUs that it may run on were idle: many threads at once, now \
                 and then",
                facts.idle_cpus, facts.cpus
            ),
        },
        Verdict::Unknown => {
            "its threads lived too shortly to be seen waiting, and the kernel keeps no cpu.pressure for it"
                .to_owned()
        }
    }
}

fn remarked(remark: Remark, diagnosis: &Diagnosis) -> String {
    let facts = &diagnosis.facts;
    match remark {
        Remark::LimitHitToo => facts.worst_cap().map_or_else(String::new, |cap| {
            format!("also: the limit{} of {} was hit in {}", limit(cap), cap.cgroup_path, hits(cap))
        }),
        Remark::LimitHitsOthers => {
            "also: a limit above it is hit, not by it: others below that limit are held back".to_owned()
        }
        Remark::CrowdedToo => format!(
            "also: others had {:.2} of its {} CPUs: without the limit it would wait for them",
            facts.others_cpus(),
            facts.cpus
        ),
        Remark::CpusBelowLimit => format!(
            "also: its limit allows more than the {} CPU{} that its cpuset does",
            facts.allowed_cpus,
            plural(facts.allowed_cpus)
        ),
        Remark::Steal => format!(
            "also: the hypervisor took {:.2} of its CPUs: this host itself waits for CPUs",
            facts.steal_cpus
        ),
        Remark::OneThread => {
            "also: one thread runs all the time, and it alone: more CPUs would not make it faster".to_owned()
        }
        Remark::ShortLived => {
            "also: most of its threads lived too shortly to be seen: waiting is a guess from the others".to_owned()
        }
    }
}

/// A line for each branch, with what it was read from.
fn evidence(diagnosis: &Diagnosis) -> Vec<String> {
    let facts = &diagnosis.facts;
    let mut lines = Vec::new();
    if facts.caps.is_empty() {
        lines.push(row("limit hit?", "there is none, here or above"));
    }
    for (at, cap) in facts.caps.iter().enumerate() {
        let name = if at == 0 { "limit hit?" } else { "" };
        let answer = match cap.hits {
            0 => format!("no: {} of {} periods", cap.hits, cap.periods),
            _ => format!("yes: {}", hits(cap)),
        };
        lines.push(row(name, &format!("{answer}{}", limit(cap))));
        lines.extend(source(&[Some(cap.file.as_path())]));
    }
    if facts.is_frozen {
        lines.push(row("frozen?", "yes"));
        lines.extend(source(&[diagnosis.files.frozen.as_deref()]));
    }
    let mut waited = Vec::new();
    if let Some((part, wait)) = facts.wait_ratio().zip(facts.wait_cpus) {
        waited.push(format!(
            "{} of the time that it wanted a CPU: {wait:.2} CPUs' worth{}",
            percent(part),
            facts
                .wait_ms_each
                .map_or_else(String::new, |ms| format!(", {ms:.1} ms each time"))
        ));
    }
    if let Some(pressure) = facts.pressure {
        waited.push(format!("some thread did {} of the time", percent(pressure)));
    }
    if waited.is_empty() {
        waited.push("not known".to_owned());
    }
    lines.push(row("waited?", &waited.join("; ")));
    if let Some((own, forced)) = facts.voluntary_per_s.zip(facts.involuntary_per_s) {
        let tasks = &diagnosis.group.tasks;
        lines.push(row(
            "",
            &format!(
                "switches: {forced:.0}/s involuntary, {own:.0}/s voluntary, of {} thread{} ({} began, {} ended)",
                tasks.threads,
                plural(tasks.threads),
                tasks.began,
                tasks.ended
            ),
        ));
    }
    let proc = [
        Path::new("/proc/TID/schedstat"),
        Path::new("/proc/TID/status"),
    ];
    let files = &diagnosis.files;
    let [sched, status] = proc.map(Some);
    lines.extend(source(&[
        files.threads.as_deref(),
        sched,
        status,
        files.pressure.as_deref(),
    ]));
    lines.push(row(
        "CPUs idle?",
        &format!(
            "{:.2} of {} (CPU{} {}){}",
            facts.idle_cpus,
            facts.cpus,
            plural(facts.cpus),
            facts.waits_on,
            match facts.steal_cpus >= 0.005 {
                true => format!(", {:.2} stolen", facts.steal_cpus),
                false => String::new(),
            }
        ),
    ));
    lines.extend(source(&[
        Some(Path::new("/proc/stat")),
        files.cpuset.as_deref(),
    ]));
    lines.push(row(
        "others?",
        &format!(
            "{:.2} of {} were used, {:.2} by it and {:.2} by others",
            facts.busy_cpus,
            facts.cpus,
            facts.own_cpus,
            facts.others_cpus()
        ),
    ));
    lines.extend(source(&[files.usage.as_deref()]));
    lines
}

fn entitled(diagnosis: &Diagnosis) -> Vec<String> {
    let facts = &diagnosis.facts;
    let mut parts = Vec::new();
    if let Some(entitled) = &diagnosis.entitled {
        parts.push(format!(
            "{:.2} CPUs at least, {:.2} beside those that were busy, by weight",
            entitled.minimum_cpus, entitled.bursting_cpus
        ));
        match &entitled.limit {
            Some((cpus, path)) => parts.push(format!("limit {cpus:.2} ({path})")),
            None => parts.push("no limit".to_owned()),
        }
    }
    parts.push(format!(
        "{} of {} CPUs",
        facts.allowed_cpus,
        diagnosis.host.cpus.len()
    ));
    let got = match facts.used_cpus {
        Some(used) => {
            let part = |ns: Option<u64>| ns.map(|ns| ns as f64 / 1e9 / diagnosis.seconds);
            let cpu = diagnosis.group.cpu.unwrap_or_default();
            let split = part(cpu.user_ns).zip(part(cpu.system_ns));
            format!(
                "{used:.2} CPUs{} in {:.1} s",
                split.map_or_else(String::new, |(user, system)| {
                    format!(" ({user:.2} user, {system:.2} system)")
                }),
                diagnosis.seconds
            )
        }
        None => "not known".to_owned(),
    };
    vec![row("may have", &parts.join(" · ")), row("had", &got)]
}

fn neighbours(diagnosis: &Diagnosis) -> String {
    if diagnosis.neighbours.is_empty() {
        return "nobody ran".to_owned();
    }
    let neighbours = diagnosis.neighbours.iter();
    let neighbours: Vec<String> = neighbours
        .map(|one| format!("{} {:.2} CPUs", one.tag, one.cpus))
        .collect();
    neighbours.join(" · ")
}

fn row(name: &str, text: &str) -> String {
    format!("  {name:<11} {text}")
}

/// Where a number was read, a line a file.
fn source(files: &[Option<&Path>]) -> Vec<String> {
    let files = files.iter().flatten();
    files
        .map(|file| row("", &format!("  · {}", file.display())))
        .collect()
}

/// How often a limit was hit.
fn times(cap: &Cap) -> String {
    format!("{} of {} periods", cap.hits, cap.periods)
}

/// How often a limit was hit, and for how long: longer than a period where several CPUs stood still.
fn hits(cap: &Cap) -> String {
    let each = cap.each_ms.map_or_else(String::new, |ms| {
        format!(", {ms:.0} ms each, all CPUs together")
    });
    format!("{}{each}", times(cap))
}

fn limit(cap: &Cap) -> String {
    cap.limit_cpus
        .map_or_else(String::new, |cpus| format!(" ({cpus:.2} CPUs)"))
}

pub(super) fn percent(part: f64) -> String {
    format!("{:.0} %", part * 100.0)
}

pub(super) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
