//! The images' call frame information, each read when it is first needed, and kept for all.

use super::CfiSource;
use super::cfi::Cfi;
use crate::elf::{ElfImage, ElfLimits};
use crate::hash::FastMap;
use crate::image::{ImageId, Images};
use crate::lookup::Lookup;
use crate::maps::MapTable;
use crate::name::READ_DEADLINE;
use crate::source::find_image;
use crate::told::{Told, take_told_id};
use crate::vdso::own_image;
use profiler::files::within;
use std::cell::OnceCell;
use std::sync::Arc;

/// Call frame information that is kept of all images together. Those of a whole distribution's
/// processes have some 200 MB.
pub(super) const ALL_BYTES_MAX: u64 = 512 << 20;

/// Whose vdso the recorded processes had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VdsoIs {
    /// That of the kernel that runs here.
    Ours,
    /// Perhaps another one.
    Unknown,
}

/// What was read of images.
pub(crate) struct ImageCfi {
    known: FastMap<ImageId, Option<Arc<Cfi>>>,
    vdso: OnceCell<Option<Arc<Cfi>>>,
    vdso_is: VdsoIs,
    told: Told,
    lookup: Lookup,
    bytes: u64,
    /// A file system did not answer: it is not asked again.
    is_stuck: bool,
}

impl ImageCfi {
    pub(crate) fn new(told: Told, vdso_is: VdsoIs, lookup: Lookup) -> Self {
        Self {
            known: FastMap::default(),
            vdso: OnceCell::new(),
            vdso_is,
            told,
            lookup,
            bytes: 0,
            is_stuck: false,
        }
    }

    /// Forgets all images: their numbers may be others' from now on.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.bytes = 0;
    }

    /// Reads an image's, after it was checked to be the one that was mapped.
    fn read(&mut self, id: ImageId, files: &Files<'_>) -> Option<Arc<Cfi>> {
        if self.is_stuck || self.bytes > ALL_BYTES_MAX {
            return None;
        }
        let mut image = files.images.get(id)?.by_path();
        // What is wrong with it is said when its names are looked for.
        let _ = take_told_id(&mut image, &self.told, &self.lookup);
        let lookup = self.lookup.clone();
        let views = lookup.views((files.sysroots)(&lookup), None);
        let label = Arc::clone(&image.label);
        let read = within(READ_DEADLINE, label.as_ref(), move || {
            let file = find_image(&image, &views, &lookup).file.ok()?;
            Cfi::read(&file, &ElfLimits::default()).ok()?
        });
        self.is_stuck = read.is_err();
        let cfi = read.ok()??;
        self.bytes += cfi.len_bytes();
        Some(Arc::new(cfi))
    }

    fn read_vdso(&self) -> Option<Arc<Cfi>> {
        let image = own_image().ok()?;
        let is_ours = match self.told.vdso() {
            Some(told) => {
                let found = ElfImage::read_build_id(&image, &ElfLimits::default());
                found.ok()?.is_some_and(|found| found.matches(&told))
            }
            None => self.vdso_is == VdsoIs::Ours,
        };
        let cfi = Cfi::read(&image, &ElfLimits::default()).ok()??;
        is_ours.then(|| Arc::new(cfi))
    }
}

/// The vdso's of the kernel that runs here.
pub(super) fn own_vdso() -> Option<Arc<Cfi>> {
    let image = own_image().ok()?;
    Some(Arc::new(Cfi::read(&image, &ElfLimits::default()).ok()??))
}

/// Where a process's images are.
pub(crate) struct Files<'a> {
    /// What it has mapped.
    pub(crate) maps: Option<&'a MapTable>,
    pub(crate) images: &'a Images,
    /// Which of the sysroots are of its container.
    pub(crate) sysroots: &'a dyn Fn(&Lookup) -> Vec<usize>,
}

/// The images of a recording in a file, as a source.
pub(super) struct View<'a> {
    pub(super) cfi: &'a mut ImageCfi,
    pub(super) files: &'a Files<'a>,
}

impl CfiSource for View<'_> {
    fn image(&mut self, id: ImageId) -> Option<Arc<Cfi>> {
        if let Some(known) = self.cfi.known.get(&id) {
            return known.clone();
        }
        let read = self.cfi.read(id, self.files);
        self.cfi.known.insert(id, read.clone());
        read
    }

    fn vdso(&mut self) -> Option<Arc<Cfi>> {
        let cfi = &*self.cfi;
        cfi.vdso.get_or_init(|| cfi.read_vdso()).clone()
    }
}
