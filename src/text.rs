//! `ctrflame convert` on text: what is no perf.data goes to `collapse::text`.

use crate::cli::{ConvertArgs, LayerArg, WeightArg};
use crate::cost::{Cost, CpuTime};
use crate::output::Output;
use crate::pipeline;
use crate::report::{self, Failure};
use collapse::clean_line;
use collapse::text::{Collapsed, OnBadLine, TextError, TextOptions, Weight, collapse_text};
use flamegraph_web::Picture;
use profiler::perfdata::{PerfDataError, Recording};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

/// What `convert` was given.
pub(crate) enum Input {
    Recording(Box<Recording>),
    Text(Box<dyn Read>),
}

/// Opens a file, a pipe or, for `-`, standard input, and tells by its first bytes what it is.
pub(crate) fn open(path: &Path) -> Result<Input, Failure> {
    if path == Path::new("-") {
        return stream(Box::new(io::stdin()));
    }
    let open_error = |source| PerfDataError::Open {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(open_error)?;
    let metadata = file.metadata().map_err(open_error)?;
    if metadata.is_dir() {
        return Ok(Input::Recording(Box::new(Recording::open(path)?)));
    }
    if !metadata.is_file() {
        // Its bytes come once.
        return stream(Box::new(file));
    }
    let start = read_start(&mut file)?;
    if Recording::has_magic(&start) {
        return Ok(Input::Recording(Box::new(Recording::from_file(file)?)));
    }
    Ok(Input::Text(Box::new(io::Cursor::new(start).chain(file))))
}

fn stream(mut stream: Box<dyn Read + Send>) -> Result<Input, Failure> {
    let start = read_start(&mut stream)?;
    let is_recording = Recording::has_magic(&start);
    let stream = io::Cursor::new(start).chain(stream);
    Ok(if is_recording {
        Input::Recording(Box::new(Recording::from_stream(Box::new(stream))?))
    } else {
        Input::Text(Box::new(stream))
    })
}

fn read_start(input: &mut impl Read) -> Result<Vec<u8>, Failure> {
    let mut start = Vec::new();
    input
        .take(Recording::MAGIC_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(|source| TextError::Read { byte: 0, source })?;
    Ok(start)
}

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
            None | Some(WeightArg::Period) => Weight::Period,
            Some(WeightArg::Samples) => Weight::One,
        },
        bad_lines: if args.allow_damaged {
            OnBadLine::LeaveOut
        } else {
            OnBadLine::Refuse
        },
    };
    let collapsed = collapse_text(text, &options)?;
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
        (!sources.perf_maps.is_empty(), "--perf-map"),
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
    let place = if input == Path::new("-") {
        "standard input".into()
    } else {
        input.display().to_string()
    };
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
