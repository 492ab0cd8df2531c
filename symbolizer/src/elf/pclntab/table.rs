//! Where the table is, its functions, and where they begin.

use crate::elf::headers::{Class, Headers, Section, bytes_at};
use crate::elf::relocations::{Relocation, Relocations};
use crate::elf::sections::NamedSections;
use crate::elf::{ElfError, ElfLimits, ReadAt};
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
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

/// The table, but for the records and what they lead to.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) format: Format,
    /// Bytes of the smallest instruction.
    pub(super) quantum: u8,
    /// Its bytes in the file, and its address.
    pub(super) section: Section,
    functions: u64,
    /// Distances from its beginning to the names, to values by address, and to the table of functions and
    /// their records.
    pub(super) names: u64,
    pub(super) values: u64,
    records: u64,
    /// Where Go's code begins; 0 where addresses are told as such.
    text: u64,
    /// The table of functions: where each begins and where its record is; behind them, where the last
    /// one ends.
    entries: Vec<u8>,
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
    values: u64,
    records: u64,
    quantum: u8,
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
        let quantum = bytes.get(6).copied().unwrap_or(1);
        let found = match format {
            Format::Go12 => word(0).map(|functions| Self {
                format,
                functions,
                names: 0,
                values: 0,
                records: 2 * WORD,
                quantum,
                text: None,
            }),
            Format::Go116 | Format::Go118 => {
                // Behind the counts of functions and of files, and since 1.18 the beginning of the code.
                let first = if format == Format::Go116 { 2 } else { 3 };
                let parts: Option<Vec<u64>> = (first..first + 5).map(word).collect();
                let header = parts.as_deref().zip(word(0));
                header.and_then(|(parts, functions)| match parts {
                    // Names, compilation units, files, values by address, functions.
                    [names, _, _, values, records]
                        if parts.is_sorted() && *records < section.len =>
                    {
                        Some(Self {
                            format,
                            functions,
                            names: *names,
                            values: *values,
                            records: *records,
                            quantum,
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
    /// Finds and checks it; `None` of an image that is no Go program, or whose code is not where the
    /// table says.
    pub(super) fn read<R: ReadAt + ?Sized>(
        image: &R,
        headers: &Headers,
        sections: &NamedSections<'_>,
        limits: &ElfLimits,
    ) -> Result<Option<Self>, ElfError> {
        if headers.class != Class::Elf64 || headers.endian != Endianness::Little {
            return Ok(None);
        }
        let Some(section) = find(image, sections)? else {
            return Ok(None);
        };
        let Some(header) = Header::read(image, &section)? else {
            return Ok(None);
        };
        if header.functions > limits.symbols {
            return Err(ElfError::OverLimit {
                what: "functions of Go",
                found: header.functions,
                limit: limits.symbols,
            });
        }
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
        let mut table = Self {
            format: header.format,
            quantum: header.quantum,
            section,
            functions: header.functions,
            names: header.names,
            values: header.values,
            records: header.records,
            text,
            entries: Vec::new(),
        };
        let (address_bytes, entry_bytes) = table.format.entry();
        let len = table.functions * entry_bytes as u64 + address_bytes as u64;
        table.entries = table.bytes(image, table.records, len)?;
        let first = table.start_of(0);
        let is_code = first.is_some_and(|at| headers.executable_bytes_from(at).is_some());
        let is_its = is_code && table.is_of_module(image, headers, sections)?;
        Ok(is_its.then_some(table))
    }

    /// Whether the module's data, where it was asked for where the code begins, is of this table: the
    /// layout of it is Go's own and may change.
    fn is_of_module<R: ReadAt + ?Sized>(
        &self,
        image: &R,
        headers: &Headers,
        sections: &NamedSections<'_>,
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
            self.start_of(0),
            self.start_of(self.functions),
        );
        Ok(told == of_table)
    }

    /// The address of a function, or behind the last one.
    fn start_of(&self, number: u64) -> Option<u64> {
        let (address_bytes, entry_bytes) = self.format.entry();
        let at = usize::try_from(number).ok()?.checked_mul(entry_bytes)?;
        match address_bytes {
            8 => u64_at(&self.entries, at),
            _ => self.text.checked_add(u32_at(&self.entries, at)?.into()),
        }
    }

    /// What is kept of it.
    pub(super) fn len_bytes(&self) -> usize {
        self.entries.len()
    }

    /// The number of the function that covers an address, where it begins and where the next one does.
    pub(super) fn covering(&self, svma: u64) -> Option<(u64, u64, u64)> {
        // By hand: the last address is no whole entry.
        let (mut low, mut high) = (0, self.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.start_of(middle) {
                Some(start) if start <= svma => low = middle + 1,
                _ => high = middle,
            }
        }
        let number = low.checked_sub(1)?;
        let (start, end) = self.start_of(number).zip(self.start_of(low))?;
        (start..end).contains(&svma).then_some((number, start, end))
    }

    /// `len` bytes of a function's record behind the address that it begins with; `None` where that is
    /// not the function's.
    pub(super) fn record<R: ReadAt + ?Sized>(
        &self,
        image: &R,
        number: u64,
        len: u64,
    ) -> Result<Option<Vec<u8>>, ElfError> {
        let (address_bytes, entry_bytes) = self.format.entry();
        let at = number as usize * entry_bytes + address_bytes;
        let record = match address_bytes {
            8 => u64_at(&self.entries, at),
            _ => u32_at(&self.entries, at).map(u64::from),
        };
        let Some(record) = record else {
            return Ok(None);
        };
        // Distances are from the beginning of the functions' table, at first of everything.
        let base = match self.format {
            Format::Go12 => 0,
            _ => self.records,
        };
        let len = address_bytes as u64 + len;
        let mut record = self.bytes(image, base.saturating_add(record), len)?;
        let is_its = record.get(..address_bytes) == self.entries.get(at - address_bytes..at);
        Ok(is_its.then(|| record.split_off(address_bytes)))
    }

    /// Bytes of the table, which must have them.
    pub(super) fn bytes<R: ReadAt + ?Sized>(
        &self,
        image: &R,
        at: u64,
        len: u64,
    ) -> Result<Vec<u8>, ElfError> {
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

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*word))
}
