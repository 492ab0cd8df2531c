//! How a frame is left, in the short form that nearly all rows of call frame information have.

use super::cfi::Row;
use super::machine::Machine;
use gimli::{CfaRule, Register, RegisterRule};

/// What call frame information says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Found {
    Rule(Rule),
    /// It is of the outermost function: there is no return address.
    Outermost,
    /// Something that a [`Rule`] cannot say.
    Other,
    /// Nothing covers the address.
    Nothing,
}

/// The caller's registers from a frame's: the CFA (the stack pointer before the call) is a
/// register and an offset, and what was saved lies at offsets from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Rule {
    pub(super) cfa_offset: i32,
    pub(super) cfa_register: u8,
    pub(super) is_signal_frame: bool,
    /// In words from the CFA, in the order of [`Machine::saved`]; 0 for what was not saved, which
    /// nothing can be: at the CFA the caller's frame begins.
    pub(super) saved: [i16; 12],
}

impl Rule {
    pub(super) fn of_row(row: &Row, machine: Machine, is_signal_frame: bool) -> Found {
        match row.register(Register(machine.return_address().into())) {
            Some(RegisterRule::Undefined) => return Found::Outermost,
            // Only where calls leave it in a register it may still be there.
            None | Some(RegisterRule::SameValue) if !machine.has_link_register() => {
                return Found::Outermost;
            }
            _ => {}
        }
        match Self::short(row, machine, is_signal_frame) {
            Some(rule) => Found::Rule(rule),
            None => Found::Other,
        }
    }

    /// Of a stub `into_bytes` behind the beginning of a PLT. x86_64's have 16 bytes each: a jump, a
    /// push and, from byte 11 on, a jump, as the entry says that GNU's linker gives them
    /// (`elf_x86_64_eh_frame_lazy_plt`, bfd/elf64-x86-64.c). aarch64's leave stack and link register
    /// alone.
    pub(super) fn of_stub(machine: Machine, into_bytes: u64) -> Self {
        let mut rule = Self {
            cfa_offset: 0,
            cfa_register: machine.sp(),
            is_signal_frame: false,
            saved: [0; 12],
        };
        if machine == Machine::X86_64 {
            rule.cfa_offset = match into_bytes % 16 {
                0..11 => 8,
                _ => 16,
            };
            let number = machine.return_address();
            let at = machine.saved().iter().position(|saved| *saved == number);
            if let Some(slot) = at.and_then(|at| rule.saved.get_mut(at)) {
                *slot = -1;
            }
        }
        rule
    }

    /// Of a Go function that has taken so many bytes of the stack. A call pushes the return address on
    /// x86_64; on aarch64 the function stores it at the lower end of what it takes. The caller's frame
    /// pointer is left alone, as Go's own information for debuggers does: at which instruction of a
    /// prologue it is stored is not told.
    pub(super) fn of_go(machine: Machine, taken_bytes: u32) -> Option<Self> {
        let taken = i32::try_from(taken_bytes).ok()?;
        let (cfa_offset, words) = match machine {
            Machine::X86_64 => (taken.checked_add(8)?, -1),
            Machine::Aarch64 => (taken, i16::try_from(-(taken / 8)).ok()?),
        };
        let mut rule = Self {
            cfa_offset,
            cfa_register: machine.sp(),
            is_signal_frame: false,
            saved: [0; 12],
        };
        let number = machine.return_address();
        let at = machine.saved().iter().position(|saved| *saved == number)?;
        *rule.saved.get_mut(at)? = words;
        Some(rule)
    }

    /// Whether the return address lies where frame pointers lead: behind the caller's own.
    pub(super) fn keeps_frame_pointer(&self, machine: Machine) -> bool {
        let mut saved = machine.saved().iter().zip(self.saved);
        let number = machine.return_address();
        let words = saved.find(|(register, _)| **register == number);
        let words = words.map_or(0, |(_, words)| i64::from(words));
        let is_there = words != 0 && i64::from(self.cfa_offset) + 8 * words == 8;
        self.cfa_register == machine.fp() && is_there
    }

    fn short(row: &Row, machine: Machine, is_signal_frame: bool) -> Option<Self> {
        let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
            return None;
        };
        let mut rule = Self {
            cfa_offset: i32::try_from(*offset).ok()?,
            cfa_register: u8::try_from(register.0).ok()?,
            is_signal_frame,
            saved: [0; 12],
        };
        for (register, how) in row.registers() {
            let mut saved = machine.saved().iter();
            let at = saved.position(|saved| u16::from(*saved) == register.0);
            // A register that callers do not expect to be kept, or a vector's, or a pseudo-register.
            let Some(slot) = at.and_then(|at| rule.saved.get_mut(at)) else {
                // The stack pointer is the CFA unless a rule says otherwise.
                match register.0 == u16::from(machine.sp()) {
                    true => return None,
                    false => continue,
                }
            };
            match how {
                RegisterRule::Undefined | RegisterRule::SameValue => {}
                RegisterRule::Offset(offset) if offset % 8 == 0 && *offset != 0 => {
                    *slot = i16::try_from(offset / 8).ok()?;
                }
                _ => return None,
            }
        }
        Some(rule)
    }
}
