//! What is read of hosts that were copied while containers ran on them; numbers by hand from the files.

use super::{Detail, GroupUse, Interval, Reader};
use crate::container::test_tree::host;

const ID: &str = "3f2a000000000000000000000000000000000000000000000000000000000000";

fn interval(name: &str, ns: u64) -> (Interval, GroupUse) {
    let path = format!("/docker/{ID}");
    let read = |when: &str| {
        let reader = Reader::discover_with_root(&host(name).join(when)).expect("mounts");
        reader.read(&[reader.group(&path, &[])], Detail::FULL)
    };
    let (before, mut after) = (read("before"), read("after"));
    after.at_ns = before.at_ns + ns;
    let interval = Interval::between(&before, &after);
    let group = interval.group(&path).expect("in both").clone();
    (interval, group)
}

#[test]
fn a_hybrid_host_is_read_as_it_was() {
    let (interval, used) = interval("usage-hybrid", 3_800_000_000);
    let cpu = used.cpu.expect("cpuacct");
    assert_eq!(cpu.total_ns, 382_876_354 - 205_332_173);
    assert_eq!(cpu.user_ns, Some(190_000_000));
    let own = used.levels.last().expect("it");
    let throttling = own.throttling.expect("cpu.stat");
    assert_eq!((throttling.periods, throttling.throttled), (38, 38));
    assert_eq!(throttling.throttled_ns, 4_662_685_852 - 1_901_985_847);
    // The kernel adds what is under way to the one, and not to the other.
    assert_eq!(own.held_ns, Some(4_662_685_852 - 1_859_203_616));
    assert_eq!(own.quota.map(|quota| quota.cpus()), Some(0.05));
    assert_eq!(own.weight.map(|weight| weight.0), Some(512.0));
    assert_eq!(used.tasks.threads, 3);
    assert_eq!(used.tasks.run_ns, Some(188_952_343));
    assert_eq!(used.tasks.wait_ns, Some(7_555_026_660));
    assert_eq!(used.tasks.involuntary, Some(49 + 51));
    assert_eq!(
        used.pressure.map(|one| one.some_us),
        Some(7_090_049 - 3_396_409)
    );
    assert_eq!(used.memory.map(|one| one.limit_bytes), Some(None));
    let entitled = interval.entitlement(&used).expect("weights");
    // 512 beside 1024, below the only cgroup of the root, of two CPUs: more than its limit.
    assert_eq!((entitled.minimum_cpus, entitled.cpuset_cpus), (0.05, 2));
    let beside = interval.beside(own);
    assert_eq!(beside.first().map(|other| other.weight.0), Some(1024.0));
    let other = (1_281_928_313_f64 - 650_982_428.0) / 3.8e9;
    assert!(
        beside
            .first()
            .is_some_and(|one| (one.cpus - other).abs() < 1e-9)
    );
}

#[test]
fn a_host_with_cgroup_v2_only_is_read_as_it_was() {
    let (interval, used) = interval("usage-v2", 3_700_000_000);
    let cpu = used.cpu.expect("cpu.stat");
    assert_eq!(cpu.total_ns, (1_884_314 - 1_145_802) * 1000);
    assert_eq!(cpu.system_ns, Some((380_320 - 243_408) * 1000));
    let own = used.levels.last().expect("it");
    let throttling = own.throttling.expect("cpu.stat");
    assert_eq!((throttling.periods, throttling.throttled), (37, 37));
    assert_eq!(throttling.throttled_ns, (13_381_829 - 7_475_309) * 1000);
    // Linux 6.1 has no cpu.stat.local.
    assert_eq!(own.held_ns, None);
    assert_eq!(own.quota.map(|quota| quota.cpus()), Some(0.2));
    assert_eq!(own.weight.map(|weight| weight.0), Some(512.0));
    assert_eq!(used.tasks.run_ns, Some(663_280_654));
    assert_eq!(used.tasks.wait_ns, Some(5_656_690_041));
    assert_eq!(used.tasks.involuntary, Some(33 + 50));
    assert_eq!(
        used.pressure.map(|one| one.some_us),
        Some(7_637_543 - 3_923_760)
    );
    assert_eq!(
        used.memory.map(|one| (one.used_bytes, one.limit_bytes)),
        Some((245_760, None))
    );
    assert_eq!(used.cpuset.map(|cpus| cpus.to_string()), Some("0-1".into()));
    assert_eq!(used.task_count, Some(3));
    let beside = interval.beside(own);
    assert_eq!(beside.first().map(|other| other.weight.0), Some(1024.0));
    let idle: f64 = interval.host.cpus.values().map(|cpu| cpu.idle).sum();
    assert_eq!(idle, 0.0);
}
