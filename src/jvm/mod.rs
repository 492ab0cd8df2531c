//! JVMs among the targets: `ctrflame jvm`, and what a recording asks of them.

mod command;
mod found;
mod watch;

pub(crate) use command::{Status, WrittenMap, run};
pub(crate) use found::Found;
pub(crate) use watch::{AskError, Asked, JvmWatch, LIBRARY, Seen};

use profiler::jvm::Asker;

/// The hidden command of the process that asks one JVM.
pub(crate) const WORKER: &str = "jvm-worker";

/// Asks through this very program, also when its file was replaced.
pub(crate) fn asker() -> Asker {
    Asker::new("/proc/self/exe", [WORKER])
}
