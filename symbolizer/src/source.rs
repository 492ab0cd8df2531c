//! The bytes of images and maps: opened through the pinned views, checked to be the file that was
//! mapped, given up at a deadline.

use crate::elf::{ElfImage, ElfLimits, ReadAt};
use crate::image::{Image, ImageKey};
use crate::stack::Unresolved;
use profiler::NsPid;
use profiler::files::{BoundedFile, FileError, HeldFile, LastLink, TargetRoot};
use std::io;
use std::path::Path;

/// Largest image that is read; only its headers and symbol tables are.
pub(crate) const IMAGE_LIMIT_BYTES: u64 = 16 << 30;
/// Largest perf map that is read: some five million entries.
const MAP_LIMIT_BYTES: u64 = 1 << 30;

impl ReadAt for BoundedFile {
    fn len_bytes(&self) -> u64 {
        BoundedFile::len_bytes(self)
    }

    fn read_at(&self, offset: u64, len_bytes: u64) -> io::Result<Vec<u8>> {
        BoundedFile::read_at(self, offset, len_bytes).map_err(io::Error::other)
    }
}

/// Reads the symbols of an image from the file that was held, else from the one at its path; the
/// first that is the file that was mapped.
pub(crate) fn read_image(image: &Image, root: Option<&TargetRoot>) -> Result<ElfImage, Unresolved> {
    let file = open_image(image, root)?;
    ElfImage::read(&file, &ElfLimits::default())
        .map_err(|_| Unresolved::Unreadable(image.label.clone()))
}

/// The bytes of an image: of the file that was held, else of the one at its path below `root`; the
/// first that is the file that was mapped.
pub(crate) fn open_image(
    image: &Image,
    root: Option<&TargetRoot>,
) -> Result<BoundedFile, Unresolved> {
    // Also what was held may be another file: its process may have execed before it was held.
    let first = image
        .held
        .as_ref()
        .map(|held| open_checked(held, image, How::Mapped));
    match (first, root) {
        (Some(Ok(file)), _) => Ok(file),
        (Some(Err(reason)), None) => Err(reason),
        (None, None) => Err(Unresolved::Gone(image.label.clone())),
        (_, Some(root)) => match root.open(&image.path, LastLink::Follow) {
            Ok(held) => open_checked(&held, image, How::ByPath),
            Err(FileError::NotFound { .. }) => Err(Unresolved::Gone(image.label.clone())),
            Err(_) => Err(Unresolved::Unreadable(image.label.clone())),
        },
    }
}

/// How a file was found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Mapped,
    ByPath,
}

fn open_checked(held: &HeldFile, image: &Image, how: How) -> Result<BoundedFile, Unresolved> {
    let Image { key, label, .. } = image;
    let replaced = || Unresolved::Replaced(label.clone());
    let unreadable = || Unresolved::Unreadable(label.clone());
    if how == How::ByPath && matches!(key, ImageKey::Path { .. }) {
        return Err(Unresolved::Unverified(label.clone()));
    }
    if !inode_agrees(held, key, how) {
        return Err(replaced());
    }
    let file = held
        .open_regular(IMAGE_LIMIT_BYTES)
        .map_err(|_| unreadable())?;
    if let ImageKey::BuildId(mapped) = key {
        let found =
            ElfImage::read_build_id(&file, &ElfLimits::default()).map_err(|_| unreadable())?;
        if !found.is_some_and(|found| found.matches(mapped)) {
            return Err(replaced());
        }
    }
    Ok(file)
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
    let Ok(found) = held.identity() else {
        return false;
    };
    let is_anonymous_device = found.dev_major == 0 || *major == 0;
    let same_device = (found.dev_major, found.dev_minor) == (*major, *minor);
    match how {
        How::Mapped => is_anonymous_device || (same_device && found.inode == *inode),
        How::ByPath => found.inode == *inode && (same_device || is_anonymous_device),
    }
}

/// A perf map that may be believed, or why there is none.
pub(crate) enum MapFile {
    /// There it is.
    Found(BoundedFile),
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
    let path = format!("/tmp/perf-{}.map", pid.0);
    let opened = root
        .open(Path::new(&path), LastLink::Refuse)
        .and_then(|held| {
            let found = held.identity()?;
            if !owner.may_be(found.uid) {
                return Err(FileError::Io {
                    path: path.clone().into(),
                    source: io::Error::new(
                        io::ErrorKind::PermissionDenied,
                        format!("owned by uid {}", found.uid),
                    ),
                });
            }
            held.open_regular(MAP_LIMIT_BYTES)
        });
    match opened {
        Ok(file) => MapFile::Found(file),
        Err(FileError::NotFound { .. }) => MapFile::Absent,
        Err(error) => MapFile::Refused(error),
    }
}
