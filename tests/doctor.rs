//! The doctor says what a recording would meet: each gate is shut for real, and what opens it is tried.

mod support;

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};
use support::ctrflame::Ctrflame;
use support::docker::Docker;
use support::gates::{
    CAP_CHECKPOINT_RESTORE, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYSLOG, Gate, Paranoid,
    Sysctl,
};
use support::{Host, Need, needs, which};

/// What `ctrflame doctor --json` said.
struct Report {
    code: i32,
    json: Value,
}

impl Report {
    fn of(code: i32, stdout: &str, stderr: &str) -> Self {
        let json = serde_json::from_str(stdout)
            .unwrap_or_else(|error| panic!("{error}: {stdout:?} {stderr:?}"));
        let report = Self { code, json };
        let closed = !report.with("closed").is_empty();
        assert_eq!(report.code, i32::from(closed), "{:#}", report.json);
        let verdict = match (closed, report.with("limits").is_empty()) {
            (true, _) => "fails",
            (false, false) => "works_with_limits",
            (false, true) => "works",
        };
        assert_eq!(report.json["verdict"], verdict);
        report
    }

    fn of_output(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().expect("it ended by itself");
        Self::of(code, &text(&output.stdout), &text(&output.stderr))
    }

    fn gate(&self, name: &str) -> &Value {
        let gates = self.json["gates"].as_array().expect("a list");
        gates
            .iter()
            .find(|gate| gate["gate"] == name)
            .unwrap_or_else(|| panic!("no gate {name} in {:#}", self.json))
    }

    fn text<'a>(&'a self, gate: &str, key: &str) -> &'a str {
        let value = &self.gate(gate)[key];
        value
            .as_str()
            .unwrap_or_else(|| panic!("{gate} has no {key} in {:#}", self.json))
    }

    /// Names of the gates that stand like that.
    fn with(&self, standing: &str) -> BTreeSet<&str> {
        let gates = self.json["gates"].as_array().expect("a list");
        gates
            .iter()
            .filter(|gate| gate["standing"] == standing)
            .map(|gate| gate["gate"].as_str().expect("a name"))
            .collect()
    }

    fn records(&self, what: &str) -> bool {
        self.json["records"][what].as_bool().expect("yes or no")
    }

    /// How many processes could be looked into.
    fn reached(&self) -> u64 {
        let found = self.text("mount_namespaces", "found");
        let number = found.split(' ').next().expect("words");
        number.parse().expect("a number first")
    }

    /// Exactly these gates are closed.
    fn assert_closed(&self, gates: &[&str]) {
        assert_eq!(self.with("closed"), set(gates), "{:#}", self.json);
    }

    /// Nothing is closed, and these gates are limits beside those of the machine.
    fn assert_limits(&self, machine: &Self, gates: &[&str]) {
        self.assert_closed(&[]);
        let expected: BTreeSet<&str> = &machine.with("limits") | &set(gates);
        assert_eq!(self.with("limits"), expected, "{:#}", self.json);
    }
}

fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

fn doctor(gates: &[Gate]) -> Report {
    let mut command = Ctrflame::new(["doctor", "--json"]);
    for gate in gates {
        command = command.behind(*gate);
    }
    let run = command.run();
    Report::of(run.code(), &run.stdout, &run.stderr)
}

/// As [`doctor`], started by another program.
fn doctor_by(prefix: &[&str]) -> Report {
    let (program, args) = prefix.split_first().expect("a program");
    let output = Command::new(program)
        .args(args)
        .arg(env!("CARGO_BIN_EXE_ctrflame"))
        .args(["doctor", "--json"])
        .output()
        .expect("util-linux is installed");
    Report::of_output(&output)
}

/// Sets what the doctor says opens `gate`, which must be a sysctl.
fn open_by_sysctl<'a>(host: &'a Host, report: &Report, gate: &str) -> Sysctl<'a> {
    let opens = report.text(gate, "opens");
    let setting = opens
        .split_once("`sudo sysctl ")
        .and_then(|(_, rest)| rest.split('`').next())
        .unwrap_or_else(|| panic!("{gate}: no sysctl in {opens:?}"));
    let (name, value) = setting.split_once('=').expect("NAME=VALUE");
    Sysctl::set(host, name, value)
}

/// `record -a` behind the same gate fails with the doctor's words and its command.
fn assert_record_says_the_same(report: &Report, gate: &str, shut: &[Gate]) {
    let mut command = Ctrflame::record(["-a", "--duration", "1s"]);
    for gate in shut {
        command = command.behind(*gate);
    }
    let run = command.run().expect_failure();
    let (found, opens) = (report.text(gate, "found"), report.text(gate, "opens"));
    assert!(run.stderr.contains(found), "{found:?}: {}", run.stderr);
    let hint = format!("hint: {opens}");
    assert!(run.stderr.contains(&hint), "{hint:?}: {}", run.stderr);
}

#[test]
fn on_the_host_as_root_nothing_is_closed_and_people_are_told_first_of_all() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let machine = doctor(&[]);
    machine.assert_closed(&[]);
    for what in ["host", "container", "command", "command_without_kernel"] {
        assert!(machine.records(what), "{what}");
    }
    // Every sign of a PMU in sysfs: `cpu`, or `cpu_core` and `cpu_atom`.
    let sources = std::fs::read_dir("/sys/bus/event_source/devices").expect("perf is built in");
    let has_pmu = sources
        .filter_map(|source| source.ok()?.file_name().into_string().ok())
        .any(|name| name == "cpu" || name == "cpu_core");
    assert_eq!(machine.with("limits").contains("cycles"), !has_pmu);

    let run = Ctrflame::new(["doctor"]).run().expect_code(0);
    let first = run.stdout.lines().next().expect("lines");
    let limits: Vec<&str> = machine.json["gates"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|gate| gate["standing"] == "limits")
        .filter_map(|gate| gate["gate"].as_str())
        .collect();
    let expected = match limits.as_slice() {
        [] => "recording will work".to_owned(),
        limits => format!(
            "recording will work, with these limits: {}",
            limits.join(", ")
        ),
    };
    assert_eq!(first, expected);
    assert!(!run.stdout.contains('\x1b'), "colours in a file");
    let oks = run.stdout.lines().filter(|line| line.starts_with("  ok  "));
    assert_eq!(oks.count(), machine.with("open").len());
}

#[test]
fn a_seccomp_filter_is_the_gate_and_nothing_else_is_blamed() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let report = doctor(&[Gate::Seccomp]);
    report.assert_closed(&["seccomp"]);
    assert!(!report.records("host") && !report.records("command_without_kernel"));
    assert_record_says_the_same(&report, "seccomp", &[Gate::Seccomp]);

    let run = Ctrflame::new(["doctor"]).behind(Gate::Seccomp).run();
    let run = run.expect_code(1);
    let first = run.stdout.lines().next().expect("lines");
    let verdict = "recording will not work: a seccomp filter refuses perf_event_open";
    assert_eq!(first, verdict);
}

#[test]
fn each_capability_that_is_missing_is_named_with_what_is_lost() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let _paranoid = Paranoid::set(&host, 2);
    let machine = doctor(&[]);

    let shut = [Gate::WithoutCapabilities(&[CAP_PERFMON, CAP_SYS_ADMIN])];
    let report = doctor(&shut);
    report.assert_closed(&["capabilities"]);
    assert_eq!(
        report.text("capabilities", "found"),
        "CAP_PERFMON is missing"
    );
    assert_record_says_the_same(&report, "capabilities", &shut);

    // CAP_SYS_ADMIN stands for two others, and is used for host names only.
    let report = doctor(&[Gate::WithoutCapabilities(&[CAP_SYS_ADMIN])]);
    report.assert_limits(&machine, &[]);
    assert!(
        report
            .text("capabilities", "found")
            .contains("CAP_SYS_ADMIN")
    );
    let report = doctor(&[Gate::WithoutCapabilities(&[CAP_PERFMON])]);
    report.assert_limits(&machine, &[]);

    let shut = Gate::WithoutCapabilities(&[CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN]);
    let report = doctor(&[shut]);
    report.assert_limits(&machine, &["capabilities"]);
    assert_eq!(
        report.text("capabilities", "found"),
        "CAP_CHECKPOINT_RESTORE is missing"
    );

    let report = doctor(&[Gate::WithoutCapabilities(&[CAP_SYS_PTRACE])]);
    report.assert_limits(&machine, &["capabilities", "mount_namespaces"]);
    assert_eq!(
        report.text("capabilities", "found"),
        "CAP_SYS_PTRACE is missing"
    );
    assert!(report.reached() < machine.reached(), "{:#}", report.json);
    assert!(
        report
            .text("mount_namespaces", "opens")
            .contains("cap_sys_ptrace")
    );
}

#[test]
fn kernel_symbols_are_judged_by_what_kallsyms_shows() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let machine = doctor(&[]);
    let kptr = Sysctl::set(&host, "kernel.kptr_restrict", 2);
    let report = doctor(&[]);
    report.assert_limits(&machine, &["kptr_restrict"]);
    let opened = open_by_sysctl(&host, &report, "kptr_restrict");
    doctor(&[]).assert_limits(&machine, &[]);
    // The same value hides them from who may not read the kernel's log.
    let report = doctor(&[Gate::WithoutCapabilities(&[CAP_SYSLOG])]);
    report.assert_limits(&machine, &["capabilities", "kptr_restrict"]);
    assert!(report.text("kptr_restrict", "opens").contains("cap_syslog"));
    drop((opened, kptr));
}

#[test]
fn an_ordinary_user_is_told_what_each_value_of_perf_event_paranoid_allows() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    // With every value the doctor is right about a recording that is tried.
    for value in [-1, 0, 1, 2, 3, 4] {
        let _paranoid = Paranoid::set(&host, value);
        let report = doctor(&[Gate::Nobody]);
        match value {
            ..=0 => report.assert_closed(&[]),
            _ => {
                report.assert_closed(&["perf_event_paranoid"]);
                let found = report.text("perf_event_paranoid", "found");
                assert!(found.contains(&format!("is {value},")), "{found}");
                assert_record_says_the_same(&report, "perf_event_paranoid", &[Gate::Nobody]);
            }
        }
        assert_eq!(report.records("host"), value <= 0, "{value}");
        assert_eq!(report.records("container"), value <= 0, "{value}");
        for (what, flags) in [
            ("command", &["--", "/bin/true"][..]),
            (
                "command_without_kernel",
                &["--no-kernel", "--", "/bin/true"],
            ),
        ] {
            let run = Ctrflame::record(flags).behind(Gate::Nobody).run();
            let works = run.code() == 0;
            assert_eq!(
                report.records(what),
                works,
                "{value}: {what}: {}",
                run.stderr
            );
        }
    }
}

#[test]
fn rights_of_a_user_namespace_do_not_count() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let _paranoid = Paranoid::set(&host, 2);
    let report = doctor_by(&["unshare", "--user", "--map-root-user"]);
    report.assert_closed(&["capabilities"]);
    let found = report.text("capabilities", "found");
    assert!(
        found.contains("CAP_PERFMON") && found.contains("user namespace only"),
        "{found}"
    );
    assert!(report.reached() < 10, "{:#}", report.json);
}

#[test]
fn in_a_pid_namespace_of_its_own_the_host_is_not_seen() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let report = doctor_by(&["unshare", "--pid", "--fork", "--mount-proc"]);
    report.assert_closed(&["pid_namespace"]);
    assert!(report.records("host"), "the kernel itself lets it pass");
}

#[test]
fn a_security_module_that_keeps_processes_closed_is_a_limit_that_no_capability_opens() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let machine = doctor(&[]);
    let report = doctor(&[Gate::Landlock]);
    report.assert_limits(&machine, &["mount_namespaces"]);
    assert!(report.reached() < 10, "{:#}", report.json);
    let opens = report.text("mount_namespaces", "opens");
    assert!(opens.contains("denial"), "{opens}");
}

#[test]
fn rings_beyond_the_budget_close_the_gate_until_the_command_is_run() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let _paranoid = Paranoid::set(&host, 0);
    let _mlock = Sysctl::set(&host, "kernel.perf_event_mlock_kb", 64);
    let shut = [Gate::Nobody, Gate::LockedMemory(0)];
    let report = doctor(&shut);
    report.assert_closed(&["locked_memory"]);
    assert_record_says_the_same(&report, "locked_memory", &shut);
    let _opened = open_by_sysctl(&host, &report, "locked_memory");
    let report = doctor(&shut);
    report.assert_closed(&[]);
    assert!(report.records("host"));
    // The kernel's default is enough for smaller rings, and the flag that is named gives such.
    let _default = Sysctl::set(&host, "kernel.perf_event_mlock_kb", 516);
    let report = doctor(&shut);
    report.assert_closed(&["locked_memory"]);
    let without = report.text("locked_memory", "without");
    let size = without.split_once("-m ").expect("a flag").1;
    let size = size.split(' ').next().expect("a size");
    Ctrflame::record(["-a", "--duration", "1s", "-m", size])
        .behind(Gate::Nobody)
        .behind(Gate::LockedMemory(0))
        .run()
        .expect_code(0);
}

#[test]
fn limits_on_files_are_measured_against_cpus_and_namespaces() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let machine = doctor(&[]);
    let shut = [Gate::OpenFiles(8)];
    let report = doctor(&shut);
    report.assert_closed(&["open_files"]);
    assert_record_says_the_same(&report, "open_files", &shut);
    let report = doctor(&[Gate::OpenFiles(1000)]);
    report.assert_limits(&machine, &["open_files"]);
}

#[test]
fn the_sysctls_of_rate_and_depth_are_opened_by_the_command_that_is_named() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let machine = doctor(&[]);
    {
        let _rate = Sysctl::set(&host, "kernel.perf_event_max_sample_rate", 50);
        let report = doctor(&[]);
        report.assert_closed(&["max_sample_rate"]);
        let _opened = open_by_sysctl(&host, &report, "max_sample_rate");
        doctor(&[]).assert_limits(&machine, &[]);
    }
    let _depth = Sysctl::set(&host, "kernel.perf_event_max_stack", 64);
    let report = doctor(&[]);
    report.assert_limits(&machine, &["max_stack"]);
    let _opened = open_by_sysctl(&host, &report, "max_stack");
    doctor(&[]).assert_limits(&machine, &[]);
}

#[test]
fn without_a_cgroup_hierarchy_containers_cannot_be_told_apart() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let machine = doctor(&[]);
    let script = "grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d' ' -f5 | tac \
                  | while read m; do umount -l \"$m\" || exit 3; done && exec \"$@\"";
    let report = doctor_by(&["unshare", "--mount", "sh", "-c", script, "sh"]);
    report.assert_limits(&machine, &["cgroups"]);
    assert!(report.records("host") && !report.records("container"));
}

#[test]
fn a_part_of_the_cgroup_hierarchy_is_not_taken_for_the_whole() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let machine = doctor(&[]);
    // As a container with a cgroup namespace of its own sees it.
    let script = "top=$(grep ' - cgroup2 ' /proc/self/mountinfo | cut -d' ' -f5 | head -n 1) \
                  && own=$top/ctrflame-doctor-$$ && mkdir $own && echo $$ >$own/cgroup.procs || exit 3; \
                  unshare --cgroup --mount sh -c 'mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"' sh \"$@\"; \
                  code=$?; echo $$ >$top/cgroup.procs; rmdir $own; exit $code";
    let report = doctor_by(&["unshare", "--mount", "sh", "-c", script, "sh"]);
    report.assert_limits(&machine, &["cgroups"]);
    let found = report.text("cgroups", "found");
    assert!(found.starts_with("only a part of cgroup v2 at "), "{found}");
}

#[test]
fn in_docker_the_one_command_that_is_named_opens_all() {
    let Some(host) = needs(Need::Docker) else {
        return;
    };
    let _paranoid = Paranoid::set(&host, 2);
    let machine = doctor(&[]);
    let docker = Docker::start(&host);
    docker.import(
        "bb:1",
        &which("busybox").expect("needs(Docker) looked"),
        "/bin/busybox",
    );
    let binary = format!("{}:/ctrflame:ro", env!("CARGO_BIN_EXE_ctrflame"));
    let mut flags = vec!["-v", &binary];
    for libraries in ["/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro"] {
        flags.extend(["-v", libraries]);
    }
    let in_docker = |more: &[&str]| {
        let flags: Vec<&str> = flags.iter().chain(more).copied().collect();
        docker.run_to_end(&flags, "bb:1", &["/ctrflame", "doctor", "--json"])
    };
    let report = Report::of_output(&in_docker(&[]));
    report.assert_closed(&["pid_namespace", "seccomp", "capabilities"]);
    let opens_all = report.json["opens_all"].as_str().expect("several gates");
    let named: Vec<&str> = opens_all
        .strip_prefix("`docker run ")
        .and_then(|rest| rest.strip_suffix(" …`"))
        .expect("a docker run")
        .split(' ')
        .collect();
    let mut opened = in_docker(&named);
    if String::from_utf8_lossy(&opened.stderr).contains("unknown capability") {
        // A docker that is older than these capabilities (Debian 12's): the one that stands for both.
        let named: Vec<&str> = named
            .iter()
            .map(|flag| match *flag {
                "PERFMON" | "CHECKPOINT_RESTORE" => "SYS_ADMIN",
                flag => flag,
            })
            .collect();
        opened = in_docker(&named);
    }
    let report = Report::of_output(&opened);
    report.assert_limits(&machine, &[]);
    assert!(report.records("host") && report.records("container"));
}
