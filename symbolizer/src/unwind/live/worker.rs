//! The thread that reads images' call frame information and makes the chains that wait for it: whatever
//! a container's file system does, the loop that empties the rings goes on.

use super::batch::{Batch, ImageFile, Learned, ReadImage, Waiting};
use super::compose::{compose, leaf_in};
use super::{LiveStacks, end_of};
use crate::chain::{CUT_MARKER, WHOLE_MARKER};
use crate::elf::ElfLimits;
use crate::hash::FastMap;
use crate::image::ImageId;
use crate::lookup::Lookup;
use crate::name::READ_DEADLINE;
use crate::pins::RootRef;
use crate::source::find_image;
use crate::unwind::cfi::Cfi;
use crate::unwind::images::{ALL_BYTES_MAX, own_vdso};
use crate::unwind::repair::{Lookups, Needed, Repair};
use crate::unwind::start::start_code;
use crate::unwind::{CfiSource, Ended, Machine, StackBytes, Start, Unreached, Unwinder, VDSO};
use profiler::files::within;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};

/// Views of files that did not answer, after which no image is read any more: each costs a deadline.
const STUCK_MAX: usize = 8;

/// Makes the chains of batches until there are no more.
pub(super) struct Worker {
    how: LiveStacks,
    machine: Machine,
    max_entries: usize,
    generation: u32,
    unwinder: Unwinder,
    cfi: WorkerCfi,
    /// Images of [`WorkerCfi::read`] whose start the unwinder has heard of.
    heard: usize,
    /// Scratch: the frames of one stack, the rules that they needed, its chain.
    frames: Vec<u64>,
    needed: Needed,
    chain: Vec<u64>,
    /// Of the batch.
    unreached: Unreached,
}

impl Worker {
    /// `is_ending`: set when nothing is recorded any more, and somebody waits.
    pub(super) fn new(
        how: LiveStacks,
        machine: Machine,
        max_entries: usize,
        is_ending: Arc<AtomicBool>,
    ) -> Self {
        Self {
            how,
            machine,
            max_entries,
            generation: 0,
            unwinder: Unwinder::new(),
            cfi: WorkerCfi::new(is_ending),
            heard: 0,
            frames: Vec::new(),
            needed: Needed::new(),
            chain: Vec::new(),
            unreached: Unreached::default(),
        }
    }

    pub(super) fn run(mut self, batches: &Receiver<Batch>, made: &Sender<Batch>) {
        while let Ok(mut batch) = batches.recv() {
            self.work(&mut batch);
            if made.send(batch).is_err() {
                return;
            }
        }
    }

    fn work(&mut self, batch: &mut Batch) {
        if batch.generation != self.generation {
            self.generation = batch.generation;
            self.unwinder.forget();
            self.cfi.forget();
            self.heard = 0;
        }
        self.cfi.hear_of(batch.images.drain(..));
        let mut learned = std::mem::take(&mut batch.learned);
        for at in 0..batch.waiting.len() {
            let Some(waiting) = batch.waiting.get(at) else {
                continue;
            };
            let stack = batch.stacks.get(waiting.stack.clone()).unwrap_or_default();
            let recorded = batch.recorded(waiting);
            self.chain.clear();
            let made = match self.how {
                LiveStacks::Repair => {
                    let made = self.repair(waiting, stack, recorded);
                    self.teach(&mut learned);
                    made
                }
                LiveStacks::Unwind => self.unwind(waiting, stack, recorded),
            };
            if let Some(repair) = made {
                batch.set_chain(at, &self.chain, end_of(repair));
            }
        }
        batch.learned = learned;
        self.hear_of_starts();
        (batch.read, self.heard) = (std::mem::take(&mut self.cfi.read), 0);
        batch.unreached = std::mem::take(&mut self.unreached);
    }

    fn start<'a>(&self, waiting: &Waiting, stack: &'a [u8]) -> Start<'a> {
        Start {
            machine: self.machine,
            registers: waiting.registers,
            stack: StackBytes {
                start: waiting.registers.get(self.machine.sp()).unwrap_or(0),
                bytes: stack,
            },
        }
    }

    /// The rules that the last repair needed.
    fn teach(&mut self, learned: &mut Vec<Learned>) {
        self.needed.sort_unstable();
        self.needed.dedup();
        for (image, offset) in self.needed.iter().copied() {
            if let Some(found) = self.unwinder.known.get(image, offset) {
                learned.push(Learned {
                    image,
                    offset,
                    found,
                });
            }
        }
    }

    /// The chain with what the kernel's walk missed.
    fn repair(&mut self, waiting: &Waiting, stack: &[u8], recorded: &[u64]) -> Option<Repair> {
        let leaf = leaf_in(recorded.iter().copied())?;
        self.needed.clear();
        let behind = recorded.get(leaf + 1..).unwrap_or_default();
        let mut repair = self.repair_once(waiting, stack, behind);
        if self.hear_of_starts() {
            repair = self.repair_once(waiting, stack, behind);
        }
        let (found, chain) = ((repair, &*self.frames), &mut self.chain);
        compose((recorded, leaf), found, self.max_entries, chain).then_some(repair)
    }

    /// Whether a program's start is known that was not: of an image that was just read.
    fn hear_of_starts(&mut self) -> bool {
        let mut is_new = false;
        for image in self.cfi.read.get(self.heard..).unwrap_or_default() {
            if !image.start.is_empty() {
                self.unwinder.roots.note_start(image.id, &image.start);
                is_new = true;
            }
        }
        self.heard = self.cfi.read.len();
        is_new
    }

    fn repair_once(&mut self, waiting: &Waiting, stack: &[u8], behind: &[u64]) -> Repair {
        let start = self.start(waiting, stack);
        let lookups = Lookups {
            source: &mut self.cfi,
            needed: &mut self.needed,
        };
        let (maps, frames) = (&waiting.maps, &mut self.frames);
        self.unwinder
            .repair(maps, Some(lookups), start, behind, frames)
    }

    /// The kernel's part, and what registers and stack lead through; where that does not reach the root,
    /// and the kernel's walk by frame pointers got further, that one with its leaf repaired.
    fn unwind(&mut self, waiting: &Waiting, stack: &[u8], recorded: &[u64]) -> Option<Repair> {
        self.frames.clear();
        let start = self.start(waiting, stack);
        let ended = self
            .unwinder
            .unwind(&waiting.maps, &mut self.cfi, start, &mut self.frames);
        let leaf = leaf_in(recorded.iter().copied())?;
        if ended != Ended::Complete && recorded.len() - leaf > self.frames.len() {
            return self.repair(waiting, stack, recorded);
        }
        self.unreached.count(ended);
        self.chain
            .extend_from_slice(recorded.get(..leaf).unwrap_or_default());
        self.chain.extend_from_slice(&self.frames);
        self.chain.push(match ended {
            Ended::Complete => WHOLE_MARKER,
            Ended::Cut | Ended::Far | Ended::Lost | Ended::TooDeep => CUT_MARKER,
        });
        // Whatever the frame pointers were: they were not looked at.
        Some(Repair::AsRecorded)
    }
}

/// The images' call frame information, each read when it is first needed.
struct WorkerCfi {
    images: FastMap<ImageId, ImageFile>,
    known: FastMap<ImageId, Option<Arc<Cfi>>>,
    vdso: OnceCell<Option<Arc<Cfi>>>,
    lookup: Lookup,
    /// What was read, and not told of yet.
    read: Vec<ReadImage>,
    bytes: u64,
    stuck: HashSet<RootRef>,
    is_ending: Arc<AtomicBool>,
}

impl WorkerCfi {
    fn new(is_ending: Arc<AtomicBool>) -> Self {
        Self {
            images: FastMap::default(),
            known: FastMap::default(),
            vdso: OnceCell::new(),
            lookup: Lookup::of_host(),
            read: Vec::new(),
            bytes: 0,
            stuck: HashSet::new(),
            is_ending,
        }
    }

    fn hear_of(&mut self, images: impl Iterator<Item = ImageFile>) {
        for file in images {
            if !self.known.contains_key(&file.id) {
                self.images.insert(file.id, file);
            }
        }
    }

    fn tell_of(&mut self, id: ImageId, cfi: Option<Arc<Cfi>>, start: Vec<Range<u64>>) {
        self.read.push(ReadImage { id, cfi, start });
    }

    fn forget(&mut self) {
        self.images.clear();
        self.known.clear();
        self.vdso = OnceCell::new();
        self.read.clear();
        self.bytes = 0;
    }

    /// Its call frame information, and where its start is.
    fn read(&mut self, file: ImageFile) -> Option<(Arc<Cfi>, Vec<Range<u64>>)> {
        let root = file.image.root;
        let stuck_max = match self.is_ending.load(Ordering::Relaxed) {
            true => 1,
            false => STUCK_MAX,
        };
        if self.bytes > ALL_BYTES_MAX || self.stuck.contains(&root) || self.stuck.len() >= stuck_max
        {
            return None;
        }
        let (label, lookup) = (Arc::clone(&file.image.label), self.lookup.clone());
        let read = within(READ_DEADLINE, label.as_ref(), move || {
            let views: Vec<_> = file.view.into_iter().collect();
            let file = find_image(&file.image, &views, &lookup).file.ok()?;
            let cfi = Cfi::read(&file, &ElfLimits::default()).ok()??;
            let start = start_code(&file, &cfi);
            Some((cfi, start))
        });
        match read {
            Ok(read) => {
                let (cfi, start) = read?;
                self.bytes += cfi.len_bytes();
                Some((Arc::new(cfi), start))
            }
            Err(_) => {
                self.stuck.insert(root);
                None
            }
        }
    }
}

impl CfiSource for WorkerCfi {
    fn image(&mut self, id: ImageId) -> Option<Arc<Cfi>> {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let file = self.images.remove(&id)?;
        let (cfi, start) = self.read(file).unzip();
        self.known.insert(id, cfi.clone());
        self.tell_of(id, cfi.clone(), start.unwrap_or_default());
        cfi
    }

    /// It is told when a process is found that still has it mapped.
    fn may_come(&self, id: ImageId) -> bool {
        id != VDSO && !self.known.contains_key(&id)
    }

    fn vdso(&mut self) -> Option<Arc<Cfi>> {
        if self.vdso.get().is_none() {
            let cfi = self.vdso.get_or_init(own_vdso).clone();
            self.tell_of(VDSO, cfi, Vec::new());
        }
        self.vdso.get().cloned().flatten()
    }
}
