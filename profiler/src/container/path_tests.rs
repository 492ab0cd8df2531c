//! Every cgroup path shape that runtimes are known to make, and those that are no container.

use super::*;
use std::time::{Duration, Instant};

const VECTORS: &str = include_str!("../../../samples/cgroup-vectors.tsv");
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn chain(path: &str) -> Vec<(Runtime, String)> {
    containers_in(path)
        .into_iter()
        .map(|container| (container.runtime, container.id.to_string()))
        .collect()
}

fn only(path: &str) -> (Runtime, String) {
    let mut chain = chain(path);
    assert_eq!(chain.len(), 1, "{path} is in {chain:?}");
    chain.remove(0)
}

#[test]
fn every_vector_names_its_container_with_and_without_the_line_prefix() {
    let mut rows = 0;
    for row in VECTORS.lines().skip(1) {
        let fields: Vec<&str> = row.split('\t').collect();
        let (line, expected) = (fields[1], fields.get(2).copied().unwrap_or(""));
        let path = match line.splitn(3, ':').collect::<Vec<_>>()[..] {
            [number, _, path] if number.parse::<u32>().is_ok() => path,
            _ => line,
        };
        let expected = (!expected.is_empty()).then(|| expected.to_owned());
        let innermost = containers_in(path).pop().map(|c| c.id.to_string());
        assert_eq!(innermost, expected, "{row}");
        for prefixed in [format!("0::{path}"), format!("7:cpu,cpuacct:{path}")] {
            let parsed = crate::container::ProcCgroups::parse(&prefixed);
            let innermost = parsed.innermost_container().map(|c| c.id.to_string());
            assert_eq!(innermost, expected, "{prefixed}");
        }
        rows += 1;
    }
    assert_eq!(rows, 23);
}

#[test]
fn every_shape_of_every_runtime_is_its_own() {
    use Runtime::*;
    let task = "0123456789abcdef0123456789abcdef";
    let uuid = "0f1d4e21-6e7a-4b55-5a2a-0c64d1f2a3b4";
    let pod = "kubepods-besteffort-podaa_bb.slice";
    let build = "k3v9xq2m5w8r1t4y7u0i6o9pa";
    for (path, runtime, id) in [
        (format!("/docker/{A}"), Docker, A),
        (format!("/docker/{A}/system.slice/nginx.service"), Docker, A),
        (format!("/system.slice/docker-{A}.scope"), Docker, A),
        (format!("/system.slice/docker-{A}.scope/init"), Docker, A),
        (
            format!("/ecstasks.slice/ecstasks-{task}.slice/docker-{A}.scope"),
            Docker,
            A,
        ),
        (format!("/my-parent/{A}"), Unknown, A),
        (format!("/system.slice/balena-{A}.scope"), Unknown, A),
        (format!("/kubepods/burstable/podx/{A}"), Kubernetes, A),
        (format!("/kubepods.slice/{pod}/docker-{A}.scope"), Docker, A),
        (
            format!("/kubepods.slice/{pod}/cri-containerd-{A}.scope"),
            Containerd,
            A,
        ),
        (
            format!("/kubepods.slice/{pod}/crio-{A}.scope/container"),
            CriO,
            A,
        ),
        (
            format!("/kubepods.slice/{pod}/other-{A}.scope"),
            Kubernetes,
            A,
        ),
        (format!("/kubepods/besteffort/podx/crio-{A}"), CriO, A),
        (
            format!("/system.slice/containerd.service/{pod}:cri-containerd:{A}"),
            Containerd,
            A,
        ),
        (format!("/{pod}:frob:{A}"), Kubernetes, A),
        (format!("/system.slice:docker:{A}"), Docker, A),
        (format!("/system.slice/nerdctl-{A}.scope"), Containerd, A),
        (format!("/machine.slice/libpod-{A}.scope"), Podman, A),
        (
            format!("/machine.slice/libpod-{A}.scope/container"),
            Podman,
            A,
        ),
        (
            format!(
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container"
            ),
            Podman,
            A,
        ),
        (
            format!("/system.slice/web.service/libpod-payload-{A}"),
            Podman,
            A,
        ),
        (format!("/libpod_parent/libpod-{A}"), Podman, A),
        (format!("/libpod_parent/{B}/libpod-{A}"), Podman, A),
        (format!("/mine/{B}/libpod-{A}"), Podman, A),
        (
            format!("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope"),
            Podman,
            A,
        ),
        (format!("/ecs/{task}/{A}"), Ecs, A),
        (
            format!("/ecs/{task}/{task}-2531612879"),
            Ecs,
            "0123456789abcdef0123456789abcdef-2531612879",
        ),
        ("/lxc/mysql-primary-db".into(), Lxc, "mysql-primary-db"),
        ("/lxc/101/ns/init.scope".into(), Lxc, "101"),
        ("/lxc.payload/web".into(), Lxc, "web"),
        (
            "/lxc.payload.web-1/system.slice/ssh.service".into(),
            Lxc,
            "web-1",
        ),
        (
            r"/machine.slice/machine-lxc\x2d4711\x2dweb.scope".into(),
            Lxc,
            "lxc-4711-web",
        ),
        (
            r"/machine.slice/machine-debian\x2dtree.scope/payload".into(),
            Nspawn,
            "debian-tree",
        ),
        (
            r"/machine.slice/systemd-nspawn@web\x2d1.service/payload/init.scope".into(),
            Nspawn,
            "web-1",
        ),
        (format!("/garden/{uuid}"), Garden, uuid),
        (
            format!("/system.slice/garden.service/garden/good/{uuid}"),
            Garden,
            uuid,
        ),
        (format!("/docker/buildkit/{build}"), Buildkit, build),
        (
            format!("/system.slice/docker-{build}.scope"),
            Buildkit,
            build,
        ),
    ] {
        assert_eq!(only(&path), (runtime, id.to_owned()), "{path}");
    }
}

#[test]
fn what_is_not_a_container_has_no_id() {
    for path in [
        String::new(),
        "/".into(),
        "/..".into(),
        "/../../lxc/..".into(),
        "/lxc".into(),
        "/lxc/".into(),
        "/lxc.payload.".into(),
        "/lxc.monitor/web".into(),
        "/lxc.monitor.web".into(),
        "/lxc/lxc.pivot".into(),
        "/docker".into(),
        "/docker/buildkit".into(),
        "/garden/good".into(),
        "/system.slice/docker.service".into(),
        "/system.slice/containerd.service".into(),
        "/init.scope".into(),
        "/user.slice/user-1000.slice/session-3.scope".into(),
        "/user.slice/user@1000.service/app.slice/vte-spawn-868f9513-eee8-457d-8e36-1b37ae8ae622.scope".into(),
        format!("/machine.slice/libpod-conmon-{A}.scope"),
        format!("/kubepods.slice/kubepods-podx.slice/crio-conmon-{A}.scope"),
        format!("/libpod_parent/conmon/{}", "x"),
        format!("/libpod_parent/{A}"),
        format!("/machine.slice/machine-libpod_pod_{A}.slice"),
        format!("/system.slice/{A}.service"),
        format!("/system.slice/{A}-36a1b2c3d4e5f607.service"),
        format!("/system.slice/var-lib-docker-containers-{A}-mounts-shm.mount"),
        format!("/docker/{}", A.to_uppercase()),
        format!("/docker/{}", &A[1..]),
        format!("/docker/{A}a"),
        format!("/system.slice/docker-{}.scope", "z".repeat(64)),
        "/ecs/0123456789abcdef0123456789abcdef".into(),
        "/kubepods/burstable/pod9729a196c4723b60ab401eaff722982d".into(),
        r"/machine.slice/machine-qemu\x2d1\x2dubuntu.scope".into(),
        "/machine.slice/machine-.scope".into(),
    ] {
        assert_eq!(chain(&path), [], "{path}");
    }
}

#[test]
fn nested_containers_keep_their_chain_outermost_first() {
    use Runtime::*;
    for (path, inner) in [
        (format!("/docker/{A}/docker/{B}"), Docker),
        (
            format!("/docker/{A}/kubelet/kubepods/burstable/podx/{B}"),
            Kubernetes,
        ),
        (
            format!(
                "/docker/{A}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podx.slice/cri-containerd-{B}.scope"
            ),
            Containerd,
        ),
        (format!("/docker/{A}/libpod_parent/libpod-{B}"), Podman),
    ] {
        assert_eq!(
            chain(&path),
            [(Docker, A.to_owned()), (inner, B.to_owned())],
            "{path}"
        );
    }
    assert_eq!(
        chain("/lxc/outer/lxc/inner/init.scope"),
        [(Lxc, "outer".to_owned()), (Lxc, "inner".to_owned())]
    );
}

#[test]
fn a_containers_own_directory_ends_where_its_payload_begins() {
    let path = format!("/kubepods.slice/crio-{A}.scope/container/x");
    let located = located_in(&path);
    assert_eq!(located.len(), 1);
    assert_eq!(
        &path[..located[0].end],
        format!("/kubepods.slice/crio-{A}.scope")
    );
    let repeated = format!("/docker/{A}/{A}");
    assert_eq!(located_in(&repeated).len(), 1);
    assert_eq!(located_in(&repeated)[0].end, "/docker/".len() + 64);
}

#[test]
fn a_unit_is_the_innermost_one_that_is_no_container() {
    let conmon = format!("crio-conmon-{A}.scope");
    for (path, unit) in [
        (
            "/system.slice/nginx.service".to_owned(),
            Some("nginx.service"),
        ),
        (
            "/system.slice/system-postgresql.slice/postgresql@9.4-main.service".into(),
            Some("postgresql@9.4-main.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope".into(),
            Some("app-x.scope"),
        ),
        (
            "/user.slice/user-0.slice/session-3.scope".into(),
            Some("session-3.scope"),
        ),
        (
            "/system.slice/docker.service/sub/group".into(),
            Some("docker.service"),
        ),
        (format!("/kubepods.slice/{conmon}"), Some(conmon.as_str())),
        (format!("/system.slice/docker-{A}.scope"), None),
        ("/machine.slice/systemd-nspawn@web.service".into(), None),
        (format!("/docker/{A}"), None),
        ("/".into(), None),
        ("/system.slice/.service".into(), None),
    ] {
        assert_eq!(systemd_unit(&path), unit, "{path}");
    }
}

#[test]
fn broken_escapes_and_foreign_letters_stay_as_they_are() {
    assert_eq!(systemd_unescaped(r"a\x2db"), "a-b");
    assert_eq!(systemd_unescaped(r"a\x2"), r"a\x2");
    assert_eq!(systemd_unescaped(r"a\xzz\"), r"a\xzz\");
    assert_eq!(systemd_unescaped(r"\xff"), r"\xff");
    assert_eq!(systemd_unescaped(r"\xc3\xa4ö"), "äö");
    assert_eq!(only("/lxc/grüße").1, "grüße");
    assert_eq!(chain("/docker/ä-ö:ü:ß-.scope//…/:/-/::"), []);
}

#[test]
fn pathological_paths_take_linear_time() {
    // 4 MB each: anything quadratic takes minutes.
    let started = Instant::now();
    for unit in [
        "/",
        "-",
        ":",
        "//lxc",
        "/lxc/a",
        r"\x2d",
        "docker-",
        "/kubepods",
        "/machine-",
        "ä-",
        &format!("/docker/{A}"),
    ] {
        let path = unit.repeat(4_000_000 / unit.len());
        std::hint::black_box(located_in(&path).len());
        std::hint::black_box(systemd_unit(&path));
    }
    assert!(started.elapsed() < Duration::from_secs(60));
    let deep = "/lxc/a/lxc/b".repeat(1000);
    assert_eq!(containers_in(&deep).len(), 2000);
}
