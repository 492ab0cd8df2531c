//! The command after `--`: started, held before its exec until the events are open, waited for.

use super::open_files::OpenFiles;
use super::raw;
use crate::HostPid;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, pipe2};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, ExitStatus};
use std::thread::JoinHandle;

/// A child that has forked and waits before its exec.
pub(crate) struct Held {
    pid: HostPid,
    go: File,
    spawning: JoinHandle<io::Result<Child>>,
}

/// A child that runs its program.
pub(crate) struct Running {
    child: Child,
    status: Option<ExitStatus>,
}

/// What we changed for ourselves, as it was before: a command gets that.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    /// std lets a child inherit the mask: with ours it could not be interrupted, and would not hear
    /// of its own children's end.
    pub(crate) signal_mask: SigSet,
    pub(crate) open_files: OpenFiles,
}

/// Forks a child for `argv` and holds it before its exec.
pub(crate) fn hold(argv: &[OsString], before: Before) -> io::Result<Held> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "empty command"))?;
    let (ready, ready_child) = pipe2(OFlag::O_CLOEXEC)?;
    let (go_child, go) = pipe2(OFlag::O_CLOEXEC)?;
    let mut command = Command::new(program);
    command.args(arguments);
    let go_of = [go_child.as_raw_fd(), go.as_raw_fd()];
    raw::hold_before_exec(&mut command, ready_child.as_raw_fd(), go_of);
    raw::restore_before_exec(&mut command, before);
    // `spawn` returns only after the exec (it reports the exec's error), so it gets its own thread,
    // which also keeps the child's ends of the pipes open until then.
    let spawning = std::thread::Builder::new()
        .name("spawn".into())
        .spawn(move || {
            let child = command.spawn();
            drop((ready_child, go_child));
            child
        })?;
    let mut pid = [0; 4];
    match File::from(ready).read_exact(&mut pid) {
        Ok(()) => Ok(Held {
            pid: HostPid(u32::from_ne_bytes(pid)),
            go: go.into(),
            spawning,
        }),
        Err(error) => match join(spawning) {
            Err(spawn_error) => Err(spawn_error),
            Ok(_) => Err(error),
        },
    }
}

fn join(spawning: JoinHandle<io::Result<Child>>) -> io::Result<Child> {
    spawning.join().unwrap_or_else(|_| {
        Err(io::Error::other(
            "the thread that spawns the command panicked",
        ))
    })
}

impl Held {
    /// The child's pid, before and after its exec.
    pub(crate) fn pid(&self) -> HostPid {
        self.pid
    }

    /// Lets it exec. The error is the exec's own: no such program, not executable.
    pub(crate) fn release(mut self) -> io::Result<Running> {
        self.go.write_all(&[1])?;
        join(self.spawning).map(|child| Running {
            child,
            status: None,
        })
    }
}

impl Running {
    /// Its pid; a zombie's, once it has ended.
    pub(crate) fn pid(&self) -> HostPid {
        HostPid(self.child.id())
    }

    /// Whether it has ended; never blocks.
    pub(crate) fn poll_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status.is_some()
    }

    /// Its exit status, once it ended.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status
    }

    /// Passes a signal on to it, if it still runs.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if !self.poll_ended() {
            // It may have ended since, as our zombie: then the signal has no effect.
            let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
        }
    }
}
