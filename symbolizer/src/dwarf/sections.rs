//! The sections of debug information that names are read from, as bytes: of an image or its debug file, of
//! a `.dwo`, of a `.dwp`.

use crate::elf::{Contents, ElfError, Inflated, ReadAt};
use gimli::{
    DebugCuIndex, DwoId, EndianSlice, IndexSectionId, RangeLists, Reader as _, RunTimeEndian,
    SectionId,
};
use object::Endianness;

/// What debug information is read through.
pub(crate) type Bytes<'a> = EndianSlice<'a, RunTimeEndian>;

/// Everything that says where functions are and what they are called. Types, variables, lines and macros
/// are elsewhere, and are not read.
const MAIN: [SectionId; 10] = [
    SectionId::DebugInfo,
    SectionId::DebugAbbrev,
    SectionId::DebugStr,
    SectionId::DebugLineStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugCuIndex,
];

/// Where the sections of a file are, and what they become.
#[derive(Debug)]
pub(crate) struct Located {
    endian: RunTimeEndian,
    found: Vec<(SectionId, &'static str, Inflated)>,
}

/// Which of a file's sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Those of an image or its debug file.
    Main,
    /// Those whose names end in `.dwo`: of split debug information.
    Split,
}

impl Located {
    /// Finds them; none where there is no `.debug_info`, which is no error.
    pub(crate) fn find<R: ReadAt + ?Sized>(
        file: &R,
        sections: &Contents,
        part: Part,
    ) -> Result<Option<Self>, ElfError> {
        let mut found = Vec::new();
        for id in MAIN {
            let name = match part {
                Part::Main => Some(id.name()),
                // The index of a package has one name in either.
                Part::Split if id == SectionId::DebugCuIndex => Some(id.name()),
                Part::Split => id.dwo_name(),
            };
            if let Some(name) = name
                && let Some(place) = sections.locate(file, name)?
                && place.inflated_bytes > 0
            {
                found.push((id, name, place));
            }
        }
        let endian = match sections.endian() {
            Endianness::Little => RunTimeEndian::Little,
            Endianness::Big => RunTimeEndian::Big,
        };
        let has_info = found.iter().any(|(id, ..)| *id == SectionId::DebugInfo);
        Ok(has_info.then_some(Self { endian, found }))
    }

    /// How much they are in memory.
    pub(crate) fn inflated_bytes(&self) -> u64 {
        let sizes = self.found.iter().map(|(.., place)| place.inflated_bytes);
        sizes.fold(0, u64::saturating_add)
    }

    /// Reads them. The caller has checked [`Self::inflated_bytes`].
    pub(crate) fn read<R: ReadAt + ?Sized>(&self, file: &R) -> Result<Sections, ElfError> {
        let mut read = Vec::with_capacity(self.found.len());
        for (id, name, place) in &self.found {
            read.push((*id, place.read(file, name)?));
        }
        Ok(Sections {
            endian: self.endian,
            read,
        })
    }
}

/// The bytes of a file's sections.
#[derive(Debug)]
pub(crate) struct Sections {
    endian: RunTimeEndian,
    read: Vec<(SectionId, Vec<u8>)>,
}

impl Sections {
    /// One section; empty where there is none.
    pub(crate) fn get(&self, id: SectionId) -> Bytes<'_> {
        let found = self.read.iter().find(|(of, _)| *of == id);
        let bytes = found.map_or(&[][..], |(_, bytes)| bytes);
        EndianSlice::new(bytes, self.endian)
    }

    /// These and no others, little-endian.
    #[cfg(test)]
    pub(crate) fn of(read: Vec<(SectionId, Vec<u8>)>) -> Self {
        let endian = RunTimeEndian::Little;
        Self { endian, read }
    }

    /// All that there are.
    #[cfg(test)]
    pub(crate) fn ids(&self) -> Vec<SectionId> {
        self.read.iter().map(|(id, _)| *id).collect()
    }

    /// With one more, or another one.
    #[cfg(test)]
    pub(crate) fn with(mut self, id: SectionId, bytes: Vec<u8>) -> Self {
        self.read.retain(|(of, _)| *of != id);
        self.read.push((id, bytes));
        self
    }

    /// They as gimli wants them.
    pub(crate) fn dwarf(&self) -> gimli::Dwarf<Bytes<'_>> {
        // Nothing here can fail: sections are taken as they are.
        let load = |id| Ok::<_, gimli::Error>(self.get(id));
        gimli::Dwarf::load(load).unwrap_or_default()
    }

    /// What a package (`.dwp`) has of one unit, as gimli wants it.
    pub(crate) fn of_package(&self, id: DwoId) -> gimli::Result<Option<gimli::Dwarf<Bytes<'_>>>> {
        let index = DebugCuIndex::from(self.get(SectionId::DebugCuIndex)).index()?;
        let Some(row) = index.find(id.0) else {
            return Ok(None);
        };
        let mut dwarf = self.dwarf();
        for part in index.sections(row)? {
            let id = part.section.section_id();
            let mut bytes = self.get(id);
            // gimli's own way wants those sections too that are not read.
            if bytes.is_empty() {
                continue;
            }
            bytes.skip(part.offset as usize)?;
            bytes.truncate(part.size as usize)?;
            match part.section {
                IndexSectionId::DebugInfo => dwarf.debug_info = bytes.into(),
                IndexSectionId::DebugAbbrev => dwarf.debug_abbrev = bytes.into(),
                IndexSectionId::DebugStrOffsets => dwarf.debug_str_offsets = bytes.into(),
                IndexSectionId::DebugRngLists => {
                    let plain = *dwarf.ranges.debug_ranges();
                    dwarf.ranges = RangeLists::new(plain, bytes.into());
                }
                _ => {}
            }
        }
        Ok(Some(dwarf))
    }
}
