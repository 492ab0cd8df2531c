//! The flags of `ctrflame diagnose`.

use super::values::parse_duration;
use clap::Args;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    /// A container: id prefix, name, namespace/pod, pod, or cgroup path
    #[arg(value_name = "WHAT")]
    pub(crate) container: String,

    /// Watch for this much time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,

    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,
}
