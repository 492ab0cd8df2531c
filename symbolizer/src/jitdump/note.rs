//! What there is to say of a jitdump: why it gave no names, or not those of their time.

use super::parse::JitDumpError;
use crate::stack::Unresolved;
use profiler::files::FileError;
use std::fmt;

/// What kept names of a dump away, or makes them less sure.
#[derive(Debug)]
#[non_exhaustive]
pub enum JitDumpNote {
    /// It is not used: what it says cannot be believed.
    Refused(JitDumpError),
    /// It was not found, or another file was.
    Missing(Unresolved),
    /// The system refused it.
    Unreadable(FileError),
    /// Not read to its end.
    Cut(JitDumpError),
    /// Some of it was left out.
    Partial {
        /// Records that say nothing.
        bad_records: u64,
        /// Code that was left out because there is too much.
        left_out: u64,
    },
    /// Its times cannot be compared with those of the samples: the last record of an address named it.
    Timeless(Timeless),
    /// All of its records are later than the last sample: they are of another clock.
    AnotherClock {
        /// How many, at least.
        records: usize,
    },
    /// It has more records than are read.
    TooLong {
        /// How many are.
        records: u64,
    },
    /// More processes have dumps than are read.
    TooMany {
        /// How many dumps are read.
        most: usize,
    },
}

/// Why times cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeless {
    /// The dump has the machine's own (its flag says so).
    ArchTimes,
    /// The recording's are not of CLOCK_MONOTONIC, as those of dumps are.
    RecordingClock,
}

impl JitDumpNote {
    /// Whether it is about the recording: said once, not for each process.
    pub(super) fn is_of_recording(&self) -> bool {
        matches!(self, Self::Timeless(Timeless::RecordingClock))
    }

    pub(super) fn is_timed_out(&self) -> bool {
        matches!(self, Self::Unreadable(FileError::TimedOut { .. }))
    }
}

impl fmt::Display for JitDumpNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "not used: {error}"),
            Self::Missing(reason) => {
                f.write_str("not used: ")?;
                f.write_str(match reason {
                    Unresolved::Gone(_) => "it is not there",
                    Unresolved::Replaced(_) => "another file is in its place",
                    Unresolved::Unverified(_) => {
                        "nothing tells whether it is the one that was mapped"
                    }
                    _ => "it cannot be read",
                })?;
                f.write_str("; a copy of it at its path below `convert --sysroot` or `--symfs` is")
            }
            Self::Unreadable(error) => write!(f, "not used: {error}"),
            Self::Cut(error) => write!(f, "{error}: not read further"),
            Self::Partial {
                bad_records,
                left_out,
            } => {
                write!(f, "{bad_records} records not understood")?;
                match left_out {
                    0 => Ok(()),
                    left_out => write!(f, ", {left_out} left out because there are too many"),
                }
            }
            Self::Timeless(Timeless::ArchTimes) => f.write_str(
                "its times are the processor's and cannot be compared: code is named by the last record of its \
                 address",
            ),
            Self::Timeless(Timeless::RecordingClock) => f.write_str(
                "the recording's times cannot be compared with it (`perf record -k mono` can): code is named by the \
                 last record of its address",
            ),
            Self::AnotherClock { records } => write!(
                f,
                "no name: all of its records ({records} or more) are later than the last sample, so they are of \
                 another clock"
            ),
            Self::TooLong { records } => {
                write!(f, "not read further after {records} records")
            }
            Self::TooMany { most } => write!(
                f,
                "not used: jitdumps of {most} processes are read, and of no more"
            ),
        }
    }
}
