//! The end of a recording: every place gets its name once, then stacks are handed on root first.

use crate::context::Place as TaskPlace;
use crate::hash::FastMap;
use crate::image::{ImageId, ImageKey};
use crate::locate::{Located, Place, PlaceId, Places};
use crate::name::{self, Generated, ImageOffsets, KernelIs, native_frame, numbered};
use crate::pins::RootRef;
use crate::problem::Problem;
use crate::stack::{Frame, ResolvedStack, Unresolved};
use crate::stacks::RawStack;
use crate::tally::Counted;
use crate::tasks::SpaceId;
use profiler::BuildId;
use profiler::perfdata::ImageBuildId;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// Everything that a recording has to show.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Named stacks; equal ones of different processes are separate.
    pub stacks: Vec<ResolvedStack>,
    /// What kept names away although they may be had.
    pub problems: Vec<Problem>,
}

/// How the recording is to be read.
pub struct ResolveOptions<'a> {
    /// The tag of the container that a task runs in.
    pub tag: &'a mut dyn FnMut(&TaskPlace<'_>) -> Arc<str>,
    /// The recorded kernel's `/proc/kallsyms`, or why there is none: of another kernel it would give
    /// wrong names.
    pub kallsyms: Result<Vec<u8>, String>,
    /// Build ids that the recording tells beside its mappings.
    pub build_ids: &'a [ImageBuildId],
    /// Entries at which the kernel cuts a chain (`kernel.perf_event_max_stack`).
    pub max_stack: usize,
}

impl Counted {
    /// Names everything that was counted.
    pub fn resolve(mut self, options: ResolveOptions<'_>) -> Resolved {
        let (places, located) = self.locate_all(options.max_stack);
        let tags = self.tags(options.tag);
        let kernel_changes = std::mem::take(&mut self.kernel_changes);
        let generated = self.generated(&places, &tags);
        let images = self.images_with_offsets(&places, options.build_ids);
        let kernel_is = match options.kallsyms {
            Ok(_) => KernelIs::Running,
            Err(_) => KernelIs::Another,
        };
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
        let ((kernel, hidden), (native, (jitted, mut problems))) = rayon::join(
            || name::kernel(kallsyms, &kernel_changes, &kernel_addrs),
            || rayon::join(|| name::images(images), || name::generated(generated)),
        );
        problems.extend(hidden);
        let mut frames: Vec<Option<Frame>> = vec![None; places.all().len()];
        for (id, frame) in kernel
            .into_iter()
            .chain(native)
            .chain(jitted)
            .chain(name::vdso(places.all(), kernel_is))
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
            stacks: self.build_stacks(&located, &frames, &tags),
            problems,
        }
    }

    /// Places of every stack, leaf first, in the order of the stack table.
    fn locate_all(&self, max_stack: usize) -> (Places, Vec<(RawStack, Located)>) {
        let mut places = Places::default();
        let stacks = self.stacks.in_order().into_iter();
        let located = stacks
            .map(|(stack, words)| {
                let context = self
                    .contexts
                    .get(stack.context.0 as usize)
                    .map(|(context, _)| *context);
                let space = context.and_then(|context| context.space);
                let space = space.and_then(|id| Some((id, &self.tasks.space(id)?.maps)));
                (stack, places.locate_chain(words, space, max_stack))
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
                    origin: self.origin,
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
    fn images_with_offsets(
        &mut self,
        places: &Places,
        build_ids: &[ImageBuildId],
    ) -> Vec<ImageOffsets> {
        // A path with two ids was replaced during the recording: it does not tell which.
        let mut id_of: HashMap<&[u8], Option<BuildId>> = HashMap::new();
        for told in build_ids {
            let known = id_of.entry(told.path.as_slice()).or_insert(Some(told.id));
            if *known != Some(told.id) {
                *known = None;
            }
        }
        let mut by_image: BTreeMap<ImageId, Vec<(PlaceId, u64)>> = BTreeMap::new();
        for (id, place) in numbered(places.all()) {
            if let Place::Image(image, offset) = place {
                by_image.entry(image).or_default().push((id, offset));
            }
        }
        let images = std::mem::take(&mut self.images).into_vec();
        let numbered = images.into_iter().enumerate();
        numbered
            .filter_map(|(at, mut image)| {
                let offsets = by_image.remove(&ImageId(at as u32))?;
                if !matches!(image.key, ImageKey::BuildId(_))
                    && let Some(Some(id)) = id_of.get(image.path.as_os_str().as_bytes())
                {
                    image.key = ImageKey::BuildId(*id);
                }
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
        located: &[(RawStack, Located)],
        frames: &[Frame],
        tags: &[Arc<str>],
    ) -> Vec<ResolvedStack> {
        let unknown: Arc<str> = "[unknown]".into();
        let truncated = native_frame(Err(Unresolved::Truncated));
        located
            .iter()
            .map(|(stack, located)| {
                let at = stack.context.0 as usize;
                let context = self.contexts.get(at).map(|(context, _)| context);
                let comm = context.and_then(|context| self.tasks.comm_name(context.comm));
                let cut = located.is_cut.then(|| truncated.clone());
                let leaf_first = located
                    .places
                    .iter()
                    .filter_map(|id| frames.get(id.0 as usize));
                ResolvedStack {
                    container: tags.get(at).unwrap_or(&unknown).clone(),
                    comm: comm.unwrap_or(&unknown).clone(),
                    frames: cut.into_iter().chain(leaf_first.rev().cloned()).collect(),
                    samples: stack.samples,
                }
            })
            .collect()
    }
}
