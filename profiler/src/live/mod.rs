//! The live host: perf events, `/proc` at the start, and the rings merged in time order.

mod attached;
mod clock;
mod command;
mod config;
mod cpus;
mod error;
mod events;
pub mod gate;
mod host;
mod kernel_maps;
mod machine;
mod memory;
mod open_files;
mod opened;
pub(crate) mod procfs;
mod raw;
mod ring;
mod session;
mod signals;
mod survey;
mod watch;

pub use crate::record::EventSink;
pub(crate) use clock::since_boot_ticks;
pub use clock::{boot_wall_ns, wall_ns};
pub use config::{Config, KernelSamples, RingSize, SampledEvent, Stop, Target, UserPart};
pub use error::LiveError;
pub use host::{hostname, kernel_build_id, monotonic_ns};
pub use kernel_maps::{KernelMap, KernelMaps};
pub use machine::origin;
pub use memory::ProcessMemory;
pub use procfs::{
    Identity, ScanTotals, began_wall_ns, identity, kallsyms, kernel_code_from, kernel_release,
    max_stack, pids, proc_cgroups, scan, started_by,
};
pub(crate) use procfs::{identity_in, namespace_links, start_ticks_of};
pub use session::{Ended, Recorded, record};
pub use signals::Signals;
pub use survey::{Records, Survey, survey};
