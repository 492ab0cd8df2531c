//! The state of a recording: events in, distinct raw stacks with their counts kept. Names
//! nothing and parses images only to unwind stacks; holds what naming will need, while it can be had.

use crate::chain::{has_no_entry, leaf_alone};
use crate::choice::{Counting, Idle, Weight};
use crate::code::{Code, classify};
use crate::context::{
    Context, ContextId, ContextKind, Counts, KnownContext, Origin, Place, Selected, Selector,
    place_of,
};
use crate::hash::FastMap;
use crate::image::Images;
use crate::jitdump::{DumpId, Jits, Marker, pid_of};
use crate::kept::{KeptPages, hold};
use crate::kernel::Ksymbols;
use crate::locate::{Ahead, Locator, Sampled, Words};
use crate::maps::{Backing, MapTable, Mapping};
use crate::memory::Memories;
use crate::pins::Pins;
use crate::recorded::RecordedTags;
use crate::remapped::Remapped;
use crate::stack::LayerKind;
use crate::stacks::{Batch, Belongs, NewStacks, SpaceNow, Stacks};
use crate::tap::Tapped;
use crate::tasks::{SpaceId, Tasks};
use crate::unwind::{ChainOptions, Chains, Files, LiveChains};
use crate::watch::Watches;
use profiler::live::EventSink;
use profiler::record::{Event, Mapped, MappedFile, Sample, Stamp, Throttle};
use profiler::{BuildId, CgroupId, HostPid};
use std::mem;
use std::sync::Arc;

/// The idle task of every CPU.
pub(crate) const IDLE_PID: HostPid = HostPid(0);
/// Its name; the kernel adds the CPU to it.
pub(crate) const IDLE_COMM: &str = "swapper";

/// A recording in the making.
pub struct Tally {
    pub(crate) counting: Counting,
    /// Time of the first sample.
    pub(crate) first_ns: Option<u64>,
    pub(crate) kernel_text: Option<(String, u64)>,
    pub(crate) kernel_build_id: Option<BuildId>,
    pub(crate) tasks: Tasks,
    pub(crate) images: Images,
    pub(crate) memories: Memories,
    pub(crate) pins: Pins,
    pub(crate) stacks: Stacks,
    pub(crate) located: Ahead,
    /// Whether there are new stacks that did not wait.
    is_new_of_now: bool,
    /// `None`: as they were recorded.
    pub(crate) chains: Option<Box<Chains>>,
    /// Of a recording of this host whose samples carry registers.
    pub(crate) live: Option<Box<LiveChains>>,
    pub(crate) contexts: Vec<KnownContext>,
    pub(crate) context_ids: FastMap<Context, ContextId>,
    /// The first context of each kind.
    pub(crate) counted_in: FastMap<ContextKind, ContextId>,
    pub(crate) cgroup_paths: FastMap<CgroupId, Arc<str>>,
    pub(crate) ksymbols: Ksymbols,
    pub(crate) remapped: Remapped,
    pub(crate) kept: KeptPages,
    pub(crate) jits: Jits,
    pub(crate) selector: Selector,
    pub(crate) watches: Watches,
    pub(crate) tap: Tapped,
    pub(crate) recorded: RecordedTags,
    pub(crate) counts: Counts,
    /// Since when each CPU that is throttled takes no samples.
    throttled_since: FastMap<u32, u64>,
}

/// A recording that is over: what was counted, and what was held for naming it.
pub struct Counted {
    pub(crate) origin: Origin,
    pub(crate) tasks: Tasks,
    pub(crate) images: Images,
    pub(crate) memories: Memories,
    pub(crate) pins: Pins,
    pub(crate) located: Locator,
    pub(crate) contexts: Vec<KnownContext>,
    cgroup_paths: FastMap<CgroupId, Arc<str>>,
    pub(crate) ksymbols: Ksymbols,
    pub(crate) layers: Vec<LayerKind>,
    pub(crate) jits: Jits,
}

impl Counted {
    /// Where the tasks of a context run.
    pub(crate) fn place_of(&self, context: &Context) -> Place<'_> {
        place_of(context, &self.tasks, &self.pins, &self.cgroup_paths)
    }
}

impl Tally {
    /// An empty recording of the tasks that `selector` wants.
    pub fn new(counting: Counting, selector: Selector) -> Self {
        Self {
            counting,
            first_ns: None,
            kernel_text: None,
            kernel_build_id: None,
            tasks: Tasks::new(),
            images: Images::default(),
            memories: Memories::default(),
            pins: Pins::new(),
            stacks: Stacks::default(),
            located: Ahead::default(),
            is_new_of_now: false,
            chains: None,
            live: None,
            contexts: Vec::new(),
            context_ids: FastMap::default(),
            counted_in: FastMap::default(),
            cgroup_paths: FastMap::default(),
            ksymbols: Ksymbols::default(),
            remapped: Remapped::default(),
            kept: KeptPages::default(),
            jits: Jits::live(),
            selector,
            watches: Watches::default(),
            tap: Tapped::default(),
            recorded: RecordedTags::None,
            counts: Counts::default(),
            throttled_since: FastMap::default(),
        }
    }

    /// How the samples' chains are to be read; before the first of them. As they were recorded, if
    /// this is not called.
    pub fn read_chains(&mut self, options: &ChainOptions<'_>) {
        self.chains = Some(Box::new(Chains::new(options)));
    }

    /// Makes a cgroup known: those that exist at the start, and at the end those that were missed.
    pub fn know_cgroup(&mut self, id: CgroupId, path: &str) {
        if self.cgroup_paths.contains_key(&id) {
            return;
        }
        self.cgroup_paths.insert(id, path.into());
        self.tap.cgroup(id, path);
    }

    /// A symbol of the recorded kernel and its address at that time, where a file tells: `_text`.
    pub fn kernel_text(&self) -> Option<(&str, u64)> {
        self.kernel_text
            .as_ref()
            .map(|(symbol, addr)| (symbol.as_str(), *addr))
    }

    /// The recorded kernel's build id, where its mapping tells it (`perf record --buildid-mmap`).
    pub fn kernel_build_id(&self) -> Option<BuildId> {
        self.kernel_build_id
    }

    /// Samples so far.
    pub fn counts(&self) -> Counts {
        Counts {
            out_of_files: self.pins.out_of_files + self.images.out_of_files,
            ..self.counts
        }
    }

    fn sample(&mut self, sample: &Sample<'_>) {
        self.counts.samples += 1;
        let first_ns = *self.first_ns.get_or_insert(sample.stamp.time_ns);
        let choice = &self.counting.choice;
        let is_idle = sample.stamp.pid == IDLE_PID;
        if !choice.wants(&sample.stamp, first_ns) || (is_idle && !choice.wants_comm(IDLE_COMM)) {
            self.counts.outside += 1;
            return;
        }
        if is_idle && self.counting.idle == Idle::CountedOnly {
            self.counts.idle += 1;
            self.tap.sample(sample);
            return;
        }
        let id = self.context_of(sample);
        let Some(known) = self.contexts.get(id.0 as usize) else {
            return;
        };
        if known.selected == Selected::No {
            self.counts.outside += 1;
            return;
        }
        self.counts.drawn += 1;
        let weight = match self.counting.weight {
            Weight::Samples => 1,
            Weight::Period => sample.period,
        };
        if sample.user_registers.is_some()
            && let Some(mut live) = self.live.take()
        {
            self.sample_live(&mut live, sample, (id, weight));
            self.live = Some(live);
            return;
        }
        self.tap.sample(sample);
        let chains = self.chains.take_if(|chains| chains.concern(sample));
        let Some(mut chains) = chains else {
            return self.count_recorded(id, sample, weight);
        };
        let context = &known.context;
        let files = Files {
            maps: self.tasks.maps_of(sample.stamp.pid),
            images: &self.images,
            sysroots: &|lookup| {
                let place = place_of(context, &self.tasks, &self.pins, &self.cgroup_paths);
                lookup.sysroots_of(&place)
            },
        };
        let counted = (sample.stamp.time_ns, weight);
        match chains.read(sample, &files) {
            Some(made) => self.count_words(id, made.iter().copied(), counted),
            None => self.count_recorded(id, sample, weight),
        }
        self.counts.unreached = chains.unreached;
        self.chains = Some(chains);
    }

    /// Counts a sample by the chain that was recorded.
    pub(crate) fn count_recorded(&mut self, id: ContextId, sample: &Sample<'_>, weight: u64) {
        let counted = (sample.stamp.time_ns, weight);
        match has_no_entry(sample.chain) {
            true => self.count_words(id, leaf_alone(sample.ip.0).into_iter(), counted),
            false => self.count_words(id, sample.chain.iter(), counted),
        }
    }

    /// Counts a sample by the words of its chain: now, or when its process's dump is read.
    pub(crate) fn count_words(
        &mut self,
        id: ContextId,
        words: impl Iterator<Item = u64>,
        (time_ns, weight): (u64, u64),
    ) {
        if self.push(id, words, (time_ns, weight)) == Batch::Full {
            self.count_batch();
        }
    }

    /// Counts a sample whose mappings were kept when it was sampled.
    pub(crate) fn count_late(
        &mut self,
        id: ContextId,
        words: &[u64],
        (time_ns, weight): (u64, u64),
    ) {
        if self.push(id, words.iter().copied(), (time_ns, weight)) == Batch::Full {
            self.count_waited();
        }
    }

    fn push(
        &mut self,
        id: ContextId,
        words: impl Iterator<Item = u64>,
        (time_ns, weight): (u64, u64),
    ) -> Batch {
        let Some(dump) = self.dump_of(id) else {
            let put = |words: &mut [u64]| self.ksymbols.put_at(words, time_ns);
            return self.stacks.push(id, words, put, weight);
        };
        let mut scratch = mem::take(&mut self.jits.words);
        scratch.clear();
        scratch.extend(words);
        self.ksymbols.put_at(&mut scratch, time_ns);
        self.wait((dump, id), &scratch, (time_ns, weight));
        self.jits.words = scratch;
        Batch::Open
    }

    fn dump_of(&self, id: ContextId) -> Option<DumpId> {
        self.contexts.get(id.0 as usize)?.dump
    }

    /// Counts the samples that wait, before anything they depend on changes. Of a live recording, a stack that was not
    /// seen before makes its mappings be kept and their images be held from now on.
    pub(crate) fn count_batch(&mut self) {
        self.count(When::Now);
    }

    /// Counts samples that waited, by the mappings that were kept when they were sampled. Before the first of them
    /// those that did not wait are to be counted.
    pub(crate) fn count_waited(&mut self) {
        if self.is_new_of_now {
            self.locate_new();
        }
        self.count(When::Before);
        // What comes then is of other mappings.
        if self.stacks.has_new() {
            self.locate_new();
        }
    }

    fn count(&mut self, sampled: When) {
        let Self {
            counting,
            stacks,
            located,
            contexts,
            tasks,
            ..
        } = self;
        let batch = located.next_batch();
        let may_wait = counting.origin == Origin::File;
        stacks.count_batch(|context, words, new| {
            let known = contexts.get(context.0 as usize)?;
            let space = known.context.space;
            if let Some(id) = space {
                put_down(tasks, id, (batch, sampled), new);
            }
            if may_wait && let Some(space) = space.and_then(|id| tasks.space_mut(id)) {
                space.touched.note(words);
            }
            Some(Belongs {
                counted_in: known.counted_in,
                sampled: Sampled {
                    space,
                    words: match known.dump {
                        Some(_) => Words::Rewritten,
                        None => Words::Recorded,
                    },
                },
            })
        });
        let is_wanted = match self.counting.origin {
            Origin::LiveHost => self.stacks.has_new(),
            Origin::File => self.stacks.has_many_new(),
        };
        self.is_new_of_now = sampled == When::Now && self.stacks.has_new();
        if is_wanted {
            self.locate_new();
        }
        if self.stacks.are_many_known() {
            self.forget_known();
        }
    }

    /// Lets new stacks be located: of a live recording here and now, for what they lead to may vanish.
    fn locate_new(&mut self) {
        self.is_new_of_now = false;
        let empty = self.located.spare();
        let new = self.stacks.take_new(empty);
        let done = match self.counting.origin {
            Origin::LiveHost => self.located.take(new),
            Origin::File => self.located.take_along(new),
        };
        self.keep_used(done);
    }

    /// Keeps what stacks led to, for naming them.
    fn keep_used(&mut self, done: Vec<NewStacks>) {
        for new in done {
            for (space, mapping) in &new.used.mappings {
                if let Some(seen_by) = self.tasks.keep(*space, *mapping) {
                    hold(self.counting.origin, &mut self.images, seen_by, mapping);
                }
            }
            for (space, addr) in &new.used.gaps {
                self.tasks.led_to_nothing(*space, *addr);
            }
            for space in &new.spaces {
                self.tasks.is_located(space.id, new.number);
            }
            self.located.keep_spare(new);
        }
    }

    /// Gives the new stacks of a space these mappings instead, if there are any: so no mapping makes a copy of them all.
    fn put_maps(&mut self, id: SpaceId, maps: Arc<MapTable>) -> bool {
        let batch = self.located.next_batch();
        let Some(space) = self.tasks.space(id).filter(|space| space.batch == batch) else {
            return false;
        };
        let Some(now) = self.stacks.new_spaces().get_mut(space.at) else {
            return false;
        };
        (now.maps, now.filled) = (maps, space.filled);
        true
    }

    /// Waits until all that was counted is located.
    fn wait_for_located(&mut self) {
        let done = self.located.wait();
        self.keep_used(done);
        if self.stacks.has_new() {
            self.locate_new();
        }
        let done = self.located.wait();
        self.keep_used(done);
    }

    /// Waits for what stacks of the process led to, where something is to be mapped that changes it.
    fn catch_up(&mut self, pid: HostPid, mapping: &Mapping) {
        let batch = self.tasks.batch_before(pid, mapping);
        if batch.is_none_or(|batch| self.located.has_done(batch)) {
            return;
        }
        // Whoever maps again and again what stacks led to before finds the locator here.
        self.wait_for_located();
    }

    /// Forgets which stacks are known by their words, but not what they weigh.
    fn forget_known(&mut self) {
        self.wait_for_located();
        let weighed = self.stacks.forget_known();
        self.located.here().weigh(&weighed);
        // Of a file, they tell which containers an image was mapped in, when it is looked for.
        if self.counting.origin == Origin::LiveHost {
            self.tasks.forget_left_maps();
        }
    }

    /// Ends the counting: nothing is selected any more, all that is known is kept for naming.
    pub fn close(mut self) -> Counted {
        self.end_live();
        self.settle_all();
        self.count_batch();
        self.forget_known();
        let Self {
            tasks,
            images,
            memories,
            pins,
            located,
            contexts,
            cgroup_paths,
            ksymbols,
            counting,
            jits,
            ..
        } = self;
        Counted {
            origin: counting.origin,
            layers: counting.layers,
            tasks,
            images,
            memories,
            pins,
            located: located.finish(),
            contexts,
            cgroup_paths,
            ksymbols,
            jits,
        }
    }

    fn mapped(&mut self, mapped: &Mapped<'_>) {
        if mapped.is_kernel {
            // perf names the kernel's own mapping after the symbol whose address is its offset.
            let symbol = mapped.path.strip_prefix(b"[kernel.kallsyms]");
            if let Some(symbol) = symbol.and_then(|symbol| std::str::from_utf8(symbol).ok())
                && !symbol.is_empty()
            {
                self.kernel_text = Some((symbol.to_owned(), mapped.file_offset_bytes));
                if let MappedFile::BuildId(id) = mapped.file {
                    self.kernel_build_id = Some(id);
                }
            }
            return;
        }
        let Some(kind) = classify(mapped.path, mapped.file) else {
            return;
        };
        let backing = match kind {
            // Another image than ours: of a 32-bit or x32 process.
            Code::Vdso if mapped.avma.end <= 1 << 32 => return,
            Code::Vdso => Backing::Vdso,
            Code::Generated => Backing::Generated(self.memories.intern(mapped.path)),
            Code::File => {
                self.watches.mapped(mapped.pid, mapped.path);
                let mnt = self
                    .tasks
                    .process(mapped.pid)
                    .and_then(|process| process.mnt);
                if self.images.want_sweep() {
                    self.wait_for_located();
                    let mut used = self.tasks.images_in_use();
                    used.extend(self.located.here().images());
                    self.images.sweep(&used);
                    if let Some(chains) = &mut self.chains {
                        chains.forget_images();
                    }
                    if let Some(live) = &mut self.live {
                        live.forget_images();
                    }
                }
                Backing::Image(self.images.intern(mapped.file, mnt, mapped.path))
            }
        };
        let mapping = Mapping {
            start: mapped.avma.start,
            end: mapped.avma.end,
            file_offset: mapped.file_offset_bytes,
            backing,
        };
        let (pid, avma) = (mapped.pid, mapped.avma.clone());
        let dump = self.tasks.process(pid).and_then(|process| process.dump);
        if let Some(dump) = dump.filter(|_| kind != Code::Generated) {
            self.hide(dump, avma.clone(), mapped.stamp.time_ns);
        }
        let is_suspect = self.suspect(pid, &mapping);
        self.catch_up(pid, &mapping);
        let put_down = self.tasks.stays_in(pid, &mapping);
        let put_down = put_down.filter(|id| self.put_maps(*id, Arc::default()));
        self.tasks.map(pid, mapping);
        if let Some((id, maps)) = put_down.and_then(|id| Some((id, self.tasks.maps_now(id)?))) {
            let maps = Arc::clone(maps);
            self.put_maps(id, maps);
        }
        if is_suspect {
            self.look_at_remapped();
        }
        if let (Backing::Image(image), Some(named)) = (backing, pid_of(mapped.path)) {
            let marker = Marker {
                start: avma.start,
                end: avma.end,
                image,
                pid: named,
            };
            self.tasks.mark(pid, marker);
        }
    }

    fn throttled(&mut self, throttle: &Throttle) {
        let Stamp { cpu, time_ns, .. } = throttle.stamp;
        if !throttle.is_end {
            self.counts.throttled += 1;
            self.throttled_since.insert(cpu, time_ns);
        } else if let Some(since_ns) = self.throttled_since.remove(&cpu) {
            self.counts.throttled_ns += time_ns.saturating_sub(since_ns);
        }
    }
}

/// Puts down how the address space of a new stack is now, once for each batch of them. Of stacks that waited it is
/// as it was then: what they led to was kept.
fn put_down(tasks: &mut Tasks, id: SpaceId, (batch, sampled): (u64, When), new: &mut NewStacks) {
    let Some(space) = tasks.space_mut(id).filter(|space| space.batch != batch) else {
        return;
    };
    (space.batch, space.at) = (batch, new.spaces.len());
    let filled = space.filled;
    let maps = match sampled {
        When::Now => tasks.maps_now(id),
        When::Before => tasks.space(id).map(|space| &space.maps),
    };
    if let Some(maps) = maps {
        let maps = Arc::clone(maps);
        new.spaces.push(SpaceNow { id, maps, filled });
    }
}

/// When the samples that are counted were sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Now,
    /// They waited.
    Before,
}

impl EventSink for Tally {
    fn round_ended(&mut self) {
        self.count_batch();
        self.exchange_live();
        self.look_at_remapped();
    }

    fn event(&mut self, event: &Event<'_>) {
        self.remapped.time_is(event.stamp().time_ns);
        if let Event::Sample(sample) = event {
            return self.sample(sample);
        }
        self.count_batch();
        self.tap.event(event);
        match event {
            Event::Mapped(mapped) => self.mapped(mapped),
            Event::Comm(comm) => {
                self.tasks.comm(comm);
                if comm.is_exec {
                    self.execed(comm.pid, comm.stamp.time_ns);
                }
            }
            Event::Fork(fork) => self.tasks.fork(fork),
            Event::Exit(exit) => self.exited(exit),
            Event::Namespaces(seen) => self.tasks.entered(seen.pid, seen.mnt),
            Event::Cgroup(seen) => {
                self.cgroup_paths
                    .insert(seen.id, String::from_utf8_lossy(seen.path).into());
            }
            Event::Ksymbol(seen) => {
                let (start, len_bytes) = (seen.addr.0, seen.len_bytes);
                match seen.is_unregister {
                    true => self.ksymbols.unregister(start, len_bytes, seen.name),
                    false => {
                        let time_ns = seen.stamp.time_ns;
                        self.ksymbols.register(start, len_bytes, seen.name, time_ns);
                    }
                }
            }
            Event::Lost(lost) => self.counts.lost += lost.count,
            Event::Throttle(throttle) => self.throttled(throttle),
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
