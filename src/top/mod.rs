//! `ctrflame top`: what each container uses of the CPU, waits for and may have, refreshed.

mod batch;
mod column;
mod row;
mod sampler;
#[cfg(feature = "tui")]
mod screen;
#[cfg(test)]
mod testing;

pub(crate) use column::Column;

use crate::cli::TopArgs;
use crate::failure::Failure;
use crate::report;
use std::process::ExitCode;

/// Runs it.
pub(crate) fn run(args: &TopArgs) -> Result<ExitCode, Failure> {
    if args.batch || args.json || !report::is_interactive() {
        return batch::run(args);
    }
    on_screen(args)
}

#[cfg(feature = "tui")]
fn on_screen(args: &TopArgs) -> Result<ExitCode, Failure> {
    screen::run(args)
}

#[cfg(not(feature = "tui"))]
fn on_screen(args: &TopArgs) -> Result<ExitCode, Failure> {
    report::note("built without the feature `tui`: tables, as with --batch");
    batch::run(args)
}
