//! A regular file read by `pread` up to a limit: it may shrink, it cannot hurt.

use super::statx::{self, Freshness};
use super::{FileError, FileKind};
use rustix::buffer::spare_capacity;
use rustix::io::{pread, retry_on_intr};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// An open regular file whose length was taken, and checked against a limit, when it was opened.
/// Bytes added later are not seen; bytes taken away are an error. Never mapped: a target that
/// truncates a mapped file ends the reader by SIGBUS.
#[derive(Debug)]
pub struct BoundedFile {
    file: File,
    shown: PathBuf,
    len_bytes: u64,
    /// Where `Read` goes on: ours, since the descriptor's own is not used.
    position_bytes: u64,
}

impl BoundedFile {
    /// Takes `fd`, opened for reading, if it is regular and no larger than `limit_bytes`.
    pub(super) fn new(fd: OwnedFd, shown: PathBuf, limit_bytes: u64) -> Result<Self, FileError> {
        let stat = statx::of_fd(fd.as_fd(), Freshness::Current)
            .map_err(|source| FileError::from_io(&shown, source))?;
        if stat.kind != FileKind::Regular {
            return Err(FileError::NotRegular {
                path: shown,
                kind: stat.kind,
            });
        }
        if stat.size_bytes > limit_bytes {
            return Err(FileError::TooLarge {
                path: shown,
                size_bytes: stat.size_bytes,
                limit_bytes,
            });
        }
        Ok(Self {
            file: File::from(fd),
            shown,
            len_bytes: stat.size_bytes,
            position_bytes: 0,
        })
    }

    /// The file's length when it was opened.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The path it was held by, as the target sees it: for messages, never to be opened.
    pub fn shown_path(&self) -> &Path {
        &self.shown
    }

    /// `len_bytes` bytes from `offset_bytes`: all of them or an error. Nothing is allocated for a
    /// range that reaches past the end.
    pub fn read_at(&self, offset_bytes: u64, len_bytes: u64) -> Result<Vec<u8>, FileError> {
        let mut bytes = Vec::new();
        self.read_again(offset_bytes, len_bytes, &mut bytes)?;
        Ok(bytes)
    }

    /// [`Self::read_at`] into what was read into before; after an error nothing is said of what is in it.
    pub fn read_again(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<(), FileError> {
        let out_of_bounds = || FileError::OutOfBounds {
            path: self.shown.clone(),
            offset_bytes,
            len_bytes,
            size_bytes: self.len_bytes,
        };
        let end = offset_bytes.checked_add(len_bytes);
        if end.is_none_or(|end| end > self.len_bytes) {
            return Err(out_of_bounds());
        }
        let len = usize::try_from(len_bytes).map_err(|_| out_of_bounds())?;
        bytes.clear();
        bytes.reserve_exact(len);
        while bytes.len() < len {
            let at = offset_bytes + bytes.len() as u64;
            // No byte is written twice: not zeroed before.
            self.read_some(at, || pread(&self.file, spare_capacity(bytes), at))?;
        }
        // There may be more room than was asked for.
        bytes.truncate(len);
        Ok(())
    }

    /// The whole file.
    pub fn read_all(&self) -> Result<Vec<u8>, FileError> {
        self.read_at(0, self.len_bytes)
    }

    /// What `read` gives, which reads from `offset_bytes`, within the length: at least one byte.
    fn read_some(
        &self,
        offset_bytes: u64,
        read: impl FnMut() -> rustix::io::Result<usize>,
    ) -> Result<usize, FileError> {
        match retry_on_intr(read) {
            Ok(0) => Err(FileError::Shrunk {
                path: self.shown.clone(),
                size_bytes: self.len_bytes,
                end_bytes: self.end_now(offset_bytes),
            }),
            Ok(count) => Ok(count),
            Err(error) => Err(FileError::Io {
                path: self.shown.clone(),
                source: error.into(),
            }),
        }
    }

    fn end_now(&self, at_most_bytes: u64) -> u64 {
        statx::of_fd(self.file.as_fd(), Freshness::Cached)
            .map_or(at_most_bytes, |stat| stat.size_bytes.min(at_most_bytes))
    }
}

impl Read for BoundedFile {
    /// Ends at the length that was taken when the file was opened; a file that ends before it is
    /// `UnexpectedEof` with a [`FileError::Shrunk`] inside.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.len_bytes.saturating_sub(self.position_bytes);
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let Some(wanted) = buffer.get_mut(..wanted).filter(|slice| !slice.is_empty()) else {
            return Ok(0);
        };
        let at = self.position_bytes;
        let count = self
            .read_some(at, || pread(&self.file, &mut *wanted, at))
            .map_err(|error| match error {
                FileError::Shrunk { .. } => io::Error::new(io::ErrorKind::UnexpectedEof, error),
                _ => io::Error::other(error),
            })?;
        self.position_bytes += count as u64;
        Ok(count)
    }
}

impl Seek for BoundedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.len_bytes.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position_bytes.checked_add_signed(delta),
        };
        self.position_bytes = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt as _;

    fn bounded(content: &[u8], limit_bytes: u64) -> (File, Result<BoundedFile, FileError>) {
        let file = tempfile::tempfile().expect("a temporary file");
        file.write_all_at(content, 0).expect("writes");
        let fd = OwnedFd::from(file.try_clone().expect("a second descriptor"));
        (file, BoundedFile::new(fd, "/x".into(), limit_bytes))
    }

    #[test]
    fn a_range_is_read_whole_or_not_at_all() {
        let (_, opened) = bounded(b"0123456789", 10);
        let opened = opened.expect("ten bytes are within ten");
        assert_eq!(opened.len_bytes(), 10);
        assert_eq!(opened.read_at(3, 4).expect("inside"), b"3456");
        assert_eq!(opened.read_at(10, 0).expect("nothing at the end"), b"");
        assert_eq!(opened.read_all().expect("all"), b"0123456789");
        let mut again = vec![7; 100];
        opened.read_again(2, 3, &mut again).expect("inside");
        assert_eq!(again, b"234", "what was there before is gone");
        for (offset, len) in [(0, 11), (10, 1), (11, 0), (u64::MAX, 1), (1, u64::MAX)] {
            assert!(
                matches!(
                    opened.read_at(offset, len),
                    Err(FileError::OutOfBounds { .. })
                ),
                "read {len} bytes at {offset}"
            );
        }
    }

    #[test]
    fn a_file_one_byte_over_the_limit_is_refused() {
        let (_, opened) = bounded(b"0123456789", 9);
        assert!(matches!(
            opened,
            Err(FileError::TooLarge {
                size_bytes: 10,
                limit_bytes: 9,
                ..
            })
        ));
    }

    #[test]
    fn a_file_that_shrank_is_an_error_and_says_where_it_ends() {
        let (file, opened) = bounded(&[7; 10_000], 10_000);
        let mut opened = opened.expect("within the limit");
        file.set_len(4_000).expect("truncates");
        match opened.read_all() {
            Err(FileError::Shrunk {
                size_bytes,
                end_bytes,
                ..
            }) => {
                assert_eq!((size_bytes, end_bytes), (10_000, 4_000));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(opened.read_at(0, 4_000).expect("still there"), [7; 4_000]);
        let mut streamed = Vec::new();
        let error = opened.read_to_end(&mut streamed).expect_err("shrank");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(streamed.len(), 4_000);
    }

    #[test]
    fn a_stream_ends_at_the_length_taken_at_the_start() {
        let (file, opened) = bounded(b"0123456789", 10);
        let mut opened = opened.expect("within the limit");
        file.write_all_at(b"more", 10).expect("grows");
        let mut text = String::new();
        assert_eq!(opened.read_to_string(&mut text).expect("reads"), 10);
        assert_eq!(text, "0123456789");
        assert_eq!(opened.seek(SeekFrom::End(-2)).expect("seeks"), 8);
        let mut tail = Vec::new();
        opened.read_to_end(&mut tail).expect("reads");
        assert_eq!(tail, b"89");
        assert!(opened.seek(SeekFrom::Current(-11)).is_err());
        assert_eq!(opened.seek(SeekFrom::Start(99)).expect("past the end"), 99);
        assert_eq!(opened.read(&mut [0; 4]).expect("nothing there"), 0);
    }
}
