//! The flags of `ctrflame jvm`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct JvmArgs {
    #[command(subcommand)]
    pub(crate) command: JvmCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JvmCommand {
    /// Let each JVM write its /tmp/perf-PID.map now, and say where it is
    Map {
        /// A container (id prefix, name, namespace/pod, pod, cgroup path) or a pid of the host
        #[arg(required = true, value_name = "WHAT")]
        targets: Vec<String>,
    },
    /// Say of each JVM what it is, and whether its frames can be named
    Status {
        /// A container (id prefix, name, namespace/pod, pod, cgroup path) or a pid of the host
        /// [default: all JVMs of the host]
        #[arg(value_name = "WHAT")]
        targets: Vec<String>,
    },
}
