//! Text that a program put onto other pages, mostly huge ones (node's --use-largepages, mysqld, perl): its own code,
//! in memory of no file.
//!
//! Which file it was is told by what was mapped there before, or by the mappings beside it. Both only suggest: pages
//! are taken for the file's if they have its bytes, each of them, all of its bytes. Then the mapping of the file is told
//! as if the kernel had: to the unwinder, to whoever names, to a recording that is written.

use crate::context::Origin;
use crate::image::{Image, ImageId, ImageKey};
use crate::lookup::{Lookup, View};
use crate::maps::{Backing, MapTable, Mapping};
use crate::source::find_image;
use crate::tally::Tally;
use profiler::HostPid;
use profiler::files::{BoundedFile, within};
use profiler::live::{EventSink, ProcessMemory};
use profiler::record::{Event, Mapped, MappedFile, Stamp};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// What is compared at once, and what must be equal as a whole: the least page of all architectures.
const CHUNK_BYTES: u64 = 1 << 18;
const PAGE_BYTES: u64 = 4096;
/// Text that is compared at most: a recording waits for it, some 0.1 s.
const TEXT_MAX_BYTES: u64 = 256 << 20;
/// And no longer than this, whoever serves the file.
const DEADLINE: Duration = Duration::from_millis(250);
/// Nor in all looks together: who makes such memory on purpose, over files that do not answer, gets no more.
const SPENT_MAX: Duration = Duration::from_secs(1);
/// A program maps the memory, and then copies: it is looked at again in so many rounds.
const ROUNDS: u8 = 20;
/// Mappings that are looked at again, at one time, and in all: each costs reading it.
const WAITING_MAX: usize = 64;
const LOOKS_MAX: u32 = 4096;
/// Equal pages in so many pieces are chance or something else than text that was moved.
const RUNS_MAX: usize = 64;

/// Memory that may be a copy of a file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Suspect {
    pid: HostPid,
    avma: Range<u64>,
    image: ImageId,
    /// What its first byte would be in the file.
    file_offset: u64,
    /// A mapping of the file that is still there, if one is.
    neighbour: Option<Range<u64>>,
}

/// Memory that is looked at again.
#[derive(Debug)]
struct Waiting {
    suspect: Suspect,
    /// How often.
    rounds: u8,
    /// What of it was equal, and is told.
    told: Vec<Range<u64>>,
}

impl Waiting {
    fn is_in(&self, pid: HostPid, mapping: &Mapping) -> bool {
        let Suspect { pid: of, avma, .. } = &self.suspect;
        *of == pid && avma.start < mapping.end && avma.end > mapping.start
    }
}

impl Suspect {
    fn is_same(&self, other: &Suspect) -> bool {
        (self.pid, &self.avma, self.image, self.file_offset)
            == (other.pid, &other.avma, other.image, other.file_offset)
    }
}

/// What is looked at again.
#[derive(Debug, Default)]
pub(crate) struct Remapped {
    waiting: Vec<Waiting>,
    looks: u32,
    /// What they took.
    spent: Duration,
    /// Time of the last event, of those that are stamped as of now.
    last_ns: u64,
    is_telling: bool,
}

impl Remapped {
    /// An event is from this time: what is found from now on is told after it.
    pub(crate) fn time_is(&mut self, time_ns: u64) {
        self.last_ns = self.last_ns.max(time_ns);
    }
}

/// What the comparison said.
enum Compared {
    /// These addresses have the file's bytes.
    Equal(Vec<Range<u64>>),
    /// Nothing can be said.
    Unknown,
}

/// The suspects that a new mapping makes, in the mappings that were there before it.
fn suspects(pid: HostPid, new: &Mapping, maps: &MapTable) -> Vec<Suspect> {
    let of_image = |mapping: &Mapping| match mapping.backing {
        Backing::Image(image) => Some(image),
        _ => None,
    };
    let beside = |known: &Mapping, avma: Range<u64>| {
        // Below it: the offset may lie before the file's beginning.
        let file_offset = match avma.start.checked_sub(known.start) {
            Some(into) => known.file_offset.checked_add(into)?,
            None => known.file_offset.checked_sub(known.start - avma.start)?,
        };
        Some(Suspect {
            pid,
            avma,
            image: of_image(known)?,
            file_offset,
            neighbour: Some(known.start..known.end),
        })
    };
    let before = || new.start.checked_sub(1).and_then(|at| maps.find(at));
    let behind = || maps.find(new.end);
    let sides = || [before(), behind()].into_iter().flatten();
    match new.backing {
        Backing::Generated(_) => {
            let over = maps
                .iter()
                .filter(|old| old.start < new.end && old.end > new.start);
            let over = over.filter_map(|old| {
                let avma = old.start.max(new.start)..old.end.min(new.end);
                let rest = [old.start..avma.start, avma.end..old.end];
                Some(Suspect {
                    pid,
                    file_offset: old.offset_of(avma.start),
                    avma,
                    image: of_image(old)?,
                    neighbour: rest.into_iter().find(|rest| !rest.is_empty()),
                })
            });
            let over: Vec<Suspect> = over.collect();
            match over.is_empty() {
                false => over,
                true => sides()
                    .find_map(|(known, _)| beside(&known, new.start..new.end))
                    .into_iter()
                    .collect(),
            }
        }
        Backing::Image(_) => sides()
            .filter(|(known, _)| matches!(known.backing, Backing::Generated(_)))
            .filter_map(|(known, _)| beside(new, known.start..known.end))
            .collect(),
        Backing::Vdso => Vec::new(),
    }
}

impl Tally {
    /// Looks whether a new mapping, or one beside it, is text that was moved. Before the mapping is put in.
    pub(crate) fn suspect(&mut self, pid: HostPid, new: &Mapping) -> bool {
        if self.counting.origin != Origin::LiveHost || self.remapped.is_telling {
            return false;
        }
        let found = match self.tasks.maps_of(pid) {
            Some(maps) => suspects(pid, new, maps),
            None => return false,
        };
        let waiting = &mut self.remapped.waiting;
        let mut is_new = false;
        // The same memory again: its rights changed, which a program does when it has copied.
        if let Backing::Generated(_) = new.backing {
            for known in waiting.iter_mut().filter(|known| known.is_in(pid, new)) {
                known.told.clear();
                is_new = true;
            }
        }
        for suspect in found {
            let is_known = waiting.iter().any(|known| known.suspect.is_same(&suspect));
            if waiting.len() < WAITING_MAX && !is_known {
                waiting.push(Waiting {
                    suspect,
                    rounds: ROUNDS,
                    told: Vec::new(),
                });
                is_new = true;
            }
        }
        is_new
    }

    /// Compares what waits with its file, and tells what is equal.
    pub(crate) fn look_at_remapped(&mut self) {
        if self.remapped.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.remapped.waiting);
        for waits in waiting {
            if self.remapped.looks >= LOOKS_MAX || self.remapped.spent >= SPENT_MAX {
                return;
            }
            self.remapped.looks += 1;
            let began = Instant::now();
            let compared = self.compare(&waits.suspect);
            self.remapped.spent += began.elapsed();
            match compared {
                Compared::Unknown => {}
                Compared::Equal(runs) => {
                    if runs != waits.told && runs.len() <= RUNS_MAX {
                        self.tell(&waits.suspect, &runs);
                    }
                    if runs.first() != Some(&waits.suspect.avma) && waits.rounds > 0 {
                        self.remapped.waiting.push(Waiting {
                            suspect: waits.suspect,
                            rounds: waits.rounds - 1,
                            told: runs,
                        });
                    }
                }
            }
        }
    }

    fn compare(&mut self, suspect: &Suspect) -> Compared {
        let len_bytes = suspect.avma.end - suspect.avma.start;
        let Ok(memory) = ProcessMemory::open(suspect.pid) else {
            return Compared::Unknown;
        };
        if len_bytes > TEXT_MAX_BYTES {
            return Compared::Unknown;
        }
        let pid = suspect.pid;
        let mnt = self.tasks.process(pid).and_then(|process| process.mnt);
        let others = self.tasks.living_in(mnt);
        let root = self.pins.pin(pid, mnt, self.remapped.last_ns, others);
        if self.images.wants_holding(suspect.image)
            && let Some(avma) = suspect.neighbour.clone()
        {
            self.images.hold(suspect.image, pid, avma, root);
        }
        let Some(image) = self.images.get(suspect.image).map(Image::held_again) else {
            return Compared::Unknown;
        };
        let view = self.pins.root(root).cloned().map(View::of_target);
        let (avma, offset) = (suspect.avma.clone(), suspect.file_offset);
        let job = move || {
            let views: Vec<View> = view.into_iter().collect();
            let file = find_image(&image, &views, &Lookup::of_host()).file.ok()?;
            equal_pages(&file, offset, &memory, avma)
        };
        let compared = within(DEADLINE, "text", job).ok().flatten();
        compared.map_or(Compared::Unknown, Compared::Equal)
    }

    /// Tells these mappings as the kernel would have, had the file been mapped there.
    fn tell(&mut self, suspect: &Suspect, runs: &[Range<u64>]) {
        let Some(image) = self.images.get(suspect.image) else {
            return;
        };
        let file = match image.key {
            ImageKey::BuildId(id) => MappedFile::BuildId(id),
            ImageKey::Inode {
                major,
                minor,
                inode,
                generation,
            } => MappedFile::Inode {
                major,
                minor,
                inode,
                generation,
            },
            ImageKey::Path { .. } => MappedFile::PathOnly,
        };
        let path = image.path.as_os_str().as_bytes().to_vec();
        self.remapped.is_telling = true;
        for run in runs {
            let mapped = Mapped {
                stamp: Stamp {
                    time_ns: self.remapped.last_ns,
                    pid: suspect.pid,
                    tid: profiler::HostTid(suspect.pid.0),
                    cpu: u32::MAX,
                },
                pid: suspect.pid,
                avma: run.clone(),
                file_offset_bytes: suspect.file_offset + (run.start - suspect.avma.start),
                file,
                path: &path,
                is_kernel: false,
            };
            self.event(&Event::Mapped(mapped));
        }
        self.remapped.is_telling = false;
    }
}

/// The addresses whose pages have the bytes of the file from `offset` on. `None` where one of them cannot be read.
fn equal_pages(
    file: &BoundedFile,
    offset: u64,
    memory: &ProcessMemory,
    avma: Range<u64>,
) -> Option<Vec<Range<u64>>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let mut held = vec![0; CHUNK_BYTES as usize];
    let mut at = avma.start;
    while at < avma.end {
        let into = offset.checked_add(at - avma.start)?;
        let in_file = file.len_bytes().saturating_sub(into);
        let len = CHUNK_BYTES.min(avma.end - at).min(in_file);
        if len == 0 {
            break;
        }
        let bytes = file.read_at(into, len).ok()?;
        let held = held.get_mut(..len as usize)?;
        memory.read_at(at, held).ok()?;
        let pages = bytes
            .chunks(PAGE_BYTES as usize)
            .zip(held.chunks(PAGE_BYTES as usize));
        for (number, (in_file, held)) in (0..).zip(pages) {
            if in_file != held {
                continue;
            }
            let start = at + number * PAGE_BYTES;
            let end = (start + PAGE_BYTES).min(avma.end);
            match runs.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => runs.push(start..end),
            }
        }
        at += len.next_multiple_of(PAGE_BYTES);
    }
    Some(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryId;

    const PID: HostPid = HostPid(7);

    fn mapping(avma: Range<u64>, file_offset: u64, backing: Backing) -> Mapping {
        Mapping {
            start: avma.start,
            end: avma.end,
            file_offset,
            backing,
        }
    }

    fn anonymous(avma: Range<u64>) -> Mapping {
        mapping(avma, 0, Backing::Generated(MemoryId::ANONYMOUS))
    }

    fn suspect(avma: Range<u64>, image: u32, file_offset: u64, neighbour: Range<u64>) -> Suspect {
        Suspect {
            pid: PID,
            avma,
            image: ImageId(image),
            file_offset,
            neighbour: Some(neighbour),
        }
    }

    #[test]
    fn memory_over_a_file_or_beside_it_may_be_its_text_and_memory_elsewhere_is_not() {
        let image = |number| Backing::Image(ImageId(number));
        let mut maps = MapTable::default();
        maps.insert(mapping(0x10_0000..0x18_0000, 0x3000, image(1)));
        let found = |new: &Mapping, maps: &MapTable| suspects(PID, new, maps);
        // Over its middle, as the kernel tells it.
        let middle = anonymous(0x12_0000..0x14_0000);
        let of_middle = suspect(0x12_0000..0x14_0000, 1, 0x2_3000, 0x10_0000..0x12_0000);
        assert_eq!(found(&middle, &maps), [of_middle]);
        // Over all of it, and further.
        let all = found(&anonymous(0xf_0000..0x20_0000), &maps);
        let of_all = Suspect {
            neighbour: None,
            ..suspect(0x10_0000..0x18_0000, 1, 0x3000, 0..0)
        };
        assert_eq!(all, [of_all]);
        // Behind it and before it, as /proc tells of what was moved before.
        let behind = anonymous(0x18_0000..0x19_0000);
        let of_behind = suspect(0x18_0000..0x19_0000, 1, 0x8_3000, 0x10_0000..0x18_0000);
        assert_eq!(found(&behind, &maps), [of_behind]);
        let before = |len: u64| found(&anonymous(0x10_0000 - len..0x10_0000), &maps);
        let of_before = suspect(0xf_e000..0x10_0000, 1, 0x1000, 0x10_0000..0x18_0000);
        assert_eq!(before(0x2000), [of_before]);
        assert_eq!(before(0x4000), [], "the file begins later");
        assert_eq!(found(&anonymous(0x30_0000..0x31_0000), &maps), []);
        // A file that comes beside memory that is known.
        maps.insert(anonymous(0x20_0000..0x21_0000));
        let beside = mapping(0x21_0000..0x22_0000, 0x5_0000, image(2));
        let of_beside = suspect(0x20_0000..0x21_0000, 2, 0x4_0000, 0x21_0000..0x22_0000);
        assert_eq!(found(&beside, &maps), [of_beside]);
        let other = mapping(0x18_0000..0x19_0000, 0, image(2));
        assert_eq!(found(&other, &maps), [], "a file beside a file");
    }

    #[test]
    fn only_pages_with_all_of_the_files_bytes_are_equal() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("text");
        // Odd in length: the last page is not whole.
        let text: Vec<u8> = (0..10 * 4096 + 100_u32)
            .map(|at| (at / 7 % 251) as u8)
            .collect();
        std::fs::write(&path, &text).expect("ours");
        let host = profiler::files::TargetRoot::host().expect("our root");
        let last = profiler::files::LastLink::Refuse;
        let held = host.open(&path, last).expect("it is there");
        let file = held.open_regular(1 << 20).expect("regular");
        let memory = ProcessMemory::open(HostPid(std::process::id())).expect("ours");
        let runs = |copy: &[u8], offset| {
            let base = copy.as_ptr() as u64;
            let avma = base..base + copy.len() as u64;
            let runs = equal_pages(&file, offset, &memory, avma).expect("readable");
            let from_base = |run: Range<u64>| (run.start - base, run.end - base);
            runs.into_iter().map(from_base).collect::<Vec<_>>()
        };
        let whole = text.len() as u64;
        assert_eq!(runs(&text, 0), [(0, whole)]);
        assert_eq!(runs(&text[4096..], 4096), [(0, whole - 4096)]);
        assert_eq!(runs(&text, 4096), []);
        let mut patched = text.clone();
        patched[3 * 4096 + 17] ^= 1;
        patched[10 * 4096 + 99] ^= 1;
        assert_eq!(runs(&patched, 0), [(0, 3 * 4096), (4 * 4096, 10 * 4096)]);
    }
}
