//! Sections by their names, for what no section type tells.

use super::headers::{Headers, Section, bytes_at};
use super::{ElfError, ReadAt};
use object::elf;

/// Largest string table of section names that is read.
const NAMES_BYTES_MAX: u64 = 16 << 20;

/// The sections of an image and the string table of their names.
pub(super) struct NamedSections<'a> {
    sections: &'a [Section],
    names: Vec<u8>,
}

impl<'a> NamedSections<'a> {
    /// Reads the names; there are none in an image without section headers.
    pub(super) fn read<R: ReadAt + ?Sized>(
        image: &R,
        headers: &'a Headers,
    ) -> Result<Self, ElfError> {
        let sections = headers.sections.as_slice();
        let table = sections.get(headers.section_names as usize);
        let names = match table.filter(|table| table.kind == elf::SHT_STRTAB) {
            Some(table) if table.len > NAMES_BYTES_MAX => {
                return Err(ElfError::OverLimit {
                    what: "section names",
                    found: table.len,
                    limit: NAMES_BYTES_MAX,
                });
            }
            Some(table) => bytes_at(image, "section names", table.offset, table.len)?,
            None => Vec::new(),
        };
        Ok(Self { sections, names })
    }

    /// The first section that is called so.
    pub(super) fn find(&self, wanted: &str) -> Option<&'a Section> {
        let wanted = wanted.as_bytes();
        let is_named = |section: &&Section| is_named(section, &self.names, wanted);
        self.sections.iter().find(is_named)
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

/// Reads no further than `wanted` is long: all sections may share one name without an end.
fn is_named(section: &Section, names: &[u8], wanted: &[u8]) -> bool {
    let name = names.get(section.name as usize..);
    let rest = name.and_then(|name| name.strip_prefix(wanted));
    rest.is_some_and(|rest| rest.first().is_none_or(|byte| *byte == 0))
}
