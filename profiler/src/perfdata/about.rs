//! What a recording says of itself: its events, its host, the build ids of its images.

use super::bytes::ByteOrder;
use super::features::number;
use super::sidecar::{self, Sidecar};
use crate::BuildId;
use crate::record::{Layout, sample_bits};
use std::sync::Arc;

/// An event that was sampled (or only counted along).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// Its name as perf prints it: as it was asked for where the recording says so, otherwise made
    /// from type and configuration.
    pub name: String,
    /// `PERF_TYPE_*`.
    pub kind: u32,
    /// What of that type.
    pub config: u64,
    /// The bit field of its attributes.
    pub(crate) flags: u64,
    /// How its records are laid out.
    pub layout: Layout,
    /// Samples a second, or events a sample: as [`Self::is_frequency`] says.
    pub period_or_hz: u64,
    /// Whether [`Self::period_or_hz`] is a rate.
    pub is_frequency: bool,
    /// Entries at which the kernel cut its chains (`sample_max_stack`); 0 where nothing tells.
    pub max_stack: u16,
    /// The clock of its records' times (`CLOCK_*`), where one was chosen (`perf record -k`).
    pub clock_id: Option<u32>,
    /// Ids of its instances, one a CPU or a task.
    pub ids: Vec<u64>,
}

impl RecordedEvent {
    /// Whether its samples have times of CLOCK_MONOTONIC, which others can be compared with.
    pub fn is_monotonic(&self) -> bool {
        self.clock_id == Some(nix::libc::CLOCK_MONOTONIC as u32)
            && self.layout.has(sample_bits::TIME)
    }
}

/// The build id of an image that was hit, as `perf record` read it at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageBuildId {
    /// The process it was seen in; -1 for the host's kernel and for images without a process.
    pub pid: i32,
    /// The image's id.
    pub id: BuildId,
    /// Its path as its process saw it, or `[kernel.kallsyms]` and the like.
    pub path: Vec<u8>,
    /// The kernel or one of its modules.
    pub is_kernel: bool,
}

/// What the recording's header and its header records say. `None` and empty where they say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct About {
    /// The byte order of the machine that recorded.
    pub byte_order: ByteOrder,
    /// A pipe's format (`perf record -o -`) rather than a file's.
    pub is_pipe: bool,
    /// The first file of a directory, read without the others: its samples are in those.
    pub is_directory_head: bool,
    /// The recorded host.
    pub hostname: Option<String>,
    /// Its kernel's release.
    pub os_release: Option<String>,
    /// Its architecture, as `uname -m` says.
    pub arch: Option<String>,
    /// The version of the perf that recorded.
    pub perf_version: Option<String>,
    /// Its CPUs, configured and online.
    pub cpus: Option<(u32, u32)>,
    /// The command line of `perf record`.
    pub command_line: Vec<String>,
    /// Times of the first and the last sample, in nanoseconds of the recording's clock.
    pub sample_time_ns: Option<(u64, u64)>,
    /// The clock of the records' times (`CLOCK_*`), where one was chosen.
    pub clock_id: Option<u32>,
    /// The wall clock's time of a time of the recording's clock: (wall, recording), in nanoseconds.
    pub wall_clock_ns: Option<(u64, u64)>,
    /// Build ids of the images that were hit.
    pub build_ids: Vec<ImageBuildId>,
    /// What a recording of ours says beyond what perf knows.
    pub sidecar: Option<Arc<Sidecar>>,
    /// Parts of the header that could not be read: no sample depends on them.
    pub unreadable: Vec<UnreadableFeature>,
    /// Parts of the header that lie behind the end of a file that was cut.
    pub cut: Option<CutFeatures>,
}

/// Header sections that a file ends before or in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutFeatures {
    /// Bytes that the file has.
    pub len_bytes: u64,
    /// What of them would have been read (`HEADER_*` numbers), ascending.
    pub features: Vec<u32>,
}

/// A header section that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableFeature {
    /// `HEADER_*` number (tools/perf/util/header.h).
    pub feature: u32,
    /// Why, with the byte offset.
    pub reason: String,
}

impl About {
    pub(crate) fn new(byte_order: ByteOrder, is_pipe: bool) -> Self {
        Self {
            byte_order,
            is_pipe,
            is_directory_head: false,
            hostname: None,
            os_release: None,
            arch: None,
            perf_version: None,
            cpus: None,
            command_line: Vec::new(),
            sample_time_ns: None,
            clock_id: None,
            wall_clock_ns: None,
            build_ids: Vec::new(),
            sidecar: None,
            unreadable: Vec::new(),
            cut: None,
        }
    }
}

/// What a header section is called whose content matters here; `None` for all others.
pub fn feature_name(feature: u32) -> Option<&'static str> {
    Some(match feature {
        number::TABLE => "table of features",
        number::BUILD_ID => "build ids",
        number::HOSTNAME => "host name",
        number::OS_RELEASE => "kernel release",
        number::VERSION => "perf version",
        number::ARCH => "architecture",
        number::CPUS => "number of CPUs",
        number::COMMAND_LINE => "command line",
        number::EVENT_DESC => "names of events",
        number::SAMPLE_TIME => "times of the first and last sample",
        number::CLOCK_DATA => "clock",
        sidecar::FEATURE => "names and containers (feature 200)",
        _ => return None,
    })
}
