//! What a function's entry is called: by itself, or by the entries that it refers to, in its unit, in another
//! one, or in the file that `dwz` moved them to.

use super::sections::Bytes;
use super::units::{Units, entries};
use super::{DwarfError, Steps};
use crate::demangle::{NAME_MAX_BYTES, demangle};
use crate::hash::FastMap;
use gimli::{AttributeValue, DwarfFileType, Unit, UnitOffset};
use std::sync::{Arc, OnceLock};

/// Entries that are followed for one name: a function put into another refers to its definition, that to
/// its declaration.
const HOPS_MAX: usize = 8;
/// Steps for the names of one unit's functions, for each that is wanted: attributes, and bytes of names
/// by 64.
const STEPS_OF_NAME: u64 = 1 << 12;
/// Units that are kept because names led to them.
const UNITS_KEPT_MAX: usize = 64;

/// Which file an offset is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum File {
    /// The unit's own.
    Own,
    /// The one that several share by `dwz`.
    Shared,
}

/// The names of one unit's entries. A function that was put into many others is looked up once.
pub(crate) struct Names<'n, 'a> {
    own: &'n Units<'a>,
    shared: Option<&'n Units<'a>>,
    unit: &'n Unit<Bytes<'a>>,
    /// Of split debug information: nothing there refers to other units.
    is_split: bool,
    known: FastMap<(File, usize), Option<Arc<Name>>>,
    others: FastMap<(File, usize), Arc<Unit<Bytes<'a>>>>,
}

/// A function's name.
#[derive(Debug)]
pub(crate) struct Name {
    /// As it is in the file: the linkage name where there is one.
    pub(crate) raw: Box<[u8]>,
    shown: OnceLock<Arc<str>>,
}

/// What an entry says of its name.
enum Says<'a> {
    Name(Bytes<'a>),
    /// There it says more.
    Goes(AttributeValue<Bytes<'a>>),
    Nothing,
}

impl<'n, 'a> Names<'n, 'a> {
    pub(crate) fn new(
        own: &'n Units<'a>,
        shared: Option<&'n Units<'a>>,
        unit: &'n Unit<Bytes<'a>>,
    ) -> Self {
        Self {
            own,
            shared,
            unit,
            is_split: own.dwarf.file_type == DwarfFileType::Dwo,
            known: FastMap::default(),
            others: FastMap::default(),
        }
    }

    /// The name of an entry of the unit; `None` of one that has none, or refers to what is not there.
    pub(crate) fn of(&mut self, entry: UnitOffset) -> Option<Arc<Name>> {
        let mut steps = Steps::new(STEPS_OF_NAME);
        let start = (File::Own, self.offset_in_file(self.unit, entry));
        if let Some(known) = self.known.get(&start) {
            return known.clone();
        }
        let mut passed = Vec::new();
        // What is damaged or too long is as if it were not there.
        let found = self.follow(entry, &mut passed, &mut steps).ok().flatten();
        for at in passed {
            self.known.insert(at, found.clone());
        }
        found
    }

    fn offset_in_file(&self, unit: &Unit<Bytes<'a>>, entry: UnitOffset) -> usize {
        let start = unit.header.debug_info_offset().map_or(0, |at| at.0);
        start.saturating_add(entry.0)
    }

    fn follow(
        &mut self,
        entry: UnitOffset,
        passed: &mut Vec<(File, usize)>,
        steps: &mut Steps,
    ) -> Result<Option<Arc<Name>>, DwarfError> {
        let mut at = (File::Own, None::<Arc<Unit<Bytes<'a>>>>, entry);
        for _ in 0..HOPS_MAX {
            let (file, other, entry) = &at;
            let unit = other.as_deref().unwrap_or(self.unit);
            let key = (*file, self.offset_in_file(unit, *entry));
            if let Some(known) = self.known.get(&key) {
                return Ok(known.clone());
            }
            passed.push(key);
            match self.says(*file, unit, *entry, steps)? {
                Says::Name(name) => return Ok(Some(Arc::new(Name::new(&name)))),
                Says::Nothing => return Ok(None),
                Says::Goes(to) => {
                    let file = *file;
                    at = match to {
                        AttributeValue::UnitRef(entry) => (file, at.1, entry),
                        AttributeValue::DebugInfoRef(to) if !self.is_split => {
                            self.elsewhere(file, to.0)?
                        }
                        AttributeValue::DebugInfoRefSup(to) => {
                            self.elsewhere(File::Shared, to.0)?
                        }
                        _ => return Ok(None),
                    };
                }
            }
        }
        Ok(None)
    }

    /// An entry by its offset in a file.
    #[allow(clippy::type_complexity)] // Where a name is looked for next: it has no name of its own.
    fn elsewhere(
        &mut self,
        file: File,
        offset: usize,
    ) -> Result<(File, Option<Arc<Unit<Bytes<'a>>>>, UnitOffset), DwarfError> {
        let units = self.units(file)?;
        let number = units.around(offset).ok_or(DwarfError::NoUnit)?;
        let unit = match self.others.get(&(file, number)) {
            Some(unit) => Arc::clone(unit),
            None => {
                let unit = Arc::new(units.unit(number)?.0);
                if self.others.len() >= UNITS_KEPT_MAX {
                    self.others.clear();
                }
                self.others.insert((file, number), Arc::clone(&unit));
                unit
            }
        };
        let to = gimli::DebugInfoOffset(offset).to_unit_offset(&unit.header);
        Ok((file, Some(unit), to.ok_or(DwarfError::NoUnit)?))
    }

    fn units(&self, file: File) -> Result<&'n Units<'a>, DwarfError> {
        match file {
            File::Own => Ok(self.own),
            File::Shared => self.shared.ok_or(DwarfError::NoUnit),
        }
    }

    fn says(
        &self,
        file: File,
        unit: &Unit<Bytes<'a>>,
        entry: UnitOffset,
        steps: &mut Steps,
    ) -> Result<Says<'a>, DwarfError> {
        let dwarf = self.units(file)?.dwarf;
        let mut entries = entries(unit, Some(entry))?;
        let Some(abbrev) = entries.read_abbreviation()? else {
            return Ok(Says::Nothing);
        };
        steps.take(1 + abbrev.attributes().len() as u64)?;
        let mut says = Says::Nothing;
        for spec in abbrev.attributes() {
            let attr = entries.read_attribute(*spec)?;
            let value = attr.value();
            match attr.name() {
                gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => {
                    if let Ok(name) = dwarf.attr_string(unit, value) {
                        steps.take(name.len() as u64 / 64)?;
                        return Ok(Says::Name(name));
                    }
                }
                gimli::DW_AT_name => {
                    if let Ok(name) = dwarf.attr_string(unit, value) {
                        steps.take(name.len() as u64 / 64)?;
                        says = Says::Name(name);
                    }
                }
                gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => {
                    if matches!(says, Says::Nothing) {
                        says = Says::Goes(value);
                    }
                }
                _ => {}
            }
        }
        Ok(says)
    }
}

impl Name {
    fn new(raw: &[u8]) -> Self {
        // Longer ones are cut by demangling; what is compared with symbols need not be longer.
        match raw.get(..NAME_MAX_BYTES) {
            Some(kept) => Self {
                raw: kept.into(),
                shown: OnceLock::from(Arc::from(demangle(raw))),
            },
            None => Self {
                raw: raw.into(),
                shown: OnceLock::new(),
            },
        }
    }

    /// As it goes into a frame. Most frames are called as their symbol is: then nobody asks.
    pub(crate) fn shown(&self) -> &Arc<str> {
        self.shown.get_or_init(|| demangle(&self.raw).into())
    }
}
