//! One pass over the entries of a unit: which function each wanted address is in, and which functions
//! were put into that one there.
//!
//! Entries are passed in their order; what is open is a stack of ours, so their depth costs nothing. Each
//! costs steps, and a unit has as many as its length allows.

use super::sections::Bytes;
use super::units::{self, RangeAttrs, Types};
use super::{DwarfError, Steps};
use gimli::{Abbreviation, AttributeValue, Dwarf, EntriesRaw, Unit, UnitOffset};

/// Functions inside each other at one address that are told; real ones reach some thirty.
pub(crate) const INLINED_MAX: usize = 256;
/// Entries of functions that are open at once: those that are inside each other, whatever the address.
const OPEN_MAX: usize = 1 << 14;
/// Steps for each byte of a unit: a flag takes no byte, an attribute one or more.
const STEPS_OF_BYTE: u64 = 8;
const STEPS_OF_UNIT: u64 = 1 << 12;

/// What a unit says of its addresses.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Of each address, in its place.
    pub(crate) of: Vec<Answer>,
    /// Functions that were put into others, each behind the one that it was put into.
    pub(crate) inlined: Vec<Inlined>,
}

/// What a unit says of an address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) function: Option<Covering>,
    /// The innermost of those that were put into it there.
    pub(crate) innermost: Option<InlinedId>,
}

/// Index into [`Answers::inlined`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InlinedId(pub(crate) u32);

/// A function that was put into another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inlined {
    pub(crate) entry: UnitOffset,
    /// The one that it was put into, unless that is the function itself.
    pub(crate) into: Option<InlinedId>,
}

/// A function's entry, and where the range of it begins that has the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Covering {
    pub(crate) entry: UnitOffset,
    pub(crate) begin: u64,
}

/// An entry whose children are being passed: a function, or one that was put into it.
struct Open {
    depth: isize,
    function: UnitOffset,
    /// Which of those that were put into it, and how many are around it; `None` and 0 of the function itself.
    innermost: Option<InlinedId>,
    level: usize,
    /// Wanted addresses in it, ascending; numbers of answers.
    inside: Vec<u32>,
}

/// Answers for `wanted` (ascending), each in its place.
pub(crate) fn walk<'a>(
    dwarf: &Dwarf<Bytes<'a>>,
    unit: &Unit<Bytes<'a>>,
    types: Types,
    wanted: &[u64],
) -> Result<Answers, DwarfError> {
    let len_bytes = unit.header.length_including_self() as u64;
    let steps = len_bytes
        .saturating_mul(STEPS_OF_BYTE)
        .saturating_add(STEPS_OF_UNIT);
    let mut walk = Walk {
        dwarf,
        unit,
        wanted,
        steps: Steps::new(steps),
        answers: vec![Answer::default(); wanted.len()],
        inlined: Vec::new(),
        open: Vec::new(),
    };
    let mut entries = units::entries(unit, None)?;
    // Of the entry that they were begun at.
    let mut begin_depth = 0;
    while !entries.is_empty() {
        let offset = entries.next_offset();
        let depth = begin_depth + entries.next_depth();
        let Some(abbrev) = entries.read_abbreviation()? else {
            walk.steps.take(1)?;
            continue;
        };
        walk.steps.take(1 + abbrev.attributes().len() as u64)?;
        while walk.open.pop_if(|open| open.depth >= depth).is_some() {}
        match abbrev.tag() {
            gimli::DW_TAG_subprogram => walk.function(&mut entries, abbrev, (offset, depth))?,
            gimli::DW_TAG_inlined_subroutine => {
                walk.inlined(&mut entries, abbrev, (offset, depth))?;
            }
            tag if types == Types::Plain && abbrev.has_children() && is_type(tag) => {
                let sibling = sibling_of(&mut entries, abbrev)?;
                let ahead = sibling.filter(|at| *at > entries.next_offset());
                if let Some(Ok(behind)) = ahead.map(|at| units::entries(unit, Some(at))) {
                    (entries, begin_depth) = (behind, depth);
                }
            }
            _ => entries.skip_attributes(abbrev.attributes())?,
        }
    }
    Ok(Answers {
        of: walk.answers,
        inlined: walk.inlined,
    })
}

struct Walk<'w, 'a> {
    dwarf: &'w Dwarf<Bytes<'a>>,
    unit: &'w Unit<Bytes<'a>>,
    wanted: &'w [u64],
    steps: Steps,
    answers: Vec<Answer>,
    inlined: Vec<Inlined>,
    open: Vec<Open>,
}

impl<'a> Walk<'_, 'a> {
    fn function(
        &mut self,
        entries: &mut EntriesRaw<'_, Bytes<'a>>,
        abbrev: &Abbreviation,
        (entry, depth): (UnitOffset, isize),
    ) -> Result<(), DwarfError> {
        let mut inside = Vec::new();
        if let Some(ranges) = ranges_of(entries, abbrev)? {
            let (wanted, answers) = (self.wanted, &mut self.answers);
            let each = |range: gimli::Range| {
                let first = wanted.partition_point(|at| *at < range.begin);
                let covered = wanted.iter().skip(first).take_while(|at| **at < range.end);
                let mut count = 0;
                for (number, _) in (first..).zip(covered) {
                    count += 1;
                    let Some(answer) = answers.get_mut(number) else {
                        break;
                    };
                    // Of two that cover it the one that starts last, as among symbols; code that was
                    // folded is said to be of several, the first is as good as the others.
                    let is_inner = answer.function.is_none_or(|it| it.begin < range.begin);
                    if is_inner {
                        answer.function = Some(Covering {
                            entry,
                            begin: range.begin,
                        });
                        answer.innermost = None;
                        inside.push(number as u32);
                    }
                }
                count
            };
            ranges.each(self.dwarf, self.unit, &mut self.steps, each)?;
        }
        // Also where nothing in it is wanted: what was put into it is not of the one around it.
        if abbrev.has_children() {
            inside.sort_unstable();
            inside.dedup();
            self.open(Open {
                depth,
                function: entry,
                innermost: None,
                level: 0,
                inside,
            })?;
        }
        Ok(())
    }

    fn inlined(
        &mut self,
        entries: &mut EntriesRaw<'_, Bytes<'a>>,
        abbrev: &Abbreviation,
        (entry, depth): (UnitOffset, isize),
    ) -> Result<(), DwarfError> {
        let around = self.open.last().filter(|open| !open.inside.is_empty());
        let Some(around) = around.filter(|open| open.level < INLINED_MAX) else {
            entries.skip_attributes(abbrev.attributes())?;
            return Ok(());
        };
        let (function, level, into) = (around.function, around.level, around.innermost);
        // Entries are fewer than 2^32: a section of so many bytes is not read.
        let this = InlinedId(self.inlined.len() as u32);
        let mut inside = Vec::new();
        // One that is nowhere holds its children all the same: they are not of the one around it.
        let ranges = ranges_of(entries, abbrev)?.unwrap_or_default();
        let (wanted, answers) = (self.wanted, &mut self.answers);
        let address = |number: &u32| wanted.get(*number as usize).copied().unwrap_or_default();
        let each = |range: gimli::Range| {
            let first = around
                .inside
                .partition_point(|number| address(number) < range.begin);
            let covered = around.inside.iter().skip(first);
            let covered = covered.take_while(|number| address(number) < range.end);
            let mut count = 0;
            for number in covered {
                count += 1;
                let Some(answer) = answers.get_mut(*number as usize) else {
                    break;
                };
                // One at each level: a second one beside it cannot be there too.
                let is_its = answer.function.is_some_and(|it| it.entry == function);
                if is_its && answer.innermost == into {
                    answer.innermost = Some(this);
                    inside.push(*number);
                }
            }
            count
        };
        ranges.each(self.dwarf, self.unit, &mut self.steps, each)?;
        if !inside.is_empty() {
            self.inlined.push(Inlined { entry, into });
        }
        if abbrev.has_children() {
            inside.sort_unstable();
            self.open(Open {
                depth,
                function,
                innermost: Some(this),
                level: level + 1,
                inside,
            })?;
        }
        Ok(())
    }

    fn open(&mut self, open: Open) -> Result<(), DwarfError> {
        if self.open.len() >= OPEN_MAX {
            return Err(DwarfError::OverLimit("functions inside each other"));
        }
        self.open.push(open);
        Ok(())
    }
}

fn is_type(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        gimli::DW_TAG_structure_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_enumeration_type
            | gimli::DW_TAG_array_type
            | gimli::DW_TAG_subroutine_type
    )
}

/// Reads an entry's attributes for what follows its children.
fn sibling_of<'a>(
    entries: &mut EntriesRaw<'_, Bytes<'a>>,
    abbrev: &Abbreviation,
) -> Result<Option<UnitOffset>, DwarfError> {
    let mut sibling = None;
    for spec in abbrev.attributes() {
        if spec.name() != gimli::DW_AT_sibling {
            entries.skip_attributes(std::slice::from_ref(spec))?;
        } else if let AttributeValue::UnitRef(at) = entries.read_attribute(*spec)?.value() {
            sibling = Some(at);
        }
    }
    Ok(sibling)
}

/// Reads an entry's attributes for where its code is; passes over those of one without.
fn ranges_of<'a>(
    entries: &mut EntriesRaw<'_, Bytes<'a>>,
    abbrev: &Abbreviation,
) -> Result<Option<RangeAttrs<'a>>, DwarfError> {
    let says_where = |spec: &gimli::AttributeSpecification| {
        matches!(spec.name(), gimli::DW_AT_low_pc | gimli::DW_AT_ranges)
    };
    if !abbrev.attributes().iter().any(says_where) {
        entries.skip_attributes(abbrev.attributes())?;
        return Ok(None);
    }
    let mut ranges = RangeAttrs::default();
    for spec in abbrev.attributes() {
        let attr = entries.read_attribute(*spec)?;
        ranges.take(attr.name(), attr.value());
    }
    Ok(Some(ranges))
}
