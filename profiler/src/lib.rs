//! A live host or a perf.data file as one time-ordered stream of [`record::Event`]s, and
//! everything that has to ask the system: perf_event_open, `/proc`, cgroups, mount namespaces.
//!
//! What you give: a target (containers, processes, a command, the host). What you get: events in
//! time order with host pids, addresses leaf first, and safe handles on the files that the sampled
//! processes mapped. What it is not for: naming an address, drawing, printing.

pub mod container;
pub mod files;
mod ids;
pub mod jvm;
pub mod live;
mod order;
pub mod perfdata;
pub mod record;
pub mod usage;

pub use ids::{BuildId, CgroupId, CodeAddr, HostPid, HostTid, MntNs, NsPid};
