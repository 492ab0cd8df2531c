//! Where a recording's bytes come from: a file that can be read anywhere, or a stream that is read once.

use super::PerfDataError;
use super::header::Section;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// The records of a recording, read from front to back.
pub(crate) struct Source {
    from: From,
    /// File offset of the next byte.
    offset: u64,
    /// Where the records end; `None` where only the end of the input tells.
    end: Option<u64>,
}

enum From {
    File(File),
    Stream(Box<dyn Read + Send>),
}

impl Source {
    pub(crate) fn file(file: File, offset: u64, end: Option<u64>) -> Self {
        Self {
            from: From::File(file),
            offset,
            end,
        }
    }

    pub(crate) fn stream(stream: Box<dyn Read + Send>, offset: u64, end: Option<u64>) -> Self {
        Self {
            from: From::Stream(stream),
            offset,
            end,
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where the records should end, where the header says.
    pub(crate) fn end(&self) -> Option<u64> {
        self.end
    }

    /// Fills `buffer` as far as there are bytes; less than its length only at the end.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, PerfDataError> {
        let left = self
            .end
            .map_or(u64::MAX, |end| end.saturating_sub(self.offset));
        let wanted = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let mut filled = 0;
        while let Some(room) = buffer
            .get_mut(filled..wanted)
            .filter(|room| !room.is_empty())
        {
            let read = match &mut self.from {
                From::File(file) => file.read_at(room, self.offset),
                From::Stream(stream) => stream.read(room),
            };
            match read {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(PerfDataError::Read {
                        offset: self.offset,
                        source,
                    });
                }
            }
        }
        Ok(filled)
    }

    /// Passes over `len_bytes`; how many of them there were.
    pub(crate) fn skip(&mut self, len_bytes: u64) -> Result<u64, PerfDataError> {
        if let From::File(file) = &self.from {
            let source_len = file.metadata().map(|file| file.len());
            let len = source_len.map_err(|source| PerfDataError::Read {
                offset: self.offset,
                source,
            })?;
            let end = self.end.map_or(len, |end| end.min(len));
            let skipped = len_bytes.min(end.saturating_sub(self.offset));
            self.offset += skipped;
            return Ok(skipped);
        }
        let mut scratch = vec![0; 64 << 10];
        let mut skipped = 0;
        while skipped < len_bytes {
            let wanted = usize::try_from(len_bytes - skipped).unwrap_or(usize::MAX);
            let len = wanted.min(scratch.len());
            let count = self.fill(scratch.get_mut(..len).unwrap_or_default())?;
            skipped += count as u64;
            if count < len {
                break;
            }
        }
        Ok(skipped)
    }

    /// What a stream still has behind its records, up to `most_bytes`.
    pub(crate) fn tail(&mut self, most_bytes: u64) -> Vec<u8> {
        let mut tail = Vec::new();
        if let From::Stream(stream) = &mut self.from {
            // What cannot be read of it is missing, and said to be.
            let _ = stream.take(most_bytes).read_to_end(&mut tail);
        }
        tail
    }
}

/// The parts of a recording beside its records: a file, or what was kept of a stream.
pub(crate) enum Parts<'a> {
    File(&'a File),
    Kept {
        bytes: &'a [u8],
        /// File offset of the first of them.
        offset: u64,
    },
}

impl Parts<'_> {
    /// Reads a section; its length is checked against what there is, and against `most_bytes`.
    pub(crate) fn read(
        &self,
        section: Section,
        what: &'static str,
        most_bytes: u64,
    ) -> Result<Vec<u8>, PerfDataError> {
        let at = self.check(section, what, most_bytes)?;
        let Section { offset, len_bytes } = section;
        match self {
            Self::File(file) => {
                let mut bytes = vec![0; len_bytes as usize];
                file.read_exact_at(&mut bytes, offset)
                    .map_err(|source| PerfDataError::Read { offset, source })?;
                Ok(bytes)
            }
            Self::Kept { bytes, .. } => {
                let section = bytes.get(at as usize..(at + len_bytes) as usize);
                Ok(section.unwrap_or_default().to_vec())
            }
        }
    }

    /// The file offset behind what there is.
    pub(crate) fn end(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Kept { bytes, offset } => Ok(offset.saturating_add(bytes.len() as u64)),
        }
    }

    /// Whether a section is there, whole; its place in what there is.
    fn check(
        &self,
        section: Section,
        what: &'static str,
        most_bytes: u64,
    ) -> Result<u64, PerfDataError> {
        let Section { offset, len_bytes } = section;
        let end = self.end();
        let end = end.map_err(|source| PerfDataError::Read { offset, source })?;
        let start = match self {
            Self::File(_) => 0,
            Self::Kept { offset, .. } => *offset,
        };
        let found_bytes = match offset < start {
            true => 0,
            false => end.saturating_sub(offset).min(most_bytes),
        };
        if len_bytes <= found_bytes {
            return Ok(offset.saturating_sub(start));
        }
        Err(PerfDataError::Truncated {
            // Where a damaged header points to need not be in the file.
            offset: offset.min(end),
            what,
            wanted_bytes: len_bytes,
            found_bytes,
        })
    }
}
