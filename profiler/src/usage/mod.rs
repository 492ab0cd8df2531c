//! What containers and the host use of the CPU, what they wait for and what they may have: counters,
//! read twice; the difference is an [`Interval`].
//!
//! For one container, or for all of them at once:
//!
//! ```no_run
//! use profiler::usage::{Detail, Interval, Reader};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reader = Reader::discover()?;
//! // For each container once: where its cgroup lies in each hierarchy (`Container::cgroup_path`,
//! // `Container::processes`).
//! let groups = vec![reader.group("/docker/3f2a", &[])];
//! let before = reader.read(&groups, Detail::QUICK);
//! std::thread::sleep(std::time::Duration::from_secs(1));
//! let after = reader.read(&groups, Detail::QUICK);
//! let interval = Interval::between(&before, &after);
//! for used in &interval.groups {
//!     println!("{}: {:?} ns", used.cgroup_path, used.cpu.map(|cpu| cpu.total_ns));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The groups may be others the second time: a container is in the interval if it is in both
//! readings. What cannot be read is `None`, never 0. Nothing is written, no process is stopped, and
//! only files of the kernel's are read (procfs, cgroupfs, sysfs); everything takes the root of a
//! filesystem, so that frozen trees of other hosts test it.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/, scheduler/sched-bwc.rst,
//! scheduler/sched-stats.rst, accounting/psi.rst, filesystems/proc.rst in the kernel's tree.

mod cpu_set;
mod group;
mod host;
mod interval;
mod level;
mod snapshot;
mod tasks;
mod text;
mod weights;

pub use cpu_set::CpuSet;
pub use group::{Files, Group};
pub use host::{CpuTicks, DiskCounters, HostCounters, MemoryCounters};
pub use interval::{CpuTime, DiskUse, GroupUse, HostCpuUse, HostUse, Interval};
pub use level::{LevelUse, Pressure, Quota, Throttling, Weight};
pub use snapshot::{Detail, Memory, Reader, Siblings, Snapshot, TaskDetail};
pub use tasks::{AffinityUse, TaskUse, Tasks};
pub use weights::{Entitlement, Tenant};
