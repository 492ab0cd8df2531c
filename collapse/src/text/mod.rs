//! Texts of stacks, of perf and of other profilers, become a tree: bytes in, no file, no printing.
//!
//! What a text is, its beginning tells ([`Format`]). It is read as a stream; memory grows with its
//! distinct stacks and names. Nothing in it is left out in silence.

mod collapsed;
mod detect;
mod error;
mod folded_in;
mod foreign;
mod frame_cache;
mod lines;
mod perf_frame;
mod perf_head;
mod perf_script;

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;

pub use collapsed::{Collapsed, Counted, LeftOut};
pub use detect::Format;
pub use error::TextError;
pub use lines::Place;
pub(crate) use perf_frame::{NO_JIT_SYMBOL, NO_KERNEL_SYMBOL};

use crate::clean::clean_line;
use lines::{Line, Lines};

/// What is wanted of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// The event whose samples are drawn, as the text names it; the first one if `None`.
    pub event: Option<String>,
    /// What is done with lines that are not understood.
    pub bad_lines: OnBadLine,
}

/// What is done with a line that is not understood, and with a text that breaks off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadLine {
    /// It is an error.
    #[default]
    Refuse,
    /// It is left out and counted; what came before a break is kept.
    LeaveOut,
}

const GZIP_MAGIC: &[u8] = b"\x1f\x8b";
const READ_BYTES: usize = 256 << 10;

/// Reads a text, plain or gzip, to its end.
///
/// # Errors
/// It is none of the known ones, has no samples, or is damaged; each error tells where.
pub fn collapse_text(mut input: impl Read, options: &TextOptions) -> Result<Collapsed, TextError> {
    let start = read_start(&mut input, GZIP_MAGIC.len())?;
    let is_gzip = start == GZIP_MAGIC;
    let input = io::Cursor::new(start).chain(input);
    if is_gzip {
        let packed = io::BufReader::with_capacity(READ_BYTES, input);
        plain(MultiGzDecoder::new(packed), options).map_err(of_gzip)
    } else {
        plain(input, options)
    }
}

fn plain(mut input: impl Read, options: &TextOptions) -> Result<Collapsed, TextError> {
    let start = read_start(&mut input, detect::LOOKED_AT_BYTES)?;
    let is_all = start.len() < detect::LOOKED_AT_BYTES;
    if start.is_empty() {
        return Err(TextError::Empty);
    }
    if let Some(program) = detect::compressor(&start) {
        return Err(TextError::Compressed { program });
    }
    let Some(format) = detect::detect(&start, is_all) else {
        return Err(TextError::Unknown {
            start: beginning(&start),
        });
    };
    if options.event.is_some() && format != Format::PerfScript {
        return Err(TextError::NoEvents { format });
    }
    let mut lines = Lines::new(start, input);
    let collapsed = match format {
        Format::PerfScript => perf_script::collapse(&mut lines, options),
        Format::Folded => folded_in::collapse(&mut lines, options),
        foreign => foreign::collapse(lines, foreign, options),
    }?;
    if collapsed.tree.samples() == 0 {
        return Err(TextError::NoSamples { format });
    }
    Ok(collapsed)
}

/// What a decompressor calls unreadable is damage, not a failing disk.
fn of_gzip(error: TextError) -> TextError {
    match error {
        TextError::Read { byte, source } => TextError::Gzip { byte, source },
        other => other,
    }
}

/// The first bytes, up to `len`.
fn read_start(input: &mut impl Read, len: usize) -> Result<Vec<u8>, TextError> {
    let mut start = Vec::new();
    input
        .take(len as u64)
        .read_to_end(&mut start)
        .map_err(|source| TextError::Read {
            byte: start.len() as u64,
            source,
        })?;
    Ok(start)
}

fn line_error(line: Line<'_>, format: Format, what: &'static str) -> TextError {
    TextError::Line {
        at: line.at,
        format,
        what,
        text: beginning(line.text),
    }
}

/// As much of a foreign text as an error shows.
fn beginning(text: &[u8]) -> String {
    const SHOWN_CHARS: usize = 60;
    let text = text.get(..8 * SHOWN_CHARS).unwrap_or(text);
    let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or(text);
    clean_line(&String::from_utf8_lossy(first_line), SHOWN_CHARS).into_owned()
}
