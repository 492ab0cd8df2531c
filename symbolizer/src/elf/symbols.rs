//! Function symbols as disjoint spans, sorted: a lookup is one binary search.

use std::borrow::Cow;

use object::Endianness;
use object::elf;
use object::read::elf::FileHeader;

use super::headers::{Headers, Section, bytes_at};
use super::tables::{Candidate, Tables};
use super::{ElfError, ElfLimits, ReadAt};

/// A name longer than this is cut: C++ templates reach some 10 KiB, attacks more.
pub(super) const NAME_MAX_BYTES: usize = 64 << 10;
/// What is kept of a cut name, before its mark `…`.
const CUT_NAME_BYTES: usize = 4 << 10;
/// So much of two aliases' names is compared. Bounds the time for an image that puts millions of
/// endless names at one address.
const COMPARED_BYTES: usize = 1 << 10;
/// A function as the symbol table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Symbol<'image> {
    /// Still mangled; not necessarily UTF-8; at most 64 KiB, with `…` at the end where it was cut.
    pub(crate) name: Cow<'image, [u8]>,
    /// Stated virtual address of its first byte.
    pub(crate) start: u64,
    /// Bytes from `start`, as stated or, for a symbol without size, as it covers. At most 4 GiB.
    pub(crate) size_bytes: u64,
}

/// 16 bytes a symbol and 16 a span; names stay in the string tables.
#[derive(Debug)]
pub(super) struct SymbolTable {
    functions: Vec<Function>,
    /// Sorted by `start`, disjoint; one each for functions that do not overlap.
    spans: Vec<Span>,
    /// `.strtab`, NUL, `.dynstr`, NUL.
    names: Vec<u8>,
    has_symtab: bool,
}

#[derive(Clone, Copy, Debug)]
struct Function {
    start: u64,
    size: u32,
    /// Offset into `names`.
    name: u32,
}

impl Function {
    fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.size))
    }
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    len: u32,
    /// Index into `functions`.
    function: u32,
}

impl SymbolTable {
    pub(super) fn read<Elf, R>(
        image: &R,
        headers: &Headers,
        limits: &ElfLimits,
    ) -> Result<Self, ElfError>
    where
        Elf: FileHeader<Endian = Endianness>,
        R: ReadAt + ?Sized,
    {
        let mut names = Vec::new();
        let mut candidates = Vec::new();
        for table in Tables::of::<Elf>(headers, limits)? {
            let first_name = names.len();
            let Section { offset, len, .. } = table.strings;
            let strings = bytes_at(image, "string table", offset, len)?;
            if names.is_empty() {
                names = strings;
            } else {
                names.extend_from_slice(&strings);
            }
            // A table that lacks its last NUL still ends here.
            names.reserve_exact(1);
            names.push(0);
            let mut take = |mut candidate: Candidate| {
                let name = first_name.checked_add(candidate.name as usize);
                if let Some(name) = name
                    && let Some(text) = names.get(name..)
                    && candidate.may_be_called(text)
                    && let Ok(name) = u32::try_from(name)
                {
                    candidate.name = name;
                    candidates.push(candidate);
                }
            };
            table.read::<Elf, R>(image, headers, |entries| {
                entries.functions().for_each(&mut take);
            })?;
        }
        Ok(Self::build(candidates, names, has_symtab(headers)))
    }

    /// Whether there is a `.symtab`.
    pub(super) fn has_symtab(&self) -> bool {
        self.has_symtab
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.functions.len()
    }

    pub(super) fn lookup(&self, svma: u64) -> Option<Symbol<'_>> {
        let after = self.spans.partition_point(|span| span.start <= svma);
        let span = self.spans.get(after.checked_sub(1)?)?;
        if svma - span.start >= u64::from(span.len) {
            return None;
        }
        let function = self.functions.get(span.function as usize)?;
        Some(Symbol {
            name: name_at(&self.names, function.name),
            start: function.start,
            size_bytes: function.size.into(),
        })
    }

    /// Sweeps upwards over the starts with a stack of the functions that are open: its top is the
    /// one that started last. Each turn of the inner loop closes a function or reaches the next
    /// start, so there are at most two spans a function and the sort is the most expensive part.
    pub(super) fn build(mut candidates: Vec<Candidate>, names: Vec<u8>, has_symtab: bool) -> Self {
        candidates.sort_unstable();
        let mut sweep = Sweep::with_capacity(candidates.len());
        let mut groups = candidates.chunk_by(|a, b| a.start == b.start).peekable();
        while let Some(group) = groups.next() {
            let next_start = groups
                .peek()
                .and_then(|next| next.first())
                .map_or(u64::MAX, |it| it.start);
            sweep.open(group, next_start, &names);
        }
        sweep.emit_until(u64::MAX);
        sweep.functions.shrink_to_fit();
        sweep.spans.shrink_to_fit();
        Self {
            functions: sweep.functions,
            spans: sweep.spans,
            names,
            has_symtab,
        }
    }
}

/// The state of [`SymbolTable::build`].
struct Sweep {
    functions: Vec<Function>,
    spans: Vec<Span>,
    /// Indices of functions that cover `position`, or did; innermost last.
    open: Vec<u32>,
    position: u64,
    /// Best first: the functions of one start that are kept.
    kept: Vec<Candidate>,
}

impl Sweep {
    fn with_capacity(functions: usize) -> Self {
        Self {
            functions: Vec::with_capacity(functions),
            spans: Vec::with_capacity(functions),
            open: Vec::new(),
            position: 0,
            kept: Vec::new(),
        }
    }

    /// Emits what is open up to `until`, and closes what ends there.
    fn emit_until(&mut self, until: u64) {
        while let Some(&index) = self.open.last() {
            let end = self
                .functions
                .get(index as usize)
                .map_or(0, |function| function.end());
            if end <= self.position {
                self.open.pop();
                continue;
            }
            if self.position >= until {
                break;
            }
            let stop = end.min(until);
            self.spans.push(Span {
                start: self.position,
                // A span is part of a function, whose size has 32 bits.
                len: (stop - self.position) as u32,
                function: index,
            });
            self.position = stop;
        }
        self.position = until;
    }

    /// Opens the functions that start at one address; `group` is sorted and not empty.
    fn open(&mut self, group: &[Candidate], next_start: u64, names: &[u8]) {
        let Some(start) = group.first().map(|it| it.start) else {
            return;
        };
        self.emit_until(start);
        let sized_end = group
            .iter()
            .filter(|it| !it.rank.is_unsized)
            .map(|it| it.end())
            .max();
        let outer_end = self
            .open
            .last()
            .and_then(|&index| self.functions.get(index as usize))
            .map(|outer| outer.end());
        let unsized_end = next_start.min(sized_end.or(outer_end).unwrap_or(u64::MAX));

        self.kept.clear();
        let mut covered_to = start;
        for aliases in group.chunk_by(|a, b| (a.rank, a.size) == (b.rank, b.size)) {
            let best = match aliases {
                // Nearly all: their names need not be looked at.
                [one] => Some(one),
                several => several.iter().min_by_key(|it| alias_order(names, it.name)),
            };
            let Some(mut best) = best.copied() else {
                continue;
            };
            if best.rank.is_unsized {
                // Below `size`, which has 32 bits.
                best.size = u64::from(best.size).min(unsized_end - start) as u32;
            }
            if best.end() > covered_to {
                covered_to = best.end();
                self.kept.push(best);
            }
        }
        for candidate in self.kept.iter().rev() {
            // The limit on symbols is far below 32 bits.
            self.open.push(self.functions.len() as u32);
            self.functions.push(Function {
                start: candidate.start,
                size: candidate.size,
                name: candidate.name,
            });
        }
    }
}

pub(super) fn has_symtab(headers: &Headers) -> bool {
    headers.sections.iter().any(|it| it.kind == elf::SHT_SYMTAB)
}

/// Shorter names first, then lexically, as far as names are compared.
fn alias_order(names: &[u8], name: u32) -> (usize, &[u8]) {
    let name = bounded(names, name, COMPARED_BYTES);
    (name.len(), name)
}

fn name_at(names: &[u8], name: u32) -> Cow<'_, [u8]> {
    shortened(Cow::Borrowed(bounded(names, name, NAME_MAX_BYTES + 1)))
}

/// A name, cut with a mark if it is longer than [`NAME_MAX_BYTES`].
pub(super) fn shortened(name: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if name.len() <= NAME_MAX_BYTES {
        return name;
    }
    let mut cut = name.get(..CUT_NAME_BYTES).unwrap_or_default().to_vec();
    cut.extend_from_slice("…".as_bytes());
    Cow::Owned(cut)
}

/// The string at an offset up to its NUL, or `max` bytes of it.
fn bounded(names: &[u8], name: u32, max: usize) -> &[u8] {
    let rest = names.get(name as usize..).unwrap_or_default();
    let window = rest.get(..max).unwrap_or(rest);
    match memchr::memchr(0, window) {
        Some(end) => window.get(..end).unwrap_or(window),
        None => window,
    }
}
