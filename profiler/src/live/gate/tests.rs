//! Every gate from frozen circumstances; then the real gates, shut one at a time.

use super::circumstances::UserNamespace;
use super::surroundings::Surroundings;
use super::*;
use perf_event_open::config::{Cpu, Opts, Proc};
use perf_event_open::count::Counter;
use perf_event_open::event::sw::Software;
use std::error::Error;
use std::io::Write;
use std::process::Command;

const PERFMON: u64 = 1 << 38;
const SYS_ADMIN: u64 = 1 << 21;

pub(super) const SYSTEM: Attempt = Attempt {
    step: Step::Open,
    scope: Scope::System,
    kernel: KernelSamples::Include,
    namespaces: NamespaceRecords::Wanted,
    event: SampledEvent::CpuClock,
    rate_hz: Some(99),
};

/// What an unprivileged user may try: a command of his own.
const OWN: Attempt = Attempt {
    scope: Scope::OwnProcess,
    namespaces: NamespaceRecords::Left,
    ..SYSTEM
};

const OWN_USER_SIDE: Attempt = Attempt {
    kernel: KernelSamples::Exclude,
    ..OWN
};

/// A user of a host with the kernel's default.
pub(super) fn user() -> Circumstances {
    Circumstances {
        seccomp_mode: Some(0),
        effective_caps: Some(0),
        effective_uid: Some(1000),
        last_cap: Some(40),
        paranoid: Some(2),
        mlock_kb: Some(516),
        max_rate_hz: Some(100_000),
        memlock_bytes: Some(8 << 20),
        ..Circumstances::default()
    }
}

pub(super) fn capable(effective_caps: u64) -> Circumstances {
    Circumstances {
        effective_caps: Some(effective_caps),
        effective_uid: Some(0),
        ..user()
    }
}

fn denied(errno: i32, attempt: Attempt, here: &Circumstances) -> Denied {
    diagnose_here(&io::Error::from_raw_os_error(errno), attempt, here)
}

fn gate(errno: i32, attempt: Attempt, here: &Circumstances) -> Gate {
    denied(errno, attempt, here).gate
}

fn missing(needed: Capability) -> Gate {
    Gate::MissingCapability {
        needed,
        held_in_user_namespace: HeldInUserNamespace::No,
    }
}

#[test]
fn a_filter_is_to_blame_for_eperm_and_not_for_eacces() {
    let filtered = Circumstances {
        seccomp_mode: Some(2),
        surroundings: Surroundings::Docker,
        ..capable(0)
    };
    assert_eq!(gate(libc::EPERM, SYSTEM, &filtered), Gate::Seccomp);
    assert_eq!(gate(libc::ENOSYS, SYSTEM, &filtered), Gate::Seccomp);
    assert_eq!(
        gate(libc::EACCES, SYSTEM, &filtered),
        missing(Capability::Perfmon)
    );
    let denied = denied(libc::EPERM, SYSTEM, &filtered);
    assert_eq!(
        denied.to_string(),
        "sampling the whole system by `cpu-clock` is not possible: a seccomp filter refuses \
         perf_event_open"
    );
    assert_eq!(
        denied.hint(),
        Some("`docker run --cap-add PERFMON --security-opt seccomp=unconfined …`")
    );
    let source = denied.source().expect("the kernel's own word");
    assert_eq!(source.to_string(), "Operation not permitted (os error 1)");
}

#[test]
fn the_sysctl_is_named_with_the_value_found_and_the_value_needed() {
    let cgroup = Attempt {
        scope: Scope::Cgroup,
        ..SYSTEM
    };
    for (attempt, needed) in [(SYSTEM, 0), (cgroup, 0), (OWN, 1)] {
        assert_eq!(
            gate(libc::EACCES, attempt, &user()),
            Gate::Paranoid { found: 2, needed }
        );
    }
    let denied = denied(libc::EACCES, OWN, &user());
    assert_eq!(
        denied.to_string(),
        "sampling a process of our own by `cpu-clock` is not possible: \
         kernel.perf_event_paranoid is 2, without privileges at most 1 is needed"
    );
    assert_eq!(
        denied.hint(),
        Some(
            "`sudo sysctl kernel.perf_event_paranoid=1`, or unprivileged, without the kernel's \
             frames: `ctrflame record --no-kernel -- COMMAND`"
        )
    );
}

#[test]
fn a_patched_kernel_refuses_everything_above_two() {
    for found in [3, 4] {
        let here = Circumstances {
            paranoid: Some(found),
            ..user()
        };
        let denied = denied(libc::EACCES, OWN_USER_SIDE, &here);
        assert_eq!(denied.gate, Gate::Paranoid { found, needed: 2 });
        assert_eq!(
            denied.hint(),
            Some("`sudo sysctl kernel.perf_event_paranoid=2`")
        );
        // Some of them ask for CAP_SYS_ADMIN even where CAP_PERFMON is known.
        let here = Circumstances {
            paranoid: Some(found),
            ..capable(PERFMON)
        };
        assert_eq!(
            gate(libc::EACCES, SYSTEM, &here),
            missing(Capability::SysAdmin)
        );
    }
}

#[test]
fn a_root_without_the_capability_is_told_so_and_not_to_use_sudo() {
    let denied = denied(libc::EACCES, SYSTEM, &capable(0));
    assert_eq!(denied.gate, missing(Capability::Perfmon));
    assert_eq!(denied.gate.to_string(), "CAP_PERFMON is missing");
    assert_eq!(
        denied.hint(),
        Some(
            "this root has been stripped of it: start ctrflame from a shell whose \
             `capsh --print` lists cap_perfmon"
        )
    );
    let docker = Circumstances {
        surroundings: Surroundings::Docker,
        ..capable(0)
    };
    let denied = self::denied(libc::EACCES, SYSTEM, &docker);
    assert_eq!(denied.hint(), Some("`docker run --cap-add PERFMON …`"));
    // CAP_PERFMON is number 38, since Linux 5.8.
    let old = Circumstances {
        last_cap: Some(37),
        ..capable(0)
    };
    assert_eq!(
        gate(libc::EACCES, SYSTEM, &old),
        missing(Capability::SysAdmin)
    );
}

#[test]
fn capabilities_of_a_user_namespace_do_not_count() {
    let rootless = Circumstances {
        user_namespace: UserNamespace::Nested,
        surroundings: Surroundings::Podman,
        ..capable(u64::MAX >> 23)
    };
    let denied = denied(libc::EACCES, SYSTEM, &rootless);
    assert_eq!(
        denied.gate.to_string(),
        "CAP_PERFMON is held in a user namespace only, the host's is needed"
    );
    assert_eq!(
        denied.hint(),
        Some("run as the host's root, outside of user namespaces: `sudo ctrflame …`")
    );
}

#[test]
fn what_the_sysctl_allows_can_still_need_the_capability() {
    let open = Circumstances {
        paranoid: Some(-1),
        ..user()
    };
    let with_namespaces = Attempt {
        namespaces: NamespaceRecords::Wanted,
        ..OWN_USER_SIDE
    };
    let others = Attempt {
        scope: Scope::OtherProcess,
        ..OWN_USER_SIDE
    };
    for attempt in [with_namespaces, others] {
        let denied = denied(libc::EACCES, attempt, &open);
        assert_eq!(denied.gate, missing(Capability::Perfmon));
        assert!(
            denied
                .hint()
                .is_some_and(|hint| hint.starts_with("`sudo ctrflame …`"))
        );
    }
}

#[test]
fn a_security_module_is_blamed_when_nothing_else_is_left() {
    let here = Circumstances {
        lsm: Some("capability,selinux".into()),
        ..capable(SYS_ADMIN)
    };
    for errno in [libc::EACCES, libc::EPERM] {
        let denied = denied(errno, SYSTEM, &here);
        assert_eq!(
            denied.gate,
            Gate::Lsm {
                active: Some("capability,selinux".into())
            }
        );
        assert_eq!(
            denied.gate.to_string(),
            "a security module refuses it (active: capability,selinux)"
        );
    }
    assert_eq!(
        gate(libc::EACCES, SYSTEM, &capable(PERFMON)),
        Gate::Lsm { active: None }
    );
    assert_eq!(
        gate(libc::EACCES, OWN_USER_SIDE, &user()),
        Gate::Lsm { active: None }
    );
    let map = Attempt {
        step: Step::MapRing {
            len_bytes: 4096,
            cpu_bytes: 8192,
        },
        ..SYSTEM
    };
    assert_eq!(
        gate(libc::EACCES, map, &capable(PERFMON)),
        Gate::Lsm { active: None }
    );
}

#[test]
fn a_ring_beyond_the_budget_names_both_limits() {
    let map = Attempt {
        step: Step::MapRing {
            len_bytes: (8 << 20) + 4096,
            cpu_bytes: (8 << 20) + 4096 + (260 << 10),
        },
        ..OWN
    };
    let denied = denied(libc::EPERM, map, &user());
    assert_eq!(
        denied.to_string(),
        "mapping a ring for a process of our own is not possible: its 8196 KiB exceed this \
         user's locked memory, kernel.perf_event_mlock_kb is 516 for each CPU, RLIMIT_MEMLOCK \
         8192 KiB"
    );
    assert_eq!(
        denied.hint(),
        Some("`sudo sysctl kernel.perf_event_mlock_kb=8456`")
    );
    let small = Attempt {
        step: Step::MapRing {
            len_bytes: 132 << 10,
            cpu_bytes: (132 + 260) << 10,
        },
        ..OWN
    };
    let denied = self::denied(libc::EPERM, small, &user());
    assert_eq!(
        denied.hint(),
        Some("`sudo sysctl kernel.perf_event_mlock_kb=908`")
    );
    assert_eq!(gate(libc::ENOMEM, map, &user()), Gate::Unexplained);
}

#[test]
fn a_missing_counter_is_no_matter_of_permission() {
    let cycles = Attempt {
        event: SampledEvent::Cycles,
        ..OWN
    };
    for errno in [libc::ENOENT, libc::EOPNOTSUPP, libc::ENODEV] {
        assert_eq!(
            gate(errno, cycles, &user()),
            Gate::NoPmu { event: "cycles" }
        );
        assert_eq!(
            gate(errno, OWN, &user()),
            Gate::NotSupported { event: "cpu-clock" }
        );
    }
    assert_eq!(
        denied(libc::ENOENT, cycles, &user()).hint(),
        Some("sample by the kernel's clock: `ctrflame record -e cpu-clock …`")
    );
    let without_perf = Circumstances {
        paranoid: None,
        ..user()
    };
    assert_eq!(
        gate(libc::ENOSYS, OWN, &without_perf),
        Gate::NotSupported { event: "cpu-clock" }
    );
}

#[test]
fn limits_are_named_with_their_values() {
    let here = Circumstances {
        open_files_soft: Some(1024),
        open_files_hard: Some(524_288),
        ..user()
    };
    let denied = denied(libc::EMFILE, SYSTEM, &here);
    assert_eq!(
        denied.gate.to_string(),
        "no descriptor is left, RLIMIT_NOFILE is 1024"
    );
    assert_eq!(denied.hint(), Some("`ulimit -n 524288`"));
    assert_eq!(gate(libc::ENFILE, SYSTEM, &here), Gate::SystemFileLimit);

    let fast = Attempt {
        rate_hz: Some(200_000),
        ..SYSTEM
    };
    let denied = self::denied(libc::EINVAL, fast, &here);
    assert_eq!(
        denied.gate,
        Gate::SampleRate {
            asked_hz: 200_000,
            max_hz: 100_000
        }
    );
    assert_eq!(denied.hint(), Some("`ctrflame record -F 100000 …`"));
    let unexplained = self::denied(libc::EINVAL, SYSTEM, &here);
    assert_eq!(
        (unexplained.gate.clone(), unexplained.hint()),
        (Gate::Unexplained, None)
    );
}

/// Set for [`the_gate_that_stopped_this_process`]: which attempt it makes.
const TRY: &str = "CTRFLAME_GATE_TRY";

#[test]
#[ignore = "the child of the_gate_found_is_the_gate_that_was_shut; by hand with CTRFLAME_GATE_TRY set"]
fn the_gate_that_stopped_this_process() {
    let mut opts = Opts::default();
    let wanted = std::env::var(TRY).expect("system, own or own-user-side");
    let (attempt, result) = match wanted.as_str() {
        "system" => (
            SYSTEM,
            Counter::new(Software::CpuClock, (Proc::ALL, Cpu(0)), &opts),
        ),
        "own" => (
            OWN,
            Counter::new(Software::CpuClock, (Proc::CURRENT, Cpu::ALL), &opts),
        ),
        "own-user-side" => {
            opts.exclude.kernel = true;
            (
                OWN_USER_SIDE,
                Counter::new(Software::CpuClock, (Proc::CURRENT, Cpu::ALL), &opts),
            )
        }
        other => panic!("unknown attempt {other}"),
    };
    let line = match result {
        Ok(_) => "allowed".to_owned(),
        Err(error) => {
            let denied = diagnose(&error, attempt);
            format!(
                "{:?} | {denied} | {}",
                denied.gate,
                denied.hint().unwrap_or("-")
            )
        }
    };
    writeln!(io::stdout(), "\n{line}").expect("writes");
}

#[test]
fn the_gate_found_is_the_gate_that_was_shut() {
    let here = Circumstances::of_this_thread();
    let required = std::env::var("CTRFLAME_REQUIRE").unwrap_or_default();
    if here.effective_uid != Some(0)
        || here.is_filtered()
        || here.surroundings != Surroundings::Host
    {
        assert!(
            !required.split(',').any(|need| need.trim() == "root"),
            "needs root of a host"
        );
        let _ = writeln!(
            io::stderr(),
            "skipped `the_gate_found_is_the_gate_that_was_shut`: needs root of a host, unfiltered"
        );
        return;
    }
    let found = here.paranoid.expect("a kernel with perf events");
    // Another user may not be able to reach the directory of the build.
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(
        dir.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("permissions");
    let program = dir.path().join("tests");
    std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("copies");
    let answer = |prefix: &[&str], wanted: &str| -> String {
        let (first, rest) = prefix.split_first().expect("a command");
        let output = Command::new(first)
            .args(rest)
            .arg(&program)
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("live::gate::tests::the_gate_that_stopped_this_process")
            .env(TRY, wanted)
            .current_dir("/")
            .output()
            .expect("util-linux is installed");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text
            .lines()
            .find(|line| line.contains(" | ") || *line == "allowed");
        let line = line.unwrap_or_else(|| panic!("{prefix:?}: {output:?}"));
        line.split(" | ").next().unwrap_or_default().to_owned()
    };
    let debug = |gate: Gate| format!("{gate:?}");
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let stripped = ["setpriv", "--bounding-set=-perfmon,-sys_admin"];
    let expected = |needed| match found > needed {
        true => debug(Gate::Paranoid { found, needed }),
        false => "allowed".to_owned(),
    };
    assert_eq!(answer(&["env"], "system"), "allowed");
    assert_eq!(answer(&nobody, "system"), expected(0));
    assert_eq!(answer(&nobody, "own"), expected(1));
    if found <= 2 {
        assert_eq!(answer(&nobody, "own-user-side"), "allowed");
    }
    if found > 0 {
        assert_eq!(
            answer(&stripped, "system"),
            debug(missing(Capability::Perfmon))
        );
        let user_namespace = ["unshare", "--user", "--map-root-user"];
        assert_eq!(
            answer(&user_namespace, "system"),
            debug(Gate::MissingCapability {
                needed: Capability::Perfmon,
                held_in_user_namespace: HeldInUserNamespace::Yes,
            })
        );
    }
}
