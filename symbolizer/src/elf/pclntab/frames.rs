//! How far the stack pointer is from where a Go function's frame began, by address: what Go's own
//! tracebacks go by (`funcspdelta` and `pcvalue`, `runtime/symtab.go`). Go's linker writes no `.eh_frame`, and
//! its `.debug_frame` compressed or not at all.
//!
//! Of the formats of Go 1.18 and 1.20.

use super::table::{Format, Table, u32_at};
use crate::elf::headers::Headers;
use crate::elf::sections::NamedSections;
use crate::elf::{ElfError, ElfLimits, ReadAt};

/// Largest table that is kept. Real ones reach some 50 MB.
const BYTES_MAX: u64 = 128 << 20;
/// Changes of the stack pointer that are looked at in one function. Real ones have some hundred.
const CHANGES_MAX: usize = 4096;
/// `abi.FuncFlag`: it has no caller; it sets the stack pointer to something else.
const TOP_FRAME: u8 = 1;
const SETS_SP: u8 = 2;
/// In a record, behind the address: the values of the stack pointer; the flags since 1.18, since 1.20.
const SP_VALUES: usize = 12;
const FLAGS_118: usize = 33;
const FLAGS_120: usize = 37;

/// The stack of a Go function, at an address of its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoFrame {
    /// So many bytes were taken of the stack since it was called; what the call itself pushed is not
    /// among them.
    Taken(u32),
    /// It has no caller.
    Outermost,
    /// It changes to another stack, or the table does not say.
    Unknown,
}

/// The frames of a Go program.
#[derive(Debug)]
pub(crate) struct GoFrames {
    /// Of the bytes.
    table: Table,
    bytes: Vec<u8>,
    flags: usize,
}

impl GoFrames {
    /// `None` of an image that is no Go program.
    pub(in crate::elf) fn read<R: ReadAt + ?Sized>(
        image: &R,
        headers: &Headers,
        sections: &NamedSections<'_>,
        limits: &ElfLimits,
    ) -> Result<Option<Self>, ElfError> {
        let Some(mut table) = Table::read(image, headers, sections, limits)? else {
            return Ok(None);
        };
        let len = table.section.len;
        if table.format != Format::Go118 || len > BYTES_MAX {
            return Ok(None);
        }
        let bytes = table.bytes(image, 0, len)?;
        table.section.offset = 0;
        // The first byte tells the two formats apart.
        let flags = match bytes.first() {
            Some(0xf0) => FLAGS_118,
            _ => FLAGS_120,
        };
        Ok(Some(Self {
            table,
            bytes,
            flags,
        }))
    }

    /// What is kept of it.
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len() + self.table.len_bytes()
    }

    /// The frame at an address; `None` of one that is in no function of Go.
    pub(crate) fn at(&self, svma: u64) -> Option<GoFrame> {
        let (number, start, _) = self.table.covering(svma)?;
        Some(self.frame(number, svma - start).unwrap_or(GoFrame::Unknown))
    }

    fn frame(&self, number: u64, into: u64) -> Option<GoFrame> {
        let len = self.flags as u64 + 1;
        let record = self.table.record(&*self.bytes, number, len).ok()??;
        let flags = *record.get(self.flags)?;
        if flags & SETS_SP != 0 {
            return None;
        }
        if flags & TOP_FRAME != 0 {
            return Some(GoFrame::Outermost);
        }
        let values = u64::from(u32_at(&record, SP_VALUES)?).checked_add(self.table.values)?;
        let mut values = self.bytes.get(usize::try_from(values).ok()?..)?;
        // Pairs of what is added to the value, which begins at -1, and of how far it holds.
        let (mut value, mut end) = (-1_i64, 0_u64);
        for number in 0..CHANGES_MAX {
            let change = varint(&mut values)?;
            if change == 0 && number > 0 {
                break;
            }
            value += i64::from(change >> 1) ^ -i64::from(change & 1);
            end += u64::from(varint(&mut values)?) * u64::from(self.table.quantum);
            if into < end {
                return u32::try_from(value).ok().map(GoFrame::Taken);
            }
        }
        None
    }
}

/// Seven bits a byte, the lowest first (`readvarint`, `runtime/symtab.go`).
fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in (0..32).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
