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
#[cfg(test)]
mod tests;

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;

pub use collapsed::{Collapsed, Counted, LeftOut};
pub use detect::Format;
pub use error::TextError;
pub use lines::Place;
pub(crate) use perf_frame::{NO_JIT_SYMBOL, NO_KERNEL_SYMBOL};

use crate::clean::clean_line;
use lines::{Line, Lines, Packing};

/// What is wanted of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// The event whose samples are drawn, as the text names it; the first one if `None`.
    pub event: Option<String>,
    /// What a sample of `perf script` counts. All other texts have counts of their own, and anything but
    /// the default is an error.
    pub weight: Weight,
    /// What is done with lines that are not understood.
    pub bad_lines: OnBadLine,
}

/// What a sample counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// Its period where the text tells it, else one, as stackcollapse-perf.pl has it.
    #[default]
    PeriodOrOne,
    /// Its period; a text that tells none is an error.
    Period,
    /// One.
    One,
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
    let (start, error) = read_start(&mut input, GZIP_MAGIC.len());
    let is_gzip = start == GZIP_MAGIC;
    let input = io::Cursor::new(start).chain(Interrupted { error, input });
    if is_gzip {
        let packed = io::BufReader::with_capacity(READ_BYTES, input);
        unpacked(MultiGzDecoder::new(packed), Packing::Gzip, options)
    } else {
        unpacked(input, Packing::Plain, options)
    }
}

fn unpacked(
    mut input: impl Read,
    packing: Packing,
    options: &TextOptions,
) -> Result<Collapsed, TextError> {
    let (start, error) = read_start(&mut input, detect::LOOKED_AT_BYTES);
    if start.is_empty() {
        return Err(error.map_or(TextError::Empty, |error| packing.start_error(0, error)));
    }
    if let Some(program) = detect::compressor(&start) {
        return Err(TextError::Compressed { program });
    }
    // What is told before a text is looked for; the caller sees only the outside.
    if packing == Packing::Gzip && (start.starts_with(GZIP_MAGIC) || detect::is_perf_data(&start)) {
        return Err(TextError::Compressed { program: "gzip" });
    }
    let is_all = start.len() < detect::LOOKED_AT_BYTES;
    match (detect::detect(&start, is_all), error) {
        (Some(format), error) => {
            let lines = Lines::new(start, Interrupted { error, input }, packing);
            by_format(lines, format, options)
        }
        (None, Some(error)) => Err(packing.start_error(start.len() as u64, error)),
        (None, None) => Err(TextError::Unknown {
            start: beginning(&start),
        }),
    }
}

fn by_format(
    mut lines: Lines<impl Read>,
    format: Format,
    options: &TextOptions,
) -> Result<Collapsed, TextError> {
    if options.event.is_some() && format != Format::PerfScript {
        return Err(TextError::NoEvents { format });
    }
    if options.weight != Weight::PeriodOrOne && format != Format::PerfScript {
        return Err(TextError::OwnCounts { format });
    }
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

/// The first bytes, up to `len`, and why there are no more if it was an error.
fn read_start(input: &mut impl Read, len: usize) -> (Vec<u8>, Option<io::Error>) {
    let mut start = Vec::new();
    let error = input.take(len as u64).read_to_end(&mut start).err();
    (start, error)
}

/// An input that was already read as far as an error: it comes first, once.
struct Interrupted<R> {
    error: Option<io::Error>,
    input: R,
}

impl<R: Read> Read for Interrupted<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.input.read(room),
        }
    }
}

/// Gives lines one after another to `each`. Where that is wanted, what breaks the text off ends it:
/// its message is returned.
fn for_each_line(
    lines: &mut Lines<impl Read>,
    options: &TextOptions,
    mut each: impl FnMut(Line<'_>) -> Result<(), TextError>,
) -> Result<Option<String>, TextError> {
    loop {
        match lines.next_line() {
            Ok(Some(line)) => each(line)?,
            Ok(None) => return Ok(None),
            Err(error @ (TextError::Read { .. } | TextError::Gzip { .. }))
                if options.bad_lines == OnBadLine::LeaveOut =>
            {
                return Ok(Some(error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
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
