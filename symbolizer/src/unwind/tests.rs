//! Unwinding real frames: small images with known call frame information.

use super::cfi::Cfi;
use super::machine::Machine;
use super::{CfiSource, Ended, FRAMES_MAX, Registers, StackBytes, Start, Unwinder};
use crate::elf::ElfLimits;
use crate::image::ImageId;
use crate::maps::{Backing, MapTable, Mapping};
use crate::memory::MemoryId;
use profiler::record::{Branches, Chain, Sample, Stamp};
use profiler::{CodeAddr, HostPid, HostTid};
use std::sync::Arc;

/// Where the image is mapped.
const BASE: u64 = 0x7f00_0000_0000;
/// Its only code: file offset and stated address are the same.
pub(super) const TEXT: u64 = 0x1000;
pub(super) const STACK: u64 = 0x7ffd_0000_0000;

pub(super) const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// A sample of nothing.
pub(super) fn sample() -> Sample<'static> {
    Sample {
        stamp: Stamp {
            time_ns: 1,
            pid: HostPid(1),
            tid: HostTid(1),
            cpu: 0,
        },
        cgroup: None,
        period: 1,
        ip: CodeAddr(0),
        chain: Chain { words: &[] },
        event_id: None,
        read: None,
        branches: Branches::new(&[]),
        user_registers: None,
        user_stack: &[],
    }
}

/// A function: its first address relative to [`TEXT`], its length, its call frame instructions.
pub(super) struct Function<'a> {
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) rules: &'a [u8],
}

/// `DW_CFA_def_cfa` of a register.
pub(super) fn cfa(register: u8, offset: u8) -> Vec<u8> {
    vec![0x0c, register, offset]
}

/// `DW_CFA_offset`: saved so many words below the CFA.
pub(super) fn saved(register: u8, words: u8) -> Vec<u8> {
    vec![0x80 | register, words]
}

/// `.eh_frame` at `svma`: one CIE, `zRS` for a signal's frame, and an entry for each function.
fn eh_frame(
    svma: u64,
    return_register: u8,
    augmentation: &[u8],
    functions: &[Function<'_>],
) -> Vec<u8> {
    let mut out = Vec::new();
    let entry = |out: &mut Vec<u8>, id: u32, body: &[u8]| {
        let len = (4 + body.len()).next_multiple_of(4);
        out.extend_from_slice(&(len as u32).to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(body);
        // DW_CFA_nop
        out.resize(out.len() + len - 4 - body.len(), 0);
    };
    // Version 1, augmentation, code alignment 1, data alignment -8, pointers relative and 32-bit.
    let mut cie = vec![1];
    cie.extend_from_slice(augmentation);
    cie.extend_from_slice(&[0, 1, 0x78, return_register, 1, 0x1b]);
    entry(&mut out, 0, &cie);
    for function in functions {
        let at = out.len() as u64;
        let start = (TEXT + function.start) as i64 - (svma + at + 8) as i64;
        let mut body = (start as i32).to_le_bytes().to_vec();
        body.extend_from_slice(&(function.len as u32).to_le_bytes());
        body.push(0);
        body.extend_from_slice(function.rules);
        entry(&mut out, at as u32 + 4, &body);
    }
    out.extend_from_slice(&[0; 4]);
    out
}

/// An image with [`TEXT`] and an `.eh_frame`, and with a `.plt` behind the text.
pub(super) fn image(
    machine: u16,
    return_register: u8,
    augmentation: &[u8],
    functions: &[Function<'_>],
) -> Vec<u8> {
    const FRAMES: u64 = 0x3000;
    let frames = eh_frame(FRAMES, return_register, augmentation, functions);
    let names = b"\0.text\0.plt\0.eh_frame\0.shstrtab\0";
    let sections_at = FRAMES + (frames.len() + names.len()).next_multiple_of(8) as u64;
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    let put = |out: &mut Vec<u8>, value: u64, width: usize| {
        out.extend_from_slice(&value.to_le_bytes()[..width]);
    };
    for (value, width) in [
        (3, 2),
        (machine.into(), 2),
        (1, 4),
        (0, 8),
        (64, 8),
        (sections_at, 8),
        (0, 4),
    ] {
        put(&mut out, value, width);
    }
    for value in [64, 56, 1, 64, 5, 4] {
        put(&mut out, value, 2);
    }
    // PT_LOAD, readable and executable.
    for (value, width) in [
        (1, 4),
        (5, 4),
        (0, 8),
        (0, 8),
        (0, 8),
        (0x8000, 8),
        (0x8000, 8),
        (0x1000, 8),
    ] {
        put(&mut out, value, width);
    }
    out.resize(FRAMES as usize, 0);
    out.extend_from_slice(&frames);
    let names_at = out.len() as u64;
    out.extend_from_slice(names);
    out.resize(sections_at as usize, 0);
    let sections = [
        [0; 6],
        [1, 1, 6, TEXT, TEXT, 0x800],
        [7, 1, 6, TEXT + 0x800, TEXT + 0x800, 0x100],
        [12, 1, 2, FRAMES, FRAMES, frames.len() as u64],
        [22, 3, 0, 0, names_at, names.len() as u64],
    ];
    for [name, kind, flags, addr, offset, len] in sections {
        let rest = [
            (flags, 8),
            (addr, 8),
            (offset, 8),
            (len, 8),
            (0, 8),
            (8, 8),
            (0, 8),
        ];
        for (value, width) in [(name, 4), (kind, 4)].into_iter().chain(rest) {
            put(&mut out, value, width);
        }
    }
    out.resize(out.len().max(0x8000), 0);
    out
}

pub(super) struct One(Option<Arc<Cfi>>);

impl CfiSource for One {
    fn image(&mut self, _: ImageId) -> Option<Arc<Cfi>> {
        self.0.clone()
    }

    fn vdso(&mut self) -> Option<Arc<Cfi>> {
        None
    }
}

pub(super) fn maps() -> MapTable {
    let mut maps = MapTable::default();
    maps.insert(Mapping {
        start: BASE,
        end: BASE + 0x8000,
        file_offset: 0,
        backing: Backing::Image(ImageId(1)),
    });
    maps.insert(Mapping {
        start: 0x5000_0000,
        end: 0x5000_1000,
        file_offset: 0,
        backing: Backing::Generated(MemoryId::ANONYMOUS),
    });
    maps
}

/// Address of a byte of the text.
pub(super) fn code(at: u64) -> u64 {
    BASE + TEXT + at
}

pub(super) fn source(image: &[u8]) -> One {
    let read = Cfi::read(image, &ElfLimits::default());
    One(read.ok().flatten().map(Arc::new))
}

/// Unwinds from `pc`, with the stack pointer at the stack's first word.
pub(super) fn unwind(
    source: &mut One,
    machine: Machine,
    registers: &[(u8, u64)],
    stack: &[u64],
) -> (Vec<u64>, Ended) {
    let mut known = Registers::none();
    known.set(machine.sp(), Some(STACK));
    for (number, value) in registers {
        known.set(*number, Some(*value));
    }
    let bytes: Vec<u8> = stack.iter().flat_map(|word| word.to_le_bytes()).collect();
    let start = Start {
        machine,
        registers: known,
        stack: StackBytes {
            start: STACK,
            bytes: &bytes,
        },
    };
    let mut found = Vec::new();
    let ended = Unwinder::new().unwind(&maps(), source, start, &mut found);
    (found, ended)
}

pub(super) fn x86(functions: &[Function<'_>]) -> One {
    source(&image(X86_64, 16, b"zR", functions))
}

pub(super) const PC: u8 = 16;
pub(super) const RBX: u8 = 3;
pub(super) const RBP: u8 = 6;
pub(super) const RSP: u8 = 7;

/// leaf (no frame) ← middle (24 bytes, rbx saved) ← root (no return address)
pub(super) fn three() -> Vec<(u64, Vec<u8>)> {
    vec![
        (0, [cfa(RSP, 8), saved(PC, 1)].concat()),
        (0x100, [cfa(RSP, 32), saved(PC, 1), saved(RBX, 2)].concat()),
        // DW_CFA_undefined
        (0x200, [cfa(RSP, 8), vec![0x07, PC]].concat()),
    ]
}

pub(super) fn functions(rules: &[(u64, Vec<u8>)]) -> Vec<Function<'_>> {
    let functions = rules.iter();
    functions
        .map(|(start, rules)| Function {
            start: *start,
            len: 0x100,
            rules,
        })
        .collect()
}

#[test]
fn frames_without_frame_pointers_are_left_by_their_cfi_as_far_as_the_thread_began() {
    let rules = three();
    let mut source = x86(&functions(&rules));
    let stack = [code(0x110), 7, 8, 9, code(0x220), 1];
    let found = unwind(&mut source, Machine::X86_64, &[(PC, code(4))], &stack[..1]);
    assert_eq!(found, (vec![code(4), code(0x110)], Ended::Cut));
    let found = unwind(&mut source, Machine::X86_64, &[(PC, code(4))], &stack);
    let expected = vec![code(4), code(0x110), code(0x220)];
    assert_eq!(found, (expected, Ended::Complete));
}

#[test]
fn a_call_that_ends_its_function_is_left_by_that_functions_rules() {
    let rules = three();
    let mut source = x86(&functions(&rules));
    // The return address is the first byte of the next function.
    let stack = [code(0x200), 7, 8, 9, code(0x220), 1];
    let found = unwind(&mut source, Machine::X86_64, &[(PC, code(4))], &stack);
    let expected = vec![code(4), code(0x200), code(0x220)];
    assert_eq!(found, (expected, Ended::Complete));
}

#[test]
fn a_cfa_in_a_register_that_a_callee_saved_is_found() {
    let rules = vec![
        (0, [cfa(RSP, 24), saved(PC, 1), saved(RBX, 2)].concat()),
        // As ld.so's resolver keeps its stack (sysdeps/x86_64/dl-trampoline.h).
        (0x100, [cfa(RBX, 16), saved(PC, 1)].concat()),
        (0x200, [cfa(RSP, 8), vec![0x07, PC]].concat()),
    ];
    let mut source = x86(&functions(&rules));
    let stack = [0, STACK + 48, code(0x110), 1, 2, 3, 4, code(0x220)];
    let found = unwind(
        &mut source,
        Machine::X86_64,
        &[(PC, code(4)), (RBX, 5)],
        &stack,
    );
    let expected = vec![code(4), code(0x110), code(0x220)];
    assert_eq!(found, (expected, Ended::Complete));
}

#[test]
fn an_expression_may_read_the_stack_and_an_interrupted_address_is_looked_up_where_it_is() {
    // DW_CFA_def_cfa_expression: DW_OP_breg7 8, DW_OP_deref; rip and rsp by expressions, as those of
    // glibc's __restore_rt.
    let restore = [
        vec![0x0f, 3, 0x77, 8, 0x06],
        vec![0x10, PC, 2, 0x77, 16],
        vec![0x10, RSP, 2, 0x77, 8],
    ];
    let signal = image(
        X86_64,
        16,
        b"zRS",
        &[Function {
            start: 0,
            len: 0x100,
            rules: &restore.concat(),
        }],
    );
    let stack = [0, STACK + 24, code(0), 77];
    let found = unwind(
        &mut source(&signal),
        Machine::X86_64,
        &[(PC, code(8))],
        &stack,
    );
    // The interrupted function begins at that address: one byte back there is none.
    assert_eq!(found.0[..2], [code(8), code(0) + 1]);
}

#[test]
fn code_without_cfi_is_left_by_its_frame_pointer_and_never_into_data() {
    let rules = three();
    let mut source = x86(&functions(&rules));
    let generated = 0x5000_0010;
    let registers = [(PC, generated), (RBP, STACK + 8)];
    let stack = [1, 0, code(0x220), 2];
    let found = unwind(&mut source, Machine::X86_64, &registers, &stack);
    assert_eq!(found, (vec![generated, code(0x220)], Ended::Complete));
    let into_data = [1, 0, 0x1234, 2];
    let found = unwind(&mut source, Machine::X86_64, &registers, &into_data);
    assert_eq!(found, (vec![generated], Ended::Lost));
    let beyond = [(PC, generated), (RBP, STACK + 800)];
    let found = unwind(&mut source, Machine::X86_64, &beyond, &stack);
    assert_eq!(found, (vec![generated], Ended::Cut));
    // A frame pointer of 0 is where a thread began, but of a leaf it is a number like any other.
    let found = unwind(
        &mut source,
        Machine::X86_64,
        &[(PC, generated), (RBP, 0)],
        &stack,
    );
    assert_eq!(found, (vec![generated], Ended::Lost));
}

#[test]
fn a_stub_of_a_plt_without_cfi_is_left_by_what_it_pushes() {
    let rules = three();
    let mut source = x86(&functions(&rules));
    let (entry, pushed) = (code(0x810), code(0x81b));
    let found = unwind(&mut source, Machine::X86_64, &[(PC, entry)], &[code(0x220)]);
    assert_eq!(found, (vec![entry, code(0x220)], Ended::Complete));
    let found = unwind(
        &mut source,
        Machine::X86_64,
        &[(PC, pushed)],
        &[3, code(0x220)],
    );
    assert_eq!(found, (vec![pushed, code(0x220)], Ended::Complete));
}

#[test]
fn aarch64_leaves_are_left_by_the_link_register_and_signed_addresses_lose_their_signature() {
    const LR: u8 = 30;
    let rules = vec![
        (0, cfa(31, 0)),
        (0x100, [cfa(31, 16), saved(LR, 1), saved(29, 2)].concat()),
        (0x200, [cfa(31, 0), vec![0x07, LR]].concat()),
    ];
    let mut source = source(&image(AARCH64, 30, b"zR", &functions(&rules)));
    let signed = 0x00ab_0000_0000_0000 | code(0x220);
    let registers = [(32, code(4)), (LR, code(0x110))];
    let found = unwind(&mut source, Machine::Aarch64, &registers, &[0, signed]);
    let expected = vec![code(4), code(0x110), code(0x220)];
    assert_eq!(found, (expected, Ended::Complete));
    // A function that called another one has saved where it returns to.
    let twice = [(32, code(4)), (LR, code(8))];
    let found = unwind(&mut source, Machine::Aarch64, &twice, &[0, signed]);
    assert_eq!(found, (vec![code(4), code(8)], Ended::Lost));
}

#[test]
fn another_machines_images_are_not_believed() {
    let rules = three();
    let mut source = source(&image(AARCH64, 16, b"zR", &functions(&rules)));
    let found = unwind(
        &mut source,
        Machine::X86_64,
        &[(PC, code(4))],
        &[code(0x110)],
    );
    assert_eq!(found, (vec![code(4)], Ended::Lost));
}

#[test]
fn cfi_that_leads_in_circles_ends() {
    // The CFA is where the stack pointer is, and the return address leads back here.
    let stays = [cfa(RSP, 0), saved(PC, 1)].concat();
    // It moves by one word each time, for ever.
    let creeps = [cfa(RSP, 8), saved(PC, 1)].concat();
    for (rules, frames, ended) in [
        (stays, 1, Ended::Lost),
        (creeps, FRAMES_MAX, Ended::TooDeep),
    ] {
        let mut source = x86(&[Function {
            start: 0,
            len: 0x100,
            rules: &rules,
        }]);
        let stack = vec![code(4); 2 * FRAMES_MAX];
        let found = unwind(&mut source, Machine::X86_64, &[(PC, code(4))], &stack);
        assert_eq!((found.0.len(), found.1), (frames, ended));
    }
}

#[test]
fn no_damage_of_an_image_makes_us_panic_or_hang() {
    let rules = [
        three(),
        vec![(0x300, [vec![0x0f, 3, 0x77, 8, 0x06], saved(PC, 1)].concat())],
    ]
    .concat();
    let whole = image(X86_64, 16, b"zR", &functions(&rules));
    let stack = vec![code(0x310); 64];
    let mut unwound = 0;
    let mut try_one = |bytes: &[u8]| {
        for pc in [code(4), code(0x104), code(0x310), u64::MAX, 0] {
            let found = unwind(&mut source(bytes), Machine::X86_64, &[(PC, pc)], &stack);
            assert!(found.0.len() <= FRAMES_MAX);
            unwound += 1;
        }
    };
    for at in (0..0xb0).chain(0x3000..0x3140) {
        for value in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 0x10] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            try_one(&damaged);
        }
    }
    for len in (0..0xb0).chain(0x3000..0x3140) {
        try_one(&whole[..len]);
    }
    assert_eq!(unwound, (0xb0 + 0x140) * 7 * 5);
}
