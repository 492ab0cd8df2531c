//! `ctrflame record`.

use crate::cli::{EventArg, JvmArg, RecordArgs, RingSize};
use crate::cost::Cost;
use crate::diagnose::{Check, Checked};
use crate::failure::Failure;
use crate::jvm::{Asked, JvmWatch};
use crate::lookup::{debuginfod, inlines};
use crate::output;
use crate::pipeline::{self, Recording, Session};
use crate::recording_files::RecordingFiles;
use crate::report;
use crate::stacks;
use crate::target::{self, Host, Target};
use crate::vmlinux;
use flamegraph_web::Picture;
use profiler::live::{Config, KernelSamples, SampledEvent, Signals, Stop};
use std::process::ExitCode;
use std::sync::Arc;
use symbolizer::Lookup;

/// Records and draws.
pub(crate) fn run(args: &RecordArgs) -> Result<ExitCode, Failure> {
    let outputs = output::all(&args.outputs)?;
    // Before any thread is started: they inherit the mask.
    let signals = Arc::new(Signals::block().map_err(Failure::Signals)?);
    let host = match Host::look() {
        Ok(host) => Some(host),
        // Without cgroups there are no containers to ask for, but the rest can be recorded.
        Err(error) if !args.containers.is_empty() => return Err(error.into()),
        Err(_) => None,
    };
    let target = target::choose(args, host.as_ref())?;
    let config = config(args, &target);
    if config.stop == Stop::Signal {
        let title = collapse::clean_line(&target.title, 200);
        report::meanwhile(format_args!(
            "recording {title}; Ctrl-C ends it and draws the picture"
        ));
    }
    let vmlinux = vmlinux::of_this_host(args.vmlinux.as_deref())?;
    let files = RecordingFiles::begin(&outputs)?;
    let jvms = match args.jvm {
        JvmArg::Off => None,
        JvmArg::Auto | JvmArg::Force => {
            let watch = JvmWatch::start(args.jvm_map_interval);
            Some(watch.map_err(Failure::Thread)?)
        }
    };
    let mut check = Check::begin(&target, host.as_ref());
    let lookup = Lookup::of_host()
        .with_inlines(inlines(args.no_inline))
        .with_vmlinux(vmlinux);
    let (recording, files_written) = pipeline::record(Session {
        config: &config,
        stacks: stacks::asked(args).1,
        target: &target,
        host,
        lookup: debuginfod(lookup, args.no_debuginfod),
        files,
        detail: output::detail(&outputs),
        jvms,
        signals: &signals,
        sampling_ended: || {
            check.end();
            stop_at_second_signal(Arc::clone(&signals));
        },
    })?;
    let checked = check.finish();
    let picture = picture(&recording, &target, args, &checked);
    pipeline::write(&recording.named, &picture, &outputs)?;
    files_written?;
    let counts = &recording.named.counts;
    let said = stacks::notes(args.call_graph, counts, &recording.astray);
    report::notes(&recording, args.event.is_some(), &said);
    checked.notes.iter().for_each(report::note);
    let totals = format!("{}{}", recording.named.totals, checked.verdict);
    report::closing(&totals, &outputs);
    if args.verbose {
        report::cost(&Cost::since("record", recording.sampled));
    }
    if args.jvm == JvmArg::Force && recording.jvms.iter().any(|jvm| jvm.error.is_some()) {
        return Ok(report::exit(false));
    }
    Ok(report::status(recording.recorded.ended))
}

/// From here on a signal means: stop at once.
fn stop_at_second_signal(signals: Arc<Signals>) {
    let watch = move || {
        if let Ok(signal) = signals.wait_for_stop() {
            report::stop_at_once(signal);
        }
    };
    // Without the thread, signals stay blocked until the picture is written: late, not wrong.
    let _ = std::thread::Builder::new()
        .name("signals".into())
        .spawn(watch);
}

/// What a picture says of JVMs whose stacks it cannot show.
fn without_frame_pointers(jvms: &[Asked]) -> String {
    let mut pids = jvms
        .iter()
        .filter(|jvm| jvm.has_frame_pointers == Some(false))
        .map(|jvm| jvm.pid.0.to_string())
        .peekable();
    if pids.peek().is_none() {
        return String::new();
    }
    let pids: Vec<String> = pids.collect();
    format!(" · no frame pointers in JVM {}", pids.join(", "))
}

fn config(args: &RecordArgs, target: &Target) -> Config {
    let stop = match (args.duration, args.argv.is_empty()) {
        (Some(duration), _) => Stop::After(duration),
        (None, false) => Stop::Command(args.argv.clone()),
        (None, true) => Stop::Signal,
    };
    Config {
        target: target.live.clone(),
        rate_hz: args.rate_hz,
        event: args.event.map(|event| match event {
            EventArg::CpuClock => SampledEvent::CpuClock,
            EventArg::TaskClock => SampledEvent::TaskClock,
            EventArg::Cycles => SampledEvent::Cycles,
        }),
        kernel: if args.no_kernel {
            KernelSamples::Exclude
        } else {
            KernelSamples::Include
        },
        user: stacks::asked(args).0,
        ring: args.ring.map(|ring| match ring {
            RingSize::Pages(pages) => profiler::live::RingSize::Pages(pages),
            RingSize::Bytes(bytes) => profiler::live::RingSize::Bytes(bytes),
        }),
        stop,
    }
}

fn picture(
    recording: &Recording,
    target: &Target,
    args: &RecordArgs,
    checked: &Checked,
) -> Picture {
    let recorded = &recording.recorded;
    Picture {
        title: format!("CPU: {}", target.title),
        subtitle: format!(
            "{}{} · {:.1} s at {} Hz, {}{}",
            checked.in_front(),
            recording.named.totals,
            recorded.duration.as_secs_f64(),
            args.rate_hz,
            recorded.event.name(),
            without_frame_pointers(&recording.jvms),
        ),
        notes: format!("ctrflame {}", env!("CARGO_PKG_VERSION")),
        ..Picture::default()
    }
}
