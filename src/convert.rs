//! `ctrflame convert`.

use crate::cli::ConvertArgs;
use crate::cost::Cost;
use crate::pipeline::{self, Converted};
use crate::report::{self, Failure};
use crate::{output, target::Host};
use collapse::clean_line;
use flamegraph_web::Picture;
use profiler::perfdata::{Ending, EventChoice, OnDamage, ReadOptions, Recording};
use std::path::Path;
use std::process::ExitCode;

/// Reads a recording and draws it.
pub(crate) fn run(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    let outputs = output::all(&args.outputs)?;
    output::no_recordings(&outputs)?;
    let recording = if args.input == Path::new("-") {
        Recording::from_stream(Box::new(std::io::stdin()))?
    } else {
        Recording::open(&args.input)?
    };
    let options = ReadOptions {
        event: match &args.event {
            Some(name) => EventChoice::Name(name.clone()),
            None => EventChoice::First,
        },
        damage: if args.allow_damaged {
            OnDamage::KeepBefore
        } else {
            OnDamage::Refuse
        },
    };
    // Names of containers that this host still knows; without cgroups there are none.
    let converted = pipeline::convert(recording, &options, Host::look().ok())?;
    pipeline::write(
        &converted.named,
        &picture(&converted, &args.input),
        &outputs,
    )?;
    report::converted(&converted, &args.input);
    report::closing(&converted.named, &outputs);
    if args.verbose {
        report::cost(&Cost::since(converted.read));
    }
    Ok(ExitCode::SUCCESS)
}

fn picture(converted: &Converted, input: &Path) -> Picture {
    let outcome = &converted.outcome;
    let event = outcome
        .events
        .get(outcome.chosen)
        .map_or("samples", |event| event.name.as_str());
    let host = outcome
        .about
        .hostname
        .as_deref()
        .map(|host| format!(" on {host}"))
        .unwrap_or_default();
    let damage = match &outcome.ending {
        Ending::Whole => String::new(),
        Ending::Unclosed { .. } => " · perf was killed: up to there".into(),
        Ending::Damaged(error) => match error.offset() {
            Some(offset) => format!(" · damaged at byte {offset}: only what came before"),
            None => " · damaged: only what came before".into(),
        },
    };
    Picture {
        title: clean_line(&format!("{}: {event}{host}", input.display()), 200).into_owned(),
        subtitle: format!("{}{damage}", converted.named.totals),
        notes: format!("ctrflame {}", env!("CARGO_PKG_VERSION")),
    }
}
