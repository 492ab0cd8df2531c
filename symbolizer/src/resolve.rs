//! The end of a recording: every place gets its name once, then stacks are handed on root first.

use crate::context::{Context, KnownContext, Origin, Place as TaskPlace};
use crate::generated::{self, GeneratedAt, Generator};
use crate::hash::FastMap;
use crate::image::{Image, ImageId, ImageKey};
use crate::jitmap::JitMap;
use crate::living::{self, Now};
use crate::locate::{LocatedStacks, Locations, Place, PlaceId};
use crate::lookup::{Inlines, Lookup, RecordedOn, View};
use crate::name::{self, Kallsyms, Named, VdsoIs, jit_frame, native_frame, numbered};
use crate::native::{self, ImageOffsets};
use crate::pins::RootRef;
use crate::problem::Problem;
use crate::recorded::{self, KeepNames, Known, Turn};
use crate::snapshot::{CodeSnapshot, HeldMap};
use crate::stack::{Layer, LayerKind, Resolved, StackPart, Unresolved};
use crate::tally::Counted;
use crate::tasks::SpaceId;
use crate::told::{Told, take_told_id};
use profiler::files::HeldFile;
use profiler::perfdata::ImageBuildId;
use profiler::perfdata::sidecar::Sidecar;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How the recording is to be read.
pub struct ResolveOptions<'a> {
    /// The tag of the container that a task runs in.
    pub tag: &'a mut dyn FnMut(&TaskPlace<'_>) -> Arc<str>,
    /// The recorded kernel's `/proc/kallsyms`, or why there is none: of another kernel it would give
    /// wrong names.
    pub kallsyms: Result<Kallsyms, String>,
    /// Where else names are looked for.
    pub lookup: &'a Lookup,
    /// Build ids that the recording tells beside its mappings.
    pub build_ids: &'a [ImageBuildId],
    /// Entries at which the kernel cuts a chain (`kernel.perf_event_max_stack`).
    pub max_stack: usize,
    /// What the recording itself says of its tasks and places.
    pub known: Option<Known<'a>>,
    /// What processes said of their generated code while they were recorded.
    pub snapshots: Vec<CodeSnapshot>,
    /// Maps of those that ended.
    pub held_maps: Vec<HeldMap>,
    /// Whether the names are to go into a recording.
    pub keep_names: KeepNames,
}

/// The stacks, for as many threads as there are; those of so many entries were cut.
fn in_parts(stacks: LocatedStacks, cut_at: u32) -> Vec<StackPart> {
    /// For each thread: they are not of equal work.
    const PARTS: usize = 2;
    let mut parts = stacks.into_parts(PARTS * rayon::current_num_threads());
    for part in &mut parts {
        part.cut_at = cut_at;
    }
    parts
}

impl Counted {
    /// Names everything that was counted.
    pub fn resolve(mut self, options: ResolveOptions<'_>) -> Resolved {
        let located = std::mem::take(&mut self.located);
        let Locations { places, stacks } = located.finish();
        let cut_at = u32::try_from(options.max_stack).unwrap_or(u32::MAX);
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
        let lookup = options.lookup;
        let told = Told::new(options.build_ids);
        let is_all_named = unnamed.iter().all(Place::names_itself);
        let now = match self.origin {
            Origin::File if !is_all_named => living::look(
                &mut self.tasks,
                &mut self.images,
                &mut self.pins,
                lookup.recorded_on(),
            ),
            _ => FastMap::default(),
        };
        let before_the_end = (options.snapshots, options.held_maps);
        let jit_problems = self.jit_problems(&tags);
        let generated = self.generated(&unnamed, &tags, &now, before_the_end);
        let images = self.images_with_offsets(&unnamed, &told, lookup);
        let vdso_is = match (told.vdso(), self.origin, lookup.recorded_on()) {
            (Some(id), ..) => VdsoIs::Told(id),
            (None, Origin::LiveHost, _) | (None, _, RecordedOn::Here) => VdsoIs::Ours,
            _ => VdsoIs::Unknown,
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
        let (
            (kernel, kernel_problems),
            ((native, image_problems), ((generated_named, map_problems), parts)),
        ) = rayon::join(
            || name::kernel(kallsyms, &self.ksymbols, (kernel_addrs, lookup)),
            || {
                rayon::join(
                    || native::images(images, lookup),
                    || {
                        rayon::join(
                            || generated::generated(generated, lookup),
                            || in_parts(stacks, cut_at),
                        )
                    },
                )
            },
        );
        let problems = kernel_problems
            .into_iter()
            .chain(jit_problems)
            .chain(map_problems)
            .chain(image_problems)
            .collect();
        let jitted = numbered(&places).filter_map(|(id, place)| match place {
            Place::Jitted(name) => Some((id, jit_frame(Ok(self.jits.name(name))))),
            Place::KernelCode(code) => Some((id, name::kernel_code(&self.ksymbols, code))),
            _ => None,
        });
        let unmapped = native_frame(Err(Unresolved::Unmapped));
        let mut frames = vec![unmapped; places.len()];
        for (id, frame) in kernel
            .into_iter()
            .chain(native.into_iter().flatten())
            .chain(generated_named)
            .chain(jitted)
            .chain(name::vdso(&unnamed, vdso_is, lookup))
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
        if lookup.inlines() == Inlines::Dropped {
            for frame in &mut frames {
                frame.inlined = Arc::default();
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

    fn tags_of_spaces<'a>(&self, tags: &'a [Arc<str>]) -> FastMap<SpaceId, &'a Arc<str>> {
        let contexts = self.contexts.iter().zip(tags);
        contexts
            .filter_map(|(known, tag)| Some((known.context.space?, tag)))
            .collect()
    }

    /// What there is to say of jitdumps.
    fn jit_problems(&mut self, tags: &[Arc<str>]) -> Vec<Problem> {
        let notes = std::mem::take(&mut self.jits.notes);
        let tag_of = self.tags_of_spaces(tags);
        let tag = |space| {
            tag_of
                .get(&space)
                .map_or("host".into(), |tag| Arc::clone(tag))
        };
        let notes = notes
            .into_iter()
            .map(|(space, path, note)| Problem::JitDump {
                container: tag(space),
                path,
                note,
            });
        notes.collect()
    }

    fn generated(
        &self,
        places: &[Place],
        tags: &[Arc<str>],
        now: &FastMap<SpaceId, Now>,
        (snapshots, held_maps): (Vec<CodeSnapshot>, Vec<HeldMap>),
    ) -> Vec<(Generator, Vec<GeneratedAt>)> {
        let mut by_space: BTreeMap<SpaceId, Vec<GeneratedAt>> = BTreeMap::new();
        for (id, place) in numbered(places) {
            if let Place::Generated(space, addr, memory) = place {
                let addrs = by_space.entry(space).or_default();
                addrs.push((id, addr, self.memories.label(memory).cloned()));
            }
        }
        let tag_of = self.tags_of_spaces(tags);
        let held = held_maps.into_iter().map(|held| (held.space, held.file));
        let mut held_of: FastMap<SpaceId, HeldFile> = held.collect();
        // Of several programs that had the pid, the last that began before it.
        let mut snapshot_of: FastMap<SpaceId, JitMap> = FastMap::default();
        for snapshot in snapshots {
            let is_its = |id: &&SpaceId| {
                let space = self.tasks.space(**id);
                space.is_some_and(|space| snapshot.is_of(space.pid, space.since_ns))
            };
            if let Some(id) = by_space.keys().rev().find(is_its) {
                snapshot_of.insert(*id, snapshot.map);
            }
        }
        by_space
            .into_iter()
            .filter_map(|(id, addrs)| {
                let space = self.tasks.space(id)?;
                let snapshot = snapshot_of.remove(&id);
                // Only JVMs are asked; of one that has ended no mappings are known any more.
                let is_hotspot =
                    snapshot.is_some() || space.maps.images().any(|image| self.is_libjvm(image));
                let generator = Generator {
                    origin: self.origin,
                    root: self.pins.root(space.root).cloned(),
                    host: self.pins.root(RootRef::Host).cloned(),
                    host_pid: space.pid.0,
                    identity: space.identity,
                    began_ns: space.began_ns,
                    now: now.get(&id).copied(),
                    snapshot,
                    held: held_of.remove(&id),
                    is_hotspot,
                    container: tag_of
                        .get(&id)
                        .map_or_else(|| "host".into(), |tag| Arc::clone(tag)),
                };
                Some((generator, addrs))
            })
            .collect()
    }

    fn is_libjvm(&self, image: ImageId) -> bool {
        let image = self.images.get(image);
        image.is_some_and(|image| image.path.ends_with("libjvm.so"))
    }

    /// Every image that an address leads to, with the views of files that its path is looked for in.
    fn images_with_offsets(
        &mut self,
        places: &[Place],
        told: &Told,
        lookup: &Lookup,
    ) -> Vec<ImageOffsets> {
        let mut by_image: BTreeMap<ImageId, Vec<(PlaceId, u64)>> = BTreeMap::new();
        for (id, place) in numbered(places) {
            if let Place::Image(image, offset) = place {
                by_image.entry(image).or_default().push((id, offset));
            }
        }
        let sysroots = self.sysroots_of_images(lookup);
        let images = std::mem::take(&mut self.images).into_vec();
        let numbered = images.into_iter().enumerate();
        numbered
            .filter_map(|(at, mut image)| {
                let id = ImageId(at as u32);
                let offsets = by_image.remove(&id)?;
                let mistold = take_told_id(&mut image, told, lookup);
                let root_ref = image.root;
                Some(ImageOffsets {
                    views: self.views_of(&image, sysroots.get(&id), lookup),
                    root_ref,
                    image,
                    mistold,
                    offsets,
                })
            })
            .collect()
    }

    /// The sysroots of the containers that mapped each image, by their index. Where nothing but a path
    /// makes two mappings one image, only if all who mapped it have the same: one container's file says
    /// nothing about another's.
    fn sysroots_of_images(&self, lookup: &Lookup) -> FastMap<ImageId, BTreeSet<usize>> {
        let mut found: FastMap<ImageId, BTreeSet<usize>> = FastMap::default();
        if !lookup.has_sysroots() {
            return found;
        }
        let mut differing: BTreeSet<ImageId> = BTreeSet::new();
        for KnownContext { context, .. } in &self.contexts {
            let sysroots: BTreeSet<usize> = lookup
                .sysroots_of(&self.place_of(context))
                .into_iter()
                .collect();
            let space = context.space.and_then(|space| self.tasks.space(space));
            for image in space.iter().flat_map(|space| space.maps.images()) {
                let known = found.entry(image).or_insert_with(|| sysroots.clone());
                if *known != sysroots {
                    differing.insert(image);
                    known.extend(&sysroots);
                }
            }
        }
        let is_by_path = |id: &ImageId| {
            let image = self.images.get(*id);
            image.is_some_and(|image| matches!(image.key, ImageKey::Path { .. }))
        };
        for image in differing.iter().filter(|id| is_by_path(id)) {
            found.remove(image);
        }
        found
    }

    /// A live process's own view. Of a file: the sysroots of the containers that mapped it, the view of
    /// one that still runs, what stands for the host's `/`.
    fn views_of(
        &self,
        image: &Image,
        sysroots: Option<&BTreeSet<usize>>,
        lookup: &Lookup,
    ) -> Vec<View> {
        let own = self.pins.root(image.root).cloned().map(View::of_target);
        if self.origin == Origin::LiveHost {
            return own.into_iter().collect();
        }
        let own = own.filter(|_| matches!(image.root, RootRef::Pinned(_)));
        let sysroots = sysroots.into_iter().flatten().copied();
        lookup.views(sysroots, own)
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
