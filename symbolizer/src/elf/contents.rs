//! What is in sections, by their names, inflated where they are compressed, up to what the caller allows.

use super::headers::{Class, Headers, Section, bytes_again, bytes_at, is_there};
use super::sections::SectionNames;
use super::{ElfError, ElfLimits, ReadAt};
use flate2::{Decompress, FlushDecompress, Status};
use object::elf;
use object::{Endian as _, Endianness};
use ruzstd::decoding::StreamingDecoder;
use std::io::{self, Read};

/// `Chdr`'s size: `ch_type`, padding, `ch_size`, `ch_addralign` (elf(5)); 12 of 32-bit images.
const CHDR64_BYTES: u64 = 24;
const CHDR32_BYTES: u64 = 12;
/// In front of `.zdebug_*`, GNU's older way: `ZLIB` and the size, big-endian.
const ZDEBUG_MAGIC: &[u8] = b"ZLIB";
const ZDEBUG_BYTES: u64 = 12;
/// What is allocated at once for what a section says it inflates to. The rest comes as it is needed.
const FIRST_BYTES: u64 = 16 << 20;
/// Compressed bytes read at once: they stay in a CPU's cache.
const PIECE_BYTES: u64 = 96 << 10;
/// Largest window of a zstd frame: what `zstd --ultra --long=27` writes, and its decoder takes.
const ZSTD_WINDOW_MAX: u64 = 128 << 20;

/// The sections of an image, to be read.
#[derive(Debug)]
pub(crate) struct Contents {
    headers: Headers,
    names: SectionNames,
}

/// Where a section's content is and what it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inflated {
    /// In the file.
    offset: u64,
    len_bytes: u64,
    method: Method,
    /// Once it is inflated.
    pub(crate) inflated_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Plain,
    Zlib,
    Zstd,
}

impl Contents {
    pub(crate) fn read<R: ReadAt + ?Sized>(
        image: &R,
        limits: &ElfLimits,
    ) -> Result<Self, ElfError> {
        let headers = Headers::read(image, limits)?;
        let names = SectionNames::read(image, &headers)?;
        Ok(Self { headers, names })
    }

    /// The byte order of all that is in it.
    pub(crate) fn endian(&self) -> Endianness {
        self.headers.endian
    }

    /// Whether a section of this name has content in the file: `strip` leaves some as `NOBITS`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(name).is_some_and(|section| section.len > 0)
    }

    fn find(&self, name: &str) -> Option<&Section> {
        let mut sections = self.headers.sections.iter();
        sections.find(|section| section.kind != elf::SHT_NOBITS && self.names.is(section, name))
    }

    /// Where a section is, by its name; for `.debug_x` also what older tools compressed as `.zdebug_x`.
    pub(crate) fn locate<R: ReadAt + ?Sized>(
        &self,
        image: &R,
        name: &'static str,
    ) -> Result<Option<Inflated>, ElfError> {
        if let Some(section) = self.find(name) {
            return match section.compressed {
                true => self.compressed(image, name, section).map(Some),
                false => Ok(Some(Inflated {
                    offset: section.offset,
                    len_bytes: section.len,
                    method: Method::Plain,
                    inflated_bytes: section.len,
                })),
            };
        }
        let Some(rest) = name.strip_prefix(".debug_") else {
            return Ok(None);
        };
        let Some(section) = self.find(&format!(".zdebug_{rest}")) else {
            return Ok(None);
        };
        let head = bytes_at(image, name, section.offset, ZDEBUG_BYTES.min(section.len))?;
        let size = head.strip_prefix(ZDEBUG_MAGIC).and_then(|size| {
            let size = size.first_chunk::<8>()?;
            Some(u64::from_be_bytes(*size))
        });
        match size {
            Some(inflated_bytes) => Ok(Some(Inflated {
                offset: section.offset.saturating_add(ZDEBUG_BYTES),
                len_bytes: section.len - ZDEBUG_BYTES,
                method: Method::Zlib,
                inflated_bytes,
            })),
            None => Err(ElfError::Compressed {
                what: name,
                source: None,
            }),
        }
    }

    fn compressed<R: ReadAt + ?Sized>(
        &self,
        image: &R,
        what: &'static str,
        section: &Section,
    ) -> Result<Inflated, ElfError> {
        let head_bytes = match self.headers.class {
            Class::Elf64 => CHDR64_BYTES,
            Class::Elf32 => CHDR32_BYTES,
        };
        let head = bytes_at(image, what, section.offset, head_bytes.min(section.len))?;
        let endian = self.headers.endian;
        let word = |at: usize| {
            let bytes = head.get(at..)?.first_chunk::<4>()?;
            Some(endian.read_u32(*bytes))
        };
        let long = |at: usize| {
            let bytes = head.get(at..)?.first_chunk::<8>()?;
            Some(endian.read_u64(*bytes))
        };
        let size = match self.headers.class {
            Class::Elf64 => long(8),
            Class::Elf32 => word(4).map(u64::from),
        };
        let method = match word(0) {
            Some(1) => Some(Method::Zlib),
            Some(2) => Some(Method::Zstd),
            _ => None,
        };
        match (method, size, section.len.checked_sub(head_bytes)) {
            (Some(method), Some(inflated_bytes), Some(len_bytes)) => Ok(Inflated {
                offset: section.offset.saturating_add(head_bytes),
                len_bytes,
                method,
                inflated_bytes,
            }),
            _ => Err(ElfError::Compressed { what, source: None }),
        }
    }
}

fn failed(what: &'static str, source: io::Error) -> ElfError {
    ElfError::Compressed {
        what,
        source: Some(source),
    }
}

impl Inflated {
    /// The content. The caller has checked [`Self::inflated_bytes`]; no more than that comes out, and
    /// less is an error.
    pub(crate) fn read<R: ReadAt + ?Sized>(
        &self,
        image: &R,
        what: &'static str,
    ) -> Result<Vec<u8>, ElfError> {
        let stored = || bytes_at(image, what, self.offset, self.len_bytes);
        match self.method {
            Method::Plain => stored(),
            Method::Zlib => self.zlib(image, what),
            Method::Zstd => self.zstd(&stored()?).map_err(|error| failed(what, error)),
        }
    }

    /// Linkers that compress with several threads write several frames.
    fn zstd(&self, mut stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(self.inflated_bytes.min(FIRST_BYTES) as usize);
        while !stored.is_empty() && (bytes.len() as u64) < self.inflated_bytes {
            let left_bytes = self.inflated_bytes - bytes.len() as u64;
            let frame = StreamingDecoder::new_with_max_window_size(&mut stored, ZSTD_WINDOW_MAX);
            frame
                .map_err(io::Error::other)?
                .take(left_bytes)
                .read_to_end(&mut bytes)?;
        }
        self.all_of(bytes)
    }

    /// What is stored is read piece by piece, into memory that is written again and again.
    fn zlib<R: ReadAt + ?Sized>(&self, image: &R, what: &'static str) -> Result<Vec<u8>, ElfError> {
        let failed = |error| failed(what, error);
        is_there(image, what, (self.offset, self.len_bytes))?;
        let mut bytes = Vec::with_capacity(self.inflated_bytes.min(FIRST_BYTES) as usize);
        let mut inflating = Decompress::new(true);
        let (mut stored, mut read_bytes) = (Vec::new(), 0);
        while (bytes.len() as u64) < self.inflated_bytes {
            if bytes.len() == bytes.capacity() {
                let left_bytes = self.inflated_bytes - bytes.len() as u64;
                bytes.reserve_exact(left_bytes.min(bytes.len() as u64) as usize);
            }
            let (taken, given) = (inflating.total_in(), inflating.total_out());
            if taken == read_bytes {
                let place = self.offset.saturating_add(read_bytes);
                let piece = PIECE_BYTES.min(self.len_bytes - read_bytes);
                bytes_again(image, what, (place, piece), &mut stored)?;
                read_bytes += piece;
            }
            let left = (read_bytes - taken) as usize;
            let rest = stored.len().checked_sub(left);
            let rest = rest.and_then(|at| stored.get(at..)).unwrap_or_default();
            // With all of it at hand and room for what becomes of it, no window is kept.
            let flush = match read_bytes == self.len_bytes {
                true => FlushDecompress::Finish,
                false => FlushDecompress::None,
            };
            let status = inflating.decompress_vec(rest, &mut bytes, flush);
            let status = status.map_err(|error| failed(error.into()))?;
            let is_stuck = (taken, given) == (inflating.total_in(), inflating.total_out());
            if status == Status::StreamEnd || is_stuck {
                break;
            }
        }
        // There may be more room than was asked for.
        bytes.truncate(self.inflated_bytes as usize);
        self.all_of(bytes).map_err(failed)
    }

    fn all_of(&self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match bytes.len() as u64 == self.inflated_bytes {
            true => Ok(bytes),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn zlib(content: &[u8]) -> Vec<u8> {
        let mut packing = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packing.write_all(content).expect("memory");
        packing.finish().expect("memory")
    }

    fn inflated(stored: &[u8], method: Method, inflated_bytes: u64) -> Result<Vec<u8>, ElfError> {
        let place = Inflated {
            offset: 0,
            len_bytes: stored.len() as u64,
            method,
            inflated_bytes,
        };
        place.read(stored, ".debug_info")
    }

    #[test]
    fn a_section_inflates_to_what_it_says_or_is_an_error() {
        let content = b"0123456789".repeat(1000);
        let stored = zlib(&content);
        let read = inflated(&stored, Method::Zlib, 10_000).expect("sound");
        assert_eq!(read, content);
        assert!(inflated(&stored, Method::Zlib, 10_001).is_err());
        for len in 0..stored.len() {
            // Without its last bytes, which are a checksum, all of it may be there.
            let cut = inflated(&stored[..len], Method::Zlib, 10_000);
            assert!(
                cut.is_err() || cut.is_ok_and(|read| read == content),
                "{len}"
            );
        }
        assert!(inflated(&stored[..stored.len() / 2], Method::Zlib, 10_000).is_err());
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 0x55;
            // Whatever comes out is as long as was said.
            let read = inflated(&changed, Method::Zlib, 10_000);
            assert!(read.map_or(10_000, |read| read.len()) == 10_000);
        }
    }

    #[test]
    fn a_section_of_several_pieces_is_one_stream() {
        let mut state = 1_u32;
        let content: Vec<u8> = (0..3 * PIECE_BYTES)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 25) as u8
            })
            .collect();
        let stored = zlib(&content);
        assert!(stored.len() as u64 > 2 * PIECE_BYTES);
        let size = content.len() as u64;
        let read = inflated(&stored, Method::Zlib, size).expect("sound");
        assert!(read == content);
        let half = inflated(&stored, Method::Zlib, size / 2).expect("as much as it says");
        assert!(half == content[..content.len() / 2]);
        for cut in [1 << 10, PIECE_BYTES as usize, stored.len() / 2] {
            assert!(
                inflated(&stored[..cut], Method::Zlib, size).is_err(),
                "{cut}"
            );
        }
    }

    #[test]
    fn a_bomb_gives_no_more_than_it_says() {
        let stored = zlib(&vec![0; 64 << 20]);
        assert!(stored.len() < 1 << 20);
        let read = inflated(&stored, Method::Zlib, 1000).expect("as much as it says");
        assert_eq!(read, [0; 1000]);
        // Says far more than comes out: not allocated before it comes.
        assert!(inflated(&zlib(b"x"), Method::Zlib, u64::MAX).is_err());
        assert!(inflated(b"\x28\xb5\x2f\xfd", Method::Zstd, u64::MAX).is_err());
    }
}
