//! Names that are in no symbol table: of stubs, and of Go's functions.

use super::headers::Headers;
use super::near::{self, NameBudget};
use super::sections::NamedSections;
use super::symbols::Symbol;
use super::{ElfError, ElfLimits, ReadAt, pclntab, stubs};
use object::Endianness;
use object::read::elf::FileHeader;
use std::borrow::Cow;

/// Code that got its name elsewhere, ascending and disjoint.
#[derive(Debug, Default)]
pub(super) struct Apart(Vec<Named>);

#[derive(Debug)]
struct Named {
    start: u64,
    len: u64,
    name: Vec<u8>,
}

impl Apart {
    /// Reads what covers `wanted`, ascending addresses that no symbol covers.
    pub(super) fn read<Elf, R>(
        image: &R,
        headers: &Headers,
        limits: &ElfLimits,
        wanted: &[u64],
    ) -> Result<Self, ElfError>
    where
        Elf: FileHeader<Endian = Endianness>,
        R: ReadAt + ?Sized,
    {
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        let sections = NamedSections::read(image, headers)?;
        // One damaged kind is no reason to lose the other.
        let mut names = NameBudget::default();
        let stubs = stubs::read(image, headers, &sections, wanted, &mut names).unwrap_or_default();
        let resolvers = stubs.iter().filter_map(|stub| stub.chosen_by());
        let resolvers = ascending(resolvers.collect());
        let chosen = match resolvers.is_empty() {
            true => None,
            false => near::read::<Elf, R>(image, headers, limits, &resolvers)?,
        };
        let name_at = |at| Some(chosen.as_ref()?.lookup(at)?.name.into_owned());
        let mut named: Vec<Named> = stubs
            .into_iter()
            .filter_map(|stub| {
                Some(Named {
                    start: stub.start,
                    len: stub.len,
                    name: stub.name(name_at)?,
                })
            })
            .collect();
        let functions = pclntab::read(image, headers, &sections, limits, wanted, &mut names);
        let functions = functions.unwrap_or_default().into_iter();
        named.extend(functions.map(|function| Named {
            start: function.start,
            len: function.len,
            name: function.name,
        }));
        named.sort_unstable_by_key(|it| it.start);
        // Stubs are no functions of Go: only a damaged image has one in the other.
        named.dedup_by(|later, earlier| later.start - earlier.start < earlier.len);
        Ok(Self(named))
    }

    pub(super) fn lookup(&self, svma: u64) -> Option<Symbol<'_>> {
        let after = self.0.partition_point(|named| named.start <= svma);
        let named = self.0.get(after.checked_sub(1)?)?;
        (svma - named.start < named.len).then(|| Symbol {
            name: Cow::Borrowed(&named.name),
            start: named.start,
            size_bytes: named.len,
        })
    }
}

fn ascending(mut addresses: Vec<u64>) -> Vec<u64> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
