//! The end of a recording: every place gets its name once, then stacks are handed on root first.

use crate::context::{Context, Place as TaskPlace};
use crate::hash::FastMap;
use crate::image::{ImageId, ImageKey};
use crate::locate::{Locations, Place, PlaceId};
use crate::name::{self, Generated, ImageOffsets, KernelIs, Named, native_frame, numbered};
use crate::pins::RootRef;
use crate::recorded::{self, KeepNames, Known, Turn};
use crate::stack::{Layer, LayerKind, Resolved, Unresolved};
use crate::tally::Counted;
use crate::tasks::SpaceId;
use profiler::BuildId;
use profiler::perfdata::ImageBuildId;
use profiler::perfdata::sidecar::Sidecar;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

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
    /// What the recording itself says of its tasks and places.
    pub known: Option<Known<'a>>,
    /// Whether the names are to go into a recording.
    pub keep_names: KeepNames,
}

impl Counted {
    /// Names everything that was counted.
    pub fn resolve(mut self, options: ResolveOptions<'_>) -> Resolved {
        let located = std::mem::take(&mut self.located);
        let Locations { places, mut parts } = located.finish();
        for part in &mut parts {
            part.cut_at = u32::try_from(options.max_stack).unwrap_or(u32::MAX);
        }
        let tags = self.tags(options.known.map(|known| known.sidecar), options.tag);
        let keeping = (options.keep_names == KeepNames::Yes).then(|| self.begin_keeping(&places));
        let known = options.known.map(|known| {
            let named = self.known_names(known.sidecar, &places);
            (named, known.turn)
        });
        let (known, turn) = known.unwrap_or((Named::new(), Turn::Last));
        let unnamed = match turn {
            Turn::First => recorded::without(&places, &known),
            Turn::Last => places.clone(),
        };
        let kernel_changes = std::mem::take(&mut self.kernel_changes);
        let generated = self.generated(&unnamed, &tags);
        let images = self.images_with_offsets(&unnamed, options.build_ids);
        let kernel_is = match options.kallsyms {
            Ok(_) => KernelIs::Running,
            Err(_) => KernelIs::Another,
        };
        let kernel_addrs: Vec<(PlaceId, u64)> = numbered(&unnamed)
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
        let unmapped = native_frame(Err(Unresolved::Unmapped));
        let mut frames = vec![unmapped; places.len()];
        for (id, frame) in kernel
            .into_iter()
            .chain(native)
            .chain(jitted)
            .chain(name::vdso(&unnamed, kernel_is))
        {
            if let Some(slot) = frames.get_mut(id.0 as usize) {
                *slot = frame;
            }
        }
        for (id, frame) in known {
            if let Some(slot) = frames
                .get_mut(id.0 as usize)
                .filter(|slot| slot.name.is_err())
            {
                *slot = frame;
            }
        }
        Resolved {
            kept: keeping.map(|keeping| self.keep(keeping, (&places, &frames), &tags)),
            frames,
            contexts: self.layers_of_contexts(&tags),
            parts,
            problems,
        }
    }

    /// The container tag of each context.
    fn tags(
        &self,
        known: Option<&Sidecar>,
        tag: &mut dyn FnMut(&TaskPlace<'_>) -> Arc<str>,
    ) -> Vec<Arc<str>> {
        let known = known.map(|known| self.known_tags(known));
        let mut known = known.into_iter().flatten();
        self.contexts
            .iter()
            .map(|context| {
                let known = known.next().flatten();
                known.unwrap_or_else(|| tag(&self.place_of(&context.context)))
            })
            .collect()
    }

    fn generated(&self, places: &[Place], tags: &[Arc<str>]) -> Vec<Generated> {
        let mut by_space: BTreeMap<SpaceId, Vec<(PlaceId, u64)>> = BTreeMap::new();
        for (id, place) in numbered(places) {
            if let Place::Generated(space, addr) = place {
                by_space.entry(space).or_default().push((id, addr));
            }
        }
        let tag_of: FastMap<SpaceId, &Arc<str>> = self
            .contexts
            .iter()
            .zip(tags)
            .filter_map(|(known, tag)| Some((known.context.space?, tag)))
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
        places: &[Place],
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
        for (id, place) in numbered(places) {
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

    /// What stands above the stacks of each context.
    fn layers_of_contexts(&self, tags: &[Arc<str>]) -> Vec<Vec<Layer>> {
        self.contexts
            .iter()
            .zip(tags)
            .map(|(known, tag)| {
                let layers = self.layers.iter();
                layers
                    .map(|kind| Layer {
                        kind: *kind,
                        label: self.label(*kind, &known.context, tag),
                    })
                    .collect()
            })
            .collect()
    }

    fn label(&self, kind: LayerKind, context: &Context, tag: &Arc<str>) -> Arc<str> {
        let numbered = |what, number: Option<u32>| match number {
            Some(number) if number != u32::MAX => format!("{what}:{number}").into(),
            _ => format!("{what}:unknown").into(),
        };
        let split = context.split;
        match kind {
            LayerKind::Container => Arc::clone(tag),
            LayerKind::Comm => match self.tasks.comm_name(context.comm) {
                Some(comm) => Arc::clone(comm),
                None => "[unknown]".into(),
            },
            LayerKind::Pid => numbered("pid", split.pid.map(|pid| pid.0)),
            LayerKind::Tid => numbered("tid", split.tid.map(|tid| tid.0)),
            LayerKind::Cpu => numbered("cpu", split.cpu),
        }
    }
}
