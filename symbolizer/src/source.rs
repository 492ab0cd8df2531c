//! The bytes of images and maps: opened through the views that lead to them, checked to be the file
//! that was mapped, given up at a deadline.

use crate::elf::{ElfImage, ElfLimits, ReadAt, Wanted};
use crate::image::{Image, ImageKey};
use crate::lookup::{Lookup, RecordedOn, Trust, View};
use crate::problem::Problem;
use crate::stack::Unresolved;
use profiler::files::{BoundedFile, FileError, HeldFile, LastLink, TargetRoot};
use profiler::{BuildId, NsPid};
use std::io;
use std::path::{Path, PathBuf};

/// Largest image that is read; only its headers and symbol tables are.
pub(crate) const IMAGE_LIMIT_BYTES: u64 = 16 << 30;
/// Largest perf map that is read: some five million entries.
const MAP_LIMIT_BYTES: u64 = 1 << 30;

impl ReadAt for BoundedFile {
    fn len_bytes(&self) -> u64 {
        BoundedFile::len_bytes(self)
    }

    fn read_again(&self, offset: u64, len_bytes: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
        BoundedFile::read_again(self, offset, len_bytes, bytes).map_err(io::Error::other)
    }
}

/// An image's bytes, and what there is to say of the search.
pub(crate) struct FoundImage {
    pub(crate) file: Result<BoundedFile, Unresolved>,
    pub(crate) problem: Option<Problem>,
}

/// The bytes of an image: of the file that was held, of the one at its path below one of `views`, of
/// what the caches have under its build id; the first that is the file that was mapped.
pub(crate) fn find_image(image: &Image, views: &[View], lookup: &Lookup) -> FoundImage {
    let mut refused = Refused::default();
    // Also what was held may be another file: its process may have execed before it was held.
    if let Some(held) = &image.held {
        match open_checked(held, image, How::Mapped) {
            Ok(file) => return FoundImage::checked(file),
            Err(refusal) => refused.note(refusal, || image.path.clone()),
        }
    }
    for view in views {
        let how = match view.trust {
            Trust::Vouched => How::Vouched,
            Trust::Checked if lookup.recorded_on() == RecordedOn::Elsewhere => How::ByPathElsewhere,
            Trust::Checked => How::ByPath,
        };
        let opened = match view.open(&image.path) {
            Ok(held) => open_checked(&held, image, how),
            Err(FileError::NotFound { .. }) => Err(Refusal::Absent),
            Err(_) => Err(Refusal::Unreadable),
        };
        match opened {
            Ok(file) if how == How::Vouched && image.build_id().is_none() => {
                return FoundImage {
                    file: Ok(file),
                    problem: Some(Problem::Unchecked {
                        file: view.show(&image.path),
                        others: 0,
                    }),
                };
            }
            Ok(file) => return FoundImage::checked(file),
            Err(refusal) => refused.note(refusal, || view.show(&image.path)),
        }
    }
    if let Some(id) = image.build_id() {
        let mut cached = lookup.cached(&id, "elf");
        if let Some(file) =
            cached.find_map(|(_, held)| open_checked(&held, image, How::ByPath).ok())
        {
            return FoundImage::checked(file);
        }
    }
    refused.into_found(image)
}

impl FoundImage {
    fn checked(file: BoundedFile) -> Self {
        Self {
            file: Ok(file),
            problem: None,
        }
    }
}

/// How a file was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Mapped,
    ByPath,
    /// Inodes of this host say nothing.
    ByPathElsewhere,
    /// The user says what it is: without a build id to compare it is believed.
    Vouched,
}

/// Why a file is not used; the worse, the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Refusal {
    Absent,
    Unreadable,
    Unverified,
    OtherInode,
    /// The build id that it has.
    OtherId(Option<BuildId>),
}

/// What was tried in vain.
#[derive(Default)]
struct Refused {
    worst: Option<(Refusal, PathBuf)>,
}

impl Refused {
    fn note(&mut self, refusal: Refusal, shown: impl FnOnce() -> PathBuf) {
        if self
            .worst
            .as_ref()
            .is_none_or(|(worst, _)| refusal > *worst)
        {
            self.worst = Some((refusal, shown()));
        }
    }

    fn into_found(self, image: &Image) -> FoundImage {
        let label = || image.label.clone();
        let (refusal, file) = self.worst.unwrap_or((Refusal::Absent, image.path.clone()));
        let (reason, found) = match refusal {
            Refusal::Absent => (Unresolved::Gone(label()), None),
            Refusal::Unreadable => (Unresolved::Unreadable(label()), None),
            Refusal::Unverified => (Unresolved::Unverified(label()), None),
            Refusal::OtherInode => (Unresolved::Replaced(label()), None),
            Refusal::OtherId(found) => (Unresolved::Replaced(label()), Some(found)),
        };
        let problem = found
            .zip(image.build_id())
            .map(|(found, recorded)| Problem::ImageReplaced {
                file,
                found,
                recorded,
            });
        FoundImage {
            file: Err(reason),
            problem,
        }
    }
}

fn open_checked(held: &HeldFile, image: &Image, how: How) -> Result<BoundedFile, Refusal> {
    let cannot_be_checked = match image.key {
        ImageKey::BuildId(_) => false,
        ImageKey::Inode { .. } => how == How::ByPathElsewhere,
        ImageKey::Path { .. } => matches!(how, How::ByPath | How::ByPathElsewhere),
    };
    if cannot_be_checked {
        return Err(Refusal::Unverified);
    }
    if !inode_agrees(held, &image.key, how) {
        return Err(Refusal::OtherInode);
    }
    let file = held
        .open_regular(IMAGE_LIMIT_BYTES)
        .map_err(|_| Refusal::Unreadable)?;
    if let ImageKey::BuildId(mapped) = &image.key {
        let found = build_id_of(&file).map_err(|_| Refusal::Unreadable)?;
        if !found.is_some_and(|found| found.matches(mapped)) {
            return Err(Refusal::OtherId(found));
        }
    }
    Ok(file)
}

/// The build id that a file has.
pub(crate) fn build_id_of(file: &BoundedFile) -> Result<Option<BuildId>, crate::elf::ElfError> {
    ElfImage::read_build_id(file, &ElfLimits::default())
}

/// What a held file says as an ELF image, if it has this build id.
pub(crate) fn read_with_id(held: &HeldFile, id: &BuildId, wanted: Wanted<'_>) -> Option<ElfImage> {
    let file = held.open_regular(IMAGE_LIMIT_BYTES).ok()?;
    let found = build_id_of(&file).ok()??;
    if !found.matches(id) {
        return None;
    }
    ElfImage::read(&file, &ElfLimits::default(), wanted).ok()
}

/// Whether a file can be the one with this inode. On overlayfs and btrfs (anonymous devices, major
/// 0) the mapping's numbers and `stat`'s need not be of the same file system: there the device is
/// not compared, and the inode only of what was found by its path.
fn inode_agrees(held: &HeldFile, key: &ImageKey, how: How) -> bool {
    let ImageKey::Inode {
        major,
        minor,
        inode,
        ..
    } = key
    else {
        return true;
    };
    if how == How::Vouched {
        return true;
    }
    let Ok(found) = held.identity() else {
        return false;
    };
    let is_anonymous_device = found.dev_major == 0 || *major == 0;
    let same_device = (found.dev_major, found.dev_minor) == (*major, *minor);
    match how {
        How::Mapped => is_anonymous_device || (same_device && found.inode == *inode),
        _ => found.inode == *inode && (same_device || is_anonymous_device),
    }
}

/// A perf map that may be believed, or why there is none.
pub(crate) enum MapFile {
    /// There it is.
    Found {
        file: BoundedFile,
        /// As [`HeldFile::changed_ns`].
        changed_ns: u64,
    },
    /// The program wrote none.
    Absent,
    /// There is something under its name that is not read.
    Refused(FileError),
}

/// Whose maps are believed, besides root's: anyone may write into /tmp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapOwner {
    /// This uid's.
    Uid(u32),
    /// Nobody's: the process was never seen alive.
    Root,
    /// Anyone's: of a recording in a file nobody knows any more who its processes were.
    Anyone,
}

impl MapOwner {
    fn may_be(self, uid: u32) -> bool {
        uid == 0 || self == Self::Anyone || self == Self::Uid(uid)
    }
}

/// `/tmp/perf-PID.map` below `root`, where PID is the process's pid as it sees itself.
pub(crate) fn open_map(root: &TargetRoot, pid: NsPid, owner: MapOwner) -> MapFile {
    match hold_map(root, pid, owner) {
        Ok(held) => open_held_map(&held),
        Err(FileError::NotFound { .. }) => MapFile::Absent,
        Err(error) => MapFile::Refused(error),
    }
}

/// Holds that map, without opening it.
pub(crate) fn hold_map(
    root: &TargetRoot,
    pid: NsPid,
    owner: MapOwner,
) -> Result<HeldFile, FileError> {
    let path = map_path(pid);
    let held = root.open(&path, LastLink::Refuse)?;
    let found = held.identity()?;
    if owner.may_be(found.uid) {
        return Ok(held);
    }
    Err(FileError::Io {
        path,
        source: io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("owned by uid {}", found.uid),
        ),
    })
}

/// A map that was held, whoever's it is.
pub(crate) fn open_held_map(held: &HeldFile) -> MapFile {
    let opened = held.open_regular(MAP_LIMIT_BYTES);
    match opened.and_then(|file| Ok((file, held.changed_ns()?))) {
        Ok((file, changed_ns)) => MapFile::Found { file, changed_ns },
        Err(error) => MapFile::Refused(error),
    }
}

pub(crate) fn map_path(pid: NsPid) -> PathBuf {
    format!("/tmp/perf-{}.map", pid.0).into()
}

/// The map that the user gave: whoever's it is.
pub(crate) fn open_given_map(host: &TargetRoot, path: &Path) -> MapFile {
    match host.open(path, LastLink::Follow) {
        Ok(held) => open_held_map(&held),
        Err(error) => MapFile::Refused(error),
    }
}
