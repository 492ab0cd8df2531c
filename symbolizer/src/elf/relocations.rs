//! What the loader puts into a word of an image, and whose address it is.
//!
//! Of 64-bit little-endian images, whose machines all have relocations with addends (`SHT_RELA`).

use super::headers::{Headers, Section, bytes_at};
use super::near::NameBudget;
use super::sections::NamedSections;
use super::{ElfError, ReadAt};
use object::Endianness;
use object::elf::{self, EM_AARCH64, EM_X86_64, Rela64, Sym64};
use object::pod::slice_from_bytes;
use object::read::elf::{Rela, Sym};

/// Where linkers put them. Those of stubs are in the first two; Go's own linker names none.
const SECTIONS: [&str; 4] = [".rela.plt", ".rela.iplt", ".rela.dyn", ".rela"];
const ENTRY_BYTES: u64 = size_of::<Rela64<Endianness>>() as u64;
const SYMBOL_BYTES: u64 = size_of::<Sym64<Endianness>>() as u64;
/// Entries that are read at once.
const CHUNK_ENTRIES: u64 = 1 << 15;
/// Entries that are read of one image: browsers have half a million where they are not packed.
const ENTRIES_MAX: u64 = 4 << 20;

/// What a word becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relocation {
    /// The address of the symbol with this index in the table with this section index.
    Symbol { table: u32, index: u32 },
    /// What the function at this stated address returns (`R_*_IRELATIVE`).
    Resolved(u64),
    /// This stated address.
    Relative(u64),
}

/// An image's relocations, read as they are asked for.
pub(super) struct Relocations<'a, R: ?Sized> {
    image: &'a R,
    headers: &'a Headers,
    tables: Vec<&'a Section>,
    left_entries: u64,
}

impl<'a, R: ReadAt + ?Sized> Relocations<'a, R> {
    pub(super) fn of(
        image: &'a R,
        headers: &'a Headers,
        sections: &NamedSections<'a>,
    ) -> Relocations<'a, R> {
        let tables = SECTIONS
            .iter()
            .filter_map(|name| sections.find_loaded(name));
        Self {
            image,
            headers,
            tables: tables.filter(|table| table.kind == elf::SHT_RELA).collect(),
            left_entries: ENTRIES_MAX,
        }
    }

    /// What becomes of the words at `wanted`, ascending stated addresses: in their order, `None` for
    /// one that nothing is said of within the limit.
    pub(super) fn at(&mut self, wanted: &[u64]) -> Result<Vec<Option<Relocation>>, ElfError> {
        let mut found = vec![None; wanted.len()];
        let mut missing = wanted.len();
        for table in self.tables.clone() {
            let count = (table.len / ENTRY_BYTES).min(self.left_entries);
            self.left_entries -= count;
            let mut at = 0;
            while at < count && missing > 0 {
                let chunk = CHUNK_ENTRIES.min(count - at);
                for entry in self.entries(table, at, chunk)? {
                    let offset = entry.r_offset(self.headers.endian);
                    let Ok(slot) = wanted.binary_search(&offset) else {
                        continue;
                    };
                    if let Some(slot @ None) = found.get_mut(slot) {
                        *slot = self.meaning(table, &entry);
                        missing -= usize::from(slot.is_some());
                    }
                }
                at += chunk;
            }
        }
        Ok(found)
    }

    /// The relocation with this number of the stubs' own (`.rela.plt`).
    pub(super) fn of_stub(&self, number: u32) -> Result<Option<Relocation>, ElfError> {
        let Some(table) = self.tables.first() else {
            return Ok(None);
        };
        let number = u64::from(number);
        if number >= table.len / ENTRY_BYTES {
            return Ok(None);
        }
        let entries = self.entries(table, number, 1)?;
        Ok(entries.first().and_then(|entry| self.meaning(table, entry)))
    }

    /// `table` has these entries.
    fn entries(
        &self,
        table: &Section,
        first: u64,
        count: u64,
    ) -> Result<Vec<Rela64<Endianness>>, ElfError> {
        let offset = table.offset.saturating_add(first * ENTRY_BYTES);
        let bytes = bytes_at(self.image, "relocations", offset, count * ENTRY_BYTES)?;
        let entries = slice_from_bytes(&bytes, count as usize).map(|(entries, _)| entries.to_vec());
        Ok(entries.unwrap_or_default())
    }

    fn meaning(&self, table: &Section, entry: &Rela64<Endianness>) -> Option<Relocation> {
        let endian = self.headers.endian;
        let index = entry.r_sym(endian, false);
        if index != 0 {
            let table = table.link;
            return Some(Relocation::Symbol { table, index });
        }
        let addend = entry.r_addend(endian) as u64;
        let kind = entry.r_type(endian, false);
        match (self.headers.machine, kind) {
            (EM_X86_64, elf::R_X86_64_IRELATIVE) | (EM_AARCH64, elf::R_AARCH64_IRELATIVE) => {
                Some(Relocation::Resolved(addend))
            }
            (EM_X86_64, elf::R_X86_64_RELATIVE) | (EM_AARCH64, elf::R_AARCH64_RELATIVE) => {
                Some(Relocation::Relative(addend))
            }
            _ => None,
        }
    }

    /// The name of a symbol that a relocation is of.
    pub(super) fn symbol_name(
        &self,
        table: u32,
        index: u32,
        sections: &NamedSections<'_>,
        names: &mut NameBudget,
    ) -> Result<Option<Vec<u8>>, ElfError> {
        let is_symbols = |table: &&Section| matches!(table.kind, elf::SHT_DYNSYM | elf::SHT_SYMTAB);
        let Some(table) = sections.linked(table).filter(is_symbols) else {
            return Ok(None);
        };
        let index = u64::from(index);
        if index >= table.len / SYMBOL_BYTES {
            return Ok(None);
        }
        let is_strings = |table: &&Section| table.kind == elf::SHT_STRTAB;
        let Some(strings) = sections.linked(table.link).filter(is_strings) else {
            return Ok(None);
        };
        let offset = table.offset.saturating_add(index * SYMBOL_BYTES);
        let bytes = bytes_at(self.image, "symbol table", offset, SYMBOL_BYTES)?;
        let Ok((symbol, _)) = object::pod::from_bytes::<Sym64<Endianness>>(&bytes) else {
            return Ok(None);
        };
        let name = u64::from(symbol.st_name(self.headers.endian));
        let Some(rest) = strings.len.checked_sub(name) else {
            return Ok(None);
        };
        let offset = strings.offset.saturating_add(name);
        let name = names.read(self.image, offset, rest)?;
        Ok(Some(name).filter(|name| !name.is_empty()))
    }
}
