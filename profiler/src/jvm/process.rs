//! Which processes are JVMs, and whether one may be asked.

use super::status::Status;
use super::{JavaOptions, JvmError};
use crate::live::start_ticks_of;
use crate::{HostPid, NsPid};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

/// Whose machine a JVM is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Machine {
    /// OpenJDK's, under whatever vendor's name.
    HotSpot,
    /// Eclipse OpenJ9.
    OpenJ9,
}

/// A process that runs a JVM, told from a later one of the same pid by when it began, and from a later
/// one of the same process by where its library lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Jvm {
    /// Its pid on the host.
    pub pid: HostPid,
    /// Whose it is.
    pub machine: Machine,
    pub(crate) start_ticks: u64,
    /// Where its library begins.
    library_addr: u64,
}

/// The thread that serves SIGQUIT, as the kernel cuts its name (`signal_thread_entry` in os.cpp of OpenJDK).
const SIGNAL_THREAD: &[u8] = b"Signal Dispatch\n";

/// Of `/proc/PID/maps`, `cmdline` and `environ`: what a program made longer is cut there.
const PROC_LIMIT_BYTES: u64 = 16 << 20;

impl Jvm {
    /// Looks whether `pid` is a JVM, by the library that it has mapped. `None` if not, if it is gone, or
    /// if it is not ours to look at.
    pub fn look(pid: HostPid) -> Option<Self> {
        let start_ticks = start_ticks_of(pid)?;
        let maps = File::open(format!("/proc/{}/maps", pid.0)).ok()?;
        let maps = BufReader::new(maps.take(PROC_LIMIT_BYTES));
        let (machine, library_addr) = machine_of(maps)?;
        let jvm = Self {
            pid,
            machine,
            start_ticks,
            library_addr,
        };
        jvm.is_there().then_some(jvm)
    }

    /// Whom a worker was told to ask.
    pub(super) fn named(pid: HostPid, start_ticks: u64) -> Self {
        Self {
            pid,
            machine: Machine::HotSpot,
            start_ticks,
            library_addr: 0,
        }
    }

    /// Whether the process still runs: its pid may be another's by now.
    pub fn is_there(&self) -> bool {
        start_ticks_of(self.pid) == Some(self.start_ticks)
    }

    /// Its pid as itself sees it; with it, whether asking is safe now.
    pub fn check(&self) -> Result<NsPid, JvmError> {
        self.askable().map(|status| status.ns_pid)
    }

    pub(crate) fn askable(&self) -> Result<Status, JvmError> {
        let status = self.status()?;
        if self.machine == Machine::OpenJ9 {
            return Err(JvmError::OpenJ9);
        }
        let options = self.options();
        status.survives_sigquit(options.reduced_signals)?;
        if options.attach_disabled {
            return Err(JvmError::Disabled);
        }
        if self.is_frozen(status.state) {
            return Err(JvmError::Stopped("frozen with its cgroup".into()));
        }
        if !self.has_signal_thread() {
            return Err(JvmError::NotRunning);
        }
        Ok(status)
    }

    /// Whether it is in its cgroup's freezer, by what its first thread waits in, for whom kernel symbols are
    /// shown. Since Linux 6.1 a thread that sleeps is frozen where it is (`TASK_FREEZABLE`), which reads like a
    /// wait for a disk; nobody else waits so for a futex.
    fn is_frozen(&self, state: char) -> bool {
        let waits_in = std::fs::read_to_string(format!("/proc/{}/wchan", self.pid.0));
        waits_in.is_ok_and(|symbol| match symbol.as_str() {
            "do_freezer_trap" | "__refrigerator" | "refrigerator" => true,
            symbol => state == 'D' && symbol.starts_with("futex_"),
        })
    }

    /// Whether SIGQUIT goes to a JVM. A program that has the library and does not run it may catch the
    /// signal itself, and end: Go's runtime does. JDK 8 gives threads no names: there the launcher has to do.
    fn has_signal_thread(&self) -> bool {
        let exe = std::fs::read_link(format!("/proc/{}/exe", self.pid.0)).unwrap_or_default();
        let exe = exe.as_os_str().as_encoded_bytes();
        let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
        if exe.ends_with(b"/java") {
            return true;
        }
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid.0));
        let mut names = threads
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|thread| std::fs::read(thread.path().join("comm")).ok());
        names.any(|name| name == SIGNAL_THREAD)
    }

    /// Its pid as itself sees it: the number in the name of its perf map.
    pub fn ns_pid(&self) -> Result<NsPid, JvmError> {
        self.status().map(|status| status.ns_pid)
    }

    /// What it was started with.
    pub fn options(&self) -> JavaOptions {
        let read = |name: &str| {
            let mut text = Vec::new();
            if let Ok(file) = File::open(format!("/proc/{}/{name}", self.pid.0)) {
                // What was read until an error is all there is to know.
                let _ = file.take(PROC_LIMIT_BYTES).read_to_end(&mut text);
            }
            text
        };
        JavaOptions::parse(&read("cmdline"), &read("environ"))
    }

    fn status(&self) -> Result<Status, JvmError> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid.0));
        let status = text.ok().and_then(|text| Status::parse(self.pid, &text));
        match status {
            Some(status) if self.is_there() => Ok(status),
            _ => Err(JvmError::Gone),
        }
    }
}

/// By the name of a mapped file: `libjvm.so`, `libj9vm29.so`.
fn machine_of(maps: impl BufRead) -> Option<(Machine, u64)> {
    let lines = maps.split(b'\n').map_while(Result::ok);
    lines.into_iter().find_map(|line| {
        let line = line.strip_suffix(b" (deleted)").unwrap_or(&line);
        let name = line.rsplit(|byte| *byte == b'/').next()?;
        let machine = if name == b"libjvm.so" {
            Machine::HotSpot
        } else if name.starts_with(b"libj9vm") && name.ends_with(b".so") {
            Machine::OpenJ9
        } else {
            return None;
        };
        let start = line.split(|byte| *byte == b'-').next()?;
        let start = u64::from_str_radix(std::str::from_utf8(start).ok()?, 16).ok()?;
        Some((machine, start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jvm_is_known_by_its_library_wherever_it_lies() {
        let of = |maps: &str| {
            let found = machine_of(maps.as_bytes());
            found.map(|(machine, start)| {
                assert_eq!(start, 0x7f0);
                machine
            })
        };
        let hot = "7f0-7f1 r-xp 0 08:01 12   /opt/my jdk/lib/server/libjvm.so\n";
        assert_eq!(of(hot), Some(Machine::HotSpot));
        let upgraded = "7f0-7f1 r-xp 0 08:01 12   /usr/lib/server/libjvm.so (deleted)\n";
        assert_eq!(of(upgraded), Some(Machine::HotSpot));
        let j9 = "7f0-7f1 r-xp 0 08:01 12   /opt/java/lib/default/libj9vm29.so\n";
        assert_eq!(of(j9), Some(Machine::OpenJ9));
        assert_eq!(
            of("7f0-7f1 r-xp 0 08:01 12   /usr/lib/notlibjvm.so\n"),
            None
        );
        assert_eq!(
            of("7f0-7f1 r-xp 0 0:0 0 \n7f0-7f1 r-xp 0 0:0 0   [vdso]\n"),
            None
        );
    }

    #[test]
    fn our_own_process_is_none_and_nobody_is_none() {
        assert_eq!(Jvm::look(HostPid(std::process::id())), None);
        assert_eq!(Jvm::look(HostPid(1 << 30)), None);
    }
}
