//! Naming without a recording, for `scripts/bench-names` alone: no part of what this crate offers.

use crate::elf::{ElfImage, ElfLimits, Wanted};
use crate::image::Images;
use crate::locate::PlaceId;
use crate::lookup::{Inlines, Lookup, LookupPlaces};
use crate::native::{self, ImageOffsets};
use crate::pins::RootRef;
use crate::stack::Frame;
use profiler::record::MappedFile;
use std::io;
use std::path::{Path, PathBuf};

/// Offsets of code in a file, `count` of them over all of its functions; always the same ones. With
/// each the address that the linker gave it.
pub fn offsets(path: &Path, count: usize) -> io::Result<Vec<(u64, u64)>> {
    let bytes = std::fs::read(path)?;
    let image = ElfImage::read(&bytes, &ElfLimits::default(), Wanted::All);
    let image = image.map_err(io::Error::other)?;
    let mut found = Vec::with_capacity(count);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..count.saturating_mul(1000) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let offset = state % (bytes.len() as u64).max(1);
        if let Some(svma) = image.svma_of(offset)
            && image.lookup(svma).is_some()
        {
            found.push((offset, svma));
            if found.len() == count {
                break;
            }
        }
    }
    Ok(found)
}

/// The frames of these offsets of these files, file by file.
pub fn frames(files: &[(PathBuf, Vec<u64>)], inlines: Inlines) -> io::Result<Vec<Frame>> {
    let lookup = Lookup::open(LookupPlaces {
        symfs: Some("/".into()),
        ..LookupPlaces::default()
    });
    let lookup = lookup.map_err(io::Error::other)?.with_inlines(inlines);
    let mut images = Images::default();
    let mut place = 0;
    let asked = files.iter().filter_map(|(path, offsets)| {
        let path = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
        let image = images.intern(MappedFile::PathOnly, None, path);
        let offsets = offsets.iter().map(|offset| {
            place += 1;
            (PlaceId(place - 1), *offset)
        });
        Some(ImageOffsets {
            offsets: offsets.collect(),
            image: images.get(image)?.by_path(),
            views: lookup.views([], None),
            root_ref: RootRef::Unknown,
            mistold: None,
        })
    });
    let asked = asked.collect();
    let (named, _) = native::images(asked, &lookup);
    let mut named: Vec<_> = named.into_iter().flatten().collect();
    named.sort_by_key(|(place, _)| place.0);
    Ok(named.into_iter().map(|(_, frame)| frame).collect())
}
