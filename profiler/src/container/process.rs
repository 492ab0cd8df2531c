//! One process as the host sees it and as it sees itself.

use super::namespaces::Namespaces;
use crate::live::procfs::{identity_in, inner_pids_in, is_zombie, leader_of, start_ticks};
use crate::live::since_boot_ticks;
use crate::{HostPid, NsPid};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

/// A longer command line is cut there.
const COMMAND_BYTES_MAX: u64 = 4096;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its pid on the host.
    pub pid: HostPid,
    /// Its pids in the pid namespaces that it is in below ours, outermost first, the last is what it
    /// calls itself. Empty where it is in our own.
    pub inner_pids: Vec<NsPid>,
    /// Its effective user, as the host counts.
    pub uid: u32,
    /// How long ago it began.
    pub age: Duration,
    /// Its arguments with spaces between them, in brackets its name where it has none (a thread of
    /// the kernel). Chosen by the process: escape it for where it is shown.
    pub command: String,
    /// Its namespaces.
    pub namespaces: Namespaces,
}

impl Process {
    /// The process that has this pid now; `None` where there is none, or only what is left of one.
    pub fn look(pid: HostPid) -> Option<Self> {
        Self::look_in(Path::new("/proc"), pid)
    }

    pub(crate) fn look_in(proc_root: &Path, pid: HostPid) -> Option<Self> {
        let began_ticks = start_ticks(proc_root, pid)?;
        let dir = proc_root.join(pid.0.to_string());
        let status = fs::read(dir.join("status")).ok()?;
        let status = String::from_utf8_lossy(&status);
        let process = Self {
            pid,
            inner_pids: inner_pids_in(&status),
            uid: identity_in(pid, &status)?.uid,
            age: since_boot_ticks(began_ticks).unwrap_or_default(),
            command: command(&dir)?,
            namespaces: Namespaces::of_dir(&dir),
        };
        // Of one process, not of two that had the pid one after the other.
        let is_same = start_ticks(proc_root, pid) == Some(began_ticks);
        (is_same && !is_zombie(proc_root, pid)).then_some(process)
    }

    /// The process of a thread, or of a process, that has this id now.
    pub fn of_thread(id: u32) -> Option<Self> {
        Self::look(leader_of(Path::new("/proc"), HostPid(id))?)
    }

    /// What it calls itself.
    pub fn inner_pid(&self) -> NsPid {
        self.inner_pids.last().copied().unwrap_or(NsPid(self.pid.0))
    }
}

/// The one that began first: a container's init, unless somebody put an older process beside it.
pub(crate) fn first_of(proc_root: &Path, pids: &[HostPid]) -> Option<HostPid> {
    if let [only] = pids {
        return Some(*only);
    }
    let began = pids
        .iter()
        // 0: a process outside of our own pid namespace.
        .filter(|pid| pid.0 != 0)
        .filter_map(|pid| Some((start_ticks(proc_root, *pid)?, *pid)));
    began.min().map(|(_, pid)| pid)
}

fn command(dir: &Path) -> Option<String> {
    let mut arguments = read(&dir.join("cmdline")).ok()?;
    while arguments.last() == Some(&0) {
        arguments.pop();
    }
    for byte in &mut arguments {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    let is_empty = arguments.iter().all(u8::is_ascii_whitespace);
    Some(if is_empty {
        let name = read(&dir.join("comm")).ok()?;
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        format!("[{}]", String::from_utf8_lossy(name))
    } else {
        String::from_utf8_lossy(&arguments).into_owned()
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(COMMAND_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_has_its_command_its_age_and_its_user() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        // Before its exec it has our own command, during it none.
        let seen = loop {
            let seen = Process::look(HostPid(child.id())).expect("it runs");
            if seen.command == "sleep 60" {
                break seen;
            }
            assert!(std::time::Instant::now() < deadline, "{seen:?}");
        };
        let ours = Process::look(HostPid(std::process::id())).expect("we run");
        child.kill().expect("our child");
        child.wait().expect("our child");
        assert_eq!(seen.uid, nix::unistd::geteuid().as_raw());
        assert!(seen.age <= ours.age, "{:?} {:?}", seen.age, ours.age);
        assert_eq!(seen.inner_pid(), NsPid(seen.pid.0));
        assert_eq!(Process::look(HostPid(child.id())), None);
    }

    #[test]
    fn a_threads_id_leads_to_its_process() {
        let thread = nix::unistd::gettid().as_raw().cast_unsigned();
        let found = Process::of_thread(thread).expect("we run");
        assert_eq!(found.pid, HostPid(std::process::id()));
        assert_ne!(found.pid.0, thread);
    }

    #[test]
    fn a_child_that_nobody_waited_for_is_none() {
        let mut child = Command::new("true").spawn().expect("true");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while Process::look(HostPid(child.id())).is_some() {
            assert!(std::time::Instant::now() < deadline, "it never ended");
            std::thread::yield_now();
        }
        child.wait().expect("its status");
    }

    #[test]
    fn the_first_is_the_one_that_began_first() {
        let proc_root = Path::new("/proc");
        let own = HostPid(std::process::id());
        let init = HostPid(1);
        assert_eq!(
            first_of(proc_root, &[own, HostPid(0), init, HostPid(u32::MAX)]),
            Some(init)
        );
        assert_eq!(first_of(proc_root, &[]), None);
    }
}
