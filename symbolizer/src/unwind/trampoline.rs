//! Frames of CPython's perf trampolines: generated code without call frame information, whose frame is known all
//! the same.
//!
//! With `-X perf` CPython 3.12 and 3.13 put a copy of this under each Python function (Python/asm_trampoline.S),
//! and no frame pointer is kept in it:
//!
//! ```text
//!   [endbr64]   sub $8,%rsp   call *%rcx   add $8,%rsp   ret
//! ```
//! Behind the call the return address is 8 bytes above the stack pointer. Both who is called and who called are
//! the interpreter. The copies fill arenas of 64 KiB (Python/perf_trampoline.c).

use super::Machine;
use super::step::{Caller, Frame, Stuck};
use crate::image::ImageId;
use crate::maps::{Backing, MapTable, Mapping};

const ARENA_BYTES: u64 = 1 << 16;
/// Neighbouring arenas are one mapping. This many have room for 65 536 functions; the code caches of other
/// compilers are larger.
const ARENAS_MAX: u64 = 16;
/// From one copy to the next, and from its beginning to what is behind the call: 3.12 packs them, 3.13 aligns
/// them, compilers for CET put `endbr64` in front.
const COPIES: [(u64, u64); 4] = [(11, 6), (16, 6), (15, 10), (16, 10)];

/// Leaves the frame of a trampoline, if that is what it is: its callee's code is in the image `callee`.
pub(super) fn leave(
    frame: &mut Frame<'_>,
    maps: &MapTable,
    last: &mut Option<Mapping>,
    callee: Option<ImageId>,
) -> Option<Result<Caller, Stuck>> {
    let callee = callee?;
    let machine = frame.machine;
    let pc = frame.registers.get(machine.pc())?;
    let sp = frame.registers.get(machine.sp())?;
    // One that keeps a frame pointer (3.14) is left by it.
    let keeps_one = frame.registers.get(machine.fp()) == Some(sp);
    if machine != Machine::X86_64 || frame.is_interrupted || keeps_one {
        return None;
    }
    let (mapping, _) = maps.find_near(last, pc.saturating_sub(1))?;
    if !is_behind_call(&mapping, pc) {
        return None;
    }
    let saved_at = sp.wrapping_add(8);
    let return_address = match frame.stack.word(saved_at) {
        Ok(word) => word,
        // It looks like one, and cannot be told.
        Err(_) => return None,
    };
    let (caller, _) = maps.find_near(last, return_address.saturating_sub(1))?;
    if caller.backing != Backing::Image(callee) {
        return None;
    }
    Some(frame.leave_at(saved_at, return_address))
}

/// Whether an address is one that a trampoline's call returns to.
fn is_behind_call(mapping: &Mapping, addr: u64) -> bool {
    let bytes = mapping.end - mapping.start;
    let is_arena = matches!(mapping.backing, Backing::Generated(_))
        && bytes.is_multiple_of(ARENA_BYTES)
        && bytes / ARENA_BYTES <= ARENAS_MAX;
    let at = addr.wrapping_sub(mapping.start) % ARENA_BYTES;
    let is_behind = |(step, behind): &(u64, u64)| at % step == *behind;
    is_arena && COPIES.iter().any(is_behind)
}

#[cfg(test)]
#[path = "trampoline_tests.rs"]
mod tests;
