//! How stacks end.

use super::Ended;
use super::machine::Machine;
use super::tests::{Function, PC, RBP, RSP, STACK, code, functions, saved, three, unwind, x86};

/// As rustc's `run_compiler` has one, of 540 080 bytes.
#[test]
fn a_frame_that_no_copy_reaches_behind_is_told_from_a_copy_that_is_too_short() {
    let huge = [vec![0x0c, RSP, 0xb0, 0xfb, 0x20], saved(PC, 1)].concat();
    // DW_CFA_def_cfa rsp+65528, +65536
    let largest = [vec![0x0c, RSP, 0xf8, 0xff, 0x03], saved(PC, 1)].concat();
    let larger = [vec![0x0c, RSP, 0x80, 0x80, 0x04], saved(PC, 1)].concat();
    for (rules, ended) in [
        (huge, Ended::Far),
        (largest, Ended::Cut),
        (larger, Ended::Far),
    ] {
        let mut source = x86(&[Function {
            start: 0,
            len: 0x100,
            rules: &rules,
        }]);
        let found = unwind(&mut source, Machine::X86_64, &[(PC, code(4))], &[1, 2, 3]);
        assert_eq!(found, (vec![code(4)], ended));
    }
}

/// Fibers of Ruby and D begin so. What a false walk reads where no return address is, is mostly 0 too.
#[test]
fn a_return_address_of_0_is_a_root_only_if_the_frame_pointer_is_0_too() {
    let rules = three();
    let mut source = x86(&functions(&rules));
    let stack = [code(0x110), 7, 8, 9, 0, 1];
    for (fp, ended) in [(0, Ended::Complete), (STACK + 16, Ended::Lost)] {
        let registers = [(PC, code(4)), (RBP, fp)];
        let found = unwind(&mut source, Machine::X86_64, &registers, &stack);
        assert_eq!(found, (vec![code(4), code(0x110)], ended));
    }
    // It is not known.
    let found = unwind(&mut source, Machine::X86_64, &[(PC, code(4))], &[0]);
    assert_eq!(found, (vec![code(4)], Ended::Lost));
}
