//! Which container a task is in, what it is called, and which one a user means.
//!
//! A container is known by its cgroup path, never by asking a runtime; its name comes from what the
//! runtimes leave on disk. Everything here takes the root of a filesystem, so that frozen trees of
//! other hosts test it.

mod census;
mod engine_dirs;
mod engine_files;
mod error;
mod find;
mod hierarchy;
mod label;
mod mountinfo;
mod names;
mod namespaces;
mod path;
mod proc_cgroups;
mod process;
mod recorded;
mod scan;
#[cfg(test)]
pub(crate) mod test_tree;
mod uts;

pub use census::{Resident, census};
pub use error::{Candidate, ContainerError};
pub use find::{Target, find};
pub(crate) use hierarchy::below;
pub use hierarchy::{Hierarchy, HierarchyError, HierarchyKind};
pub use label::{Container, Reach, Tags, host_tag};
pub(crate) use mountinfo::{CgroupMount, cgroup_mounts};
pub use names::{ContainerName, Names};
pub use namespaces::{NamespaceKind, Namespaces};
pub(crate) use path::path_of_container;
pub use path::{ContainerRef, Runtime, containers_in, systemd_unit};
pub use proc_cgroups::{ProcCgroup, ProcCgroups};
pub use process::Process;
pub use recorded::{Recorded, is_meant};
pub use scan::{hostname_of_process, list};
pub use uts::hostname_in;
