//! One stream of records: a file's data, a pipe, or one file of a directory; plain or compressed.

use super::PerfDataError;
use super::bytes::ByteOrder;
use super::chunk::{CHUNK_BYTES, Chunk};
use super::inflate::Inflater;
use super::source::Source;
use super::walk::{COMPRESSED2, Origin, Stop, Walk};
use std::collections::VecDeque;

/// Decompressed bytes are walked when there are this many of them.
const INFLATED_BYTES: usize = 256 << 10;

/// What marks the rounds of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoundMarks {
    /// FINISHED_ROUND records.
    Records,
    /// Nothing: the files of a directory are read side by side, and each would mark its own.
    None,
}

/// A stream and what is left over of its last chunk.
pub(crate) struct Stream {
    pub(crate) source: Source,
    order: ByteOrder,
    marks: RoundMarks,
    /// The start of a record whose rest comes with the next chunk.
    carry: Vec<u8>,
    largest_window_bytes: u64,
    inflated: Option<Inflated>,
    pub(crate) is_at_end: bool,
}

/// What was decompressed.
struct Inflated {
    inflater: Inflater,
    /// Bytes that were not walked.
    bytes: Vec<u8>,
    /// Position in the decompressed stream of the first of them.
    position: u64,
    /// Positions at which a round ends: its mark is not compressed and runs ahead.
    round_ends: VecDeque<u64>,
}

impl Stream {
    pub(crate) fn new(
        source: Source,
        order: ByteOrder,
        marks: RoundMarks,
        largest_window_bytes: u64,
    ) -> Self {
        Self {
            source,
            order,
            marks,
            carry: Vec::new(),
            largest_window_bytes,
            inflated: None,
            is_at_end: false,
        }
    }

    /// Bytes of a record that is not whole: at the end, those that are cut off.
    pub(crate) fn carried_bytes(&self) -> u64 {
        let inflated = self
            .inflated
            .as_ref()
            .map_or(0, |inflated| inflated.bytes.len());
        (self.carry.len() + inflated) as u64
    }

    /// Length of the record that is cut off, as far as its header is there.
    pub(crate) fn wanted_bytes(&self) -> u64 {
        let inflated = self.inflated.as_ref().map(|inflated| &inflated.bytes);
        let cut = Some(&self.carry)
            .filter(|carry| !carry.is_empty())
            .or(inflated);
        let size = cut.and_then(|cut| cut.get(6..)?.first_chunk::<2>());
        size.map_or(8, |size| u64::from(self.order.u16(*size)))
    }

    /// Takes this stream for one of several that are read side by side.
    pub(crate) fn ignore_round_marks(&mut self) {
        self.marks = RoundMarks::None;
    }

    /// Reads and walks one chunk. On damage, what came before it was sent.
    pub(crate) fn step(&mut self, walk: &mut Walk<'_>) -> Result<(), PerfDataError> {
        let mut bytes = walk.spare.buffer();
        let carried = self.carry.len();
        let Some((start, room)) = bytes.split_at_mut_checked(carried) else {
            return Ok(());
        };
        start.copy_from_slice(&self.carry);
        let offset = self.source.offset() - carried as u64;
        let filled = carried + self.source.fill(room)?;
        self.is_at_end = filled < CHUNK_BYTES;
        let mut at = 0;
        let walked = self.walk(walk, &mut bytes, filled, &mut at, offset);
        self.carry.clear();
        if walked.is_ok() {
            self.carry
                .extend_from_slice(bytes.get(at..filled).unwrap_or_default());
        }
        walk.send(Chunk {
            bytes,
            offset,
            is_inflated: false,
        });
        walked?;
        if let Some(inflated) = &mut self.inflated {
            // What is decompressed must not wait for more than the chunk it came with.
            inflated.walk(walk, offset, self.order)?;
        }
        Ok(())
    }

    fn walk(
        &mut self,
        walk: &mut Walk<'_>,
        bytes: &mut [u8],
        filled: usize,
        at: &mut usize,
        offset: u64,
    ) -> Result<(), PerfDataError> {
        let origin = Origin {
            offset,
            order: self.order,
            is_inflated: false,
        };
        loop {
            let Some(whole) = bytes.get_mut(..filled) else {
                return Ok(());
            };
            match walk.records(whole, at, origin)? {
                Stop::NeedsMore => return Ok(()),
                Stop::RoundEnd => self.end_round(walk),
                Stop::Talk => {
                    *at = filled;
                    self.is_at_end = true;
                    return Ok(());
                }
                Stop::Extra(len_bytes) => {
                    let here = (filled - *at) as u64;
                    *at += len_bytes.min(here) as usize;
                    let behind = len_bytes.saturating_sub(here);
                    let skipped = self.source.skip(behind)?;
                    if skipped < behind {
                        return Err(PerfDataError::Truncated {
                            offset: offset + *at as u64,
                            what: "bytes behind a record",
                            wanted_bytes: behind,
                            found_bytes: skipped,
                        });
                    }
                }
                Stop::Compressed { kind, size } => {
                    if walk.has_places() {
                        // The decompressed records must not be sent before those they follow.
                        walk.send(Chunk {
                            bytes: whole.get(..*at).unwrap_or_default().to_vec(),
                            offset,
                            is_inflated: false,
                        });
                    }
                    let record = whole.get(*at..*at + size).unwrap_or_default();
                    self.inflate(walk, kind, record, offset + *at as u64)?;
                    *at += size;
                    if walk.is_stopped {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn end_round(&mut self, walk: &mut Walk<'_>) {
        if self.marks == RoundMarks::None {
            return;
        }
        match &mut self.inflated {
            None => walk.rounds.end_round(),
            // Where the position is not known the round has no end: a longer one sorts as well.
            Some(inflated) => inflated.round_ends.extend(inflated.inflater.position()),
        }
    }

    fn inflate(
        &mut self,
        walk: &mut Walk<'_>,
        kind: u32,
        record: &[u8],
        offset: u64,
    ) -> Result<(), PerfDataError> {
        let compressed = match kind {
            COMPRESSED2 => sized_content(record, self.order),
            _ => record.get(8..),
        };
        let compressed = compressed.ok_or(PerfDataError::Truncated {
            offset,
            what: "compressed record",
            wanted_bytes: 16,
            found_bytes: record.len() as u64,
        })?;
        let inflated = self.inflated.get_or_insert_with(|| Inflated {
            inflater: Inflater::new(self.largest_window_bytes),
            bytes: Vec::new(),
            position: 0,
            round_ends: VecDeque::new(),
        });
        inflated.inflater.push(compressed);
        loop {
            let stepped = inflated.inflater.step(&mut inflated.bytes);
            let goes_on = stepped.map_err(|reason| PerfDataError::Zstd { offset, reason });
            if goes_on.is_err() || inflated.bytes.len() >= INFLATED_BYTES {
                inflated.walk(walk, offset, self.order)?;
            }
            if !goes_on? || walk.is_stopped {
                return Ok(());
            }
        }
    }

    /// Walks what the decoder kept back for the end.
    pub(crate) fn finish(&mut self, walk: &mut Walk<'_>) -> Result<(), PerfDataError> {
        let Some(inflated) = &mut self.inflated else {
            return Ok(());
        };
        let offset = self.source.offset();
        let finished = inflated.inflater.finish(&mut inflated.bytes);
        inflated.walk(walk, offset, self.order)?;
        finished.map_err(|reason| PerfDataError::Zstd { offset, reason })
    }
}

impl Inflated {
    /// Walks the decompressed bytes, ends the rounds that end in them, and keeps the start of a
    /// record that is not whole.
    fn walk(
        &mut self,
        walk: &mut Walk<'_>,
        offset: u64,
        order: ByteOrder,
    ) -> Result<(), PerfDataError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        let origin = Origin {
            offset,
            order,
            is_inflated: true,
        };
        let mut at = 0;
        let walked = loop {
            let round_end = self
                .round_ends
                .front()
                .map(|end| end.saturating_sub(self.position));
            let until = round_end
                .and_then(|end| usize::try_from(end).ok())
                .filter(|end| *end <= bytes.len());
            let end = until.unwrap_or(bytes.len());
            let part = bytes.get_mut(..end);
            match walk.records(part.unwrap_or_default(), &mut at, origin) {
                Ok(Stop::NeedsMore) if until.is_some() => {
                    self.round_ends.pop_front();
                    walk.rounds.end_round();
                }
                Ok(Stop::NeedsMore) => break Ok(()),
                Ok(Stop::RoundEnd) => walk.rounds.end_round(),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        if walked.is_ok() {
            self.bytes = bytes.get(at..).unwrap_or_default().to_vec();
        }
        self.position += at as u64;
        walk.send(Chunk {
            bytes,
            offset,
            is_inflated: true,
        });
        walked
    }
}

/// COMPRESSED2: `u64 data_size`, the data, padding to eight bytes.
fn sized_content(record: &[u8], order: ByteOrder) -> Option<&[u8]> {
    let (len, content) = record.get(8..)?.split_first_chunk::<8>()?;
    content.get(..usize::try_from(order.u64(*len)).ok()?)
}
