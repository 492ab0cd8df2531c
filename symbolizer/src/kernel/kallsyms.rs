//! Lines of /proc/kallsyms as a sorted table. It has their addresses alone, and a line is read when it answers.

use super::{FUNCTION_MAX_BYTES, KernelSymbol, REGION_TAIL_BYTES};
use crate::hex;

#[derive(Debug)]
pub(super) struct Kallsyms {
    text: Vec<u8>,
    /// Lines of code, sorted by address.
    lines: Vec<Place>,
}

/// A line of the text.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Its own, or moved to where the kernel was recorded.
    address: u64,
    /// Where it starts.
    at: u32,
}

/// Which of two names of an address is preferred: the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Global,
    Weak,
    Local,
    /// A bound of a section, or what a compiler put before a function.
    Marker,
    /// `_etext` and `_einittext`: what follows is not text.
    TextEnd,
}

/// How a line starts: `ffffffff81000000 T _stext` or, of a module,
/// `ffffffffc0201000 t name\t[module]`.
pub(super) struct Start {
    pub(super) address: u64,
    pub(super) kind: u8,
    /// Bytes up to its name, of which there is at least one.
    pub(super) len: usize,
}

/// What a line says of a function.
struct Function<'text> {
    name: &'text [u8],
    module: Option<&'text [u8]>,
    rank: Rank,
}

impl Kallsyms {
    /// Lines that are none are skipped.
    pub(super) fn of(text: Vec<u8>) -> Self {
        let mut lines = Vec::new();
        let mut rest = &text[..];
        while !rest.is_empty() {
            let Ok(at) = u32::try_from(text.len() - rest.len()) else {
                break;
            };
            let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let (line, behind) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            rest = behind.get(1..).unwrap_or_default();
            let Some(Start { address, kind, .. }) = Start::parse(line) else {
                continue;
            };
            if address != 0 && matches!(kind, b'T' | b't' | b'W' | b'w') {
                lines.push(Place { address, at });
            }
        }
        // kallsyms sorts the kernel itself, but neither modules nor BPF.
        lines.sort_by_key(|line| line.address);
        Self { text, lines }
    }

    pub(super) fn lookup(&self, address: u64) -> Option<KernelSymbol<'_>> {
        let after = self.lines.partition_point(|line| line.address <= address);
        let (before, behind) = self.lines.split_at_checked(after)?;
        let mut before = before.chunk_by(|a, b| a.address == b.address).rev();
        let (start, function) = before.find_map(|names| self.best(names))?;
        if function.rank == Rank::TextEnd {
            return None;
        }
        let mut behind = behind.chunk_by(|a, b| a.address == b.address);
        let next = behind.find_map(|names| self.best(names));
        let ends_region = next
            .is_none_or(|(_, next)| next.module != function.module || next.rank == Rank::TextEnd);
        let covered = if ends_region {
            REGION_TAIL_BYTES
        } else {
            FUNCTION_MAX_BYTES
        };
        if address - start >= covered {
            return None;
        }
        Some(KernelSymbol {
            name: function.name,
            module: function.module,
            start,
        })
    }

    /// See [`super::KernelSymbols::of_another_boot`].
    pub(super) fn without_modules_moved(mut self, by: u64) -> Self {
        let text = &self.text;
        self.lines
            .retain(|line| Function::at(text, *line).is_some_and(|line| line.module.is_none()));
        for line in &mut self.lines {
            line.address = line.address.wrapping_add(by);
        }
        self.lines.sort_by_key(|line| line.address);
        self
    }

    /// Of the names of one address the one that answers.
    fn best(&self, names: &[Place]) -> Option<(u64, Function<'_>)> {
        let functions = names.iter().filter_map(|line| {
            let function = Function::at(&self.text, *line)?;
            Some((line.address, function))
        });
        functions.min_by_key(|(_, it)| (it.rank, it.name.len(), it.name))
    }
}

impl Start {
    /// Of the line at the start of the text.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let sixteen = text.first_chunk::<16>().and_then(hex::of_sixteen);
        // A kernel of 32 bits has fewer.
        let (address, digits) = match sixteen {
            Some(address) => (address, 16),
            None => hex::number(text)?,
        };
        if digits == 0 || digits > 16 {
            return None;
        }
        match text.get(digits..)? {
            [b' ', b'\n', ..] | [b' ', _, b' ', b'\n' | b'\t' | b' ', ..] => None,
            [b' ', kind, b' ', _, ..] => Some(Self {
                address,
                kind: *kind,
                len: digits + 3,
            }),
            _ => None,
        }
    }
}

impl<'text> Function<'text> {
    /// `None` for what is not code: data, absolute values (per-CPU offsets), mapping symbols.
    fn at(text: &'text [u8], line: Place) -> Option<Self> {
        let line = text.get(line.at as usize..)?;
        let Start { kind, len, .. } = Start::parse(line)?;
        let line = line.get(len..)?;
        let newline = line.iter().position(|byte| *byte == b'\n');
        let line = line.get(..newline.unwrap_or(line.len()))?;
        let name_len = line.iter().position(|byte| matches!(byte, b'\t' | b' '));
        let (name, tail) = line.split_at_checked(name_len.unwrap_or(line.len()))?;
        let module = tail.trim_ascii().strip_prefix(b"[");
        Some(Self {
            // Names have 511 bytes at most (KSYM_NAME_LEN).
            name: name.get(..512).unwrap_or(name),
            module: module.and_then(|it| it.strip_suffix(b"]")),
            rank: Rank::of(kind, name)?,
        })
    }
}

impl Rank {
    fn of(kind: u8, name: &[u8]) -> Option<Self> {
        let by_kind = match kind {
            b'T' => Self::Global,
            b'W' | b'w' => Self::Weak,
            b't' => Self::Local,
            _ => return None,
        };
        match name {
            // ARM, AArch64 and RISC-V: where code and data start.
            [b'$', ..] => None,
            b"_etext" | b"_einittext" => Some(Self::TextEnd),
            b"_text" | b"_stext" | b"_sinittext" => Some(Self::Marker),
            [b'_', b'_', ..] if is_marker(name) => Some(Self::Marker),
            _ => Some(by_kind),
        }
    }
}

/// Bounds of sections (`__entry_text_start`, `__start_…`), and the padding that the kernel puts
/// before each function for call-depth tracking (`__pfx_`) and control-flow integrity (`__cfi_`).
fn is_marker(name: &[u8]) -> bool {
    [
        b"__pfx_".as_slice(),
        b"__cfi_",
        b"__start_",
        b"__stop_",
        b"__end_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
        || name.ends_with(b"_text_start")
        || name.ends_with(b"_text_end")
}
