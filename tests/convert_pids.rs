//! `ctrflame convert` when the pid of a recorded process is somebody else's by now.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::ctrflame::{Ctrflame, Finished};
use support::workloads::Workload;
use support::{Need, needs, wait_until};

/// A child, and a file of it, gone at the end of the test whatever that is.
struct Gone(Child, Option<PathBuf>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        if let Some(path) = &self.1 {
            let _ = fs::remove_file(path);
        }
    }
}

/// A process that sleeps and has `pid`: the kernel gives out the pid behind the last one.
fn with_pid(pid: u32) -> Gone {
    wait_until("the pid", Duration::from_secs(30), || {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("root may");
        let child = Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("coreutils are there");
        // Another process may have been quicker.
        Some(Gone(child, None)).filter(|child| child.0.id() == pid)
    })
}

fn is_named(run: &Finished) -> bool {
    let jit = ["jit_outer_[j]", "jit_inner_[j]"];
    run.folded().share(|stack| stack.has_chain(&jit)) > 0.9
}

#[test]
fn the_map_of_a_process_that_ended_is_its_own_unless_the_pids_holder_may_have_written_it() {
    let Some(_host) = needs(Need::Perf) else {
        return;
    };
    let program = Command::new(Workload::JitLike.build())
        .arg("50")
        .stdout(Stdio::null())
        .spawn()
        .expect("it was just built");
    let pid = program.id();
    let map = PathBuf::from(format!("/tmp/perf-{pid}.map"));
    let program = Gone(program, Some(map.clone()));
    wait_until("the perf map", Duration::from_secs(20), || {
        let text = fs::read_to_string(&map).ok()?;
        text.ends_with("jit_inner\n").then_some(())
    });
    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("perf.data");
    let recorded = Command::new("perf")
        .args(["record", "-B", "-e", "cpu-clock", "-g", "-F", "199", "-o"])
        .arg(&data)
        .args(["-p", &pid.to_string(), "--", "sleep", "0.5"])
        .env("HOME", dir.path())
        .output()
        .expect("perf runs");
    assert!(recorded.status.success(), "{recorded:?}");
    let kept = fs::read(&map).expect("written above");
    drop(program);
    // As it was left behind.
    fs::write(&map, &kept).expect("ours");
    let convert = || {
        let run = Ctrflame::new(["convert", "-o", "out.folded"]).args([&data as &Path]);
        run.run().expect_code(0)
    };
    assert!(is_named(&convert()), "nobody has the pid");

    // File times count in up to two seconds.
    wait_until("the map to be old", Duration::from_secs(20), || {
        let changed = fs::metadata(&map).and_then(|map| map.modified());
        let age = changed.expect("it is there").elapsed().ok()?;
        (age > Duration::from_millis(2500)).then_some(())
    });
    let mut other = with_pid(pid);
    other.1 = Some(map.clone());
    let run = convert();
    assert!(is_named(&run), "{}", run.stderr);
    assert!(!run.stderr.contains("is not used"), "{}", run.stderr);

    fs::write(&map, &kept).expect("ours");
    let run = convert();
    assert!(!is_named(&run), "named by what may be another's map");
    let said = format!("{} is not used: another process", map.display());
    assert!(run.stderr.contains(&said), "{}", run.stderr);
}
