//! Why a text gives no stacks, and what to do about it.

use std::io;

use thiserror::Error;

use super::Format;
use super::lines::Place;
use crate::clean_line;

/// What is wrong with a text.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TextError {
    /// Not a single byte.
    #[error("the input is empty")]
    Empty,
    /// Compressed by something else than gzip, by gzip twice, or a perf.data and no text.
    #[error("the input is compressed by {program}")]
    Compressed {
        /// The program that makes such files.
        program: &'static str,
    },
    /// None of the formats that are known.
    #[error("neither a perf.data nor a known text of stacks: it begins with `{start}`")]
    Unknown {
        /// Its first bytes, cleaned.
        start: String,
    },
    /// The input broke off.
    #[error("cannot read on behind byte {byte} of the text")]
    Read {
        /// Bytes that were read; of gzip, after decompression.
        byte: u64,
        /// What the input said.
        #[source]
        source: io::Error,
    },
    /// Compressed text that ends too early or is damaged.
    #[error("the gzip stream is damaged or cut behind byte {byte} of the text")]
    Gzip {
        /// Bytes of text that were read.
        byte: u64,
        /// What the decompressor said.
        #[source]
        source: io::Error,
    },
    /// The same, before it was known what the text is.
    #[error("the gzip stream is damaged or cut before the text in it can be told")]
    GzipStart {
        /// What the decompressor said.
        #[source]
        source: io::Error,
    },
    /// No text has such lines.
    #[error("line {} (byte {}) is longer than {limit_bytes} bytes", at.line, at.byte)]
    LongLine {
        /// Where it begins.
        at: Place,
        /// How long a line may be.
        limit_bytes: usize,
    },
    /// A line that is not of the format.
    #[error("line {} (byte {}) of the {format} {what}: `{text}`", at.line, at.byte)]
    Line {
        /// Where it is.
        at: Place,
        /// What was being read.
        format: Format,
        /// What is wrong with it.
        what: &'static str,
        /// Its beginning, cleaned.
        text: String,
    },
    /// A text of the right form without a single sample.
    #[error("the {format} has no samples")]
    NoSamples {
        /// What was read.
        format: Format,
    },
    /// Two counts on every line.
    #[error("the folded text has two counts on every line: it is the difference of two profiles")]
    Difference,
    /// No sample is of the event that was asked for.
    #[error("no sample is of event `{wanted}`")]
    NoSuchEvent {
        /// The event that was asked for.
        wanted: String,
        /// Those that the text has.
        present: Vec<String>,
    },
    /// An event was asked for where there are none.
    #[error("the {format} names no events")]
    NoEvents {
        /// What was read.
        format: Format,
    },
    /// Samples were to be weighed where there are only counts.
    #[error("the {format} has counts of its own and tells neither samples nor periods")]
    OwnCounts {
        /// What was read.
        format: Format,
    },
    /// Samples were to be weighed by their periods.
    #[error("the output of `perf script` tells no periods")]
    NoPeriods,
    /// The reader of another profiler's format refused.
    #[error("cannot read the {format}")]
    Foreign {
        /// What was being read.
        format: Format,
        /// What the reader said.
        #[source]
        source: io::Error,
    },
}

impl TextError {
    /// What the user can do; one line.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Empty => "did the program before the pipe fail? its own message says why".to_owned(),
            Self::Compressed { program } => {
                format!("decompress it on the way: `{program} -dc FILE | ctrflame convert -`")
            }
            Self::Unknown { .. } => "it can be a perf.data, the output of `perf script`, folded stacks (`a;b;c 12`), \
                 or a text of dtrace, sample, vtune, vsprof, xctrace or ghcprof; plain or gzip"
                .to_owned(),
            Self::GzipStart { .. } => "copy or write the file again".to_owned(),
            Self::Gzip { .. } => "copy or write the file again; `--allow-damaged` draws what came before".to_owned(),
            Self::Line {
                format: Format::PerfScript,
                ..
            } => "print it with `perf script -F comm,pid,tid,cpu,time,period,event,ip,sym,dso`; `--allow-damaged` leaves \
                 such lines out and counts them"
                .to_owned(),
            Self::Line {
                format: Format::Folded,
                ..
            } => "`--allow-damaged` leaves such lines out and counts them".to_owned(),
            Self::LongLine { .. } => "is it a text at all? stacks have one line each, or one line for each frame".to_owned(),
            Self::NoSamples { .. } => "was anything recorded? `perf report --stats` counts the samples".to_owned(),
            Self::Difference => "give one of the two folded texts that it was made of".to_owned(),
            Self::NoSuchEvent { present, .. } => {
                let present: Vec<&str> = present.iter().take(12).map(String::as_str).collect();
                format!("the text has: {}", clean_line(&present.join(", "), 300))
            }
            Self::OwnCounts { .. } => "leave `--weight` out: its counts are drawn".to_owned(),
            Self::NoPeriods => "print them with `perf script -F +period`, or leave `--weight` out".to_owned(),
            Self::NoEvents { .. } => "leave `-e` out: all of it is drawn".to_owned(),
            Self::Foreign { .. } | Self::Line { .. } => {
                "write it again with the profiler's default options, and copy it whole".to_owned()
            }
            Self::Read { .. } => return None,
        };
        Some(hint)
    }
}
