//! Sections by their names, for what no section type tells.

use super::headers::{Headers, Section, bytes_at};
use super::{ElfError, ReadAt};
use object::elf;

/// Largest string table of section names that is read.
const NAMES_BYTES_MAX: u64 = 16 << 20;

/// The string table of the names of sections.
#[derive(Debug)]
pub(super) struct SectionNames(Vec<u8>);

/// The sections of an image and their names.
pub(super) struct NamedSections<'a> {
    sections: &'a [Section],
    names: SectionNames,
}

impl SectionNames {
    /// Reads the names; there are none in an image without section headers.
    pub(super) fn read<R: ReadAt + ?Sized>(image: &R, headers: &Headers) -> Result<Self, ElfError> {
        let table = headers.sections.get(headers.section_names as usize);
        match table.filter(|table| table.kind == elf::SHT_STRTAB) {
            Some(table) if table.len > NAMES_BYTES_MAX => Err(ElfError::OverLimit {
                what: "section names",
                found: table.len,
                limit: NAMES_BYTES_MAX,
            }),
            Some(table) => bytes_at(image, "section names", table.offset, table.len).map(Self),
            None => Ok(Self(Vec::new())),
        }
    }

    /// Whether a section is called so. Reads no further than `wanted` is long: all sections may share
    /// one name without an end.
    pub(super) fn is(&self, section: &Section, wanted: &str) -> bool {
        let name = self.0.get(section.name as usize..);
        let rest = name.and_then(|name| name.strip_prefix(wanted.as_bytes()));
        rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == 0))
    }
}

impl<'a> NamedSections<'a> {
    /// Reads the names.
    pub(super) fn read<R: ReadAt + ?Sized>(
        image: &R,
        headers: &'a Headers,
    ) -> Result<Self, ElfError> {
        Ok(Self {
            sections: &headers.sections,
            names: SectionNames::read(image, headers)?,
        })
    }

    /// The first section that is called so.
    pub(super) fn find(&self, wanted: &str) -> Option<&'a Section> {
        let mut sections = self.sections.iter();
        sections.find(|section| self.names.is(section, wanted))
    }

    /// The first section that is called so and has its bytes in the file, as they are.
    pub(super) fn find_loaded(&self, wanted: &str) -> Option<&'a Section> {
        let has_bytes = |section: &&Section| section.kind != elf::SHT_NOBITS && !section.compressed;
        self.find(wanted).filter(has_bytes)
    }

    /// The section at an index, as another one links to it.
    pub(super) fn linked(&self, index: u32) -> Option<&'a Section> {
        self.sections.get(index as usize)
    }
}
