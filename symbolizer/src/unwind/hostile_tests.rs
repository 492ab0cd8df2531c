//! Images and stacks that were made to be slow, or to be taken for something else.

use super::Ended;
use super::machine::Machine;
use super::tests::{Function, PC, RBX, RSP, X86_64, cfa, code, image, saved, source, unwind, x86};
use crate::chain::KERNEL_MARKER;
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
