//! Images and stacks that were made to be slow, or to be taken for something else.

use super::cfi::{Cfi, Context};
use super::machine::Machine;
use super::rule::Found;
use super::tests::{
    Function, PC, RBX, RSP, TEXT, X86_64, cfa, code, image, saved, source, unwind, x86,
};
use super::{CfiSource, Ended};
use crate::chain::KERNEL_MARKER;
use crate::image::ImageId;
use std::time::{Duration, Instant};

#[test]
fn a_return_address_is_never_the_kernels() {
    let rules = [cfa(RSP, 8), saved(PC, 1)].concat();
    let mut source = x86(&[Function {
        start: 0,
        len: 0x100,
        rules: &rules,
    }]);
    for kernels in [KERNEL_MARKER, u64::MAX, 1 << 63, 0xffff_ffff_8100_0000] {
        let stack = [code(8), kernels, 0xffff_ffff_8100_0000];
        let found = unwind(&mut source, Machine::X86_64, &[(PC, code(4))], &stack);
        assert_eq!(found, (vec![code(4), code(8)], Ended::Lost), "{kernels:x}");
    }
}

#[test]
fn rules_that_take_long_are_given_up_and_the_next_images_are_not() {
    // No rule can say it, so that it is worked out for each frame: all that is known of many
    // registers is remembered and forgotten again.
    let mut slow = [vec![0x0f, 2, 0x77, 8], saved(PC, 1)].concat();
    for register in 17..60 {
        slow.extend(saved(register, 9));
    }
    slow.extend([0x0a, 0x0b].repeat(125_000));
    let functions = [Function {
        start: 0,
        len: 0x100,
        rules: &slow,
    }];
    let mut images = [x86(&functions), x86(&functions)];
    let stack = vec![code(8); 2000];
    for image in &mut images {
        let mut unwind = || unwind(image, Machine::X86_64, &[(PC, code(4))], &stack);
        let begun = Instant::now();
        let (first, _) = unwind();
        assert!(first.len() > 20, "{} frames", first.len());
        for _ in 0..30 {
            let (frames, ended) = unwind();
            assert_eq!((frames.len() <= first.len(), ended), (true, Ended::Lost));
        }
        // Each frame of each stack would be a minute.
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn an_entry_that_functions_share_is_read_if_it_is_short() {
    let rules = [cfa(RSP, 8), saved(PC, 1), saved(RBX, 2)].concat();
    let functions = [Function {
        start: 0,
        len: 0x100,
        rules: &rules,
    }];
    // What is not called `eh` is a list of letters; `S` may be there as often as it likes.
    for (letters, frames) in [(100, 2), (2000, 1)] {
        let augmentation = [b"zR".as_slice(), &vec![b'S'; letters]].concat();
        let mut source = source(&image(X86_64, 16, &augmentation, &functions));
        let found = unwind(
            &mut source,
            Machine::X86_64,
            &[(PC, code(4))],
            &[code(8), 1 << 63],
        );
        assert_eq!((found.0.len(), found.1), (frames, Ended::Lost));
    }
}

#[test]
fn a_rule_is_that_of_its_row_but_not_where_another_entry_begins_nor_beyond_the_segment() {
    // From byte 0x20 on (DW_CFA_advance_loc) another row.
    let grows = [cfa(RSP, 8), saved(PC, 1), vec![0x60], cfa(RSP, 32)].concat();
    let plain = [cfa(RSP, 16), saved(PC, 1)].concat();
    // The other row begins behind the entry (DW_CFA_advance_loc1).
    let beyond = [cfa(RSP, 8), saved(PC, 1), vec![0x02, 0x80], cfa(RSP, 32)].concat();
    let function = |start, len, rules| Function { start, len, rules };
    let mut source = x86(&[
        function(0, 0x300, &grows),
        function(0x100, 0x80, &plain),
        function(0x400, 0x40, &plain),
        function(0x600, 0x40, &beyond),
        function(0x6f00, 0x200, &plain),
    ]);
    let cfi = source.image(ImageId(1)).expect("call frame information");
    let mut context = Box::<Context>::default();
    let mut at = |cfi: &Cfi, offset| {
        let (found, span) = cfi.find(TEXT + offset, &mut context);
        let cfa_offset = match found {
            Found::Rule(rule) => Some(rule.cfa_offset),
            _ => None,
        };
        (cfa_offset, span.start - TEXT..span.end - TEXT)
    };
    for (offset, expected) in [
        (0x10, (Some(8), 0..0x20)),
        (0x20, (Some(32), 0x20..0x100)),
        (0xff, (Some(32), 0x20..0x100)),
        (0x100, (Some(16), 0x100..0x180)),
        (0x17f, (Some(16), 0x100..0x180)),
        // The entry that begins last before it does not cover it.
        (0x180, (None, 0x180..0x181)),
        (0x43f, (Some(16), 0x400..0x440)),
        (0x440, (None, 0x440..0x441)),
        (0x610, (Some(8), 0x600..0x640)),
        (0x640, (None, 0x640..0x641)),
        // The file ends inside of the function.
        (0x6f10, (Some(16), 0x6f10..0x6f11)),
    ] {
        assert_eq!(at(&cfi, offset), expected, "{offset:#x}");
    }
}
