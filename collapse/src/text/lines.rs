//! The lines of a stream, in a buffer that never holds more than one line and one read.

use std::io::{self, Read};

use super::TextError;

/// Longer than any stack that a profiler writes: 2048 frames of 8 KiB each.
const LINE_BYTES_MAX: usize = 16 << 20;
const READ_BYTES: usize = 256 << 10;

/// One line, without its end (`\n` or `\r\n`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    /// Where it is.
    pub(super) at: Place,
    /// Whether an end of line follows. Only the last line of a text may lack it.
    pub(super) is_ended: bool,
}

/// Where a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1; 0 before the first line.
    pub line: u64,
    /// The line's first byte, of the text after any decompression.
    pub byte: u64,
}

/// Reads lines; see [`Lines::next_line`].
pub(super) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// The line that comes next begins here.
    start: usize,
    /// How far the buffer is filled.
    end: usize,
    at: Place,
    packing: Packing,
}

/// What the text came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
}

impl Packing {
    /// What a decompressor calls unreadable is damage, not a failing disk.
    pub(super) fn error(self, byte: u64, source: io::Error) -> TextError {
        match self {
            Self::Plain => TextError::Read { byte, source },
            Self::Gzip => TextError::Gzip { byte, source },
        }
    }

    /// The same, before it is known what the text is.
    pub(super) fn start_error(self, byte: u64, source: io::Error) -> TextError {
        match self {
            Self::Plain => TextError::Read { byte, source },
            Self::Gzip => TextError::GzipStart { source },
        }
    }
}

impl<R: Read> Lines<R> {
    /// `begun` is what was already read of the input.
    pub(super) fn new(begun: Vec<u8>, input: R, packing: Packing) -> Self {
        let end = begun.len();
        // Editors and shells of Windows begin texts with a byte order mark.
        let start = match begun.starts_with(b"\xef\xbb\xbf") {
            true => 3,
            false => 0,
        };
        Self {
            input,
            buffer: begun,
            start,
            end,
            at: Place {
                line: 0,
                byte: start as u64,
            },
            packing,
        }
    }

    /// The next line; `None` behind the last one.
    ///
    /// # Errors
    /// The input's own, and a line longer than 16 MiB.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, TextError> {
        let mut seen = self.start;
        let newline = loop {
            let unseen = self.buffer.get(seen..self.end).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', unseen) {
                break Some(seen + found);
            }
            let held = self.end - self.start;
            if held > LINE_BYTES_MAX {
                return Err(TextError::LongLine {
                    at: self.coming(),
                    limit_bytes: LINE_BYTES_MAX,
                });
            }
            let read = self.read_more()?;
            seen = self.start + held;
            if read == 0 {
                break None;
            }
        };
        let (line_end, next) = match newline {
            Some(newline) => (newline, newline + 1),
            None if self.start == self.end => return Ok(None),
            None => (self.end, self.end),
        };
        let at = self.coming();
        self.at.line = at.line;
        self.at.byte += (next - self.start) as u64;
        let text = self.buffer.get(self.start..line_end).unwrap_or_default();
        self.start = next;
        Ok(Some(Line {
            text: text.strip_suffix(b"\r").unwrap_or(text),
            at,
            is_ended: newline.is_some(),
        }))
    }

    /// Where the line is that comes next.
    fn coming(&self) -> Place {
        Place {
            line: self.at.line + 1,
            byte: self.at.byte,
        }
    }

    /// Moves the begun line to the front and reads behind it. Returns how much: 0 at the end.
    fn read_more(&mut self) -> Result<usize, TextError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let wanted = self.end + READ_BYTES;
        if self.buffer.len() < wanted {
            // Twice as much each time: a long line is not moved over and over.
            self.buffer.resize(wanted.max(2 * self.end), 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let byte = self.at.byte + self.end as u64;
        let read =
            read_some(&mut self.input, room).map_err(|source| self.packing.error(byte, source))?;
        self.end += read;
        Ok(read)
    }
}

/// One read that no signal ends.
pub(super) fn read_some(input: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(room) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let room = room.get_mut(..1).unwrap_or_default();
            self.0.read(room)
        }
    }

    fn all(begun: &[u8], rest: &[u8]) -> Vec<(String, u64, u64, bool)> {
        let mut lines = Lines::new(begun.to_vec(), Trickle(rest), Packing::Plain);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push((
                String::from_utf8_lossy(line.text).into_owned(),
                line.at.line,
                line.at.byte,
                line.is_ended,
            ));
        }
        found
    }

    #[test]
    fn lines_are_told_with_their_places_wherever_reads_end() {
        let text = b"one\n\ntwo\r\nthree";
        let expected = [
            ("one", 1, 0, true),
            ("", 2, 4, true),
            ("two", 3, 5, true),
            ("three", 4, 10, false),
        ]
        .map(|(text, line, byte, ended)| (text.to_owned(), line, byte, ended));
        for begun in 0..=text.len() {
            let (begun, rest) = text.split_at(begun);
            assert_eq!(all(begun, rest), expected);
        }
    }

    #[test]
    fn a_line_without_end_is_an_error_before_it_fills_the_memory() {
        let mut lines = Lines::new(b"short\n".to_vec(), io::repeat(b'x'), Packing::Plain);
        assert_eq!(lines.next_line().unwrap().unwrap().text, b"short");
        let Err(TextError::LongLine { at, .. }) = lines.next_line() else {
            panic!("a line without end was read")
        };
        assert_eq!(at, Place { line: 2, byte: 6 });
        assert!(lines.buffer.len() <= 4 * LINE_BYTES_MAX);
    }
}
