//! Hierarchies of real and of made-up hosts.

use super::*;
use crate::container::test_tree::{FOUR_ENGINES, TempTree, host};

fn from(mounts: &str) -> Hierarchy {
    Hierarchy::from_mounts(mounts, Path::new("/")).expect("a hierarchy is mounted")
}

#[test]
fn a_hybrid_host_without_v1_perf_event_uses_its_unified_mount() {
    let hierarchy = Hierarchy::discover_with_root(&host(FOUR_ENGINES)).expect("a frozen host");
    assert_eq!(hierarchy.kind(), HierarchyKind::Unified);
    assert_eq!(hierarchy.mount_point(), Path::new("/sys/fs/cgroup/unified"));
    assert!(hierarchy.is_hybrid());
}

#[test]
fn v1_perf_event_wins_and_a_pure_v2_host_is_not_hybrid() {
    let v2 = "1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let hierarchy = from(v2);
    assert_eq!(hierarchy.kind(), HierarchyKind::Unified);
    assert!(!hierarchy.is_hybrid());
    let both = format!("{v2}2 0 0:2 / /sys/fs/cgroup/pe rw - cgroup cgroup rw,perf_event\n");
    let hierarchy = from(&both);
    assert_eq!(hierarchy.kind(), HierarchyKind::PerfEventV1);
    assert_eq!(hierarchy.mount_point(), Path::new("/sys/fs/cgroup/pe"));
    assert!(hierarchy.is_hybrid());
}

#[test]
fn a_host_without_a_usable_hierarchy_says_which_table_was_searched() {
    let tree = TempTree::new("no-hierarchy");
    let missing = Hierarchy::discover_with_root(tree.root()).expect_err("no mount table");
    assert!(matches!(missing, HierarchyError::MountTable { .. }));
    tree.write(
        "proc/self/mountinfo",
        "1 0 0:1 / /c rw - cgroup cgroup rw,cpu\n",
    );
    let unusable = Hierarchy::discover_with_root(tree.root()).expect_err("only cpu is mounted");
    assert_eq!(
        unusable.to_string(),
        format!(
            "no cgroup2 and no v1 perf_event mount in {}",
            tree.root().join("proc/self/mountinfo").display()
        )
    );
    assert!(unusable.hint().is_some());
}

#[test]
fn a_directory_is_below_the_mount_and_never_above_it() {
    let whole = from("1 0 0:1 / /c rw - cgroup2 c rw\n");
    assert_eq!(whole.dir_of("/"), Some("/c".into()));
    assert_eq!(whole.dir_of("/a//b/"), Some("/c/a/b".into()));
    assert_eq!(whole.dir_of("/../x"), None);
    assert_eq!(whole.dir_of("/a/../../x"), None);
    let part = from("1 0 0:1 /docker/me /c rw - cgroup2 c rw\n");
    assert_eq!(part.dir_of("/docker/me"), Some("/c".into()));
    assert_eq!(part.dir_of("/docker/me/sub"), Some("/c/sub".into()));
    assert_eq!(part.dir_of("/docker/meow"), None);
    assert_eq!(part.dir_of("/docker/other"), None);
    // Mounted by the host, read from inside a private cgroup namespace.
    let outer = from("1 0 0:1 /../.. /c rw - cgroup2 c rw\n");
    assert_eq!(outer.dir_of("/../../docker/x"), Some("/c/docker/x".into()));
    assert_eq!(outer.dir_of("/"), None);
    let two = "1 0 0:1 /docker/me /c rw - cgroup2 c rw\n2 0 0:1 / /d rw - cgroup2 c rw\n";
    assert_eq!(from(two).mount_point(), Path::new("/d"));
}

#[test]
fn a_written_path_may_name_any_cgroup_mount() {
    let hybrid = from(
        "1 0 0:1 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n\
         2 0 0:2 / /sys/fs/cgroup/cpu rw - cgroup c rw,cpu\n",
    );
    for (written, path) in [
        ("/docker/x", "/docker/x"),
        ("system.slice/nginx.service", "/system.slice/nginx.service"),
        ("/sys/fs/cgroup/unified/docker/x/", "/docker/x"),
        ("/sys/fs/cgroup/cpu/docker/x", "/docker/x"),
        ("/sys/fs/cgroup/unified", "/"),
        ("/sys/fs/cgroup/unifiedx", "/sys/fs/cgroup/unifiedx"),
        ("/", "/"),
        ("", "/"),
    ] {
        assert_eq!(hybrid.path_of(written), path, "{written}");
    }
    let part = from("1 0 0:1 /docker/me /c rw - cgroup2 c rw\n");
    assert_eq!(part.path_of("/c/sub"), "/docker/me/sub");
}

#[test]
fn walking_gives_every_cgroup_with_its_inode_parents_first() {
    let tree = TempTree::new("walk");
    tree.write("proc/self/mountinfo", "1 0 0:1 / /c rw - cgroup2 c rw\n");
    for cgroup in ["b/z", "b/a", "a"] {
        tree.write(&format!("c/{cgroup}/cgroup.procs"), "7\n0\n9\nx\n");
    }
    std::os::unix::fs::symlink("/", tree.root().join("c/link")).expect("a link");
    let hierarchy = Hierarchy::discover_with_root(tree.root()).expect("a v2 host");
    let walked: Vec<_> = hierarchy.walk().collect();
    let paths: Vec<&str> = walked.iter().map(|(_, path)| path.as_str()).collect();
    assert_eq!(paths, ["/", "/a", "/b", "/b/a", "/b/z"]);
    for (id, path) in &walked {
        assert_eq!(hierarchy.id_of(path).expect("it exists"), *id, "{path}");
    }
    assert_eq!(
        hierarchy.processes_in("/b/a"),
        [HostPid(7), HostPid(0), HostPid(9)]
    );
    assert_eq!(hierarchy.processes_in("/gone"), []);
    let gone = hierarchy.id_of("/gone").expect_err("no such cgroup");
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    assert!(hierarchy.exists("/b") && !hierarchy.exists("/gone") && !hierarchy.exists("/.."));
}

#[test]
fn cgroups_that_vanish_while_walking_are_left_out() {
    let tree = TempTree::new("vanish");
    tree.write("proc/self/mountinfo", "1 0 0:1 / /c rw - cgroup2 c rw\n");
    tree.write("c/a/x/cgroup.procs", "");
    tree.write("c/b/x/cgroup.procs", "");
    let hierarchy = Hierarchy::discover_with_root(tree.root()).expect("a v2 host");
    let mut walk = hierarchy.walk();
    assert_eq!(walk.next().map(|(_, path)| path), Some("/".into()));
    std::fs::remove_dir_all(tree.root().join("c/a")).expect("it was there");
    let rest: Vec<String> = walk.map(|(_, path)| path).collect();
    // `/a` was already listed; what was below it is gone.
    assert_eq!(rest, ["/a", "/b", "/b/x"]);
}
