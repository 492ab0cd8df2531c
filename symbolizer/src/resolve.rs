//! The end of a recording: every place gets its name once, then stacks are handed on root first.

use crate::demangle::demangle;
use crate::elf::ElfImage;
use crate::hash::FastMap;
use crate::image::{Image, ImageId};
use crate::jitmap::{JitMap, JitMapError, JitMapLimits};
use crate::kernel::{KernelSymbols, KernelSymbolsError};
use crate::locate::{Place, PlaceId, Places};
use crate::pins::RootRef;
use crate::source::{MapFile, open_map, read_image};
use crate::stack::{Frame, FrameKind, ResolvedStack, Unresolved};
use crate::tally::{Counted, FIRST_MARKER, KernelChange, Place as TaskPlace};
use crate::tasks::SpaceId;
use crate::vdso::Vdso;
use profiler::files::{FileError, TargetRoot, within};
use profiler::live::Identity;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long one image or map of a target may take to be read: a FUSE server in a container may
/// never answer.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// A file that was not read although it was there, and why: for the reader, not for the picture.
#[derive(Debug)]
pub struct Refusal {
    /// Tag of the container whose file it is.
    pub container: Arc<str>,
    /// Which file and why.
    pub error: FileError,
}

/// Everything that a recording has to show.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Named stacks; equal ones of different processes are separate.
    pub stacks: Vec<ResolvedStack>,
    /// Perf maps that were there and not read.
    pub refusals: Vec<Refusal>,
}

/// How the recording is to be read.
pub struct ResolveOptions<'a> {
    /// The tag of the container that a task runs in.
    pub tag: &'a mut dyn FnMut(&TaskPlace<'_>) -> Arc<str>,
    /// `/proc/kallsyms`, or why there is none to read.
    pub kallsyms: std::io::Result<Vec<u8>>,
    /// Entries at which the kernel cuts a chain (`kernel.perf_event_max_stack`).
    pub max_stack: usize,
}

/// Code that one process generated.
struct Generated {
    root: Option<Arc<TargetRoot>>,
    host: Option<Arc<TargetRoot>>,
    host_pid: u32,
    identity: Option<Identity>,
    container: Arc<str>,
    addrs: Vec<(PlaceId, u64)>,
}

type Named = Vec<(PlaceId, Frame)>;

impl Counted {
    /// Names everything that was counted.
    pub fn resolve(mut self, options: ResolveOptions<'_>) -> Resolved {
        let (places, located) = self.locate_all();
        let tags = self.tags(options.tag);
        let kernel_changes = std::mem::take(&mut self.kernel_changes);
        let generated = self.generated(&places, &tags);
        let images = self.images_with_offsets(&places);
        let kernel_addrs: Vec<(PlaceId, u64)> = numbered(places.all())
            .filter_map(|(id, place)| {
                if let Place::Kernel(addr) = place {
                    Some((id, addr))
                } else {
                    None
                }
            })
            .collect();
        let kallsyms = options.kallsyms;
        let (kernel, (native, (jitted, refusals))) = rayon::join(
            || name_kernel(kallsyms, &kernel_changes, &kernel_addrs),
            || rayon::join(|| name_images(images), || name_generated(generated)),
        );
        let mut frames: Vec<Option<Frame>> = vec![None; places.all().len()];
        for (id, frame) in kernel
            .into_iter()
            .chain(native)
            .chain(jitted)
            .chain(name_vdso(places.all()))
        {
            if let Some(slot) = frames.get_mut(id.0 as usize) {
                *slot = Some(frame);
            }
        }
        let frames: Vec<Frame> = frames
            .into_iter()
            .map(|frame| frame.unwrap_or_else(|| native_frame(Err(Unresolved::Unmapped))))
            .collect();
        Resolved {
            stacks: self.build_stacks(&located, &frames, &tags, options.max_stack),
            refusals,
        }
    }

    /// Places of every stack, leaf first, in the order of the stack table.
    fn locate_all(&self) -> (Places, Vec<Vec<PlaceId>>) {
        let mut places = Places::default();
        let located = self
            .stacks
            .iter()
            .map(|(stack, words)| {
                let context = self
                    .contexts
                    .get(stack.context.0 as usize)
                    .map(|(context, _)| *context);
                let space = context.and_then(|context| context.space);
                let space = space.and_then(|id| Some((id, &self.tasks.space(id)?.maps)));
                let mut ids = Vec::with_capacity(words.len());
                places.locate_chain(words, space, &mut ids);
                ids
            })
            .collect();
        (places, located)
    }

    /// The container tag of each context.
    fn tags(&self, tag: &mut dyn FnMut(&TaskPlace<'_>) -> Arc<str>) -> Vec<Arc<str>> {
        self.contexts
            .iter()
            .map(|(context, _)| tag(&self.place_of(context)))
            .collect()
    }

    fn generated(&self, places: &Places, tags: &[Arc<str>]) -> Vec<Generated> {
        let mut by_space: BTreeMap<SpaceId, Vec<(PlaceId, u64)>> = BTreeMap::new();
        for (id, place) in numbered(places.all()) {
            if let Place::Generated(space, addr) = place {
                by_space.entry(space).or_default().push((id, addr));
            }
        }
        let tag_of: FastMap<SpaceId, &Arc<str>> = self
            .contexts
            .iter()
            .zip(tags)
            .filter_map(|((context, _), tag)| Some((context.space?, tag)))
            .collect();
        by_space
            .into_iter()
            .filter_map(|(id, addrs)| {
                let space = self.tasks.space(id)?;
                Some(Generated {
                    root: self.pins.root(space.root).cloned(),
                    host: self.pins.root(RootRef::Host).cloned(),
                    host_pid: space.pid.0,
                    identity: space.identity,
                    container: tag_of
                        .get(&id)
                        .map_or_else(|| "host".into(), |tag| Arc::clone(tag)),
                    addrs,
                })
            })
            .collect()
    }

    /// Every image that an address leads to, with the view of files its path is in.
    fn images_with_offsets(&mut self, places: &Places) -> Vec<ImageOffsets> {
        let mut by_image: BTreeMap<ImageId, Vec<(PlaceId, u64)>> = BTreeMap::new();
        for (id, place) in numbered(places.all()) {
            if let Place::Image(image, offset) = place {
                by_image.entry(image).or_default().push((id, offset));
            }
        }
        let images = std::mem::take(&mut self.images).into_vec();
        let numbered = images.into_iter().enumerate();
        numbered
            .filter_map(|(at, image)| {
                let offsets = by_image.remove(&ImageId(at as u32))?;
                let root_ref = image.root;
                Some(ImageOffsets {
                    root: self.pins.root(root_ref).cloned(),
                    root_ref,
                    image,
                    offsets,
                })
            })
            .collect()
    }

    fn build_stacks(
        &self,
        located: &[Vec<PlaceId>],
        frames: &[Frame],
        tags: &[Arc<str>],
        max_stack: usize,
    ) -> Vec<ResolvedStack> {
        let unknown: Arc<str> = "[unknown]".into();
        let truncated = native_frame(Err(Unresolved::Truncated));
        let stacks = self.stacks.iter().zip(located);
        stacks
            .map(|((stack, words), ids)| {
                let at = stack.context.0 as usize;
                let comm = self
                    .contexts
                    .get(at)
                    .and_then(|(context, _)| self.tasks.comm_name(context.comm));
                // The kernel stops at the limit, on the root's side; markers are not counted
                // (`get_perf_callchain()`, kernel/events/callchain.c).
                let is_cut = words.iter().filter(|word| **word < FIRST_MARKER).count() >= max_stack;
                let root_first = ids
                    .iter()
                    .rev()
                    .filter_map(|id| frames.get(id.0 as usize))
                    .cloned();
                ResolvedStack {
                    container: tags.get(at).unwrap_or(&unknown).clone(),
                    comm: comm.unwrap_or(&unknown).clone(),
                    frames: is_cut
                        .then(|| truncated.clone())
                        .into_iter()
                        .chain(root_first)
                        .collect(),
                    samples: stack.samples,
                }
            })
            .collect()
    }
}

fn numbered(places: &[Place]) -> impl Iterator<Item = (PlaceId, Place)> {
    places
        .iter()
        .enumerate()
        .map(|(at, place)| (PlaceId(at as u32), *place))
}

fn native_frame(name: Result<Arc<str>, Unresolved>) -> Frame {
    Frame {
        name,
        kind: FrameKind::Native,
    }
}

/// An image and the offsets in it that were sampled.
struct ImageOffsets {
    image: Image,
    root: Option<Arc<TargetRoot>>,
    root_ref: RootRef,
    offsets: Vec<(PlaceId, u64)>,
}

/// Names the sampled offsets of all images, images in parallel.
fn name_images(images: Vec<ImageOffsets>) -> Named {
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
                        read_image(image, root)
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
fn name_kernel(
    kallsyms: std::io::Result<Vec<u8>>,
    changes: &[KernelChange],
    addrs: &[(PlaceId, u64)],
) -> Named {
    let parsed = match kallsyms {
        Ok(text) => KernelSymbols::parse(&text).map_err(|error| match error {
            KernelSymbolsError::Restricted { .. } => Unresolved::KernelRestricted,
            _ => Unresolved::KernelUnknown,
        }),
        Err(_) => Err(Unresolved::KernelRestricted),
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
        Err(reason) => Err(reason.clone()),
    };
    addrs
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
        .collect()
}

fn name_vdso(places: &[Place]) -> Named {
    let mut vdso = None;
    numbered(places)
        .filter_map(|(id, place)| {
            let Place::Vdso(offset) = place else {
                return None;
            };
            let vdso = vdso.get_or_insert_with(Vdso::of_self);
            let symbol = vdso.as_ref().ok().and_then(|vdso| vdso.lookup(offset));
            let name = symbol.map(|symbol| demangle(&symbol.name).as_ref().into());
            Some((
                id,
                native_frame(name.ok_or_else(|| Unresolved::Stripped("[vdso]".into()))),
            ))
        })
        .collect()
}

/// Names generated code by the maps of its processes, processes in parallel.
fn name_generated(processes: Vec<Generated>) -> (Named, Vec<Refusal>) {
    let results: Vec<(Named, Option<Refusal>)> =
        processes.into_par_iter().map(name_process).collect();
    let (named, refusals): (Vec<Named>, Vec<Option<Refusal>>) = results.into_iter().unzip();
    (
        named.into_iter().flatten().collect(),
        refusals.into_iter().flatten().collect(),
    )
}

fn name_process(process: Generated) -> (Named, Option<Refusal>) {
    let Generated {
        root,
        host,
        host_pid,
        identity,
        container,
        addrs,
    } = process;
    let read = move || {
        let owner = identity.map(|identity| identity.uid);
        // Inside its own view under its own pid; else on the host under its host pid.
        let own = match (root, identity) {
            (Some(root), Some(identity)) => open_map(&root, identity.ns_pid, owner),
            _ => MapFile::Absent,
        };
        let found = match (own, host) {
            (MapFile::Absent, Some(host)) => open_map(&host, profiler::NsPid(host_pid), owner),
            (own, _) => own,
        };
        match found {
            MapFile::Found(file) => {
                let path = file.shown_path().to_owned();
                let read = JitMap::read(file, &JitMapLimits::default());
                read.map(Some)
                    .map_err(|JitMapError::Read { source, .. }| FileError::Io { path, source })
            }
            MapFile::Absent => Ok(None),
            MapFile::Refused(error) => Err(error),
        }
    };
    let (map, refusal) = match within(READ_DEADLINE, "perf map", read).and_then(|map| map) {
        Ok(map) => (map, None),
        Err(error) => (None, Some(Refusal { container, error })),
    };
    let named = addrs
        .into_iter()
        .map(|(id, addr)| {
            let name = map.as_ref().and_then(|map| map.lookup(addr));
            let name = name.map(|name| String::from_utf8_lossy(name).as_ref().into());
            (
                id,
                Frame {
                    name: name.ok_or(Unresolved::JitWithoutMap),
                    kind: FrameKind::Jit,
                },
            )
        })
        .collect();
    (named, refusal)
}
