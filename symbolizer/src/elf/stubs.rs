//! The stubs that calls into other images go through: which function each one leads to.
//!
//! A stub jumps through a word of the image that the loader fills in; the word's relocation has the
//! function's name. The instructions are those that GNU ld, gold, lld and mold write for x86-64 and
//! AArch64 (psABI, "Procedure Linkage Table"); others are not guessed at.

use super::headers::{Class, Headers, Section, bytes_at};
use super::near::NameBudget;
use super::relocations::{Relocation, Relocations};
use super::sections::NamedSections;
use super::{ElfError, ReadAt};
use object::Endianness;
use object::elf::{EM_AARCH64, EM_X86_64, Machine};

/// Sections of stubs.
pub(super) const STUB_SECTIONS: [&str; 4] = [".plt", ".plt.sec", ".plt.got", ".iplt"];
/// How stubs are called: `memcpy@plt`.
const SUFFIX: &[u8] = b"@plt";
/// What finds a function for the stubs that were not called yet: the first code in `.plt`.
const BINDER: &[u8] = b".plt";
/// Stubs of one image that are looked at: a name is a few reads.
const STUBS_MAX: usize = 1 << 16;

/// A stub and what it is called.
#[derive(Debug)]
pub(super) struct Stub {
    pub(super) start: u64,
    pub(super) len: u64,
    leads_to: LeadsTo,
}

#[derive(Debug)]
enum LeadsTo {
    /// To what has this name.
    Function(Vec<u8>),
    /// To what the function at this address chooses.
    ChosenBy(u64),
    /// To the loader, which finds the function.
    Binder,
}

impl Stub {
    /// The function that chooses where it leads, if there is one.
    pub(super) fn chosen_by(&self) -> Option<u64> {
        match self.leads_to {
            LeadsTo::ChosenBy(resolver) => Some(resolver),
            _ => None,
        }
    }

    /// Its name, with `name_at` an address for what a function of the image chooses.
    pub(super) fn name(self, name_at: impl FnOnce(u64) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        let mut name = match self.leads_to {
            LeadsTo::Function(name) => name,
            LeadsTo::ChosenBy(resolver) => name_at(resolver)?,
            LeadsTo::Binder => return Some(BINDER.to_vec()),
        };
        name.extend_from_slice(SUFFIX);
        Some(name)
    }
}

/// Where a stub's instructions lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jump {
    /// Through the word at this address.
    Through(u64),
    /// To the binder, with this number of the relocation of its word.
    Numbered(u32),
    Binder,
}

/// The stubs that cover the addresses in `wanted`, which ascend: ascending, each once.
pub(super) fn read<R: ReadAt + ?Sized>(
    image: &R,
    headers: &Headers,
    sections: &NamedSections<'_>,
    wanted: &[u64],
    names: &mut NameBudget,
) -> Result<Vec<Stub>, ElfError> {
    if headers.class != Class::Elf64 || headers.endian != Endianness::Little {
        return Ok(Vec::new());
    }
    let mut jumps = jumps(image, headers, sections, wanted)?;
    if jumps.is_empty() {
        return Ok(Vec::new());
    }
    jumps.sort_unstable_by_key(|(start, ..)| *start);
    let mut words: Vec<u64> = jumps
        .iter()
        .filter_map(|(.., jump)| match jump {
            Jump::Through(word) => Some(*word),
            _ => None,
        })
        .collect();
    words.sort_unstable();
    words.dedup();
    let mut relocations = Relocations::of(image, headers, sections);
    let of_words = relocations.at(&words)?;
    let of_word = |word| *of_words.get(words.binary_search(&word).ok()?)?;
    let mut stubs = Vec::with_capacity(jumps.len());
    for (start, len, jump) in jumps {
        let relocation = match jump {
            Jump::Through(word) => of_word(word),
            Jump::Numbered(number) => relocations.of_stub(number)?,
            Jump::Binder => None,
        };
        let leads_to = match (jump, relocation) {
            (Jump::Binder, _) => LeadsTo::Binder,
            (_, Some(Relocation::Resolved(resolver))) => LeadsTo::ChosenBy(resolver),
            (_, Some(Relocation::Symbol { table, index })) => {
                match relocations.symbol_name(table, index, sections, names)? {
                    Some(name) => LeadsTo::Function(name),
                    None => continue,
                }
            }
            _ => continue,
        };
        stubs.push(Stub {
            start,
            len,
            leads_to,
        });
    }
    Ok(stubs)
}

/// Start, length and jump of each stub that covers one of `wanted`.
fn jumps<R: ReadAt + ?Sized>(
    image: &R,
    headers: &Headers,
    sections: &NamedSections<'_>,
    wanted: &[u64],
) -> Result<Vec<(u64, u64, Jump)>, ElfError> {
    let mut jumps = Vec::new();
    for name in STUB_SECTIONS {
        let Some(section) = sections.find_loaded(name).filter(|it| it.executable) else {
            continue;
        };
        let from = wanted.partition_point(|at| *at < section.addr);
        let inside = wanted.get(from..).unwrap_or_default().iter();
        let inside = inside.map_while(|at| {
            let into = at - section.addr;
            (into < section.len).then_some(into)
        });
        let len = stub_len(headers.machine, section);
        let mut starts: Vec<u64> = inside.map(|into| into - into % len).collect();
        starts.dedup();
        for into in starts {
            if jumps.len() >= STUBS_MAX {
                return Ok(jumps);
            }
            let len = len.min(section.len - into);
            let code = bytes_at(image, "stubs", section.offset.saturating_add(into), len)?;
            let start = section.addr.saturating_add(into);
            let is_first = name == ".plt" && into < binder_len(headers.machine);
            let jump = jump(headers.machine, &code, start, is_first);
            jumps.extend(jump.map(|jump| (start, len, jump)));
        }
    }
    Ok(jumps)
}

/// Linkers state it, but for lld (0) and for GNU ld in programs without a loader: there it is 0 and
/// stubs are a jump of 6 bytes, aligned.
fn stub_len(machine: Machine, section: &Section) -> u64 {
    match (machine, section.entry_bytes, section.align) {
        (EM_X86_64, 8, _) | (EM_X86_64, 0, 8) => 8,
        (EM_AARCH64, 24, _) => 24,
        _ => 16,
    }
}

/// Bytes of the first code in `.plt`.
fn binder_len(machine: Machine) -> u64 {
    if machine == EM_AARCH64 { 32 } else { 16 }
}

fn jump(machine: Machine, code: &[u8], start: u64, is_first: bool) -> Option<Jump> {
    match machine {
        EM_X86_64 => x86_64(code, start),
        EM_AARCH64 => aarch64(code, start, is_first),
        _ => None,
    }
}

/// The jump of a stub for x86-64.
fn x86_64(code: &[u8], start: u64) -> Option<Jump> {
    // push GOT[1](%rip), with which the binder begins.
    if code.starts_with(&[0xff, 0x35]) {
        return Some(Jump::Binder);
    }
    let mut rest = code;
    // endbr64
    rest = rest.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(rest);
    // mov $number, %r11d (mold)
    if let Some(behind) = rest.strip_prefix(&[0x41, 0xbb]) {
        rest = behind.get(4..)?;
    }
    // push $number, in stubs whose jump is in `.plt.sec`.
    if let Some(number) = rest.strip_prefix(&[0x68]) {
        let number = number.first_chunk()?;
        return Some(Jump::Numbered(u32::from_le_bytes(*number)));
    }
    // bnd
    rest = rest.strip_prefix(&[0xf2]).unwrap_or(rest);
    // jmp *distance(%rip), from behind it.
    let distance = rest.strip_prefix(&[0xff, 0x25])?.first_chunk()?;
    let behind = (code.len() - rest.len()) as u64 + 6;
    let distance = i64::from(i32::from_le_bytes(*distance));
    let word = start.checked_add(behind)?.checked_add_signed(distance)?;
    Some(Jump::Through(word))
}

/// The jump of a stub for AArch64: `adrp x16, page; ldr x17, [x16, #offset]`.
fn aarch64(code: &[u8], start: u64, is_first: bool) -> Option<Jump> {
    if is_first {
        return Some(Jump::Binder);
    }
    let mut words = code.chunks_exact(4).zip((start..).step_by(4));
    let mut next = || {
        let (word, at) = words.next()?;
        Some((u32::from_le_bytes(*word.first_chunk()?), at))
    };
    let (mut adrp, mut at) = next()?;
    // bti c
    if adrp == 0xd503_245f {
        (adrp, at) = next()?;
    }
    let (ldr, _) = next()?;
    if adrp & 0x9f00_001f != 0x9000_0010 || ldr & 0xffc0_03ff != 0xf940_0211 {
        return None;
    }
    let pages = (adrp >> 5 & 0x7_ffff) << 2 | adrp >> 29 & 3;
    // 21 bits with a sign.
    let pages = i64::from((pages << 11) as i32 >> 11);
    let offset = u64::from(ldr >> 10 & 0xfff) * 8;
    let page = (at & !0xfff).checked_add_signed(pages << 12)?;
    Some(Jump::Through(page.checked_add(offset)?))
}

/// Where code leads, in words.
#[cfg(test)]
pub(super) fn decoded(machine: Machine, code: &[u8], start: u64, is_first: bool) -> String {
    match jump(machine, code, start, is_first) {
        Some(Jump::Through(word)) => format!("through {word:#x}"),
        Some(Jump::Numbered(number)) => format!("number {number}"),
        Some(Jump::Binder) => "binder".into(),
        None => "nothing".into(),
    }
}
