//! One process's dump: found, checked to be its own, read on under a deadline.

use super::Marker;
use super::note::{JitDumpNote, Timeless};
use super::parse::{Chunk, Header, JitDumpError, Position, ReadError};
use super::timeline::{Timeline, Times};
use super::waiting::Waiting;
use crate::image::Image;
use crate::lookup::{Lookup, View};
use crate::name::READ_DEADLINE;
use crate::source::find_image;
use crate::tasks::SpaceId;
use profiler::HostPid;
use profiler::files::{BoundedFile, FileError, within};

/// Records that are read at once.
const CHUNK_RECORDS: usize = 4 << 10;
/// Records of one dump that are read: of a hostile one that is endless. As a rule one is a function.
const RECORDS_MAX: u64 = 50_000_000;

/// A dump, and what waits for it.
pub(crate) struct Dump {
    /// Whose.
    pub(crate) pid: HostPid,
    /// The address space that was the first to have it.
    pub(crate) space: SpaceId,
    /// Its time of birth: when the process was first sampled with it.
    pub(crate) since_ns: u64,
    pub(crate) marker: Marker,
    /// Where it lies, and the file itself where it could be held.
    pub(crate) image: Image,
    /// The pid of its process as it sees itself, where that is known.
    pub(crate) ns_pid: Option<u32>,
    pub(crate) waiting: Waiting,
    pub(crate) timeline: Timeline,
    pub(crate) state: State,
    pub(crate) bad_records: u64,
    pub(crate) notes: Vec<JitDumpNote>,
}

/// How far a dump is.
pub(crate) enum State {
    /// Nobody looked for it yet.
    New,
    /// It is read.
    Known(Reader),
    /// It is not used; its notes say why.
    Unused,
}

/// Reads on in a dump.
pub(crate) struct Reader {
    /// Away while it is read, and after it did not answer.
    file: Option<BoundedFile>,
    position: Position,
    /// Whose records are taken.
    pid: u32,
    pub(crate) times: Times,
    /// All that was there when the file was opened is read.
    is_at_end: bool,
    records: u64,
}

/// What is known of a recording, to check its dumps by.
#[derive(Clone, Copy)]
pub(crate) struct Checks<'a> {
    /// As `uname -m` says.
    pub(crate) arch: Option<&'a str>,
    pub(crate) are_times_comparable: bool,
}

impl Dump {
    /// Opens it as long as it is by now.
    pub(crate) fn open(&mut self, views: Vec<View>, lookup: &Lookup, checks: Checks<'_>) {
        if matches!(self.state, State::Unused) {
            return;
        }
        let (image, lookup) = (self.image.held_again(), lookup.clone());
        let job = move || {
            let found = find_image(&image, &views, &lookup);
            let file = found.file.map_err(JitDumpNote::Missing)?;
            let header = Header::read(&file).map_err(|error| match error {
                ReadError::Dump(error) => JitDumpNote::Refused(error),
                ReadError::Io(source) => JitDumpNote::Unreadable(FileError::Io {
                    path: image.path.clone(),
                    source,
                }),
            })?;
            // That the user's word is all there is for it is not said: its header tells whose it is.
            Ok((file, header))
        };
        let opened = within(READ_DEADLINE, "jitdump", job);
        match opened.unwrap_or_else(|error| Err(JitDumpNote::Unreadable(error))) {
            Ok((file, header)) => self.opened(file, header, checks),
            Err(note) => self.give_up(note),
        }
    }

    fn opened(&mut self, file: BoundedFile, header: Header, checks: Checks<'_>) {
        if let State::Known(reader) = &mut self.state {
            reader.file = Some(file);
            reader.is_at_end = false;
            return;
        }
        if let Err(error) = check(&header, self.marker.pid, self.ns_pid, checks.arch) {
            return self.give_up(JitDumpNote::Refused(error));
        }
        let timeless = if header.has_arch_times {
            Some(Timeless::ArchTimes)
        } else if checks.are_times_comparable {
            None
        } else {
            Some(Timeless::RecordingClock)
        };
        let times = match timeless {
            None => Times::Comparable,
            Some(_) => Times::Meaningless,
        };
        self.notes.extend(timeless.map(JitDumpNote::Timeless));
        self.state = State::Known(Reader {
            file: Some(file),
            position: header.records,
            pid: header.pid,
            times,
            is_at_end: false,
            records: 0,
        });
    }

    pub(crate) fn give_up(&mut self, note: JitDumpNote) {
        self.notes.push(note);
        self.state = State::Unused;
    }

    /// Closes the file: until it is read on, it needs no descriptor.
    pub(crate) fn close(&mut self) {
        if let State::Known(reader) = &mut self.state {
            reader.file = None;
        }
    }

    /// Says what became of it, when all is read.
    pub(crate) fn finish(&mut self) {
        let left_out = self.timeline.left_out;
        let bad_records = self.bad_records + self.timeline.lost_moves;
        if bad_records + left_out > 0 {
            self.notes.push(JitDumpNote::Partial {
                bad_records,
                left_out,
            });
        }
        let records = self.timeline.ahead();
        if self.timeline.applied == 0 && records > 0 {
            self.notes.push(JitDumpNote::AnotherClock { records });
        }
        self.timeline = Timeline::default();
    }
}

impl Reader {
    /// The next records; `None` where there are no more for now. What ends it goes to `notes`.
    pub(crate) fn more(
        &mut self,
        bad_records: &mut u64,
        notes: &mut Vec<JitDumpNote>,
    ) -> Option<Chunk> {
        if self.is_at_end {
            return None;
        }
        if self.records >= RECORDS_MAX {
            self.is_at_end = true;
            notes.push(JitDumpNote::TooLong {
                records: self.records,
            });
            return None;
        }
        let file = self.file.take()?;
        let (mut position, pid) = (self.position.clone(), self.pid);
        let job = move || {
            let chunk = position.read(&file, pid, CHUNK_RECORDS);
            (file, position, chunk)
        };
        let chunk = match within(READ_DEADLINE, "jitdump", job) {
            Ok((file, position, Ok(chunk))) => {
                self.file = Some(file);
                self.position = position;
                chunk
            }
            Ok((file, _, Err(source))) => {
                let path = file.shown_path().to_owned();
                notes.push(JitDumpNote::Unreadable(FileError::Io { path, source }));
                return None;
            }
            Err(error) => {
                notes.push(JitDumpNote::Unreadable(error));
                return None;
            }
        };
        *bad_records += chunk.bad_records;
        self.records += chunk.records;
        self.is_at_end = chunk.is_last;
        if let Some(damage) = &chunk.damage {
            // Also when more is written: nobody knows where the next record begins.
            self.file = None;
            if !notes.iter().any(|note| matches!(note, JitDumpNote::Cut(_))) {
                notes.push(JitDumpNote::Cut(damage.clone()));
            }
        }
        Some(chunk)
    }
}

/// Whether a dump is of the machine that was recorded, and of the process that mapped it.
fn check(
    header: &Header,
    name_pid: u32,
    ns_pid: Option<u32>,
    arch: Option<&str>,
) -> Result<(), JitDumpError> {
    let found = header.elf_machine;
    // CPython 3.13 writes no machine (`EM_NONE`).
    if let Some(arch) = arch.filter(|_| found != 0)
        && machines_of(arch).is_some_and(|machines| !machines.contains(&found))
    {
        let arch = arch.to_owned();
        return Err(JitDumpError::Machine { found, arch });
    }
    for expected in ns_pid.into_iter().chain([name_pid]) {
        for found in [name_pid, header.pid] {
            if found != expected {
                return Err(JitDumpError::Process { found, expected });
            }
        }
    }
    Ok(())
}

/// `EM_*` (elf.h) of the programs that run on a machine; `None` where we do not know it.
fn machines_of(arch: &str) -> Option<&'static [u32]> {
    Some(match arch {
        "x86_64" => &[62, 3],
        "i386" | "i486" | "i586" | "i686" => &[3],
        "aarch64" | "arm64" => &[183, 40],
        "ppc64" | "ppc64le" => &[21, 20],
        "riscv64" => &[243],
        "s390x" => &[22],
        "loongarch64" => &[258],
        arch if arch.starts_with("armv") => &[40],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::parse::tests::Writer;
    use super::*;

    #[test]
    fn a_dump_of_another_machine_or_process_is_not_used() {
        let header = Header::read(&Writer::new(7).bytes[..]).expect("a header");
        let with = |name_pid, ns_pid, arch| check(&header, name_pid, ns_pid, arch);
        assert_eq!(with(7, None, None), Ok(()));
        assert_eq!(with(7, Some(7), Some("x86_64")), Ok(()));
        assert_eq!(with(7, None, Some("vax")), Ok(()));
        let error = with(7, None, Some("aarch64")).expect_err("of x86_64");
        let said = "jitdump of ELF machine 62, recorded was aarch64";
        assert_eq!(error.to_string(), said);
        let process = |found, expected| Err(JitDumpError::Process { found, expected });
        assert_eq!(with(8, None, None), process(7, 8));
        assert_eq!(with(8, Some(8), None), process(7, 8));
        let unsaid = Header {
            elf_machine: 0,
            ..header.clone()
        };
        assert_eq!(check(&unsaid, 7, None, Some("aarch64")), Ok(()));
        // A child that inherited the mapping.
        assert_eq!(with(7, Some(9), None), process(7, 9));
    }
}
