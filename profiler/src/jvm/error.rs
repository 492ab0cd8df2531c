//! Why a JVM was not asked, or did not answer.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why there is no answer. It goes from a worker to who started it.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JvmError {
    /// The process has exited.
    #[error("the process has exited")]
    Gone,
    /// Its machine is OpenJ9, which has another protocol.
    #[error("it is an OpenJ9 machine, which writes no perf map when it is asked")]
    OpenJ9,
    /// SIGQUIT would kill it.
    #[error("it does not catch SIGQUIT, and would die of being asked: {}", if *.reduced_signals {
        "it was started with -Xrs"
    } else {
        "it is still starting, or was started with -Xrs"
    })]
    WouldDie {
        /// Whether `-Xrs` was seen.
        reduced_signals: bool,
    },
    /// Started with `-XX:+DisableAttachMechanism`: SIGQUIT prints a thread dump to its output.
    #[error("it was started with -XX:+DisableAttachMechanism")]
    Disabled,
    /// Stopped by a signal or a debugger, or frozen: it cannot answer.
    #[error("it is stopped ({0})")]
    Stopped(String),
    /// Its library is there, and nothing runs in it: SIGQUIT would go to the program itself.
    #[error("it has a JVM's library and runs no JVM, or not yet")]
    NotRunning,
    /// Its /tmp takes no file: it listens there, and nowhere else.
    #[error("there is no place in its /tmp for its socket: {0}")]
    NoPlace(String),
    /// What lies where its map goes is no file: the JVM would wait for a FIFO with its compilers stopped.
    #[error("{path} in its container is {kind}")]
    MapPlace {
        /// Where it would write.
        path: String,
        /// What is there.
        kind: String,
    },
    /// It says that it wrote a map, and there is none.
    #[error("it answered, and wrote no {0}")]
    NotWritten(String),
    /// The trigger is there, the signal was sent, and no socket came.
    #[error("it did not begin to listen within {0} s")]
    Silent(u64),
    /// Connected, and no whole answer in time.
    #[error("it did not answer within {0} s")]
    TimedOut(u64),
    /// Somebody else listens on its socket.
    #[error("another process (pid {0}) listens on its socket")]
    Impostor(i32),
    /// It answered that it does not know the command.
    #[error("its release has no `{0}`")]
    UnknownCommand(String),
    /// It answered with an error of its own.
    #[error("it answered: {0}")]
    Refused(String),
    /// The answer is none of the protocol, or longer than any.
    #[error("its answer is not understood: {0}")]
    Garbled(String),
    /// The system said no.
    #[error("{what}: {reason}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        reason: String,
    },
}

impl JvmError {
    pub(crate) fn system(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::System {
            what: what.into(),
            reason: reason.to_string(),
        }
    }

    /// What a user can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::OpenJ9 => "start it with -Xjit:perfTool: it writes /tmp/perf-PID.map itself",
            Self::WouldDie { .. } | Self::Disabled => {
                "start it without that flag; or, since JDK 17, with -XX:+UnlockDiagnosticVMOptions \
                 -XX:+DumpPerfMapAtExit"
            }
            Self::Stopped(_) => "let it run on (SIGCONT, `docker unpause`), then record again",
            Self::NoPlace(_) | Self::NotWritten(_) => {
                "give the container a writable /tmp with room in it (`docker run --tmpfs /tmp`, an emptyDir)"
            }
            Self::MapPlace { .. } => "remove it",
            Self::Impostor(_) => {
                "containers that share /tmp and not their pids get in each other's way: give each its own /tmp"
            }
            Self::Silent(_) => {
                "its socket may have been deleted from /tmp while it ran (older releases make no \
                 second one), or it is in a long pause: look at its output for a thread dump"
            }
            Self::TimedOut(_) => "it may be in a long pause (garbage collection, heap dump)",
            Self::UnknownCommand(_) => {
                "Compiler.perfmap came with JDK 17: before, load perf-map-agent or async-profiler into it"
            }
            _ => return None,
        })
    }
}
