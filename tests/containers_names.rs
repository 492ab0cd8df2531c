//! Every sample is under its own container, and every name comes from that container's own files.

mod support;

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::container::{Builder, Container};
use support::ctrflame::{Ctrflame, Finished};
use support::docker::Docker;
use support::folded::{Folded, Stack};
use support::workloads::Workload;
use support::{Host, Need, needs, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// A rate that gives a few hundred samples in three seconds even where the machine is shared with others.
const RATE: &str = "999";

fn hot<'a>(host: &'a Host, hostname: &str, program: Workload) -> Builder<'a> {
    Builder::new(host, &["/app/hot", "60"])
        .file("/app/hot", program.build())
        .hostname(hostname)
}

/// Whether the innermost user frame is one of the program's own functions, and below it is its caller.
fn in_own_functions(stack: &Stack, prefix: &str) -> bool {
    let (inner, outer) = (format!("{prefix}_inner"), format!("{prefix}_outer"));
    match stack.user_leaf() {
        Some(leaf) if leaf == inner => stack.has_chain(&["main", &outer, &inner]),
        Some(leaf) if leaf == outer => stack.has_chain(&["main", &outer]),
        Some(leaf) => leaf == "main",
        None => false,
    }
}

/// The samples of `container`; panics if there are too few to speak of 99 % of them.
fn enough_samples_of(run: &Finished, container: &Container) -> Folded {
    let folded = run.folded();
    let own = folded.container(&container.tag());
    assert!(
        own.total() >= 100,
        "{} samples of {}\n{folded}\n{}",
        own.total(),
        container.tag(),
        run.stderr
    );
    own
}

#[test]
fn two_programs_at_one_path_are_told_apart() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let a = hot(&host, "alpha", Workload::HotA).start();
    let b = hot(&host, "beta", Workload::HotB).start();
    let run = Ctrflame::record(["-a", "-F", RATE, "--duration", "4s"])
        .run()
        .expect_code(0);
    for (container, own, other) in [(&a, "alpha", "beta_"), (&b, "beta", "alpha_")] {
        let samples = enough_samples_of(&run, container);
        assert!(
            !samples.mentions(other),
            "{other} under {}\n{samples}",
            container.tag()
        );
        let hot = samples
            .comm("hot")
            .only(|stack| stack.user_leaf().is_some());
        let named = hot.share(|stack| in_own_functions(stack, own));
        assert!(named >= 0.99, "{named} of {own} named\n{hot}");
    }
    for stack in &run.folded().stacks {
        let is_a = stack.frames.iter().any(|frame| frame.starts_with("alpha_"));
        let is_b = stack.frames.iter().any(|frame| frame.starts_with("beta_"));
        assert!(!is_a || stack.container == a.tag(), "{stack:?}");
        assert!(!is_b || stack.container == b.tag(), "{stack:?}");
    }
    let titles = run.svg().titles.join("\n");
    for wanted in ["alpha_inner", "beta_inner", &a.id()[..12], &b.id()[..12]] {
        assert!(
            titles.contains(wanted),
            "no {wanted} in the picture: {titles}"
        );
    }
}

#[test]
fn a_recording_of_one_container_shows_nothing_of_the_other() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let a = hot(&host, "alpha", Workload::HotA).start();
    let _b = hot(&host, "beta", Workload::HotB).start();
    let run = Ctrflame::record(["-G", &a.id()[..12], "-F", RATE, "--duration", "3s"])
        .run()
        .expect_code(0);
    let samples = enough_samples_of(&run, &a);
    let folded = run.folded();
    assert_eq!(
        samples.total(),
        folded.total(),
        "others are in it too\n{folded}"
    );
    assert!(!folded.mentions("beta"), "{folded}");
    assert!(!run.svg().text.contains("beta"));
}

#[test]
fn two_of_three_containers_can_be_chosen() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let a = hot(&host, "alpha", Workload::HotA).start();
    let b = hot(&host, "beta", Workload::HotB).start();
    let c = hot(&host, "gamma", Workload::HotB).start();
    let (first, second) = (&a.id()[..12], &b.id()[..12]);
    let run = Ctrflame::record(["-G", first, "-G", second, "-F", RATE, "--duration", "4s"])
        .run()
        .expect_code(0);
    let both = enough_samples_of(&run, &a).total() + enough_samples_of(&run, &b).total();
    let folded = run.folded();
    assert_eq!(both, folded.total(), "{folded}");
    assert_eq!(folded.container(&c.tag()).total(), 0);
}

#[test]
fn a_perf_map_in_the_containers_own_tmp_names_its_code() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/jitlike", "60"])
        .file("/app/jitlike", Workload::JitLike.build())
        .hostname("jit")
        .start();
    let inside = format!("/proc/{}/root/tmp/perf-1.map", container.pid());
    let map = wait_until("the map", SOON, || {
        let map = fs::read_to_string(&inside).ok()?;
        map.ends_with("jit_inner\n").then_some(map)
    });
    // The file that a profiler would take that mistakes one namespace's pid, or one /tmp, for another's.
    let decoy = Decoy::write(container.pid(), &map.replace("jit_", "decoy_"));
    let run = Ctrflame::record(["-G", container.id(), "-F", RATE, "--duration", "3s"])
        .run()
        .expect_code(0);
    drop(decoy);
    let samples = enough_samples_of(&run, &container);
    assert!(!samples.mentions("decoy"), "{samples}");
    let named = samples.share(|stack| {
        stack.has_chain(&["main", "jit_outer_[j]", "jit_inner_[j]"])
            || stack.user_leaf() == Some("jit_outer_[j]")
    });
    assert!(named >= 0.99, "{named} named\n{samples}");
}

#[test]
fn a_perf_map_that_is_removed_when_its_process_has_ended_names_its_code() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let script =
        "sleep 1; /app/jitlike 1; sleep 0.2; rm /tmp/perf-*.map; touch /tmp/removed; sleep 60";
    let container = Builder::new(&host, &["/bin/sh", "-c", script])
        .busybox()
        .file("/app/jitlike", Workload::JitLike.build())
        .start();
    let run = Ctrflame::record(["-G", container.id(), "-F", RATE, "--duration", "4s"])
        .run()
        .expect_code(0);
    let removed = format!("/proc/{}/root/tmp/removed", container.pid());
    assert!(fs::exists(removed).is_ok_and(|is_there| is_there));
    let samples = enough_samples_of(&run, &container);
    let named = samples.share(|stack| {
        stack.has_chain(&["main", "jit_outer_[j]", "jit_inner_[j]"])
            || stack.user_leaf() == Some("jit_outer_[j]")
    });
    // The shell's own samples are few.
    assert!(named >= 0.9, "{named} named\n{samples}");
}

/// `/tmp/perf-<pid>.map` on the host, removed on drop.
struct Decoy(String);

impl Decoy {
    fn write(host_pid: u32, map: &str) -> Self {
        let path = format!("/tmp/perf-{host_pid}.map");
        fs::write(&path, map).expect("root writes to /tmp");
        Self(path)
    }
}

impl Drop for Decoy {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_container_that_is_gone_before_the_recording_ends_is_named_all_the_same() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    // Built before the clock runs.
    let program = Workload::Short.build();
    let mut recording = Ctrflame::record(["-a", "-F", RATE]).start();
    recording.wait_until_sampling();
    let container = Builder::new(&host, &["/app/short", "1"])
        .file("/app/short", program)
        .hostname("brief")
        .on_tmpfs("/own")
        .start();
    let cpu_seconds: f64 = container
        .wait_for_line("cpu_seconds", SOON)
        .parse()
        .expect("seconds");
    container.wait_for_exit(SOON);
    let short_id = container.id()[..12].to_owned();
    // Its mounts, cgroup and root file system are gone too, long before anything is named.
    drop(container);
    std::thread::sleep(Duration::from_secs(2));
    recording.signal(Signal::SIGINT);
    let run = recording.wait().expect_code(0);
    let samples = run.folded().comm("short");
    let samples = samples.only(|stack| stack.container.contains(&short_id));
    let expected = cpu_seconds * 999.0;
    assert!(
        samples.total() as f64 >= expected * 0.9,
        "{} samples for {cpu_seconds} s\n{}",
        samples.total(),
        run.folded()
    );
    let user = samples.only(|stack| stack.user_leaf().is_some());
    let named = user.share(|stack| {
        stack.has_chain(&["main", "short_outer", "short_inner"])
            || matches!(stack.user_leaf(), Some("short_outer" | "main"))
    });
    assert!(named >= 0.95, "{named} named\n{samples}");
}

#[test]
fn a_container_that_starts_while_we_record_is_called_by_its_own_hostname() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let program = Workload::Short.build();
    // So often that runc is sampled on its way into the container, while its hostname is still the host's.
    let mut recording = Ctrflame::record(["-a", "-F", "4999"]).start();
    recording.wait_until_sampling();
    let container = Builder::new(&host, &["/app/short", "1"])
        .file("/app/short", program)
        .hostname("brief")
        .start();
    let tag = container.tag();
    let short_id = container.id()[..12].to_owned();
    container.wait_for_exit(SOON);
    drop(container);
    recording.signal(Signal::SIGINT);
    let folded = recording.wait().expect_code(0).folded();
    let own = folded.only(|stack| stack.container.contains(&short_id));
    assert!(own.total() >= 100, "{folded}");
    assert_eq!(own.container(&tag).total(), own.total(), "{own}");
}

#[test]
fn a_docker_container_is_called_by_its_name() {
    let Some(host) = needs(Need::Docker) else {
        return;
    };
    let docker = Docker::start(&host);
    docker.import("hot:1", &Workload::HotA.build(), "/app/hot");
    let id = docker.run("web1", "hot:1", &["/app/hot", "60"]);
    let _other = docker.run("web2", "hot:1", &["/app/hot", "60"]);
    let run = Ctrflame::record(["-G", "web1", "-F", RATE, "--duration", "3s"])
        .run()
        .expect_code(0);
    let folded = run.folded();
    let own = folded.container(&format!("docker:web1 ({})", &id[..12]));
    assert!(own.total() >= 100, "{folded}\n{}", run.stderr);
    assert_eq!(own.total(), folded.total(), "{folded}");
    assert!(
        own.share(|stack| in_own_functions(stack, "alpha")) >= 0.98,
        "{own}"
    );
}
