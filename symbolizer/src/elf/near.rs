//! The part of the symbol tables that answers some lookups: of a million functions, a recording leads
//! through some hundred. The others are neither sorted nor kept, and their names not read.

use object::Endianness;
use object::read::elf::FileHeader;

use super::headers::{Headers, Section, bytes_at};
use super::symbols::{NAME_MAX_BYTES, SymbolTable, has_symtab, shortened};
use super::tables::{Candidate, Tables};
use super::{ElfError, ElfLimits, ReadAt};

/// Functions that are kept. More are of an image that is best read as a whole.
const KEPT_MAX: usize = 1 << 16;
/// Functions that are kept before those are dropped that are not needed after all.
const PRUNED_AT: usize = 1 << 12;
/// Bytes that are read of a name at first: nearly all end there.
const NAME_BYTES: u64 = 256;
/// String tables up to this size are read as a whole, and those of so many bytes for each name that
/// is wanted: copying them costs as much as asking for the name.
const STRINGS_BYTES: u64 = 64 << 10;
const STRINGS_BYTES_A_NAME: u64 = 1000;

/// Reads what answers a lookup of `wanted`, ascending addresses, as the whole table does. `None` where
/// only the whole table tells, which is rare.
pub(super) fn read<Elf, R>(
    image: &R,
    headers: &Headers,
    limits: &ElfLimits,
    wanted: &[u64],
) -> Result<Option<SymbolTable>, ElfError>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadAt + ?Sized,
{
    let tables = Tables::of::<Elf>(headers, limits)?;
    let mut near = Near::new(wanted);
    for (number, table) in tables.iter().enumerate() {
        table.read::<Elf, R>(image, headers, |candidate| near.take(number, candidate))?;
    }
    near.prune();
    if near.kept.len() > KEPT_MAX {
        return Ok(None);
    }
    let all_bytes: u64 = tables.iter().map(|table| table.strings.len).sum();
    let mut names = Vec::new();
    let mut candidates = Vec::with_capacity(near.kept.len());
    for (number, table) in tables.iter().enumerate() {
        let kept = near.kept.iter().filter(|kept| kept.table == number);
        let strings = Strings::open(image, &table.strings, kept.clone().count())?;
        for Kept { candidate, .. } in kept {
            let mut candidate = *candidate;
            let name = strings.name(image, candidate.name)?;
            if !candidate.may_be_called(&name) || (names.len() + name.len()) as u64 > all_bytes {
                // It is no function: another one may be the last before an address. Or one long
                // name has many beginnings.
                return Ok(None);
            }
            // No more than the string tables, which are below 32 bits.
            candidate.name = names.len() as u32;
            names.extend_from_slice(&name);
            names.push(0);
            candidates.push(candidate);
        }
    }
    Ok(Some(SymbolTable::build(
        candidates,
        names,
        has_symtab(headers),
    )))
}

/// A function that may answer.
struct Kept {
    candidate: Candidate,
    /// Its table's number.
    table: usize,
}

/// The functions that cover a wanted address or are the last to start before one, and those that reach
/// over the start of such a last one: if that has no size, it ends where they do. One that started
/// before the wanted address before covers that one too.
struct Near<'a> {
    wanted: &'a [u64],
    /// The greatest start of any function behind the wanted address before and up to each one.
    last: Vec<Option<u64>>,
    kept: Vec<Kept>,
    prune_at: usize,
}

impl<'a> Near<'a> {
    fn new(wanted: &'a [u64]) -> Self {
        Self {
            wanted,
            last: vec![None; wanted.len()],
            kept: Vec::new(),
            prune_at: PRUNED_AT,
        }
    }

    fn take(&mut self, table: usize, candidate: Candidate) {
        let next = self.wanted.partition_point(|at| *at < candidate.start);
        let (Some(at), Some(last)) = (self.wanted.get(next), self.last.get_mut(next)) else {
            return;
        };
        if last.is_none_or(|last| last < candidate.start) {
            *last = Some(candidate.start);
        }
        if may_answer(&candidate, *at, *last) {
            self.kept.push(Kept { candidate, table });
            if self.kept.len() >= self.prune_at {
                self.prune();
                self.prune_at = PRUNED_AT.max(2 * self.kept.len());
            }
        }
    }

    /// Drops those behind which another one was found to start.
    fn prune(&mut self) {
        let (wanted, last) = (self.wanted, &self.last);
        self.kept.retain(|Kept { candidate, .. }| {
            let next = wanted.partition_point(|at| *at < candidate.start);
            let place = wanted.get(next).zip(last.get(next));
            place.is_some_and(|(at, last)| may_answer(candidate, *at, *last))
        });
    }
}

/// Whether it matters for `at`, the next wanted address, before which `last` is the last start.
fn may_answer(candidate: &Candidate, at: u64, last: Option<u64>) -> bool {
    let reaches_over = |start| !candidate.rank.is_unsized && candidate.end() > start;
    last == Some(candidate.start) || reaches_over(at) || last.is_some_and(reaches_over)
}

/// A string table: all of a small one, else what is asked for.
struct Strings {
    section: Section,
    bytes: Option<Vec<u8>>,
}

impl Strings {
    fn open<R: ReadAt + ?Sized>(
        image: &R,
        section: &Section,
        names: usize,
    ) -> Result<Self, ElfError> {
        let whole_bytes = STRINGS_BYTES.max(names as u64 * STRINGS_BYTES_A_NAME);
        let bytes = match section.len <= whole_bytes {
            true => Some(bytes_at(
                image,
                "string table",
                section.offset,
                section.len,
            )?),
            false => None,
        };
        Ok(Self {
            section: *section,
            bytes,
        })
    }

    /// The string at `at`, or one byte more than [`NAME_MAX_BYTES`] of it.
    fn name<R: ReadAt + ?Sized>(&self, image: &R, at: u32) -> Result<Vec<u8>, ElfError> {
        match &self.bytes {
            Some(bytes) => {
                let rest = bytes.get(at as usize..).unwrap_or_default();
                let end = memchr::memchr(0, rest).unwrap_or(rest.len());
                let end = end.min(NAME_MAX_BYTES + 1);
                Ok(rest.get(..end).unwrap_or_default().to_vec())
            }
            None => {
                let rest = self.section.len.saturating_sub(at.into());
                name_at(image, self.section.offset.saturating_add(at.into()), rest)
            }
        }
    }
}

/// The string at an offset of the file, of whose table `rest` bytes are left; or one byte more
/// than [`NAME_MAX_BYTES`] of it.
fn name_at<R: ReadAt + ?Sized>(image: &R, offset: u64, rest: u64) -> Result<Vec<u8>, ElfError> {
    let mut wanted = NAME_BYTES;
    loop {
        let len = wanted.min(rest);
        let mut name = bytes_at(image, "string table", offset, len)?;
        if let Some(end) = memchr::memchr(0, &name) {
            name.truncate(end);
            return Ok(name);
        }
        if len == rest || wanted > NAME_MAX_BYTES as u64 {
            return Ok(name);
        }
        wanted = (wanted * 16).min(NAME_MAX_BYTES as u64 + 1);
    }
}

/// Names that are read one by one and kept: their bytes are bounded.
pub(super) struct NameBudget {
    left_bytes: usize,
}

impl Default for NameBudget {
    fn default() -> Self {
        Self {
            left_bytes: 64 << 20,
        }
    }
}

impl NameBudget {
    /// The string at an offset of the file, of whose table `rest` bytes are left, as
    /// [`Symbol::name`](super::Symbol) has it.
    pub(super) fn read<R: ReadAt + ?Sized>(
        &mut self,
        image: &R,
        offset: u64,
        rest: u64,
    ) -> Result<Vec<u8>, ElfError> {
        let name = shortened(name_at(image, offset, rest)?.into()).into_owned();
        match self.left_bytes.checked_sub(name.len()) {
            Some(left) => self.left_bytes = left,
            None => {
                return Err(ElfError::OverLimit {
                    what: "bytes of names",
                    found: name.len() as u64,
                    limit: self.left_bytes as u64,
                });
            }
        }
        Ok(name)
    }
}
