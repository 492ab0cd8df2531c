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
/// How long the workloads run.
const BUSY_SECONDS: &str = "10";
/// Samples for the CPU time used, of all programs together. A CPU that came back is sampled again within two and a half
/// seconds: 0.87 of two CPUs for ten seconds. One that stays unseen since the first second: 0.55.
const SHARE_OF_ALL_MIN: f64 = 0.75;
/// The same of one program, which may have run on that CPU only: 0.75.
const SHARE_OF_ONE_MIN: f64 = 0.65;
const SHARE_MAX: f64 = 1.05;

/// A CPU that can be taken away; given back on drop.
struct SpareCpu<'a> {
    _host: &'a Host,
    switch: PathBuf,
    /// Before it was taken away, those above first.
    cpusets: Vec<Cpuset>,
}

/// A cgroup of the v1 cpuset hierarchy, which loses a CPU that goes offline and does not get it back by itself:
/// containers would stay away from it, and so would those that other programs start there later.
struct Cpuset {
    file: PathBuf,
    cpus: String,
}

fn v1_cpusets() -> Vec<Cpuset> {
    let mut sets = Vec::new();
    let mut dirs = vec![PathBuf::from("/sys/fs/cgroup/cpuset")];
    while let Some(dir) = dirs.pop() {
        let file = dir.join("cpuset.cpus");
        // Also the end of a cgroup that is removed meanwhile.
        let (Ok(cpus), Ok(below)) = (fs::read_to_string(&file), fs::read_dir(&dir)) else {
            continue;
        };
        sets.push(Cpuset { file, cpus });
        let below = below.flatten().map(|entry| entry.path());
        dirs.extend(below.filter(|path| path.is_dir()));
    }
    sets
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
        let mut cpu = Self {
            _host: host,
            switch,
            cpusets: Vec::new(),
        };
        // Some hypervisors offer the switch and refuse.
        if let Err(error) = cpu.try_off() {
            say_skipped(&format!("{}: {error}", cpu.switch.display()));
            return None;
        }
        cpu.on();
        Some(cpu)
    }

    fn try_off(&mut self) -> std::io::Result<()> {
        if self.cpusets.is_empty() {
            self.cpusets = v1_cpusets();
        }
        fs::write(&self.switch, "0")
    }

    fn off(&mut self) {
        self.try_off().expect("it went before");
    }

    /// Does nothing where it is on.
    fn on(&mut self) {
        self.give_back().expect("it came before");
    }

    fn give_back(&mut self) -> std::io::Result<()> {
        fs::write(&self.switch, "1")?;
        for set in self.cpusets.drain(..) {
            let is_shrunken = fs::read_to_string(&set.file).is_ok_and(|now| now != set.cpus);
            // One that was removed meanwhile needs nothing.
            if is_shrunken && let Err(error) = fs::write(&set.file, set.cpus.trim()) {
                warn(&format!("{} is smaller now: {error}", set.file.display()));
            }
        }
        Ok(())
    }
}

impl Drop for SpareCpu<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.give_back() {
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
fn assert_samples_go_on(switching: impl Fn(&mut SpareCpu<'_>)) {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let busy = Workload::Busy.build();
    let threads = host.cpus().to_string();
    let Some(mut cpu) = SpareCpu::take(&host) else {
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
    switching(&mut cpu);
    cpu.on();
    let in_container: f64 = container
        .wait_for_line("cpu_seconds", Duration::from_secs(40))
        .parse()
        .expect("seconds");

    let check = |mode: &str, samples: u64, cpu_seconds: f64, share_min: f64| {
        let share = samples as f64 / (cpu_seconds * RATE_HZ);
        assert!(
            (share_min..=SHARE_MAX).contains(&share),
            "{mode}: {samples} samples of {cpu_seconds} s at {RATE_HZ} Hz: {share:.2} of them"
        );
    };
    let run = of_command.wait().expect_code(0);
    let own = run.stdout.split_once("cpu_seconds ").expect("it ended").1;
    let own: f64 = own.trim().parse().expect("seconds");
    check("command", run.closing_samples(), own, SHARE_OF_ONE_MIN);
    for (mode, recording) in [("-G", by_cgroup), ("-p", by_pid)] {
        let run = recording.wait().expect_code(0);
        check(mode, run.closing_samples(), in_container, SHARE_OF_ONE_MIN);
    }
    all.signal(Signal::SIGINT);
    let run = all.wait().expect_code(0);
    let of_both = run.folded().only(|stack| stack.comm.starts_with("busy"));
    check("-a", of_both.total(), in_container + own, SHARE_OF_ALL_MIN);
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
