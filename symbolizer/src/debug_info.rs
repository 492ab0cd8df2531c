//! Debug information of one image, found and not read yet; read within bounds, and asked.

use crate::dwarf::{DebugSections, Found, Located, Part, Sections, SplitName};
use crate::elf::{Contents, ElfError, ElfLimits};
use crate::lookup::View;
use crate::name::READ_DEADLINE;
use crate::problem::Problem;
use profiler::files::{BoundedFile, within};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most that is read of one image. Chromium's and Firefox's are a third of it.
pub(crate) const INFO_BYTES_MAX: u64 = 4 << 30;
/// Most that is read of one `.dwo`: several are read at once.
const SPLIT_BYTES_MAX: u64 = 256 << 20;
/// Largest file with split debug information; only its sections are read.
const FILE_LIMIT_BYTES: u64 = 16 << 30;
/// A slow file system gets a second more for so many bytes.
const BYTES_A_SECOND: u64 = 128 << 20;

/// A file with debug information, open, its sections found.
#[derive(Debug)]
pub(crate) struct InfoFile {
    file: BoundedFile,
    located: Located,
}

impl InfoFile {
    /// What an image or its debug file has.
    pub(crate) fn main(found: (BoundedFile, Contents)) -> Option<Self> {
        Self::new(found, Part::Main)
    }

    /// What a `.dwo` or `.dwp` has.
    pub(crate) fn split(found: (BoundedFile, Contents)) -> Option<Self> {
        Self::new(found, Part::Split)
    }

    fn new((file, sections): (BoundedFile, Contents), part: Part) -> Option<Self> {
        let located = Located::find(&file, &sections, part).ok()??;
        Some(Self { file, located })
    }

    fn read(&self) -> Result<Sections, ElfError> {
        self.located.read(&self.file)
    }
}

/// Where an image's debug information is.
#[derive(Debug)]
pub(crate) struct DebugInfo {
    /// For messages.
    path: PathBuf,
    main: InfoFile,
    pub(crate) shared: Option<InfoFile>,
    pub(crate) package: Option<InfoFile>,
    split: SplitPlaces,
    /// What there is to say of the search.
    pub(crate) problem: Option<Problem>,
}

/// Where split debug information is looked for.
#[derive(Clone, Debug, Default)]
struct SplitPlaces {
    views: Vec<View>,
    /// The image's directory: programs are carried about with their files.
    dir: PathBuf,
}

impl DebugInfo {
    pub(crate) fn new(path: PathBuf, main: InfoFile) -> Self {
        Self {
            path,
            main,
            shared: None,
            package: None,
            split: SplitPlaces::default(),
            problem: None,
        }
    }

    pub(crate) fn look_for_split(&mut self, views: Vec<View>, dir: &Path) {
        self.split = SplitPlaces {
            views,
            dir: dir.to_owned(),
        };
    }

    /// How much it is in memory.
    pub(crate) fn inflated_bytes(&self) -> u64 {
        let others = [&self.shared, &self.package].into_iter().flatten();
        let files = others.chain([&self.main]);
        files
            .map(|file| file.located.inflated_bytes())
            .fold(0, u64::saturating_add)
    }

    /// What it says of `wanted`, ascending addresses, each in its place; with what there is to say of it.
    pub(crate) fn look_up(self, wanted: &[u64]) -> (Option<Vec<Option<Found>>>, Option<Problem>) {
        let bytes = self.inflated_bytes();
        let problem = |reason| Problem::DebugInfo {
            file: self.path.clone(),
            reason,
        };
        if bytes > INFO_BYTES_MAX {
            let reason = format!("{bytes} bytes, {INFO_BYTES_MAX} are read at most");
            return (None, Some(problem(reason)));
        }
        let deadline = READ_DEADLINE + Duration::from_secs(bytes / BYTES_A_SECOND);
        let shown = self.path.display().to_string();
        let files = (self.main, self.shared, self.package);
        let read = move || -> Result<DebugSections, ElfError> {
            let (main, shared, package) = files;
            Ok(DebugSections {
                main: main.read()?,
                shared: shared.as_ref().map(InfoFile::read).transpose()?,
                package: package.as_ref().map(InfoFile::read).transpose()?,
            })
        };
        let sections = match within(deadline, shown, read) {
            Ok(Ok(sections)) => sections,
            Ok(Err(error)) => return (None, Some(problem(error.to_string()))),
            Err(error) => return (None, Some(problem(error.to_string()))),
        };
        let split = self.split;
        match sections.look_up(wanted, &|name| split.read(name)) {
            Ok(found) => (Some(found), self.problem),
            Err(error) => (None, Some(problem(error.to_string()))),
        }
    }
}

impl SplitPlaces {
    /// The sections of the `.dwo` of this name: where it was written, or beside the image. Whether it is the
    /// right one is not known here.
    fn read(&self, name: &SplitName) -> Option<Sections> {
        let file = Path::new(OsStr::from_bytes(&name.file));
        let written = Path::new(OsStr::from_bytes(&name.dir)).join(file);
        let beside = self.dir.join(file.file_name()?);
        let views = self.views.clone();
        let shown = written.display().to_string();
        let read = move || {
            let mut found = [written, beside]
                .into_iter()
                .flat_map(|path| views.iter().filter_map(move |view| view.open(&path).ok()));
            found.find_map(|held| {
                let file = held.open_regular(FILE_LIMIT_BYTES).ok()?;
                let sections = Contents::read(&file, &ElfLimits::default()).ok()?;
                let file = InfoFile::split((file, sections))?;
                if file.located.inflated_bytes() > SPLIT_BYTES_MAX {
                    return None;
                }
                file.read().ok()
            })
        };
        within(READ_DEADLINE, shown, read).ok().flatten()
    }
}
