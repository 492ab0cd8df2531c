//! Why a recording could not begin or go on.

use super::gate::Denied;
use crate::HostPid;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Facts of a failed recording; `hint()` says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// The kernel refused an event or its ring.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The kernel refused to start, stop or join events that are open.
    #[error("cannot control the events of CPU {cpu}")]
    Ring {
        /// On which CPU.
        cpu: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The list of CPUs could not be read.
    #[error("cannot read the list of online CPUs")]
    Cpus {
        /// Why.
        source: io::Error,
    },
    /// The cgroup's directory cannot be opened.
    #[error("cannot open cgroup {}", directory.display())]
    Cgroup {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A process that is to be recorded does not exist.
    #[error("no process {}", pid.0)]
    NoProcess {
        /// Its pid.
        pid: HostPid,
    },
    /// All tasks that were to be recorded have ended.
    #[error("nothing to record: every task of the target has ended")]
    NoTasks,
    /// The command could not be started.
    #[error("cannot run {}", argv0.display())]
    Command {
        /// Its program, as given.
        argv0: OsString,
        /// Why.
        source: io::Error,
    },
    /// `/proc` cannot be listed.
    #[error("cannot list /proc")]
    Proc {
        /// Why.
        source: io::Error,
    },
    /// The limit on open files cannot be read.
    #[error("cannot read the limit on open files")]
    OpenFiles {
        /// Why.
        source: io::Error,
    },
    /// Waiting for events failed.
    #[error("cannot wait for events")]
    Wait {
        /// Why.
        source: io::Error,
    },
}

impl LiveError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Denied(denied) => denied.hint().map(str::to_owned),
            Self::NoProcess { .. } => Some("pids are those of the host: see `ps -e`".into()),
            _ => None,
        }
    }
}
