//! The flags of `ctrflame ps`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Processes or threads, by their ids on the host: the container of each, and its pid in there.
    /// With --container: by their pids inside
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pids: Vec<u32>,

    /// The processes of this container: id prefix, name, namespace/pod, pod, or cgroup path
    #[arg(short = 'G', long = "container", value_name = "WHAT")]
    pub(crate) container: Option<String>,

    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}
