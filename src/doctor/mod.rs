//! `ctrflame doctor`: whether recording will work, gate by gate.

mod json;
mod said;

pub(crate) use said::Colour;

use crate::cli::DoctorArgs;
use crate::failure::Failure;
use crate::report;
use profiler::live::gate::Standing;
use profiler::live::survey;
use std::process::ExitCode;

/// The host and its containers cannot be recorded.
const WILL_NOT_WORK: u8 = 1;

/// Looks and says; the status is 1 where a recording of the host or of a container would fail.
pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let survey = survey();
    let text = if args.json {
        json::of(&survey)
    } else {
        said::of(&survey, report::colour())
    };
    report::text(&text)?;
    Ok(match survey.standing() {
        Standing::Closed => ExitCode::from(WILL_NOT_WORK),
        _ => ExitCode::SUCCESS,
    })
}
