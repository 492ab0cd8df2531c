//! The functions of a Go program, from the table that its own tracebacks are made of (`pclntab`).
//! `strip` and the linker's `-s` leave it, so a stripped Go program has all its names.
//!
//! Its four formats are those of Go 1.2, 1.16, 1.18 and 1.20 (`internal/abi/symtab.go`,
//! `debug/gosym/pclntab.go`, `runtime/symtab.go`). From 1.18 on, functions are told as distances from
//! where Go's code begins; since 1.26 the module's data says where that is.

use super::headers::{Class, Headers, Section, bytes_at};
use super::near::NameBudget;
use super::relocations::{Relocation, Relocations};
use super::sections::NamedSections;
use super::{ElfError, ElfLimits, ReadAt};
use object::Endianness;

/// Where the table is, the likelier first. Of position-independent programs other linkers put it
/// among other data.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
const SEARCHED: [&str; 2] = [".data.rel.ro", ".rodata"];
/// What every Go program of the formats that need a search has (Go 1.13 on).
const GO_MARK: &str = ".go.buildinfo";
/// The module's data, `runtime.moduledata`, since Go 1.26.
const MODULE: &str = ".go.module";
/// Bytes that are searched for the table.
const SEARCHED_BYTES_MAX: u64 = 64 << 20;
const SEARCHED_AT_ONCE: u64 = 1 << 20;
/// Of `runtime.moduledata`: the words that tell where the table's header is, of which addresses it
/// tells (two words), and where Go's code begins.
const MODULE_HEADER: u64 = 0;
const MODULE_MIN_PC: u64 = 20;
const MODULE_TEXT: u64 = 22;
const WORD: u64 = 8;

/// A function of the table.
#[derive(Debug)]
pub(super) struct GoFunction {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Go12,
    Go116,
    /// Of 1.18 and of 1.20: they differ behind what is read here.
    Go118,
}

impl Format {
    fn of(header: &[u8]) -> Option<Self> {
        // Two zero bytes; the size of the smallest instruction; the size of a word.
        let [magic, 0xff, 0xff, 0xff, 0, 0, 1 | 2 | 4, 8] = header else {
            return None;
        };
        match magic {
            0xfb => Some(Self::Go12),
            0xfa => Some(Self::Go116),
            0xf0 | 0xf1 => Some(Self::Go118),
            _ => None,
        }
    }

    /// Bytes of an address in the table of functions, and of the entry: it, and where the rest is.
    fn entry(self) -> (usize, usize) {
        match self {
            Self::Go12 | Self::Go116 => (8, 16),
            Self::Go118 => (4, 8),
        }
    }
}

/// The table's header.
struct Table {
    format: Format,
    /// Its bytes in the file, and its address.
    section: Section,
    functions: u64,
    /// Distances from its beginning to the names, and to the table of functions and their records.
    names: u64,
    records: u64,
    /// Where Go's code begins; 0 where addresses are told as such.
    text: u64,
}

/// The functions that cover the addresses in `wanted`, which ascend: ascending, each once. Nothing of an
/// image that is no Go program.
pub(super) fn read<R: ReadAt + ?Sized>(
    image: &R,
    headers: &Headers,
    sections: &NamedSections<'_>,
    limits: &ElfLimits,
    wanted: &[u64],
    names: &mut NameBudget,
) -> Result<Vec<GoFunction>, ElfError> {
    if headers.class != Class::Elf64 || headers.endian != Endianness::Little {
        return Ok(Vec::new());
    }
    let Some(section) = find(image, sections)? else {
        return Ok(Vec::new());
    };
    let Some(table) = Table::read(image, headers, sections, section)? else {
        return Ok(Vec::new());
    };
    if table.functions > limits.symbols {
        return Err(ElfError::OverLimit {
            what: "functions of Go",
            found: table.functions,
            limit: limits.symbols,
        });
    }
    let (address_bytes, entry_bytes) = table.format.entry();
    let len = table.functions * entry_bytes as u64 + address_bytes as u64;
    let entries = table.bytes(image, table.records, len)?;
    let first = table.start_of(&entries, 0);
    let is_code = first.is_some_and(|at| headers.executable_bytes_from(at).is_some());
    if !is_code || !table.is_of_module(image, headers, sections, &entries)? {
        return Ok(Vec::new());
    }
    let mut functions: Vec<GoFunction> = Vec::new();
    for at in wanted {
        if functions
            .last()
            .is_some_and(|last| at - last.start < last.len)
        {
            continue;
        }
        functions.extend(table.function(image, &entries, *at, names)?);
    }
    Ok(functions)
}

/// The part of a section that begins with the table.
fn find<R: ReadAt + ?Sized>(
    image: &R,
    sections: &NamedSections<'_>,
) -> Result<Option<Section>, ElfError> {
    if let Some(section) = SECTIONS.iter().find_map(|name| sections.find_loaded(name)) {
        return Ok(Some(*section));
    }
    if sections.find(GO_MARK).is_none() {
        return Ok(None);
    }
    let mut left = SEARCHED_BYTES_MAX;
    for section in SEARCHED
        .iter()
        .filter_map(|name| sections.find_loaded(name))
    {
        let len = section.len.min(left);
        left -= len;
        let mut at = 0;
        while at < len {
            let piece = SEARCHED_AT_ONCE.min(len - at);
            let offset = section.offset.saturating_add(at);
            let bytes = bytes_at(image, "table of Go's functions", offset, piece)?;
            // A linker puts the header at a multiple of 8 at least.
            let words = bytes.chunks_exact(8).zip((at..).step_by(8));
            for (_, into) in words.filter(|(word, _)| Format::of(word).is_some()) {
                let mut rest = *section;
                rest.addr = section.addr.saturating_add(into);
                rest.offset = section.offset.saturating_add(into);
                rest.len = section.len - into;
                if Header::read(image, &rest)?.is_some() {
                    return Ok(Some(rest));
                }
            }
            at += piece;
        }
    }
    Ok(None)
}

/// What the table says of itself.
struct Header {
    format: Format,
    functions: u64,
    names: u64,
    records: u64,
    /// Where its word is that says where Go's code begins, and what it says.
    text: Option<(u64, u64)>,
}

impl Header {
    /// `None` where there is none, or where its parts are not in their order.
    fn read<R: ReadAt + ?Sized>(image: &R, section: &Section) -> Result<Option<Self>, ElfError> {
        const BYTES: u64 = 72;
        let len = section.len.min(BYTES);
        let bytes = bytes_at(image, "table of Go's functions", section.offset, len)?;
        let Some(format) = bytes.get(..8).and_then(Format::of) else {
            return Ok(None);
        };
        let word = |number: usize| u64_at(&bytes, 8 + 8 * number);
        let found = match format {
            Format::Go12 => word(0).map(|functions| Self {
                format,
                functions,
                names: 0,
                records: 2 * WORD,
                text: None,
            }),
            Format::Go116 | Format::Go118 => {
                // Behind the counts of functions and of files, and since 1.18 the beginning of the code.
                let first = if format == Format::Go116 { 2 } else { 3 };
                let parts: Option<Vec<u64>> = (first..first + 5).map(word).collect();
                let header = parts.as_deref().zip(word(0));
                header.and_then(|(parts, functions)| match parts {
                    // Names, compilation units, files, values by address, functions.
                    [names, .., records] if parts.is_sorted() && *records < section.len => {
                        Some(Self {
                            format,
                            functions,
                            names: *names,
                            records: *records,
                            text: match format {
                                Format::Go118 => {
                                    word(2).map(|text| (section.addr + 3 * WORD, text))
                                }
                                _ => None,
                            },
                        })
                    }
                    _ => None,
                })
            }
        };
        Ok(found)
    }
}

impl Table {
    fn read<R: ReadAt + ?Sized>(
        image: &R,
        headers: &Headers,
        sections: &NamedSections<'_>,
        section: Section,
    ) -> Result<Option<Self>, ElfError> {
        let Some(header) = Header::read(image, &section)? else {
            return Ok(None);
        };
        let text = match header.text {
            None => 0,
            Some((at, text)) => {
                let told = match text {
                    0 => relocated(image, headers, sections, at)?,
                    text => Some(text),
                };
                let module = sections.find_loaded(MODULE);
                let text = match (told, module) {
                    (None, Some(module)) => {
                        module_word(image, headers, sections, module, MODULE_TEXT)?
                    }
                    (told, _) => told,
                };
                match text {
                    Some(text) => text,
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(Self {
            format: header.format,
            section,
            functions: header.functions,
            names: header.names,
            records: header.records,
            text,
        }))
    }

    /// Whether the module's data, where it was asked for where the code begins, is of this table: the
    /// layout of it is Go's own and may change.
    fn is_of_module<R: ReadAt + ?Sized>(
        &self,
        image: &R,
        headers: &Headers,
        sections: &NamedSections<'_>,
        entries: &[u8],
    ) -> Result<bool, ElfError> {
        let Some(module) = sections.find_loaded(MODULE).filter(|_| self.text != 0) else {
            return Ok(true);
        };
        let word = |number| module_word(image, headers, sections, module, number);
        let told = (
            word(MODULE_HEADER)?,
            word(MODULE_MIN_PC)?,
            word(MODULE_MIN_PC + 1)?,
        );
        let of_table = (
            Some(self.section.addr),
            self.start_of(entries, 0),
            self.start_of(entries, self.functions),
        );
        Ok(told == of_table)
    }

    /// The address of a function, or behind the last one.
    fn start_of(&self, entries: &[u8], number: u64) -> Option<u64> {
        let (address_bytes, entry_bytes) = self.format.entry();
        let at = usize::try_from(number).ok()?.checked_mul(entry_bytes)?;
        match address_bytes {
            8 => u64_at(entries, at),
            _ => self.text.checked_add(u32_at(entries, at)?.into()),
        }
    }

    fn function<R: ReadAt + ?Sized>(
        &self,
        image: &R,
        entries: &[u8],
        svma: u64,
        names: &mut NameBudget,
    ) -> Result<Option<GoFunction>, ElfError> {
        // By hand: the last address is no whole entry.
        let (mut low, mut high) = (0, self.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.start_of(entries, middle) {
                Some(start) if start <= svma => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(number) = low.checked_sub(1) else {
            return Ok(None);
        };
        let range = self
            .start_of(entries, number)
            .zip(self.start_of(entries, low));
        let Some((start, end)) = range.filter(|(start, end)| (*start..*end).contains(&svma)) else {
            return Ok(None);
        };
        let (address_bytes, entry_bytes) = self.format.entry();
        let at = number as usize * entry_bytes + address_bytes;
        let record = match address_bytes {
            8 => u64_at(entries, at),
            _ => u32_at(entries, at).map(u64::from),
        };
        let Some(record) = record else {
            return Ok(None);
        };
        // Distances are from the beginning of the functions' table, at first of everything.
        let base = match self.format {
            Format::Go12 => 0,
            _ => self.records,
        };
        // The address again, and where the name is.
        let len = address_bytes as u64 + 4;
        let record = self.bytes(image, base.saturating_add(record), len)?;
        let is_its = record.get(..address_bytes) == entries.get(at - address_bytes..at);
        let Some(name) = u32_at(&record, address_bytes).filter(|_| is_its) else {
            return Ok(None);
        };
        let name = self.names.saturating_add(name.into());
        let Some(rest) = self.section.len.checked_sub(name) else {
            return Ok(None);
        };
        let offset = self.section.offset.saturating_add(name);
        let name = names.read(image, offset, rest)?;
        let len = end - start;
        Ok(Some(GoFunction { start, len, name }).filter(|it| !it.name.is_empty()))
    }

    /// Bytes of the table, which must have them.
    fn bytes<R: ReadAt + ?Sized>(&self, image: &R, at: u64, len: u64) -> Result<Vec<u8>, ElfError> {
        if at.checked_add(len).is_none_or(|end| end > self.section.len) {
            return Err(ElfError::Truncated {
                what: "table of Go's functions",
                offset: at,
                len_bytes: len,
                image_len_bytes: self.section.len,
            });
        }
        let offset = self.section.offset.saturating_add(at);
        bytes_at(image, "table of Go's functions", offset, len)
    }
}

fn module_word<R: ReadAt + ?Sized>(
    image: &R,
    headers: &Headers,
    sections: &NamedSections<'_>,
    module: &Section,
    number: u64,
) -> Result<Option<u64>, ElfError> {
    let at = number * WORD;
    if at + WORD > module.len {
        return Ok(None);
    }
    let bytes = bytes_at(
        image,
        "data of Go's module",
        module.offset.saturating_add(at),
        WORD,
    )?;
    match u64_at(&bytes, 0) {
        Some(0) => relocated(image, headers, sections, module.addr.saturating_add(at)),
        word => Ok(word),
    }
}

/// What the loader adds to its base for the word at this address: linkers may leave it 0 in the file.
fn relocated<R: ReadAt + ?Sized>(
    image: &R,
    headers: &Headers,
    sections: &NamedSections<'_>,
    at: u64,
) -> Result<Option<u64>, ElfError> {
    let found = Relocations::of(image, headers, sections).at(&[at])?;
    Ok(match found.first() {
        Some(Some(Relocation::Relative(svma))) => Some(*svma),
        _ => None,
    })
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}
