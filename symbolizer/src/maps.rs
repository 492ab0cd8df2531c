//! The executable mappings of one address space: which image, at which file offset, is at an address.

use crate::image::ImageId;
use crate::memory::MemoryId;
use std::iter;
use std::ops::Range;

/// What lies behind a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A file.
    Image(ImageId),
    /// The kernel's own page of code in every process.
    Vdso,
    /// Memory that a program filled with code: anonymous, memfd, shared memory.
    Generated(MemoryId),
}

/// A range of addresses and what lies behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// First address (AVMA).
    pub(crate) start: u64,
    /// One past the last.
    pub(crate) end: u64,
    /// File offset of `start`.
    pub(crate) file_offset: u64,
    /// Behind it.
    pub(crate) backing: Backing,
}

impl Mapping {
    /// The file offset of an address in it.
    pub(crate) fn offset_of(&self, addr: u64) -> u64 {
        addr.wrapping_sub(self.start).wrapping_add(self.file_offset)
    }

    /// Whether an address that both cover means the same to both.
    fn agrees_with(&self, other: &Mapping) -> bool {
        self.backing == other.backing
            && (matches!(self.backing, Backing::Generated(_))
                || self.start.wrapping_sub(self.file_offset)
                    == other.start.wrapping_sub(other.file_offset))
    }
}

/// What a new mapping did to the addresses that were known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Known addresses mean what they meant; perhaps more are known.
    Added,
    /// Some known addresses now mean something else.
    Replaced,
}

/// Mappings that do not overlap, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapTable {
    mappings: Vec<Mapping>,
}

impl MapTable {
    /// The mapping at `addr` and the file offset of it.
    pub(crate) fn find(&self, addr: u64) -> Option<(Mapping, u64)> {
        let after = self
            .mappings
            .partition_point(|mapping| mapping.start <= addr);
        let mapping = self.mappings.get(after.checked_sub(1)?)?;
        (addr < mapping.end).then(|| (*mapping, mapping.offset_of(addr)))
    }

    /// As [`Self::find`]; `last` remembers what was found last, in which the next address mostly lies too.
    pub(crate) fn find_near(
        &self,
        last: &mut Option<Mapping>,
        addr: u64,
    ) -> Option<(Mapping, u64)> {
        if let Some(mapping) = last
            && (mapping.start..mapping.end).contains(&addr)
        {
            return Some((*mapping, mapping.offset_of(addr)));
        }
        let found = self.find(addr)?;
        *last = Some(found.0);
        Some(found)
    }

    /// All mappings, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter()
    }

    /// What is mapped somewhere.
    pub(crate) fn images(&self) -> impl Iterator<Item = ImageId> {
        self.mappings
            .iter()
            .filter_map(|mapping| match mapping.backing {
                Backing::Image(image) => Some(image),
                Backing::Vdso | Backing::Generated(_) => None,
            })
    }

    /// Those of the mappings that one of `addrs`, or the byte in front of it, lies in: a return address may be
    /// the first byte behind its mapping.
    pub(crate) fn around(&self, addrs: impl Iterator<Item = u64>) -> Self {
        let mut mappings: Vec<Mapping> = Vec::new();
        // What lies on a stack is mostly no code, and of few places: the stack, the heap, small numbers. Each of
        // these is a gap between mappings, and is looked for once.
        let mut met = [(0, 0); 8];
        for addr in addrs {
            let is_met = met.iter().any(|(start, end)| *start < addr && addr < *end);
            if is_met || addr == 0 || addr == u64::MAX {
                continue;
            }
            for addr in [addr, addr.saturating_sub(1)] {
                let (span, found) = self.span_at(addr);
                mappings.extend(found);
                met.rotate_right(1);
                met[0] = span;
            }
        }
        mappings.sort_unstable_by_key(|mapping| mapping.start);
        mappings.dedup();
        Self { mappings }
    }

    /// The mapping at `addr` and its ends, or those of the gap around it.
    fn span_at(&self, addr: u64) -> ((u64, u64), Option<Mapping>) {
        let after = self
            .mappings
            .partition_point(|mapping| mapping.start <= addr);
        let before = after.checked_sub(1).and_then(|at| self.mappings.get(at));
        match before {
            Some(mapping) if addr < mapping.end => ((mapping.start, mapping.end), Some(*mapping)),
            before => {
                let start = before.map_or(0, |mapping| mapping.end);
                let end = self.mappings.get(after).map_or(u64::MAX, |it| it.start);
                ((start, end), None)
            }
        }
    }

    /// The addresses of a range at which nothing is mapped.
    pub(crate) fn gaps_in(&self, avma: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let first = self.mappings.partition_point(|it| it.end <= avma.start);
        let mappings = self.mappings.get(first..).unwrap_or_default();
        let mapped = mappings.iter().map(|it| it.start..it.end);
        let (mut begin, end) = (avma.start, avma.end);
        // What is behind the range ends its last gap.
        mapped
            .chain(iter::once(u64::MAX..u64::MAX))
            .map_while(move |it| {
                let gap = begin..it.start.min(end);
                let goes_on = begin < end;
                begin = begin.max(it.end);
                goes_on.then_some(gap)
            })
            .filter(|gap| !gap.is_empty())
    }

    /// How many mappings are known.
    pub(crate) fn len(&self) -> usize {
        self.mappings.len()
    }

    /// What [`Self::insert`] of `new` would do to the addresses that are known.
    pub(crate) fn change_by(&self, new: &Mapping) -> Change {
        let (first, last) = self.overlapped_by(new);
        let overlapped = self.mappings.get(first..last).unwrap_or(&[]);
        if overlapped.iter().all(|old| old.agrees_with(new)) {
            Change::Added
        } else {
            Change::Replaced
        }
    }

    /// Puts a mapping in, over what was at its addresses: the kernel tells of new executable
    /// mappings, never of an unmapping, so the newest is what is there.
    pub(crate) fn insert(&mut self, new: Mapping) {
        if new.start >= new.end {
            return;
        }
        let (first, last) = self.overlapped_by(&new);
        let overlapped = self.mappings.get(first..last).unwrap_or(&[]);
        let before = overlapped.iter().filter(|old| old.start < new.start);
        let after = overlapped.iter().filter(|old| old.end > new.end);
        let pieces: Vec<Mapping> = before
            .map(|old| Mapping {
                end: new.start,
                ..*old
            })
            .chain([new])
            .chain(after.map(|old| Mapping {
                start: new.end,
                file_offset: old.offset_of(new.end),
                ..*old
            }))
            .collect();
        self.mappings.splice(first..last, pieces);
    }

    fn overlapped_by(&self, new: &Mapping) -> (usize, usize) {
        let first = self
            .mappings
            .partition_point(|mapping| mapping.end <= new.start);
        let last = self
            .mappings
            .partition_point(|mapping| mapping.start < new.end);
        (first, last.max(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, end: u64, file_offset: u64, image: u32) -> Mapping {
        Mapping {
            start,
            end,
            file_offset,
            backing: Backing::Image(ImageId(image)),
        }
    }

    fn insert(table: &mut MapTable, new: Mapping) -> Change {
        let change = table.change_by(&new);
        table.insert(new);
        change
    }

    #[test]
    fn an_address_has_the_offset_of_its_own_mapping() {
        let mut table = MapTable::default();
        assert_eq!(
            insert(&mut table, mapping(0x3000, 0x4000, 0x500, 2)),
            Change::Added
        );
        assert_eq!(
            insert(&mut table, mapping(0x1000, 0x2000, 0, 1)),
            Change::Added
        );
        assert_eq!(
            table.find(0x1800),
            Some((mapping(0x1000, 0x2000, 0, 1), 0x800))
        );
        assert_eq!(
            table.find(0x3000),
            Some((mapping(0x3000, 0x4000, 0x500, 2), 0x500))
        );
        assert_eq!(table.find(0xfff), None);
        assert_eq!(table.find(0x2000), None);
        assert_eq!(table.find(0x4000), None);
    }

    #[test]
    fn a_newer_mapping_cuts_the_older_one_and_its_ends_keep_their_offsets() {
        let mut table = MapTable::default();
        table.insert(mapping(0x1000, 0x5000, 0, 1));
        assert_eq!(
            insert(&mut table, mapping(0x2000, 0x3000, 0x100, 2)),
            Change::Replaced
        );
        assert_eq!(table.find(0x1fff).map(|found| found.1), Some(0xfff));
        assert_eq!(
            table.find(0x2000),
            Some((mapping(0x2000, 0x3000, 0x100, 2), 0x100))
        );
        assert_eq!(
            table.find(0x3000),
            Some((mapping(0x3000, 0x5000, 0x2000, 1), 0x2000))
        );
    }

    #[test]
    fn the_same_mapping_told_again_changes_nothing() {
        let mut table = MapTable::default();
        table.insert(mapping(0x1000, 0x5000, 0x200, 1));
        // mprotect splits a mapping and tells of a part of it.
        assert_eq!(
            insert(&mut table, mapping(0x2000, 0x3000, 0x1200, 1)),
            Change::Added
        );
        assert_eq!(table.find(0x2800).map(|found| found.1), Some(0x1a00));
        assert_eq!(table.find(0x4800).map(|found| found.1), Some(0x3a00));
        // Another offset at the same place is another meaning.
        assert_eq!(
            insert(&mut table, mapping(0x2000, 0x3000, 0, 1)),
            Change::Replaced
        );
        let generated = |start, end| Mapping {
            start,
            end,
            file_offset: 0,
            backing: Backing::Generated(MemoryId::ANONYMOUS),
        };
        table.insert(generated(0x8000, 0x9000));
        assert_eq!(insert(&mut table, generated(0x8800, 0xa000)), Change::Added);
    }

    #[test]
    fn around_addresses_are_the_mappings_that_they_or_the_bytes_in_front_of_them_lie_in() {
        let mut table = MapTable::default();
        for at in 1..=40 {
            // Neighbours without a gap, and gaps.
            let end = 0x1000 * at + if at % 3 == 0 { 0x800 } else { 0x1000 };
            table.insert(mapping(0x1000 * at, end, 0, at as u32));
        }
        let around = |addrs: &[u64]| {
            let found = table.around(addrs.iter().copied());
            found.images().map(|image| image.0).collect::<Vec<_>>()
        };
        // Inside, the first byte, the first byte behind, in a gap, outside of all.
        assert_eq!(around(&[0x1800]), [1]);
        assert_eq!(around(&[0x2000]), [1, 2]);
        assert_eq!(around(&[0x3800]), [3]);
        assert_eq!(around(&[0x3801, 0x3fff]), [0; 0]);
        assert_eq!(around(&[0x4000]), [4]);
        assert_eq!(around(&[0, 1, 0xfff, u64::MAX, u64::MAX - 1]), [0; 0]);
        assert_eq!(around(&[0x1000]), [1]);
        // Each address by itself and all after each other, more places than are remembered.
        let addrs: Vec<u64> = (0..0x2b000).step_by(0x100).collect();
        let mut each: Vec<u32> = addrs.iter().flat_map(|addr| around(&[*addr])).collect();
        each.sort_unstable();
        each.dedup();
        assert_eq!(each, (1..=40).collect::<Vec<_>>());
        let rotated: Vec<u64> = (0..addrs.len())
            .map(|at| addrs[at * 73 % addrs.len()])
            .collect();
        assert_eq!(around(&rotated), each);
    }

    #[test]
    fn one_mapping_over_many_leaves_only_the_outer_ends() {
        let mut table = MapTable::default();
        for at in [0x1000, 0x3000, 0x5000] {
            table.insert(mapping(at, at + 0x1000, 0, 1));
        }
        assert_eq!(
            insert(&mut table, mapping(0x1800, 0x5800, 0, 2)),
            Change::Replaced
        );
        assert_eq!(
            table.find(0x1400).map(|found| found.0.backing),
            Some(Backing::Image(ImageId(1)))
        );
        assert_eq!(
            table.find(0x3400).map(|found| found.0.backing),
            Some(Backing::Image(ImageId(2)))
        );
        assert_eq!(
            table.find(0x5900),
            Some((mapping(0x5800, 0x6000, 0x800, 1), 0x900))
        );
    }

    #[test]
    fn the_gaps_in_a_range_are_what_no_mapping_covers() {
        let mut table = MapTable::default();
        let gaps = |table: &MapTable, avma: Range<u64>| -> Vec<(u64, u64)> {
            let gaps = table.gaps_in(&avma);
            gaps.map(|gap| (gap.start, gap.end)).collect()
        };
        assert_eq!(gaps(&table, 0x1000..0x2000), [(0x1000, 0x2000)]);
        for start in [0x2000, 0x3000, 0x6000] {
            insert(&mut table, mapping(start, start + 0x1000, 0, 1));
        }
        assert_eq!(
            gaps(&table, 0x1000..0x9000),
            [(0x1000, 0x2000), (0x4000, 0x6000), (0x7000, 0x9000)]
        );
        assert_eq!(gaps(&table, 0x2800..0x5000), [(0x4000, 0x5000)]);
        assert_eq!(gaps(&table, 0x2000..0x4000), []);
        assert_eq!(gaps(&table, 0x6800..0x7000), []);
        assert_eq!(gaps(&table, 0x8000..u64::MAX), [(0x8000, u64::MAX)]);
        assert_eq!(gaps(&table, 0x8000..0x8000), []);
    }
}
