//! `.gnu_debugdata` (MiniDebugInfo): the symbol table of a stripped image, compressed inside of it.

use crate::elf::{Contents, ElfError, ElfImage, ElfLimits, ReadAt, Wanted};
use lzma_rust2::XzReader;
use std::io::{self, Read as _};

const SECTION: &str = ".gnu_debugdata";
/// Largest that it may be as it lies in the image, and as it comes out; real ones reach some MiB.
const STORED_BYTES_MAX: u64 = 64 << 20;
const INFLATED_BYTES_MAX: u64 = 256 << 20;
/// What its decoder may take: `xz -9` needs 65 MiB.
const DECODER_KIB_MAX: u32 = 128 << 10;

/// The symbols that it has for `wanted`; `None` where there is no such section.
pub(crate) fn read<R: ReadAt + ?Sized>(
    image: &R,
    sections: &Contents,
    wanted: Wanted<'_>,
) -> Result<Option<ElfImage>, ElfError> {
    let Some(place) = sections.locate(image, SECTION)? else {
        return Ok(None);
    };
    if place.inflated_bytes > STORED_BYTES_MAX {
        return Err(ElfError::OverLimit {
            what: SECTION,
            found: place.inflated_bytes,
            limit: STORED_BYTES_MAX,
        });
    }
    let stored = place.read(image, SECTION)?;
    let elf = inflate(&stored).map_err(|source| ElfError::Compressed {
        what: SECTION,
        source: Some(source),
    })?;
    ElfImage::read(&elf, &ElfLimits::default(), wanted).map(Some)
}

fn inflate(stored: &[u8]) -> io::Result<Vec<u8>> {
    let mut elf = Vec::new();
    let inflating = XzReader::new_mem_limit(stored, true, DECODER_KIB_MAX);
    inflating
        .take(INFLATED_BYTES_MAX + 1)
        .read_to_end(&mut elf)?;
    match elf.len() as u64 <= INFLATED_BYTES_MAX {
        true => Ok(elf),
        false => Err(io::Error::other("too large")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf 0123456789 | xz --check=crc32`.
    const DIGITS: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00, 0x21,
        0x01, 0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0x01, 0x00, 0x09, 0x30, 0x31, 0x32,
        0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x00, 0x00, 0x00, 0xc6, 0xc7, 0x84, 0xa6, 0x00,
        0x01, 0x1e, 0x0a, 0xea, 0x63, 0x12, 0x14, 0x90, 0x42, 0x99, 0x0d, 0x01, 0x00, 0x00, 0x00,
        0x00, 0x01, 0x59, 0x5a,
    ];

    #[test]
    fn a_stream_is_whole_or_an_error() {
        for len in 0..DIGITS.len() {
            assert!(inflate(&DIGITS[..len]).is_err(), "{len}");
        }
        assert_eq!(inflate(DIGITS).expect("sound"), b"0123456789");
        assert!(inflate(b"no xz stream at all").is_err());
    }
}
