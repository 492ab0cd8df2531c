use super::*;
use crate::container::test_tree::TempTree;
use crate::usage::{Detail, Reader};

const ID: &str = "3f2a000000000000000000000000000000000000000000000000000000000000";

/// One container on a host of two CPUs, in one of the three layouts; `after` grows all counters.
fn host(tree: &TempTree, layout: &str, after: u64) {
    let v1 = "1 0 0:1 / /cg/cpu,cpuacct rw - cgroup c rw,cpu,cpuacct\n\
        2 0 0:2 / /cg/cpuset rw - cgroup c rw,cpuset\n3 0 0:3 / /cg/memory rw - cgroup c rw,memory\n\
        4 0 0:4 / /cg/pids rw - cgroup c rw,pids\n";
    let v2 = "5 0 0:5 / /cg/u rw - cgroup2 c rw\n";
    let mounts = match layout {
        "v1" => v1.to_owned(),
        "v2" => v2.to_owned(),
        _ => format!("{v1}{v2}"),
    };
    tree.write("proc/self/mountinfo", &mounts);
    let ms = |base: u64, grown: u64| (base + after * grown) * 1_000_000;
    let stat = |idle: u64| {
        format!(
            "{} 0 {} {idle} 0 0 0 0 0 0",
            100 + after * 70,
            50 + after * 30
        )
    };
    let cpus = format!(
        "cpu0 {}\ncpu1 {}\nprocs_running {}\n",
        stat(7),
        stat(9 + after * 100),
        3 + after
    );
    tree.write("proc/stat", &cpus);
    tree.write("proc/loadavg", "0.50 0.40 0.30 1/2 3\n");
    for (tid, run, wait) in [(11, 10, 1), (12, 20, 2)] {
        let sched = format!("{} {} {}\n", ms(run, run), ms(wait, wait), 5 + after);
        tree.write(&format!("proc/{tid}/schedstat"), &sched);
        let status = format!(
            "Name:\tx\nCpus_allowed_list:\t0-1\nvoluntary_ctxt_switches:\t{}\nnonvoluntary_ctxt_switches:\t{}\n",
            after * 4,
            after * 6
        );
        tree.write(&format!("proc/{tid}/status"), &status);
    }
    let throttled = |unit: u64, key: &str| {
        let time = ms(0, 40) / unit;
        format!(
            "nr_periods {}\nnr_throttled {}\n{key} {time}\n",
            10 + after * 10,
            after * 8
        )
    };
    let path = format!("pod/{ID}");
    if layout != "v2" {
        let dir = format!("cg/cpu,cpuacct/{path}");
        tree.write(&format!("{dir}/cpu.stat"), &throttled(1, "throttled_time"));
        tree.write(&format!("{dir}/cpu.cfs_quota_us"), "30000\n");
        tree.write(&format!("{dir}/cpu.cfs_period_us"), "100000\n");
        tree.write(&format!("{dir}/cpu.shares"), "512\n");
        tree.write(&format!("{dir}/cpuacct.usage"), &format!("{}\n", ms(5, 30)));
        tree.write(
            &format!("{dir}/cpuacct.stat"),
            &format!("user {}\nsystem {after}\n", 1 + after * 2),
        );
        tree.write(&format!("{dir}/tasks"), "11\n12\n");
        tree.write(&format!("{dir}/init/tasks"), "13\n");
        tree.write(&format!("cg/cpuset/{path}/cpuset.effective_cpus"), "1\n");
        tree.write(&format!("cg/memory/{path}/memory.usage_in_bytes"), "4096\n");
        tree.write(
            &format!("cg/memory/{path}/memory.limit_in_bytes"),
            "9223372036854771712\n",
        );
        tree.write(&format!("cg/pids/{path}/pids.current"), "2\n");
        tree.write(&format!("cg/pids/{path}/pids.max"), "max\n");
        tree.write("cg/cpu,cpuacct/pod/cpu.shares", "2048\n");
        tree.write("cg/cpu,cpuacct/other/cpu.shares", "1024\n");
        tree.write(
            "cg/cpu,cpuacct/other/cpuacct.usage",
            &format!("{}\n", ms(0, 50)),
        );
    }
    if layout != "v1" {
        let dir = format!("cg/u/{path}");
        let usage = format!(
            "usage_usec {}\nuser_usec {}\nsystem_usec {}\n",
            ms(5, 30) / 1000,
            ms(0, 20) / 1000,
            ms(0, 10) / 1000
        );
        let pressure = |us| format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={us}\n");
        tree.write(&format!("{dir}/cpu.pressure"), &pressure(after * 17));
        tree.write(&format!("{dir}/cgroup.threads"), "11\n12\n");
        if layout == "v2" {
            tree.write(
                &format!("{dir}/cpu.stat"),
                &format!("{usage}{}", throttled(1000, "throttled_usec")),
            );
            tree.write(&format!("{dir}/cpu.max"), "30000 100000\n");
            tree.write(&format!("{dir}/cpu.weight"), "50\n");
            tree.write(&format!("{dir}/memory.current"), "4096\n");
            tree.write(&format!("{dir}/memory.max"), "max\n");
            tree.write(&format!("{dir}/pids.current"), "2\n");
            // The cpuset of the nearest cgroup above that has one.
            tree.write("cg/u/pod/cpuset.cpus.effective", "1\n");
            tree.write("cg/u/pod/cpu.weight", "200\n");
            tree.write("cg/u/other/cpu.weight", "100\n");
            tree.write(
                "cg/u/other/cpu.stat",
                &format!("usage_usec {}\n", ms(0, 50) / 1000),
            );
        } else {
            tree.write(&format!("{dir}/cpu.stat"), &usage);
        }
    }
}

#[test]
fn the_same_container_is_the_same_in_v1_v2_and_hybrid() {
    for layout in ["v1", "v2", "hybrid"] {
        let tree = TempTree::new(&format!("usage-{layout}"));
        host(&tree, layout, 0);
        let reader = Reader::discover_with_root(tree.root()).expect("mounts");
        let groups = [reader.group(&format!("/pod/{ID}"), &[])];
        let before = reader.read(&groups, Detail::FULL);
        host(&tree, layout, 1);
        let mut after = reader.read(&groups, Detail::FULL);
        after.at_ns = before.at_ns + 100_000_000;
        let interval = Interval::between(&before, &after);
        let [used] = interval.groups.as_slice() else {
            panic!("{layout}: {:?}", interval.groups)
        };
        let cpu = used.cpu.expect("counted");
        assert_eq!(cpu.total_ns, 30_000_000, "{layout}");
        assert_eq!(
            (cpu.user_ns, cpu.system_ns),
            (Some(20_000_000), Some(10_000_000)),
            "{layout}"
        );
        let [pod, own] = used.levels.as_slice() else {
            panic!("{layout}: {:?}", used.levels)
        };
        assert_eq!(
            (pod.cgroup_path.as_str(), pod.quota),
            ("/pod", None),
            "{layout}"
        );
        let throttling = own.throttling.expect("counted");
        assert_eq!(
            (throttling.periods, throttling.throttled),
            (10, 8),
            "{layout}"
        );
        assert_eq!(throttling.throttled_ns, 40_000_000, "{layout}");
        assert_eq!(own.quota.map(|quota| quota.cpus()), Some(0.3), "{layout}");
        assert_eq!(used.tasks.run_ns, Some(30_000_000), "{layout}");
        assert_eq!(used.tasks.wait_ns, Some(3_000_000), "{layout}");
        assert_eq!(
            used.tasks.voluntary.zip(used.tasks.involuntary),
            Some((8, 12)),
            "{layout}"
        );
        assert_eq!(
            used.cpuset.as_ref().map(CpuSet::to_string),
            Some("1".into()),
            "{layout}"
        );
        let memory = used.memory.expect("counted");
        assert_eq!(
            (memory.used_bytes, memory.limit_bytes),
            (4096, None),
            "{layout}"
        );
        assert_eq!(
            (used.task_count, used.task_limit),
            (Some(2), None),
            "{layout}"
        );
        let pressure = used.pressure.map(|pressure| pressure.some_us);
        assert_eq!(pressure, (layout != "v1").then_some(17), "{layout}");
        // 2048 of 3072, on one of two CPUs, and a limit of 0.3.
        let entitled = interval.entitlement(used).expect("weights");
        assert_eq!(
            (entitled.cpuset_cpus, entitled.minimum_cpus),
            (1, 0.3),
            "{layout}"
        );
        let beside = interval.beside(pod);
        let other = beside.iter().find(|one| one.cgroup_path == "/other");
        assert_eq!(other.map(|other| other.cpus), Some(0.5), "{layout}");
        let busy = interval.host.cpus.get(&1).map(HostCpuUse::busy);
        assert_eq!(busy, Some(0.5), "{layout}");
        assert_eq!(interval.host.running, Some(4), "{layout}");
    }
}

#[test]
fn a_container_that_came_or_went_is_in_no_interval_and_one_made_anew_counts_from_nothing() {
    let tree = TempTree::new("usage-comes");
    host(&tree, "v2", 1);
    let reader = Reader::discover_with_root(tree.root()).expect("mounts");
    let group = reader.group(&format!("/pod/{ID}"), &[]);
    let there = reader.read([&group], Detail::QUICK);
    let nobody = reader.read([], Detail::QUICK);
    assert_eq!(Interval::between(&there, &nobody).groups, []);
    assert_eq!(Interval::between(&nobody, &there).groups, []);
    host(&tree, "v2", 0);
    let anew = Interval::between(&there, &reader.read([&group], Detail::QUICK));
    let cpu = anew.group(&format!("/pod/{ID}")).and_then(|used| used.cpu);
    assert_eq!(cpu.map(|cpu| cpu.total_ns), Some(5_000_000));
}

#[test]
fn a_container_that_is_gone_or_was_never_there_has_nothing_and_no_zeros() {
    let tree = TempTree::new("usage-gone");
    host(&tree, "hybrid", 0);
    let reader = Reader::discover_with_root(tree.root()).expect("mounts");
    let group = reader.group("/docker/nobody", &[]);
    let read = reader.read([&group], Detail::FULL);
    let interval = Interval::between(&read, &read);
    let used = interval.group("/docker/nobody").expect("asked for");
    assert_eq!((used.cpu, used.pressure, used.memory), (None, None, None));
    assert_eq!(used.tasks, TaskUse::default());
    assert_eq!(used.levels, []);
    assert_eq!(interval.entitlement(used), None);
}

#[test]
fn a_climbing_path_leaves_no_hierarchy() {
    let tree = TempTree::new("usage-climbs");
    host(&tree, "hybrid", 0);
    let reader = Reader::discover_with_root(tree.root()).expect("mounts");
    let files = reader.group("/pod/../../proc", &[]).files();
    assert_eq!(files, crate::usage::Files::default());
}
