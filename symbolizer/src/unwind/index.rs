//! Where in an image's call frame information a function's entry is.

use super::cfi::Bytes;
use gimli::{BaseAddresses, CieOrFde, CommonInformationEntry, UnwindOffset, UnwindSection};
use std::ops::Range;

/// Largest entry that functions share. Real ones have some 30 bytes.
const SHARED_BYTES_MAX: u64 = 1 << 10;
/// Most functions of one image. The largest images have a million.
const FUNCTIONS_MAX: usize = 4 << 20;

/// Where functions begin (stated addresses) and their entries' offsets.
pub(super) enum Index {
    /// The linker's own: ascending, as all linkers sort it. Where one did not, the entry that is
    /// found is about another address.
    Linked(Linked),
    /// Made by reading all of a section; sorted.
    Walked(Vec<(u64, u32)>),
}

/// How the linker's index is searched: it is megabytes long, and each step of a search would wait
/// for memory.
#[derive(Default)]
pub(super) struct Linked {
    functions: usize,
    /// The start of every [`Linked::STEP`]th function, from the index's own address.
    heads: Vec<i32>,
}

impl Linked {
    /// 512 bytes of the index.
    const STEP: usize = 64;

    pub(super) fn new(entries: &[[u8; 8]]) -> Self {
        Self {
            functions: entries.len(),
            heads: entries.iter().step_by(Self::STEP).map(start_in).collect(),
        }
    }

    /// What it takes besides the index itself.
    pub(super) fn len_bytes(&self) -> usize {
        self.heads.len() * size_of::<i32>()
    }

    /// The last of `entries` that begins at or before `wanted`, and the one behind it.
    pub(super) fn preceding<'a>(
        &self,
        entries: &'a [[u8; 8]],
        wanted: i64,
    ) -> Option<(&'a [u8; 8], Option<&'a [u8; 8]>)> {
        let entries = entries.get(..self.functions)?;
        let head = self
            .heads
            .partition_point(|start| i64::from(*start) <= wanted);
        let first = head.checked_sub(1)? * Self::STEP;
        let block = entries.get(first..entries.len().min(first + Self::STEP))?;
        let after = block.partition_point(|entry| i64::from(start_in(entry)) <= wanted);
        Some((
            block.get(after.checked_sub(1)?)?,
            entries.get(first + after),
        ))
    }
}

/// Where the function of an entry of the linker's index begins.
pub(super) fn start_in(entry: &[u8; 8]) -> i32 {
    entry
        .first_chunk()
        .map_or(0, |start| i32::from_le_bytes(*start))
}

/// Where its entry in `.eh_frame` is.
pub(super) fn place_in(entry: &[u8; 8]) -> i32 {
    entry
        .last_chunk()
        .map_or(0, |place| i32::from_le_bytes(*place))
}

/// Of the last entry that begins at or before an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Preceding {
    /// Where in its section it is.
    pub(super) offset: u32,
    /// Stated addresses that it precedes: up to where the next one begins.
    pub(super) span: Range<u64>,
}

/// The last entry that begins at or before `svma`.
pub(super) fn preceding(index: &[(u64, u32)], svma: u64) -> Option<Preceding> {
    let after = index.partition_point(|(start, _)| *start <= svma);
    let (start, offset) = *index.get(after.checked_sub(1)?)?;
    let end = index.get(after).map_or(u64::MAX, |(start, _)| *start);
    Some(Preceding {
        offset,
        span: start..end,
    })
}

/// What the entry at `offset` says that its length is.
pub(super) fn entry_len(section: &[u8], offset: usize) -> Option<u64> {
    let rest = section.get(offset..)?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    match u32::from_le_bytes(*len) {
        u32::MAX => rest.first_chunk::<8>().map(|len| u64::from_le_bytes(*len)),
        len => Some(len.into()),
    }
}

/// An entry that functions share, unless reading it takes long: it is read for each of them.
pub(super) fn shared_entry<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bytes: &[u8],
    bases: &BaseAddresses,
    offset: S::Offset,
) -> gimli::Result<CommonInformationEntry<Bytes<'a>>> {
    match entry_len(bytes, UnwindOffset::into(offset)) {
        Some(0..=SHARED_BYTES_MAX) => section.cie_from_offset(bases, offset),
        _ => Err(gimli::Error::NotCiePointer(
            UnwindOffset::into(offset) as u64
        )),
    }
}

/// An index made by reading all of a section. Behind damage nothing is known.
pub(super) fn walked_index<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bytes: &[u8],
    bases: &BaseAddresses,
) -> Index {
    let mut index = Vec::new();
    let mut entries = section.entries(bases);
    // Entries in a row mostly share one.
    let mut last = None;
    while let Ok(Some(entry)) = entries.next()
        && index.len() < FUNCTIONS_MAX
    {
        let CieOrFde::Fde(entry) = entry else {
            continue;
        };
        let entry = entry.parse(|section, bases, offset| {
            let wanted = UnwindOffset::into(offset);
            if let Some(cie) = last.as_ref().filter(|cie| offset_of(cie) == wanted) {
                return Ok(cie.clone());
            }
            let cie = shared_entry(section, bytes, bases, offset)?;
            last = Some(cie.clone());
            Ok(cie)
        });
        if let Ok(entry) = entry
            && let Ok(offset) = u32::try_from(entry.offset())
        {
            index.push((entry.initial_address(), offset));
        }
    }
    index.sort_unstable();
    Index::Walked(index)
}

fn offset_of(cie: &CommonInformationEntry<Bytes<'_>>) -> usize {
    cie.offset()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_index_has_the_last_function_before_an_address_however_long_it_is() {
        for functions in [0_i32, 1, 63, 64, 65, 128, 1000] {
            let entries: Vec<[u8; 8]> = (0..functions)
                .map(|number| {
                    let (start, place) = (10 * number - 500, number);
                    let bytes = [start.to_le_bytes(), place.to_le_bytes()].concat();
                    bytes.try_into().expect("eight bytes")
                })
                .collect();
            let linked = Linked::new(&entries);
            for wanted in (-520..10 * i64::from(functions)).chain([i64::MIN, i64::MAX]) {
                let found = linked.preceding(&entries, wanted);
                let begins_before = |entry: &&[u8; 8]| i64::from(start_in(entry)) <= wanted;
                let expected = entries.iter().rev().find(begins_before);
                let expected = expected
                    .map(|entry| (entry, entries.iter().find(|entry| !begins_before(entry))));
                assert_eq!(found, expected, "{wanted} of {functions}");
            }
        }
    }
}
