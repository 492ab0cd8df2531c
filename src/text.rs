//! `ctrflame convert` on text: a tree that `collapse::text` made, drawn.

use crate::cli::{ConvertArgs, LayerArg, WeightArg};
use crate::cost::{Cost, CpuTime};
use crate::failure::Failure;
use crate::input;
use crate::output::Output;
use crate::pipeline;
use crate::report;
use collapse::clean_line;
use collapse::text::{Collapsed, OnBadLine, TextOptions, Weight, collapse_text};
use flamegraph_web::Picture;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

/// Reads a text and draws it.
pub(crate) fn run(
    args: &ConvertArgs,
    outputs: &[Output],
    text: Box<dyn Read>,
) -> Result<ExitCode, Failure> {
    if let Some(flag) = flag_of_recordings(args) {
        return Err(Failure::FlagOfRecordings { flag });
    }
    let options = TextOptions {
        event: args.event.clone(),
        weight: match args.weight {
            None => Weight::PeriodOrOne,
            Some(WeightArg::Period) => Weight::Period,
            Some(WeightArg::Samples) => Weight::One,
        },
        bad_lines: if args.allow_damaged {
            OnBadLine::LeaveOut
        } else {
            OnBadLine::Refuse
        },
    };
    let collapsed =
        collapse_text(text, &options).map_err(|error| Failure::text(&args.input, error))?;
    let read = CpuTime::now();
    pipeline::write_tree(&collapsed.tree, &picture(&collapsed, &args.input), outputs)?;
    report::text_notes(&collapsed);
    report::closing(&collapsed, outputs);
    if args.verbose {
        report::cost(&Cost::since("read", read));
    }
    Ok(ExitCode::SUCCESS)
}

/// A flag that asks for what only a recording can tell of each sample.
fn flag_of_recordings(args: &ConvertArgs) -> Option<&'static str> {
    let (choice, sources) = (&args.choice, &args.sources);
    [
        (!sources.containers.is_empty(), "--container"),
        (sources.symfs.is_some(), "--symfs"),
        (!sources.sysroots.is_empty(), "--sysroot"),
        (sources.kallsyms.is_some(), "--kallsyms"),
        (sources.vmlinux.is_some(), "--vmlinux"),
        (!sources.perf_maps.is_empty(), "--perf-map"),
        (sources.no_inline, "--no-inline"),
        (sources.no_debuginfod, "--no-debuginfod"),
        (args.call_graph.is_some(), "--call-graph"),
        (args.idle, "--idle"),
        (!choice.pids.is_empty(), "--pid"),
        (!choice.tids.is_empty(), "--tid"),
        (!choice.comms.is_empty(), "--comm"),
        (choice.cpus.is_some(), "--cpu"),
        (choice.time.is_some(), "--time"),
        (args.by != [LayerArg::Container, LayerArg::Comm], "--by"),
    ]
    .into_iter()
    .find_map(|(is_given, flag)| is_given.then_some(flag))
}

fn picture(collapsed: &Collapsed, input: &Path) -> Picture {
    let place = input::shown(input);
    let event = collapsed.event.as_deref().map(|event| format!(": {event}"));
    let title = format!("{place}{}", event.unwrap_or_default());
    Picture {
        title: clean_line(&title, 200).into_owned(),
        subtitle: collapsed.to_string(),
        unit: collapsed.unit().to_owned(),
        notes: format!(
            "ctrflame {}, from {}",
            env!("CARGO_PKG_VERSION"),
            collapsed.format
        ),
    }
}
