//! A CPU that goes offline and comes back, seen or unseen, neither ends a recording nor leaves it blind.

mod support;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::container::Builder;
use support::ctrflame::Ctrflame;
use support::workloads::Workload;
use support::{Host, Need, needs, warn};

const RATE_HZ: f64 = 199.0;
/// How long the workloads run; of this, a healthy recording is blind on one CPU for two seconds at most after each
/// return.
const BUSY_SECONDS: &str = "10";
/// Samples for the CPU time used. A CPU that came back is seen within two seconds: 0.9 of two CPUs for ten seconds. One
/// that stays unseen since the first second: 0.55.
const SHARE_MIN: f64 = 0.75;
const SHARE_MAX: f64 = 1.05;

/// A CPU that can be taken away; given back on drop.
struct SpareCpu<'a> {
    _host: &'a Host,
    switch: PathBuf,
}

impl<'a> SpareCpu<'a> {
    /// The last CPU that has a switch and is on. `None`, said aloud, where there is none: virtual machines often have
    /// no switch, and the first CPU of x86 never has.
    fn take(host: &'a Host) -> Option<Self> {
        let cpus = fs::read_dir("/sys/devices/system/cpu").expect("sysfs is mounted");
        let mut numbers: Vec<u32> = cpus
            .flatten()
            .filter_map(|entry| {
                entry
                    .file_name()
                    .to_str()?
                    .strip_prefix("cpu")?
                    .parse()
                    .ok()
            })
            .filter(|number| *number > 0)
            .collect();
        numbers.sort_unstable();
        let switches = numbers
            .iter()
            .rev()
            .map(|cpu| PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/online")));
        let switch = switches
            .into_iter()
            .find(|switch| fs::read_to_string(switch).is_ok_and(|on| on.trim() == "1"));
        let Some(switch) = switch else {
            say_skipped("no CPU here can go offline");
            return None;
        };
        let cpu = Self {
            _host: host,
            switch,
        };
        // Some hypervisors offer the switch and refuse.
        if let Err(error) = cpu.write("0").and_then(|()| cpu.write("1")) {
            say_skipped(&format!("{}: {error}", cpu.switch.display()));
            return None;
        }
        Some(cpu)
    }

    fn write(&self, text: &str) -> std::io::Result<()> {
        fs::write(&self.switch, text)
    }

    fn off(&self) {
        self.write("0").expect("it went before");
    }

    fn on(&self) {
        self.write("1").expect("it came before");
    }
}

impl Drop for SpareCpu<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.write("1") {
            warn(&format!(
                "{} is not 1 again: {error}",
                self.switch.display()
            ));
        }
    }
}

/// As the other tests say it, for a need that is the machine's and cannot be installed.
fn say_skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: {reason}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(log) = std::env::var_os("CTRFLAME_SKIP_LOG") {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(Path::new(&log));
        let _ = log.and_then(|mut log| log.write_all(line.as_bytes()));
    }
}

/// Runs two busy programs on all CPUs, records them in every way there is, switches the CPU meanwhile, and compares the
/// samples with the CPU time that the programs used by their own account.
fn assert_samples_go_on(switching: impl Fn(&SpareCpu<'_>)) {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let busy = Workload::Busy.build();
    let threads = host.cpus().to_string();
    let Some(cpu) = SpareCpu::take(&host) else {
        return;
    };
    let container = Builder::new(&host, &["/app/busy", &threads, BUSY_SECONDS, "wait"])
        .file("/app/busy", &busy)
        .hostname("busy")
        .start();
    container.wait_for_line("waiting", Duration::from_secs(20));
    let pid = container.pid().to_string();
    let rate = RATE_HZ.to_string();
    let record = |target: &[&str]| {
        Ctrflame::record(["-F", &rate, "-e", "cpu-clock"])
            .args(target)
            .start()
    };
    let mut all = record(&["-a"]);
    let mut by_cgroup = record(&["-G", container.id()]);
    let mut by_pid = record(&["-p", &pid]);
    for recording in [&mut all, &mut by_cgroup, &mut by_pid] {
        recording.wait_until_sampling();
    }
    let busy = busy.to_string_lossy();
    let of_command = record(&["--", &busy, &threads, BUSY_SECONDS]);
    container.signal(Signal::SIGUSR1);
    sleep(Duration::from_secs(1));
    switching(&cpu);
    cpu.on();
    let in_container: f64 = container
        .wait_for_line("cpu_seconds", Duration::from_secs(40))
        .parse()
        .expect("seconds");

    let check = |mode: &str, samples: u64, cpu_seconds: f64| {
        let share = samples as f64 / (cpu_seconds * RATE_HZ);
        assert!(
            (SHARE_MIN..=SHARE_MAX).contains(&share),
            "{mode}: {samples} samples of {cpu_seconds} s at {RATE_HZ} Hz: {share:.2} of them"
        );
    };
    let run = of_command.wait().expect_code(0);
    let own = run.stdout.split_once("cpu_seconds ").expect("it ended").1;
    let own: f64 = own.trim().parse().expect("seconds");
    check("command", run.closing_samples(), own);
    for (mode, recording) in [("-G", by_cgroup), ("-p", by_pid)] {
        let run = recording.wait().expect_code(0);
        check(mode, run.closing_samples(), in_container);
    }
    all.signal(Signal::SIGINT);
    let run = all.wait().expect_code(0);
    let of_container = run.folded().container(&container.tag()).total();
    check("-a", of_container, in_container);
}

#[test]
fn samples_go_on_after_a_cpu_was_away_for_seconds_twice() {
    assert_samples_go_on(|cpu| {
        cpu.off();
        sleep(Duration::from_millis(2500));
        cpu.on();
        sleep(Duration::from_millis(5000));
        cpu.off();
        sleep(Duration::from_millis(500));
    });
}

#[test]
fn samples_go_on_after_a_cpu_was_away_unseen() {
    assert_samples_go_on(|cpu| cpu.off());
}
