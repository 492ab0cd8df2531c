//! `ctrflame doctor`: whether recording will work, gate by gate.

mod json;
mod said;

use crate::cli::DoctorArgs;
use crate::report;
use profiler::live::gate::Standing;
use profiler::live::survey;
use said::Colour;
use std::io::IsTerminal;
use std::process::ExitCode;

/// The host and its containers cannot be recorded.
const WILL_NOT_WORK: u8 = 1;

/// Looks and says; the status is 1 where a recording of the host or of a container would fail.
pub(crate) fn run(args: &DoctorArgs) -> ExitCode {
    let survey = survey();
    let text = if args.json {
        json::of(&survey)
    } else {
        said::of(&survey, colour())
    };
    report::doctor(&text);
    match survey.standing() {
        Standing::Closed => ExitCode::from(WILL_NOT_WORK),
        _ => ExitCode::SUCCESS,
    }
}

/// Colours only where a person looks who did not refuse them (<https://no-color.org>).
fn colour() -> Colour {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match std::io::stdout().is_terminal() && !refused {
        true => Colour::Yes,
        false => Colour::No,
    }
}
