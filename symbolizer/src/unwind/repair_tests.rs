//! Chains of frame pointers that miss callers, in a small image with known call frame information.

use super::super::machine::Machine;
use super::super::tests::{PC, RBP, RSP, STACK, cfa, code, functions, maps, saved, x86};
use super::super::{Registers, StackBytes, Start, Unwinder};
use super::*;

/// No frame.
const LEAF: u64 = 0x04;
/// With a frame pointer.
const FRAMED: u64 = 0x110;
/// Eight bytes and no frame pointer; leaves `rbp` alone.
const WRAPPER: u64 = 0x210;
/// Keeps its caller's `rbp` and uses the register otherwise.
const OTHER_USE: u64 = 0x310;
/// The outermost function.
const ROOT: u64 = 0x410;
/// With a frame pointer of which its call frame information says nothing, as Go's.
const UNTOLD: u64 = 0x510;
/// With a frame pointer in a stack that it aligned: `DW_CFA_def_cfa_expression` (DW_OP_breg6 -8,
/// DW_OP_deref).
const ALIGNED: u64 = 0x610;

fn rules() -> Vec<(u64, Vec<u8>)> {
    vec![
        (0, [cfa(RSP, 8), saved(PC, 1)].concat()),
        (0x100, [cfa(RBP, 16), saved(PC, 1), saved(RBP, 2)].concat()),
        (0x200, [cfa(RSP, 16), saved(PC, 1)].concat()),
        (0x300, [cfa(RSP, 16), saved(PC, 1), saved(RBP, 2)].concat()),
        (0x400, [cfa(RSP, 8), vec![0x07, PC]].concat()),
        (0x500, [cfa(RSP, 16), saved(PC, 1)].concat()),
        (
            0x600,
            [
                vec![0x0f, 3, 0x76, 0x78, 0x06],
                saved(PC, 1),
                vec![0x10, RBP, 2, 0x76, 0],
            ]
            .concat(),
        ),
    ]
}

/// The address of the word at `at`.
fn slot(at: u64) -> u64 {
    STACK + 8 * at
}

struct Sampled<'a> {
    pc: u64,
    fp: u64,
    stack: &'a [u64],
    behind: &'a [u64],
}

impl Sampled<'_> {
    fn with<'a>(&self, bytes: &'a [u8]) -> Start<'a> {
        let mut registers = Registers::none();
        for (number, value) in [(RSP, STACK), (PC, self.pc), (RBP, self.fp)] {
            registers.set(number, Some(value));
        }
        Start {
            machine: Machine::X86_64,
            registers,
            stack: StackBytes {
                start: STACK,
                bytes,
            },
        }
    }

    /// What is found with the images at hand, and what without, once the rules are known.
    fn repaired(&self) -> (Repair, Vec<u64>) {
        let words = self.stack.iter();
        let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        let (rules, mut unwinder) = (rules(), Unwinder::new());
        let mut source = x86(&functions(&rules));
        let mut repair = |source| {
            let mut found = Vec::new();
            let start = self.with(&bytes);
            let repair = unwinder.repair(&maps(), source, start, self.behind, &mut found);
            (repair, found)
        };
        assert_eq!(repair(None), (Repair::Unknown, vec![]));
        let mut needed = Needed::new();
        let found = repair(Some(Lookups {
            source: &mut source,
            needed: &mut needed,
        }));
        let again = repair(None);
        assert!(!needed.is_empty());
        let is_same = self.chain(&again) == self.chain(&found);
        assert!(is_same || again.0 == Repair::Unknown, "{again:?}");
        found
    }

    /// What is behind the leaf then.
    fn chain(&self, (repair, found): &(Repair, Vec<u64>)) -> Vec<u64> {
        let (found, rest) = match *repair {
            Repair::AsRecorded | Repair::Unknown => (&[][..], self.behind),
            Repair::Inserted(taken) => (&**found, &self.behind[taken..]),
            Repair::Ended { taken, len } => (&**found, &self.behind[taken..len]),
            Repair::Whole | Repair::Cut => (&**found, &[][..]),
        };
        [found, rest].concat()
    }
}

#[test]
fn the_caller_of_a_leaf_without_a_frame_is_behind_it() {
    let (first, second) = (code(FRAMED + 1), code(FRAMED + 2));
    let stack = [code(FRAMED), 7, slot(4), first, 0, second];
    let behind = [first, second];
    let with = |words: usize| {
        Sampled {
            pc: code(LEAF),
            fp: slot(2),
            stack: &stack[..words],
            behind: &behind,
        }
        .repaired()
    };
    let caller = code(FRAMED);
    assert_eq!(with(6), (Repair::Inserted(2), vec![caller, first, second]));
    assert_eq!(with(5), (Repair::Inserted(1), vec![caller, first]));
    // One word of the stack is enough for it.
    assert_eq!(with(1), (Repair::Inserted(0), vec![caller]));
    assert_eq!(with(0), (Repair::AsRecorded, vec![]));
}

/// A function that went on with another stack has its frame, and all callers, on the one before: above or below.
#[test]
fn a_chain_goes_on_where_its_stack_is_another_one() {
    let (caller, next) = (code(FRAMED), code(FRAMED + 1));
    let with = |fp, stack: &[u64], next| {
        Sampled {
            pc: code(LEAF),
            fp,
            stack,
            behind: &[next, code(FRAMED + 2)],
        }
        .repaired()
    };
    for other in [STACK - 0x1000, STACK + 0x10_0000] {
        let found = with(slot(2), &[caller, 7, other, next, 8], next);
        let expected = (Repair::Inserted(1), vec![caller, next]);
        assert_eq!(found, expected, "{other:#x}");
    }
    // None of the frames that were left has a frame pointer; or the last one has none.
    let none = with(STACK - 0x1000, &[caller, 7, 8], next);
    assert_eq!(none, (Repair::Cut, vec![caller]));
    let last = code(WRAPPER);
    let none = with(slot(2), &[caller, 7, STACK - 0x1000, last, 8], last);
    assert_eq!(none, (Repair::Cut, vec![caller, last]));
}

/// Too large a frame for the copy, and a frame pointer that is none: the kernel's walk ended, or went on in data.
#[test]
fn where_the_walk_has_no_caller_or_none_that_is_code_the_stack_is_cut() {
    let with = |pc, stack: &[u64], behind: &[u64]| {
        Sampled {
            pc,
            fp: 5,
            stack,
            behind,
        }
        .repaired()
    };
    let wrapper = code(WRAPPER);
    assert_eq!(with(wrapper, &[1], &[]), (Repair::Cut, vec![]));
    assert_eq!(with(wrapper, &[], &[]), (Repair::Cut, vec![]));
    assert_eq!(with(code(ALIGNED), &[1], &[]), (Repair::Cut, vec![]));
    assert_eq!(with(code(ROOT), &[1], &[]), (Repair::AsRecorded, vec![]));
    assert_eq!(with(wrapper, &[1], &[0x1234]), (Repair::Cut, vec![]));
    let called = [wrapper, 1];
    let found = with(code(LEAF), &called[..1], &[0x1234, code(FRAMED)]);
    assert_eq!(found, (Repair::Cut, vec![wrapper]));
    // The walk had something.
    let next = code(FRAMED);
    assert_eq!(with(wrapper, &[1], &[next]), (Repair::AsRecorded, vec![]));
}

#[test]
fn a_recursion_through_one_call_keeps_all_its_levels() {
    // The leaf and its callers were called from the same place.
    let stack = [code(FRAMED), 7, slot(4), code(FRAMED), 0, code(FRAMED)];
    let sampled = Sampled {
        pc: code(LEAF),
        fp: slot(2),
        stack: &stack,
        behind: &[code(FRAMED); 2],
    };
    let found = (Repair::Inserted(2), vec![code(FRAMED); 3]);
    assert_eq!(sampled.repaired(), found);
}

#[test]
fn a_chain_that_misses_nothing_stays_as_it_is() {
    let stack = [1, slot(4), code(FRAMED), 2, 0, code(FRAMED + 1), 3];
    let sampled = Sampled {
        pc: code(FRAMED + 4),
        fp: slot(1),
        stack: &stack,
        behind: &[code(FRAMED), code(FRAMED + 1)],
    };
    assert_eq!(sampled.repaired().0, Repair::AsRecorded);
}

#[test]
fn what_calls_on_without_a_frame_is_not_what_hides_its_caller() {
    // leaf with a frame ← wrapper without ← its caller, which the chain lacks ← the chain's next
    let (caller, next) = (code(FRAMED), code(FRAMED + 1));
    let stack = [slot(4), code(WRAPPER), 7, caller, 0, next];
    let sampled = Sampled {
        pc: code(FRAMED + 4),
        fp: slot(0),
        stack: &stack,
        behind: &[code(WRAPPER), next],
    };
    let found = vec![code(WRAPPER), caller, next];
    assert_eq!(sampled.repaired(), (Repair::Inserted(2), found));
}

#[test]
fn a_root_that_frame_pointers_do_not_reach_is_left_out_of_short_stacks_too() {
    // Of a deep stack the copy ends before: the same function must not have two callers.
    let chain = [code(FRAMED), code(WRAPPER)];
    let stack = [
        code(FRAMED + 9),
        slot(3),
        chain[0],
        0,
        chain[1],
        7,
        code(ROOT),
    ];
    let sampled = |behind| Sampled {
        pc: code(LEAF),
        fp: slot(1),
        stack: &stack,
        behind,
    };
    let found = vec![code(FRAMED + 9), chain[0], chain[1]];
    let whole = sampled(&chain).repaired();
    assert_eq!(whole, (Repair::Inserted(2), found.clone()));
    // What the walk read behind it was no frame: in a deep stack it is there as well.
    let astray = [chain[0], chain[1], 0x1234];
    assert_eq!(sampled(&astray).repaired(), (Repair::Inserted(2), found));
}

#[test]
fn a_start_that_uses_the_register_otherwise_makes_no_chain_false() {
    // framed ← the start, which kept another rbp than the walk came to ← root
    let chain = [code(OTHER_USE), 0x1234];
    let stack = [0x33, chain[0], 0x77, code(ROOT)];
    // Whether the walk read anything by it or not.
    for behind in [&chain[..1], &chain] {
        let sampled = Sampled {
            pc: code(FRAMED),
            fp: slot(0),
            stack: &stack,
            behind,
        };
        assert_eq!(sampled.repaired().0, Repair::AsRecorded);
    }
}

#[test]
fn callers_without_frame_pointers_are_not_taken_for_a_programs_start() {
    // One function with a frame pointer, as one that aligns its stack has; nobody else has one.
    let wrapped = |words: usize| {
        let mut stack = vec![1, 0x99, code(WRAPPER)];
        for at in 1..5 {
            stack.extend([at, code(WRAPPER + at)]);
        }
        stack.extend([7, code(ROOT)]);
        stack.truncate(words);
        let behind = [code(WRAPPER)];
        let sampled = Sampled {
            pc: code(FRAMED),
            fp: slot(1),
            stack: &stack,
            behind: &behind,
        };
        sampled.repaired()
    };
    let callers: Vec<u64> = (0..5).map(|at| code(WRAPPER + at)).collect();
    let whole = [&callers[..], &[code(ROOT)]].concat();
    assert_eq!(wrapped(13), (Repair::Whole, whole));
    assert_eq!(wrapped(12), (Repair::Cut, callers));
}

#[test]
fn where_the_frame_pointer_was_none_only_what_was_found_is_true() {
    let (own, next) = (code(FRAMED), code(FRAMED + 1));
    let stack = [slot(3), own, 7, slot(5), next, 0, code(ROOT)];
    let with = |words: usize| {
        Sampled {
            pc: code(OTHER_USE),
            fp: 0x5555,
            stack: &stack[..words],
            behind: &[0x7777, 0x8888],
        }
        .repaired()
    };
    assert_eq!(with(2), (Repair::Cut, vec![own]));
    assert_eq!(with(5), (Repair::Cut, vec![own, next]));
    assert_eq!(with(7), (Repair::Whole, vec![own, next, code(ROOT)]));
    // Not even its return address.
    assert_eq!(with(1), (Repair::Cut, vec![]));
}

#[test]
fn what_lies_below_the_stack_is_no_frame_pointer() {
    let stack = [code(WRAPPER), 1, code(WRAPPER + 1)];
    let sampled = Sampled {
        pc: code(LEAF),
        fp: 0x5555_0000,
        stack: &stack,
        behind: &[0x1234, 0x5678],
    };
    let found = vec![code(WRAPPER), code(WRAPPER + 1)];
    assert_eq!(sampled.repaired(), (Repair::Cut, found));
}

#[test]
fn code_that_tells_nothing_is_the_root_where_the_frame_pointer_is_zero() {
    // As the loader's own start: rbp is zero there, and no entry covers it.
    let start = code(0x710);
    let stack = [code(OTHER_USE), 0, code(WRAPPER), 1, start];
    let sampled = Sampled {
        pc: code(LEAF),
        fp: 0x99,
        stack: &stack,
        behind: &[],
    };
    let found = vec![code(OTHER_USE), code(WRAPPER), start];
    assert_eq!(sampled.repaired(), (Repair::Whole, found));
}

#[test]
fn a_stack_without_any_frame_pointer_is_found_to_its_root() {
    let stack = [code(WRAPPER), 1, code(WRAPPER + 1), 2, code(ROOT)];
    let sampled = Sampled {
        pc: code(LEAF),
        fp: 3,
        stack: &stack,
        behind: &[],
    };
    let found = vec![code(WRAPPER), code(WRAPPER + 1), code(ROOT)];
    assert_eq!(sampled.repaired(), (Repair::Whole, found));
}

#[test]
fn frame_pointers_that_the_cfi_does_not_tell_of_are_followed() {
    let chain = [code(UNTOLD), code(UNTOLD + 1), code(FRAMED)];
    // leaf ← (not in the chain) ← untold ← untold ← framed
    let stack = [
        code(UNTOLD + 5),
        slot(3),
        chain[0],
        slot(5),
        chain[1],
        0,
        chain[2],
    ];
    let sampled = Sampled {
        pc: code(LEAF),
        fp: slot(1),
        stack: &stack,
        behind: &chain,
    };
    let found = [&[code(UNTOLD + 5)][..], &chain].concat();
    assert_eq!(sampled.repaired(), (Repair::Inserted(3), found));
}

#[test]
fn a_function_that_aligned_its_stack_is_in_the_chain_by_a_copy() {
    // rbp points at 2; the CFA is where -8 of it says, 7; a copy of the return address is at 3.
    let stack = [
        5,
        slot(7),
        slot(8),
        code(FRAMED),
        1,
        1,
        code(FRAMED),
        2,
        0,
        code(ROOT),
    ];
    let sampled = Sampled {
        pc: code(ALIGNED),
        fp: slot(2),
        stack: &stack,
        behind: &[code(FRAMED), code(ROOT)],
    };
    assert_eq!(sampled.repaired().0, Repair::AsRecorded);
}

#[test]
fn generated_code_and_addresses_that_are_none_end_it() {
    for (caller, expected) in [
        // Generated: it goes on by its frame pointer.
        (
            0x5000_0010,
            (Repair::Inserted(1), vec![0x5000_0010, code(FRAMED)]),
        ),
        (0x6000_0000, (Repair::AsRecorded, vec![])),
        (u64::MAX - 127, (Repair::AsRecorded, vec![])),
    ] {
        let stack = [caller, 7, 0, code(FRAMED)];
        let sampled = Sampled {
            pc: code(LEAF),
            fp: slot(2),
            stack: &stack,
            behind: &[code(FRAMED)],
        };
        assert_eq!(sampled.repaired(), expected, "{caller:x}");
    }
}
