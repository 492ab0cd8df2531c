//! Chains that go on behind their root, in a small image with known call frame information.

use super::super::repair::{Lookups, Needed, Repair};
use super::super::tests::{
    Function, One, PC, RBP, RSP, STACK, X86_64, cfa, code, image, maps, saved, source,
};
use super::super::{Registers, StackBytes, Start};
use super::*;
use crate::elf::ElfLimits;
use crate::unwind::cfi::Cfi;
use crate::unwind::start::start_code;
use object::elf;

/// No frame.
const LEAF: u64 = 0x04;
/// With a frame pointer.
const FRAMED: u64 = 0x110;
/// Without a frame: calls `main`.
const CALLS_MAIN: u64 = 0x210;
/// Calls that one.
const LIBC_START: u64 = 0x310;
/// `_start`: it has no caller.
const ENTRY: u64 = 0x410;
/// Nothing tells of it.
const UNTOLD: u64 = 0x510;

fn rules() -> Vec<(u64, Vec<u8>)> {
    let framed = [cfa(RBP, 16), saved(PC, 1), saved(RBP, 2)].concat();
    let frameless = [cfa(RSP, 16), saved(PC, 1)].concat();
    vec![
        (0, [cfa(RSP, 8), saved(PC, 1)].concat()),
        (0x100, framed),
        (0x200, frameless.clone()),
        (0x300, frameless),
        (0x400, [cfa(RSP, 8), vec![0x07, PC]].concat()),
    ]
}

/// The image's bytes: `_start` calls [`LIBC_START`]'s function, that [`CALLS_MAIN`]'s.
fn program() -> Vec<u8> {
    let rules = rules();
    let functions: Vec<Function<'_>> = rules
        .iter()
        .map(|(start, rules)| Function {
            start: *start,
            len: 0x100,
            rules,
        })
        .collect();
    let mut out = image(X86_64, 16, b"zR", &functions);
    out[24..32].copy_from_slice(&0x1400_u64.to_le_bytes());
    for (at, function) in [(0x1402_usize, 0x1300_i32), (0x1320, 0x1200)] {
        out[at] = 0xe8;
        out[at + 1..at + 5].copy_from_slice(&(function - at as i32 - 5).to_le_bytes());
    }
    // What looks like a call, into the middle of a function.
    out[0x1340..0x1345].copy_from_slice(&[0xe8, 0, 0, 0, 0]);
    out
}

fn start_of(bytes: &[u8]) -> Vec<Range<u64>> {
    let cfi = Cfi::read(bytes, &ElfLimits::default());
    start_code(bytes, &cfi.expect("an image").expect("of x86_64"))
}

struct Walks {
    unwinder: Unwinder,
    source: One,
}

impl Walks {
    fn new() -> Self {
        Self {
            unwinder: Unwinder::new(),
            source: source(&program()),
        }
    }

    /// The user part of the chain whose leaf has `behind` behind it, and whether it ended at its root.
    fn chain(&mut self, stack: &[u64], behind: &[u64], reads: bool) -> Option<(Vec<u64>, bool)> {
        let bytes: Vec<u8> = stack.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut registers = Registers::none();
        for (number, value) in [(RSP, STACK), (PC, code(LEAF)), (RBP, STACK + 8)] {
            registers.set(number, Some(value));
        }
        let start = Start {
            machine: Machine::X86_64,
            registers,
            stack: StackBytes {
                start: STACK,
                bytes: &bytes,
            },
        };
        let (mut found, mut needed) = (Vec::new(), Needed::new());
        let lookups = reads.then_some(Lookups {
            source: &mut self.source,
            needed: &mut needed,
        });
        let maps = maps();
        let repair = self
            .unwinder
            .repair(&maps, lookups, start, behind, &mut found);
        let (rest, is_ended) = match repair {
            Repair::AsRecorded => return Some((behind.to_vec(), false)),
            Repair::Inserted(taken) => (&behind[taken..], false),
            Repair::Ended { taken, len } => (&behind[taken..len], true),
            Repair::Unknown => return None,
            Repair::Whole | Repair::Cut => panic!("{repair:?}"),
        };
        found.extend_from_slice(rest);
        Some((found, is_ended))
    }

    /// leaf ← framed (not in the chain) ← framed ← the function that calls main ← … the root
    fn short(&mut self, behind: &[u64]) -> Option<(Vec<u64>, bool)> {
        let stack = [
            code(FRAMED),
            STACK + 0x20,
            code(FRAMED + 1),
            0,
            0x99,
            code(CALLS_MAIN),
            7,
            code(LIBC_START),
            7,
            code(ENTRY),
        ];
        self.chain(&stack, behind, true)
    }
}

/// What stacks of the program have where they end, and what the walk reads behind it.
fn with_tail(tail: &[u64]) -> Vec<u64> {
    [&[code(FRAMED + 1), code(CALLS_MAIN)], tail].concat()
}

fn whole() -> Vec<u64> {
    vec![code(FRAMED), code(FRAMED + 1), code(CALLS_MAIN)]
}

/// Of a stack that is deeper than its copy.
const DEEP: [u64; 1] = [0];

#[test]
fn what_a_stack_tells_of_a_root_is_not_believed() {
    // A hostile program's stack may say so of an image that others map as well.
    let behind = with_tail(&[code(FRAMED + 7), 0x1234]);
    let mut walks = Walks::new();
    let short = walks.short(&behind).map(|(found, _)| found);
    assert_eq!(short, Some([&whole(), &behind[2..]].concat()));
    let deep = walks.chain(&DEEP[..0], &behind, true);
    assert_eq!(deep, Some((behind, false)));
}

#[test]
fn of_a_static_program_its_file_tells_where_deep_stacks_end() {
    let ranges = start_of(&program());
    assert_eq!(ranges, [0x1300..0x1400, 0x1200..0x1300]);
    let mut walks = Walks::new();
    walks.unwinder.roots.note_start(ImageId(1), &ranges);
    // No stack was seen before. Code that nothing tells of, and no code.
    for tail in [&[code(UNTOLD), 0x1234][..], &[0x1234]] {
        let deep = walks.chain(&DEEP[..0], &with_tail(tail), true);
        assert_eq!(deep, Some((with_tail(&[]), true)));
    }
    // Code that is told of may have called it: `exit` is called from anywhere.
    let behind = with_tail(&[code(FRAMED + 7), 0x1234]);
    let deep = walks.chain(&DEEP[..0], &behind, true);
    assert_eq!(deep, Some((behind, false)));
    // In another image, too.
    let behind = with_tail(&[code(UNTOLD) + 0x100_0000]);
    let deep = walks.chain(&DEEP[..0], &behind, true);
    assert_eq!(
        deep,
        Some((with_tail(&[]), true)),
        "nothing is mapped there"
    );
    walks.unwinder.forget();
    assert_eq!(
        walks.chain(&DEEP[..0], &behind, true),
        Some((behind, false))
    );
    walks.unwinder.roots.note_start(ImageId(1), &ranges);
    // Nothing behind the root is false.
    let deep = walks.chain(&DEEP[..0], &with_tail(&[]), true);
    assert_eq!(deep, Some((with_tail(&[]), false)));
    // Without the image: asked for, once.
    let mut walks = Walks::new();
    walks.unwinder.roots.note_start(ImageId(1), &ranges);
    let behind = with_tail(&[code(UNTOLD)]);
    assert_eq!(walks.chain(&DEEP[..0], &behind, false), None);
    assert!(walks.chain(&DEEP[..0], &behind, true).is_some());
    let deep = walks.chain(&[code(FRAMED), 7], &behind, true);
    assert_eq!(deep, Some((whole(), true)));
    let deep = walks.chain(&[code(FRAMED), 7], &behind, false);
    assert_eq!(deep, Some((whole(), true)));
}

#[test]
fn a_start_that_its_file_does_not_tell_is_none_and_no_damage_panics() {
    let program = program();
    let mut dynamic = program.clone();
    // call *GOT
    dynamic[0x1402..0x1404].copy_from_slice(&[0xff, 0x15]);
    assert_eq!(start_of(&dynamic), []);
    // With one more segment: an interpreter's name, a dynamic section that says nothing.
    for kind in [elf::PT_INTERP, elf::PT_DYNAMIC] {
        let mut linked = program.clone();
        let at = 64 + 56 * usize::from(linked[56]);
        assert!(linked[at..at + 56].iter().all(|byte| *byte == 0));
        linked[at..at + 4].copy_from_slice(&kind.0.to_le_bytes());
        linked[56] += 1;
        assert_eq!(start_of(&linked), []);
    }
    let mut elsewhere = program.clone();
    elsewhere[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(start_of(&elsewhere), []);
    let cfi = Cfi::read(program.as_slice(), &ElfLimits::default());
    let cfi = cfi.expect("an image").expect("of x86_64");
    for len in (0..64).chain((0x1000..0x1500).step_by(7)) {
        let found = start_code(&program[..len], &cfi);
        assert!(found.is_empty() || found.len() == 2, "{len}");
    }
}
