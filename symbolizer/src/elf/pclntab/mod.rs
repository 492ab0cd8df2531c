//! The functions of a Go program, from the table that its own tracebacks are made of (`pclntab`).
//! `strip` and the linker's `-s` leave it, so a stripped Go program has all its names, and how its
//! frames are left.
//!
//! Its four formats are those of Go 1.2, 1.16, 1.18 and 1.20 (`internal/abi/symtab.go`,
//! `debug/gosym/pclntab.go`, `runtime/symtab.go`). From 1.18 on, functions are told as distances from
//! where Go's code begins; since 1.26 the module's data says where that is.

mod frames;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use frames::{GoFrame, GoFrames};

use super::headers::Headers;
use super::near::NameBudget;
use super::sections::NamedSections;
use super::{ElfError, ElfLimits, ReadAt};
use table::{Format, Table, u32_at};

/// A function of the table.
#[derive(Debug)]
pub(super) struct GoFunction {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) name: Vec<u8>,
}

/// The functions that cover the addresses in `wanted`, which ascend: ascending, each once. Nothing of an
/// image that is no Go program.
pub(super) fn read<R: ReadAt + ?Sized>(
    image: &R,
    headers: &Headers,
    sections: &NamedSections<'_>,
    limits: &ElfLimits,
    wanted: &[u64],
    names: &mut NameBudget,
) -> Result<Vec<GoFunction>, ElfError> {
    let Some(table) = Table::read(image, headers, sections, limits)? else {
        return Ok(Vec::new());
    };
    let mut functions: Vec<GoFunction> = Vec::new();
    for at in wanted {
        if functions
            .last()
            .is_some_and(|last| at - last.start < last.len)
        {
            continue;
        }
        let Some((number, start, end)) = table.covering(*at) else {
            continue;
        };
        let Some(record) = table.record(image, number, 4)? else {
            continue;
        };
        // In the first format names are at distances from the beginning, where the header is.
        let name = u32_at(&record, 0).filter(|name| table.format != Format::Go12 || *name != 0);
        let name = name.map(|name| table.names.saturating_add(name.into()));
        let rest = name.and_then(|name| Some((name, table.section.len.checked_sub(name)?)));
        let Some((name, rest)) = rest else {
            continue;
        };
        let name = names.read(image, table.section.offset.saturating_add(name), rest)?;
        if !name.is_empty() {
            let len = end - start;
            functions.push(GoFunction { start, len, name });
        }
    }
    Ok(functions)
}
