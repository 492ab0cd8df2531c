//! The flags of `ctrflame doctor`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Say it as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
