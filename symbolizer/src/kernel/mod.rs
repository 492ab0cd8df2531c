//! Kernel symbols: /proc/kallsyms, modules, BPF.
//!
//! kallsyms has addresses and no sizes. A symbol covers up to the next one in text, but not over
//! every gap: see [`FUNCTION_MAX_BYTES`] and [`REGION_TAIL_BYTES`].

mod kallsyms;
mod ksymbols;
mod near;
#[cfg(test)]
mod tests;
mod vmlinux;

use thiserror::Error;

use kallsyms::Kallsyms;
use near::NearLines;
use std::io::Read;
pub use vmlinux::{Vmlinux, VmlinuxError};

pub(crate) use ksymbols::{KsymbolId, Ksymbols, ksymbol_in};

/// A symbol covers at most this, where the next one of its module is further away. The largest
/// function of a 6.18 x86_64 kernel has 20 KiB; the gaps between its text sections, which hold no
/// code, have 1 MiB.
const FUNCTION_MAX_BYTES: u64 = 64 << 10;
/// The last symbol of a module or of the kernel's text covers at most this: nothing says where it
/// ends.
const REGION_TAIL_BYTES: u64 = 16 << 10;

/// Why there are no kernel symbols.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum KernelSymbolsError {
    /// Every address is zero (kptr_restrict).
    #[error("kallsyms shows no addresses: all of its {symbols} symbols are at zero")]
    Restricted {
        /// How many lines there were.
        symbols: u64,
    },
    /// No line is one of kallsyms.
    #[error("no kernel symbol in {len_bytes} bytes of kallsyms")]
    Empty {
        /// How long the text is.
        len_bytes: usize,
    },
    /// It could not be read to its end.
    #[error("cannot read kallsyms: {reason}")]
    Unreadable {
        /// What the system said.
        reason: String,
    },
}

impl KernelSymbolsError {
    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Restricted { .. } => Some(
                "run with CAP_SYSLOG and `sysctl kernel.kptr_restrict=1`; at 2 nobody sees them",
            ),
            Self::Empty { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// A function of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelSymbol<'table> {
    /// As kallsyms has it; Rust's are mangled.
    pub(crate) name: &'table [u8],
    /// The module it belongs to, without brackets; `bpf` for BPF programs and trampolines; `None`
    /// for the kernel itself.
    pub(crate) module: Option<&'table [u8]>,
    /// Its first address.
    pub(crate) start: u64,
}

/// Functions of the running kernel, or of the one that a recording was made on.
#[derive(Debug)]
pub(crate) struct KernelSymbols {
    kallsyms: Kallsyms,
    near: NearLines,
}

impl KernelSymbols {
    /// Reads of the text of `/proc/kallsyms` what covers `wanted`, ascending addresses; no other one may be looked
    /// up. Lines that are none are skipped.
    ///
    /// Of several names at one address the first by this order answers: functions before markers
    /// of a section's bounds (`_stext`) and compilers' prefixes (`__pfx_`, `__cfi_`), global
    /// before weak before local, the shorter, the lexically first.
    ///
    /// With `moved_by` it is of another boot of the same kernel, which puts its text so many bytes further up
    /// (wrapping). Modules lie elsewhere after each boot, each by itself: theirs are left out.
    pub(crate) fn read(
        text: &mut dyn Read,
        wanted: &[u64],
        moved_by: Option<u64>,
    ) -> Result<Self, KernelSymbolsError> {
        let mut near = NearLines::read(text, wanted, moved_by)?;
        let kallsyms = Kallsyms::of(std::mem::take(&mut near.text));
        let kallsyms = match moved_by {
            Some(by) => kallsyms.without_modules_moved(by),
            None => kallsyms,
        };
        Ok(Self { kallsyms, near })
    }

    /// Whether all the wanted addresses, which these are, are in the code of the kernel itself, not of its modules.
    pub(crate) fn is_own_code(&self, wanted: &[u64]) -> bool {
        self.near.is_own_code(wanted)
    }

    /// The function that covers a kernel address.
    pub(crate) fn lookup(&self, address: u64) -> Option<KernelSymbol<'_>> {
        self.kallsyms.lookup(address)
    }
}
