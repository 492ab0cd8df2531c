//! Random access to an image's bytes, whoever holds them: a file of a container, memory, a test.

use std::io;

/// Bytes that are read in pieces. Opening and checking the file is the implementor's part.
pub(crate) trait ReadAt {
    /// How many bytes there are. It may shrink while we read: then `read_at` fails.
    fn len_bytes(&self) -> u64;

    /// Exactly `len_bytes` bytes from `offset`, or `UnexpectedEof`. The caller has checked the
    /// range against [`Self::len_bytes`] before, so that no length a file states is allocated.
    fn read_at(&self, offset: u64, len_bytes: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_again(offset, len_bytes, &mut bytes)?;
        Ok(bytes)
    }

    /// [`Self::read_at`] into what was read into before; after an error nothing is said of what is in it.
    fn read_again(&self, offset: u64, len_bytes: u64, bytes: &mut Vec<u8>) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_again(&self, offset: u64, len_bytes: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        let range = || {
            let start = usize::try_from(offset).ok()?;
            let end = start.checked_add(usize::try_from(len_bytes).ok()?)?;
            self.get(start..end)
        };
        match range() {
            Some(found) => {
                bytes.clear();
                bytes.extend_from_slice(found);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl ReadAt for Vec<u8> {
    fn len_bytes(&self) -> u64 {
        self.as_slice().len_bytes()
    }

    fn read_again(&self, offset: u64, len_bytes: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.as_slice().read_again(offset, len_bytes, bytes)
    }
}
