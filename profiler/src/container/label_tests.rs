//! Labels of containers of every runtime, and their being different.

use super::*;
use crate::container::test_tree::{DEFAULT_PLACES, host};
use std::path::Path;

const ID: &str = "3f2a1234567890abcdef3f2a1234567890abcdef3f2a1234567890abcdef3f2a";

fn nameless() -> Names {
    Names::load(Path::new("/nonexistent"))
}

fn at(path: &str) -> Container {
    Container::identify(path, &nameless()).expect("a container's path")
}

#[test]
fn a_tag_says_runtime_name_and_short_id() {
    let mut container = at(&format!("/docker/{ID}"));
    assert_eq!(container.tag(), "docker:3f2a12345678");
    container.hostname = Some("3f2a12345678".into());
    assert_eq!(container.tag(), "docker:3f2a12345678", "that is no name");
    container.hostname = Some("billing".into());
    assert_eq!(container.tag(), "docker:billing (3f2a12345678)");
    container.name.name = Some("web".into());
    assert_eq!(container.tag(), "docker:web (3f2a12345678)");
    container.name.pod = Some("pod".into());
    assert_eq!(container.tag(), "k8s:pod (3f2a12345678)");
    container.name.namespace = Some("shop".into());
    container.name.container = Some("app".into());
    assert_eq!(container.tag(), "k8s:shop/pod/app (3f2a12345678)");
}

#[test]
fn a_tag_without_any_name_tells_what_the_path_tells() {
    for (path, tag) in [
        (format!("/kubepods/burstable/podx/{ID}"), "k8s:3f2a12345678"),
        (
            format!("/x/cri-containerd-{ID}.scope"),
            "containerd:3f2a12345678",
        ),
        (format!("/x/{ID}"), "container:3f2a12345678"),
        ("/lxc/web".into(), "lxc:web"),
        ("/lxc.payload.web/init.scope".into(), "lxc:web"),
        ("/lxc/a/lxc/web".into(), "lxc:a/web"),
        (
            r"/machine.slice/machine-deb\x2d1.scope".into(),
            "nspawn:deb-1",
        ),
        (
            "/user.slice/user-1000.slice/lxc.payload.web".into(),
            "lxc:web (/user.slice/user-1000.slice/lxc.payload.web)",
        ),
        (
            "/docker/buildkit/k3v9xq2m5w8r1t4y7u0i6o9pa".into(),
            "buildkit:k3v9xq2m5w8r1t4y7u0i6o9pa",
        ),
    ] {
        assert_eq!(at(&path).tag(), tag, "{path}");
    }
}

#[test]
fn containers_of_a_frozen_host_are_tagged_with_what_its_engines_wrote() {
    let names = Names::load(&host(DEFAULT_PLACES));
    let tag = |path: &str| Container::identify(path, &names).map(|one| one.tag());
    let d1 = "b35cf78f7bc37de0b37a70faf38820d6cff850b6e28dc874736e6de12d8e2944";
    assert_eq!(
        tag(&format!("/system.slice/docker-{d1}.scope/init")).as_deref(),
        Some("docker:d1 (b35cf78f7bc3)")
    );
    assert_eq!(
        tag("/plain-runc/x").as_deref(),
        Some("runc:plain-runc (/plain-runc)")
    );
    let inner = format!("/system.slice/docker-{d1}.scope/kubelet/kubepods/podx/{ID}");
    assert_eq!(tag(&inner).as_deref(), Some("k8s:3f2a12345678"));
    assert_eq!(tag("/system.slice/nginx.service"), None);
}

#[test]
fn the_host_is_host_with_its_unit() {
    assert_eq!(host_tag("/"), "host");
    assert_eq!(
        host_tag("/system.slice/nginx.service"),
        "host:nginx.service"
    );
}

#[test]
fn two_containers_never_share_a_tag_and_one_keeps_its_own() {
    let mut tags = Tags::default();
    let twin = format!("{}{}", &ID[..12], "0".repeat(52));
    let outer = "b".repeat(64);
    let mut seen = std::collections::BTreeSet::new();
    let paths = [
        format!("/docker/{ID}"),
        format!("/docker/{twin}"),
        format!("/docker/{outer}/docker/{ID}"),
        "/lxc/web".into(),
        "/lxc.payload.web".into(),
        "/lxc.payload/web".into(),
        "/lxc/a/lxc/web".into(),
        "/lxc/a/lxc/b/lxc/web".into(),
        "/user.slice/lxc.payload.web".into(),
    ];
    for path in &paths {
        let mut container = at(path);
        container.name.name = Some("web".into());
        let tag = tags.tag(&container);
        assert!(seen.insert(tag.clone()), "{tag} twice");
        container.name.name = Some("renamed".into());
        assert_eq!(tags.tag(&container), tag);
    }
    assert_eq!(
        tags.tag(&at(&paths[0])).as_ref(),
        "docker:web (3f2a12345678)"
    );
    assert_eq!(
        tags.tag(&at(&paths[1])).as_ref(),
        format!("docker:web (3f2a12345678) [{twin}]")
    );
}

#[test]
fn a_containers_cgroup_is_its_own_directory_and_the_chain_is_kept() {
    let container = at(&format!("/lxc/a/docker/{ID}/init"));
    assert_eq!(container.cgroup_path, format!("/lxc/a/docker/{ID}"));
    assert_eq!(container.outer.len(), 1);
    assert_eq!(container.outer[0].runtime, Runtime::Lxc);
    assert_eq!(Container::identify("/init.scope", &nameless()), None);
}
