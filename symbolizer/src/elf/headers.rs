//! Program and section headers as plain numbers, and the build id.

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::pod::slice_from_bytes;
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader};
use profiler::BuildId;

use super::{ElfError, ElfLimits, ReadAt};

/// Notes are read up to this many bytes of all segments and sections together. Real ones have some
/// hundred; a hostile image repeats a large one in each of its headers.
const NOTES_BYTES_MAX: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Elf32,
    Elf64,
}

/// A `PT_LOAD` or `PT_NOTE` program header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    is_note: bool,
    pub(super) executable: bool,
    /// First byte in the file.
    pub(super) offset: u64,
    /// Bytes in the file.
    pub(super) file_len: u64,
    /// Stated virtual address of the first byte.
    pub(super) vaddr: u64,
    /// Bytes in memory: at least `file_len` in a sound image.
    pub(super) mem_len: u64,
    align: u64,
}

/// A section header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// Where its name is in the string table of section names.
    pub(super) name: u32,
    pub(super) kind: elf::SectionType,
    pub(super) executable: bool,
    pub(super) compressed: bool,
    /// Stated virtual address.
    pub(super) addr: u64,
    pub(super) offset: u64,
    /// Bytes in memory, and in the file unless the section has none there.
    pub(super) len: u64,
    /// Index of the string table, for a symbol table; of the symbol table, for relocations.
    pub(super) link: u32,
    /// Bytes of one of its equal entries; 0 where it has none.
    pub(super) entry_bytes: u64,
    pub(super) align: u64,
}

#[derive(Debug)]
pub(super) struct Headers {
    pub(super) class: Class,
    pub(super) endian: Endianness,
    pub(super) machine: elf::Machine,
    pub(super) segments: Vec<Segment>,
    pub(super) sections: Vec<Section>,
    /// Index of the string table of section names; 0 for none.
    pub(super) section_names: u32,
}

impl Headers {
    pub(super) fn read<R: ReadAt + ?Sized>(
        image: &R,
        limits: &ElfLimits,
    ) -> Result<Self, ElfError> {
        let start = bytes_at(image, "start of the header", 0, 16.min(image.len_bytes()))?;
        match (start.get(..4), start.get(4).copied()) {
            (Some(b"\x7fELF"), Some(1)) => {
                read_headers::<FileHeader32<Endianness>, R>(image, limits, Class::Elf32)
            }
            (Some(b"\x7fELF"), Some(2)) => {
                read_headers::<FileHeader64<Endianness>, R>(image, limits, Class::Elf64)
            }
            _ => Err(ElfError::NotElf),
        }
    }

    /// The `PT_LOAD`s, executable ones first: where segments overlap in the file, sampled
    /// addresses are in the one that runs.
    pub(super) fn loads(&self) -> Vec<Segment> {
        let mut loads = self.segments.clone();
        loads.retain(|segment| !segment.is_note);
        loads.sort_by_key(|load| !load.executable);
        loads
    }

    /// Bytes from `svma` to the end of the executable segment it lies in.
    pub(super) fn executable_bytes_from(&self, svma: u64) -> Option<u64> {
        self.segments
            .iter()
            .filter(|segment| segment.executable && !segment.is_note)
            .filter_map(|load| load.mem_len.checked_sub(svma.checked_sub(load.vaddr)?))
            .find(|rest| *rest > 0)
    }

    pub(super) fn build_id<R: ReadAt + ?Sized>(
        &self,
        image: &R,
    ) -> Result<Option<BuildId>, ElfError> {
        let in_segments = self
            .segments
            .iter()
            .filter(|segment| segment.is_note)
            .map(|segment| (segment.offset, segment.file_len, segment.align));
        let in_sections = self
            .sections
            .iter()
            .filter(|section| section.kind == elf::SHT_NOTE)
            .map(|section| (section.offset, section.len, section.align));
        let mut left_bytes = NOTES_BYTES_MAX;
        for (offset, len, align) in in_segments.chain(in_sections) {
            let len = len.min(left_bytes);
            left_bytes -= len;
            let notes = bytes_at(image, "notes", offset, len)?;
            let id = match self.class {
                Class::Elf32 => {
                    let align = u32::try_from(align).unwrap_or(4);
                    build_id_among::<FileHeader32<Endianness>>(self.endian, align, &notes)
                }
                Class::Elf64 => {
                    build_id_among::<FileHeader64<Endianness>>(self.endian, align, &notes)
                }
            };
            if id.is_some() {
                return Ok(id);
            }
        }
        Ok(None)
    }
}

/// A damaged note hides the ones behind it, and is no error: the build id is then unknown.
fn build_id_among<Elf: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    align: Elf::Word,
    notes: &[u8],
) -> Option<BuildId> {
    NoteIterator::<Elf>::new(endian, align, notes)
        .ok()?
        .map_while(Result::ok)
        .find(|note| note.name() == b"GNU" && note.n_type(endian) == elf::NT_GNU_BUILD_ID)
        .and_then(|note| BuildId::new(note.desc()))
}

fn read_headers<Elf, R>(image: &R, limits: &ElfLimits, class: Class) -> Result<Headers, ElfError>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadAt + ?Sized,
{
    let header = bytes_at(image, "file header", 0, size_of::<Elf>() as u64)?;
    let header = Elf::parse(&*header).map_err(|_| ElfError::NotElf)?;
    let endian = header.endian().map_err(|_| ElfError::NotElf)?;

    let segments = table::<Elf::ProgramHeader, R>(
        image,
        &Table {
            what: "program headers",
            offset: header.e_phoff(endian).into(),
            count: header.e_phnum(endian).into(),
            entry_bytes: header.e_phentsize(endian),
            limit: limits.program_headers,
        },
    )?;
    let segments = segments.entries::<Elf::ProgramHeader>()?.iter();
    let segments = segments
        .filter(|it| matches!(it.p_type(endian), elf::PT_LOAD | elf::PT_NOTE))
        .map(|it| Segment {
            is_note: it.p_type(endian) == elf::PT_NOTE,
            executable: it.p_flags(endian).0 & elf::PF_X.0 != 0,
            offset: it.p_offset(endian).into(),
            file_len: it.p_filesz(endian).into(),
            vaddr: it.p_vaddr(endian).into(),
            mem_len: it.p_memsz(endian).into(),
            align: it.p_align(endian).into(),
        })
        .collect();

    let mut sections = Table {
        what: "section headers",
        offset: header.e_shoff(endian).into(),
        count: header.e_shnum(endian).into(),
        entry_bytes: header.e_shentsize(endian),
        limit: limits.sections,
    };
    if sections.count == 0 && sections.offset != 0 {
        // From 0xff00 sections on, the count stands in the first section's sh_size (elf(5)).
        sections.count = 1;
        let first = table::<Elf::SectionHeader, R>(image, &sections)?;
        let first = first.entries::<Elf::SectionHeader>()?;
        sections.count = first.first().map_or(0, |it| it.sh_size(endian).into());
    }
    let sections = table::<Elf::SectionHeader, R>(image, &sections)?;
    let sections = sections.entries::<Elf::SectionHeader>()?.iter();
    let sections = sections
        .map(|it| Section {
            name: it.sh_name(endian),
            kind: it.sh_type(endian),
            executable: it.sh_flags(endian).0 & elf::SHF_EXECINSTR.0 != 0,
            compressed: it.sh_flags(endian).0 & elf::SHF_COMPRESSED.0 != 0,
            addr: it.sh_addr(endian).into(),
            offset: it.sh_offset(endian).into(),
            len: it.sh_size(endian).into(),
            link: it.sh_link(endian),
            entry_bytes: it.sh_entsize(endian).into(),
            align: it.sh_addralign(endian).into(),
        })
        .collect::<Vec<Section>>();
    // An index that does not fit stands in the first section's sh_link (elf(5)).
    let section_names = match header.e_shstrndx(endian) {
        elf::SHN_XINDEX => sections.first().map_or(0, |it| it.link),
        index => index.0.into(),
    };

    Ok(Headers {
        class,
        endian,
        machine: header.e_machine(endian),
        segments,
        sections,
        section_names,
    })
}

/// Where a table of headers says it is.
struct Table {
    what: &'static str,
    offset: u64,
    count: u64,
    entry_bytes: u16,
    limit: u64,
}

/// A table's bytes and how many entries they hold.
struct Entries {
    bytes: Vec<u8>,
    count: usize,
}

impl Entries {
    fn entries<T: object::pod::Pod>(&self) -> Result<&[T], ElfError> {
        match slice_from_bytes(&self.bytes, self.count) {
            Ok((entries, _)) => Ok(entries),
            Err(()) => Err(ElfError::Malformed {
                what: "number of table entries",
                found: self.count as u64,
            }),
        }
    }
}

fn table<T, R: ReadAt + ?Sized>(image: &R, table: &Table) -> Result<Entries, ElfError> {
    let &Table {
        what,
        offset,
        count,
        entry_bytes,
        limit,
    } = table;
    if count == 0 {
        return Ok(Entries {
            bytes: Vec::new(),
            count: 0,
        });
    }
    if usize::from(entry_bytes) != size_of::<T>() {
        return Err(ElfError::Malformed {
            what: "size of a header table's entry",
            found: entry_bytes.into(),
        });
    }
    if count > limit {
        return Err(ElfError::OverLimit {
            what,
            found: count,
            limit,
        });
    }
    // No overflow: count is at most a limit of ours, entry_bytes 16 bits.
    let bytes = bytes_at(image, what, offset, count * u64::from(entry_bytes))?;
    Ok(Entries {
        bytes,
        count: count as usize,
    })
}

/// Reads exactly `len_bytes`, after checking that the image has them.
pub(super) fn bytes_at<R: ReadAt + ?Sized>(
    image: &R,
    what: &'static str,
    offset: u64,
    len_bytes: u64,
) -> Result<Vec<u8>, ElfError> {
    let mut bytes = Vec::new();
    bytes_again(image, what, (offset, len_bytes), &mut bytes)?;
    Ok(bytes)
}

/// [`bytes_at`] into what was read into before.
pub(super) fn bytes_again<R: ReadAt + ?Sized>(
    image: &R,
    what: &'static str,
    (offset, len_bytes): (u64, u64),
    bytes: &mut Vec<u8>,
) -> Result<(), ElfError> {
    is_there(image, what, (offset, len_bytes))?;
    image
        .read_again(offset, len_bytes, bytes)
        .map_err(|source| ElfError::Read {
            offset,
            len_bytes,
            source,
        })?;
    if bytes.len() as u64 == len_bytes {
        Ok(())
    } else {
        Err(truncated(image, what, (offset, len_bytes)))
    }
}

/// Checks that the image has so many bytes from `offset` on.
pub(super) fn is_there<R: ReadAt + ?Sized>(
    image: &R,
    what: &'static str,
    (offset, len_bytes): (u64, u64),
) -> Result<(), ElfError> {
    match offset.checked_add(len_bytes) {
        Some(end) if end <= image.len_bytes() => Ok(()),
        _ => Err(truncated(image, what, (offset, len_bytes))),
    }
}

fn truncated<R: ReadAt + ?Sized>(
    image: &R,
    what: &'static str,
    (offset, len_bytes): (u64, u64),
) -> ElfError {
    ElfError::Truncated {
        what,
        offset,
        len_bytes,
        image_len_bytes: image.len_bytes(),
    }
}
