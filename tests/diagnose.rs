//! Containers that are really held back, or are not, and what `ctrflame diagnose` says of them.
//!
//! The machine may be busy with anything: what is not held back has so much weight that others do not matter, and
//! what is held back is so whatever they do.

mod support;

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::cgroups;
use support::container::{Builder, Container, Freeze};
use support::ctrflame::{Ctrflame, Finished};
use support::workloads::Workload;
use support::{Host, Need, needs};

/// A limit that any machine leaves room to hit: 2 ms of each 100.
const TIGHT: [(&str, &str); 2] = [("cpu.cfs_quota_us", "2000"), ("cpu.max", "2000 100000")];
/// The most weight there is.
const HEAVY: [(&str, &str); 2] = [("cpu.shares", "262144"), ("cpu.weight", "10000")];

/// Writes the first of the files that the cgroup has, in whichever hierarchy: v1's name of a setting, v2's.
fn set(cgroup: &str, settings: &[(&str, &str)]) {
    let dirs = cgroups::directories(cgroup);
    let files = settings.iter().flat_map(|(name, value)| {
        let files = dirs.iter().map(move |dir| dir.join(name));
        files.map(move |file| (file, value))
    });
    let mut there = files.filter(|(file, _)| file.exists());
    let (file, value) = there.next().expect("one of the files is there");
    fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// `threads` threads that spin.
fn busy<'a>(host: &'a Host, threads: &str) -> Builder<'a> {
    Builder::new(host, &["/app/busy", threads, "60"]).file("/app/busy", Workload::Busy.build())
}

fn id() -> String {
    support::random_hex(32)
}

/// A container of its own directly below the root: what it competes with is the host itself.
fn on_top(host: &Host, threads: &str) -> Container {
    let id = id();
    busy(host, threads)
        .cgroup(&format!("/docker-{id}.scope"))
        .id(&id)
        .start()
}

fn run(container: &Container, more: &[&str]) -> Finished {
    Ctrflame::new(["diagnose", container.id(), "--duration", "1s"])
        .args(more.iter().copied())
        .run()
        .expect_code(0)
}

/// The one container of the answer.
fn diagnose(container: &Container) -> Value {
    let run = run(container, &["--json"]);
    let mut answer: Value = serde_json::from_str(&run.stdout).expect("JSON");
    assert_eq!(answer["containers"].as_array().map(Vec::len), Some(1));
    answer["containers"][0].take()
}

/// It waits for a signal between its looks.
fn wait_until_it_watches(pid: u32) {
    let limit = std::time::Duration::from_secs(20);
    support::wait_until("it to have looked", limit, || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.count();
        let wchan = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        (threads > 1 && wchan.contains("futex")).then_some(())
    });
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn a_container_at_its_limit_is_cap_throttled() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = busy(&host, "2").start();
    set(container.cgroup(), &TIGHT);
    let said = diagnose(&container);
    assert_eq!(said["verdict"], "cap-throttled", "{said:#}");
    let cap = &said["throttling"][0];
    assert_eq!(
        (&cap["is_own"], &cap["limit_cpus"]),
        (&Value::from(true), &Value::from(0.02))
    );
    // On a busy host it does not get as far as its limit in each period.
    assert!(number(&cap["throttled_periods"]) >= 3.0, "{said:#}");
    assert!(number(&said["used_cpus"]) < 0.05, "{said:#}");
    assert_eq!(number(&said["entitled"]["minimum_cpus"]), 0.02);
    let file = cap["file"].as_str().expect("a path");
    assert!(Path::new(file).is_file(), "{file}");
}

#[test]
fn a_pods_limit_throttles_its_busy_container_and_not_the_one_that_sleeps() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let pod = format!("/kubepods/pod{}", support::random_hex(8));
    let (a, b) = (id(), id());
    let spins = busy(&host, "2")
        .cgroup(&format!("{pod}/{a}"))
        .id(&a)
        .start();
    let sleeps = Builder::new(&host, &["/bin/sleep", "60"])
        .busybox()
        .id(&b)
        .cgroup(&format!("{pod}/{b}"))
        .start();
    set(&pod, &TIGHT);
    let said = diagnose(&spins);
    assert_eq!(said["verdict"], "cap-throttled", "{said:#}");
    let threads = &said["threads"];
    assert_eq!(
        (&threads["counted"], &threads["unread"]),
        (&3.into(), &0.into()),
        "{said:#}"
    );
    let cap = &said["throttling"][0];
    assert_eq!(
        (&cap["is_own"], &cap["cgroup"]),
        (&Value::from(false), &Value::from(pod))
    );
    // Not runc's own start.
    sleeps.wait_for_program("/bin/busybox");
    let said = diagnose(&sleeps);
    assert_eq!(
        (&said["verdict"], &said["detail"]),
        (&"not-throttled".into(), &"idle".into()),
        "{said:#}"
    );
    assert_eq!(said["remarks"][0], "limit-hits-others", "{said:#}");
}

#[test]
fn two_containers_on_one_cpu_are_share_throttled_and_get_what_their_weights_say() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let tenant = |shares: &str, weight: &str| {
        let container = busy(&host, "1").start();
        set(container.cgroup(), &[("cpuset.cpus", "0")]);
        set(
            container.cgroup(),
            &[("cpu.shares", shares), ("cpu.weight", weight)],
        );
        container
    };
    let (light, heavy) = (tenant("512", "50"), tenant("4096", "400"));
    let (few, many) = (diagnose(&light), diagnose(&heavy));
    for said in [&few, &many] {
        assert_eq!(said["verdict"], "share-throttled", "{said:#}");
        assert_eq!(said["waits_on"]["cpus"], "0");
    }
    let ratio = |of: &dyn Fn(&Value) -> f64| of(&many) / of(&few);
    let entitled = ratio(&|said| number(&said["entitled"]["minimum_cpus"]));
    // Eight, but for other groups of the host that were busy in one of the two times only.
    assert!((4.0..16.0).contains(&entitled), "{entitled}");
    let used = ratio(&|said| number(&said["used_cpus"]));
    assert!(used > 3.0, "{used}: {few:#} {many:#}");
    let tags: Vec<&str> = few["neighbours"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["tag"].as_str())
        .collect();
    assert!(tags.contains(&heavy.tag().as_str()), "{tags:?}");
}

#[test]
fn a_container_alone_on_too_few_cpus_is_physically_throttled() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = on_top(&host, "3");
    set(container.cgroup(), &[("cpuset.cpus", "0")]);
    set(container.cgroup(), &HEAVY);
    let said = diagnose(&container);
    assert_eq!(said["verdict"], "physical-cpu-throttled", "{said:#}");
    // Three threads want three CPUs and have one.
    assert!((1.6..2.4).contains(&number(&said["wait_cpus"])), "{said:#}");
    assert!(
        (0.85..1.1).contains(&number(&said["used_cpus"])),
        "{said:#}"
    );
}

#[test]
fn a_container_that_runs_when_it_wants_and_one_that_sleeps_are_not_throttled() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let runs = on_top(&host, "1");
    set(runs.cgroup(), &HEAVY);
    let said = diagnose(&runs);
    assert_eq!(said["verdict"], "not-throttled", "{said:#}");
    assert!(number(&said["used_cpus"]) > 0.8, "{said:#}");
    let sleeps = Builder::new(&host, &["/bin/sleep", "60"]).busybox().start();
    // Not runc's own start.
    sleeps.wait_for_program("/bin/busybox");
    let said = diagnose(&sleeps);
    assert_eq!(
        (&said["verdict"], &said["detail"]),
        (&"not-throttled".into(), &"idle".into()),
        "{said:#}"
    );
}

#[test]
fn the_answer_names_the_container_the_verdict_the_files_and_the_next_command() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = busy(&host, "1").hostname("we\x1b[2Jb").start();
    set(container.cgroup(), &TIGHT);
    let said = run(&container, &[]).stdout;
    let first = said.lines().next().expect("lines");
    assert_eq!(
        first,
        format!(
            "docker:we\\x1b[2Jb ({}): cap throttled",
            &container.id()[..12]
        )
    );
    assert!(
        said.contains("/cpu.stat\n") && said.contains("/proc/stat\n"),
        "{said}"
    );
    let next = format!("docker update --cpus 1 {}", &container.id()[..12]);
    assert!(said.contains(&next), "{said}");
    assert!(!said.contains('\x1b'), "{said:?}");
}

#[test]
fn a_recording_has_the_verdict_in_its_subtitle_and_closing_line_and_its_file_draws_the_same() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = busy(&host, "2").start();
    set(container.cgroup(), &TIGHT);
    let run = Ctrflame::record([
        "-G",
        container.id(),
        "-F",
        "999",
        "--duration",
        "1s",
        "-o",
        "x.data",
    ])
    .run()
    .expect_code(0);
    let closing = run.stderr.lines().last().expect("a closing line");
    assert!(closing.contains(" · cap throttled in "), "{closing}");
    // In front, where no length of the rest cuts it.
    let svg = run.read("out.svg");
    let at = svg.find("cap throttled in ").expect("the verdict");
    assert_eq!(svg[..at].chars().last(), Some('>'), "{svg:.2000}");
    let again = Ctrflame::convert(&run.cwd().join("x.data"), &[]).expect_code(0);
    assert_eq!(again.read("out.folded"), run.read("out.folded"));
    let whole = Ctrflame::record(["-a", "--duration", "1s"])
        .run()
        .expect_code(0);
    let note = format!(
        "note: {} was cap throttled: its limit (0.02 CPUs) held it back in ",
        container.tag()
    );
    assert!(whole.stderr.contains(&note), "{}", whole.stderr);
}

#[test]
fn a_container_that_is_paused_is_frozen_and_not_idle() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = busy(&host, "1").start();
    container.freeze(Freeze::Pause);
    let said = diagnose(&container);
    container.freeze(Freeze::Resume);
    assert_eq!(
        (&said["verdict"], &said["detail"]),
        (&"not-throttled".into(), &"frozen".into()),
        "{said:#}"
    );
    let next = format!("docker unpause {}", &container.id()[..12]);
    assert_eq!(said["next"][0], next.as_str());
    let file = said["files"]["frozen"].as_str().expect("a path");
    assert!(Path::new(file).is_file(), "{file}");
}

#[test]
fn a_signal_ends_the_watching_and_the_answer_is_of_the_time_until_then() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = busy(&host, "1").start();
    let run = Ctrflame::new(["diagnose", container.id(), "--duration", "5m", "--json"]).start();
    wait_until_it_watches(run.pid());
    run.signal(Signal::SIGINT);
    let run = run.wait().expect_code(0);
    let answer: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let seconds = number(&answer["containers"][0]["seconds"]);
    assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
}

#[test]
fn neighbours_are_named_also_around_and_beside_a_nested_container() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let [outer, inner, beside] = [id(), id(), id()];
    let around = format!("/docker/{outer}");
    let start = |id: &str, cgroup: &str| busy(&host, "1").cgroup(cgroup).id(id).start();
    let outer = start(&outer, &around);
    let inner = start(&inner, &format!("{around}/docker/{inner}"));
    let beside = start(&beside, &format!("{around}/docker/{beside}"));
    // Enough that each of them is seen, however busy the host is.
    set(&around, &HEAVY);
    let said = diagnose(&inner);
    let neighbours = said["neighbours"].as_array().expect("a list");
    let is_told = |id: &str| {
        let short = format!("({})", &id[..12]);
        let mut tags = neighbours.iter().filter_map(|one| one["tag"].as_str());
        tags.any(|tag| tag.ends_with(&short))
    };
    assert!(is_told(outer.id()) && is_told(beside.id()), "{said:#}");
    assert!(!is_told(inner.id()), "{said:#}");
    assert!(
        !said["next"].to_string().contains("docker update"),
        "{said:#}"
    );
}

#[test]
fn a_container_that_ends_meanwhile_is_an_error_with_a_hint_and_an_unknown_one_lists_candidates() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/bin/sleep", "60"]).busybox().start();
    let run = Ctrflame::new(["diagnose", container.id(), "--duration", "2s"]).start();
    wait_until_it_watches(run.pid());
    drop(container);
    let run = run.wait().expect_failure();
    assert!(run.stderr.contains("ended before"), "{}", run.stderr);
    Ctrflame::new(["diagnose", "no-such-container"])
        .run()
        .expect_failure();
}
