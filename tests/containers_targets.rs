//! What can be recorded: a container by any of its names, a process, a command; and what is said when there is none.

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use support::container::Builder;
use support::ctrflame::Ctrflame;
use support::workloads::Workload;
use support::{Host, Need, needs, random_hex};

const RATE: &str = "999";

fn hot<'a>(host: &'a Host, hostname: &str) -> Builder<'a> {
    Builder::new(host, &["/app/hot", "60"])
        .file("/app/hot", Workload::HotA.build())
        .hostname(hostname)
}

#[test]
fn a_container_is_found_by_id_prefix_hostname_and_cgroup_path() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let id = random_hex(32);
    let name = format!("shop-{}", random_hex(4));
    let container = hot(&host, &name).id(&id).start();
    for what in [&id[..8], &id, &name, container.cgroup()] {
        let run = Ctrflame::record(["-G", what, "-F", RATE, "--duration", "1s"])
            .run()
            .expect_code(0);
        let folded = run.folded();
        let own = folded.container(&container.tag());
        assert!(own.total() > 0, "-G {what}: no samples\n{}", run.stderr);
        assert_eq!(own.total(), folded.total(), "-G {what}\n{folded}");
    }
}

#[test]
fn a_pods_cgroup_path_means_every_container_in_it() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let pod = format!("/kubepods/burstable/pod{}", random_hex(8));
    let ids = [random_hex(32), random_hex(32)];
    let containers = ids.each_ref().map(|id| {
        hot(&host, "pod")
            .id(id)
            .cgroup(&format!("{pod}/{id}"))
            .start()
    });
    let run = Ctrflame::record(["-G", &pod, "-F", RATE, "--duration", "3s"])
        .run()
        .expect_code(0);
    let folded = run.folded();
    for container in &containers {
        let short = &container.id()[..12];
        let own = folded.only(|stack| stack.container.contains(short));
        assert!(own.total() > 0, "{short}\n{folded}");
    }
    let theirs = |tag: &str| {
        containers
            .iter()
            .any(|container| tag.contains(&container.id()[..12]))
    };
    assert_eq!(
        folded.share(|stack| theirs(&stack.container)),
        1.0,
        "{folded}"
    );
}

#[test]
fn an_unknown_container_is_an_error_that_lists_the_running_ones() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = hot(&host, "present").start();
    let run = Ctrflame::record(["-G", "no-such-container", "--duration", "1s"])
        .run()
        .expect_failure();
    for fact in ["no-such-container", &container.id()[..12], "present"] {
        assert!(run.stderr.contains(fact), "no {fact:?} in {:?}", run.stderr);
    }
    assert_eq!(run.files(), Vec::<String>::new());
}

#[test]
fn an_ambiguous_prefix_is_an_error_that_lists_what_it_matches() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let prefix = random_hex(4);
    let ids = ["1", "2"].map(|digit| format!("{prefix}{}", digit.repeat(56)));
    let _containers = ids.each_ref().map(|id| hot(&host, "twin").id(id).start());
    let run = Ctrflame::record(["-G", &prefix, "--duration", "1s"])
        .run()
        .expect_failure();
    for fact in [&prefix[..], &ids[0][..12], &ids[1][..12]] {
        assert!(run.stderr.contains(fact), "no {fact:?} in {:?}", run.stderr);
    }
    assert_eq!(run.files(), Vec::<String>::new());
}

#[test]
fn a_container_that_dies_while_it_is_recorded_still_gives_its_picture() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = hot(&host, "doomed").start();
    let mut recording =
        Ctrflame::record(["-G", container.id(), "-F", RATE, "--duration", "4s"]).start();
    recording.wait_until_sampling();
    std::thread::sleep(Duration::from_secs(1));
    let tag = container.tag();
    drop(container);
    let run = recording.wait().expect_code(0);
    assert_eq!(run.files(), ["out.folded", "out.svg"]);
    let own = run.folded().container(&tag);
    assert!(own.total() >= 20, "{}\n{}", run.folded(), run.stderr);
    assert_eq!(own.total(), run.folded().total());
    assert!(
        run.svg()
            .titles
            .iter()
            .any(|title| title.contains("alpha_inner"))
    );
}

#[test]
fn a_process_of_the_host_is_recorded_by_its_pid() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let mut process = Command::new(Workload::HotA.build())
        .arg("30")
        .stdin(Stdio::null())
        .spawn()
        .expect("it was just built");
    let pid = process.id().to_string();
    let run = Ctrflame::record(["-p", &pid, "-F", RATE, "--duration", "2s"]).run();
    process.kill().expect("our child");
    process.wait().expect("our child");
    let run = run.expect_code(0);
    let folded = run.folded();
    assert!(folded.total() >= 20, "{folded}\n{}", run.stderr);
    let named = folded.share(|stack| stack.has_chain(&["main", "alpha_outer", "alpha_inner"]));
    assert!(named >= 0.98, "{named}\n{folded}");
    assert!(
        folded
            .stacks
            .iter()
            .all(|stack| stack.container.starts_with("host")),
        "{folded}"
    );
}

#[test]
fn the_command_after_the_dashes_is_what_is_recorded() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let busy = Workload::Busy.build();
    let run = Ctrflame::record([
        "-F".as_ref(),
        RATE.as_ref(),
        "--".as_ref(),
        busy.as_os_str(),
    ])
    .args(["2", "2"])
    .run()
    .expect_code(0);
    let cpu_seconds = run
        .stdout
        .trim()
        .strip_prefix("cpu_seconds ")
        .expect("busy prints it");
    let expected = cpu_seconds.parse::<f64>().expect("a number") * 999.0;
    let folded = run.folded();
    let ratio = folded.total() as f64 / expected;
    assert!(
        (0.9..=1.1).contains(&ratio),
        "{} of {expected}\n{folded}",
        folded.total()
    );
    assert!(
        folded.share(|stack| stack.user_leaf() == Some("busy_loop")) >= 0.95,
        "{folded}"
    );
}
