//! Where a static program's start is, by its file alone: `_start`, what it calls, and what that calls.
//!
//! x86_64 alone: aarch64's C libraries keep frame pointers. Dynamic programs call their start through a
//! table that the loader fills; there the register is zero, or a number that is no address.

use super::cfi::{Cfi, Context};
use super::machine::Machine;
use crate::elf::ReadAt;
use std::ops::Range;

/// Bytes of `_start` that are looked at; real ones have some 40.
const ENTRY_BYTES: u64 = 64;
/// The same of what it calls: glibc's and musl's `__libc_start_main` have some 2 KiB.
const FUNCTION_BYTES_MAX: u64 = 16 << 10;
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
    let begin = bytes(image, entry, ENTRY_BYTES)?;
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

/// `e_entry` of a 64-bit little-endian image.
fn entry_of<R: ReadAt + ?Sized>(image: &R) -> Option<u64> {
    let header = bytes(image, 0, 32)?;
    let is_elf64 = header.get(4..6)? == [2, 1];
    let entry = header.get(24..)?.first_chunk()?;
    is_elf64.then(|| u64::from_le_bytes(*entry))
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
