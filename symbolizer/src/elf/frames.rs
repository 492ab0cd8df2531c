//! An image's call frame information: the bytes of its sections, and where code lies in the file.

use super::headers::{Class, Headers, Segment, bytes_at};
use super::pclntab::GoFrames;
use super::sections::NamedSections;
use super::stubs::STUB_SECTIONS;
use super::{ElfError, ElfLimits, ReadAt};
use object::Endianness;
use object::elf;
use std::ops::Range;

/// Largest section that is read. Real ones reach some 30 MB (browsers, LLVM).
const SECTION_BYTES_MAX: u64 = 128 << 20;

/// A section's bytes and the address that the linker gave to the first of them.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub(crate) svma: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Everything that unwinding through an image needs.
#[derive(Debug)]
pub(crate) struct FrameSections {
    /// What it is code for.
    pub(crate) machine: elf::Machine,
    pub(crate) eh_frame: Option<Placed>,
    pub(crate) eh_frame_hdr: Option<Placed>,
    /// Only where it is not compressed.
    pub(crate) debug_frame: Option<Placed>,
    /// Bases of text- and data-relative pointers; 0 where there is no such section.
    pub(crate) text_svma: u64,
    pub(crate) got_svma: u64,
    /// Addresses of the stubs that calls into other images go through.
    stubs: Vec<Range<u64>>,
    loads: Vec<Segment>,
    /// Of a Go program.
    pub(crate) go: Option<GoFrames>,
}

impl FrameSections {
    /// Reads them; `None` of an image that is not 64-bit little-endian.
    pub(crate) fn read<R: ReadAt + ?Sized>(
        image: &R,
        limits: &ElfLimits,
    ) -> Result<Option<Self>, ElfError> {
        let headers = Headers::read(image, limits)?;
        if headers.class != Class::Elf64 || headers.endian != Endianness::Little {
            return Ok(None);
        }
        let sections = NamedSections::read(image, &headers)?;
        let find = |wanted| sections.find(wanted);
        let svma_of = |name| find(name).map_or(0, |section| section.addr);
        let placed = |name| match sections.find_loaded(name) {
            Some(section) => {
                within(name, section.len, SECTION_BYTES_MAX)?;
                let bytes = bytes_at(image, name, section.offset, section.len)?;
                Ok(Some(Placed {
                    svma: section.addr,
                    bytes,
                }))
            }
            None => Ok::<_, ElfError>(None),
        };
        let stubs = STUB_SECTIONS.map(find);
        let stubs = stubs.iter().flatten();
        Ok(Some(Self {
            stubs: stubs
                .map(|section| section.addr..section.addr.saturating_add(section.len))
                .collect(),
            machine: headers.machine,
            eh_frame: placed(".eh_frame")?,
            eh_frame_hdr: placed(".eh_frame_hdr")?,
            debug_frame: placed(".debug_frame")?,
            text_svma: svma_of(".text"),
            got_svma: svma_of(".got"),
            loads: headers.loads(),
            // What is damaged there leaves the others what they are.
            go: GoFrames::read(image, &headers, &sections, limits).unwrap_or_default(),
        }))
    }

    /// How far into a section of stubs (`.plt` and its kin) an address is.
    pub(crate) fn distance_into_stubs(&self, svma: u64) -> Option<u64> {
        let stubs = self.stubs.iter().find(|stubs| stubs.contains(&svma))?;
        Some(svma - stubs.start)
    }

    /// The address that the linker gave to a byte of the file; see `ElfImage::svma_of`.
    pub(crate) fn svma_of(&self, file_offset: u64) -> Option<u64> {
        super::svma_in(&self.loads, file_offset)
    }

    /// Where a stated virtual address is in the file; see `ElfImage::offset_of`.
    pub(crate) fn offset_of(&self, svma: u64) -> Option<u64> {
        super::offset_in(&self.loads, svma)
    }
}

fn within(what: &'static str, found: u64, limit: u64) -> Result<(), ElfError> {
    match found <= limit {
        true => Ok(()),
        false => Err(ElfError::OverLimit { what, found, limit }),
    }
}
