//! Where a static program's start is, by its file alone: `_start`, what it calls, and what that calls.
//!
//! x86_64 alone: aarch64's C libraries keep frame pointers. Dynamic programs call their start through a
//! table that the loader fills; there the register is zero, or a number that is no address.

use super::cfi::{Cfi, Context};
use super::machine::Machine;
use crate::elf::ReadAt;
use object::elf;
use std::ops::Range;

/// Bytes of `_start` that are looked at; real ones have some 40.
const ENTRY_BYTES: u64 = 64;
/// The same of what it calls: glibc's and musl's `__libc_start_main` have some 2 KiB.
const FUNCTION_BYTES_MAX: u64 = 16 << 10;
/// `Elf64_Phdr`.
const SEGMENT_BYTES: u64 = 56;
/// A static program's dynamic section has some 0.5 KiB.
const DYNAMIC_BYTES_MAX: u64 = 64 << 10;
/// Functions that it may call.
const CALLED_MAX: usize = 64;

/// Bytes of the file whose code calls `main`, or is called on the way there; none where that is not told.
pub(super) fn start_code<R: ReadAt + ?Sized>(image: &R, cfi: &Cfi) -> Vec<Range<u64>> {
    start_of(image, cfi).unwrap_or_default()
}

fn start_of<R: ReadAt + ?Sized>(image: &R, cfi: &Cfi) -> Option<Vec<Range<u64>>> {
    if cfi.machine() != Machine::X86_64 {
        return None;
    }
    let mut context = Context::default();
    let entry = cfi.offset_of(entry_of(image)?)?;
    let own = cfi
        .function_at(entry, &mut context)
        .map(|own| own.end.saturating_sub(entry));
    let begin = bytes(image, entry, own.unwrap_or(ENTRY_BYTES).min(ENTRY_BYTES))?;
    let mut functions = called(entry, &begin).filter_map(|at| function(cfi, at, &mut context));
    let first = functions.next()?;
    let len = (first.end - first.start).min(FUNCTION_BYTES_MAX);
    let code = bytes(image, first.start, len)?;
    let mut all = vec![first.clone()];
    for at in called(first.start, &code) {
        if all.len() < CALLED_MAX
            && !all.iter().any(|known| known.contains(&at))
            && let Some(function) = function(cfi, at, &mut context)
        {
            all.push(function);
        }
    }
    Some(all)
}

/// `e_entry` of a static program, 64-bit and little-endian: one that names no interpreter; a shared library may do so too, so
/// of what is linked dynamically only what says that it is a program (`DF_1_PIE`) and needs no library.
fn entry_of<R: ReadAt + ?Sized>(image: &R) -> Option<u64> {
    let header = bytes(image, 0, 64)?;
    let is_elf64 = header.get(4..6)? == [2, 1];
    let entry = u64::from_le_bytes(*header.get(24..)?.first_chunk()?);
    let table = u64::from_le_bytes(*header.get(32..)?.first_chunk()?);
    let count = u16::from_le_bytes(*header.get(56..)?.first_chunk()?);
    let segments = bytes(image, table, u64::from(count) * SEGMENT_BYTES)?;
    let (segments, _) = segments.as_chunks::<{ SEGMENT_BYTES as usize }>();
    let of_kind = |kind: elf::ProgramType| {
        let mut segments = segments.iter();
        segments.find(|segment| segment.first_chunk() == Some(&kind.0.to_le_bytes()))
    };
    let is_static = of_kind(elf::PT_INTERP).is_none()
        && match of_kind(elf::PT_DYNAMIC) {
            None => true,
            Some(segment) => is_static_pie(image, segment)?,
        };
    (is_elf64 && is_static).then_some(entry)
}

fn is_static_pie<R: ReadAt + ?Sized>(
    image: &R,
    segment: &[u8; SEGMENT_BYTES as usize],
) -> Option<bool> {
    let offset = u64::from_le_bytes(*segment.get(8..)?.first_chunk()?);
    let len = u64::from_le_bytes(*segment.get(32..)?.first_chunk()?);
    let entries = bytes(image, offset, len.min(DYNAMIC_BYTES_MAX))?;
    let (entries, _) = entries.as_chunks::<16>();
    let value_of = |tag: elf::DynamicTag| {
        let entry = entries
            .iter()
            .find(|entry| entry.first_chunk() == Some(&tag.0.to_le_bytes()));
        entry.and_then(|entry| Some(u64::from_le_bytes(*entry.get(8..)?.first_chunk()?)))
    };
    let is_program = value_of(elf::DT_FLAGS_1).is_some_and(|flags| flags & elf::DF_1_PIE.0 != 0);
    Some(is_program && value_of(elf::DT_NEEDED).is_none())
}

fn bytes<R: ReadAt + ?Sized>(image: &R, offset: u64, len: u64) -> Option<Vec<u8>> {
    let end = offset.checked_add(len)?;
    match end <= image.len_bytes() {
        true => image.read_at(offset, len).ok(),
        false => None,
    }
}

/// The function that begins at a byte of the file.
fn function(cfi: &Cfi, at: u64, context: &mut Context) -> Option<Range<u64>> {
    let found = cfi.function_at(at, context)?;
    (found.start == at).then_some(found)
}

/// Where the direct calls in these bytes of code may lead (opcode e8, a 32-bit distance behind it): not
/// all of them are calls, but few that are not lead to a function's beginning.
fn called(at: u64, code: &[u8]) -> impl Iterator<Item = u64> {
    let calls = (at..).zip(code.windows(5));
    calls.filter_map(|(at, bytes)| match bytes {
        [0xe8, a, b, c, d] => {
            let distance = i32::from_le_bytes([*a, *b, *c, *d]);
            (at + 5).checked_add_signed(distance.into())
        }
        _ => None,
    })
}
