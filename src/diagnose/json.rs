//! `ctrflame diagnose --json`. Fields are only added, never given another meaning.

use super::verdict::{Calm, Remark, Verdict};
use super::{Diagnosis, next};
use serde_json::{Value, json};

/// All of it. What is not known is `null`; names are as the container or its engine wrote them.
pub(super) fn document(diagnoses: &[Diagnosis]) -> Value {
    json!({
        "containers": diagnoses.iter().map(one).collect::<Vec<_>>(),
        "host": diagnoses.first().map(host),
    })
}

fn one(diagnosis: &Diagnosis) -> Value {
    let facts = &diagnosis.facts;
    let group = &diagnosis.group;
    let tasks = &group.tasks;
    let files = &diagnosis.files;
    let caps: Vec<Value> = facts
        .caps
        .iter()
        .map(|cap| {
            json!({
                "cgroup": cap.cgroup_path,
                "is_own": cap.is_own,
                "limit_cpus": cap.limit_cpus,
                "periods": cap.periods,
                "throttled_periods": cap.hits,
                "throttled_cpus": cap.lost_cpus,
                "throttled_ms_each": cap.each_ms,
                "file": cap.file,
            })
        })
        .collect();
    let weights: Vec<Value> = group
        .levels
        .iter()
        .map(|level| {
            json!({
                "cgroup": level.cgroup_path,
                "shares": level.weight.map(|weight| weight.0),
            })
        })
        .collect();
    json!({
        "tag": diagnosis.subject.tag,
        "cgroup": diagnosis.subject.cgroup_path,
        "seconds": diagnosis.seconds,
        "verdict": word(diagnosis.verdict()),
        "detail": detail(diagnosis.verdict()),
        "remarks": diagnosis.judgement.remarks.iter().map(|remark| remarked(*remark)).collect::<Vec<_>>(),
        "used_cpus": facts.used_cpus,
        "user_cpus": part(diagnosis, group.cpu.and_then(|cpu| cpu.user_ns)),
        "system_cpus": part(diagnosis, group.cpu.and_then(|cpu| cpu.system_ns)),
        "wait_cpus": facts.wait_cpus,
        "wait_ms_each": facts.wait_ms_each,
        "pressure": facts.pressure,
        "voluntary_switches_per_s": facts.voluntary_per_s,
        "involuntary_switches_per_s": facts.involuntary_per_s,
        "throttling": caps,
        "held_cpus": facts.held_cpus,
        "waits_on": {
            "cpus": facts.waits_on.to_string(),
            "count": facts.cpus,
            "idle_cpus": facts.idle_cpus,
            "busy_cpus": facts.busy_cpus,
            "steal_cpus": facts.steal_cpus,
            "own_cpus": facts.own_cpus,
            "others_cpus": facts.others_cpus(),
        },
        "entitled": diagnosis.entitled.as_ref().map(|entitled| json!({
            "minimum_cpus": entitled.minimum_cpus,
            "bursting_cpus": entitled.bursting_cpus,
            "limit_cpus": entitled.limit.as_ref().map(|(cpus, _)| cpus),
            "limit_cgroup": entitled.limit.as_ref().map(|(_, path)| path),
            "cpuset_cpus": entitled.cpuset_cpus,
        })),
        "weights": weights,
        "threads": {
            "counted": tasks.threads,
            "began": tasks.began,
            "ended": tasks.ended,
            "unread": tasks.unread,
            "busiest": tasks.busiest.map(|(tid, _)| json!({
                "tid": tid.0,
                "cpus": facts.busiest_thread,
            })),
        },
        "memory": group.memory.map(|memory| json!({
            "used_bytes": memory.used_bytes,
            "limit_bytes": memory.limit_bytes,
        })),
        "neighbours": diagnosis.neighbours.iter().map(|one| json!({
            "tag": one.tag,
            "cpus": one.cpus,
        })).collect::<Vec<_>>(),
        "next": next::steps(diagnosis),
        "files": {
            "usage": files.usage,
            "pressure": files.pressure,
            "threads": files.threads,
            "cpuset": files.cpuset,
            "memory": files.memory,
            "frozen": files.frozen,
        },
    })
}

fn host(diagnosis: &Diagnosis) -> Value {
    let host = &diagnosis.host;
    let cpus: Vec<Value> = host
        .cpus
        .iter()
        .map(|(cpu, used)| {
            json!({
                "cpu": cpu,
                "user": used.user,
                "system": used.system,
                "interrupts": used.interrupts,
                "steal": used.steal,
                "idle": used.idle,
            })
        })
        .collect();
    let disks: Vec<Value> = host
        .disks
        .iter()
        .map(|(name, disk)| {
            json!({
                "name": name,
                "busy": disk.busy,
                "queue": disk.queue,
                "read_bytes": disk.read_bytes,
                "written_bytes": disk.written_bytes,
                "errors": disk.errors,
            })
        })
        .collect();
    let pressure = |at: usize| {
        let pressure = host.pressure.get(at).copied().flatten();
        pressure.map(|pressure| pressure.some_us as f64 / 1e6 / diagnosis.seconds)
    };
    json!({
        "cpus": cpus,
        "ready": host.running,
        "blocked": host.blocked,
        "load": host.load_hundredths.map(|load| load.map(|one| one as f64 / 100.0)),
        "pressure": { "cpu": pressure(0), "memory": pressure(1), "io": pressure(2) },
        "memory": host.memory.map(|memory| json!({
            "total_bytes": memory.total,
            "available_bytes": memory.available,
            "swap_total_bytes": memory.swap_total,
            "swap_free_bytes": memory.swap_free,
        })),
        "swapped_pages": host.swapped_pages,
        "oom_kills": host.oom_kills,
        "heat_throttles": host.heat_throttles,
        "disks": disks,
    })
}

fn part(diagnosis: &Diagnosis, ns: Option<u64>) -> Option<f64> {
    ns.map(|ns| ns as f64 / 1e9 / diagnosis.seconds)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::CapThrottled => "cap-throttled",
        Verdict::ShareThrottled => "share-throttled",
        Verdict::PhysicalCpuThrottled => "physical-cpu-throttled",
        Verdict::NotThrottled(_) => "not-throttled",
        Verdict::Unknown => "unknown",
    }
}

fn detail(verdict: Verdict) -> Option<&'static str> {
    let Verdict::NotThrottled(calm) = verdict else {
        return None;
    };
    Some(match calm {
        Calm::Idle => "idle",
        Calm::Frozen => "frozen",
        Calm::Sleeps => "sleeps",
        Calm::Runs => "runs",
        Calm::OneThread => "one-thread",
        Calm::Bursts => "bursts",
    })
}

fn remarked(remark: Remark) -> &'static str {
    match remark {
        Remark::LimitHitToo => "limit-hit-too",
        Remark::LimitHitsOthers => "limit-hits-others",
        Remark::CrowdedToo => "crowded-too",
        Remark::CpusBelowLimit => "cpus-below-limit",
        Remark::Steal => "steal",
        Remark::OneThread => "one-thread",
        Remark::ShortLived => "short-lived",
    }
}
