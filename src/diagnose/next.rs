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

/// How to raise the limit that was hit.
fn raise(diagnosis: &Diagnosis) -> String {
    let Some(cap) = diagnosis.facts.worst_cap() else {
        return String::new();
    };
    // What it had and what the limit kept from it, to the next half CPU.
    let wanted = diagnosis.facts.used_cpus.unwrap_or(0.0) + cap.lost_cpus;
    let wanted = wanted.min(diagnosis.facts.allowed_cpus as f64);
    let wanted = ((wanted * 2.0).ceil() / 2.0).max(0.5);
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
    let dir = cap.file.parent().unwrap_or(&cap.file).display();
    let quota = (cpus * 100_000.0) as u64;
    let is_v2 = cap.file.with_file_name("cpu.max").exists();
    match is_v2 {
        true => format!("echo {quota} 100000 > {dir}/cpu.max"),
        false => format!("echo {quota} > {dir}/cpu.cfs_quota_us   (for a period of 100000 us)"),
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

fn engine(of: &Of) -> Option<&'static str> {
    match of.runtime {
        Runtime::Docker => Some("docker"),
        Runtime::Podman => Some("podman"),
        _ => None,
    }
}

/// What `-G` takes, as a shell does: an id, else the cgroup.
fn word(subject: &Subject) -> String {
    let is_plain = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-:@".contains(c))
    };
    let id = subject.container.as_ref().map(|of| of.short_id.as_str());
    match id.filter(|id| id.len() >= 12 && is_plain(id)) {
        Some(id) => id.to_owned(),
        None if is_plain(&subject.cgroup_path) => subject.cgroup_path.clone(),
        None => format!("'{}'", subject.cgroup_path.replace('\'', "'\\''")),
    }
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
}
