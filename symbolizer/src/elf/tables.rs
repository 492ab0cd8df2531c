//! The entries of symbol tables that may be functions.

use object::Endianness;
use object::elf;
use object::pod::slice_from_bytes;
use object::read::elf::{FileHeader, Sym};

use super::headers::{Headers, Section, bytes_again, bytes_at};
use super::{ElfError, ElfLimits, ReadAt};

/// Symbols read at once: 96 KiB stay in a CPU's cache, and the allocator has such a piece at hand (from
/// 128 KiB on it asks the kernel for fresh pages each time).
const CHUNK_SYMBOLS: u64 = 1 << 12;

/// A symbol before aliases are dropped. The derived order is the sorting order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) start: u64,
    pub(super) rank: Rank,
    /// For one without size, the bytes to the end of its section.
    pub(super) size: u32,
    /// Offset into the string table, or into all of them.
    pub(super) name: u32,
}

impl Candidate {
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.size))
    }
}

/// Which of two aliases is preferred: the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    is_label: bool,
    binding: Binding,
    pub(super) is_unsized: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Binding {
    Global,
    Weak,
    Local,
}

/// A symbol table, and where its names are.
pub(super) struct Table {
    symbols: Section,
    count: u64,
    pub(super) strings: Section,
}

/// The symbol tables of an image.
pub(super) struct Tables;

impl Tables {
    /// `.symtab` and `.dynsym`, as far as they are there, within the limits. `.dynsym` too: `strip
    /// --keep-symbol` and mini debug tables leave a .symtab that lacks what .dynsym names. What
    /// both have becomes one again.
    pub(super) fn of<Elf: FileHeader<Endian = Endianness>>(
        headers: &Headers,
        limits: &ElfLimits,
    ) -> Result<Vec<Table>, ElfError> {
        let mut left_symbols = limits.symbols;
        let mut left_name_bytes = limits.string_table_bytes;
        let mut tables = Vec::new();
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let Some(symbols) = headers.sections.iter().find(|it| it.kind == kind) else {
                continue;
            };
            let count = symbols.len / size_of::<Elf::Sym>() as u64;
            left_symbols = left_symbols.checked_sub(count).ok_or(ElfError::OverLimit {
                what: "symbols",
                found: count,
                limit: limits.symbols,
            })?;
            let strings = string_table(headers, symbols)?;
            left_name_bytes =
                left_name_bytes
                    .checked_sub(strings.len)
                    .ok_or(ElfError::OverLimit {
                        what: "string table bytes",
                        found: strings.len,
                        limit: limits.string_table_bytes,
                    })?;
            tables.push(Table {
                symbols: *symbols,
                count,
                strings,
            });
        }
        Ok(tables)
    }
}

impl Table {
    /// Calls `take` with entries, some at once, in their order; their names are offsets into this table's strings.
    pub(super) fn read<Elf, R>(
        &self,
        image: &R,
        headers: &Headers,
        mut take: impl FnMut(Entries<'_, Elf::Sym>),
    ) -> Result<(), ElfError>
    where
        Elf: FileHeader<Endian = Endianness>,
        R: ReadAt + ?Sized,
    {
        let mut at = 0;
        let mut bytes = Vec::new();
        while at < self.count {
            let chunk = CHUNK_SYMBOLS.min(self.count - at);
            let entry = size_of::<Elf::Sym>() as u64;
            // No overflow: both are below the table's length. The offset is foreign.
            let offset = self.symbols.offset.saturating_add(at * entry);
            bytes_again(image, "symbol table", (offset, chunk * entry), &mut bytes)?;
            let (symbols, _) =
                slice_from_bytes::<Elf::Sym>(&bytes, chunk as usize).unwrap_or((&[], &[]));
            take(Entries {
                symbols,
                headers,
                strings_len: self.strings.len,
            });
            at += chunk;
        }
        Ok(())
    }
}

/// Some entries of a table, in their order.
pub(super) struct Entries<'t, S> {
    symbols: &'t [S],
    headers: &'t Headers,
    strings_len: u64,
}

/// An entry of a table.
pub(super) struct Entry<'t, S> {
    symbol: &'t S,
    headers: &'t Headers,
    strings_len: u64,
}

impl<'t, S: Sym<Endian = Endianness>> Entries<'t, S> {
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = Entry<'t, S>> {
        let (headers, strings_len) = (self.headers, self.strings_len);
        self.symbols.iter().map(move |symbol| Entry {
            symbol,
            headers,
            strings_len,
        })
    }

    /// Those that are functions, whatever their names are.
    pub(super) fn functions(&self) -> impl Iterator<Item = Candidate> {
        self.all().filter_map(|entry| entry.function())
    }
}

impl<S: Sym<Endian = Endianness>> Entry<'_, S> {
    /// Where it starts, if it is a function, and where it ends by what is said: there or before, if it ends in its
    /// section. To tell that it is a function costs more.
    pub(super) fn said(&self) -> (u64, u64) {
        let endian = self.headers.endian;
        let start: u64 = self.symbol.st_value(endian).into();
        let size: u64 = self.symbol.st_size(endian).into();
        (start, start.saturating_add(size))
    }

    /// What it covers, if it is a function.
    pub(super) fn function(&self) -> Option<Candidate> {
        candidate(self.headers, self.symbol, self.strings_len)
    }
}

/// See [`super::ElfImage::address_of`].
pub(super) fn address_of<Elf, R>(
    image: &R,
    headers: &Headers,
    limits: &ElfLimits,
    name: &[u8],
) -> Result<Option<u64>, ElfError>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadAt + ?Sized,
{
    for table in Tables::of::<Elf>(headers, limits)? {
        let Section { offset, len, .. } = table.strings;
        let strings = bytes_at(image, "string table", offset, len)?;
        let mut found = None;
        table.read::<Elf, R>(image, headers, |entries| {
            let is_it = |candidate: &Candidate| {
                let text = strings.get(candidate.name as usize..).unwrap_or_default();
                let rest = text.strip_prefix(name);
                matches!(rest, Some([] | [0, ..]))
            };
            if found.is_none() {
                found = entries.functions().find(is_it).map(|it| it.start);
            }
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// What an entry of a symbol table covers, if it is a function's.
fn candidate<S: Sym<Endian = Endianness>>(
    headers: &Headers,
    symbol: &S,
    strings_len: u64,
) -> Option<Candidate> {
    let endian = headers.endian;
    let is_label = match symbol.st_type() {
        elf::STT_FUNC | elf::STT_GNU_IFUNC => false,
        elf::STT_NOTYPE => true,
        _ => return None,
    };
    let start: u64 = symbol.st_value(endian).into();
    let place = symbol.st_shndx(endian);
    let rest = match place {
        elf::SHN_UNDEF => return None,
        // SHN_XINDEX: the index is in a table of its own that we do not read; images with
        // 65 280 sections are relocatable ones.
        elf::SHN_ABS | elf::SHN_XINDEX => headers.executable_bytes_from(start)?,
        elf::SymbolSection(index) => {
            let section = headers.sections.get(usize::from(index))?;
            if !section.executable {
                return None;
            }
            // A symbol at or behind its section's end (`_etext`) covers nothing.
            section.len.checked_sub(start.checked_sub(section.addr)?)?
        }
    };
    let binding = match symbol.st_bind() {
        elf::STB_LOCAL => Binding::Local,
        elf::STB_WEAK => Binding::Weak,
        _ => Binding::Global,
    };
    let name = symbol.st_name(endian);
    let stated: u64 = symbol.st_size(endian).into();
    let covered = if stated == 0 { rest } else { stated.min(rest) };
    if covered == 0 || u64::from(name) >= strings_len {
        return None;
    }
    Some(Candidate {
        start,
        rank: Rank {
            is_label,
            binding,
            is_unsized: stated == 0,
        },
        size: u32::try_from(covered).unwrap_or(u32::MAX),
        name,
    })
}

impl Candidate {
    /// Whether something that is called so is a function; `text` begins with its name.
    pub(super) fn may_be_called(&self, text: &[u8]) -> bool {
        let is_local_label = self.rank.is_label && self.rank.binding == Binding::Local;
        match text {
            [] | [0, ..] => false,
            [b'.', b'L', ..] => false,
            // Mapping symbols of ARM, AArch64 and RISC-V: where code and data start.
            [b'$', b'a' | b'd' | b't' | b'x', ..] if is_local_label => false,
            _ => true,
        }
    }
}

fn string_table(headers: &Headers, symbols: &Section) -> Result<Section, ElfError> {
    headers
        .sections
        .get(symbols.link as usize)
        .filter(|it| it.kind == elf::SHT_STRTAB)
        .copied()
        .ok_or(ElfError::Malformed {
            what: "sh_link of a symbol table",
            found: symbols.link.into(),
        })
}
