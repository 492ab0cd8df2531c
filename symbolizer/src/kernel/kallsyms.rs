//! The text of /proc/kallsyms as a sorted table.

use std::collections::HashMap;

use super::{FUNCTION_MAX_BYTES, KernelSymbol, KernelSymbolsError, REGION_TAIL_BYTES};

#[derive(Debug)]
pub(super) struct Kallsyms {
    /// Sorted by address, one an address.
    functions: Vec<Function>,
    /// The names one after the other.
    names: Vec<u8>,
    /// Module names; a function's `module` is an index, [`NO_MODULE`] the kernel itself.
    modules: Vec<Box<[u8]>>,
    pub(super) bad_lines: u64,
}

const NO_MODULE: u16 = u16::MAX;

#[derive(Clone, Copy, Debug)]
struct Function {
    address: u64,
    /// Offset into `names`.
    name: u32,
    name_len: u16,
    module: u16,
    rank: Rank,
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

/// A line: `ffffffff81000000 T _stext` or, of a module, `ffffffffc0201000 t name\t[module]`.
struct Line<'text> {
    address: u64,
    kind: u8,
    name: &'text [u8],
    module: Option<&'text [u8]>,
}

impl Kallsyms {
    pub(super) fn parse(text: &[u8]) -> Result<Self, KernelSymbolsError> {
        // Room for what a line has at least on average: 122 160 lines in 5.4 MB.
        let expected = text.len() / 40;
        let mut table = Self {
            functions: Vec::with_capacity(expected),
            names: Vec::with_capacity(text.len() / 2),
            modules: Vec::new(),
            bad_lines: 0,
        };
        let mut by_name = HashMap::new();
        let mut last_module = (None, NO_MODULE);
        let (mut lines, mut at_zero) = (0u64, 0u64);
        let mut rest = text;
        while !rest.is_empty() {
            let Some((line, behind)) = Line::parse(rest) else {
                let newline = rest.iter().position(|byte| *byte == b'\n');
                let line_len = newline.unwrap_or(rest.len());
                table.bad_lines += u64::from(line_len > 0);
                rest = rest.get(line_len + 1..).unwrap_or_default();
                continue;
            };
            rest = behind;
            lines += 1;
            if line.address == 0 {
                at_zero += 1;
                continue;
            }
            let Some(rank) = line.rank() else { continue };
            if line.module != last_module.0 {
                let index = match line.module {
                    None => NO_MODULE,
                    Some(name) => *by_name.entry(name).or_insert_with(|| {
                        // Beyond 65 534 modules, which no kernel has, they share a name.
                        let index = table.modules.len().min(usize::from(NO_MODULE) - 1);
                        table.modules.truncate(index);
                        table.modules.push(name.into());
                        index as u16
                    }),
                };
                last_module = (line.module, index);
            }
            let Ok(name) = u32::try_from(table.names.len()) else {
                break;
            };
            // Names have 511 bytes at most (KSYM_NAME_LEN).
            let kept = line.name.get(..512).unwrap_or(line.name);
            table.names.extend_from_slice(kept);
            table.functions.push(Function {
                address: line.address,
                name,
                name_len: kept.len() as u16,
                module: last_module.1,
                rank,
            });
        }
        if lines == 0 {
            let len_bytes = text.len();
            return Err(KernelSymbolsError::Empty { len_bytes });
        }
        if at_zero == lines {
            return Err(KernelSymbolsError::Restricted { symbols: lines });
        }
        table.sort();
        Ok(table)
    }

    pub(super) fn lookup(&self, address: u64) -> Option<KernelSymbol<'_>> {
        let after = self
            .functions
            .partition_point(|function| function.address <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        if function.rank == Rank::TextEnd {
            return None;
        }
        let ends_region = self
            .functions
            .get(after)
            .is_none_or(|next| next.module != function.module || next.rank == Rank::TextEnd);
        let covered = if ends_region {
            REGION_TAIL_BYTES
        } else {
            FUNCTION_MAX_BYTES
        };
        if address - function.address >= covered {
            return None;
        }
        Some(KernelSymbol {
            name: self.name(function),
            module: self
                .modules
                .get(usize::from(function.module))
                .map(|name| &**name),
            start: function.address,
        })
    }

    /// See [`super::KernelSymbols::of_another_boot`].
    pub(super) fn without_modules_moved(mut self, by: u64) -> Self {
        self.functions
            .retain(|function| function.module == NO_MODULE);
        for function in &mut self.functions {
            function.address = function.address.wrapping_add(by);
        }
        self.functions.sort_by_key(|function| function.address);
        self
    }

    fn name(&self, function: &Function) -> &[u8] {
        name_of(&self.names, function)
    }

    /// kallsyms sorts the kernel itself, but neither modules nor BPF.
    fn sort(&mut self) {
        let names = &self.names;
        self.functions.sort_by(|a, b| {
            a.address.cmp(&b.address).then_with(|| {
                let key = |it: &Function| (it.rank, it.name_len);
                key(a)
                    .cmp(&key(b))
                    .then_with(|| name_of(names, a).cmp(name_of(names, b)))
            })
        });
        self.functions.dedup_by_key(|function| function.address);
        self.functions.shrink_to_fit();
        self.names.shrink_to_fit();
    }
}

fn name_of<'names>(names: &'names [u8], function: &Function) -> &'names [u8] {
    let start = function.name as usize;
    names
        .get(start..start + usize::from(function.name_len))
        .unwrap_or_default()
}

impl<'text> Line<'text> {
    /// The line at the start of the text and what follows its newline.
    fn parse(text: &'text [u8]) -> Option<(Self, &'text [u8])> {
        let mut address = 0u64;
        let mut digits = 0;
        for byte in text {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                _ => break,
            };
            address = address << 4 | u64::from(digit);
            digits += 1;
        }
        if digits == 0 || digits > 16 {
            return None;
        }
        let [b' ', kind, b' ', rest @ ..] = text.get(digits..)? else {
            return None;
        };
        let name_len = rest
            .iter()
            .position(|byte| matches!(byte, b'\n' | b'\t' | b' '))
            .unwrap_or(rest.len());
        let (name, rest) = rest.split_at_checked(name_len)?;
        if name.is_empty() || *kind == b'\n' {
            return None;
        }
        // The line ends here, or a module follows.
        let (module, rest) = match rest {
            [] => (None, rest),
            [b'\n', rest @ ..] => (None, rest),
            _ => {
                let newline = rest.iter().position(|byte| *byte == b'\n');
                let (tail, rest) = rest.split_at_checked(newline.unwrap_or(rest.len()))?;
                let module = tail
                    .trim_ascii()
                    .strip_prefix(b"[")
                    .and_then(|it| it.strip_suffix(b"]"));
                (module, rest.get(1..).unwrap_or_default())
            }
        };
        let line = Self {
            address,
            kind: *kind,
            name,
            module,
        };
        Some((line, rest))
    }

    /// `None` for what is not code: data, absolute values (per-CPU offsets), mapping symbols.
    fn rank(&self) -> Option<Rank> {
        let by_kind = match self.kind {
            b'T' => Rank::Global,
            b'W' | b'w' => Rank::Weak,
            b't' => Rank::Local,
            _ => return None,
        };
        match self.name {
            // ARM, AArch64 and RISC-V: where code and data start.
            [b'$', ..] => None,
            b"_etext" | b"_einittext" => Some(Rank::TextEnd),
            b"_text" | b"_stext" | b"_sinittext" => Some(Rank::Marker),
            [b'_', b'_', ..] if is_marker(self.name) => Some(Rank::Marker),
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
