//! `ctrflame convert`.

use crate::cli::{ConvertArgs, LayerArg, TimeArg, WeightArg};
use crate::cost::Cost;
use crate::failure::Failure;
use crate::how::How;
use crate::huge_pages;
use crate::input::{self, Input};
use crate::lookup::Sources;
use crate::pipeline::{self, Converted};
use crate::report;
use crate::stacks;
use crate::text;
use crate::{output, target::Host};
use collapse::clean_line;
use flamegraph_web::Picture;
use profiler::perfdata::{Ending, EventChoice, OnDamage, ReadOptions};
use profiler::{HostPid, HostTid};
use std::collections::HashSet;
use std::process::ExitCode;
use symbolizer::{Choice, Counting, Idle, LayerKind, Moment, Origin, Weight};

/// Reads a recording and draws it.
pub(crate) fn run(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    huge_pages::want();
    let outputs = output::all(&args.outputs)?;
    output::no_recordings(&outputs)?;
    let recording = match input::open(&args.input)? {
        Input::Recording(recording) => recording,
        Input::Text(input) => return text::run(args, &outputs, input),
    };
    let sources = Sources::new(&args.sources)?;
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
    let counting = counting(args);
    let host = Host::look().ok();
    let how = How {
        counting,
        call_graph: args.call_graph,
        sources,
        detail: output::detail(&outputs),
    };
    let converted = pipeline::convert((*recording, &args.input), &options, how, host)?;
    pipeline::write(&converted.named, &picture(&converted, args), &outputs)?;
    report::converted(&converted, &args.input);
    let said = stacks::unreached(&converted.named.counts);
    said.iter().for_each(report::note);
    report::closing(&converted.named.totals, &outputs);
    if args.verbose {
        report::cost(&Cost::since("read", converted.read));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the flags say of samples.
fn counting(args: &ConvertArgs) -> Counting {
    let chosen = &args.choice;
    let moment = |time: TimeArg| match time {
        TimeArg::Clock(time_ns) => Moment::Clock(time_ns),
        TimeArg::SinceFirst(after_ns) => Moment::SinceFirst(after_ns),
    };
    let time = chosen.time.as_ref();
    let choice = Choice {
        pids: chosen.pids.iter().copied().map(HostPid).collect(),
        tids: chosen.tids.iter().copied().map(HostTid).collect(),
        comms: chosen.comms.clone(),
        cpus: chosen
            .cpus
            .iter()
            .flat_map(|cpus| &cpus.0)
            .copied()
            .collect(),
        from: time.and_then(|time| time.from).map(moment),
        to: time.and_then(|time| time.to).map(moment),
    };
    let mut layers: Vec<LayerKind> = args.by.iter().copied().map(layer).collect();
    let mut seen = HashSet::new();
    layers.retain(|layer| seen.insert(*layer));
    Counting {
        origin: Origin::File,
        layers,
        choice,
        weight: match args.weight {
            None | Some(WeightArg::Samples) => Weight::Samples,
            Some(WeightArg::Period) => Weight::Period,
        },
        idle: match args.idle {
            true => Idle::Drawn,
            false => Idle::CountedOnly,
        },
    }
}

fn layer(arg: LayerArg) -> LayerKind {
    match arg {
        LayerArg::Container => LayerKind::Container,
        LayerArg::Comm => LayerKind::Comm,
        LayerArg::Pid => LayerKind::Pid,
        LayerArg::Tid => LayerKind::Tid,
        LayerArg::Cpu => LayerKind::Cpu,
    }
}

/// What the periods of an event count.
fn period_unit(event: &str) -> &str {
    // As perf prints it, with its modifiers: `cpu-clock:u`.
    match event.split(':').next() {
        Some("cpu-clock" | "task-clock") => "ns",
        _ => event,
    }
}

fn picture(converted: &Converted, args: &ConvertArgs) -> Picture {
    let input = &args.input;
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
        title: clean_line(&format!("{}: {event}{host}", input::shown(input)), 200).into_owned(),
        subtitle: format!("{}{damage}", converted.named.totals),
        notes: format!("ctrflame {}", env!("CARGO_PKG_VERSION")),
        unit: match args.weight {
            None | Some(WeightArg::Samples) => "samples".into(),
            Some(WeightArg::Period) => period_unit(event).into(),
        },
    }
}
