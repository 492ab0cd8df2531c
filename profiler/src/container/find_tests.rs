//! What users write, on frozen hosts and on ones made to be awkward.

use super::*;
use crate::HostPid;
use crate::container::test_tree::{DEFAULT_PLACES, FOUR_ENGINES, TempTree, host};
use std::path::Path;

const D1: &str = "b35cf78f7bc37de0b37a70faf38820d6cff850b6e28dc874736e6de12d8e2944";
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const AB: &str = "aaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn frozen(name: &str) -> (Hierarchy, Names) {
    load(&host(name))
}

fn load(root: &Path) -> (Hierarchy, Names) {
    let hierarchy = Hierarchy::discover_with_root(root).expect("a hierarchy");
    (hierarchy, Names::load(root))
}

fn paths(what: &str, (hierarchy, names): &(Hierarchy, Names)) -> Vec<String> {
    match find(what, hierarchy, names) {
        Ok(target) => target.cgroup_paths,
        Err(error) => panic!("{what}: {error}\n{}", error.hint()),
    }
}

fn tags(containers: &[Container]) -> Vec<String> {
    containers.iter().map(Container::tag).collect()
}

#[test]
fn every_running_container_of_a_v2_host_is_listed_once() {
    let (hierarchy, names) = frozen(DEFAULT_PLACES);
    let found = list(&hierarchy, &names);
    let own: Vec<(&str, String)> = found
        .iter()
        .map(|one| (one.cgroup_path.rsplit('/').next().unwrap_or(""), one.tag()))
        .collect();
    let row = |dir: &'static str, tag: &str| (dir, tag.to_owned());
    assert_eq!(
        own,
        [
            row(
                "crio-ed4e6417a92a59f144547d5c4d13bf7f4fd07a670f7cf4d64660e7cebac0aad1.scope",
                "k8s:shop/db-0/db (ed4e6417a92a)"
            ),
            row(
                "cri-containerd-076e3294f12a0f431d84f5e942546de6b2070d4d6b84744e7920f14dd2dcc5ac.scope",
                "k8s:shop/api-0/api (076e3294f12a)"
            ),
            row(
                "cri-containerd-a363a91cd5d9ba63a1b22480a71eeca8df2aa40de0952f2b315d36074da5068f.scope",
                "k8s:shop/api-0/pause (a363a91cd5d9)"
            ),
            row("lxc.payload.web", "lxc:web"),
            row(
                "libpod-ddc840c5c7bb08784be076c1b849e345e2dc80b57c62cd6e3b0660090f003d13.scope",
                "podman:p1 (ddc840c5c7bb)"
            ),
            row("plain-runc", "runc:plain-runc (/plain-runc)"),
            row(
                "docker-b35cf78f7bc37de0b37a70faf38820d6cff850b6e28dc874736e6de12d8e2944.scope",
                "docker:d1 (b35cf78f7bc3)"
            ),
            row(
                "cri-containerd-c0ffee0123456789abcdef0123456789abcdef0123456789abcdef0123456789.scope",
                "containerd:c0ffee012345"
            ),
        ]
    );
    let lxc = found
        .iter()
        .find(|one| one.tag() == "lxc:web")
        .expect("listed");
    assert_eq!(lxc.processes, [HostPid(601), HostPid(602)]);
    let docker = found
        .iter()
        .find(|one| one.tag().starts_with("docker"))
        .expect("listed");
    assert_eq!(
        docker.processes,
        [HostPid(101), HostPid(102)],
        "not the nested one's"
    );
}

#[test]
fn real_engines_containers_are_listed_with_their_names() {
    let (hierarchy, mut names) = frozen(FOUR_ENGINES);
    names.add_runc_root(Path::new("/srv/lab/runc/state"));
    let found = list(&hierarchy, &names);
    let mut tags = tags(&found);
    tags.sort();
    assert_eq!(
        tags,
        [
            "containerd:c1 (19930f590a6f)",
            "containerd:k8s2 (39cd5b3bf8dd)",
            "containerd:plain (/default/plain)",
            "docker:d1 (b35cf78f7bc3)",
            "docker:docker1 (b1199d7ff420)",
            "docker:k1 (ca8fc41529a4)",
            "docker:named (c95ac6c5b436)",
            "k8s:shop/api-0/api (076e3294f12a)",
            "k8s:shop/api-0/pause (a363a91cd5d9)",
            "k8s:shop/db-0/db (ed4e6417a92a)",
            "k8s:shop/web-7d4b9/app (e4c058ed86a3)",
            "k8s:shop/web-7d4b9/pause (0122210429f1)",
            "podman:inpod (adac4889182f)",
            "podman:p1 (ddc840c5c7bb)",
            "podman:p2 (ccde243433db)",
            "podman:podman1 (f09c4bdc99bc)",
            "runc:k8s1 (931decd3be84)",
        ]
    );
    assert!(found.iter().all(|one| one.reach == Reach::Cgroup));
}

#[test]
fn ids_names_pods_hostnames_and_cgroups_find_their_container() {
    let host = frozen(DEFAULT_PLACES);
    let docker = format!("/system.slice/docker-{D1}.scope");
    let directory = format!("/sys/fs/cgroup{docker}/");
    let pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8d2c3f4e_0b1a_4c6d_9e7f_112233445566.slice";
    let api = format!(
        "{pod}/cri-containerd-076e3294f12a0f431d84f5e942546de6b2070d4d6b84744e7920f14dd2dcc5ac.scope"
    );
    let pause = format!(
        "{pod}/cri-containerd-a363a91cd5d9ba63a1b22480a71eeca8df2aa40de0952f2b315d36074da5068f.scope"
    );
    for what in [
        D1,
        "b35",
        " b35cf78f7bc3 ",
        "d1",
        &docker,
        &docker[1..],
        &directory,
    ] {
        assert_eq!(paths(what, &host), [docker.as_str()], "{what}");
    }
    for what in ["shop/api-0/api", "api", "076e3"] {
        assert_eq!(paths(what, &host), [api.as_str()], "{what}");
    }
    for what in ["shop/api-0", "api-0"] {
        assert_eq!(paths(what, &host), [api.as_str(), pause.as_str()], "{what}");
    }
    assert_eq!(paths("web", &host), ["/lxc.payload.web"]);
    assert_eq!(paths("plain-runc", &host), ["/plain-runc"]);
    for host_cgroup in ["system.slice/nginx.service", "/system.slice", "/"] {
        let expected = format!("/{}", host_cgroup.trim_start_matches('/'));
        assert_eq!(paths(host_cgroup, &host), [expected], "{host_cgroup}");
    }
    let (hierarchy, names) = &host;
    let nginx = find("system.slice/nginx.service", hierarchy, names).expect("it exists");
    assert_eq!(nginx.containers, []);
    let part = find(&format!("{docker}/init"), hierarchy, names).expect("it exists");
    assert_eq!(tags(&part.containers), ["docker:d1 (b35cf78f7bc3)"]);
    let slice = find(pod, hierarchy, names).expect("it exists");
    assert_eq!(slice.cgroup_paths, [pod]);
    assert_eq!(slice.containers.len(), 2);
    assert_eq!(
        paths("billing", &frozen(FOUR_ENGINES)),
        ["/docker/c95ac6c5b436e8a6956a8f27e0e28c82019f437e4a21d67bfc28fea8788879f8"]
    );
}

#[test]
fn a_tag_copied_from_a_picture_or_from_the_candidates_finds_its_container() {
    let host = frozen(DEFAULT_PLACES);
    for shown in list(&host.0, &host.1).iter().map(Container::tag) {
        let found = find(&shown, &host.0, &host.1).expect("what is shown can be asked for");
        assert_eq!(tags(&found.containers), [shown.as_str()]);
        let without_id = shown.split(" (").next().unwrap_or(&shown);
        let found = find(without_id, &host.0, &host.1).expect("also without the id");
        assert_eq!(tags(&found.containers), [shown.as_str()]);
    }
}

#[test]
fn what_does_not_run_or_does_not_exist_is_not_found_and_the_candidates_are_named() {
    let (hierarchy, names) = frozen(DEFAULT_PLACES);
    let stopped = "c95ac6c5b436e8a6956a8f27e0e28c82019f437e4a21d67bfc28fea8788879f8";
    for what in [
        stopped,
        "named",
        "nosuch",
        "b3",
        "",
        "shop/api-0/nosuch",
        "shop/",
        "/../etc",
        "..",
        "D1",
    ] {
        match find(what, &hierarchy, &names) {
            Err(ContainerError::NotFound {
                candidates,
                searched,
                ..
            }) => {
                assert_eq!(candidates.len(), 8, "{what}");
                assert_eq!(searched, Path::new("/sys/fs/cgroup"));
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

fn two_ids() -> TempTree {
    let tree = TempTree::new(&format!("two-ids-{:?}", std::thread::current().id()));
    tree.write(
        "proc/self/mountinfo",
        "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 c rw\n",
    );
    for id in [A, AB] {
        tree.write(&format!("sys/fs/cgroup/docker/{id}/cgroup.procs"), "7\n");
    }
    tree
}

#[test]
fn several_equal_matches_are_ambiguous_and_a_whole_one_beats_a_prefix() {
    let tree = two_ids();
    let (hierarchy, names) = load(tree.root());
    let config = |id: &str, name: &str| {
        let path = format!("var/lib/docker/containers/{id}/config.v2.json");
        tree.write(&path, &format!(r#"{{"Name":"/{name}"}}"#));
    };
    match find("aaaa", &hierarchy, &names) {
        Err(ContainerError::Ambiguous { candidates, .. }) => assert_eq!(candidates.len(), 2),
        other => panic!("{other:?}"),
    }
    let host = (hierarchy, names);
    assert_eq!(paths("aaaab", &host), [format!("/docker/{AB}")]);
    config(AB, "aaaa");
    assert_eq!(paths("aaaa", &host), [format!("/docker/{AB}")]);
    config(A, "aaaa");
    assert!(find("aaaa", &host.0, &host.1).is_err());
    assert_eq!(paths(A, &host), [format!("/docker/{A}")]);
}

#[test]
fn a_pod_in_two_namespaces_is_ambiguous_and_a_container_named_as_its_pod_is_not() {
    let tree = two_ids();
    let (hierarchy, names) = load(tree.root());
    let label = |id: &str, namespace: &str| {
        let path = format!("var/lib/docker/containers/{id}/config.v2.json");
        let labels = format!(
            r#""io.kubernetes.pod.name":"web","io.kubernetes.pod.namespace":"{namespace}","io.kubernetes.container.name":"web""#
        );
        tree.write(
            &path,
            &format!(r#"{{"Name":"/x{id}","Config":{{"Labels":{{{labels}}}}}}}"#),
        );
    };
    label(A, "one");
    label(AB, "two");
    assert!(matches!(
        find("web", &hierarchy, &names),
        Err(ContainerError::Ambiguous { .. })
    ));
    let host = (hierarchy, names);
    assert_eq!(paths("one/web", &host), [format!("/docker/{A}")]);
    assert_eq!(paths("two/web/web", &host), [format!("/docker/{AB}")]);
    assert!(find("one/webb", &host.0, &host.1).is_err());
    label(AB, "one");
    assert_eq!(paths("web", &host).len(), 2, "one pod of two containers");
}

#[test]
fn a_container_that_only_v1_knows_is_a_candidate_to_be_told_by_process() {
    let tree = TempTree::new("v1-only");
    tree.write(
        "proc/self/mountinfo",
        "1 0 0:1 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n2 0 0:2 / /sys/fs/cgroup/cpu rw - cgroup c rw,cpu\n",
    );
    tree.write("sys/fs/cgroup/unified/cgroup.procs", "70\n71\n72\n");
    tree.write(
        &format!("sys/fs/cgroup/unified/docker/{AB}/cgroup.procs"),
        "73\n",
    );
    for pid in [71, 70] {
        tree.write(
            &format!("proc/{pid}/cgroup"),
            &format!("2:cpu:/docker/{A}\n0::/\n"),
        );
    }
    tree.write("proc/72/cgroup", "2:cpu:/\n0::/\n");
    tree.write(
        "proc/73/cgroup",
        &format!("2:cpu:/docker/{A}/x\n0::/docker/{AB}\n"),
    );
    let (hierarchy, names) = load(tree.root());
    let found = list(&hierarchy, &names);
    assert_eq!(tags(&found), ["docker:aaaabbbbbbbb", "docker:aaaaaaaaaaaa"]);
    for what in [
        A,
        &format!("/sys/fs/cgroup/cpu/docker/{A}"),
        &format!("/docker/{A}"),
    ] {
        let target = find(what, &hierarchy, &names).expect("a candidate");
        assert_eq!(target.cgroup_paths, Vec::<String>::new());
        assert_eq!(target.containers[0].reach, Reach::Processes);
        assert_eq!(target.containers[0].processes, [HostPid(70), HostPid(71)]);
    }
}

#[test]
fn targets_below_one_another_are_counted_once() {
    let cgroups = ["/a/b", "/a", "/ab", "/a"].map(str::to_owned);
    assert_eq!(topmost(cgroups.to_vec()), ["/a", "/ab"]);
    assert_eq!(topmost(vec!["/".into(), "/a".into()]), ["/"]);
}
