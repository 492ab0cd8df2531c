//! What kept names away although they may be had: for the reader, beside the picture.

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
