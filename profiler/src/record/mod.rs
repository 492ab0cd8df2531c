//! perf records: raw bytes, from a ring or a file, become [`Event`]s by one decoder.

mod cursor;
mod event;
mod layout;
mod sample;

pub use event::{
    Branches, CgroupSeen, Chain, Comm, Event, EventSink, Fork, GroupValues, Ksymbol, Lost, Mapped,
    MappedFile, NamespacesSeen, NsLink, NsLinks, ReadValues, Registers, Sample, Stamp, Throttle,
};
pub use layout::Layout;
pub(crate) use layout::{read_bits, sample_bits};

use crate::{BuildId, CgroupId, CodeAddr, HostPid, HostTid, MntNs};
use cursor::Cursor;

/// `PERF_RECORD_*` types (include/uapi/linux/perf_event.h).
pub(crate) mod record_type {
    pub(crate) const MMAP: u32 = 1;
    pub(crate) const LOST: u32 = 2;
    pub(crate) const COMM: u32 = 3;
    pub(crate) const EXIT: u32 = 4;
    pub(crate) const THROTTLE: u32 = 5;
    pub(crate) const UNTHROTTLE: u32 = 6;
    pub(crate) const FORK: u32 = 7;
    pub(crate) const SAMPLE: u32 = 9;
    pub(crate) const MMAP2: u32 = 10;
    pub(crate) const LOST_SAMPLES: u32 = 13;
    pub(crate) const NAMESPACES: u32 = 16;
    pub(crate) const KSYMBOL: u32 = 17;
    pub(crate) const CGROUP: u32 = 19;
}

/// `PERF_RECORD_MISC_*` bits.
pub(crate) mod misc {
    /// The low three bits: where the record's address lies.
    pub(crate) const CPUMODE_MASK: u16 = 7;
    pub(crate) const KERNEL: u16 = 1;
    pub(crate) const USER: u16 = 2;
    pub(crate) const COMM_EXEC: u16 = 1 << 13;
    pub(crate) const MMAP_BUILD_ID: u16 = 1 << 14;
}

/// Index of the mount namespace in a NAMESPACES record (`enum perf_ns_link`: NET, UTS, IPC, PID, USER, MNT, CGROUP).
pub(crate) const MNT_NS_INDEX: usize = 5;

/// A record that does not hold what its header and its event promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The record ends inside a field.
    #[error(
        "record ends at byte {offset_bytes}: {wanted_bytes} bytes expected, {found_bytes} left"
    )]
    Truncated {
        /// Where the field starts, or fields that are read as one, from the record's first byte.
        offset_bytes: usize,
        /// Its length.
        wanted_bytes: usize,
        /// What there is.
        found_bytes: usize,
    },
    /// The header's size is not the length of the bytes given.
    #[error("record header says {header_bytes} bytes, {found_bytes} are there")]
    WrongSize {
        /// What the header says.
        header_bytes: usize,
        /// What there is.
        found_bytes: usize,
    },
}

/// How long a record is without what the kernel may leave behind its end, by its type and the length of its
/// trailer. A KSYMBOL record grows by a trailer for each event that was told before: `perf_event_ksymbol_output()`
/// (kernel/events/core.c) does not restore `header.size` as its neighbours do. Behind the name and one trailer is
/// whatever was in the ring before.
pub(crate) fn sound_len_bytes(kind: u32, record: &[u8], trailer_len_bytes: usize) -> usize {
    const NAME_OFFSET: usize = 24;
    let sound = || {
        let name = record.get(NAME_OFFSET..)?;
        let name_len = name.iter().position(|byte| *byte == 0)? + 1;
        Some(NAME_OFFSET + name_len.next_multiple_of(8) + trailer_len_bytes)
    };
    let sound = match kind {
        record_type::KSYMBOL => sound(),
        _ => None,
    };
    sound.map_or(record.len(), |sound| sound.min(record.len()))
}

/// Whether a record's bytes are a sample, and its time where it carries one: what sorting needs.
pub(crate) fn time_ns(record: &[u8], layout: &Layout) -> Option<u64> {
    let (kind, _) = record.split_first_chunk::<4>()?;
    let kind = u32::from_ne_bytes(*kind);
    let len_bytes = sound_len_bytes(kind, record, layout.trailer_len_bytes());
    let at = layout.time_offset_bytes(kind == record_type::SAMPLE, len_bytes)?;
    let (time, _) = record.get(at..)?.split_first_chunk::<8>()?;
    Some(u64::from_ne_bytes(*time))
}

/// Decodes one record, header included, in host byte order. `Ok(None)` for a type that nobody here
/// needs (READ, AUX, …) and for types that are not known yet.
#[inline]
pub fn decode<'a>(record: &'a [u8], layout: &Layout) -> Result<Option<Event<'a>>, RecordError> {
    let mut header = Cursor::new(record, 0);
    let (kind, misc, size) = (header.u32()?, header.u16()?, header.u16()?);
    if usize::from(size) != record.len() {
        return Err(RecordError::WrongSize {
            header_bytes: usize::from(size),
            found_bytes: record.len(),
        });
    }
    let body = header.rest();
    if kind == record_type::SAMPLE {
        let sample = sample::decode(Cursor::new(body, 8), layout)?;
        return Ok(Some(Event::Sample(sample)));
    }
    let trailer_len = layout.trailer_len_bytes();
    let sound_len = sound_len_bytes(kind, record, trailer_len);
    let body = body.get(..sound_len.saturating_sub(8)).unwrap_or(body);
    let body_len = body
        .len()
        .checked_sub(trailer_len)
        .ok_or(RecordError::Truncated {
            offset_bytes: 8,
            wanted_bytes: trailer_len,
            found_bytes: body.len(),
        })?;
    let (body, trailer) = body.split_at(body_len);
    let stamp = decode_trailer(Cursor::new(trailer, 8 + body_len), layout)?;
    decode_other(kind, misc, Cursor::new(body, 8), stamp)
}

fn decode_trailer(mut at: Cursor<'_>, layout: &Layout) -> Result<Stamp, RecordError> {
    let mut stamp = Stamp {
        time_ns: 0,
        pid: HostPid(u32::MAX),
        tid: HostTid(u32::MAX),
        cpu: u32::MAX,
    };
    if !layout.sample_id_all {
        return Ok(stamp);
    }
    if layout.has(sample_bits::TID) {
        (stamp.pid, stamp.tid) = (HostPid(at.u32()?), HostTid(at.u32()?));
    }
    if layout.has(sample_bits::TIME) {
        stamp.time_ns = at.u64()?;
    }
    for skipped in [sample_bits::ID, sample_bits::STREAM_ID] {
        if layout.has(skipped) {
            at.u64()?;
        }
    }
    if layout.has(sample_bits::CPU) {
        stamp.cpu = at.u32()?;
    }
    Ok(stamp)
}

fn decode_other<'a>(
    kind: u32,
    misc: u16,
    mut at: Cursor<'a>,
    stamp: Stamp,
) -> Result<Option<Event<'a>>, RecordError> {
    Ok(Some(match kind {
        record_type::MMAP | record_type::MMAP2 => {
            Event::Mapped(decode_mapped(kind, misc, at, stamp)?)
        }
        record_type::COMM => Event::Comm(Comm {
            stamp,
            pid: HostPid(at.u32()?),
            tid: HostTid(at.u32()?),
            name: at.c_string_to_end(),
            is_exec: misc & misc::COMM_EXEC != 0,
        }),
        record_type::FORK | record_type::EXIT => {
            let (pid, parent_pid, tid, parent_tid) = (at.u32()?, at.u32()?, at.u32()?, at.u32()?);
            let task = Fork {
                stamp,
                pid: HostPid(pid),
                tid: HostTid(tid),
                parent_pid: HostPid(parent_pid),
                parent_tid: HostTid(parent_tid),
            };
            if kind == record_type::FORK {
                Event::Fork(task)
            } else {
                Event::Exit(task)
            }
        }
        record_type::LOST => {
            at.u64()?;
            Event::Lost(Lost {
                stamp,
                count: at.u64()?,
            })
        }
        record_type::LOST_SAMPLES => Event::Lost(Lost {
            stamp,
            count: at.u64()?,
        }),
        record_type::THROTTLE | record_type::UNTHROTTLE => {
            // Its own time is the trailer's, where there is one.
            let time_ns = match (at.u64()?, stamp.time_ns) {
                (own, 0) => own,
                (_, of_trailer) => of_trailer,
            };
            Event::Throttle(Throttle {
                stamp: Stamp { time_ns, ..stamp },
                is_end: kind == record_type::UNTHROTTLE,
            })
        }
        record_type::NAMESPACES => {
            let (pid, _tid, count) = (at.u32()?, at.u32()?, at.u64()?);
            let words = at.words(count.saturating_mul(2))?;
            let (pairs, _) = words.as_chunks::<2>();
            let mut links = NsLinks::default();
            for (link, [dev, inode]) in links.iter_mut().zip(pairs) {
                (link.dev, link.inode) = (u64::from_ne_bytes(*dev), u64::from_ne_bytes(*inode));
            }
            Event::Namespaces(NamespacesSeen {
                stamp,
                pid: HostPid(pid),
                mnt: links
                    .get(MNT_NS_INDEX)
                    .filter(|_| pairs.len() > MNT_NS_INDEX)
                    .map(|link| MntNs(link.inode)),
                links,
            })
        }
        record_type::KSYMBOL => {
            let (addr, len_bytes, kind, flags) = (at.u64()?, at.u32()?, at.u16()?, at.u16()?);
            Event::Ksymbol(Ksymbol {
                stamp,
                addr: CodeAddr(addr),
                len_bytes,
                kind,
                name: at.c_string_to_end(),
                is_unregister: flags & 1 != 0,
            })
        }
        record_type::CGROUP => Event::Cgroup(CgroupSeen {
            stamp,
            id: CgroupId(at.u64()?),
            path: at.c_string_to_end(),
        }),
        _ => return Ok(None),
    }))
}

fn decode_mapped<'a>(
    kind: u32,
    misc: u16,
    mut at: Cursor<'a>,
    stamp: Stamp,
) -> Result<Mapped<'a>, RecordError> {
    let (pid, _tid) = (at.u32()?, at.u32()?);
    let (start, len_bytes, page_offset) = (at.u64()?, at.u64()?, at.u64()?);
    let mut file = MappedFile::PathOnly;
    if kind == record_type::MMAP2 {
        if misc & misc::MMAP_BUILD_ID != 0 {
            // struct: u8 len, u8 pad, u16 pad, u8 build_id[20]
            let id = at.take(24)?;
            let len = id.first().copied().unwrap_or(0);
            let id = id.get(4..4 + usize::from(len)).and_then(BuildId::new);
            file = id.map_or(MappedFile::PathOnly, MappedFile::BuildId);
        } else {
            file = MappedFile::Inode {
                major: at.u32()?,
                minor: at.u32()?,
                inode: at.u64()?,
                generation: at.u64()?,
            };
        }
        let (_prot, _flags) = (at.u32()?, at.u32()?);
    }
    Ok(Mapped {
        stamp,
        pid: HostPid(pid),
        avma: start..start.saturating_add(len_bytes),
        file_offset_bytes: page_offset,
        file,
        path: at.c_string_to_end(),
        is_kernel: misc & misc::CPUMODE_MASK == misc::KERNEL,
    })
}

#[cfg(test)]
mod tests;
