//! An image's call frame information: the bytes of its sections, and where code lies in the file.

use super::headers::{Class, Headers, Section, Segment, bytes_at};
use super::{ElfError, ElfLimits, ReadAt};
use object::Endianness;
use object::elf;
use std::ops::Range;

/// Largest section that is read. Real ones reach some 30 MB (browsers, LLVM).
const SECTION_BYTES_MAX: u64 = 128 << 20;
/// Largest string table of section names that is read.
pub(super) const NAMES_BYTES_MAX: u64 = 16 << 20;

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
        let table = headers.sections.get(headers.section_names as usize);
        let names = match table.filter(|table| table.kind == elf::SHT_STRTAB) {
            Some(table) => {
                within("section names", table.len, NAMES_BYTES_MAX)?;
                bytes_at(image, "section names", table.offset, table.len)?
            }
            None => Vec::new(),
        };
        let find = |wanted: &[u8]| {
            let mut sections = headers.sections.iter();
            sections.find(|section| is_named(section, &names, wanted))
        };
        let svma_of = |name| find(name).map_or(0, |section| section.addr);
        let placed = |name, what| match find(name) {
            Some(section) if section.kind != elf::SHT_NOBITS && !section.compressed => {
                within(what, section.len, SECTION_BYTES_MAX)?;
                let bytes = bytes_at(image, what, section.offset, section.len)?;
                Ok(Some(Placed {
                    svma: section.addr,
                    bytes,
                }))
            }
            _ => Ok::<_, ElfError>(None),
        };
        let stubs = [".plt", ".plt.sec", ".plt.got", ".iplt"].map(|name| find(name.as_bytes()));
        let stubs = stubs.iter().flatten();
        Ok(Some(Self {
            stubs: stubs
                .map(|section| section.addr..section.addr.saturating_add(section.len))
                .collect(),
            machine: headers.machine,
            eh_frame: placed(b".eh_frame", ".eh_frame")?,
            eh_frame_hdr: placed(b".eh_frame_hdr", ".eh_frame_hdr")?,
            debug_frame: placed(b".debug_frame", ".debug_frame")?,
            text_svma: svma_of(b".text"),
            got_svma: svma_of(b".got"),
            loads: headers.loads(),
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
}

fn within(what: &'static str, found: u64, limit: u64) -> Result<(), ElfError> {
    match found <= limit {
        true => Ok(()),
        false => Err(ElfError::OverLimit { what, found, limit }),
    }
}

/// Reads no further than `wanted` is long: all sections may share one name without an end.
pub(super) fn is_named(section: &Section, names: &[u8], wanted: &[u8]) -> bool {
    let name = names.get(section.name as usize..);
    let rest = name.and_then(|name| name.strip_prefix(wanted));
    rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == 0))
}
