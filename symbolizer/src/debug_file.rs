//! The files that know more of an image than it does itself: its symbols, where it was stripped of them, and
//! its debug information. None is used that is not proven to be of this image.

use crate::debug_info::{DebugInfo, InfoFile};
use crate::debug_link::{DebugLink, SharedLink};
use crate::elf::{Contents, ElfError, ElfImage, ElfLimits, Symbol, Wanted};
use crate::image::Image;
use crate::lookup::{Inlines, Lookup, View, split_id};
use crate::mini_debug;
use crate::problem::Problem;
use crate::source::{FoundImage, IMAGE_LIMIT_BYTES, build_id_of, find_image};
use crate::stack::Unresolved;
use profiler::BuildId;
use profiler::files::{BoundedFile, HeldFile};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where distributions put debug files.
const DEBUG_DIR: &str = "/usr/lib/debug";

/// Symbols by file offset, of those offsets that they were read for.
#[derive(Debug)]
pub(crate) struct ImageSymbols {
    /// The segments are this one's: those of a debug file need not lie where the image's do.
    image: ElfImage,
    debug: Option<ElfImage>,
    /// What may say more than they do, where that is wanted. Not read yet: it may be large.
    pub(crate) info: Option<DebugInfo>,
    /// The build id of a debug file that would say more, and was not found.
    pub(crate) lacks: Option<BuildId>,
}

impl ImageSymbols {
    /// The function that covers a byte of the image: of two tables' the one that starts last, as in one.
    pub(crate) fn lookup(&self, file_offset: u64) -> Option<Symbol<'_>> {
        let svma = self.image.svma_of(file_offset)?;
        let in_debug = self.debug.as_ref().and_then(|debug| debug.lookup(svma));
        match (in_debug, self.image.lookup(svma)) {
            (Some(debug), Some(own)) if own.start > debug.start => Some(own),
            (debug, own) => debug.or(own),
        }
    }

    /// The address that the linker gave to a byte of the image.
    pub(crate) fn svma_of(&self, file_offset: u64) -> Option<u64> {
        self.image.svma_of(file_offset)
    }
}

/// Reads the symbols of an image that cover `offsets`, finds its debug information where that is wanted, and
/// tells what there is to say of the search.
pub(crate) fn read_symbols(
    image: &Image,
    offsets: &[u64],
    views: &[View],
    lookup: &Lookup,
) -> (Result<ImageSymbols, Unresolved>, Option<Problem>) {
    let FoundImage { file, problem } = find_image(image, views, lookup);
    let mut search = Search {
        id: image.build_id(),
        path: &image.path,
        link: None,
        views,
        lookup,
    };
    match file {
        Ok(file) => {
            let symbols = read_found(file, &mut search, offsets)
                .map_err(|_| Unresolved::Unreadable(image.label.clone()));
            (symbols, problem)
        }
        Err(reason) => match read_alone(&search, offsets) {
            Some(symbols) => (Ok(symbols), None),
            None => (Err(reason), problem),
        },
    }
}

fn read_found(
    file: BoundedFile,
    search: &mut Search<'_>,
    offsets: &[u64],
) -> Result<ImageSymbols, ElfError> {
    let limits = ElfLimits::default();
    let elf = ElfImage::read(&file, &limits, Wanted::Offsets(offsets))?;
    let mut symbols = ImageSymbols {
        image: elf,
        debug: None,
        info: None,
        lacks: None,
    };
    let sections = Contents::read(&file, &limits)?;
    let own_info = has_info(&sections);
    let has_symtab = symbols.image.has_symtab();
    let wants_inlines = search.lookup.inlines() == Inlines::Named;
    let names_all = |symbols: &ImageSymbols| offsets.iter().all(|at| symbols.lookup(*at).is_some());
    let mut info = None;
    if !has_symtab || (!own_info && (wants_inlines || !names_all(&symbols))) {
        if search.id.is_none() {
            search.id = build_id_of(&file)?;
        }
        search.link = DebugLink::read(&file, &sections);
        let addresses: Vec<u64> = offsets
            .iter()
            .filter_map(|at| symbols.svma_of(*at))
            .collect();
        let wanted = Wanted::Addresses(&addresses);
        for found in search.files() {
            if !has_symtab && symbols.debug.is_none() {
                symbols.debug = found.symbols(wanted);
            }
            if info.is_none() && !own_info && has_info(&found.sections) {
                info = Some(found);
            }
            if (has_symtab || symbols.debug.is_some()) && (own_info || info.is_some()) {
                break;
            }
        }
        if (!has_symtab && symbols.debug.is_none()) || (!own_info && info.is_none()) {
            symbols.lacks = search.id;
        }
        if !has_symtab && symbols.debug.is_none() {
            // One that is damaged is as good as none.
            symbols.debug = mini_debug::read(&file, &sections, wanted).ok().flatten();
        }
    }
    if wants_inlines || !names_all(&symbols) {
        let own = own_info.then(|| DebugFile {
            file,
            sections,
            path: search.path.to_owned(),
            view: search.views.first().cloned(),
        });
        symbols.info = own.or(info).and_then(|found| search.info(found));
    }
    Ok(symbols)
}

/// Of an image that is gone its debug file names it, if that still tells where the code lay in it: most do,
/// some were made so that they do not.
fn read_alone(search: &Search<'_>, offsets: &[u64]) -> Option<ImageSymbols> {
    let tells = |elf: &ElfImage| offsets.iter().all(|at| elf.svma_of(*at).is_some());
    let mut files = search.files();
    let (elf, found) = files.find_map(|found| {
        let elf = found.symbols(Wanted::Offsets(offsets)).filter(tells)?;
        Some((elf, found))
    })?;
    let wants_inlines = search.lookup.inlines() == Inlines::Named;
    Some(ImageSymbols {
        image: elf,
        debug: None,
        lacks: None,
        info: match wants_inlines && has_info(&found.sections) {
            true => search.info(found),
            false => None,
        },
    })
}

fn has_info(sections: &Contents) -> bool {
    sections.has(".debug_info") || sections.has(".zdebug_info")
}

/// A file that is of the image.
struct DebugFile {
    file: BoundedFile,
    sections: Contents,
    /// Where it was found.
    path: PathBuf,
    /// In which view; `None` of a cache's.
    view: Option<View>,
}

impl DebugFile {
    fn open(held: &HeldFile, path: &Path, view: Option<&View>) -> Option<Self> {
        let file = held.open_regular(IMAGE_LIMIT_BYTES).ok()?;
        let sections = Contents::read(&file, &ElfLimits::default()).ok()?;
        Some(Self {
            file,
            sections,
            path: path.to_owned(),
            view: view.cloned(),
        })
    }

    fn build_id(&self) -> Option<BuildId> {
        build_id_of(&self.file).ok()?
    }

    /// Its symbols, if it has more than its loader needs.
    fn symbols(&self, wanted: Wanted<'_>) -> Option<ElfImage> {
        let elf = ElfImage::read(&self.file, &ElfLimits::default(), wanted).ok()?;
        elf.has_symtab().then_some(elf)
    }
}

/// What an image's files are looked for by, and where.
struct Search<'s> {
    id: Option<BuildId>,
    /// As its process saw it.
    path: &'s Path,
    link: Option<DebugLink>,
    views: &'s [View],
    lookup: &'s Lookup,
}

impl Search<'_> {
    /// The files of the image, the best first: by build id in the debug directory of each view, then of this
    /// host, then in the caches; then what its link names; then what was fetched.
    fn files(&self) -> impl Iterator<Item = DebugFile> {
        let by_id = self
            .id
            .into_iter()
            .flat_map(|id| self.with_id(id, self.path));
        by_id.chain(self.linked()).chain(self.fetched())
    }

    fn fetched(&self) -> impl Iterator<Item = DebugFile> {
        let found = self.id.and_then(|id| {
            let (path, held) = self.lookup.fetched(&id)?;
            let found = DebugFile::open(&held, &path, None)?;
            found.build_id()?.matches(&id).then_some(found)
        });
        found.into_iter()
    }

    /// Files with a build id, of what is or was at `path`.
    fn with_id(&self, id: BuildId, path: &Path) -> impl Iterator<Item = DebugFile> {
        let paths = paths(&id, path);
        let views = self.views.iter().chain(self.lookup.host());
        let in_views = views.flat_map(move |view| {
            let paths = paths.clone().into_iter();
            paths.filter_map(move |path| {
                let held = view.open(&path).ok()?;
                DebugFile::open(&held, &path, Some(view))
            })
        });
        let in_caches = ["debug", "elf"].into_iter().flat_map(move |name| {
            let cached = self.lookup.cached(&id, name);
            cached.filter_map(|(path, held)| DebugFile::open(&held, &path, None))
        });
        in_views
            .chain(in_caches)
            .filter(move |found| found.build_id().is_some_and(|found| found.matches(&id)))
    }

    /// Files that the link names. In the view of an image without a build id its checksum proves them; on
    /// this host only a build id does, since what is there was not put there for this image.
    fn linked(&self) -> impl Iterator<Item = DebugFile> {
        let link = self.link.clone().into_iter();
        link.flat_map(move |link| {
            let paths = link.paths(self.path, Path::new(DEBUG_DIR));
            let views = self.views.iter().map(|view| (view, true));
            let host = self.lookup.host().map(|view| (view, false));
            views.chain(host).flat_map(move |(view, may_be_by_sum)| {
                let link = link.clone();
                let paths = paths.clone().into_iter();
                paths.filter_map(move |path| {
                    let held = view.open(&path).ok()?;
                    let mut found = DebugFile::open(&held, &path, Some(view))?;
                    let is_its = match (self.id, found.build_id()) {
                        (Some(id), Some(found)) => found.matches(&id),
                        _ => may_be_by_sum && link.is_of(&mut found.file).ok()?,
                    };
                    is_its.then_some(found)
                })
            })
        })
    }

    /// Debug information, with the files that it refers to as far as they are found.
    fn info(&self, found: DebugFile) -> Option<DebugInfo> {
        let shared = SharedLink::read(&found.file, &found.sections);
        let mut problem = None;
        let shared = shared.and_then(|link| {
            let shared = self.shared(&link, &found);
            if shared.is_none() {
                problem = Some(Problem::DebugInfo {
                    file: found.path.clone(),
                    reason: format!(
                        "{}, which it shares with others, was not found",
                        link.path.display()
                    ),
                });
            }
            InfoFile::main(shared?.into())
        });
        let package = self.package(&found);
        let mut info = DebugInfo::new(found.path.clone(), InfoFile::main(found.into())?);
        info.shared = shared;
        info.package = package;
        info.problem = problem;
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        info.look_for_split(self.views.to_vec(), dir);
        Some(info)
    }

    /// What `dwz` moved out of a file: by its build id, else where the file says.
    fn shared(&self, link: &SharedLink, of: &DebugFile) -> Option<DebugFile> {
        let dir = of.path.parent().unwrap_or(Path::new("/"));
        let path = dir.join(&link.path);
        let by_id = self.with_id(link.id, &path);
        let views = of.view.iter().chain(self.views).chain(self.lookup.host());
        let by_path = views.filter_map(|view| {
            let found = DebugFile::open(&view.open(&path).ok()?, &path, Some(view))?;
            found.build_id()?.matches(&link.id).then_some(found)
        });
        by_id.chain(by_path).find(|found| has_info(&found.sections))
    }

    /// The package of split debug information, beside the image or its debug file. What is in it is told by
    /// ids of its own.
    fn package(&self, found: &DebugFile) -> Option<InfoFile> {
        let places = [found.path.as_path(), self.path];
        let views = found.view.iter().chain(self.views);
        let mut packages = views.flat_map(|view| {
            places.into_iter().filter_map(move |path| {
                let path = with_suffix(path, ".dwp");
                let held = view.open(&path).ok()?;
                InfoFile::split(DebugFile::open(&held, &path, Some(view))?.into())
            })
        });
        packages.next()
    }
}

impl From<DebugFile> for (BoundedFile, Contents) {
    fn from(found: DebugFile) -> Self {
        (found.file, found.sections)
    }
}

/// By build id; by path, as Debian once did and Fedora does.
fn paths(id: &BuildId, image: &Path) -> Vec<PathBuf> {
    let dir = Path::new(DEBUG_DIR);
    let by_path = dir.join(image.strip_prefix("/").unwrap_or(image));
    vec![
        with_suffix(&dir.join(".build-id").join(split_id(id)), ".debug"),
        with_suffix(&by_path, ".debug"),
        by_path,
    ]
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(path);
    path.push(suffix);
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_file_is_looked_for_by_its_build_id_and_by_its_path() {
        let id = BuildId::new(&[0xab, 0xcd, 0xef]).expect("three bytes");
        let expected = [
            "/usr/lib/debug/.build-id/ab/cdef.debug",
            "/usr/lib/debug/usr/bin/x.debug",
            "/usr/lib/debug/usr/bin/x",
        ];
        let found = paths(&id, Path::new("/usr/bin/x"));
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
