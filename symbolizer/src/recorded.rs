//! Names that go into a recording, and names that came with one.

use crate::context::{Context, TagOf};
use crate::elf::{ElfImage, ElfLimits};
use crate::frame_codes::{frame_of, frames_id};
use crate::hash::FastMap;
use crate::image::{Image, ImageId, ImageKey, Images};
use crate::locate::{Place, PlaceId};
use crate::name::{Named, READ_DEADLINE, numbered};
use crate::source::IMAGE_LIMIT_BYTES;
use crate::stack::Frame;
use crate::tally::{Counted, Tally};
use crate::tasks::{SpaceId, Tasks};
use profiler::files::{HeldFile, within};
use profiler::perfdata::ImageBuildId;
use profiler::perfdata::sidecar::{
    FramesId, ImageFile, Jitted, Names, ProcessSeen, Sidecar, SidecarBuilder, SpaceKey, Tagged,
    name_at,
};
use profiler::{BuildId, HostPid};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Whether the names are to go into a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepNames {
    /// They are.
    Yes,
    /// They are only drawn.
    No,
}

/// What a recording says itself.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its tags and names.
    pub sidecar: &'a Sidecar,
    /// When its names are taken; its tags always are.
    pub turn: Turn,
}

/// When the names that came with a recording are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Before any file is looked for: what they name, and what they say has no name, is looked up no
    /// more. So it is drawn as it was recorded.
    First,
    /// For what the files that were found do not name: somebody gave better ones.
    Last,
}

/// What a recording in a file says of its containers.
#[derive(Clone, Debug, Default)]
pub enum RecordedTags {
    /// Nothing: it is not one of ours.
    #[default]
    None,
    /// This.
    Known(Arc<Sidecar>),
    /// What it says comes behind its records, as of one that is read from a pipe.
    Later,
}

impl Tally {
    /// What the recording says of its containers and of generated code: before the first event, or when it
    /// was [`RecordedTags::Later`], before the end.
    pub fn know_tags(&mut self, recorded: RecordedTags) {
        self.recorded = recorded;
    }
}

impl RecordedTags {
    /// What tells which tag a context will have, where that is the recording.
    pub(crate) fn tag_of(&self, context: &Context, tasks: &Tasks) -> Option<TagOf> {
        match self {
            Self::None => None,
            Self::Known(sidecar) => {
                let space = space_key(tasks, context.space);
                sidecar.tag_of(space, context.cgroup).map(TagOf::Recording)
            }
            Self::Later => context.space.map(TagOf::Space),
        }
    }
}

/// What a recording is to carry so that it names itself.
#[derive(Debug, Default)]
pub struct Kept {
    /// Names, tags and processes.
    pub sidecar: SidecarBuilder,
    /// Images that were sampled and have a build id.
    pub build_ids: Vec<ImageBuildId>,
}

/// Of the tasks that have no address space.
const NO_SPACE: SpaceKey = SpaceKey {
    pid: HostPid(u32::MAX),
    began_ns: 0,
};

/// The address space by which a recording knows it.
pub(crate) fn space_key(tasks: &Tasks, id: Option<SpaceId>) -> SpaceKey {
    let space = id.and_then(|id| tasks.space(id));
    space.map_or(NO_SPACE, |space| SpaceKey {
        pid: space.pid,
        began_ns: space.since_ns,
    })
}

impl Counted {
    fn space_key(&self, id: Option<SpaceId>) -> SpaceKey {
        space_key(&self.tasks, id)
    }

    /// The tags that came with the recording, context by context.
    pub(crate) fn known_tags(&self, sidecar: &Sidecar) -> Vec<Option<Arc<str>>> {
        let mut texts = HashMap::new();
        let mut tag = |text| {
            let tag = texts.entry(text);
            Arc::clone(tag.or_insert_with(|| Arc::from(sidecar.text(text))))
        };
        let contexts = self.contexts.iter();
        contexts
            .map(|known| {
                let context = &known.context;
                let found = sidecar.tag_of(self.space_key(context.space), context.cgroup);
                found.map(&mut tag)
            })
            .collect()
    }

    /// The names that came with the recording.
    pub(crate) fn known_names(&self, sidecar: &Sidecar, places: &[Place]) -> Named {
        let image_names = |wanted: &ImageFile| {
            let images = &sidecar.images;
            let found = images.binary_search_by(|(file, _)| file.cmp(wanted)).ok()?;
            images.get(found).map(|(_, names)| names)
        };
        let mut of_image: FastMap<ImageId, Option<&Names>> = FastMap::default();
        let mut of_space: FastMap<SpaceId, Option<&Names>> = FastMap::default();
        let mut frames: HashMap<FramesId, Option<Frame>> = HashMap::new();
        let mut frame = |id| {
            let known = frames.entry(id);
            known.or_insert_with(|| frame_of(sidecar, id)).clone()
        };
        let named = numbered(places).filter_map(|(id, place)| {
            let (names, at) = match place {
                Place::Kernel(addr) => (Some(&sidecar.kernel), addr),
                Place::Vdso(offset) => (Some(&sidecar.vdso), offset),
                Place::Image(image, offset) => {
                    let find = || {
                        let key = &self.images.get(image)?.key;
                        image_names(&ImageFile::from(key))
                    };
                    (*of_image.entry(image).or_insert_with(find), offset)
                }
                Place::Generated(space, addr, _) => {
                    let find = || sidecar.generated_by(self.space_key(Some(space)));
                    (*of_space.entry(space).or_insert_with(find), addr)
                }
                Place::Unmapped | Place::Jitted(_) | Place::KernelCode(_) => return None,
            };
            Some((id, frame(name_at(names?, at)?)?))
        });
        named.collect()
    }

    /// Begins what a recording carries by what is known before its images are given up for reading.
    pub(crate) fn begin_keeping(&self, places: &[Place]) -> Keeping {
        Keeping {
            files: files_of(&self.images),
            build_ids: build_ids(&self.images, places),
        }
    }

    /// What the recording is to carry: the frame of each place, the tag of each context.
    pub(crate) fn keep(
        &self,
        keeping: Keeping,
        (places, frames): (&[Place], &[Frame]),
        tags: &[Arc<str>],
    ) -> Kept {
        let Keeping { files, build_ids } = keeping;
        let mut sidecar = SidecarBuilder::default();
        let mut images: BTreeMap<ImageId, Names> = BTreeMap::new();
        let mut generated: BTreeMap<SpaceId, Names> = BTreeMap::new();
        for ((_, place), frame) in numbered(places).zip(frames) {
            if place.names_itself() {
                continue;
            }
            let id = frames_id(&mut sidecar, frame);
            let kept = &mut sidecar.sidecar;
            match place {
                Place::Kernel(addr) => kept.kernel.push((addr, id)),
                Place::Vdso(offset) => kept.vdso.push((offset, id)),
                Place::Image(image, offset) => images.entry(image).or_default().push((offset, id)),
                Place::Generated(space, addr, _) => {
                    generated.entry(space).or_default().push((addr, id));
                }
                Place::Unmapped | Place::Jitted(_) | Place::KernelCode(_) => {}
            }
        }
        for seen in &self.jits.seen {
            let name = seen.name.map(|name| self.jits.names.get(name));
            let text = name.map(|name| sidecar.text(&String::from_utf8_lossy(name)));
            sidecar.sidecar.jitted.push(Jitted {
                pid: seen.pid,
                addr: seen.addr,
                from_ns: seen.from_ns,
                text,
            });
        }
        for (known, tag) in self.contexts.iter().zip(tags) {
            let context = &known.context;
            let tagged = Tagged {
                space: self.space_key(context.space),
                cgroup: context.cgroup,
                tag: sidecar.text(tag),
            };
            sidecar.sidecar.tags.push(tagged);
        }
        let kept = &mut sidecar.sidecar;
        kept.images = images
            .into_iter()
            .filter_map(|(image, names)| Some((files.get(image.0 as usize)?.clone(), names)))
            .collect();
        kept.generated = generated
            .into_iter()
            .map(|(space, names)| (self.space_key(Some(space)), names))
            .collect();
        kept.processes = self
            .tasks
            .spaces()
            .filter_map(|(id, space)| {
                let identity = space.identity?;
                Some(ProcessSeen {
                    space: self.space_key(Some(id)),
                    ns_pid: identity.ns_pid,
                    uid: identity.uid,
                })
            })
            .collect();
        Kept { sidecar, build_ids }
    }
}

/// What is taken of the images before they are read.
pub(crate) struct Keeping {
    /// By [`ImageId`].
    files: Vec<ImageFile>,
    build_ids: Vec<ImageBuildId>,
}

impl From<&ImageKey> for ImageFile {
    fn from(key: &ImageKey) -> Self {
        match key {
            ImageKey::BuildId(id) => Self::BuildId(*id),
            ImageKey::Inode {
                major,
                minor,
                inode,
                generation,
            } => Self::Inode {
                major: *major,
                minor: *minor,
                inode: *inode,
                generation: *generation,
            },
            ImageKey::Path { mnt, path } => Self::Path {
                mnt: *mnt,
                path: path.clone(),
            },
        }
    }
}

fn files_of(images: &Images) -> Vec<ImageFile> {
    images
        .all()
        .iter()
        .map(|image| (&image.key).into())
        .collect()
}

/// The build ids of the images that places lead to, from their mappings or else from the files that
/// are held. A path with two of them is left out: perf knows an image by its path, and would take
/// the one for the other.
fn build_ids(images: &Images, places: &[Place]) -> Vec<ImageBuildId> {
    let mut sampled: Vec<ImageId> = places
        .iter()
        .filter_map(|place| match place {
            Place::Image(image, _) => Some(*image),
            _ => None,
        })
        .collect();
    sampled.sort_unstable();
    sampled.dedup();
    let found: Vec<(&[u8], BuildId)> = sampled
        .into_par_iter()
        .filter_map(|image| {
            let image = images.get(image)?;
            let path = image.path.as_os_str().as_bytes();
            Some((path, build_id(image)?))
        })
        .collect();
    let mut by_path: BTreeMap<&[u8], Option<BuildId>> = BTreeMap::new();
    for (path, id) in found {
        let known = by_path.entry(path).or_insert(Some(id));
        if *known != Some(id) {
            *known = None;
        }
    }
    by_path
        .into_iter()
        .filter_map(|(path, id)| {
            Some(ImageBuildId {
                pid: -1,
                id: id?,
                path: path.to_vec(),
                is_kernel: false,
            })
        })
        .collect()
}

fn build_id(image: &Image) -> Option<BuildId> {
    if let ImageKey::BuildId(id) = image.key {
        return Some(id);
    }
    let held: HeldFile = image.held.as_ref()?.try_clone().ok()?;
    let read = move || {
        let file = held.open_regular(IMAGE_LIMIT_BYTES).ok()?;
        let id = ElfImage::read_build_id(&file, &ElfLimits::default());
        id.ok().flatten()
    };
    within(READ_DEADLINE, image.label.as_ref(), read).ok()?
}

/// Places whose name is still to be looked up: the others are out of the way, under their numbers.
pub(crate) fn without(places: &[Place], named: &Named) -> Vec<Place> {
    let mut left = places.to_vec();
    for (PlaceId(id), _) in named {
        if let Some(place) = left.get_mut(*id as usize) {
            *place = Place::Unmapped;
        }
    }
    left
}

#[cfg(test)]
#[path = "recorded_tests.rs"]
mod tests;
