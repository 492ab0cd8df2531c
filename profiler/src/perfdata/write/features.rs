//! The feature sections that a recording of ours has besides its own one: what `perf report --header`
//! shows, and the build ids by which perf finds images.

use super::encode::ATTR_BYTES;
use crate::perfdata::ImageBuildId;
use crate::perfdata::features::{misc, number};
use crate::perfdata::header_records::BUILD_ID;

/// What a recording says of where and how it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `uname -n`.
    pub hostname: String,
    /// `uname -r`.
    pub os_release: String,
    /// `uname -m`.
    pub arch: String,
    /// CPUs, configured and online.
    pub cpus: (u32, u32),
    /// What the CPUs are called.
    pub cpu_name: String,
    /// Vendor, family, model and stepping, with commas: as perf has it on x86. Empty where
    /// `/proc/cpuinfo` does not tell.
    pub cpu_id: String,
    /// Memory, in KiB.
    pub memory_kib: u64,
    /// Who recorded, with the version.
    pub recorder: String,
    /// How it was started.
    pub command_line: Vec<String>,
    /// The wall clock's time of a time of the recording's clock: (wall, recording), in nanoseconds.
    pub wall_clock_ns: (u64, u64),
    /// Resolution of the recording's clock.
    pub clock_resolution_ns: u64,
}

/// `CLOCK_DATA`'s version (tools/perf/util/header.c, `write_clock_data()`).
const CLOCK_DATA_VERSION: u32 = 1;
/// `NAME_ALIGN`: what perf pads strings to.
const NAME_ALIGN: usize = 64;

/// All sections, ascending by their number.
pub(super) fn sections(
    origin: &Origin,
    (event, attr): (&str, &[u8]),
    sample_time_ns: (u64, u64),
    build_ids: &[ImageBuildId],
) -> Vec<(u32, Vec<u8>)> {
    let two = |(first, second): (u64, u64)| [first.to_ne_bytes(), second.to_ne_bytes()].concat();
    let cpus = [origin.cpus.0.to_ne_bytes(), origin.cpus.1.to_ne_bytes()].concat();
    let clock = [
        CLOCK_DATA_VERSION.to_ne_bytes(),
        libc::CLOCK_MONOTONIC.to_ne_bytes(),
    ];
    let mut command_line = (origin.command_line.len() as u32).to_ne_bytes().to_vec();
    for argument in &origin.command_line {
        command_line.extend(string(argument));
    }
    let mut events = [1_u32.to_ne_bytes(), ATTR_BYTES.to_ne_bytes()].concat();
    events.extend(attr);
    // Ids: none, since there is one event.
    events.extend(0_u32.to_ne_bytes());
    events.extend(string(event));
    vec![
        (number::BUILD_ID, build_id_table(build_ids)),
        (number::HOSTNAME, string(&origin.hostname)),
        (number::OS_RELEASE, string(&origin.os_release)),
        (number::VERSION, string(&origin.recorder)),
        (number::ARCH, string(&origin.arch)),
        (number::CPUS, cpus),
        (number::CPU_NAME, string(&origin.cpu_name)),
        (number::CPU_ID, string(&origin.cpu_id)),
        (number::MEMORY, origin.memory_kib.to_ne_bytes().to_vec()),
        (number::COMMAND_LINE, command_line),
        (number::EVENT_DESC, events),
        (number::SAMPLE_TIME, two(sample_time_ns)),
        (
            number::CLOCK_ID,
            origin.clock_resolution_ns.to_ne_bytes().to_vec(),
        ),
        (
            number::CLOCK_DATA,
            [clock.concat(), two(origin.wall_clock_ns)].concat(),
        ),
    ]
}

/// `struct perf_header_string`: its length counts the padding.
fn string(text: &str) -> Vec<u8> {
    let len = (text.len() + 1).next_multiple_of(NAME_ALIGN);
    let mut bytes = (len as u32).to_ne_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.resize(4 + len, 0);
    bytes
}

/// `struct perf_record_header_build_id`, one behind the other.
fn build_id_table(build_ids: &[ImageBuildId]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for image in build_ids {
        let path_bytes = (image.path.len() + 1).next_multiple_of(NAME_ALIGN);
        let Ok(size) = u16::try_from(8 + 4 + 24 + path_bytes) else {
            continue;
        };
        let part = match image.is_kernel {
            true => misc::KERNEL,
            false => misc::USER,
        };
        bytes.extend(BUILD_ID.to_ne_bytes());
        bytes.extend((part | misc::BUILD_ID_SIZE).to_ne_bytes());
        bytes.extend(size.to_ne_bytes());
        bytes.extend(image.pid.to_ne_bytes());
        let id = image.id.as_bytes();
        let mut padded = [0; 24];
        for (to, from) in padded.iter_mut().zip(id) {
            *to = *from;
        }
        if let Some(len) = padded.get_mut(20) {
            *len = id.len() as u8;
        }
        bytes.extend(padded);
        let end = bytes.len() + path_bytes;
        bytes.extend(&image.path);
        bytes.resize(end, 0);
    }
    bytes
}
