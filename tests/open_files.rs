//! The usual limit of 1024 open files is ours to raise, and not our command's.

mod support;

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::ctrflame::Ctrflame;
use support::{Need, needs};

const SOFT: u64 = 256;

#[test]
fn we_hold_as_many_files_as_we_may_and_the_command_keeps_its_own_limit() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    assert!(hard > SOFT, "nothing to raise: {hard}");
    // Of this test's process, and so of what it starts.
    setrlimit(Resource::RLIMIT_NOFILE, SOFT, hard).expect("lower is always allowed");
    let command = ["--", "sh", "-c", "ulimit -Sn; sleep 2"];
    let mut recording = Ctrflame::record(command).start();
    recording.wait_until_sampling();
    let limits = fs::read_to_string(format!("/proc/{}/limits", recording.pid()));
    let limits = limits.expect("it runs");
    let open_files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<&str> = open_files.expect("a line").split_whitespace().collect();
    let hard = hard.to_string();
    assert_eq!(words[3..5], [hard.as_str(), hard.as_str()], "{limits}");
    let run = recording.wait().expect_code(0);
    assert_eq!(run.stdout.trim(), SOFT.to_string());
}
