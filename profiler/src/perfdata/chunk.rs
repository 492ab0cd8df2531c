//! Pieces of a recording on their way from the reading thread to the delivering one.

use super::events::EventTable;
use std::sync::{Arc, Mutex};

/// Bytes that are read at once: small enough to stay in a CPU's cache until they are delivered,
/// large enough that a system call each is nothing. Longer than any record.
pub(crate) const CHUNK_BYTES: usize = 512 << 10;
/// Buffers that are kept for the next chunk.
const MOST_SPARE: usize = 32;

/// A list that grew beyond this, for a round without an end, is not kept.
const MOST_SPARE_ENTRIES: usize = 64 << 10;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Number of the chunk.
    pub(crate) chunk: u32,
    /// Offset in it.
    pub(crate) at: u32,
    /// Its length: a `u16` in its header.
    pub(crate) len_bytes: u16,
    /// The event that says how it is laid out.
    pub(crate) event: u16,
}

/// A record's place and time; 0 where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) time_ns: u64,
    pub(crate) place: Place,
}

/// Whole records in host byte order.
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// File offset of the first byte; of decompressed ones, of the record that they came from.
    pub(crate) offset: u64,
    pub(crate) is_inflated: bool,
}

impl Chunk {
    /// The place in the file of what is at `at`.
    pub(crate) fn offset_of(&self, at: u32) -> u64 {
        match self.is_inflated {
            true => self.offset,
            false => self.offset + u64::from(at),
        }
    }
}

/// From the reading side to the delivering one.
pub(crate) enum Message {
    /// The next chunk; they are numbered from 0.
    Chunk(Chunk),
    /// Records to deliver, in this order, and the first chunk that is needed afterwards.
    Deliver {
        entries: Vec<Entry>,
        events: Arc<EventTable>,
        keep_from: u32,
    },
}

/// Buffers that were used and can be used again: their pages are there already.
#[derive(Default)]
pub(crate) struct Spare {
    buffers: Mutex<Vec<Vec<u8>>>,
    entries: Mutex<Vec<Vec<Entry>>>,
}

impl Spare {
    /// A buffer of [`CHUNK_BYTES`], of any content.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        let spare = self.buffers.lock().ok().and_then(|mut spare| spare.pop());
        spare.unwrap_or_else(|| vec![0; CHUNK_BYTES])
    }

    pub(crate) fn return_buffer(&self, buffer: Vec<u8>) {
        if buffer.len() == CHUNK_BYTES
            && let Ok(mut spare) = self.buffers.lock()
            && spare.len() < MOST_SPARE
        {
            spare.push(buffer);
        }
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let spare = self.entries.lock().ok().and_then(|mut spare| spare.pop());
        spare.unwrap_or_default()
    }

    pub(crate) fn return_entries(&self, mut entries: Vec<Entry>) {
        entries.clear();
        if entries.capacity() <= MOST_SPARE_ENTRIES
            && let Ok(mut spare) = self.entries.lock()
            && spare.len() < MOST_SPARE
        {
            spare.push(entries);
        }
    }
}
