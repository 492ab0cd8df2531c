//! Machine code gets its names: by the symbols of its image and of its debug file, and by debug information,
//! which also tells the functions that were put into others.

use crate::debug_file::{ImageSymbols, read_symbols};
use crate::debug_info::DebugInfo;
use crate::demangle::demangle;
use crate::dwarf::Found;
use crate::elf::Symbol;
use crate::hash::FastMap;
use crate::image::Image;
use crate::locate::PlaceId;
use crate::lookup::{Inlines, Lookup, View};
use crate::name::{Named, READ_DEADLINE};
use crate::pins::RootRef;
use crate::problem::Problem;
use crate::stack::{Frame, FrameKind, Unresolved};
use profiler::BuildId;
use profiler::files::within;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

/// Debug information that is in memory at once, unless one image's alone is larger.
const AT_ONCE_BYTES: u64 = 1 << 30;

/// An image and the offsets in it that were sampled.
pub(crate) struct ImageOffsets {
    pub(crate) image: Image,
    /// Where it is looked for by its path, the best first.
    pub(crate) views: Vec<View>,
    pub(crate) root_ref: RootRef,
    /// What to say if it stays unnamed: the build id that was told for it is another file's.
    pub(crate) mistold: Option<Problem>,
    pub(crate) offsets: Vec<(PlaceId, u64)>,
}

/// An image whose symbols were read.
struct WithSymbols {
    label: Arc<str>,
    offsets: Vec<(PlaceId, u64)>,
    symbols: Result<ImageSymbols, Unresolved>,
    /// To be read once more, if a debug file is fetched.
    again: Option<ImageOffsets>,
    /// What its debug information says, by ascending addresses.
    found: Vec<(u64, Found)>,
    problems: Vec<Problem>,
}

/// Names the sampled offsets of each image, images in parallel.
pub(crate) fn images(images: Vec<ImageOffsets>, lookup: &Lookup) -> (Vec<Named>, Vec<Problem>) {
    // Views with a file system that does not answer: asked once, not once for each image.
    let stuck: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    let images = images.into_par_iter();
    let mut images: Vec<WithSymbols> = images
        .map(|image| with_symbols(image, lookup, &stuck))
        .collect();
    let not_fetched = fetch(&mut images, lookup, &stuck);
    ask_debug_info(&mut images, lookup.inlines());
    let named: Vec<(Named, Vec<Problem>)> = images
        .into_par_iter()
        .map(|mut image| {
            let problems = std::mem::take(&mut image.problems);
            (name_offsets(image), problems)
        })
        .collect();
    let (named, problems): (Vec<Named>, Vec<Vec<Problem>>) = named.into_iter().unzip();
    (
        named,
        unchecked_as_one(problems.into_iter().flatten().chain(not_fetched).collect()),
    )
}

fn with_symbols(
    ImageOffsets {
        image,
        views,
        root_ref,
        mistold,
        offsets,
    }: ImageOffsets,
    lookup: &Lookup,
    stuck: &Mutex<BTreeSet<u32>>,
) -> WithSymbols {
    let label = image.label.clone();
    let mut again = lookup.can_fetch().then(|| ImageOffsets {
        image: image.held_again(),
        views: views.clone(),
        root_ref,
        mistold: None,
        offsets: Vec::new(),
    });
    let unreadable = || (Err(Unresolved::Unreadable(label.clone())), None);
    let (symbols, problem) = match root_ref {
        RootRef::Pinned(id) if stuck.lock().is_ok_and(|stuck| stuck.contains(&id)) => unreadable(),
        _ => {
            let asked: Vec<u64> = offsets.iter().map(|(_, offset)| *offset).collect();
            let lookup = lookup.clone();
            let job = move || read_symbols(&image, &asked, &views, &lookup);
            within(READ_DEADLINE, label.as_ref(), job).unwrap_or_else(|_| {
                if let (RootRef::Pinned(id), Ok(mut stuck)) = (root_ref, stuck.lock()) {
                    stuck.insert(id);
                }
                unreadable()
            })
        }
    };
    again.take_if(|_| symbols.as_ref().is_ok_and(|it| it.lacks.is_none()));
    let problem = match &symbols {
        Ok(_) => problem,
        Err(_) => mistold.or(problem),
    };
    WithSymbols {
        label,
        offsets,
        symbols,
        again,
        found: Vec::new(),
        problems: problem.into_iter().collect(),
    }
}

/// Has the debug files fetched that were not found, and reads the images once more whose are there then. Those with the
/// most sampled addresses go first: there may be no time for all.
fn fetch(
    images: &mut [WithSymbols],
    lookup: &Lookup,
    stuck: &Mutex<BTreeSet<u32>>,
) -> Option<Problem> {
    let mut lacking: Vec<(usize, BuildId)> = images
        .iter()
        .filter_map(|image| Some((image.offsets.len(), image.lacks()?)))
        .collect();
    if lacking.is_empty() {
        return None;
    }
    lacking.sort_by_key(|(offsets, id)| (Reverse(*offsets), id.to_string()));
    let mut ids: Vec<BuildId> = lacking.into_iter().map(|(_, id)| id).collect();
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(*id));
    let fetched = lookup.fetch(&ids);
    let missing = ids.len() - fetched.here.len();
    images.par_iter_mut().for_each(|image| {
        let is_here = image.lacks().is_some_and(|id| fetched.here.contains(&id));
        if let Some(mut again) = image.again.take().filter(|_| is_here) {
            again.offsets = std::mem::take(&mut image.offsets);
            *image = with_symbols(again, lookup, stuck);
        }
    });
    let problem = |reason| Problem::NotFetched { missing, reason };
    fetched.failed.map(problem)
}

/// Asks the debug information that was found: of several images at once, as far as memory allows.
fn ask_debug_info(images: &mut [WithSymbols], inlines: Inlines) {
    let mut waiting: Vec<(&mut WithSymbols, DebugInfo, Vec<u64>)> = images
        .iter_mut()
        .filter_map(|image| {
            let info = image.symbols.as_mut().ok()?.info.take()?;
            let wanted = image.wanted(inlines);
            Some((image, info, wanted))
        })
        .collect();
    while !waiting.is_empty() {
        let mut bytes: u64 = 0;
        let fits = waiting.iter().take_while(|(_, info, _)| {
            bytes = bytes.saturating_add(info.inflated_bytes());
            bytes <= AT_ONCE_BYTES
        });
        let count = fits.count().max(1);
        let rest = waiting.split_off(count);
        waiting.into_par_iter().for_each(|(image, info, wanted)| {
            let (found, problem) = info.look_up(&wanted);
            let found = wanted.into_iter().zip(found.into_iter().flatten());
            image.found = found.filter_map(|(at, found)| Some((at, found?))).collect();
            image.problems.extend(problem);
        });
        waiting = rest;
    }
}

impl WithSymbols {
    /// The build id of a debug file that would say more.
    fn lacks(&self) -> Option<BuildId> {
        let again = self.again.as_ref()?;
        match &self.symbols {
            Ok(symbols) => symbols.lacks,
            Err(_) => again.image.build_id(),
        }
    }

    /// The addresses that debug information is asked about, ascending.
    fn wanted(&self, inlines: Inlines) -> Vec<u64> {
        let Ok(symbols) = &self.symbols else {
            return Vec::new();
        };
        let offsets = self.offsets.iter().map(|(_, offset)| *offset);
        let mut wanted: Vec<u64> = offsets
            .filter(|at| inlines == Inlines::Named || symbols.lookup(*at).is_none())
            .filter_map(|at| symbols.svma_of(at))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    fn found(&self, svma: Option<u64>) -> Option<&Found> {
        let at = self
            .found
            .binary_search_by_key(&svma?, |(at, _)| *at)
            .ok()?;
        Some(&self.found.get(at)?.1)
    }
}

/// Files that nothing checks come by the dozen: one line for all.
fn unchecked_as_one(problems: Vec<Problem>) -> Vec<Problem> {
    let is_unchecked = |problem: &Problem| matches!(problem, Problem::Unchecked { .. });
    let (unchecked, mut rest): (Vec<_>, Vec<_>) = problems.into_iter().partition(is_unchecked);
    let more = unchecked.len().saturating_sub(1);
    if let Some(Problem::Unchecked { file, .. }) = unchecked.into_iter().next() {
        rest.push(Problem::Unchecked { file, others: more });
    }
    rest
}

/// Who says what a function is called, and whether what was put into it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// The symbol alone: debug information knows nothing, or means another function.
    Symbol,
    /// The symbol; debug information means the same function and says what was put into it.
    SymbolOfBoth,
    /// Debug information: there is no symbol, or only one that starts before this function and reaches over
    /// it (without a size, or around it).
    DebugInfo,
}

fn who_says(symbol: Option<&Symbol<'_>>, found: Option<&Found>) -> Option<Says> {
    Some(match (symbol, found) {
        (None, None) => return None,
        (Some(_), None) => Says::Symbol,
        (None, Some(_)) => Says::DebugInfo,
        (Some(symbol), Some(found)) => {
            let name = found.name.as_ref();
            let is_same_name = name.is_some_and(|name| *name.raw == *symbol.name);
            if symbol.start == found.begin || is_same_name {
                Says::SymbolOfBoth
            } else if symbol.start < found.begin && name.is_some() {
                Says::DebugInfo
            } else {
                Says::Symbol
            }
        }
    })
}

fn name_offsets(image: WithSymbols) -> Named {
    let mut names: FastMap<u64, Arc<str>> = FastMap::default();
    let stripped = || Err(Unresolved::Stripped(image.label.clone()));
    let mut frame = |offset: u64| {
        let (symbol, found) = match &image.symbols {
            Ok(symbols) => (symbols.lookup(offset), image.found(symbols.svma_of(offset))),
            Err(reason) => return Frame::new(Err(reason.clone()), FrameKind::Native),
        };
        let says = who_says(symbol.as_ref(), found);
        let name = match (says, &symbol) {
            (Some(Says::Symbol | Says::SymbolOfBoth), Some(symbol)) => Ok(Arc::clone(
                names
                    .entry(symbol.start)
                    .or_insert_with(|| demangle(&symbol.name).as_ref().into()),
            )),
            _ => match found.and_then(|found| found.name.as_ref()) {
                Some(name) => Ok(Arc::clone(name.shown())),
                None => stripped(),
            },
        };
        let mut frame = Frame::new(name, FrameKind::Native);
        if let (Some(Says::SymbolOfBoth | Says::DebugInfo), Some(found)) = (says, found) {
            frame.inlined = Arc::clone(&found.inlined);
        }
        frame
    };
    let offsets = image.offsets.iter();
    offsets.map(|(id, offset)| (*id, frame(*offset))).collect()
}
