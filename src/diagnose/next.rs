//! What to do next: a command for each verdict.

use super::Diagnosis;
use super::facts::Cap;
use super::subject::{Of, Subject};
use super::verdict::{Calm, Verdict};
use profiler::container::Runtime;

/// Commands and advice, the first one first.
pub(super) fn steps(diagnosis: &Diagnosis) -> Vec<String> {
    let subject = &diagnosis.subject;
    let look = |why: &str| format!("ctrflame record -G {} -- sleep 30   ({why})", word(subject));
    match diagnosis.verdict() {
        Verdict::CapThrottled => vec![raise(diagnosis), look("what it spends its limit on")],
        Verdict::ShareThrottled => vec![
            "ctrflame record -a -- sleep 30   (what the others run)".to_owned(),
            weigh(diagnosis),
        ],
        Verdict::PhysicalCpuThrottled => vec![look("what fills its CPUs"), widen(diagnosis)],
        Verdict::NotThrottled(calm) => match calm {
            Calm::Idle => vec!["nothing: it has nothing to do".to_owned()],
            Calm::Frozen => vec![thaw(diagnosis)],
            Calm::Sleeps => vec![
                format!(
                    "{}: disks, networks, locks, other services; the host's I/O is below",
                    "look elsewhere"
                ),
                look("the little that it runs"),
            ],
            Calm::Runs | Calm::OneThread => vec![look("where its time goes")],
            Calm::Bursts => vec![look("which threads run at once")],
        },
        Verdict::Unknown => vec![
            "watch for longer: --duration 1m".to_owned(),
            look("where its time goes"),
        ],
    }
}

/// How to let a frozen container go on.
fn thaw(diagnosis: &Diagnosis) -> String {
    let named = diagnosis.subject.container.as_ref();
    if let Some((engine, of)) = named.and_then(|of| Some((engine(of)?, of))) {
        return format!("{engine} unpause {}", of.short_id);
    }
    let Some(file) = &diagnosis.files.frozen else {
        return "thaw it".to_owned();
    };
    let (value, file) = match file.ends_with("freezer.state") {
        true => ("THAWED", file.clone()),
        false => ("0", file.with_file_name("cgroup.freeze")),
    };
    format!(
        "echo {value} > {}   (or a cgroup above it)",
        quoted(&file.display().to_string())
    )
}

/// How to raise the limit that was hit.
fn raise(diagnosis: &Diagnosis) -> String {
    let facts = &diagnosis.facts;
    let Some((cap, limit)) = facts
        .worst_cap()
        .and_then(|cap| Some((cap, cap.limit_cpus?)))
    else {
        return "its limit has been lifted meanwhile: diagnose it again".to_owned();
    };
    let most = match cap.is_own {
        true => facts.allowed_cpus,
        false => diagnosis.host.cpus.len(),
    };
    let Some(wanted) = wanted(limit, cap.lost_cpus, most) else {
        return "let it run less at once: its limit is for all its CPUs already".to_owned();
    };
    match &diagnosis.subject.container {
        Some(of) if of.pod.is_some() => in_pod(of, "resources.limits.cpu", cap),
        Some(of) if cap.is_own => match engine(of) {
            Some(engine) => format!(
                "{engine} update --cpus {wanted} {}   (or let it run less at once)",
                of.short_id
            ),
            None => by_file(cap, wanted),
        },
        _ => by_file(cap, wanted),
    }
}

/// The limit and what it kept back, to the next half CPU. A limit is hit in moments: what is used on average
/// may be far below it. `None` where there are no more CPUs.
fn wanted(limit: f64, lost_cpus: f64, most: usize) -> Option<f64> {
    // What was measured a little too long is not half a CPU more.
    let wanted = (limit + lost_cpus - 0.05) * 2.0;
    let wanted = (wanted.ceil() / 2.0).max(0.5).min(most as f64);
    (wanted > limit).then_some(wanted)
}

fn in_pod(of: &Of, key: &str, cap: &Cap) -> String {
    let pod = of.pod.as_deref().unwrap_or_default();
    let whose = if cap.is_own {
        "of this container"
    } else {
        "of the pod's containers together"
    };
    format!("raise {key} {whose} in the spec of {pod}, or leave it out")
}

fn by_file(cap: &Cap, cpus: f64) -> String {
    let period_us = cap.period_us.unwrap_or(100_000);
    let quota_us = (cpus * period_us as f64) as u64;
    let file = |name: &str| quoted(&cap.file.with_file_name(name).display().to_string());
    match cap.file.with_file_name("cpu.max").exists() {
        true => format!("echo {quota_us} {period_us} > {}", file("cpu.max")),
        false => format!("echo {quota_us} > {}", file("cpu.cfs_quota_us")),
    }
}

/// How to give it more among its neighbours.
fn weigh(diagnosis: &Diagnosis) -> String {
    let own = diagnosis.group.levels.last();
    let weight = own
        .and_then(|level| level.weight)
        .map_or(1024.0, |weight| weight.0);
    match &diagnosis.subject.container {
        Some(of) if of.pod.is_some() => format!(
            "or raise resources.requests.cpu in the spec of {}, or move a neighbour to another host",
            of.pod.as_deref().unwrap_or_default()
        ),
        Some(of) if engine(of).is_some() => format!(
            "or {} update --cpu-shares {} {}   (it has {weight:.0})",
            engine(of).unwrap_or_default(),
            (weight * 2.0).min(262_144.0),
            of.short_id
        ),
        _ => {
            format!("or give it more weight (it has {weight:.0} of 1024), or move a neighbour away")
        }
    }
}

/// How to give it more CPUs.
fn widen(diagnosis: &Diagnosis) -> String {
    let online = diagnosis.host.online();
    let facts = &diagnosis.facts;
    if facts.allowed_cpus < online.len() {
        match &diagnosis.subject.container {
            Some(of) if of.pod.is_none() && engine(of).is_some() => format!(
                "or {} update --cpuset-cpus {online} {}   (it has {} of {} CPUs)",
                engine(of).unwrap_or_default(),
                of.short_id,
                facts.allowed_cpus,
                online.len()
            ),
            _ => format!(
                "or widen its cpuset: it has {} of {} CPUs",
                facts.allowed_cpus,
                online.len()
            ),
        }
    } else if facts.cpus < online.len() {
        format!(
            "or let its threads run on more than CPU {}: they pin themselves (sched_setaffinity, taskset)",
            facts.waits_on
        )
    } else {
        "or fewer threads, or a host with more CPUs".to_owned()
    }
}

/// The engine of the host that knows it.
fn engine(of: &Of) -> Option<&'static str> {
    match of.runtime {
        _ if of.is_nested => None,
        Runtime::Docker => Some("docker"),
        Runtime::Podman => Some("podman"),
        _ => None,
    }
}

/// What `-G` takes, as a shell does: an id, else the cgroup.
fn word(subject: &Subject) -> String {
    let id = subject.container.as_ref().map(|of| of.short_id.as_str());
    match id.filter(|id| id.len() >= 12 && is_plain(id)) {
        Some(id) => id.to_owned(),
        None => quoted(&subject.cgroup_path),
    }
}

/// One word for a shell: names of cgroups are chosen by whoever made them.
fn quoted(text: &str) -> String {
    match is_plain(text) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

fn is_plain(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@".contains(c);
    !text.is_empty() && text.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(id: Option<&str>, path: &str) -> Subject {
        Subject {
            tag: "x".into(),
            cgroup_path: path.into(),
            processes: Vec::new(),
            container: id.map(|id| Of {
                runtime: Runtime::Docker,
                short_id: id.into(),
                pod: None,
                is_nested: false,
            }),
        }
    }

    #[test]
    fn what_is_to_be_typed_is_one_word_for_a_shell() {
        let id = subject(Some("3f2a12345678"), "/docker/3f2a");
        assert_eq!(word(&id), "3f2a12345678");
        // A name that somebody chose may be another container's, or a shell's.
        let chosen = subject(Some("a;reboot;xxxxx"), "/lxc/a;reboot");
        assert_eq!(word(&chosen), "'/lxc/a;reboot'");
        assert_eq!(word(&subject(None, "/it's")), "'/it'\\''s'");
        assert_eq!(word(&subject(Some("web"), "/lxc/web")), "/lxc/web");
    }

    #[test]
    fn a_limit_is_raised_and_never_lowered() {
        // Ten threads at once, now and then: 0.5 CPUs are used of 2.
        assert_eq!(wanted(2.0, 0.3, 8), Some(2.5));
        assert_eq!(wanted(0.02, 0.98, 8), Some(1.0));
        assert_eq!(wanted(0.02, 1.01, 8), Some(1.0));
        assert_eq!(wanted(1.5, 3.0, 2), Some(2.0));
        assert_eq!(wanted(2.0, 0.5, 2), None);
    }

    #[test]
    fn a_limit_is_written_for_its_own_period_into_a_file_that_is_one_word() {
        let cap = Cap {
            cgroup_path: "/a;reboot".into(),
            is_own: false,
            limit_cpus: Some(0.1),
            period_us: Some(1_000_000),
            periods: 6,
            hits: 6,
            lost_cpus: 0.8,
            each_ms: None,
            file: "/nonexistent/a;reboot/cpu.stat".into(),
        };
        assert_eq!(
            by_file(&cap, 1.5),
            "echo 1500000 > '/nonexistent/a;reboot/cpu.cfs_quota_us'"
        );
    }

    #[test]
    fn the_hosts_engine_does_not_know_what_another_one_nested() {
        let own = subject(Some("3f2a12345678"), "/docker/3f2a").container;
        let own = own.expect("a container");
        assert_eq!(engine(&own), Some("docker"));
        let nested = Of {
            is_nested: true,
            ..own
        };
        assert_eq!(engine(&nested), None);
    }
}
