//! The bytes of a jitdump: its header, its records in the order of the file
//! (tools/perf/Documentation/jitdump-specification.txt, tools/perf/util/jitdump.h).
//!
//! The profiled process writes it, so nothing in it is trusted: no length is allocated, what lies inside a
//! record is checked against its size, the code itself is passed over unread. A file that ends inside a
//! record is normal: its writer was killed, or is writing.

use crate::elf::ReadAt;
use std::io;
use thiserror::Error;

/// `JiTD` as a number of the writer's byte order.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
/// The flag that times are the machine's own (TSC), not nanoseconds.
const ARCH_TIMES: u64 = 1;
const HEADER_BYTES: u64 = 40;

const LOAD: u32 = 0;
const MOVE: u32 = 1;
/// Every record begins with its id, its size and its time.
const PREFIX_BYTES: u64 = 16;
/// Of a LOAD: prefix, pid, tid, vma, address, size of the code, index. Its name follows, then the code.
const LOAD_BYTES: u64 = 56;
/// Of a MOVE: prefix, pid, tid, vma, old and new address, size of the code, index.
const MOVE_BYTES: u64 = 64;

/// A name is kept up to this length, then `…`.
const NAME_MAX_BYTES: usize = 4 << 10;
/// Bytes that are read at once: more than a LOAD and its name are long.
const WINDOW_BYTES: u64 = 64 << 10;

/// Why a file is not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JitDumpError {
    /// It begins with something else.
    #[error("no jitdump: it begins with {found:#010x}")]
    Magic {
        /// Its first four bytes.
        found: u32,
    },
    /// It is shorter than its header.
    #[error("no jitdump: {len_bytes} bytes long")]
    Short {
        /// Its length.
        len_bytes: u64,
    },
    /// Of another version of the format.
    #[error("jitdump of version {found} (1 expected)")]
    Version {
        /// That version.
        found: u32,
    },
    /// Its header says that it is shorter than headers are.
    #[error("jitdump whose header is {found} bytes long (40 expected)")]
    Header {
        /// What it says.
        found: u32,
    },
    /// Flags that nobody knows may change what the rest means.
    #[error("jitdump with unknown flags {found:#x}")]
    Flags {
        /// All of them.
        found: u64,
    },
    /// Its code is another machine's.
    #[error("jitdump of ELF machine {found}, recorded was {arch}")]
    Machine {
        /// `EM_*`.
        found: u32,
        /// As `uname -m` says.
        arch: String,
    },
    /// It is another process's.
    #[error("jitdump of process {found}, mapped by process {expected}")]
    Process {
        /// Whose it says that it is.
        found: u32,
        /// The pid, as the process sees itself.
        expected: u32,
    },
    /// A record cannot be as long as it says: nothing behind it can be found.
    #[error("damaged at byte {offset}: a record of {found} bytes")]
    Damaged {
        /// Where.
        offset: u64,
        /// What it says.
        found: u32,
    },
}

/// What a dump says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `EM_*` (elf.h).
    pub(crate) elf_machine: u32,
    /// The process, as it sees itself.
    pub(crate) pid: u32,
    /// Times are not nanoseconds of a clock.
    pub(crate) has_arch_times: bool,
    /// Where its records are.
    pub(crate) records: Position,
}

/// Where the next record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    offset: u64,
    order: Order,
}

/// The writer's byte order, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Ours,
    Swapped,
}

impl Order {
    fn u32(self, bytes: [u8; 4]) -> u32 {
        let value = u32::from_ne_bytes(bytes);
        match self {
            Self::Ours => value,
            Self::Swapped => value.swap_bytes(),
        }
    }

    fn u64(self, bytes: [u8; 8]) -> u64 {
        let value = u64::from_ne_bytes(bytes);
        match self {
            Self::Ours => value,
            Self::Swapped => value.swap_bytes(),
        }
    }
}

/// Numbers one behind the other.
struct Fields<'a> {
    rest: &'a [u8],
    order: Order,
}

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(self.order.u32(self.array()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(self.order.u64(self.array()?))
    }
}

/// Why a dump cannot be read on.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// What it says.
    #[error(transparent)]
    Dump(#[from] JitDumpError),
    /// The system refused.
    #[error("cannot read it")]
    Io(#[from] io::Error),
}

impl Header {
    /// Reads the header; a file that has not got all of it yet is too short.
    pub(crate) fn read(dump: &(impl ReadAt + ?Sized)) -> Result<Self, ReadError> {
        let len_bytes = dump.len_bytes();
        if len_bytes < HEADER_BYTES {
            return Err(JitDumpError::Short { len_bytes }.into());
        }
        let bytes = dump.read_at(0, HEADER_BYTES)?;
        let header = Self::parse(&bytes).ok_or(JitDumpError::Short { len_bytes })?;
        Ok(header?)
    }

    fn parse(bytes: &[u8]) -> Option<Result<Self, JitDumpError>> {
        let mut order = Order::Ours;
        let rest = bytes;
        let found = Fields { rest, order }.u32()?;
        if found == MAGIC.swap_bytes() {
            order = Order::Swapped;
        } else if found != MAGIC {
            return Some(Err(JitDumpError::Magic { found }));
        }
        let mut fields = Fields { rest, order };
        let (_magic, version) = (fields.u32()?, fields.u32()?);
        let (len_bytes, elf_machine) = (fields.u32()?, fields.u32()?);
        let (_pad, pid) = (fields.u32()?, fields.u32()?);
        let (_time, flags) = (fields.u64()?, fields.u64()?);
        let refused = if version != VERSION {
            Some(JitDumpError::Version { found: version })
        } else if u64::from(len_bytes) < HEADER_BYTES {
            Some(JitDumpError::Header { found: len_bytes })
        } else if flags & !ARCH_TIMES != 0 {
            Some(JitDumpError::Flags { found: flags })
        } else {
            None
        };
        Some(refused.map_or(
            Ok(Self {
                elf_machine,
                pid,
                has_arch_times: flags & ARCH_TIMES != 0,
                records: Position {
                    offset: len_bytes.into(),
                    order,
                },
            }),
            Err,
        ))
    }
}

/// What a record does to the code of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// On the writer's clock.
    pub(crate) time_ns: u64,
    pub(crate) what: What,
}

/// Addresses are the process's; no range is empty or passes the end of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Code was written.
    Load {
        start: u64,
        end: u64,
        /// In [`Chunk::names`].
        name: (usize, usize),
    },
    /// Code was copied; its old place may be used again.
    Move { from: u64, start: u64, end: u64 },
}

/// Records that were read at once.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// In the order of the file.
    pub(crate) changes: Vec<Change>,
    names: Vec<u8>,
    /// All records, those that are passed over too.
    pub(crate) records: u64,
    /// Records that say nothing: cut short in themselves, of no code, of another process.
    pub(crate) bad_records: u64,
    /// Nothing is behind them yet.
    pub(crate) is_last: bool,
    /// Nothing behind them can be read.
    pub(crate) damage: Option<JitDumpError>,
}

impl Chunk {
    /// The name of a LOAD.
    pub(crate) fn name(&self, (start, end): (usize, usize)) -> &[u8] {
        self.names.get(start..end).unwrap_or_default()
    }
}

impl Position {
    /// Reads up to `most` records of process `pid` and goes behind them. What is not wholly there yet is
    /// left for the next time.
    pub(crate) fn read(
        &mut self,
        dump: &(impl ReadAt + ?Sized),
        pid: u32,
        most: usize,
    ) -> io::Result<Chunk> {
        let mut window = Window::default();
        let mut chunk = Chunk::default();
        for _ in 0..most {
            let Some(prefix) = window.get(dump, self.offset, PREFIX_BYTES)? else {
                chunk.is_last = true;
                break;
            };
            let Some((id, len_bytes, time_ns)) = self.prefix(prefix) else {
                break;
            };
            if u64::from(len_bytes) < PREFIX_BYTES {
                chunk.damage = Some(JitDumpError::Damaged {
                    offset: self.offset,
                    found: len_bytes,
                });
                break;
            }
            let len_bytes = u64::from(len_bytes);
            let is_whole = self.offset.checked_add(len_bytes);
            let Some(next) = is_whole.filter(|end| *end <= dump.len_bytes()) else {
                chunk.is_last = true;
                break;
            };
            let wanted = match id {
                LOAD => len_bytes.min(LOAD_BYTES + NAME_MAX_BYTES as u64 + 1),
                MOVE => len_bytes.min(MOVE_BYTES),
                // Lines, unwinding, the end, what is not known yet: nothing of a name.
                _ => 0,
            };
            if wanted > 0 {
                let record = window.get(dump, self.offset, wanted)?.unwrap_or_default();
                let body = record.get(PREFIX_BYTES as usize..).unwrap_or_default();
                let fields = Fields {
                    rest: body,
                    order: self.order,
                };
                let what = match id {
                    LOAD => load(fields, len_bytes, pid, &mut chunk.names),
                    _ => moved(fields, pid),
                };
                match what {
                    Some(what) => chunk.changes.push(Change { time_ns, what }),
                    None => chunk.bad_records += 1,
                }
            }
            chunk.records += 1;
            self.offset = next;
        }
        Ok(chunk)
    }

    fn prefix(&self, bytes: &[u8]) -> Option<(u32, u32, u64)> {
        let mut fields = Fields {
            rest: bytes,
            order: self.order,
        };
        Some((fields.u32()?, fields.u32()?, fields.u64()?))
    }
}

/// A LOAD from behind its prefix, as far as its name may reach; the whole record has `len_bytes`.
fn load(mut fields: Fields<'_>, len_bytes: u64, pid: u32, names: &mut Vec<u8>) -> Option<What> {
    let (of, _tid, _vma) = (fields.u32()?, fields.u32()?, fields.u64()?);
    let (start, code_bytes, _index) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let (end, text) = (start.checked_add(code_bytes)?, fields.rest);
    let name = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let room = len_bytes.checked_sub(LOAD_BYTES + name.len() as u64 + 1)?;
    // Its code is in the record, behind its name: a size that does not fit is not the code's.
    if of != pid || name.is_empty() || code_bytes == 0 || code_bytes > room {
        return None;
    }
    if name.len() == text.len() && text.len() <= NAME_MAX_BYTES {
        // Without its zero, the name would be the code's first bytes as well.
        return None;
    }
    let at = names.len();
    names.extend_from_slice(name.get(..NAME_MAX_BYTES).unwrap_or(name));
    if name.len() > NAME_MAX_BYTES {
        names.extend_from_slice("…".as_bytes());
    }
    let name = (at, names.len());
    Some(What::Load { start, end, name })
}

fn moved(mut fields: Fields<'_>, pid: u32) -> Option<What> {
    let (of, _tid, _vma) = (fields.u32()?, fields.u32()?, fields.u64()?);
    let (from, start) = (fields.u64()?, fields.u64()?);
    let (code_bytes, _index) = (fields.u64()?, fields.u64()?);
    let end = start.checked_add(code_bytes)?;
    (of == pid && code_bytes > 0).then_some(What::Move { from, start, end })
}

/// A piece of the file.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `len_bytes` bytes, few, from `offset`; `None` where the file does not have them yet.
    fn get(
        &mut self,
        dump: &(impl ReadAt + ?Sized),
        offset: u64,
        len_bytes: u64,
    ) -> io::Result<Option<&[u8]>> {
        let is_there = |end: &u64| *end <= dump.len_bytes();
        let Some(end) = offset.checked_add(len_bytes).filter(is_there) else {
            return Ok(None);
        };
        let has = self.start..=self.start + self.bytes.len() as u64;
        if !has.contains(&offset) || !has.contains(&end) {
            let left = dump.len_bytes() - offset;
            self.bytes = dump.read_at(offset, left.min(WINDOW_BYTES.max(len_bytes)))?;
            self.start = offset;
        }
        let at = (offset - self.start) as usize;
        Ok(self.bytes.get(at..at + len_bytes as usize))
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
pub(super) mod tests;
