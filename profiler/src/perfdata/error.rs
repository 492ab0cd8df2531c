//! Why a recording could not be read: what was expected, and at which byte of the file.

use crate::record::RecordError;
use std::io;
use std::path::PathBuf;

/// A recording that cannot be read, or not to its end. Which file it is, whoever opened it knows: but for
/// [`Self::Open`] the messages do not name it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerfDataError {
    /// The file could not be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system refused a read.
    #[error("cannot read the recording at byte {offset}")]
    Read {
        /// Where in the file.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// It does not begin as a perf.data file does.
    #[error("not a perf.data file: `PERFILE2` expected at byte 0, found {}", found.escape_ascii())]
    NotPerfData {
        /// The first bytes, at most eight.
        found: Vec<u8>,
    },
    /// A directory that perf did not make.
    #[error("not a recording of `perf record --threads`: the directory has no file `data`")]
    NoDirectoryRecording,
    /// A directory that has lost a file.
    #[error("the directory has no file `data.{missing}`, but a later one")]
    MissingPart {
        /// Its number.
        missing: u32,
    },
    /// It ends too early.
    #[error(
        "the recording ends inside the {what} at byte {offset}: {wanted_bytes} bytes expected, {found_bytes} left"
    )]
    Truncated {
        /// Where what is cut begins.
        offset: u64,
        /// What is cut.
        what: &'static str,
        /// How long it is.
        wanted_bytes: u64,
        /// What there is of it.
        found_bytes: u64,
    },
    /// A field of a header has a value that cannot be.
    #[error("{what} at byte {offset} is {found}")]
    BadField {
        /// Where the field is.
        offset: u64,
        /// Which field, and what was expected.
        what: &'static str,
        /// Its value.
        found: u64,
    },
    /// A record's header is not one.
    #[error("no record at byte {offset}: type {kind}, size {size_bytes}")]
    BadRecord {
        /// Where the record begins; of a compressed one, where its compressed bytes begin.
        offset: u64,
        /// `perf_event_header.type`.
        kind: u32,
        /// `perf_event_header.size`.
        size_bytes: u16,
    },
    /// A record does not hold what its event promises.
    #[error("damaged record of type {kind} at byte {offset}")]
    Undecodable {
        /// Where the record begins; of a compressed one, where its compressed bytes begin.
        offset: u64,
        /// `perf_event_header.type`.
        kind: u32,
        /// What is wrong inside of it.
        source: RecordError,
    },
    /// Compressed records that cannot be decompressed.
    #[error("damaged zstd stream at byte {offset}: {reason}")]
    Zstd {
        /// Where the compressed record begins.
        offset: u64,
        /// What the decoder says.
        reason: String,
    },
    /// No event describes the samples.
    #[error("the recording describes no event up to byte {offset}")]
    NoEvents {
        /// Where an event was needed.
        offset: u64,
    },
    /// Several events whose records differ, and no id that tells them apart.
    #[error("the recording has {events} events whose records cannot be told apart")]
    MixedEvents {
        /// How many events.
        events: usize,
    },
    /// The event asked for is not in the recording.
    #[error("the recording has no event `{wanted}`; it has {}", known.join(", "))]
    NoSuchEvent {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// What was asked for can be each of several events.
    #[error("event `{wanted}` can be {}", found.join(", "))]
    SeveralEvents {
        /// What was asked for.
        wanted: String,
        /// What it can be.
        found: Vec<String>,
    },
}

impl PerfDataError {
    /// The byte of the file at which the damage is, where it has a place.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Read { offset, .. }
            | Self::Truncated { offset, .. }
            | Self::BadField { offset, .. }
            | Self::BadRecord { offset, .. }
            | Self::Undecodable { offset, .. }
            | Self::Zstd { offset, .. }
            | Self::NoEvents { offset } => Some(*offset),
            Self::NotPerfData { .. } => Some(0),
            _ => None,
        }
    }

    /// Whether the file is cut or damaged, so that what came before can be had of it.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Truncated { .. }
                | Self::BadField { .. }
                | Self::BadRecord { .. }
                | Self::Undecodable { .. }
                | Self::Zstd { .. }
        )
    }

    /// What the user can do about it. Of damage that depends on what came before it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoSuchEvent { .. } | Self::SeveralEvents { .. } => {
                Some("choose one of these with `-e`")
            }
            Self::NotPerfData { .. } | Self::NoDirectoryRecording => {
                Some("give the perf.data file itself")
            }
            Self::MissingPart { .. } => Some("copy the directory again, with all of its files"),
            Self::NoEvents { .. } => Some(
                "did `perf record` fail? its own message says why; what it writes first are its events",
            ),
            Self::MixedEvents { .. } => {
                Some("`perf record --sample-identifier` makes them tell which event they are of")
            }
            _ => None,
        }
    }
}
