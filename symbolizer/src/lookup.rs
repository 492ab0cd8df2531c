//! Where names are looked for besides the files that were held: views of files below which a path
//! leads to an image, caches that know images by their build ids, what the user gave.
//!
//! Nothing here is believed for where it lies: whoever opens an image checks that it is the one that
//! was mapped.

use crate::context::Place;
use crate::kernel::Vmlinux;
use profiler::BuildId;
use profiler::files::{BoundedFile, FileError, HeldFile, LastLink, TargetRoot};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest copy of kallsyms that is read: some ten times that of a large kernel.
const KALLSYMS_LIMIT_BYTES: u64 = 128 << 20;

/// What is known of where a recording was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordedOn {
    /// On this host, since it was booted: its processes may still be here.
    Here,
    /// On another host: paths and pids of this one say nothing about it, inodes neither.
    Elsewhere,
    /// Perhaps here, perhaps before this boot.
    #[default]
    Unknown,
}

/// What becomes of functions that the compiler put into others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inlines {
    /// They are told, as far as debug information tells them.
    #[default]
    Named,
    /// They are left out, and debug information is read only for what has no other name.
    Dropped,
}

/// Tells which of the sysroots, by their index, belong to the container of a task.
pub type SysrootOf = Arc<dyn Fn(&Place<'_>) -> Vec<usize> + Send + Sync>;

/// What became of fetching debug files.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Those that are in the cache now.
    pub here: Vec<BuildId>,
    /// Why others are not, where nobody said that there are none.
    pub failed: Option<String>,
}

/// Puts debug files with these build ids into a cache, as far as it can in the time that it has.
pub type FetchDebugFiles = Arc<dyn Fn(&[BuildId]) -> Fetched + Send + Sync>;

/// What the user said about where names are.
#[derive(Default)]
pub struct LookupPlaces {
    /// Stands for this host's `/`: for what was recorded elsewhere.
    pub symfs: Option<PathBuf>,
    /// Root directories of containers.
    pub sysroots: Vec<PathBuf>,
    /// Whose they are; nobody's where there is none.
    pub sysroot_of: Option<SysrootOf>,
    /// perf maps by the host pid that was recorded. Absolute paths of this host.
    pub perf_maps: Vec<(u32, PathBuf)>,
    /// Directories of `perf buildid-cache` (`~/.debug`); those that do not exist are left out.
    pub build_id_dirs: Vec<PathBuf>,
}

/// Where names are looked for. Cheap to clone.
#[derive(Clone)]
pub struct Lookup {
    symfs: Option<View>,
    sysroots: Vec<View>,
    sysroot_of: Option<SysrootOf>,
    host: Option<View>,
    caches: Vec<View>,
    perf_maps: BTreeMap<u32, Arc<Path>>,
    recorded_on: RecordedOn,
    inlines: Inlines,
    fetching: Option<Fetching>,
    vmlinux: Option<Arc<Vmlinux>>,
}

/// Debug files that are fetched, and where they are then.
#[derive(Clone)]
struct Fetching {
    cache: View,
    fetch: FetchDebugFiles,
}

/// A directory as the root of what lies below it.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) root: Arc<TargetRoot>,
    /// What stands before a path below it in messages; empty for a root of its own.
    shown: Arc<Path>,
    pub(crate) trust: Trust,
}

/// What a file in a view is if the recording does not tell how to check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Anything: not used.
    Checked,
    /// What the user says it is.
    Vouched,
}

impl View {
    /// A process's own view of files, or this host's.
    pub(crate) fn of_target(root: Arc<TargetRoot>) -> Self {
        Self {
            root,
            shown: Path::new("").into(),
            trust: Trust::Checked,
        }
    }

    fn of_directory(dir: &Path, trust: Trust) -> Result<Self, FileError> {
        Ok(Self {
            root: Arc::new(TargetRoot::of_directory(dir)?),
            shown: dir.into(),
            trust,
        })
    }

    /// Holds the file at a path of this view.
    pub(crate) fn open(&self, path: &Path) -> Result<HeldFile, FileError> {
        self.root.open(path, LastLink::Follow)
    }

    /// The path as the user would write it on this host.
    pub(crate) fn show(&self, path: &Path) -> PathBuf {
        if self.shown.as_os_str().is_empty() {
            return path.to_owned();
        }
        self.shown.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Lookup {
    /// Opens the directories that the user named: one that is none is an error.
    pub fn open(places: LookupPlaces) -> Result<Self, FileError> {
        let vouched = |dir: &PathBuf| View::of_directory(dir, Trust::Vouched);
        let caches = places.build_id_dirs.iter();
        Ok(Self {
            symfs: places.symfs.as_ref().map(vouched).transpose()?,
            sysroots: places
                .sysroots
                .iter()
                .map(vouched)
                .collect::<Result<_, _>>()?,
            sysroot_of: places.sysroot_of,
            caches: caches
                .filter_map(|dir| View::of_directory(dir, Trust::Checked).ok())
                .collect(),
            perf_maps: places
                .perf_maps
                .into_iter()
                .map(|(pid, path)| (pid, path.into()))
                .collect(),
            ..Self::of_host()
        })
    }

    /// What a recording of this host needs beside its containers' own files: the host's debug files.
    pub fn of_host() -> Self {
        let host = TargetRoot::host().ok();
        Self {
            symfs: None,
            sysroots: Vec::new(),
            sysroot_of: None,
            host: host.map(|root| View::of_target(Arc::new(root))),
            caches: Vec::new(),
            perf_maps: BTreeMap::new(),
            recorded_on: RecordedOn::Unknown,
            inlines: Inlines::Named,
            fetching: None,
            vmlinux: None,
        }
    }

    /// The same, with debug files that `fetch` puts into `cache`, a directory, as `ID/debuginfo`.
    pub fn with_fetched(mut self, cache: &Path, fetch: FetchDebugFiles) -> Result<Self, FileError> {
        let cache = View::of_directory(cache, Trust::Checked)?;
        self.fetching = Some(Fetching { cache, fetch });
        Ok(self)
    }

    pub(crate) fn can_fetch(&self) -> bool {
        self.fetching.is_some()
    }

    pub(crate) fn fetch(&self, ids: &[BuildId]) -> Fetched {
        let fetching = self.fetching.as_ref();
        fetching.map_or_else(Fetched::default, |fetching| (fetching.fetch)(ids))
    }

    /// A debug file that was fetched, now or before. Not checked.
    pub(crate) fn fetched(&self, id: &BuildId) -> Option<(PathBuf, HeldFile)> {
        let cache = &self.fetching.as_ref()?.cache;
        let path = Path::new("/").join(id.to_string()).join("debuginfo");
        Some((cache.show(&path), cache.open(&path).ok()?))
    }

    /// The same, with or without functions that were put into others.
    pub fn with_inlines(mut self, inlines: Inlines) -> Self {
        self.inlines = inlines;
        self
    }

    /// The same, with the recorded kernel's own image.
    pub fn with_vmlinux(mut self, vmlinux: Option<Vmlinux>) -> Self {
        self.vmlinux = vmlinux.map(Arc::new);
        self
    }

    pub(crate) fn vmlinux(&self) -> Option<&Vmlinux> {
        self.vmlinux.as_deref()
    }

    pub(crate) fn inlines(&self) -> Inlines {
        self.inlines
    }

    /// The same, for a recording of which this is known by now.
    pub fn recorded(mut self, on: RecordedOn) -> Self {
        self.recorded_on = on;
        self
    }

    pub(crate) fn recorded_on(&self) -> RecordedOn {
        self.recorded_on
    }

    /// This host's own files.
    pub(crate) fn host(&self) -> Option<&View> {
        self.host.as_ref()
    }

    pub(crate) fn has_sysroots(&self) -> bool {
        !self.sysroots.is_empty()
    }

    /// The sysroots of a task's container, by their index.
    pub(crate) fn sysroots_of(&self, place: &Place<'_>) -> Vec<usize> {
        let of = self.sysroot_of.as_ref();
        of.map(|of| of(place)).unwrap_or_default()
    }

    /// Where the images of a recording in a file are looked for, the best first: in the sysroots of the
    /// containers that mapped them, in a view that still is there, below what stands for `/`.
    pub(crate) fn views(
        &self,
        sysroots: impl IntoIterator<Item = usize>,
        own: Option<View>,
    ) -> Vec<View> {
        let sysroots = sysroots.into_iter();
        sysroots
            .filter_map(|index| self.sysroots.get(index).cloned())
            .chain(own)
            .chain(self.symfs.as_ref().or(self.host.as_ref()).cloned())
            .collect()
    }

    pub(crate) fn perf_map(&self, host_pid: u32) -> Option<&Arc<Path>> {
        self.perf_maps.get(&host_pid)
    }

    /// All maps that the user gave, by pid.
    pub(crate) fn perf_maps(&self) -> impl Iterator<Item = (u32, &Path)> {
        self.perf_maps.iter().map(|(pid, path)| (*pid, &**path))
    }

    /// What the caches have under a build id: the file `name` of its directory, or for `elf` also the
    /// link itself, as older perfs made it. Not checked.
    pub(crate) fn cached<'a>(
        &'a self,
        id: &BuildId,
        name: &'static str,
    ) -> impl Iterator<Item = (PathBuf, HeldFile)> + use<'a> {
        let entry = Path::new("/.build-id").join(split_id(id));
        let inside = entry.join(name);
        let direct = (name == "elf").then_some(entry);
        let paths: Vec<PathBuf> = [inside].into_iter().chain(direct).collect();
        self.caches.iter().flat_map(move |cache| {
            let found: Vec<_> = paths
                .iter()
                .filter_map(|path| Some((cache.show(path), cache.open(path).ok()?)))
                .collect();
            found
        })
    }

    /// The copy of kallsyms that perf's cache has of the kernel with this build id. Of some boot of it,
    /// not necessarily of the recorded one.
    pub fn cached_kallsyms(&self, kernel: &BuildId) -> Option<BoundedFile> {
        self.cached(kernel, "kallsyms")
            .find_map(|(_, held)| held.open_regular(KALLSYMS_LIMIT_BYTES).ok())
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup")
            .field("symfs", &self.symfs)
            .field("sysroots", &self.sysroots)
            .field("caches", &self.caches)
            .field("perf_maps", &self.perf_maps)
            .field("recorded_on", &self.recorded_on)
            .field("inlines", &self.inlines)
            .finish_non_exhaustive()
    }
}

/// `ab/cdef…`, as caches and debug directories lay build ids out.
pub(crate) fn split_id(id: &BuildId) -> PathBuf {
    let digits = id.to_string();
    match digits.split_at_checked(2) {
        Some((first, rest)) => Path::new(first).join(rest),
        None => digits.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn id() -> BuildId {
        BuildId::new(&[0xab, 0xcd, 0xef]).expect("three bytes")
    }

    fn text_of(file: BoundedFile) -> String {
        String::from_utf8(file.read_all().expect("it is there")).expect("text")
    }

    fn with_cache(dir: &Path) -> Lookup {
        Lookup::open(LookupPlaces {
            build_id_dirs: vec![dir.to_owned(), "/no/such/cache".into()],
            ..LookupPlaces::default()
        })
        .expect("a missing cache is no error")
    }

    #[test]
    fn a_cache_entry_is_a_directory_of_files_or_the_image_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        let byte = dir.path().join(".build-id/ab");
        fs::create_dir_all(&byte).expect("made");
        fs::create_dir_all(dir.path().join("bin/x/abcdef")).expect("made");
        fs::write(dir.path().join("bin/x/abcdef/elf"), "new").expect("written");
        fs::write(dir.path().join("bin/x/abcdef/kallsyms"), "text").expect("written");
        std::os::unix::fs::symlink("../../bin/x/abcdef", byte.join("cdef")).expect("a link");
        let lookup = with_cache(dir.path());
        let read = |name| -> Vec<String> {
            let found = lookup.cached(&id(), name);
            found
                .map(|(_, held)| text_of(held.open_regular(100).expect("small")))
                .collect()
        };
        assert_eq!(read("elf"), ["new"]);
        assert_eq!(read("vdso"), [""; 0]);
        assert_eq!(
            lookup.cached_kallsyms(&id()).map(text_of),
            Some("text".into())
        );

        fs::remove_file(byte.join("cdef")).expect("removed");
        fs::write(byte.join("cdef"), "old").expect("written");
        let found: Vec<PathBuf> = lookup.cached(&id(), "elf").map(|(path, _)| path).collect();
        assert_eq!(found, [byte.join("cdef")]);
    }

    #[test]
    fn a_link_that_leads_out_of_the_cache_finds_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let byte = dir.path().join(".build-id/ab");
        fs::create_dir_all(&byte).expect("made");
        std::os::unix::fs::symlink("/etc/passwd", byte.join("cdef")).expect("a link");
        assert_eq!(with_cache(dir.path()).cached(&id(), "elf").count(), 0);
    }

    #[test]
    fn a_containers_sysroot_goes_before_what_stands_for_the_host() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
        let path = |at: usize| dirs[at].path().to_owned();
        let lookup = Lookup::open(LookupPlaces {
            symfs: Some(path(0)),
            sysroots: vec![path(1), path(2)],
            sysroot_of: Some(Arc::new(|place| match place.cgroup_path {
                Some("/docker/b") => vec![1],
                _ => vec![],
            })),
            ..LookupPlaces::default()
        })
        .expect("all exist");
        let shown = |cgroup_path| -> Vec<PathBuf> {
            let place = Place {
                pid: None,
                cgroup_path,
                proc_cgroups: None,
                root: None,
            };
            let views = lookup.views(lookup.sysroots_of(&place), None);
            views
                .iter()
                .map(|view| view.show(Path::new("/x")))
                .collect()
        };
        assert_eq!(shown(None), [path(0).join("x")]);
        assert_eq!(
            shown(Some("/docker/b")),
            [path(2).join("x"), path(0).join("x")]
        );
        let missing = Lookup::open(LookupPlaces {
            symfs: Some("/no/such/dir".into()),
            ..LookupPlaces::default()
        });
        assert!(matches!(missing, Err(FileError::NotFound { .. })));
    }
}
