//! A cursor over one record's bytes: no allocation, no panic, every overrun an error with its offset.

use super::RecordError;

/// Reads host-order integers one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// Bytes already read, counted from the record's first byte.
    offset_bytes: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor over `bytes`, which lie `offset_bytes` into their record.
    pub(crate) fn new(bytes: &'a [u8], offset_bytes: usize) -> Self {
        Self {
            bytes,
            offset_bytes,
        }
    }

    /// What is left to read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// The next `len_bytes` bytes.
    pub(crate) fn take(&mut self, len_bytes: usize) -> Result<&'a [u8], RecordError> {
        match self.bytes.split_at_checked(len_bytes) {
            Some((taken, rest)) => {
                self.bytes = rest;
                self.offset_bytes += len_bytes;
                Ok(taken)
            }
            None => Err(RecordError::Truncated {
                offset_bytes: self.offset_bytes,
                wanted_bytes: len_bytes,
                found_bytes: self.bytes.len(),
            }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        match self.bytes.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.bytes = rest;
                self.offset_bytes += N;
                Ok(*taken)
            }
            None => Err(RecordError::Truncated {
                offset_bytes: self.offset_bytes,
                wanted_bytes: N,
                found_bytes: self.bytes.len(),
            }),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, RecordError> {
        Ok(u16::from_ne_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_ne_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, RecordError> {
        Ok(u64::from_ne_bytes(self.array()?))
    }

    /// `count` eight-byte words, where `count` came from the record: checked before it is used.
    pub(crate) fn words(&mut self, count: u64) -> Result<&'a [[u8; 8]], RecordError> {
        let len_bytes = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(8))
            .ok_or(RecordError::Truncated {
                offset_bytes: self.offset_bytes,
                wanted_bytes: usize::MAX,
                found_bytes: self.bytes.len(),
            })?;
        let (words, _) = self.take(len_bytes)?.as_chunks::<8>();
        Ok(words)
    }

    /// Skips `count` eight-byte words.
    pub(crate) fn skip_words(&mut self, count: u64) -> Result<(), RecordError> {
        self.words(count).map(|_| ())
    }

    /// A NUL-terminated string that fills the rest, padding and all; without its NUL. A string that
    /// was cut before its NUL is taken as far as it goes.
    pub(crate) fn c_string_to_end(&mut self) -> &'a [u8] {
        let rest = std::mem::take(&mut self.bytes);
        self.offset_bytes += rest.len();
        match rest.iter().position(|byte| *byte == 0) {
            Some(end) => rest.get(..end).unwrap_or(rest),
            None => rest,
        }
    }
}
