//! A recording of ours as a perf.data file: what perf opens, and with the sidecar what `convert`
//! draws as the live recording did.
//!
//! ```text
//!  header 104 │ attr 112 + ids section 16 │ records, as they were delivered │ sections: table, features, sidecar
//! ```
//! Records go into the file as they come; of the rest only names are kept until the end.

mod encode;
mod features;
#[cfg(test)]
mod tests;

pub use encode::Sampled;
pub use features::Origin;

use super::ImageBuildId;
use super::header::{FILE_BYTES, MAGIC};
use super::sidecar::{self, Sidecar};
use crate::HostPid;
use crate::live::{KernelMap, KernelMaps};
use crate::record::{Event, NsLinks, Sample, Stamp};
use encode::{ATTR_BYTES, Encoder, SampleFields};
use std::collections::VecDeque;
use std::io::{self, Seek, SeekFrom, Write};

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Time between two FINISHED_ROUND marks: perf keeps what lies between three of them in memory, and
/// takes a record that is late by no more than this for one in order.
const ROUND_NS: u64 = 250_000_000;
/// Where the records begin.
const RECORDS_AT: u64 = FILE_BYTES as u64 + ATTR_BYTES as u64 + 16;

/// What is known when the recording is over.
pub struct Ending<'a> {
    /// The one event.
    pub sampled: Sampled,
    /// Where and how it was recorded.
    pub origin: &'a Origin,
    /// Samples that the kernel could not write, by its own count.
    pub lost: u64,
    /// Images that were sampled.
    pub build_ids: &'a [ImageBuildId],
    /// Names and containers.
    pub sidecar: &'a Sidecar,
}

/// Writes a recording while it is made. What goes wrong is told at the end: the recording goes on.
pub struct Writer<F> {
    file: F,
    buffer: Vec<u8>,
    /// Bytes of records that were written.
    written_bytes: u64,
    fields: SampleFields,
    has_samples: bool,
    /// First and last sample.
    sample_time_ns: (u64, u64),
    latest_ns: u64,
    round: Round,
    /// LOST records told of these.
    lost: u64,
    /// Tells of the namespaces of a process that was read from `/proc`.
    ask_links: fn(HostPid) -> NsLinks,
    /// Build ids of the kernel and its modules.
    kernel: Vec<ImageBuildId>,
    failed: Option<io::Error>,
    behind: Behind,
}

/// What comes behind a sample that waits.
#[derive(Default)]
struct Behind {
    bytes: Vec<u8>,
    /// So many of them.
    written: usize,
    /// Where in them the samples that wait belong, and their times.
    places: VecDeque<(usize, u64)>,
}

/// perf's rounds (tools/perf/util/ordered-events.c): at a mark, what is not later than the mark
/// before is handed on, and nothing earlier may come any more.
#[derive(Default)]
struct Round {
    /// What perf has handed on.
    flushed_ns: u64,
    /// Latest record before the last mark.
    next_ns: u64,
    began_ns: u64,
}

impl<F: Write + Seek> Writer<F> {
    /// Begins with an empty `file`, and the mappings of the running kernel.
    pub fn begin(file: F, kernel: &KernelMaps) -> Self {
        Self::with_links(file, kernel, crate::live::namespace_links)
    }

    fn with_links(file: F, kernel: &KernelMaps, ask_links: fn(HostPid) -> NsLinks) -> Self {
        let mut writer = Self {
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES + (64 << 10)),
            written_bytes: 0,
            fields: SampleFields { has_cgroup: false },
            has_samples: false,
            sample_time_ns: (0, 0),
            latest_ns: 0,
            round: Round::default(),
            lost: 0,
            ask_links,
            kernel: kernel.maps.iter().filter_map(image_of).collect(),
            failed: None,
            behind: Behind::default(),
        };
        // The header comes at the end; until then the file is none.
        writer.failed = writer.file.seek(SeekFrom::Start(RECORDS_AT)).err();
        let mut encoder = writer.encoder(0);
        for map in &kernel.maps {
            encoder.kernel_mapped(map.start, map.len_bytes, map.offset, map.path.as_bytes());
        }
        writer
    }

    fn encoder(&mut self, time_ns: u64) -> Encoder<'_> {
        let into = match self.behind.places.is_empty() {
            true => &mut self.buffer,
            false => &mut self.behind.bytes,
        };
        Encoder {
            into,
            fields: self.fields,
            time_ns,
        }
    }

    /// Keeps the place of a sample whose chain is not known yet: all that comes now is behind it.
    pub fn sample_waits(&mut self, sample: &Sample<'_>) {
        let time_ns = self.begin_sample(sample);
        let at = self.behind.bytes.len();
        self.behind.places.push_back((at, time_ns));
        self.end_event(time_ns);
    }

    /// The sample that has waited longest.
    pub fn sample_came(&mut self, sample: &Sample<'_>) {
        let Some((at, time_ns)) = self.behind.places.pop_front() else {
            return;
        };
        self.write_behind(at);
        let mut encoder = Encoder {
            into: &mut self.buffer,
            fields: self.fields,
            time_ns,
        };
        encoder.event(&Event::Sample(*sample));
        if self.behind.places.is_empty() {
            self.write_behind(self.behind.bytes.len());
            self.behind = Behind::default();
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    /// Writes what waits up to `end`.
    fn write_behind(&mut self, end: usize) {
        let Behind { bytes, written, .. } = &mut self.behind;
        self.buffer
            .extend_from_slice(bytes.get(*written..end).unwrap_or_default());
        *written = end;
    }

    /// Its time in the file.
    fn begin_sample(&mut self, sample: &Sample<'_>) -> u64 {
        let time_ns = sample.stamp.time_ns.max(self.round.flushed_ns);
        if !self.has_samples {
            self.has_samples = true;
            self.fields = SampleFields::of(sample);
            self.sample_time_ns.0 = time_ns;
        }
        self.sample_time_ns.1 = self.sample_time_ns.1.max(time_ns);
        time_ns
    }

    /// Takes one event, in the order in which they are to be read.
    pub fn event(&mut self, event: &Event<'_>) {
        if self.failed.is_some() {
            return;
        }
        let own_ns = event.stamp().time_ns;
        // What was read of /proc has no time: it belongs before what comes next. And perf must not
        // be given what it has handed on already.
        let time_ns = match own_ns {
            0 => self.latest_ns,
            _ => own_ns.max(self.round.flushed_ns),
        };
        match event {
            Event::Sample(sample) => {
                self.begin_sample(sample);
                self.encoder(time_ns).event(event);
            }
            Event::Namespaces(seen) if own_ns == 0 => {
                let mut seen = *seen;
                let asked = (self.ask_links)(seen.pid);
                for (link, asked) in seen.links.iter_mut().zip(asked) {
                    if link.inode == 0 {
                        *link = asked;
                    }
                }
                self.encoder(time_ns).event(&Event::Namespaces(seen));
            }
            Event::Lost(lost) => {
                self.lost += lost.count;
                self.encoder(time_ns).event(event);
            }
            _ => {
                self.encoder(time_ns).event(event);
            }
        }
        self.end_event(time_ns);
    }

    fn end_event(&mut self, time_ns: u64) {
        self.latest_ns = self.latest_ns.max(time_ns);
        if self.latest_ns.saturating_sub(self.round.began_ns) >= ROUND_NS {
            self.encoder(0).finished_round();
            self.round = Round {
                flushed_ns: self.round.next_ns,
                next_ns: self.latest_ns,
                began_ns: self.latest_ns,
            };
        }
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(&self.buffer).err();
            self.written_bytes += self.buffer.len() as u64;
        }
        self.buffer.clear();
    }

    /// Writes what comes behind the records, and the header; the file.
    pub fn finish(mut self, ending: &Ending<'_>) -> io::Result<F> {
        // Nothing waits any more; if something does, all but that is written.
        self.write_behind(self.behind.bytes.len());
        self.behind = Behind::default();
        let untold = ending.lost.saturating_sub(self.lost);
        if untold > 0 {
            let time_ns = self.latest_ns;
            self.encoder(time_ns).lost_samples(untold);
        }
        self.flush();
        if let Some(error) = self.failed {
            return Err(error);
        }
        let Self {
            mut file,
            kernel: mut images,
            ..
        } = self;
        images.extend_from_slice(ending.build_ids);
        let attr = encode::attr(&ending.sampled, self.fields);
        let event = (ending.sampled.event.name(), attr.as_slice());
        let mut sections = features::sections(ending.origin, event, self.sample_time_ns, &images);
        sections.push((sidecar::FEATURE, ending.sidecar.encode()));
        let mut offset = RECORDS_AT + self.written_bytes + 16 * sections.len() as u64;
        let mut table = Vec::new();
        let mut bits = [0_u64; 4];
        for (number, content) in &sections {
            put_section(&mut table, offset, content.len() as u64);
            offset += content.len() as u64;
            if let Some(word) = bits.get_mut(*number as usize / 64) {
                *word |= 1 << (number % 64);
            }
        }
        file.write_all(&table)?;
        for (_, content) in &sections {
            file.write_all(content)?;
        }
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&self::header(self.written_bytes, bits))?;
        file.write_all(&attr)?;
        // The attr's ids: there are none.
        let mut ids = Vec::new();
        put_section(&mut ids, 0, 0);
        file.write_all(&ids)?;
        Ok(file)
    }
}

fn image_of(map: &KernelMap) -> Option<ImageBuildId> {
    Some(ImageBuildId {
        pid: -1,
        id: map.build_id?,
        path: map.image().as_bytes().to_vec(),
        is_kernel: true,
    })
}

/// Gives a record that was read of `/proc` its own time back, which is none. It was written with the
/// time of the record before it, for perf; and with no CPU, which the kernel's records always have.
pub(crate) fn restore(stamp: &mut Stamp) {
    if stamp.cpu == u32::MAX {
        stamp.time_ns = 0;
    }
}

/// `struct perf_file_header`.
fn header(records_bytes: u64, features: [u64; 4]) -> Vec<u8> {
    // As a number: the string itself where the least significant byte comes first.
    let mut bytes = u64::from_le_bytes(*MAGIC).to_ne_bytes().to_vec();
    let attr_stride = u64::from(ATTR_BYTES) + 16;
    put_section(&mut bytes, FILE_BYTES as u64, attr_stride);
    put_section(&mut bytes, FILE_BYTES as u64, attr_stride);
    put_section(&mut bytes, RECORDS_AT, records_bytes);
    // Event types: of perf before 2.6.39.
    put_section(&mut bytes, 0, 0);
    for word in features {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

fn put_section(into: &mut Vec<u8>, offset: u64, len_bytes: u64) {
    into.extend(offset.to_ne_bytes());
    into.extend(len_bytes.to_ne_bytes());
}
