//! `.gnu_debugdata` (MiniDebugInfo): the symbol table of a stripped image, compressed inside of it.

use crate::elf::{ElfError, ElfImage, ElfLimits, NamedSections, ReadAt, Wanted};
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
    sections: &NamedSections,
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
