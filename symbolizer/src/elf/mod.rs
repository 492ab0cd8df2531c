//! ELF images: which symbol covers a file offset. Read piecewise, within limits, from hostile files.
//!
//! Only headers, notes, the symbol tables and their string tables are read, so an image's own size
//! does not matter. Relocatable objects (`ET_REL`) have no segments and so no answer to `svma_of`.

mod apart;
mod contents;
mod error;
#[cfg(test)]
mod fixture;
mod frames;
mod headers;
#[cfg(test)]
mod hostile_tests;
mod near;
#[cfg(test)]
mod near_tests;
mod pclntab;
mod read_at;
mod relocations;
mod sections;
mod stubs;
#[cfg(test)]
mod stubs_tests;
mod symbols;
mod tables;
#[cfg(test)]
mod tests;

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::FileHeader;
use profiler::BuildId;

pub(crate) use contents::{Contents, Inflated};
pub(crate) use error::ElfError;
pub(crate) use frames::{FrameSections, Placed};
pub(crate) use pclntab::{GoFrame, GoFrames};
pub(crate) use read_at::ReadAt;
pub(crate) use symbols::Symbol;

use apart::Apart;
use headers::{Class, Headers, Segment};
use symbols::SymbolTable;

/// What an image may cost us at most. An image over one of these is an error, not a cut table:
/// half a table would give wrong names to the other half.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ElfLimits {
    /// Program headers. The kernel itself loads no image with more than 64 KiB of them
    /// (`load_elf_phdrs`): 1170 on 64-bit.
    pub(crate) program_headers: u64,
    /// Section headers.
    pub(crate) sections: u64,
    /// Entries of `.symtab` and `.dynsym` together, before any is left out.
    pub(crate) symbols: u64,
    /// Bytes of the string tables of both together.
    pub(crate) string_table_bytes: u64,
}

impl Default for ElfLimits {
    fn default() -> Self {
        Self {
            program_headers: 4096,
            sections: 1 << 18,
            symbols: 8 << 20,
            string_table_bytes: 512 << 20,
        }
    }
}

/// One image's segments and function symbols.
#[derive(Debug)]
pub(crate) struct ElfImage {
    /// `PT_LOAD`s; executable ones first, then in the order of the file.
    loads: Vec<Segment>,
    symbols: SymbolTable,
    apart: Apart,
}

/// Which of an image's symbols are to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// All of the symbol tables; of stubs and of Go's own table nothing.
    All,
    /// What answers a lookup of these bytes of the file; no other address may be looked up.
    Offsets(&'a [u64]),
    /// What answers a lookup of these addresses; no other one may be looked up.
    Addresses(&'a [u64]),
}

impl ElfImage {
    /// Reads headers and function symbols.
    pub(crate) fn read<R: ReadAt + ?Sized>(
        image: &R,
        limits: &ElfLimits,
        wanted: Wanted<'_>,
    ) -> Result<Self, ElfError> {
        let headers = Headers::read(image, limits)?;
        match headers.class {
            Class::Elf32 => {
                Self::read_of::<FileHeader32<Endianness>, R>(image, headers, limits, wanted)
            }
            Class::Elf64 => {
                Self::read_of::<FileHeader64<Endianness>, R>(image, headers, limits, wanted)
            }
        }
    }

    fn read_of<Elf, R>(
        image: &R,
        headers: Headers,
        limits: &ElfLimits,
        wanted: Wanted<'_>,
    ) -> Result<Self, ElfError>
    where
        Elf: FileHeader<Endian = Endianness>,
        R: ReadAt + ?Sized,
    {
        let loads = headers.loads();
        let wanted = match wanted {
            Wanted::All => None,
            Wanted::Addresses(addresses) => Some(addresses.to_vec()),
            Wanted::Offsets(offsets) => {
                let addresses = offsets.iter().filter_map(|at| svma_in(&loads, *at));
                Some(addresses.collect())
            }
        };
        let wanted = wanted.map(|mut wanted: Vec<u64>| {
            wanted.sort_unstable();
            wanted.dedup();
            wanted
        });
        let near = match &wanted {
            Some(wanted) => near::read::<Elf, R>(image, &headers, limits, wanted)?,
            None => None,
        };
        let symbols = match near {
            Some(symbols) => symbols,
            None => SymbolTable::read::<Elf, R>(image, &headers, limits)?,
        };
        let mut unnamed = wanted.unwrap_or_default();
        unnamed.retain(|at| symbols.lookup(*at).is_none());
        // What is wrong with these takes no name from the symbol tables.
        let apart = Apart::read::<Elf, R>(image, &headers, limits, &unnamed).unwrap_or_default();
        Ok(Self {
            loads,
            symbols,
            apart,
        })
    }

    /// The build id alone, without the cost of the symbols: to tell whether a file is the one that
    /// was mapped. From `PT_NOTE` segments or else from note sections; `None` when the image carries
    /// none of 1 to 20 bytes.
    pub(crate) fn read_build_id<R: ReadAt + ?Sized>(
        image: &R,
        limits: &ElfLimits,
    ) -> Result<Option<BuildId>, ElfError> {
        Headers::read(image, limits)?.build_id(image)
    }

    /// The address that the linker gave to a byte of the file (stated virtual address), through
    /// the segment that holds the byte. `None` for a byte that no segment loads.
    ///
    /// Never "base plus offset": lld and others put several executable segments at different
    /// distances between offset and address.
    pub(crate) fn svma_of(&self, file_offset: u64) -> Option<u64> {
        svma_in(&self.loads, file_offset)
    }

    /// Where a stated virtual address is in the file: what [`Self::svma_of`] undoes.
    pub(crate) fn offset_of(&self, svma: u64) -> Option<u64> {
        offset_in(&self.loads, svma)
    }

    /// The stated virtual address of a symbol of code, by its whole name; `None` in a 32-bit image.
    pub(crate) fn address_of<R: ReadAt + ?Sized>(
        image: &R,
        limits: &ElfLimits,
        name: &[u8],
    ) -> Result<Option<u64>, ElfError> {
        let headers = Headers::read(image, limits)?;
        match headers.class {
            Class::Elf32 => Ok(None),
            Class::Elf64 => {
                tables::address_of::<FileHeader64<Endianness>, R>(image, &headers, limits, name)
            }
        }
    }

    /// The function that covers a stated virtual address.
    ///
    /// A symbol with a size covers just that many bytes. One without (hand-written assembly)
    /// covers until the next symbol, the end of its section or of the function it lies in,
    /// whichever is first. Where several cover, the innermost answers: the one that starts last.
    /// Of several that start at one address the first by this order answers, and each of the
    /// others only beyond its end: functions before bare labels, global before weak before local,
    /// with size before without, the smaller, the shorter name, the lexically first.
    ///
    /// Where no symbol covers: a stub is called by what it leads to, `memcpy@plt`; Go's own table
    /// names the functions of a stripped program.
    pub(crate) fn lookup(&self, svma: u64) -> Option<Symbol<'_>> {
        let named = self.symbols.lookup(svma);
        named.or_else(|| self.apart.lookup(svma))
    }

    /// Whether it has a symbol table beside the one that its loader needs: none means stripped.
    pub(crate) fn has_symtab(&self) -> bool {
        self.symbols.has_symtab()
    }

    /// How many symbols can answer a lookup; none means stripped.
    #[cfg(test)]
    pub(crate) fn symbol_count(&self) -> usize {
        self.symbols.len()
    }
}

fn offset_in(loads: &[Segment], svma: u64) -> Option<u64> {
    let load = loads.iter().find(|load| {
        svma.checked_sub(load.vaddr)
            .is_some_and(|into| into < load.file_len)
    })?;
    load.offset.checked_add(svma - load.vaddr)
}

fn svma_in(loads: &[Segment], file_offset: u64) -> Option<u64> {
    let load = loads.iter().find(|load| {
        file_offset
            .checked_sub(load.offset)
            .is_some_and(|into| into < load.file_len)
    })?;
    load.vaddr.checked_add(file_offset - load.offset)
}
