//! The kernel's own image, where the user has it: its symbols with their sizes, its debug information.

use crate::elf::{ElfError, ElfImage, ElfLimits, Wanted};
use crate::image::Image;
use crate::locate::PlaceId;
use crate::lookup::{Lookup, View};
use crate::name::Named;
use crate::native::{self, ImageOffsets};
use crate::pins::RootRef;
use crate::problem::Problem;
use crate::source::{IMAGE_LIMIT_BYTES, build_id_of};
use crate::stack::FrameKind;
use profiler::BuildId;
use profiler::files::{BoundedFile, FileError, HeldFile, LastLink, TargetRoot};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a file is no kernel's image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmlinuxError {
    /// It cannot be opened or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is damaged, or something else, as a compressed vmlinuz.
    #[error("{0}")]
    NotElf(String),
    /// Nothing in it says which build it is.
    #[error("it has no build id")]
    NoBuildId,
}

impl From<ElfError> for VmlinuxError {
    fn from(error: ElfError) -> Self {
        Self::NotElf(error.to_string())
    }
}

/// A kernel's image. It is for whoever opens it to tell whether it is that of the recorded kernel.
#[derive(Debug)]
pub struct Vmlinux {
    held: Arc<HeldFile>,
    path: PathBuf,
    build_id: BuildId,
    segments: ElfImage,
    moved_by: u64,
}

impl Vmlinux {
    /// Opens the file at an absolute path of this host.
    pub fn open(path: &Path) -> Result<Self, VmlinuxError> {
        let held = TargetRoot::host()?.open(path, LastLink::Follow)?;
        let file = open_image(&held)?;
        let limits = ElfLimits::default();
        Ok(Self {
            build_id: build_id_of(&file)?.ok_or(VmlinuxError::NoBuildId)?,
            segments: ElfImage::read(&file, &limits, Wanted::Addresses(&[]))?,
            path: path.to_owned(),
            held: Arc::new(held),
            moved_by: 0,
        })
    }

    /// Which build it is.
    pub fn build_id(&self) -> BuildId {
        self.build_id
    }

    /// Where it has a symbol of its code, as it was linked.
    pub fn address_of(&self, symbol: &str) -> Result<Option<u64>, VmlinuxError> {
        let file = open_image(&self.held)?;
        let limits = ElfLimits::default();
        Ok(ElfImage::address_of(&file, &limits, symbol.as_bytes())?)
    }

    /// The same, as it ran: so much further up than it was linked (wrapping), which a boot may choose
    /// (`CONFIG_RANDOMIZE_BASE`).
    pub fn moved_by(self, by: u64) -> Self {
        Self {
            moved_by: by,
            ..self
        }
    }

    /// Names those of the addresses that lie in it, as an image of a process is named.
    pub(crate) fn name(&self, addrs: &[(PlaceId, u64)], lookup: &Lookup) -> (Named, Vec<Problem>) {
        let offsets: Vec<(PlaceId, u64)> = addrs
            .iter()
            .filter_map(|(id, addr)| {
                let svma = addr.wrapping_sub(self.moved_by);
                Some((*id, self.segments.offset_of(svma)?))
            })
            .collect();
        if offsets.is_empty() {
            return (Named::new(), Vec::new());
        }
        let host = TargetRoot::host().ok();
        let image = ImageOffsets {
            image: Image::given(self.build_id, &self.path, Arc::clone(&self.held)),
            views: host
                .map(|host| View::of_target(Arc::new(host)))
                .into_iter()
                .collect(),
            root_ref: RootRef::Host,
            mistold: None,
            offsets,
        };
        let (named, problems) = native::images(vec![image], lookup);
        let mut named: Vec<_> = named.into_iter().flatten().collect();
        named.retain(|(_, frame)| frame.name.is_ok());
        for (_, frame) in &mut named {
            frame.kind = FrameKind::Kernel;
        }
        (named, problems)
    }
}

fn open_image(held: &HeldFile) -> Result<BoundedFile, FileError> {
    held.open_regular(IMAGE_LIMIT_BYTES)
}
