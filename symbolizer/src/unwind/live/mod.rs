//! Chains of samples that are taken now: what the kernel's walk by frame pointers misses is made good
//! before a sample is counted.
//!
//! ```text
//!  sample ─▶ LiveChains: by what was read of its images ───────────────────────────▶ counted
//!                └─ waits: a copy of it ─▶ Worker: reads images, unwinds ─▶ its chain, images ─┘
//! ```
//! Only the worker opens files. What waits is bounded: a sample that finds no room is counted as it was
//! recorded, and that is said.

mod astray;
mod batch;
mod compose;
mod read;
mod tally;
#[cfg(test)]
mod tests;
mod worker;

use super::repair::{Lookups, Needed, Repair};
use super::{Machine, Registers, StackBytes, Start, Unwinder};
use crate::context::ContextId;
use crate::hash::FastMap;
use crate::image::{Image, ImageId};
use crate::lookup::View;
use crate::maps::MapTable;
use crate::tasks::SpaceId;
pub use astray::Astray;
use astray::{AstrayCounts, AstrayEnd};
use batch::{Batch, ImageFile};
use compose::{compose, leaf_in};
use profiler::record::Sample;
use read::ReadCfi;
use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Weak};
use std::thread::{Builder, JoinHandle};
use worker::Worker;

/// What is made of the registers and the stack that a live sample carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveStacks {
    /// What the kernel's walk by frame pointers misses, as far as the copy of the stack reaches.
    Repair,
    /// The whole user part.
    Unwind,
}

/// Bytes of samples that may wait: of stacks of 8 KiB some four thousand.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// Bytes that are handed over at once.
const BATCH_BYTES: usize = 256 << 10;
/// Empty batches that are kept.
const SPARE_MAX: usize = 8;
/// From so many mappings on, only those are handed over that a stack may lead through: a copy of the table
/// must not cost more than the sample.
const MAPPINGS_SHARED_MAX: usize = 4096;
/// Nor may the images of a process all be held for so few bytes of a stack.
const FEW_BYTES: usize = 2048;

/// How a live sample is counted.
enum Read {
    AsRecorded,
    /// By `LiveChains::chain`.
    Made(Option<AstrayEnd>),
    /// Later.
    Waits(Box<Registers>),
}

/// The chains of a recording of this host.
pub(crate) struct LiveChains {
    how: LiveStacks,
    machine: Machine,
    max_entries: usize,
    /// It reads nothing.
    unwinder: Unwinder,
    /// What the worker has read.
    read: ReadCfi,
    needed: Needed,
    found: Vec<u64>,
    recorded: Vec<u64>,
    /// The chain of the last sample, where one was made.
    chain: Vec<u64>,
    /// To be handed over.
    open: Batch,
    spare: Vec<Batch>,
    to_worker: Option<Sender<Batch>>,
    from_worker: Receiver<Batch>,
    thread: Option<JoinHandle<()>>,
    is_ending: Arc<AtomicBool>,
    /// What the batches that were handed over take.
    away: VecDeque<usize>,
    away_bytes: usize,
    /// Images that the worker has heard of.
    told: HashSet<ImageId>,
    /// The mappings that each space had when its images were last looked at.
    looked_at: FastMap<SpaceId, Weak<MapTable>>,
    generation: u32,
    astray: AstrayCounts,
}

/// How a stack ended whose frame pointers were false.
fn end_of(repair: Repair) -> Option<AstrayEnd> {
    match repair {
        Repair::Whole => Some(AstrayEnd::Whole),
        Repair::Cut => Some(AstrayEnd::Cut),
        Repair::AsRecorded | Repair::Inserted(_) | Repair::Ended { .. } | Repair::Unknown => None,
    }
}

impl LiveChains {
    /// Starts the worker; `None` on a machine whose stacks cannot be unwound.
    pub(crate) fn start(how: LiveStacks, max_entries: usize) -> io::Result<Option<Self>> {
        let Some(machine) = Machine::of_this_host() else {
            return Ok(None);
        };
        let is_ending = Arc::new(AtomicBool::new(false));
        let worker = Worker::new(how, machine, max_entries, Arc::clone(&is_ending));
        let (to_worker, batches) = channel();
        let (made, from_worker) = channel();
        let thread = Builder::new()
            .name("stacks".into())
            .spawn(move || worker.run(&batches, &made))?;
        Ok(Some(Self {
            how,
            machine,
            max_entries,
            unwinder: Unwinder::new(),
            read: ReadCfi::default(),
            needed: Needed::new(),
            found: Vec::new(),
            recorded: Vec::new(),
            chain: Vec::new(),
            open: Batch::default(),
            spare: Vec::new(),
            to_worker: Some(to_worker),
            from_worker,
            thread: Some(thread),
            is_ending,
            away: VecDeque::new(),
            away_bytes: 0,
            told: HashSet::new(),
            looked_at: FastMap::default(),
            generation: 0,
            astray: AstrayCounts::default(),
        }))
    }

    /// Numbers of images may be others' from now on.
    pub(crate) fn forget_images(&mut self) {
        self.send();
        self.generation = self.generation.wrapping_add(1);
        self.open.generation = self.generation;
        self.unwinder.forget();
        self.read.images.clear();
        self.told.clear();
        self.looked_at.clear();
    }

    /// Reads a sample as far as it can be without any file.
    fn read(&mut self, sample: &Sample<'_>, maps: &MapTable) -> Read {
        let recorded = sample.user_registers.as_ref();
        let registers = recorded.and_then(|it| Registers::recorded(self.machine, it));
        let Some(registers) = registers else {
            return Read::AsRecorded;
        };
        if self.how == LiveStacks::Unwind {
            return Read::Waits(Box::new(registers));
        }
        let Some(leaf) = leaf_in(sample.chain.iter()) else {
            return Read::AsRecorded;
        };
        let word = |at: usize| sample.chain.words.get(at).copied().map(u64::from_ne_bytes);
        if word(leaf) != registers.get(self.machine.pc()) {
            return Read::AsRecorded;
        }
        let start = Start {
            machine: self.machine,
            registers,
            stack: StackBytes {
                start: registers.get(self.machine.sp()).unwrap_or(0),
                bytes: sample.user_stack,
            },
        };
        self.recorded.clear();
        self.recorded.extend(sample.chain.iter());
        let behind = self.recorded.get(leaf + 1..).unwrap_or_default();
        self.needed.clear();
        let lookups = Lookups {
            source: &mut self.read,
            needed: &mut self.needed,
        };
        let found = &mut self.found;
        let repair = self
            .unwinder
            .repair(maps, Some(lookups), start, behind, found);
        match repair {
            Repair::AsRecorded => return Read::AsRecorded,
            Repair::Unknown => return Read::Waits(Box::new(registers)),
            Repair::Inserted(_) | Repair::Ended { .. } | Repair::Whole | Repair::Cut => {}
        }
        self.chain.clear();
        let (recorded, found) = ((&*self.recorded, leaf), (repair, &*self.found));
        match compose(recorded, found, self.max_entries, &mut self.chain) {
            true => Read::Made(end_of(repair)),
            false => Read::AsRecorded,
        }
    }

    fn has_room(&self) -> bool {
        self.away_bytes + self.open.len_bytes() < WAITING_BYTES_MAX
    }

    /// The mappings that a sample's stack may lead through, to be handed over with it.
    fn maps_for(&self, sample: &Sample<'_>, maps: &Arc<MapTable>) -> Arc<MapTable> {
        if sample.user_stack.len() > FEW_BYTES && maps.len() <= MAPPINGS_SHARED_MAX {
            return Arc::clone(maps);
        }
        let (stack, _) = sample.user_stack.as_chunks::<8>();
        let stack = stack.iter().copied().map(u64::from_le_bytes);
        Arc::new(maps.around(sample.chain.iter().chain(stack)))
    }

    /// Whether the images of these mappings were looked at already.
    fn has_looked_at(&mut self, space: SpaceId, maps: &Arc<MapTable>) -> bool {
        let now = Arc::downgrade(maps);
        match self.looked_at.insert(space, now) {
            Some(before) => before.as_ptr() == Arc::as_ptr(maps),
            None => false,
        }
    }

    /// Tells the worker of an image.
    fn tell(&mut self, id: ImageId, image: Image, view: Option<View>) {
        self.told.insert(id);
        self.open.images.push(ImageFile { id, image, view });
    }

    /// Keeps a sample until the worker has made its chain.
    fn wait(
        &mut self,
        sample: &Sample<'_>,
        counted: (ContextId, u64),
        registers: Registers,
        maps: Arc<MapTable>,
    ) {
        self.open.push(sample, counted, registers, maps);
        if self.open.len_bytes() >= BATCH_BYTES {
            self.send();
        }
    }

    /// Hands over what waits.
    fn send(&mut self) {
        if self.open.waiting.is_empty() {
            return;
        }
        let mut empty = self.spare.pop().unwrap_or_default();
        empty.generation = self.generation;
        let batch = std::mem::replace(&mut self.open, empty);
        let bytes = batch.len_bytes();
        if let Some(worker) = &self.to_worker
            && worker.send(batch).is_ok()
        {
            self.away.push_back(bytes);
            self.away_bytes += bytes;
        }
    }

    /// A batch that the worker is done with, if there is one; waits for it only when `ended`.
    fn receive(&mut self) -> Option<Batch> {
        let batch = match self.to_worker {
            Some(_) => match self.from_worker.try_recv() {
                Ok(batch) => batch,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            },
            None => self.from_worker.recv().ok()?,
        };
        Some(self.returned(batch))
    }

    fn returned(&mut self, mut batch: Batch) -> Batch {
        if let Some(bytes) = self.away.pop_front() {
            self.away_bytes = self.away_bytes.saturating_sub(bytes);
        }
        if batch.generation == self.generation {
            for learned in &batch.learned {
                let known = &mut self.unwinder.known;
                let alone = learned.offset..learned.offset.saturating_add(1);
                known.note(learned.image, learned.offset, alone, learned.found);
            }
            let roots = &mut self.unwinder.roots;
            for image in batch.read.drain(..) {
                if !image.start.is_empty() {
                    roots.note_start(image.id, &image.start);
                }
                self.read.images.insert(image.id, image.cfi);
            }
        } else {
            // Its images' numbers may be others' by now.
            batch.forget_made();
            for waiting in &mut batch.waiting {
                waiting.maps = Arc::default();
            }
        }
        batch
    }

    fn keep_spare(&mut self, mut batch: Batch) {
        if self.spare.len() < SPARE_MAX {
            batch.clear();
            self.spare.push(batch);
        }
    }

    /// Nothing more will wait.
    fn end(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.send();
        self.to_worker = None;
    }

    /// After the last batch was received.
    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
