//! Tables of abbreviations: each parsed once, of a bounded length, and all of them together too. Parsed
//! ones take some ten times their bytes, and any number of units may name a table or a part of it.

use super::DwarfError;
use super::sections::Bytes;
use crate::hash::FastMap;
use gimli::{Abbreviations, DebugAbbrev, Reader as _, Section as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Longest table that is read: real ones, of programs linked as one unit, reach some 200 KiB.
const TABLE_BYTES_MAX: usize = 1 << 20;
/// Tables of so many bytes are kept for other units that name them.
const KEPT_BYTES_MAX: u64 = 8 << 20;
/// What is looked at in all may be so many times the section, and so many bytes besides: tables that
/// are shared are looked at once more by each unit's root.
const READ_TIMES: u64 = 16;
const READ_BYTES: u64 = 64 << 20;

/// The abbreviations of one file.
pub(crate) struct Abbrevs<'a> {
    section: DebugAbbrev<Bytes<'a>>,
    kept: Mutex<Kept>,
    left_bytes: AtomicU64,
}

#[derive(Default)]
struct Kept {
    tables: FastMap<usize, Arc<Abbreviations>>,
    bytes: u64,
}

impl<'a> Abbrevs<'a> {
    pub(crate) fn new(section: DebugAbbrev<Bytes<'a>>) -> Self {
        let len = section.reader().len() as u64;
        Self {
            section,
            kept: Mutex::default(),
            left_bytes: AtomicU64::new(len.saturating_mul(READ_TIMES).saturating_add(READ_BYTES)),
        }
    }

    /// The table at an offset.
    pub(crate) fn table(&self, offset: usize) -> Result<Arc<Abbreviations>, DwarfError> {
        if let Ok(kept) = self.kept.lock()
            && let Some(table) = kept.tables.get(&offset)
        {
            return Ok(Arc::clone(table));
        }
        let mut rest = self.at(offset)?;
        let passed = pass_until(&mut rest, None);
        let len = self.len_to(offset, &rest);
        self.charge(len)?;
        passed?;
        let table = Arc::new(self.parse(offset, len)?);
        if let Ok(mut kept) = self.kept.lock()
            && kept.bytes + len as u64 <= KEPT_BYTES_MAX
            && kept.tables.insert(offset, Arc::clone(&table)).is_none()
        {
            kept.bytes += len as u64;
        }
        Ok(table)
    }

    /// The one abbreviation with this code of the table at an offset: all that a unit's root needs.
    pub(crate) fn one(&self, offset: usize, code: u64) -> Result<Abbreviations, DwarfError> {
        let mut rest = self.at(offset)?;
        let found = pass_until(&mut rest, Some(code));
        let end = self.len_to(0, &rest);
        self.charge(end.saturating_sub(offset))?;
        match found? {
            Some(len) => self.parse(end.saturating_sub(len), len),
            None => Err(gimli::Error::InvalidAbbreviationCode(code).into()),
        }
    }

    /// What begins at an offset, if more may be looked at.
    fn at(&self, offset: usize) -> Result<Bytes<'a>, DwarfError> {
        if self.left_bytes.load(Ordering::Relaxed) == 0 {
            return Err(DwarfError::OverLimit("abbreviations"));
        }
        let mut rest = *self.section.reader();
        rest.skip(offset)?;
        Ok(rest)
    }

    /// Bytes from an offset to where `rest` begins.
    fn len_to(&self, offset: usize, rest: &Bytes<'_>) -> usize {
        let end = self.section.reader().len().saturating_sub(rest.len());
        end.saturating_sub(offset)
    }

    fn charge(&self, bytes: usize) -> Result<(), DwarfError> {
        // A table that ends at once costs its caller something too.
        let bytes = bytes as u64 + 1;
        let charge = |left: u64| Some(left.saturating_sub(bytes));
        let (order, left) = (Ordering::Relaxed, &self.left_bytes);
        match left.fetch_update(order, order, charge) {
            Ok(left) if left >= bytes => Ok(()),
            _ => Err(DwarfError::OverLimit("abbreviations")),
        }
    }

    /// What stands in `len` bytes: the end of the bytes ends the table.
    fn parse(&self, offset: usize, len: usize) -> Result<Abbreviations, DwarfError> {
        let mut table = *self.section.reader();
        table.skip(offset)?;
        table.truncate(len)?;
        let part = DebugAbbrev::from(table);
        Ok(part.abbreviations(gimli::DebugAbbrevOffset(0))?)
    }
}

/// Passes over a table: to its end, or behind the abbreviation with this code, of which it tells the
/// length.
fn pass_until(rest: &mut Bytes<'_>, wanted: Option<u64>) -> Result<Option<usize>, DwarfError> {
    let begin = rest.len();
    loop {
        let before = rest.len();
        // A table that lacks its end ends with the section.
        let code = match before {
            0 => 0,
            _ => rest.read_uleb128()?,
        };
        if code == 0 {
            return Ok(None);
        }
        rest.skip_leb128()?;
        rest.read_u8()?;
        loop {
            if begin - rest.len() > TABLE_BYTES_MAX {
                return Err(DwarfError::OverLimit("a table of abbreviations"));
            }
            let name = rest.read_uleb128()?;
            let form = rest.read_uleb128()?;
            if form == u64::from(gimli::DW_FORM_implicit_const.0) {
                rest.skip_leb128()?;
            }
            if name == 0 && form == 0 {
                break;
            }
        }
        if wanted == Some(code) {
            return Ok(Some(before - rest.len()));
        }
    }
}
