//! HotSpot JVMs, asked from outside: nothing is loaded into them, and nothing of ours is left behind.
//!
//! A JVM answers diagnostic commands over a socket that it opens when it is told to: by a trigger file
//! and SIGQUIT (`attachListener_posix.cpp` of OpenJDK). A JVM that does not catch SIGQUIT dies of it, so
//! [`Jvm::check`] says first whether asking is safe.
//!
//! Asking needs the JVM's own uid and gid, and waits for a process that may never answer: it is done by
//! [`worker`], in a process of its own.

mod ask;
mod error;
mod map_file;
mod options;
mod process;
mod reply;
mod status;
pub mod worker;

pub use ask::Asker;
pub use error::JvmError;
pub use map_file::MapFile;
pub use options::JavaOptions;
pub use process::{Jvm, Machine};
pub use reply::{Flags, Version};

/// The first release that writes a perf map when it is asked (JDK-8254723).
pub const FIRST_WITH_PERFMAP: u32 = 17;
