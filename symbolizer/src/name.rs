//! Places get their names: from images, the kernel, the vdso, perf maps. Each source is read once.

use crate::context::{KernelChange, Origin};
use crate::demangle::demangle;
use crate::elf::ElfImage;
use crate::hash::FastMap;
use crate::image::Image;
use crate::jitmap::{CutAt, JitMap, JitMapError, JitMapLimits};
use crate::kernel::{KernelSymbols, KernelSymbolsError};
use crate::locate::{Place, PlaceId};
use crate::pins::RootRef;
use crate::problem::Problem;
use crate::source::{MapFile, MapOwner, open_map, read_image};
use crate::stack::{Frame, FrameKind, Unresolved};
use crate::vdso::Vdso;
use profiler::NsPid;
use profiler::files::{FileError, TargetRoot, within};
use profiler::live::Identity;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long one image or map of a target may take to be read: a FUSE server in a container may
/// never answer.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(10);

/// Code that one process generated.
pub(crate) struct Generated {
    pub(crate) origin: Origin,
    pub(crate) root: Option<Arc<TargetRoot>>,
    pub(crate) host: Option<Arc<TargetRoot>>,
    pub(crate) host_pid: u32,
    pub(crate) identity: Option<Identity>,
    pub(crate) container: Arc<str>,
    pub(crate) addrs: Vec<(PlaceId, u64)>,
}

/// Which kernel was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KernelIs {
    /// The one that runs here.
    Running,
    /// Another one.
    Another,
}

pub(crate) type Named = Vec<(PlaceId, Frame)>;

pub(crate) fn numbered(places: &[Place]) -> impl Iterator<Item = (PlaceId, Place)> {
    places
        .iter()
        .enumerate()
        .map(|(at, place)| (PlaceId(at as u32), *place))
}

pub(crate) fn native_frame(name: Result<Arc<str>, Unresolved>) -> Frame {
    Frame {
        name,
        kind: FrameKind::Native,
    }
}

/// An image and the offsets in it that were sampled.
pub(crate) struct ImageOffsets {
    pub(crate) image: Image,
    pub(crate) root: Option<Arc<TargetRoot>>,
    pub(crate) root_ref: RootRef,
    pub(crate) offsets: Vec<(PlaceId, u64)>,
}

/// Names the sampled offsets of all images, images in parallel.
pub(crate) fn images(images: Vec<ImageOffsets>) -> Named {
    // Views with a file system that does not answer: asked once, not once for each image.
    let stuck: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    images
        .into_par_iter()
        .flat_map_iter(
            |ImageOffsets {
                 image,
                 root,
                 root_ref,
                 offsets,
             }| {
                let label = image.label.clone();
                let elf = match root_ref {
                    RootRef::Pinned(id) if stuck.lock().is_ok_and(|stuck| stuck.contains(&id)) => {
                        Err(Unresolved::Unreadable(label.clone()))
                    }
                    _ => match within(READ_DEADLINE, label.as_ref(), move || {
                        read_image(&image, root.as_deref())
                    }) {
                        Ok(elf) => elf,
                        Err(_) => {
                            if let (RootRef::Pinned(id), Ok(mut stuck)) = (root_ref, stuck.lock()) {
                                stuck.insert(id);
                            }
                            Err(Unresolved::Unreadable(label.clone()))
                        }
                    },
                };
                name_offsets(elf, &label, offsets)
            },
        )
        .collect()
}

fn name_offsets(
    elf: Result<ElfImage, Unresolved>,
    label: &Arc<str>,
    offsets: Vec<(PlaceId, u64)>,
) -> Named {
    let mut names: FastMap<u64, Arc<str>> = FastMap::default();
    offsets
        .into_iter()
        .map(|(id, offset)| {
            let name = match &elf {
                Ok(elf) => match elf.svma_of(offset).and_then(|svma| elf.lookup(svma)) {
                    Some(symbol) => Ok(Arc::clone(
                        names
                            .entry(symbol.start)
                            .or_insert_with(|| demangle(&symbol.name).as_ref().into()),
                    )),
                    None => Err(Unresolved::Stripped(label.clone())),
                },
                Err(reason) => Err(reason.clone()),
            };
            (id, native_frame(name))
        })
        .collect()
}

/// Names kernel addresses by kallsyms and by what came and went since the recording began.
pub(crate) fn kernel(
    kallsyms: Result<Vec<u8>, String>,
    changes: &[KernelChange],
    addrs: &[(PlaceId, u64)],
) -> (Named, Option<Problem>) {
    if addrs.is_empty() {
        return (Named::new(), None);
    }
    let hidden = |reason: String, hint| Problem::KernelHidden { reason, hint };
    let parsed = match kallsyms {
        Ok(text) => KernelSymbols::parse(&text).map_err(|error| {
            let unresolved = match error {
                KernelSymbolsError::Restricted { .. } => Unresolved::KernelRestricted,
                KernelSymbolsError::Empty { .. } => Unresolved::KernelUnknown,
            };
            (unresolved, hidden(error.to_string(), error.hint()))
        }),
        Err(error) => Err((Unresolved::KernelUnknown, hidden(error, None))),
    };
    let symbols = parsed.map(|mut symbols| {
        for change in changes {
            let (start, name) = (change.addr.0, change.name.as_slice());
            if change.is_unregister {
                symbols.unregister(start, change.len_bytes, name);
            } else {
                symbols.register(start, change.len_bytes, name);
            }
        }
        symbols
    });
    let name = |addr| match &symbols {
        Ok(symbols) => symbols
            .lookup(addr)
            .map(|symbol| Arc::from(demangle(symbol.name).as_ref()))
            .ok_or(Unresolved::KernelUnknown),
        Err((reason, _)) => Err(reason.clone()),
    };
    let named = addrs
        .iter()
        .map(|(id, addr)| {
            (
                *id,
                Frame {
                    name: name(*addr),
                    kind: FrameKind::Kernel,
                },
            )
        })
        .collect();
    (named, symbols.err().map(|(_, problem)| problem))
}

/// Names the vdso by ours, which is the recorded one if the kernel is.
pub(crate) fn vdso(places: &[Place], kernel: KernelIs) -> Named {
    let mut vdso = None;
    numbered(places)
        .filter_map(|(id, place)| {
            let Place::Vdso(offset) = place else {
                return None;
            };
            let vdso = vdso.get_or_insert_with(Vdso::of_self);
            let ours = vdso.as_ref().ok().filter(|_| kernel == KernelIs::Running);
            let symbol = ours.and_then(|vdso| vdso.lookup(offset));
            let name = symbol.map(|symbol| demangle(&symbol.name).as_ref().into());
            Some((
                id,
                native_frame(name.ok_or_else(|| Unresolved::Stripped("[vdso]".into()))),
            ))
        })
        .collect()
}

/// Names generated code by the maps of its processes, processes in parallel.
pub(crate) fn generated(processes: Vec<Generated>) -> (Named, Vec<Problem>) {
    let results: Vec<(Named, Option<Problem>)> =
        processes.into_par_iter().map(name_process).collect();
    let (named, problems): (Vec<Named>, Vec<Option<Problem>>) = results.into_iter().unzip();
    (
        named.into_iter().flatten().collect(),
        problems.into_iter().flatten().collect(),
    )
}

fn name_process(process: Generated) -> (Named, Option<Problem>) {
    let Generated {
        origin,
        root,
        host,
        host_pid,
        identity,
        container,
        addrs,
    } = process;
    let read = move || {
        let owner = match (origin, identity) {
            (Origin::File, _) => MapOwner::Anyone,
            (Origin::LiveHost, Some(identity)) => MapOwner::Uid(identity.uid),
            (Origin::LiveHost, None) => MapOwner::Root,
        };
        // Inside its own view under its own pid; else on the host under its host pid.
        let own = match (root, identity) {
            (Some(root), Some(identity)) => open_map(&root, identity.ns_pid, owner),
            _ => MapFile::Absent,
        };
        let found = match (own, host) {
            (MapFile::Absent, Some(host)) => open_map(&host, NsPid(host_pid), owner),
            (own, _) => own,
        };
        match found {
            MapFile::Found(file) => {
                let path = file.shown_path().to_owned();
                match JitMap::read(file, &JitMapLimits::default()) {
                    Ok(map) => Ok(Some((map, path))),
                    Err(JitMapError::Read { source, .. }) => Err(FileError::Io { path, source }),
                }
            }
            MapFile::Absent => Ok(None),
            MapFile::Refused(error) => Err(error),
        }
    };
    let (map, problem) = match within(READ_DEADLINE, "perf map", read).and_then(|map| map) {
        Ok(Some((map, path))) => {
            let problem = partial(&map, container, path);
            (Some(map), problem)
        }
        Ok(None) => (None, None),
        Err(error) => (None, Some(Problem::MapRefused { container, error })),
    };
    let name = |addr| {
        let name = map.as_ref().and_then(|map| map.lookup(addr));
        name.map(|name| String::from_utf8_lossy(name).as_ref().into())
            .ok_or(Unresolved::JitWithoutMap)
    };
    let named = addrs
        .into_iter()
        .map(|(id, addr)| {
            (
                id,
                Frame {
                    name: name(addr),
                    kind: FrameKind::Jit,
                },
            )
        })
        .collect();
    (named, problem)
}

/// What of a map was not taken. A torn last line is not worth a word: it is being written.
fn partial(map: &JitMap, container: Arc<str>, path: PathBuf) -> Option<Problem> {
    let cut_after = map.cut_at().map(|limit| match limit {
        CutAt::Bytes(bytes) => format!("{bytes} bytes"),
        CutAt::Lines(lines) => format!("{lines} lines"),
    });
    let bad_lines = map.bad_lines();
    (bad_lines > 0 || cut_after.is_some()).then_some(Problem::MapPartial {
        container,
        path,
        bad_lines,
        cut_after,
    })
}
