//! Random access to an image's bytes, whoever holds them: a file of a container, memory, a test.

use std::io;

/// Bytes that are read in pieces. Opening and checking the file is the implementor's part.
pub(crate) trait ReadAt {
    /// How many bytes there are. It may shrink while we read: then `read_at` fails.
    fn len_bytes(&self) -> u64;

    /// Exactly `len_bytes` bytes from `offset`, or `UnexpectedEof`. The caller has checked the
    /// range against [`Self::len_bytes`] before, so that no length a file states is allocated.
    fn read_at(&self, offset: u64, len_bytes: u64) -> io::Result<Vec<u8>>;
}

impl ReadAt for [u8] {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, len_bytes: u64) -> io::Result<Vec<u8>> {
        let range = || {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(len_bytes).ok()?)?;
            self.get(start..end)
        };
        match range() {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl ReadAt for Vec<u8> {
    fn len_bytes(&self) -> u64 {
        self.as_slice().len_bytes()
    }

    fn read_at(&self, offset: u64, len_bytes: u64) -> io::Result<Vec<u8>> {
        self.as_slice().read_at(offset, len_bytes)
    }
}
