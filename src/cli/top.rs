//! The flags of `ctrflame top`.

use super::values::parse_duration;
use crate::top::Column;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Less would measure little but the measuring.
const DELAY_MIN: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Write plain tables; so it does anyway where standard input or output is no terminal
    #[arg(short = 'b', long)]
    pub(crate) batch: bool,

    /// End after so many tables or refreshes
    #[arg(short = 'n', long = "count", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Time between two refreshes, and what each number is of
    #[arg(short = 'd', long, value_name = "TIME", default_value = "2s", value_parser = parse_delay)]
    pub(crate) delay: Duration,

    /// Sort by this
    #[arg(short = 's', long, value_name = "COLUMN", default_value = "cpu")]
    pub(crate) sort: Column,

    /// Only containers with this text in their name, id, pod or cgroup
    #[arg(short = 'f', long, value_name = "TEXT", default_value = "")]
    pub(crate) filter: String,

    /// How long Enter records the selected container
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) record_for: Duration,

    /// Where the pictures of these recordings go
    #[arg(
        short = 'o',
        long = "output-dir",
        value_name = "DIR",
        default_value = "."
    )]
    pub(crate) output_dir: PathBuf,

    /// Write a JSON document instead of each table
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_delay(text: &str) -> Result<Duration, String> {
    let delay = parse_duration(text)?;
    if delay < DELAY_MIN {
        return Err("must be 100ms or longer".to_owned());
    }
    Ok(delay)
}
