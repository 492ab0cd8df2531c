//! Stacks of an interpreter that calls itself through trampolines.

use super::super::tests::{PC, RBP, RSP, STACK, cfa, code, functions, maps, saved, x86};
use super::super::{Ended, Registers, StackBytes, Start, Unwinder};
use super::*;
use crate::memory::MemoryId;

/// Where trampolines are.
const ARENA: u64 = 0x6000_0000;
/// The evaluator: 24 bytes, `rbp` is a register like any other. Its caller: 8. The outermost function.
const EVALUATE: u64 = 0x20;
const ENTER: u64 = 0x120;
const ROOT: u64 = 0x220;

/// Unwinds from the evaluator, which was called at `addr` of generated code in a mapping of so many bytes.
fn unwind(bytes: u64, addr: u64, stack: &[u64], fp: u64) -> (Vec<u64>, Ended) {
    let rules = [
        (0, [cfa(RSP, 24), saved(PC, 1)].concat()),
        (0x100, [cfa(RSP, 16), saved(PC, 1)].concat()),
        (0x200, [cfa(RSP, 8), vec![0x07, PC]].concat()),
    ];
    let mut maps = maps();
    maps.insert(Mapping {
        start: ARENA,
        end: ARENA + bytes,
        file_offset: 0,
        backing: Backing::Generated(MemoryId::ANONYMOUS),
    });
    let mut registers = Registers::none();
    for (number, value) in [(RSP, STACK), (PC, code(EVALUATE)), (RBP, fp)] {
        registers.set(number, Some(value));
    }
    let words = [&[1, 2, addr], stack].concat();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let start = Start {
        machine: Machine::X86_64,
        registers,
        stack: StackBytes {
            start: STACK,
            bytes: &bytes,
        },
    };
    let mut found = Vec::new();
    let mut source = x86(&functions(&rules));
    let ended = Unwinder::new().unwind(&maps, &mut source, start, &mut found);
    (found, ended)
}

/// Behind the call of a trampoline: its pad, who called it, that one's frame, the root.
fn above() -> [u64; 5] {
    [9, code(ENTER), 9, code(ROOT), 9]
}

#[test]
fn each_kind_of_trampoline_is_left_to_who_called_it() {
    for at in [6, 11 * 700 + 6, 16 * 4095 + 6, 15 * 7 + 10, 16 * 5 + 10] {
        for arenas in [1, 2, 16] {
            let addr = ARENA + (arenas - 1) * 0x10000 + at;
            // Whatever the register has: a place on the stack with code behind it, too.
            for fp in [0, 7, STACK + 56, STACK + 40] {
                let (found, ended) = unwind(arenas << 16, addr, &above(), fp);
                let whole = [code(EVALUATE), addr, code(ENTER), code(ROOT)];
                assert_eq!(
                    (&found[..], ended),
                    (&whole[..], Ended::Complete),
                    "{at} {fp:#x}"
                );
            }
        }
    }
}

#[test]
fn what_cannot_be_a_trampoline_is_left_by_its_frame_pointer_or_not_at_all() {
    let behind = ARENA + 6;
    let lost = |bytes, addr, stack: &[u64], fp| {
        let (found, ended) = unwind(bytes, addr, stack, fp);
        assert_eq!(
            (&found[..], ended),
            (&[code(EVALUATE), addr][..], Ended::Lost)
        );
    };
    // Not behind a call of one; in too small and too large memory.
    lost(0x10000, ARENA + 7, &above(), 7);
    lost(0x10000, ARENA + 11, &above(), 7);
    lost(0x8000, behind, &above(), 7);
    lost(0x11_0000, behind, &above(), 7);
    // Called from nowhere, from generated code.
    lost(0x10000, behind, &[9, 0x1234, 9, code(ROOT)], 7);
    lost(0x10000, behind, &[9, 0x5000_0010, 9, code(ROOT)], 7);
    // One that keeps a frame pointer: what is behind it is no callee-saved register's copy.
    let with_fp = [STACK + 48, code(ENTER), 9, code(ROOT), 9];
    let (found, ended) = unwind(0x10000, behind, &with_fp, STACK + 24);
    let whole = [code(EVALUATE), behind, code(ENTER), code(ROOT)];
    assert_eq!((&found[..], ended), (&whole[..], Ended::Complete));
}
