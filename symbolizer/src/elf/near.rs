//! The part of the symbol tables that answers some lookups: of a million functions, a recording leads
//! through some hundred. The others are neither sorted nor kept, and their names not read.

use std::borrow::Cow;

use object::Endianness;
use object::read::elf::{FileHeader, Sym};

use super::headers::{Headers, Section, bytes_again, bytes_at};
use super::symbols::{NAME_MAX_BYTES, SymbolTable, has_symtab, shortened};
use super::tables::{Candidate, Entries, Tables};
use super::{ElfError, ElfLimits, ReadAt};

/// Functions that are kept. More are of an image that is best read as a whole.
const KEPT_MAX: usize = 1 << 16;
/// Functions that are kept before those are dropped that are not needed after all.
const PRUNED_AT: usize = 1 << 12;
/// Bytes that are read of a name at first: nearly all end there.
const NAME_BYTES: u64 = 256;
/// Where so many hold more than one name, they are read at once: to ask again costs as much as to copy them.
const WINDOW_BYTES: u64 = 4 << 10;
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
        table.read::<Elf, R>(image, headers, |entries| near.take_all(number, &entries))?;
    }
    near.prune();
    if near.kept.len() > KEPT_MAX {
        return Ok(None);
    }
    let all_bytes: u64 = tables.iter().map(|table| table.strings.len).sum();
    let mut names = Vec::new();
    let mut candidates = Vec::with_capacity(near.kept.len());
    // In the order of the string tables.
    near.kept
        .sort_unstable_by_key(|kept| (kept.table, kept.candidate.name));
    for (number, table) in tables.iter().enumerate() {
        let kept = near.kept.iter().filter(|kept| kept.table == number);
        let mut strings = Strings::open(image, &table.strings, kept.clone().count())?;
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
    wanted: Ordered<'a>,
    /// The greatest start of any function behind the wanted address before and up to each one.
    last: Vec<Option<u64>>,
    kept: Vec<Kept>,
    prune_at: usize,
}

impl<'a> Near<'a> {
    fn new(wanted: &'a [u64]) -> Self {
        Self {
            wanted: Ordered::new(wanted),
            last: vec![None; wanted.len()],
            kept: Vec::new(),
            prune_at: PRUNED_AT,
        }
    }

    /// From the last to the first: linkers mostly write them ascending, and then nearly all are in front of one that was
    /// met before and is nearer to what is wanted.
    fn take_all<S: Sym<Endian = Endianness>>(&mut self, table: usize, entries: &Entries<'_, S>) {
        for entry in entries.all().rev() {
            let (start, end) = entry.said();
            if self.may_matter(start, end)
                && let Some(candidate) = entry.function()
            {
                self.take(table, candidate);
            }
        }
    }

    /// Whether a function from `start` to `end`, or without a size if that is the same, may be kept: see [`may_answer`].
    fn may_matter(&self, start: u64, end: u64) -> bool {
        let Some((next, _)) = self.wanted.next(start) else {
            return false;
        };
        let last = self.last.get(next).copied().flatten();
        last.is_none_or(|last| start >= last || end > last)
    }

    fn take(&mut self, table: usize, candidate: Candidate) {
        let Some((next, at)) = self.wanted.next(candidate.start) else {
            return;
        };
        let Some(last) = self.last.get_mut(next) else {
            return;
        };
        if last.is_none_or(|last| last < candidate.start) {
            *last = Some(candidate.start);
        }
        if may_answer(&candidate, at, *last) {
            self.kept.push(Kept { candidate, table });
            if self.kept.len() >= self.prune_at {
                self.prune();
                self.prune_at = PRUNED_AT.max(2 * self.kept.len());
            }
        }
    }

    /// Drops those behind which another one was found to start.
    fn prune(&mut self) {
        let (wanted, last) = (&self.wanted, &self.last);
        self.kept.retain(|Kept { candidate, .. }| {
            let place = wanted.next(candidate.start);
            place.is_some_and(|(next, at)| {
                may_answer(candidate, at, last.get(next).copied().flatten())
            })
        });
    }
}

/// Addresses that are searched for each of a million functions: a table has where each stretch of them begins.
struct Ordered<'a> {
    /// Ascending.
    all: &'a [u64],
    /// The first of them.
    base: u64,
    last: u64,
    /// A stretch is as long as this power of two.
    shift: u32,
    /// How many are below each stretch, and below the end of the last one.
    below: Vec<u32>,
}

impl<'a> Ordered<'a> {
    fn new(all: &'a [u64]) -> Self {
        let base = all.first().copied().unwrap_or_default();
        let last = all.last().copied().unwrap_or_default();
        let stretches = (4 * all.len() as u64).clamp(1, 1 << 16);
        let span = last - base;
        let shift = (0..64)
            .find(|shift| span >> shift < stretches)
            .unwrap_or(63);
        let mut count = 0;
        let mut rest = all.iter().peekable();
        let below = (0..=(span >> shift) + 1).map(|stretch: u64| {
            // Only the end of the last one may be too large.
            let begin = stretch
                .checked_mul(1 << shift)
                .and_then(|at| base.checked_add(at));
            let is_below = |at: &&u64| begin.is_none_or(|begin| **at < begin);
            while rest.next_if(is_below).is_some() {
                count += 1;
            }
            count
        });
        Self {
            all,
            base,
            last,
            shift,
            below: below.collect(),
        }
    }

    /// The first that is not below `address`, and how many are.
    fn next(&self, address: u64) -> Option<(usize, u64)> {
        if address > self.last {
            return None;
        }
        let Some(into) = address.checked_sub(self.base) else {
            return Some((0, *self.all.first()?));
        };
        let stretch = (into >> self.shift) as usize;
        let (from, to) = (*self.below.get(stretch)?, *self.below.get(stretch + 1)?);
        let within = self.all.get(from as usize..to as usize)?;
        let next = from as usize + within.partition_point(|at| *at < address);
        Some((next, *self.all.get(next)?))
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
    /// What was read last, from this offset in the table on.
    from: u64,
    bytes: Vec<u8>,
    /// To be read at once.
    window_bytes: u64,
}

impl Strings {
    fn open<R: ReadAt + ?Sized>(
        image: &R,
        section: &Section,
        names: usize,
    ) -> Result<Self, ElfError> {
        let whole_bytes = STRINGS_BYTES.max(names as u64 * STRINGS_BYTES_A_NAME);
        let bytes = match section.len <= whole_bytes {
            true => bytes_at(image, "string table", section.offset, section.len)?,
            false => Vec::new(),
        };
        Ok(Self {
            section: *section,
            from: 0,
            bytes,
            window_bytes: match section.len / (names as u64).max(1) < WINDOW_BYTES {
                true => WINDOW_BYTES,
                false => NAME_BYTES,
            },
        })
    }

    /// The string at `at`, or one byte more than [`NAME_MAX_BYTES`] of it.
    fn name<R: ReadAt + ?Sized>(&mut self, image: &R, at: u32) -> Result<Cow<'_, [u8]>, ElfError> {
        let at = u64::from(at);
        let (offset, rest) = (
            self.section.offset.saturating_add(at),
            self.section.len.saturating_sub(at),
        );
        if self.len_read(at).is_none() {
            let len = self.window_bytes.min(rest);
            bytes_again(image, "string table", (offset, len), &mut self.bytes)?;
            self.from = at;
        }
        match self.len_read(at) {
            Some(len) => {
                let begin = (at - self.from) as usize;
                let name = self.bytes.get(begin..begin + len);
                Ok(Cow::Borrowed(name.unwrap_or_default()))
            }
            None => name_at(image, offset, rest).map(Cow::Owned),
        }
    }

    /// Bytes of the string at `at`, or one more than [`NAME_MAX_BYTES`], if its end was read.
    fn len_read(&self, at: u64) -> Option<usize> {
        let begin = usize::try_from(at.checked_sub(self.from)?).ok()?;
        let text = self.bytes.get(begin..).filter(|text| !text.is_empty())?;
        let is_last = self.from + self.bytes.len() as u64 >= self.section.len;
        // A table may lack its last NUL.
        let end = memchr::memchr(0, text).or(is_last.then_some(text.len()))?;
        Some(end.min(NAME_MAX_BYTES + 1))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_wanted_address_is_the_first_that_is_not_below() {
        let sets: [&[u64]; 8] = [
            &[],
            &[0],
            &[7],
            &[u64::MAX],
            &[0, u64::MAX],
            &[1, 2, 3, 4, 1 << 40],
            &[
                0x1000,
                0x1001,
                0x1fff,
                0x2000,
                0x2001,
                0xffff_ffff_8100_0000,
            ],
            &[u64::MAX - 9, u64::MAX - 8, u64::MAX - 1],
        ];
        for all in sets {
            let ordered = Ordered::new(all);
            let beside = |at: &u64| [at.wrapping_sub(1), *at, at.wrapping_add(1), at / 2];
            for address in all.iter().flat_map(beside).chain([0, 1, u64::MAX]) {
                let next = all.partition_point(|at| *at < address);
                let expected = all.get(next).map(|at| (next, *at));
                assert_eq!(ordered.next(address), expected, "{address:#x} in {all:x?}");
            }
        }
    }
}
