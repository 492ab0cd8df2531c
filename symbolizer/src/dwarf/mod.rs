//! Debug information: which function an address is in, and which functions the compiler put into it there.
//!
//! `gimli` reads headers, attributes and lists. The way through them is ours
//! ([decision 0011](../../../docs/decisions/0011-own-walk-over-gimlis-entries.md)): one pass over each unit that
//! has a wanted address, with a bound on everything, and nothing is kept but what answers. Files are opened and
//! read elsewhere.

mod abbrevs;
#[cfg(test)]
mod hostile_tests;
mod names;
mod sections;
#[cfg(test)]
mod tests;
mod units;
mod walk;

pub(crate) use names::Name;
pub(crate) use sections::{Located, Part, Sections};

use gimli::{DwarfFileType, DwoId};
use names::Names;
use rayon::prelude::*;
use sections::Bytes;
use std::sync::Arc;
use units::{Claim, Root, Units};
use walk::{Answers, Inlined, InlinedId, walk};

/// Bytes of units that are walked of one image. A gigabyte takes some three seconds.
const WALKED_BYTES_MAX: u64 = 2 << 30;

/// Why debug information says nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DwarfError {
    /// It is not what it has to be.
    #[error("debug information is damaged: {0}")]
    Damaged(#[from] gimli::Error),
    /// It refers to a unit that is not there.
    #[error("debug information refers to what is not there")]
    NoUnit,
    /// There is more of it than is read.
    #[error("{0}: too many or too long")]
    OverLimit(&'static str),
}

/// What may still be done: bounds the time by the length of what is read.
struct Steps(u64);

impl Steps {
    fn new(steps: u64) -> Self {
        Self(steps)
    }

    fn take(&mut self, steps: u64) -> Result<(), DwarfError> {
        match self.0.checked_sub(steps) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(DwarfError::OverLimit("entries and ranges")),
        }
    }
}

/// The bytes of an image's debug information.
#[derive(Debug)]
pub(crate) struct DebugSections {
    /// Of the image or its debug file.
    pub(crate) main: Sections,
    /// What `dwz` moved out of it to where several share it.
    pub(crate) shared: Option<Sections>,
    /// A package of split debug information (`.dwp`).
    pub(crate) package: Option<Sections>,
}

/// Split debug information (`.dwo`), as the image refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SplitName {
    /// Where the compiler ran; not necessarily UTF-8.
    pub(crate) dir: Vec<u8>,
    /// The file, absolute or below that.
    pub(crate) file: Vec<u8>,
}

/// Reads the sections of a `.dwo`, wherever it is.
pub(crate) type ReadSplit<'r> = dyn Fn(&SplitName) -> Option<Sections> + Sync + 'r;

/// What debug information says of an address.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Of the function whose code it is; `None` where the entry has none.
    pub(crate) name: Option<Arc<Name>>,
    /// Where the part of the function begins that it is in.
    pub(crate) begin: u64,
    /// The functions that the compiler put into it there, outermost first.
    pub(crate) inlined: Arc<[Arc<str>]>,
}

impl DebugSections {
    /// What is said of each of `wanted` (ascending), in its place.
    pub(crate) fn look_up(
        &self,
        wanted: &[u64],
        read_split: &ReadSplit<'_>,
    ) -> Result<Vec<Option<Found>>, DwarfError> {
        let mut dwarf = self.main.dwarf();
        if let Some(shared) = &self.shared {
            dwarf.set_sup(shared.dwarf());
        }
        let units = Units::new(&dwarf);
        let shared = dwarf.sup().map(Units::new);
        let lookup = LookUp {
            units: &units,
            shared: shared.as_ref(),
            package: self.package.as_ref(),
            read_split,
        };
        let mut claims = units.claims(wanted)?;
        let mut left_bytes = WALKED_BYTES_MAX;
        claims.retain(|claim| {
            let len = units.header(claim.unit);
            let len = len.map_or(0, |header| header.length_including_self() as u64);
            left_bytes = left_bytes.saturating_sub(len);
            left_bytes > 0
        });
        // A damaged unit says nothing; the others do.
        let of_units = claims
            .par_iter()
            .map(|claim| lookup.unit(claim, wanted).unwrap_or_default());
        let of_units: Vec<Vec<Option<Found>>> = of_units.collect();
        let mut found: Vec<Option<Found>> = vec![None; wanted.len()];
        for (claim, answers) in claims.iter().zip(of_units) {
            for (at, answer) in claim.wanted.iter().zip(answers) {
                let (Some(slot), Some(answer)) = (found.get_mut(*at as usize), answer) else {
                    continue;
                };
                // Of several units the first, unless another has a function inside of its.
                if slot.as_ref().is_none_or(|slot| slot.begin < answer.begin) {
                    *slot = Some(answer);
                }
            }
        }
        Ok(found)
    }
}

struct LookUp<'l, 'a> {
    units: &'l Units<'a>,
    shared: Option<&'l Units<'a>>,
    package: Option<&'a Sections>,
    read_split: &'l ReadSplit<'l>,
}

impl<'a> LookUp<'_, 'a> {
    /// What a unit says of the addresses that it claims, each in its place.
    fn unit(&self, claim: &Claim, wanted: &[u64]) -> Result<Vec<Option<Found>>, DwarfError> {
        let wanted: Vec<u64> = claim
            .wanted
            .iter()
            .filter_map(|at| wanted.get(*at as usize).copied())
            .collect();
        let (unit, root) = self.units.unit(claim.unit)?;
        if let Some(id) = unit.dwo_id
            && let Ok(Some(found)) = self.split(id, &unit, &root, &wanted)
        {
            return Ok(found);
        }
        // Also a unit whose entries are elsewhere may have those that have others put into them.
        let answers = walk(self.units.dwarf, &unit, root.types, &wanted)?;
        let names = Names::new(self.units, self.shared, &unit);
        Ok(named(answers, names))
    }

    /// The same of a unit whose entries are split off, if they are found.
    fn split(
        &self,
        id: DwoId,
        skeleton: &gimli::Unit<Bytes<'a>>,
        root: &Root<'a>,
        wanted: &[u64],
    ) -> Result<Option<Vec<Option<Found>>>, DwarfError> {
        let parent = self.units.dwarf;
        // A package that is damaged is as good as none.
        if let Some(package) = self.package
            && let Ok(Some(dwarf)) = package.of_package(id)
        {
            return self.split_in(dwarf, id, skeleton, wanted);
        }
        let text = |value: Option<_>| {
            let text = value.and_then(|value| parent.attr_string(skeleton, value).ok());
            text.map(|text| text.to_vec())
        };
        let Some(file) = text(root.dwo_name) else {
            return Ok(None);
        };
        let name = SplitName {
            dir: text(root.comp_dir).unwrap_or_default(),
            file,
        };
        let Some(sections) = (self.read_split)(&name) else {
            return Ok(None);
        };
        self.split_in(sections.dwarf(), id, skeleton, wanted)
    }

    fn split_in<'s>(
        &self,
        mut dwarf: gimli::Dwarf<Bytes<'s>>,
        id: DwoId,
        skeleton: &gimli::Unit<Bytes<'s>>,
        wanted: &[u64],
    ) -> Result<Option<Vec<Option<Found>>>, DwarfError>
    where
        'a: 's,
    {
        // What the linker had to fill in stayed behind.
        let parent = self.units.dwarf;
        dwarf.file_type = DwarfFileType::Dwo;
        dwarf.debug_addr = parent.debug_addr;
        let ranges = *parent.ranges.debug_ranges();
        dwarf.ranges.set_debug_ranges(ranges);
        let units = Units::new(&dwarf);
        // Another compilation's may be at its place: only the one that the linker saw is.
        let Some((mut unit, root)) = units.with_dwo_id(id) else {
            return Ok(None);
        };
        unit.copy_relocated_attributes(skeleton);
        let answers = walk(&dwarf, &unit, root.types, wanted)?;
        let names = Names::new(&units, None, &unit);
        Ok(Some(named(answers, names)))
    }
}

fn named(answers: Answers, mut names: Names<'_, '_>) -> Vec<Option<Found>> {
    let none: Arc<[Arc<str>]> = Arc::default();
    let mut chains: Vec<Option<Arc<[Arc<str>]>>> = vec![None; answers.inlined.len()];
    let of = answers.of.into_iter().map(|answer| {
        let function = answer.function?;
        let inlined = match answer.innermost {
            None => Arc::clone(&none),
            Some(innermost) => {
                let chain = chains.get_mut(innermost.0 as usize)?;
                Arc::clone(chain.get_or_insert_with(|| {
                    let inlined = &answers.inlined;
                    let of = |id: Option<InlinedId>| inlined.get(id?.0 as usize).copied();
                    let inwards = std::iter::successors(of(Some(innermost)), |it| of(it.into));
                    let shown = |it: Inlined| Some(Arc::clone(names.of(it.entry)?.shown()));
                    let mut chain: Vec<Arc<str>> = inwards.filter_map(shown).collect();
                    chain.reverse();
                    chain.into()
                }))
            }
        };
        Some(Found {
            name: names.of(function.entry),
            begin: function.begin,
            inlined,
        })
    });
    of.collect()
}
