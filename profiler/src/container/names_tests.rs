//! Names from the files that real engines wrote.

use super::*;
use crate::container::path::containers_in;
use crate::container::test_tree::{DEFAULT_PLACES, FOUR_ENGINES, TempTree, host};

fn name_of(names: &Names, path: &str) -> Option<ContainerName> {
    let container = names.located(path).pop()?.container;
    names.lookup(&container, path)
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

#[test]
fn docker_names_its_containers_and_cri_dockerd_their_pods() {
    let names = Names::load(&host(FOUR_ENGINES));
    let named = "/docker/c95ac6c5b436e8a6956a8f27e0e28c82019f437e4a21d67bfc28fea8788879f8";
    assert_eq!(
        name_of(&names, named),
        Some(ContainerName {
            name: text("named"),
            image: text("bb:1"),
            hostname: text("billing"),
            engine: Some(Runtime::Docker),
            ..ContainerName::default()
        })
    );
    let pod = "/kubepods/burstable/pod8d2c3f4e-0b1a-4c6d-9e7f-112233445566";
    let app = "e4c058ed86a3c8be44e97994d285c248dbf39228056eeebc869e1d4c682be8e2";
    assert_eq!(
        name_of(&names, &format!("{pod}/{app}")),
        Some(ContainerName {
            name: text("k8s_app_web-7d4b9_shop_8d2c3f4e-0b1a-4c6d-9e7f-112233445566_0"),
            pod: text("web-7d4b9"),
            namespace: text("shop"),
            container: text("app"),
            image: text("bb:1"),
            hostname: text("e4c058ed86a3"),
            engine: Some(Runtime::Docker),
        })
    );
    let sandbox = "0122210429f1b7750fd00ea963af4694858a2f5a5f5b8d876de492c0d3b9de54";
    let sandbox = name_of(&names, &format!("{pod}/{sandbox}")).expect("docker knows it");
    assert_eq!(sandbox.container, text("pause"));
}

#[test]
fn containerd_names_pods_by_annotation_and_ctr_containers_by_their_cgroup() {
    let names = Names::load(&host(FOUR_ENGINES));
    let pod = "/kubepods/burstable/pod8d2c3f4e-0b1a-4c6d-9e7f-112233445566";
    let api = "076e3294f12a0f431d84f5e942546de6b2070d4d6b84744e7920f14dd2dcc5ac";
    assert_eq!(
        name_of(&names, &format!("{pod}/{api}")),
        Some(ContainerName {
            pod: text("api-0"),
            namespace: text("shop"),
            container: text("api"),
            image: text("localhost/bb:1"),
            engine: Some(Runtime::Containerd),
            ..ContainerName::default()
        })
    );
    let by_cgroup = |name: &str| {
        Some(ContainerName {
            name: text(name),
            engine: Some(Runtime::Containerd),
            ..ContainerName::default()
        })
    };
    assert_eq!(name_of(&names, "/default/plain/sub"), by_cgroup("plain"));
    let c1 = "/kubepods/besteffort/pod1f5b955f-a46c-4fee-b77e-b989b3096655/19930f590a6f4fa8a516e4075852e8bf1e24e90d00df4b61983ecd5e0d725bfe";
    assert_eq!(name_of(&names, c1), by_cgroup("c1"));
    assert_eq!(names.located("/default/plainer"), []);
}

#[test]
fn storage_names_podmans_containers_and_cri_os_pods() {
    let names = Names::load(&host(FOUR_ENGINES));
    let p1 =
        "/libpod_parent/libpod-ddc840c5c7bb08784be076c1b849e345e2dc80b57c62cd6e3b0660090f003d13";
    let name = name_of(&names, p1).expect("podman knows it");
    assert_eq!(name.name, text("p1"));
    assert_eq!(name.image, text("localhost/bb:1"));
    assert_eq!(name.pod, None);
    let names = Names::load(&host(DEFAULT_PLACES));
    let db = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podaa.slice/crio-ed4e6417a92a59f144547d5c4d13bf7f4fd07a670f7cf4d64660e7cebac0aad1.scope/container";
    let name = name_of(&names, db).expect("the storage knows it");
    assert_eq!(name.name, text("k8s_db_db-0_shop"));
    assert_eq!(name.pod, text("db-0"));
    assert_eq!(name.namespace, text("shop"));
    assert_eq!(name.container, text("db"));
}

#[test]
fn plain_runc_is_named_by_its_cgroup_also_from_a_state_directory_of_its_own() {
    let names = Names::load(&host(DEFAULT_PLACES));
    let located = names.located("/plain-runc");
    assert_eq!(located.len(), 1);
    assert_eq!(located[0].container.runtime, Runtime::Runc);
    assert_eq!(located[0].container.id.as_ref(), "plain-runc");
    let docker1 = "/docker/b1199d7ff420c719774a9f8812e06e7ed5e3b5b1a0924038f1c8c5eeee5b7ee1";
    let mut names = Names::load(&host(FOUR_ENGINES));
    assert_eq!(name_of(&names, docker1), None);
    names.add_runc_root(Path::new("/srv/lab/runc/state"));
    let name = name_of(&names, docker1).expect("runc knows it");
    assert_eq!(name.name, text("docker1"));
    assert_eq!(name.engine, Some(Runtime::Runc));
}

#[test]
fn a_nested_container_with_a_neighbours_id_does_not_get_the_neighbours_name() {
    let names = Names::load(&host(DEFAULT_PLACES));
    let p1 = "ddc840c5c7bb08784be076c1b849e345e2dc80b57c62cd6e3b0660090f003d13";
    let outer = "b".repeat(64);
    let forged = format!("/docker/{outer}/libpod-{p1}");
    assert_eq!(containers_in(&forged).len(), 2);
    assert_eq!(name_of(&names, &forged), None);
    assert!(name_of(&names, &format!("/libpod_parent/libpod-{p1}")).is_some());
}

#[test]
fn the_containers_beside_us_are_ours_to_name_when_we_are_in_one_ourselves() {
    let tree = TempTree::new("inside-kind");
    let (node, inner) = ("a".repeat(64), "b".repeat(64));
    tree.write(
        "proc/self/cgroup",
        &format!("0::/docker/{node}/init.scope\n"),
    );
    tree.write(
        &format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{inner}/config.json"),
        r#"{"annotations":{"nerdctl/name":"inner"}}"#,
    );
    let names = Names::load(tree.root());
    let name = name_of(
        &names,
        &format!("/docker/{node}/kubelet/kubepods/podx/{inner}"),
    );
    assert_eq!(name.and_then(|name| name.name), text("inner"));
    let stranger = format!("/docker/{}/kubelet/kubepods/podx/{inner}", "c".repeat(64));
    assert_eq!(name_of(&names, &stranger), None);
}

#[test]
fn a_container_that_starts_after_loading_is_named_all_the_same() {
    let tree = TempTree::new("later");
    let id = "a".repeat(64);
    let names = Names::load(tree.root());
    let (docker, runc) = (format!("/docker/{id}"), "/later");
    let podman = format!("/libpod_parent/libpod-{}", "b".repeat(64));
    for path in [docker.as_str(), runc, &podman] {
        assert_eq!(name_of(&names, path), None);
    }
    tree.write(
        &format!("var/lib/docker/containers/{id}/config.v2.json"),
        r#"{"Name":"/web","Config":null}"#,
    );
    // runc makes the directory first and its state.json after.
    tree.write("run/runc/late/tmp", "");
    assert_eq!(name_of(&names, runc), None);
    tree.write(
        "run/runc/late/state.json",
        r#"{"cgroup_paths":{"":"/later"}}"#,
    );
    tree.write(
        "var/lib/containers/storage/overlay-containers/containers.json",
        &format!(r#"[{{"id":"{}","names":["pod"]}}]"#, "b".repeat(64)),
    );
    for (path, name) in [(docker.as_str(), "web"), (runc, "late"), (&podman, "pod")] {
        let found = name_of(&names, path).and_then(|found| found.name);
        assert_eq!(found, text(name), "{path}");
    }
}

#[test]
fn a_users_conmon_names_only_that_users_containers() {
    let id = "d".repeat(64);
    let mut names = Names::load(Path::new("/nonexistent"));
    names.dirs.conmons.insert(
        id.clone(),
        crate::container::engine_dirs::ConmonName {
            name: "mine".into(),
            uid: Some(1000),
        },
    );
    let path =
        format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope");
    let found = name_of(&names, &path).and_then(|found| found.name);
    assert_eq!(found, text("mine"));
    for other in [
        format!("/machine.slice/libpod-{id}.scope"),
        format!("/user.slice/user-10001.slice/libpod-{id}.scope"),
    ] {
        assert_eq!(name_of(&names, &other), None);
    }
}

#[test]
fn a_systemd_cgroups_path_is_where_systemd_puts_its_scope() {
    for (written, path) in [
        ("/a/b", "/a/b"),
        ("a/b/", "/a/b"),
        ("system.slice:runc:web", "/system.slice/runc-web.scope"),
        (
            "user-a-b.slice::x",
            "/user.slice/user-a.slice/user-a-b.slice/x.scope",
        ),
        ("-.slice:runc:x", "/runc-x.scope"),
        (":runc:x", "/runc-x.scope"),
    ] {
        assert_eq!(expanded(written), path, "{written}");
    }
}

#[test]
fn a_namespace_of_containerds_that_is_new_is_found_beside_those_that_are_known() {
    let tree = TempTree::new("namespaces");
    let tasks = "run/containerd/io.containerd.runtime.v2.task";
    let config = |namespace: &str, id: &str, name: &str| {
        tree.write(
            &format!("{tasks}/{namespace}/{id}/config.json"),
            &format!(r#"{{"annotations":{{"nerdctl/name":"{name}"}}}}"#),
        );
    };
    let (old, new) = ("a".repeat(64), "b".repeat(64));
    config("default", &old, "old");
    let dir = std::fs::File::open(tree.root().join(tasks)).expect("a directory");
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
    dir.set_modified(long_ago).expect("ours");
    let names = Names::load(tree.root());
    let name = |id: &str| {
        let path = format!("/kubepods/pod1/{id}");
        let container = crate::container::containers_in(&path)
            .pop()
            .expect("a container");
        names.lookup(&container, &path).and_then(|known| known.name)
    };
    assert_eq!((name(&old), name(&new)), (Some("old".into()), None));
    config("k8s.io", &new, "new");
    assert_eq!(
        (name(&old), name(&new)),
        (Some("old".into()), Some("new".into()))
    );
}
