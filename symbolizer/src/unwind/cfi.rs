//! The call frame information of one image: which rules hold at an address of its code.

use super::index::{
    Index, Linked, Preceding, entry_len, place_in, preceding, shared_entry, start_in, walked_index,
};
use super::machine::Machine;
use super::rule::{Found, Rule};
use crate::elf::{ElfError, ElfLimits, FrameSections, GoFrame, GoFrames, Placed, ReadAt};
use gimli::{
    BaseAddresses, DebugFrame, EhFrame, EndianSlice, Expression, FrameDescriptionEntry,
    LittleEndian, Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection,
    UnwindTableRow,
};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};

/// Bytes of a section.
pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;
/// Rules at an address.
pub(super) type Row = UnwindTableRow<usize, Room>;
/// Room in which rows are worked out.
pub(super) type Context = UnwindContext<usize, Room>;

/// Rules of one row, and rows that are remembered. Real rows have some 20 rules; each that there
/// is room for makes a hostile image slower, which remembers rows with all of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Room;

impl UnwindContextStorage<usize> for Room {
    type Rules = [(Register, RegisterRule<usize>); 48];
    type Stack = Box<[UnwindTableRow<usize, Self>; 4]>;
}

/// Largest entry of a function that is read: its rules are worked out from its beginning each time.
/// The largest real ones have 20 KB.
const FUNCTION_BYTES_MAX: u64 = 256 << 10;
/// Largest entry that is worked out where nobody may be kept waiting: in a few microseconds.
const QUICK_BYTES_MAX: u64 = 1 << 10;
/// Bytes of entries that an image may make us work out for each row that it is asked for. On the
/// average of real stacks they are 110.
const ROW_BYTES: i64 = 256;
/// And besides: entries of [`FUNCTION_BYTES_MAX`] would make each frame of a stack last 10 ms.
const BESIDES_BYTES: i64 = 8 << 20;

/// One image's call frame information.
pub(crate) struct Cfi {
    machine: Machine,
    sections: FrameSections,
    bases: BaseAddresses,
    eh_index: Index,
    debug_index: Index,
    /// Bytes of entries that may still be worked out.
    left_bytes: AtomicI64,
}

impl Cfi {
    /// Reads it; `None` of an image for another machine than those we unwind.
    pub(crate) fn read<R: ReadAt + ?Sized>(
        image: &R,
        limits: &ElfLimits,
    ) -> Result<Option<Self>, ElfError> {
        let Some(sections) = FrameSections::read(image, limits)? else {
            return Ok(None);
        };
        let Some(machine) = Machine::of_image(sections.machine) else {
            return Ok(None);
        };
        let start = |placed: &Option<Placed>| placed.as_ref().map_or(0, |placed| placed.svma);
        let bases = BaseAddresses::default()
            .set_eh_frame(start(&sections.eh_frame))
            .set_eh_frame_hdr(start(&sections.eh_frame_hdr))
            .set_text(sections.text_svma)
            .set_got(sections.got_svma);
        let mut cfi = Self {
            machine,
            sections,
            bases,
            eh_index: Index::Linked(Linked::default()),
            debug_index: Index::Linked(Linked::default()),
            left_bytes: AtomicI64::new(BESIDES_BYTES),
        };
        cfi.eh_index = match cfi.linked() {
            Some(entries) => Index::Linked(Linked::new(entries)),
            None => walked_index(&cfi.eh_frame(), cfi.eh_bytes(), &cfi.bases),
        };
        cfi.debug_index = walked_index(&cfi.debug_frame(), cfi.debug_bytes(), &cfi.bases);
        Ok(Some(cfi))
    }

    /// What it is code for.
    pub(super) fn machine(&self) -> Machine {
        self.machine
    }

    /// What is kept of it.
    pub(super) fn len_bytes(&self) -> u64 {
        let sections = [
            &self.sections.eh_frame,
            &self.sections.eh_frame_hdr,
            &self.sections.debug_frame,
        ];
        let sections: usize = sections.map(|section| bytes_of(section).len()).iter().sum();
        let indexes = [&self.eh_index, &self.debug_index].map(|index| match index {
            Index::Linked(linked) => linked.len_bytes(),
            Index::Walked(functions) => functions.len() * size_of::<(u64, u32)>(),
        });
        let go = self.sections.go.as_ref().map_or(0, GoFrames::len_bytes);
        (sections + indexes.iter().sum::<usize>() + go) as u64
    }

    /// What holds at a byte of the file, and around it.
    pub(super) fn find(&self, file_offset: u64, context: &mut Context) -> (Found, Range<u64>) {
        let found = self.with_row(file_offset, context, |row, of| {
            let found = Rule::of_row(row, self.machine, of.entry.is_signal_trampoline());
            let start = row.start_address().max(of.span.start);
            // A row may go on behind its entry, where the entry says nothing.
            let end = row.end_address().min(of.span.end);
            (found, start..end.min(of.entry.end_address()))
        });
        if let Some((found, span)) = found {
            return (found, self.span_around(file_offset, span));
        }
        let found = self.stub(file_offset).or_else(|| self.go(file_offset));
        let alone = file_offset..file_offset.saturating_add(1);
        (found.unwrap_or(Found::Nothing), alone)
    }

    /// Where in the file a span of addresses is that a byte of it lies in: no more than that byte, where not all of
    /// it is in one segment.
    fn span_around(&self, file_offset: u64, span: Range<u64>) -> Range<u64> {
        let around = || {
            let svma = self.sections.svma_of(file_offset)?;
            let start = file_offset.checked_sub(svma.checked_sub(span.start)?)?;
            let last = span.end.checked_sub(1)?;
            let last_offset = file_offset.checked_add(last.checked_sub(svma)?)?;
            let is_one = self.sections.svma_of(start) == Some(span.start)
                && self.sections.svma_of(last_offset) == Some(last);
            is_one.then_some(start..last_offset.checked_add(1)?)
        };
        around().unwrap_or(file_offset..file_offset.saturating_add(1))
    }

    /// lld gives the stubs of a PLT no entry.
    fn stub(&self, file_offset: u64) -> Option<Found> {
        let svma = self.sections.svma_of(file_offset)?;
        let into = self.sections.distance_into_stubs(svma)?;
        Some(Found::Rule(Rule::of_stub(self.machine, into)))
    }

    /// Go's linker writes call frame information for nobody but debuggers.
    fn go(&self, file_offset: u64) -> Option<Found> {
        let frame = self.sections.go.as_ref()?;
        match frame.at(self.sections.svma_of(file_offset)?)? {
            GoFrame::Taken(bytes) => Rule::of_go(self.machine, bytes).map(Found::Rule),
            GoFrame::Outermost => Some(Found::Outermost),
            GoFrame::Unknown => None,
        }
    }

    /// Where in the file an address is that the linker gave.
    pub(super) fn offset_of(&self, svma: u64) -> Option<u64> {
        self.sections.offset_of(svma)
    }

    /// The bytes of the file that the entry of one of them is about.
    pub(super) fn function_at(
        &self,
        file_offset: u64,
        context: &mut Context,
    ) -> Option<Range<u64>> {
        let svma = self.sections.svma_of(file_offset)?;
        let (start, len) = self.with_row(file_offset, context, |_, of| {
            (of.entry.initial_address(), of.entry.len())
        })?;
        let start = file_offset.checked_sub(svma.checked_sub(start)?)?;
        Some(start..start.checked_add(len)?)
    }

    /// Calls `apply` with the rules at a byte of the file, and with what they are of.
    pub(super) fn with_row<T>(
        &self,
        file_offset: u64,
        context: &mut Context,
        apply: impl FnOnce(&Row, RowOf<'_>) -> T,
    ) -> Option<T> {
        let svma = self.sections.svma_of(file_offset)?;
        if let Some(Preceding { offset, span }) = self.eh_preceding(svma) {
            let section = self.eh_frame();
            if let Some(entry) = self.entry_at(&section, self.eh_bytes(), offset, svma) {
                let row = entry.unwind_info_for_address(&section, &self.bases, context, svma);
                let of = RowOf {
                    entry: &entry,
                    expressions: &section,
                    span,
                };
                return Some(apply(row.ok()?, of));
            }
        }
        let Preceding { offset, .. } = self.debug_preceding(svma)?;
        let section = self.debug_frame();
        let entry = self.entry_at(&section, self.debug_bytes(), offset, svma)?;
        let row = entry.unwind_info_for_address(&section, &self.bases, context, svma);
        let of = RowOf {
            entry: &entry,
            expressions: &section,
            // Beside it there may be something in the other section.
            span: svma..svma.saturating_add(1),
        };
        Some(apply(row.ok()?, of))
    }

    /// Whether what holds at a byte of the file is soon worked out.
    pub(super) fn is_quick(&self, file_offset: u64) -> bool {
        let Some(svma) = self.sections.svma_of(file_offset) else {
            return true;
        };
        let is_small = |bytes, found: Option<Preceding>| {
            let len = found.and_then(|found| entry_len(bytes, found.offset as usize));
            len.is_none_or(|len| len <= QUICK_BYTES_MAX)
        };
        is_small(self.eh_bytes(), self.eh_preceding(svma))
            && is_small(self.debug_bytes(), self.debug_preceding(svma))
    }

    /// Where in `.eh_frame` the entry of the function is that begins last at or before `svma`.
    fn eh_preceding(&self, svma: u64) -> Option<Preceding> {
        match &self.eh_index {
            Index::Linked(linked) => self.linked_preceding(linked, svma),
            Index::Walked(functions) => preceding(functions, svma),
        }
    }

    /// The same in `.debug_frame`.
    fn debug_preceding(&self, svma: u64) -> Option<Preceding> {
        match &self.debug_index {
            Index::Linked(_) => None,
            Index::Walked(functions) => preceding(functions, svma),
        }
    }

    /// The entry at `offset`, if it is about `svma` and not too much is to be worked out.
    fn entry_at<'a, S: UnwindSection<Bytes<'a>>>(
        &self,
        section: &S,
        bytes: &[u8],
        offset: u32,
        svma: u64,
    ) -> Option<FrameDescriptionEntry<Bytes<'a>>> {
        let offset = offset as usize;
        entry_len(bytes, offset).filter(|len| *len <= FUNCTION_BYTES_MAX)?;
        let small_cie = |section: &S, bases: &BaseAddresses, offset: S::Offset| {
            shared_entry(section, bytes, bases, offset)
        };
        let entry = section.fde_from_offset(&self.bases, S::Offset::from(offset), small_cie);
        let entry = entry.ok().filter(|entry| entry.contains(svma))?;
        let len = (entry.entry_len() + entry.cie().entry_len()) as i64;
        if self.left_bytes.load(Ordering::Relaxed) < 0 {
            self.left_bytes.fetch_add(ROW_BYTES, Ordering::Relaxed);
            return None;
        }
        self.left_bytes
            .fetch_add(ROW_BYTES - len, Ordering::Relaxed);
        Some(entry)
    }

    fn eh_bytes(&self) -> &[u8] {
        bytes_of(&self.sections.eh_frame)
    }

    fn debug_bytes(&self) -> &[u8] {
        bytes_of(&self.sections.debug_frame)
    }

    fn eh_frame(&self) -> EhFrame<Bytes<'_>> {
        let mut section = EhFrame::new(self.eh_bytes(), LittleEndian);
        section.set_address_size(8);
        section
    }

    fn debug_frame(&self) -> DebugFrame<Bytes<'_>> {
        let mut section = DebugFrame::new(self.debug_bytes(), LittleEndian);
        section.set_address_size(8);
        section
    }

    /// The entries of the linker's own index, where it has the form that all linkers give it: 32-bit
    /// offsets from the header's address (Linux Standard Base, "The .eh_frame_hdr section").
    fn linked(&self) -> Option<&[[u8; 8]]> {
        const FORM: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
        let header = self.sections.eh_frame_hdr.as_ref()?;
        let bytes = header.bytes.strip_prefix(&FORM)?;
        let count = u32::from_le_bytes(*bytes.get(4..)?.first_chunk::<4>()?) as usize;
        let (entries, _) = bytes.get(8..)?.as_chunks::<8>();
        entries.get(..count)
    }

    /// The entry of the function that begins last at or before `svma`, by the linker's index.
    fn linked_preceding(&self, linked: &Linked, svma: u64) -> Option<Preceding> {
        let header = self.sections.eh_frame_hdr.as_ref()?;
        let eh_frame = self.sections.eh_frame.as_ref()?;
        let (entries, _) = header.bytes.get(12..)?.as_chunks::<8>();
        let (entry, next) = linked.preceding(entries, svma.wrapping_sub(header.svma) as i64)?;
        let at = |into: i32| header.svma.wrapping_add_signed(into.into());
        Some(Preceding {
            offset: u32::try_from(at(place_in(entry)).checked_sub(eh_frame.svma)?).ok()?,
            span: at(start_in(entry))..next.map_or(u64::MAX, |next| at(start_in(next))),
        })
    }
}

/// What the rules of a row are of.
pub(super) struct RowOf<'a> {
    pub(super) entry: &'a FrameDescriptionEntry<Bytes<'a>>,
    /// What evaluates them.
    pub(super) expressions: &'a dyn ExpressionBytes,
    /// Stated addresses outside of which another entry may hold.
    span: Range<u64>,
}

/// Where the bytes of expressions are.
pub(super) trait ExpressionBytes {
    fn expression(&self, place: &gimli::UnwindExpression<usize>) -> Option<Expression<Bytes<'_>>>;
}

impl ExpressionBytes for EhFrame<Bytes<'_>> {
    fn expression(&self, place: &gimli::UnwindExpression<usize>) -> Option<Expression<Bytes<'_>>> {
        place.get(self).ok()
    }
}

impl ExpressionBytes for DebugFrame<Bytes<'_>> {
    fn expression(&self, place: &gimli::UnwindExpression<usize>) -> Option<Expression<Bytes<'_>>> {
        place.get(self).ok()
    }
}

fn bytes_of(placed: &Option<Placed>) -> &[u8] {
    placed.as_ref().map_or(&[], |placed| &placed.bytes)
}
