//! What kept names away although they may be had: for the reader, beside the picture.

use crate::jitdump::JitDumpNote;
use crate::whose_map::NotItsMap;
use profiler::BuildId;
use profiler::files::FileError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Something that was there and was not used, or not wholly. Texts hold what containers wrote: escape
/// them for where they are shown.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// A perf map was refused or could not be read.
    MapRefused {
        /// Tag of the container whose process it is.
        container: Arc<str>,
        /// Which file and why.
        error: FileError,
    },
    /// A perf map has lines that say nothing, or more than is read.
    MapPartial {
        /// Tag of the container whose process it is.
        container: Arc<str>,
        /// The map, as its process sees it.
        path: PathBuf,
        /// Lines that were left out.
        bad_lines: u64,
        /// The limit after which nothing was read: `5000000 lines`.
        cut_after: Option<String>,
    },
    /// A perf map under the pid of a process that was recorded, which may be of another one.
    MapNotIts {
        /// Tag of the container whose process it was.
        container: Arc<str>,
        /// Its pid.
        host_pid: u32,
        /// The map.
        path: PathBuf,
        /// Why.
        why: NotItsMap,
    },
    /// A perf map was given for a process without a sample that needs it.
    MapUnused {
        /// As it was given.
        host_pid: u32,
        /// As it was given.
        path: PathBuf,
    },
    /// A jitdump was not used, or gives less than it could.
    JitDump {
        /// Tag of the container whose process it is.
        container: Arc<str>,
        /// The dump, as its process sees it.
        path: PathBuf,
        /// Why.
        note: JitDumpNote,
    },
    /// A file is not the one that was mapped: its names would be wrong.
    ImageReplaced {
        /// Where it lies on this host, or in its container.
        file: PathBuf,
        /// The build id that it has.
        found: Option<BuildId>,
        /// The one that was recorded.
        recorded: BuildId,
    },
    /// Debug information was not used, or not all of it.
    DebugInfo {
        /// The file that has it, in its view.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// Debug files could not be fetched.
    NotFetched {
        /// How many were missing.
        missing: usize,
        /// Why, of one of them.
        reason: String,
    },
    /// perf noted the build id of this host's file for a path, but a process mapped another file of
    /// that path: it had other mounts or another root, and was gone when perf looked.
    BuildIdMistold {
        /// The path.
        file: PathBuf,
    },
    /// Nothing recorded tells whether a file that the user gave is the one that was mapped: it was
    /// used.
    Unchecked {
        /// Where it lies.
        file: PathBuf,
        /// How many more there are.
        others: usize,
    },
    /// The kernel's symbols that the user gave were used, and cannot be checked.
    KernelUnchecked {
        /// Why.
        reason: String,
    },
    /// The kernel's symbols are hidden from us, or there are none.
    KernelHidden {
        /// What `/proc/kallsyms` gave.
        reason: String,
        /// What the user can do.
        hint: Option<&'static str>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MapRefused { container, error } => write!(f, "{container}: {error}"),
            Self::MapPartial {
                container,
                path,
                bad_lines,
                cut_after,
            } => {
                write!(
                    f,
                    "{container}: {}: {bad_lines} lines not understood",
                    path.display()
                )?;
                match cut_after {
                    Some(limit) => write!(f, ", nothing read after {limit}"),
                    None => Ok(()),
                }
            }
            Self::MapNotIts {
                container,
                host_pid,
                path,
                why,
            } => {
                let (path, pid) = (path.display(), host_pid);
                write!(f, "{container}: {path} is not used: ")?;
                match why {
                    NotItsMap::OfAnother => write!(
                        f,
                        "another process than the recorded one has pid {pid} now and may have written it"
                    )?,
                    NotItsMap::BeforeProcess => f.write_str(
                        "it was not changed since that process began: another one had the pid before",
                    )?,
                    NotItsMap::BeforeBoot => f.write_str(
                        "it was not changed since the host was booted, and that was before the recording",
                    )?,
                }
                write!(
                    f,
                    "; if it is of the recorded one, `--perf-map {pid}=FILE` with a copy of it uses it"
                )
            }
            Self::MapUnused { host_pid, path } => write!(
                f,
                "{}: not needed: no sample is in generated code of process {host_pid}",
                path.display()
            ),
            Self::JitDump {
                container,
                path,
                note,
            } => write!(f, "{container}: {}: {note}", path.display()),
            Self::ImageReplaced {
                file,
                found: Some(found),
                recorded,
            } => write!(
                f,
                "{} is not the file that was mapped: its build id is {found}, recorded was {recorded}",
                file.display()
            ),
            Self::ImageReplaced {
                file,
                found: None,
                recorded,
            } => write!(
                f,
                "{} is not the file that was mapped: it has no build id, recorded was {recorded}",
                file.display()
            ),
            Self::DebugInfo { file, reason } => {
                write!(f, "debug information of {}: {reason}", file.display())
            }
            Self::NotFetched { missing, reason } => write!(
                f,
                "debuginfod: {missing} debug files were not fetched: {reason}; `--no-debuginfod` does not ask"
            ),
            Self::BuildIdMistold { file } => write!(
                f,
                "{}: perf noted this host's file, another one of that path was mapped: `perf record \
                 --buildid-mmap` tells them apart, `--sysroot` and `--symfs` say where it is",
                file.display()
            ),
            Self::Unchecked { file, others } => {
                write!(f, "{}", file.display())?;
                if *others > 0 {
                    write!(f, " and {others} more files")?;
                }
                f.write_str(
                    " used as given: the recording has no build id to check (`perf record --buildid-mmap` \
                     records them)",
                )
            }
            Self::KernelUnchecked { reason } => {
                write!(f, "kernel frames named as given: {reason}")
            }
            Self::KernelHidden {
                reason,
                hint: Some(hint),
            } => write!(f, "kernel frames unnamed: {reason}; {hint}"),
            Self::KernelHidden { reason, hint: None } => {
                write!(f, "kernel frames unnamed: {reason}")
            }
        }
    }
}
