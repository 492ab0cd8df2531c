//! Images that processes mapped: one entry for one file, held open from the first sampled address on.

use crate::pins::RootRef;
use profiler::files::HeldFile;
use profiler::record::MappedFile;
use profiler::{BuildId, HostPid, MntNs};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Index of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ImageId(pub(crate) u32);

/// What makes two mappings one file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ImageKey {
    /// Equal build ids are equal code, in whatever container.
    BuildId(BuildId),
    /// The kernel's device, inode and generation: one file on this host.
    Inode {
        major: u32,
        minor: u32,
        inode: u64,
        generation: u64,
    },
    /// Nothing but a path in a mount namespace.
    Path { mnt: Option<MntNs>, path: Vec<u8> },
}

/// A mapped file.
pub(crate) struct Image {
    pub(crate) key: ImageKey,
    /// Its file name, for labels; as the container wrote it.
    pub(crate) label: Arc<str>,
    /// Its path as seen from the mapping task's root.
    pub(crate) path: PathBuf,
    /// The file itself, once an address in it was sampled.
    pub(crate) held: Option<Arc<HeldFile>>,
    /// Whose root the path is below, for the case that the file itself could not be held.
    pub(crate) root: RootRef,
    attempts_left: u8,
}

impl Image {
    /// An image that no process mapped, as the user gave it.
    pub(crate) fn given(build_id: BuildId, path: &Path, held: Arc<HeldFile>) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str());
        Self {
            key: ImageKey::BuildId(build_id),
            label: name.to_string_lossy().into(),
            path: path.to_owned(),
            held: Some(held),
            root: RootRef::Host,
            attempts_left: 0,
        }
    }

    /// The build id that makes it what it is, where one is known.
    pub(crate) fn build_id(&self) -> Option<BuildId> {
        match self.key {
            ImageKey::BuildId(id) => Some(id),
            _ => None,
        }
    }

    /// The same image without the file that is held of it: to be found by its path.
    pub(crate) fn by_path(&self) -> Self {
        Self {
            key: self.key.clone(),
            label: Arc::clone(&self.label),
            path: self.path.clone(),
            held: None,
            root: self.root,
            attempts_left: 0,
        }
    }

    /// The same image with the file that is held of it.
    pub(crate) fn held_again(&self) -> Self {
        Self {
            held: self.held.clone(),
            ..self.by_path()
        }
    }

    /// Whether enough processes were tried, and the path below some root is left.
    fn is_given_up(&self) -> bool {
        self.attempts_left == 0 && self.root != RootRef::Unknown
    }
}

/// Processes that are tried for one image: each holds it in its own `map_files`.
const ATTEMPTS_MAX: u8 = 8;

/// All images of a recording.
#[derive(Default)]
pub(crate) struct Images {
    images: Vec<Image>,
    by_key: HashMap<ImageKey, ImageId>,
    /// Entries that nothing leads to any more, to be used again.
    free: Vec<ImageId>,
    /// How many the last [`Images::sweep`] left.
    in_use: usize,
    /// Files that were not held because no descriptor is left.
    pub(crate) out_of_files: u64,
}

/// Images that are known at most before those that nothing leads to are forgotten.
const KNOWN_MAX: usize = 1 << 16;

/// Suffix of the path of a mapped file that was unlinked (`d_path()`, fs/d_path.c).
const DELETED: &[u8] = b" (deleted)";

impl Images {
    /// The image of a mapping.
    pub(crate) fn intern(&mut self, file: MappedFile, mnt: Option<MntNs>, path: &[u8]) -> ImageId {
        let key = match file {
            MappedFile::BuildId(id) => ImageKey::BuildId(id),
            MappedFile::Inode {
                major,
                minor,
                inode,
                generation,
            } if inode != 0 => ImageKey::Inode {
                major,
                minor,
                inode,
                generation,
            },
            _ => ImageKey::Path {
                mnt,
                path: path.to_vec(),
            },
        };
        if let Some(id) = self.by_key.get(&key) {
            return *id;
        }
        let path = path.strip_suffix(DELETED).unwrap_or(path);
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let image = Image {
            key: key.clone(),
            label: String::from_utf8_lossy(name).into(),
            path: PathBuf::from(os_string(path)),
            held: None,
            root: RootRef::Unknown,
            attempts_left: ATTEMPTS_MAX,
        };
        let free = self.free.pop();
        let id = match free.and_then(|id| Some((id, self.images.get_mut(id.0 as usize)?))) {
            Some((id, slot)) => {
                *slot = image;
                id
            }
            None => {
                self.images.push(image);
                ImageId(self.images.len() as u32 - 1)
            }
        };
        self.by_key.insert(key, id);
        id
    }

    /// Whether so many are known that those not in use should be forgotten: a program may map new
    /// files without end. At least half are new since the last time, so that the cost of looking
    /// stays in proportion.
    pub(crate) fn want_sweep(&self) -> bool {
        self.by_key.len() >= KNOWN_MAX.max(2 * self.in_use)
    }

    /// Forgets the images that are not in `used`: no mapping leads to them, no sample did.
    pub(crate) fn sweep(&mut self, used: &HashSet<ImageId>) {
        let Self { by_key, free, .. } = self;
        by_key.retain(|_, id| {
            let is_used = used.contains(id);
            if !is_used {
                free.push(*id);
            }
            is_used
        });
        self.in_use = by_key.len();
    }

    pub(crate) fn get(&self, id: ImageId) -> Option<&Image> {
        self.images.get(id.0 as usize)
    }

    /// All entries, by their ids.
    pub(crate) fn all(&self) -> &[Image] {
        &self.images
    }

    /// Whether a sampled address in this image should make it be held.
    pub(crate) fn wants_holding(&self, id: ImageId) -> bool {
        self.get(id)
            .is_some_and(|image| image.held.is_none() && !image.is_given_up())
    }

    /// Holds the file that `pid` has mapped at `avma`; and remembers `root`, below which its path
    /// leads to it as long as nobody replaces it.
    pub(crate) fn hold(&mut self, id: ImageId, pid: HostPid, avma: Range<u64>, root: RootRef) {
        let Some(image) = self.images.get_mut(id.0 as usize) else {
            return;
        };
        if image.root == RootRef::Unknown {
            image.root = root;
        }
        let Some(left) = image.attempts_left.checked_sub(1) else {
            return;
        };
        image.attempts_left = left;
        // A process that ended, or a mapping that was split: the next process is tried, then the path.
        match HeldFile::mapped(pid, avma) {
            Ok(held) => image.held = Some(Arc::new(held)),
            Err(error) => self.out_of_files += u64::from(error.is_out_of_files()),
        }
    }

    /// Holds the file that `pid` still has mapped at `avma`, of a recording in a file.
    pub(crate) fn hold_late(&mut self, id: ImageId, pid: HostPid, avma: Range<u64>, root: RootRef) {
        let Some(image) = self.images.get_mut(id.0 as usize) else {
            return;
        };
        image.root = root;
        if image.held.is_none() {
            match HeldFile::mapped(pid, avma) {
                Ok(held) => image.held = Some(Arc::new(held)),
                Err(error) => self.out_of_files += u64::from(error.is_out_of_files()),
            }
        }
    }

    /// Nothing can be held: its path below `root` is what leads to it, if it is still there.
    pub(crate) fn look_below(&mut self, id: ImageId, root: RootRef) {
        if let Some(image) = self.images.get_mut(id.0 as usize) {
            image.root = root;
            image.attempts_left = 0;
        }
    }

    /// The images, out of the recording.
    pub(crate) fn into_vec(self) -> Vec<Image> {
        self.images
    }
}

fn os_string(bytes: &[u8]) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_build_id_is_one_image_whatever_its_path_and_namespace() {
        let mut images = Images::default();
        let id = MappedFile::BuildId(BuildId::new(&[1; 20]).expect("a build id"));
        let first = images.intern(id, Some(MntNs(1)), b"/app/hot");
        assert_eq!(images.intern(id, Some(MntNs(2)), b"/other"), first);
        let inode = MappedFile::Inode {
            major: 0,
            minor: 30,
            inode: 7,
            generation: 1,
        };
        let replaced = MappedFile::Inode {
            major: 0,
            minor: 30,
            inode: 8,
            generation: 1,
        };
        let one = images.intern(inode, Some(MntNs(1)), b"/app/hot (deleted)");
        assert_ne!(one, first);
        assert_ne!(images.intern(replaced, Some(MntNs(1)), b"/app/hot"), one);
        assert_eq!(
            images
                .get(one)
                .map(|image| (&*image.label, image.path.clone())),
            Some(("hot", "/app/hot".into()))
        );
    }

    #[test]
    fn without_an_inode_the_same_path_in_two_namespaces_is_two_images() {
        let mut images = Images::default();
        let first = images.intern(MappedFile::PathOnly, Some(MntNs(1)), b"/app/hot");
        assert_ne!(
            images.intern(MappedFile::PathOnly, Some(MntNs(2)), b"/app/hot"),
            first
        );
        assert_eq!(
            images.intern(MappedFile::PathOnly, Some(MntNs(1)), b"/app/hot"),
            first
        );
    }

    #[test]
    fn images_that_nothing_leads_to_are_forgotten_and_the_others_stay_what_they_are() {
        let mut images = Images::default();
        let name = |at: usize| format!("/tmp/lib{at}.so").into_bytes();
        let kept = images.intern(MappedFile::PathOnly, None, b"/app/hot");
        let mut at = 0;
        for _ in 0..10 {
            while !images.want_sweep() {
                images.intern(MappedFile::PathOnly, None, &name(at));
                at += 1;
            }
            images.sweep(&HashSet::from([kept]));
        }
        assert!(at > 9 * KNOWN_MAX);
        assert_eq!(
            images.images.len(),
            KNOWN_MAX,
            "their places are used again"
        );
        let again = images.intern(MappedFile::PathOnly, None, b"/app/hot");
        assert_eq!(again, kept);
        let other = images.intern(MappedFile::PathOnly, None, b"/app/other");
        assert_ne!(other, kept);
        let label = |id| images.get(id).map(|image| image.label.to_string());
        assert_eq!(label(kept), Some("hot".into()));
        assert_eq!(label(other), Some("other".into()));
    }
}
