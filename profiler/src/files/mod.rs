//! Files of targets that may be hostile: opened below their own root, regular only, never blocking, bounded.
//!
//! The steps, each a type: [`TargetRoot`] pins a process's view of files, [`HeldFile`] holds one file
//! without opening it, [`BoundedFile`] reads it up to a limit. Whatever may wait for a file system
//! that a container serves itself (FUSE) runs under [`within`].

mod below;
mod bounded;
mod deadline;
mod error;
mod held;
mod root;
mod statx;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod pin_tests;
#[cfg(test)]
mod testing;

pub use below::LastLink;
pub use bounded::BoundedFile;
pub use deadline::within;
pub use error::{FileError, FileKind};
pub use held::{FileIdentity, HeldFile};
pub use root::{RootIdentity, TargetRoot, mnt_ns_of};
