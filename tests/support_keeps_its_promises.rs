//! The support code is tested like any other: a container that is not what it says proves nothing.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::container::{Builder, is_running};
use support::docker::Docker;
use support::folded::Folded;
use support::gates::{self, CAP_PERFMON, CAP_SYS_ADMIN, Gate, Paranoid, effective_capabilities};
use support::svg::Svg;
use support::workloads::{HUGE_SYMBOL_BYTES, Workload, patch_symbol};
use support::{Need, cgroups, needs, random_hex};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_container_has_the_cgroup_namespaces_and_hostname_that_were_asked_for() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let id = random_hex(32);
    let path = format!("/kubepods/burstable/pod{}/{id}", random_hex(8));
    let container = Builder::new(&host, &["/bin/sh", "-c", "hostname; exec sleep 30"])
        .id(&id)
        .hostname("web")
        .cgroup(&path)
        .busybox()
        .start();
    assert_eq!(cgroups::perf_path_of(container.pid()), Some(path.clone()));
    assert_eq!(container.cgroup(), path);
    assert_eq!(container.wait_for_line("web", SOON), "");
    assert_eq!(container.tag(), format!("docker:web ({})", &id[..12]));
    for namespace in ["mnt", "pid", "uts", "ipc", "net", "cgroup"] {
        let inode = |pid: &str| {
            fs::metadata(format!("/proc/{pid}/ns/{namespace}"))
                .expect("root may look")
                .ino()
        };
        assert_ne!(
            inode("self"),
            inode(&container.pid().to_string()),
            "{namespace}"
        );
    }
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).expect("alive");
    let pids = status.lines().find_map(|line| line.strip_prefix("NStgid:"));
    assert_eq!(
        pids.expect("Linux 4.1")
            .split_whitespace()
            .collect::<Vec<_>>(),
        [container.pid().to_string().as_str(), "1"]
    );
}

#[test]
fn nothing_is_left_of_a_container_that_was_dropped() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let parent = format!("/ctrflame-test-{}", random_hex(4));
    let path = format!("{parent}/{}", random_hex(32));
    let container = Builder::new(&host, &["/app/hot", "30"])
        .file("/app/hot", Workload::HotA.build())
        .cgroup(&path)
        .start();
    let (pid, id, rootfs) = (
        container.pid(),
        container.id().to_owned(),
        container.rootfs(),
    );
    assert!(is_running(pid));
    assert_ne!(
        cgroups::directories(&path),
        Vec::<std::path::PathBuf>::new()
    );
    assert!(rootfs.is_dir());
    drop(container);
    assert!(!is_running(pid));
    assert_eq!(
        cgroups::directories(&path),
        Vec::<std::path::PathBuf>::new()
    );
    assert_eq!(
        cgroups::directories(&parent),
        Vec::<std::path::PathBuf>::new()
    );
    assert!(!rootfs.exists());
    assert!(!host.lab().join("runc").join(&id).exists());
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    assert!(!mounts.contains(&id), "{mounts}");
}

#[test]
fn a_test_that_panics_leaves_no_container_behind() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let path = format!("/ctrflame-test-{}", random_hex(32));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let container = Builder::new(&host, &["/app/hot", "30"])
            .file("/app/hot", Workload::HotA.build())
            .cgroup(&path)
            .start();
        std::panic::panic_any(container.pid());
    }));
    let pid = *result
        .expect_err("it panicked")
        .downcast::<u32>()
        .expect("a pid");
    assert!(!is_running(pid));
    assert_eq!(
        cgroups::directories(&path),
        Vec::<std::path::PathBuf>::new()
    );
}

#[test]
fn what_a_killed_run_left_is_swept_by_the_next_one() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/hot", "60"])
        .file("/app/hot", Workload::HotA.build())
        .start();
    let (pid, path, rootfs) = (
        container.pid(),
        container.cgroup().to_owned(),
        container.rootfs(),
    );
    // As if this process had been killed here.
    std::mem::forget(container);
    support::container::sweep(&host);
    assert!(!is_running(pid));
    assert_eq!(
        cgroups::directories(&path),
        Vec::<std::path::PathBuf>::new()
    );
    assert!(!rootfs.exists());
}

#[test]
fn a_program_moved_to_a_tmpfs_runs_from_there_and_is_gone_with_the_container() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/short", "1"])
        .file("/app/short", Workload::Short.build())
        .on_tmpfs("/own")
        .start();
    container.wait_for_program("/own/short");
    let exe = format!("/proc/{}/exe", container.pid());
    let on_tmpfs = fs::metadata(exe).expect("alive for a second").dev();
    let on_rootfs = fs::metadata(container.rootfs().join("app/short"))
        .expect("ours")
        .dev();
    assert_ne!(on_tmpfs, on_rootfs);
    let cpu_seconds: f64 = container
        .wait_for_line("cpu_seconds", SOON)
        .parse()
        .expect("a number");
    assert!(cpu_seconds > 0.0 && cpu_seconds < 1.5, "{cpu_seconds}");
    container.wait_for_exit(SOON);
    assert!(!container.rootfs().join("own/short").exists());
}

#[test]
fn jitlike_writes_its_map_into_its_own_tmp_under_its_own_pid() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/jitlike", "30"])
        .file("/app/jitlike", Workload::JitLike.build())
        .start();
    let inside = format!("/proc/{}/root/tmp/perf-1.map", container.pid());
    let map = support::wait_until("the map", SOON, || {
        let map = fs::read_to_string(&inside).ok()?;
        map.ends_with("jit_inner\n").then_some(map)
    });
    let lines: Vec<&str> = map.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].starts_with("200000000000 ") && lines[0].ends_with(" jit_outer"),
        "{map}"
    );
    assert!(
        lines[1].starts_with("200000000100 ") && lines[1].ends_with(" jit_inner"),
        "{map}"
    );
    assert!(
        !container.rootfs().join("tmp/perf-1.map").exists(),
        "/tmp is a tmpfs"
    );
    assert!(!Path::new(&format!("/tmp/perf-{}.map", container.pid())).exists());
}

#[test]
fn the_two_programs_for_one_path_differ_in_names_and_overlap_in_addresses() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let holds = |program: &Path, name: &[u8]| {
        let bytes = fs::read(program).expect("just built");
        bytes.windows(name.len()).any(|window| window == name)
    };
    let (a, b) = (Workload::HotA.build(), Workload::HotB.build());
    assert!(holds(&a, b"\0alpha_inner\0") && !holds(&a, b"\0beta_inner\0"));
    assert!(holds(&b, b"\0beta_inner\0") && !holds(&b, b"\0alpha_inner\0"));
    let size = |program: &Path| fs::metadata(program).expect("just built").len();
    assert!(size(&a).abs_diff(size(&b)) < 4096);
    assert!(holds(
        &Workload::HugeSymbol.build(),
        &[b'h'; HUGE_SYMBOL_BYTES]
    ));
}

#[test]
fn a_symbol_gets_any_name_that_fits_its_slot() {
    let mut table = *b"\0first\0slot____\0last\0";
    patch_symbol(&mut table, b"slot____", b"a;\n\xff");
    assert_eq!(&table, b"\0first\0a;\n\xff\0\0\0\0\0last\0");
}

#[test]
fn a_sysctl_is_put_back() {
    let Some(host) = needs(Need::Root) else {
        return;
    };
    let read = || fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").expect("readable");
    let before = read();
    let guard = Paranoid::set(&host, 3);
    assert_eq!(read(), "3\n");
    drop(guard);
    assert_eq!(read(), before);
}

#[test]
fn a_gate_is_closed_for_the_child_and_for_nobody_else() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let status_behind = |gate| {
        let mut command = Command::new("/bin/cat");
        command.arg("/proc/self/status");
        gates::close(gate, &mut command);
        let done = command.output().expect("cat runs");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).expect("text")
    };
    let own = fs::read_to_string("/proc/self/status").expect("readable");

    let nobody = status_behind(Gate::Nobody);
    assert!(
        nobody.contains("Uid:\t65534\t65534\t65534\t65534\n"),
        "{nobody}"
    );
    assert!(nobody.contains("Groups:\t \n"), "{nobody}");
    assert_eq!(effective_capabilities(&nobody), 0);

    let capabilities = effective_capabilities(&own);
    let both = (1 << CAP_PERFMON) | (1 << CAP_SYS_ADMIN);
    assert_eq!(capabilities & both, both);
    let reduced = status_behind(Gate::WithoutCapabilities(&[CAP_PERFMON, CAP_SYS_ADMIN]));
    assert_eq!(effective_capabilities(&reduced), capabilities & !both);

    assert!(status_behind(Gate::Seccomp).contains("Seccomp:\t2\n"));
    let after = fs::read_to_string("/proc/self/status").expect("readable");
    assert_eq!(effective_capabilities(&after), capabilities);
}

#[test]
fn a_docker_daemon_of_our_own_runs_a_container_and_leaves_nothing() {
    let Some(host) = needs(Need::Docker) else {
        return;
    };
    let docker = Docker::start(&host);
    docker.import("hot:1", &Workload::HotA.build(), "/app/hot");
    let id = docker.run("web1", "hot:1", &["/app/hot", "30"]);
    let pid = docker.pid_of("web1");
    assert_eq!(id.len(), 64);
    assert_eq!(cgroups::perf_path_of(pid), Some(format!("/docker/{id}")));
    drop(docker);
    assert!(!is_running(pid));
    assert_eq!(
        cgroups::directories(&format!("/docker/{id}")),
        Vec::<std::path::PathBuf>::new()
    );
    let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
    assert!(!mounts.contains("ctrflame-docker-"), "{mounts}");
}

#[test]
fn folded_text_is_read_strictly() {
    let text = "docker:web (0123456789ab);my app;main;a b;irq_[k] 3\nhost;sh;main 1\n";
    let folded = Folded::parse(text);
    assert_eq!(folded.to_string(), text);
    assert_eq!(folded.total(), 4);
    let web = folded.container("docker:web (0123456789ab)");
    assert_eq!(web.total(), 3);
    assert_eq!(web.stacks[0].comm, "my app");
    assert_eq!(web.stacks[0].user_leaf(), Some("a b"));
    assert!(
        web.stacks[0].has_chain(&["main", "a b"]) && !web.stacks[0].has_chain(&["a b", "main"])
    );
    assert_eq!(folded.share(|stack| stack.comm == "sh"), 0.25);
    for bad in [
        "host;sh;main",
        "host 1",
        "host;sh;main 0",
        "host;sh;main x",
        "\n",
    ] {
        assert!(
            std::panic::catch_unwind(|| Folded::parse(bad)).is_err(),
            "read {bad:?}"
        );
    }
}

#[test]
fn a_picture_that_no_browser_would_take_is_refused() {
    let good =
        "<svg xmlns=\"http://www.w3.org/2000/svg\"><title>a&lt;b</title><script>1</script></svg>";
    let svg = Svg::parse(good.to_owned());
    assert_eq!(svg.titles, ["a<b"]);
    assert_eq!(svg.scripts, ["1"]);
    for bad in [
        "<svg><title></svg>",
        "<svg><title>a</title>",
        "<svg>\u{1}</svg>",
        "<svg>&#1;</svg>",
        "<svg>\u{fffe}</svg>",
        "<svg>&nbsp;</svg>",
        "<svg a=\"1\" a=\"2\"/>",
        "<svg><image href=\"http://x/\"/></svg>",
        "<html></html>",
    ] {
        let bad = bad.to_owned();
        assert!(
            std::panic::catch_unwind(|| Svg::parse(bad.clone())).is_err(),
            "accepted {bad:?}"
        );
    }
}
