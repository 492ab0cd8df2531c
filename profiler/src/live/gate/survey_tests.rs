//! What is said of each gate, from frozen circumstances: those too that no test can shut for real.

use super::surroundings::Surroundings;
use super::tests::{SYSTEM, capable, user};
use super::*;
use crate::HostPid;
use crate::container::HierarchyKind;
use crate::live::LiveError;
use std::collections::BTreeSet;

const ALL_USED: u64 = 1 << 38 | 1 << 19 | 1 << 40 | 1 << 34 | 1 << 2;

fn root() -> Circumstances {
    Circumstances {
        max_stack: Some(127),
        kptr_restrict: Some(0),
        sees_host_pids: Some(true),
        open_files_hard: Some(1 << 20),
        ..capable(ALL_USED)
    }
}

fn docker() -> Circumstances {
    Circumstances {
        seccomp_mode: Some(2),
        effective_caps: Some(1 << 1),
        sees_host_pids: Some(false),
        surroundings: Surroundings::Docker,
        ..root()
    }
}

fn sampled() -> Result<Sampled, LiveError> {
    Ok(Sampled {
        event: SampledEvent::Cycles,
        with_cgroups: true,
    })
}

/// All went well.
fn well() -> Tried {
    Tried {
        cpus: 4,
        ring_kib: 776,
        host: sampled(),
        cgroup: Some(sampled()),
        command: sampled(),
        command_without_kernel: sampled(),
        smaller_rings: None,
        hierarchy: Ok(SeenHierarchy {
            kind: HierarchyKind::Unified,
            mount_point: "/sys/fs/cgroup".into(),
            is_hybrid: false,
            is_whole: true,
        }),
        kernel_symbols: KernelSymbols::Addresses,
        processes: Processes {
            seen: 100,
            refused: 0,
            first_refused: None,
            mount_namespaces: 10,
        },
    }
}

/// The kernel answered `errno` to everything.
fn refused(errno: i32, attempt: Attempt, here: &Circumstances) -> Tried {
    let error = || {
        let error = io::Error::from_raw_os_error(errno);
        Err(LiveError::Denied(diagnose_here(&error, attempt, here)))
    };
    Tried {
        host: error(),
        cgroup: Some(error()),
        command: error(),
        command_without_kernel: error(),
        ..well()
    }
}

fn finding(gate: GateId, here: &Circumstances, tried: &Tried) -> Finding {
    let mut findings = findings(here, tried).into_iter();
    findings
        .find(|found| found.gate == gate)
        .expect("each gate")
}

fn of(standing: Standing, here: &Circumstances, tried: &Tried) -> Vec<&'static str> {
    findings(here, tried)
        .iter()
        .filter(|finding| finding.standing == standing)
        .map(|finding| finding.gate.name())
        .collect()
}

#[test]
fn where_all_is_open_nothing_is_said_to_be_opened() {
    let findings = findings(&root(), &well());
    for finding in &findings {
        assert_eq!(finding.standing, Standing::Open, "{finding:?}");
        assert_eq!((&finding.opens, &finding.without), (&None, &None));
    }
    let names: BTreeSet<&str> = findings.iter().map(|found| found.gate.name()).collect();
    assert_eq!(names.len(), 15);
}

#[test]
fn whatever_refuses_a_recording_is_a_gate_that_is_closed_and_says_as_the_error_does() {
    let map = Attempt {
        step: Step::MapRing {
            len_bytes: 516 << 10,
            cpu_bytes: 776 << 10,
        },
        ..SYSTEM
    };
    let fast = Attempt {
        rate_hz: Some(200_000),
        ..SYSTEM
    };
    let cycles = Attempt {
        event: SampledEvent::Cycles,
        ..SYSTEM
    };
    let filtered = Circumstances {
        seccomp_mode: Some(2),
        ..root()
    };
    let no_perf = Circumstances {
        paranoid: None,
        ..root()
    };
    let stripped = Circumstances {
        effective_caps: Some(0),
        ..root()
    };
    let perfmon_is_not_enough = Circumstances {
        paranoid: Some(4),
        ..root()
    };
    let plain = Circumstances {
        effective_uid: Some(1000),
        ..stripped.clone()
    };
    for (errno, attempt, here, gate) in [
        (libc::EPERM, SYSTEM, &filtered, "seccomp"),
        (libc::EACCES, SYSTEM, &stripped, "capabilities"),
        (libc::EACCES, SYSTEM, &perfmon_is_not_enough, "capabilities"),
        (libc::EACCES, SYSTEM, &plain, "perf_event_paranoid"),
        (libc::EACCES, SYSTEM, &root(), "lsm"),
        (libc::ENOSYS, SYSTEM, &no_perf, "perf_events"),
        (libc::ENOENT, SYSTEM, &root(), "perf_events"),
        (libc::ENOENT, cycles, &root(), "perf_events"),
        (libc::ENFILE, SYSTEM, &root(), "perf_events"),
        (libc::EIO, SYSTEM, &root(), "perf_events"),
        (libc::EPERM, map, &stripped, "locked_memory"),
        (libc::EMFILE, SYSTEM, &root(), "open_files"),
        (libc::EINVAL, fast, &root(), "max_sample_rate"),
    ] {
        let tried = refused(errno, attempt, here);
        let closed = of(Standing::Closed, here, &tried);
        assert!(
            closed.contains(&gate),
            "errno {errno}: {gate} not in {closed:?}"
        );
        let findings = findings(here, &tried);
        let found = findings.iter().find(|found| found.gate.name() == gate);
        let found = found.expect("each gate");
        let denied = tried.refusals().next().expect("refused");
        if gate != "max_sample_rate" && gate != "capabilities" {
            let said = denied.gate.to_string();
            assert!(found.found.starts_with(&said), "{found:?}");
        }
        if let (Some(hint), false) = (denied.hint(), gate == "max_sample_rate") {
            let opens = found.opens.as_deref().unwrap_or_default();
            let same = opens == hint || gate == "capabilities" || hint.starts_with(opens);
            assert!(same && !opens.is_empty(), "{opens:?} is not {hint:?}");
        }
    }
}

#[test]
fn in_docker_one_command_opens_all_that_its_flags_can() {
    let here = docker();
    let mut tried = refused(libc::EPERM, SYSTEM, &here);
    tried.hierarchy = Ok(SeenHierarchy {
        kind: HierarchyKind::Unified,
        mount_point: "/sys/fs/cgroup".into(),
        is_hybrid: false,
        is_whole: false,
    });
    assert_eq!(
        of(Standing::Closed, &here, &tried),
        ["pid_namespace", "seccomp", "capabilities"]
    );
    let opens_all = opens_all(&findings(&here, &tried), &here);
    assert_eq!(
        opens_all.as_deref(),
        Some(
            "`docker run --pid host --cap-add PERFMON --security-opt seccomp=unconfined \
             --cap-add SYS_PTRACE --cap-add CHECKPOINT_RESTORE --cap-add SYSLOG --cgroupns host \
             -v /sys/fs/cgroup:/sys/fs/cgroup:ro …`"
        )
    );
    let seccomp = finding(GateId::Seccomp, &here, &tried);
    assert_eq!(
        seccomp.without.as_deref(),
        Some("nothing in here: record on the host")
    );
    assert_eq!(super::opens_all(&findings(&root(), &well()), &root()), None);
}

#[test]
fn in_a_pod_the_specs_own_words_are_given() {
    let here = Circumstances {
        surroundings: Surroundings::Kubernetes,
        ..docker()
    };
    let tried = refused(libc::EPERM, SYSTEM, &here);
    let opens = |gate| finding(gate, &here, &tried).opens.unwrap_or_default();
    assert_eq!(
        opens(GateId::PidNamespace),
        "in the pod's spec: `hostPID: true`"
    );
    assert_eq!(
        opens(GateId::Capabilities),
        "in the pod's securityContext: `{capabilities: {add: [PERFMON, SYS_PTRACE, \
         CHECKPOINT_RESTORE, SYSLOG]}}`"
    );
    assert_eq!(opens_all(&findings(&here, &tried), &here), None);
}

#[test]
fn without_cgroups_in_samples_the_recording_is_poorer() {
    let tried = Tried {
        host: Ok(Sampled {
            event: SampledEvent::CpuClock,
            with_cgroups: false,
        }),
        ..well()
    };
    assert_eq!(
        of(Standing::Limits, &root(), &tried),
        ["cycles", "sample_cgroup"]
    );
}

#[test]
fn a_profile_that_keeps_processes_closed_is_opened_by_its_flag() {
    let mut tried = well();
    tried.processes.refused = 99;
    tried.processes.first_refused = Some(HostPid(1));
    for (label, opens) in [
        (
            Some("docker-default (enforce)"),
            "`docker run --security-opt apparmor=unconfined …`",
        ),
        (
            Some("system_u:system_r:container_t:s0:c1,c2"),
            "`docker run --security-opt label=disable …`",
        ),
        (
            None,
            "find the denial: `sudo dmesg | grep -iE 'avc|apparmor|lockdown'`",
        ),
    ] {
        let here = Circumstances {
            label: label.map(str::to_owned),
            surroundings: Surroundings::Docker,
            ..root()
        };
        let found = finding(GateId::MountNamespaces, &here, &tried);
        assert_eq!(found.standing, Standing::Limits);
        assert_eq!(found.opens.as_deref(), Some(opens));
        assert_eq!(
            found.found,
            "1 of 100 processes, in 10 mount namespaces; refused for pid 1"
        );
    }
}

#[test]
fn a_kernel_older_than_perfmon_asks_for_sys_admin_only_once() {
    let here = Circumstances {
        effective_caps: Some(ALL_USED & !(1 << 38) & !(1 << 40)),
        last_cap: Some(37),
        ..root()
    };
    let tried = refused(libc::EACCES, SYSTEM, &here);
    let found = finding(GateId::Capabilities, &here, &tried);
    assert_eq!(found.found, "CAP_SYS_ADMIN is missing");
    assert_eq!(
        found.needed,
        "CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYSLOG, CAP_DAC_READ_SEARCH, in the host's user namespace"
    );
}

#[test]
fn another_users_rights_are_worth_what_can_be_opened_with_them() {
    let here = Circumstances {
        sees_host_pids: Some(true),
        max_stack: Some(127),
        ..user()
    };
    let mut tried = refused(libc::EACCES, SYSTEM, &here);
    tried.command_without_kernel = sampled();
    let found = finding(GateId::Paranoid, &here, &tried);
    assert_eq!(found.standing, Standing::Closed);
    assert_eq!(
        found.without.as_deref(),
        Some(
            "a command of your own, without the kernel's frames: `ctrflame record --no-kernel -- \
             COMMAND`"
        )
    );
    tried.command = sampled();
    let found = finding(GateId::Paranoid, &here, &tried);
    assert_eq!(
        found.without.as_deref(),
        Some("a command of your own: `ctrflame record -- COMMAND`")
    );
}

#[test]
fn each_layout_of_cgroups_is_named_with_its_place() {
    let hybrid_v1 = Tried {
        hierarchy: Ok(SeenHierarchy {
            kind: HierarchyKind::PerfEventV1,
            mount_point: "/sys/fs/cgroup/perf_event".into(),
            is_hybrid: true,
            is_whole: true,
        }),
        ..well()
    };
    let found = |tried: &Tried| finding(GateId::Cgroups, &root(), tried).found;
    assert_eq!(
        found(&hybrid_v1),
        "v1 perf_event at /sys/fs/cgroup/perf_event, others beside it"
    );
    assert_eq!(found(&well()), "cgroup v2 at /sys/fs/cgroup");
    // perf_event_open() takes no cgroup where the kernel has no CONFIG_CGROUP_PERF.
    let refused = Tried {
        cgroup: refused(libc::EINVAL, SYSTEM, &root()).cgroup,
        ..well()
    };
    let found = finding(GateId::Cgroups, &root(), &refused);
    assert_eq!(found.standing, Standing::Limits);
    assert_eq!(found.without.as_deref(), Some("`-a` works, `-G` does not"));
}
