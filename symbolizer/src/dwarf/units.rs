//! Units: where each begins, what its root says, which of the wanted addresses it may be about.

use super::abbrevs::Abbrevs;
use super::sections::Bytes;
use super::{DwarfError, Steps};
use gimli::{
    Abbreviations, AttributeValue, DebugArangesOffset, DebugInfoOffset, Dwarf, DwoId, Encoding,
    EntriesRaw, Range, Reader as _, Section as _, Unit, UnitHeader, UnitType,
};
use std::sync::Arc;

/// Units that are read of one file. Chromium has some 60 thousand, dwz makes as many out of a large
/// program.
const UNITS_MAX: usize = 4 << 20;
/// Ranges that are looked at to tell which unit an address is in, and addresses that are found in them.
const INDEX_STEPS: u64 = 1 << 28;
/// Units that one address is looked up in: more than one claims it only where code was folded.
const UNITS_OF_ADDRESS_MAX: u8 = 4;

/// One file's units.
pub(crate) struct Units<'a> {
    pub(crate) dwarf: &'a Dwarf<Bytes<'a>>,
    pub(crate) abbrevs: Abbrevs<'a>,
    /// Where each begins in `.debug_info`, ascending.
    offsets: Vec<usize>,
}

/// What the root of a unit says besides what gimli's unit keeps.
#[derive(Default)]
pub(crate) struct Root<'a> {
    pub(crate) ranges: RangeAttrs<'a>,
    pub(crate) dwo_name: Option<AttributeValue<Bytes<'a>>>,
    pub(crate) comp_dir: Option<AttributeValue<Bytes<'a>>>,
    pub(crate) types: Types,
    has_lines: bool,
}

/// What entries of types may have below them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Types {
    /// Functions too.
    #[default]
    WithFunctions,
    /// Members and the like, as in C.
    Plain,
}

/// Where an entry says that its code is, as it says it.
#[derive(Clone, Copy, Default)]
pub(crate) struct RangeAttrs<'a> {
    low: Option<AttributeValue<Bytes<'a>>>,
    high: Option<AttributeValue<Bytes<'a>>>,
    list: Option<AttributeValue<Bytes<'a>>>,
}

/// A unit, by its place among them all, and the wanted addresses that it may be about, by their index,
/// ascending.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) unit: usize,
    pub(crate) wanted: Arc<[u32]>,
}

impl<'a> Units<'a> {
    pub(crate) fn new(dwarf: &'a Dwarf<Bytes<'a>>) -> Self {
        let mut offsets = Vec::new();
        let mut headers = dwarf.units();
        // What stands behind a damaged header cannot be found.
        while let Ok(Some(header)) = headers.next()
            && offsets.len() < UNITS_MAX
        {
            offsets.extend(header.debug_info_offset().map(|offset| offset.0));
        }
        Self {
            dwarf,
            abbrevs: Abbrevs::new(dwarf.debug_abbrev),
            offsets,
        }
    }

    pub(crate) fn header(&self, number: usize) -> Result<UnitHeader<Bytes<'a>>, DwarfError> {
        let offset = self.offsets.get(number).ok_or(DwarfError::NoUnit)?;
        let info = &self.dwarf.debug_info;
        Ok(info.header_from_offset(DebugInfoOffset(*offset))?)
    }

    /// The unit with an entry at this offset of `.debug_info`.
    pub(crate) fn around(&self, offset: usize) -> Option<usize> {
        let after = self.offsets.partition_point(|start| *start <= offset);
        after.checked_sub(1)
    }

    /// A unit that is to be walked, or whose entries are to be looked up.
    pub(crate) fn unit(&self, number: usize) -> Result<(Unit<Bytes<'a>>, Root<'a>), DwarfError> {
        let header = self.header(number)?;
        let table = self.abbrevs.table(header.debug_abbrev_offset().0)?;
        self.with(header, table)
    }

    /// A unit of which only the root is read.
    fn root(&self, number: usize) -> Result<(Unit<Bytes<'a>>, Root<'a>), DwarfError> {
        let header = self.header(number)?;
        let code = header.range_from(header.root_offset()..)?.read_uleb128()?;
        let offset = header.debug_abbrev_offset().0;
        let abbrev = self.abbrevs.one(offset, code)?;
        self.with(header, Arc::new(abbrev))
    }

    /// The unit that a skeleton with this id stands for.
    pub(crate) fn with_dwo_id(&self, id: DwoId) -> Option<(Unit<Bytes<'a>>, Root<'a>)> {
        let mut units = (0..self.offsets.len()).filter_map(|number| {
            let header = self.header(number).ok()?;
            let may_be = match header.type_() {
                UnitType::SplitCompilation(found) => found == id,
                // Before DWARF 5 its root says which it is.
                UnitType::Compilation => true,
                _ => false,
            };
            may_be.then(|| self.unit(number).ok()).flatten()
        });
        units.find(|(unit, _)| unit.dwo_id == Some(id))
    }

    /// As `gimli::Unit::new` does, but that it needs no line program, which is not read.
    fn with(
        &self,
        header: UnitHeader<Bytes<'a>>,
        abbreviations: Arc<Abbreviations>,
    ) -> Result<(Unit<Bytes<'a>>, Root<'a>), DwarfError> {
        let (encoding, file) = (header.encoding(), self.dwarf.file_type);
        let mut unit = Unit {
            abbreviations,
            name: None,
            comp_dir: None,
            low_pc: 0,
            str_offsets_base: gimli::DebugStrOffsetsBase::default_for_encoding_and_file(
                encoding, file,
            ),
            addr_base: gimli::DebugAddrBase(0),
            loclists_base: gimli::DebugLocListsBase::default_for_encoding_and_file(encoding, file),
            rnglists_base: gimli::DebugRngListsBase::default_for_encoding_and_file(encoding, file),
            line_program: None,
            dwo_id: match header.type_() {
                UnitType::Skeleton(id) | UnitType::SplitCompilation(id) => Some(id),
                _ => None,
            },
            header,
        };
        let mut root = Root::default();
        let abbreviations = Arc::clone(&unit.abbreviations);
        let mut entries = unit.header.entries_raw(&abbreviations, None)?;
        let Some(abbrev) = entries.read_abbreviation()? else {
            return Err(gimli::Error::MissingUnitDie.into());
        };
        for spec in abbrev.attributes() {
            let attr = entries.read_attribute(*spec)?;
            let value = attr.value();
            match (attr.name(), value) {
                (gimli::DW_AT_str_offsets_base, AttributeValue::DebugStrOffsetsBase(base)) => {
                    unit.str_offsets_base = base;
                }
                (
                    gimli::DW_AT_addr_base | gimli::DW_AT_GNU_addr_base,
                    AttributeValue::DebugAddrBase(base),
                ) => unit.addr_base = base,
                (
                    gimli::DW_AT_rnglists_base | gimli::DW_AT_GNU_ranges_base,
                    AttributeValue::DebugRngListsBase(base),
                ) => unit.rnglists_base = base,
                (gimli::DW_AT_GNU_dwo_id, AttributeValue::DwoId(id)) => {
                    unit.dwo_id.get_or_insert(id);
                }
                (gimli::DW_AT_dwo_name | gimli::DW_AT_GNU_dwo_name, name) => {
                    root.dwo_name = Some(name);
                }
                (gimli::DW_AT_comp_dir, dir) => root.comp_dir = Some(dir),
                (gimli::DW_AT_stmt_list, _) => root.has_lines = true,
                (gimli::DW_AT_language, AttributeValue::Language(language)) => {
                    root.types = match language {
                        gimli::DW_LANG_C
                        | gimli::DW_LANG_C89
                        | gimli::DW_LANG_C99
                        | gimli::DW_LANG_C11
                        | gimli::DW_LANG_C17 => Types::Plain,
                        _ => Types::WithFunctions,
                    };
                }
                (name, value) => root.ranges.take(name, value),
            }
        }
        if let Some(low) = root.ranges.low
            && let Some(low) = self.dwarf.attr_address(&unit, low)?
        {
            unit.low_pc = low;
        }
        Ok((unit, root))
    }

    /// Which units the wanted addresses (ascending) may be in, in the order of the file.
    pub(crate) fn claims(&self, wanted: &[u64]) -> Result<Vec<Claim>, DwarfError> {
        let mut steps = Steps::new(INDEX_STEPS);
        let mut claimed = vec![0_u8; wanted.len()];
        let mut found: Vec<(u32, u32)> = Vec::new();
        let mut without_ranges = Vec::new();
        let tables = self.address_tables(&mut steps)?;
        for number in 0..self.offsets.len() {
            steps.take(1)?;
            let Ok(header) = self.header(number) else {
                continue;
            };
            if matches!(
                header.type_(),
                UnitType::Partial | UnitType::Type { .. } | UnitType::SplitType { .. }
            ) {
                continue;
            }
            // Other units may be whole.
            let Ok((unit, root)) = self.root(number) else {
                continue;
            };
            let mut has_ranges = false;
            let mut each = |range: Range| {
                has_ranges = true;
                for at in indices(wanted, range) {
                    if let Some(claims) = claimed.get_mut(at as usize)
                        && *claims < UNITS_OF_ADDRESS_MAX
                    {
                        *claims += 1;
                        found.push((number as u32, at));
                    }
                }
                indices(wanted, range).len() as u64
            };
            let offset = header.debug_info_offset().map_or(0, |offset| offset.0);
            let of_unit = tables.partition_point(|(unit, _)| *unit < offset);
            let of_unit = tables.iter().skip(of_unit);
            let mut of_unit = of_unit.take_while(|(unit, _)| *unit == offset).peekable();
            // Where a unit's code is in several parts, and it has no list of them, they are here.
            let is_told = match root.ranges.list {
                None if of_unit.peek().is_some() => {
                    of_unit.try_for_each(|(_, table)| self.table(*table, &mut steps, &mut each))
                }
                _ => root.ranges.each(self.dwarf, &unit, &mut steps, each),
            };
            match is_told {
                Err(error @ DwarfError::OverLimit(_)) => return Err(error),
                // Its functions may tell better.
                Err(_) | Ok(()) if !has_ranges && root.has_lines => without_ranges.push(number),
                Err(_) | Ok(()) => {}
            }
        }
        let mut claims = grouped(found);
        let unclaimed: Arc<[u32]> = (0..)
            .zip(&claimed)
            .filter(|(_, claims)| **claims == 0)
            .map(|(at, _)| at)
            .collect();
        if !unclaimed.is_empty() {
            for unit in without_ranges {
                steps.take(unclaimed.len() as u64)?;
                claims.push(Claim {
                    unit,
                    wanted: Arc::clone(&unclaimed),
                });
            }
        }
        Ok(claims)
    }
}

impl Units<'_> {
    /// The tables of `.debug_aranges`: which unit each is of, and where it is; ascending.
    fn address_tables(
        &self,
        steps: &mut Steps,
    ) -> Result<Vec<(usize, DebugArangesOffset)>, DwarfError> {
        let mut tables = Vec::new();
        let mut headers = self.dwarf.debug_aranges.headers();
        // What stands behind a damaged one cannot be found.
        while let Ok(Some(header)) = headers.next() {
            steps.take(1)?;
            tables.push((header.debug_info_offset().0, header.offset()));
        }
        tables.sort_unstable_by_key(|(unit, table)| (*unit, table.0));
        Ok(tables)
    }

    fn table(
        &self,
        offset: DebugArangesOffset,
        steps: &mut Steps,
        mut each: impl FnMut(Range) -> u64,
    ) -> Result<(), DwarfError> {
        let header = self.dwarf.debug_aranges.header(offset)?;
        let Encoding {
            address_size,
            format,
            ..
        } = header.encoding();
        // DWARF 5, 6.1.2: the length, a version, an offset, two sizes; then tuples, at a multiple of theirs. Not
        // by gimli's iterator: it calls itself for each tuple of zeros.
        let before = usize::from(format.initial_length_size());
        let head = before + 2 + usize::from(format.word_size()) + 2;
        let tuple_bytes = 2 * usize::from(address_size.max(1));
        let mut tuples = *self.dwarf.debug_aranges.reader();
        tuples.skip(offset.0)?;
        tuples.truncate(before.saturating_add(header.length()))?;
        tuples.skip(head.next_multiple_of(tuple_bytes))?;
        while tuples.len() >= tuple_bytes {
            steps.take(1)?;
            let begin = tuples.read_address(address_size)?;
            let length = tuples.read_address(address_size)?;
            // As addr2line does: an entry that overflows is none, others may be sound.
            let range = begin.checked_add(length).map(|end| Range { begin, end });
            if let Some(range) = range.filter(is_code) {
                steps.take(each(range))?;
            }
        }
        Ok(())
    }
}

/// Code that the linker left out is said to be at 0 (or 1 in a list, by GNU's linkers). In no image is a
/// function at its very beginning.
fn is_code(range: &Range) -> bool {
    range.begin > 1 && range.begin < range.end
}

/// Equal units next to each other; an address that two ranges of one unit cover is in it once.
fn grouped(mut found: Vec<(u32, u32)>) -> Vec<Claim> {
    found.sort_unstable();
    found.dedup();
    let units = found.chunk_by(|a, b| a.0 == b.0);
    units
        .filter_map(|of_unit| {
            Some(Claim {
                unit: of_unit.first()?.0 as usize,
                wanted: of_unit.iter().map(|(_, at)| *at).collect(),
            })
        })
        .collect()
}

/// The indices of those wanted addresses (ascending) that are in a range.
fn indices(wanted: &[u64], range: Range) -> std::ops::Range<u32> {
    let first = wanted.partition_point(|at| *at < range.begin);
    let rest = wanted.get(first..).unwrap_or_default();
    let count = match rest.first() {
        Some(at) if *at < range.end => rest.partition_point(|at| *at < range.end),
        _ => 0,
    };
    first as u32..(first + count) as u32
}

impl<'a> RangeAttrs<'a> {
    /// Takes note of an attribute, if it says where code is.
    pub(crate) fn take(&mut self, name: gimli::DwAt, value: AttributeValue<Bytes<'a>>) {
        match name {
            gimli::DW_AT_low_pc => self.low = Some(value),
            gimli::DW_AT_high_pc => self.high = Some(value),
            gimli::DW_AT_ranges => self.list = Some(value),
            _ => {}
        }
    }

    /// Calls `each` with every range that can be of code in the image; it tells how many steps it took.
    pub(crate) fn each(
        &self,
        dwarf: &Dwarf<Bytes<'a>>,
        unit: &Unit<Bytes<'a>>,
        steps: &mut Steps,
        mut each: impl FnMut(Range) -> u64,
    ) -> Result<(), DwarfError> {
        // lld's linkers say the largest addresses of code that they left out.
        let is_code =
            |range: &Range| is_code(range) && !unit.header.is_tombstone_address(range.begin);
        if let Some(list) = self.list
            && let Some(mut list) = dwarf.attr_ranges(unit, list)?
        {
            // Entry by entry: one that only changes the base is a step too.
            while let Some(entry) = list.next_raw()? {
                steps.take(1)?;
                if let Some(range) = list.convert_raw(entry)?
                    && is_code(&range)
                {
                    steps.take(each(range))?;
                }
            }
            return Ok(());
        }
        let (Some(low), Some(high)) = (self.low, self.high) else {
            return Ok(());
        };
        let Some(begin) = dwarf.attr_address(unit, low)? else {
            return Ok(());
        };
        let end = match high {
            AttributeValue::Udata(len) => begin.wrapping_add(len),
            high => match dwarf.attr_address(unit, high)? {
                Some(end) => end,
                None => return Ok(()),
            },
        };
        let range = Range { begin, end };
        if is_code(&range) {
            steps.take(1 + each(range))?;
        }
        Ok(())
    }
}

/// The entries of a unit from one of them on; all of them without.
pub(crate) fn entries<'u, 'a>(
    unit: &'u Unit<Bytes<'a>>,
    from: Option<gimli::UnitOffset>,
) -> Result<EntriesRaw<'u, Bytes<'a>>, DwarfError> {
    Ok(unit.header.entries_raw(&unit.abbreviations, from)?)
}
