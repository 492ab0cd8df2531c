//! The call frame information of one image: which rules hold at an address of its code.

use super::machine::Machine;
use super::rule::{Found, Rule};
use crate::elf::{ElfError, ElfLimits, FrameSections, Placed, ReadAt};
use gimli::{
    BaseAddresses, CieOrFde, DebugFrame, EhFrame, EndianSlice, Expression, FrameDescriptionEntry,
    LittleEndian, UnwindContext, UnwindOffset, UnwindSection, UnwindTableRow,
};

/// Bytes of a section.
pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;
/// Rules at an address.
pub(super) type Row = UnwindTableRow<usize>;
/// Room in which rows are worked out.
pub(super) type Context = UnwindContext<usize>;

/// Largest entry that is read: a function's rules are worked out from its beginning each time.
const ENTRY_BYTES_MAX: usize = 256 << 10;
/// Most functions of one image. The largest images have a million.
const FUNCTIONS_MAX: usize = 16 << 20;

/// One image's call frame information.
pub(crate) struct Cfi {
    machine: Machine,
    sections: FrameSections,
    bases: BaseAddresses,
    /// Where functions begin (stated addresses) and their entries' offsets; sorted.
    eh_index: Vec<(u64, u32)>,
    debug_index: Vec<(u64, u32)>,
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
            eh_index: Vec::new(),
            debug_index: Vec::new(),
        };
        cfi.eh_index = match cfi.header_index() {
            Some(index) => index,
            None => walked_index(&cfi.eh_frame(), &cfi.bases),
        };
        cfi.debug_index = walked_index(&cfi.debug_frame(), &cfi.bases);
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
        let index = self.eh_index.len() + self.debug_index.len();
        (sections + index * size_of::<(u64, u32)>()) as u64
    }

    /// What holds at a byte of the file.
    pub(super) fn find(&self, file_offset: u64, context: &mut Context) -> Found {
        let found = self.with_row(file_offset, context, |row, entry, _| {
            Rule::of_row(row, self.machine, entry.is_signal_trampoline())
        });
        found
            .or_else(|| self.stub(file_offset))
            .unwrap_or(Found::Nothing)
    }

    /// lld gives the stubs of a PLT no entry.
    fn stub(&self, file_offset: u64) -> Option<Found> {
        let svma = self.sections.svma_of(file_offset)?;
        let into = self.sections.distance_into_stubs(svma)?;
        Some(Found::Rule(Rule::of_stub(self.machine, into)))
    }

    /// Calls `apply` with the rules at a byte of the file, and with what evaluates them.
    pub(super) fn with_row<T>(
        &self,
        file_offset: u64,
        context: &mut Context,
        apply: impl FnOnce(&Row, &FrameDescriptionEntry<Bytes<'_>>, &dyn ExpressionBytes) -> T,
    ) -> Option<T> {
        let svma = self.sections.svma_of(file_offset)?;
        if let Some(offset) = preceding(&self.eh_index, svma) {
            let section = self.eh_frame();
            if let Some(entry) = entry_at(&section, &self.bases, offset as usize, svma) {
                let row = entry.unwind_info_for_address(&section, &self.bases, context, svma);
                return Some(apply(row.ok()?, &entry, &section));
            }
        }
        let offset = preceding(&self.debug_index, svma)?;
        let section = self.debug_frame();
        let entry = entry_at(&section, &self.bases, offset as usize, svma)?;
        let row = entry.unwind_info_for_address(&section, &self.bases, context, svma);
        Some(apply(row.ok()?, &entry, &section))
    }

    fn eh_frame(&self) -> EhFrame<Bytes<'_>> {
        let mut section = EhFrame::new(bytes_of(&self.sections.eh_frame), LittleEndian);
        section.set_address_size(8);
        section
    }

    fn debug_frame(&self) -> DebugFrame<Bytes<'_>> {
        let mut section = DebugFrame::new(bytes_of(&self.sections.debug_frame), LittleEndian);
        section.set_address_size(8);
        section
    }

    /// The linker's own index, where it has the form that all linkers give it: 32-bit offsets from
    /// the header's address (Linux Standard Base, "The .eh_frame_hdr section").
    fn header_index(&self) -> Option<Vec<(u64, u32)>> {
        const FORM: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
        let header = self.sections.eh_frame_hdr.as_ref()?;
        let eh_frame = self.sections.eh_frame.as_ref()?;
        let bytes = header.bytes.strip_prefix(&FORM)?;
        let count = u32::from_le_bytes(*bytes.get(4..)?.first_chunk::<4>()?) as usize;
        let (entries, _) = bytes.get(8..)?.as_chunks::<8>();
        if count > entries.len() || count > FUNCTIONS_MAX {
            return None;
        }
        let at = |field: &[u8; 4]| {
            let distance = i64::from(i32::from_le_bytes(*field));
            header.svma.wrapping_add_signed(distance)
        };
        let mut index: Vec<(u64, u32)> = entries
            .iter()
            .take(count)
            .filter_map(|entry| {
                let (start, place) = (entry.first_chunk::<4>()?, entry.last_chunk::<4>()?);
                let offset = at(place).checked_sub(eh_frame.svma)?;
                Some((at(start), u32::try_from(offset).ok()?))
            })
            .collect();
        if !index.is_sorted() {
            index.sort_unstable();
        }
        Some(index)
    }
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

/// The last entry that begins at or before `svma`.
fn preceding(index: &[(u64, u32)], svma: u64) -> Option<u32> {
    let after = index.partition_point(|(start, _)| *start <= svma);
    let (_, offset) = index.get(after.checked_sub(1)?)?;
    Some(*offset)
}

/// The entry at `offset`, if it is about `svma` and of a size that is worked out.
fn entry_at<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    offset: usize,
    svma: u64,
) -> Option<FrameDescriptionEntry<Bytes<'a>>> {
    let entry = section.fde_from_offset(bases, S::Offset::from(offset), S::cie_from_offset);
    let entry = entry.ok()?;
    let is_small =
        entry.entry_len() <= ENTRY_BYTES_MAX && entry.cie().entry_len() <= ENTRY_BYTES_MAX;
    (is_small && entry.contains(svma)).then_some(entry)
}

/// An index made by reading all of a section. Behind damage nothing is known.
fn walked_index<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    bases: &BaseAddresses,
) -> Vec<(u64, u32)> {
    let mut index = Vec::new();
    let mut entries = section.entries(bases);
    // Entries in a row mostly share one.
    let mut last = None;
    while let Ok(Some(entry)) = entries.next()
        && index.len() < FUNCTIONS_MAX
    {
        let CieOrFde::Fde(entry) = entry else {
            continue;
        };
        let entry = entry.parse(|section, bases, offset| {
            let wanted = UnwindOffset::into(offset);
            if let Some(cie) = last.as_ref().filter(|cie| offset_of(cie) == wanted) {
                return Ok(cie.clone());
            }
            let cie = section.cie_from_offset(bases, offset)?;
            last = Some(cie.clone());
            Ok(cie)
        });
        if let Ok(entry) = entry
            && let Ok(offset) = u32::try_from(entry.offset())
        {
            index.push((entry.initial_address(), offset));
        }
    }
    index.sort_unstable();
    index
}

fn offset_of(cie: &gimli::CommonInformationEntry<Bytes<'_>>) -> usize {
    cie.offset()
}
