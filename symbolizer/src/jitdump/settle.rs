//! Samples that waited for their dump are counted: each by what was at its addresses at its time.

use super::code::PIECES_MAX;
use super::dump::{Dump, State};
use super::note::JitDumpNote;
use super::waiting::{IsNew, StackNumber, Step, Waiting};
use super::words::rewrite;
use super::{CodeName, CodeNames, DumpId};
use crate::context::ContextId;
use crate::hash::FastMap;
use crate::kept::keep_mappings;
use crate::lookup::Lookup;
use crate::pins::RootRef;
use crate::recorded::{RecordedTags, Turn};
use crate::stacks::Batch;
use crate::tally::Tally;
use crate::tasks::SpaceId;
use profiler::HostPid;
use profiler::perfdata::sidecar::Sidecar;
use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// Samples and files mapped over code that wait at most, of all processes: 40 MB. Then the older half of whoever has most is counted
/// by what the dump says by then.
const STEPS_MAX: usize = 1 << 20;
/// Words of the stacks that wait: 64 MiB, and as much for what they became.
const WORDS_MAX: usize = 8 << 20;
/// How often it is looked how much waits.
const LOOK_EVERY: u64 = 1 << 12;

/// How the dumps of a recording in a file are to be read.
#[derive(Clone, Debug)]
pub struct JitDumpOptions<'a> {
    /// Where they are looked for.
    pub lookup: &'a Lookup,
    /// The recorded machine (`uname -m`), where the recording tells.
    pub arch: Option<&'a str>,
    /// The clock of its times.
    pub clock: RecordingClock,
    /// When what the recording says itself of generated code is taken.
    pub turn: Turn,
}

/// Whether the times of a recording can be compared with those of dumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordingClock {
    /// CLOCK_MONOTONIC, as in dumps.
    Monotonic,
    /// Another, or nothing tells.
    Other,
}

/// All dumps of a recording.
pub(crate) struct Jits {
    /// `None` while it is settled.
    pub(super) dumps: Vec<Option<Box<Dump>>>,
    pub(crate) names: CodeNames,
    pub(crate) notes: Vec<(SpaceId, PathBuf, JitDumpNote)>,
    /// What was where and when, for a recording that is to name itself.
    pub(crate) seen: Vec<Seen>,
    last_seen: FastMap<(HostPid, u64), Option<CodeName>>,
    /// Scratch: the words of one stack.
    pub(crate) words: Vec<u64>,
    pub(super) lookup: Lookup,
    pub(super) arch: Option<String>,
    pub(super) clock: RecordingClock,
    turn: Turn,
    /// What waited or still does.
    waited: u64,
    /// Views with a file system that did not answer.
    pub(super) stuck: HashSet<RootRef>,
}

/// From when on an address had a name, as far as it was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: HostPid,
    pub(crate) addr: u64,
    pub(crate) from_ns: u64,
    pub(crate) name: Option<CodeName>,
}

impl Jits {
    /// Of a recording of this host, whose times are of CLOCK_MONOTONIC (`live/events.rs`).
    pub(crate) fn live() -> Self {
        Self {
            dumps: Vec::new(),
            names: CodeNames::default(),
            notes: Vec::new(),
            seen: Vec::new(),
            last_seen: FastMap::default(),
            words: Vec::new(),
            lookup: Lookup::of_host(),
            arch: Some(std::env::consts::ARCH.to_owned()),
            clock: RecordingClock::Monotonic,
            turn: Turn::First,
            waited: 0,
            stuck: HashSet::new(),
        }
    }

    /// What a generated function is called.
    pub(crate) fn name(&self, name: CodeName) -> Arc<str> {
        String::from_utf8_lossy(self.names.get(name)).into()
    }

    /// What waits of a process.
    fn waiting(&mut self, id: DumpId) -> Option<&mut Waiting> {
        let dump = self.dumps.get_mut(id.0 as usize)?.as_mut()?;
        Some(&mut dump.waiting)
    }

    /// Whose turn it is when too much waits.
    fn fullest(&self) -> Option<(DumpId, usize)> {
        let waiting = || self.dumps.iter().flatten().map(|dump| &dump.waiting);
        let steps: usize = waiting().map(Waiting::len).sum();
        let words: usize = waiting().map(Waiting::len_words).sum();
        let size: fn(&Waiting) -> usize = if steps >= STEPS_MAX {
            Waiting::len
        } else if words >= WORDS_MAX {
            Waiting::len_words
        } else {
            return None;
        };
        let dumps = self.dumps.iter().enumerate();
        let dumps = dumps.filter_map(|(at, dump)| Some((at, dump.as_ref()?)));
        let (at, dump) = dumps.max_by_key(|(_, dump)| size(&dump.waiting))?;
        Some((DumpId(at as u32), dump.waiting.len()))
    }
}

impl Tally {
    /// How the dumps of a recording in a file are to be read; before the first sample, and before the end
    /// if more is known by then.
    pub fn read_dumps(&mut self, options: &JitDumpOptions<'_>) {
        self.jits.lookup = options.lookup.clone();
        self.jits.arch = options.arch.map(str::to_owned);
        self.jits.clock = options.clock;
        self.jits.turn = options.turn;
    }

    /// Keeps a sample of a process with a dump until that is read as far.
    pub(crate) fn wait(
        &mut self,
        (dump, context): (DumpId, ContextId),
        words: &[u64],
        (time_ns, weight): (u64, u64),
    ) {
        let Some(waiting) = self.jits.waiting(dump) else {
            return;
        };
        let is_new = waiting.push(context, words, time_ns, weight);
        let space = self.contexts.get(context.0 as usize);
        if is_new == IsNew::Yes
            && let Some(space) = space.and_then(|known| known.context.space)
        {
            let (images, tasks) = (&mut self.images, &mut self.tasks);
            let origin = self.counting.origin;
            keep_mappings(origin, images, tasks, &mut self.kept, space, words);
        }
        self.settle_some();
    }

    /// A file is mapped over what a process generated.
    pub(crate) fn hide(&mut self, dump: DumpId, range: Range<u64>, time_ns: u64) {
        if let Some(waiting) = self.jits.waiting(dump) {
            waiting.hide(range, time_ns);
        }
        self.settle_some();
    }

    /// Counts some of what waits if it is too much.
    fn settle_some(&mut self) {
        self.jits.waited += 1;
        if self.jits.waited.is_multiple_of(LOOK_EVERY)
            && let Some((fullest, len)) = self.jits.fullest()
        {
            self.settle(fullest, len / 2 + 1);
        }
    }

    /// Counts all that waits: the recording is over.
    pub(crate) fn settle_all(&mut self) {
        for at in 0..self.jits.dumps.len() {
            self.settle(DumpId(at as u32), usize::MAX);
            let Some(Some(dump)) = self.jits.dumps.get_mut(at) else {
                continue;
            };
            dump.finish();
            let (space, path) = (dump.space, dump.image.path.clone());
            let notes = std::mem::take(&mut dump.notes);
            for note in notes {
                let of_recording = JitDumpNote::is_of_recording;
                let is_said = of_recording(&note)
                    && self
                        .jits
                        .notes
                        .iter()
                        .any(|(_, _, said)| of_recording(said));
                if !is_said {
                    self.jits.notes.push((space, path.clone(), note));
                }
            }
        }
    }

    /// Counts the oldest of what waits for a dump, up to `most` of it.
    fn settle(&mut self, id: DumpId, most: usize) {
        let slot = self.jits.dumps.get_mut(id.0 as usize);
        let Some(mut dump) = slot.and_then(Option::take) else {
            return;
        };
        // What was sampled since is counted as what is there now, what waited is not.
        self.count_batch();
        let known = match (&self.recorded, self.jits.turn) {
            (RecordedTags::Known(sidecar), turn) => Some((Arc::clone(sidecar), turn)),
            _ => None,
        };
        if !matches!(known, Some((_, Turn::First))) && dump.waiting.len() > 0 {
            self.open_dump(&mut dump);
        }
        let others = self.jits.dumps.iter().flatten();
        let pieces: usize = others.map(|dump| dump.timeline.pieces()).sum();
        dump.timeline.pieces_max = PIECES_MAX.saturating_sub(pieces);
        let mut made = Vec::new();
        for _ in 0..most {
            match dump.waiting.pop() {
                Some(Step::Sample {
                    stack,
                    time_ns,
                    weight,
                }) => {
                    self.advance(&mut dump, time_ns);
                    self.count_settled(
                        &mut dump,
                        stack,
                        (time_ns, weight),
                        known.as_ref(),
                        &mut made,
                    );
                }
                Some(Step::Hidden { range, time_ns }) => {
                    self.advance(&mut dump, time_ns);
                    dump.timeline.hide(range);
                }
                None => break,
            }
        }
        self.count_waited();
        dump.close();
        if let Some(slot) = self.jits.dumps.get_mut(id.0 as usize) {
            *slot = Some(dump);
        }
    }

    fn advance(&mut self, dump: &mut Dump, time_ns: u64) {
        let State::Known(reader) = &mut dump.state else {
            return;
        };
        let (bad_records, notes) = (&mut dump.bad_records, &mut dump.notes);
        let times = reader.times;
        let mut more = || reader.more(bad_records, notes);
        let names = &mut self.jits.names;
        dump.timeline.advance(time_ns, times, names, &mut more);
    }

    fn count_settled(
        &mut self,
        dump: &mut Dump,
        number: StackNumber,
        (time_ns, weight): (u64, u64),
        known: Option<&(Arc<Sidecar>, Turn)>,
        made: &mut Vec<u64>,
    ) {
        let Dump {
            waiting,
            timeline,
            pid,
            ..
        } = dump;
        let Some(stack) = waiting.stack(number) else {
            return;
        };
        // What the recording says of an address has its own times.
        let version = known.is_none().then(|| timeline.version());
        let cached = stack.made.as_ref();
        let is_cached = cached.is_some_and(|(made_at, _)| Some(*made_at) == version);
        if !is_cached {
            let names = &mut self.jits.names;
            let mut find = |addr| {
                let now = timeline.find(addr);
                let Some((sidecar, turn)) = known else {
                    return now;
                };
                match (turn, now) {
                    (Turn::Last, Some(now)) => Some(now),
                    _ => {
                        let text = sidecar.jitted_at(*pid, addr, time_ns)?;
                        names.intern(sidecar.text(text).as_bytes())
                    }
                }
            };
            let is_tapped = self.tap.is_listened_to();
            let (seen, last_seen) = (&mut self.jits.seen, &mut self.jits.last_seen);
            let find = |addr| {
                let name = find(addr);
                if is_tapped {
                    note_seen(seen, last_seen, (*pid, addr, time_ns), name);
                }
                name
            };
            rewrite(&stack.words, find, made);
            if let Some(version) = version {
                stack.made = Some((version, made.as_slice().into()));
            }
        }
        let words = match &stack.made {
            Some((_, words)) if is_cached => words,
            _ => &made[..],
        };
        let batch = self
            .stacks
            .push(stack.context, words.iter().copied(), |_| {}, weight);
        waiting.counted(number);
        if batch == Batch::Full {
            self.count_waited();
        }
    }
}

/// Notes what an address is called from now on, if that is news.
fn note_seen(
    seen: &mut Vec<Seen>,
    last_seen: &mut FastMap<(HostPid, u64), Option<CodeName>>,
    (pid, addr, from_ns): (HostPid, u64, u64),
    name: Option<CodeName>,
) {
    let key = (pid, addr);
    // Addresses of files and of code that no dump knows have no name from the beginning.
    if last_seen.get(&key).copied().flatten() == name {
        return;
    }
    last_seen.insert(key, name);
    seen.push(Seen {
        pid,
        addr,
        from_ns,
        name,
    });
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
