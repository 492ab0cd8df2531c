//! All that ctrflame says: errors with what to do, the closing line, notes; and the exit status.

use crate::cost::Cost;
use crate::doctor::Colour;
use crate::failure::{FAILED, Failure};
use crate::input;
use crate::jvm::{AskError, Asked, Found, Status, WrittenMap};
use crate::output::Output;
use crate::pipeline::{Converted, Named, Recording};
use crate::table::{Shown, Table};
use collapse::clean_line;
use collapse::text::Collapsed;
use profiler::jvm::{FIRST_WITH_PERFMAP, JvmError};
use profiler::live::{Ended, ScanTotals};
use profiler::perfdata::{CutFeatures, Ending, feature_name};
use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use symbolizer::Counts;

/// A second signal ended it at once: 128 and the signal's number is added by the caller.
const SIGNAL_BASE: i32 = 128;

/// One line on standard error. When nobody can read it there is nobody to tell.
fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A note: what it quotes may be a container's.
pub(crate) fn note(text: impl Display) {
    say(clean_line(&format!("ctrflame: note: {text}"), 400));
}

/// Prints an error with its causes and its hint; the exit status.
pub(crate) fn failure(error: &Failure) -> ExitCode {
    let mut line = format!("ctrflame: error: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        line.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    say(line);
    if let Some(hint) = error.hint() {
        say(format_args!("hint: {hint}"));
    }
    ExitCode::from(error.status())
}

/// Says what goes on and how it is ended, to whom can press the keys.
pub(crate) fn meanwhile(what: impl Display) {
    if io::stderr().is_terminal() {
        say(clean_line(&format!("ctrflame: {what}"), 400));
    }
}

/// Says what the picture cannot: what was chosen, what could not be seen.
pub(crate) fn notes(recording: &Recording, event_was_chosen: bool, stacks: &[String]) {
    let recorded = &recording.recorded;
    if !event_was_chosen {
        say(format_args!(
            "ctrflame: sampled by {}{}",
            recorded.event.name(),
            match recorded.event {
                profiler::live::SampledEvent::CpuClock => " (no hardware cycles on this machine)",
                _ => "",
            }
        ));
    }
    let ScanTotals {
        unreadable,
        processes,
    } = recorded.scanned;
    if unreadable > 0 {
        say(format_args!(
            "ctrflame: note: {unreadable} of {processes} processes could not be read at the start; their frames stay \
             unnamed"
        ));
    }
    if recorded.lost_tracking > 0 {
        say(format_args!(
            "ctrflame: note: {} records of what processes did were lost (no samples): some frames may be unnamed, \
             some threads have a former name",
            recorded.lost_tracking
        ));
    }
    if recorded.undecoded > 0 {
        say(format_args!(
            "ctrflame: note: {} records were not understood and left out",
            recorded.undecoded
        ));
    }
    if recording.named.counts.outside > 0 {
        say(format_args!(
            "ctrflame: note: {} samples outside of the target were left out",
            recording.named.counts.outside
        ));
    }
    if recording.named.counts.unpinned > 0 {
        say(format_args!(
            "ctrflame: note: {} processes ended before their files could be held",
            recording.named.counts.unpinned
        ));
    }
    if recording.named.counts.out_of_files > 0 {
        say(format_args!(
            "ctrflame: note: no descriptor was left to hold {} files: names may be missing; raise the limit, as \
             root: `ulimit -n 1048576`",
            recording.named.counts.out_of_files
        ));
    }
    throttled(&recording.named);
    stacks.iter().for_each(note);
    recording.jvms.iter().for_each(asked);
    problems(&recording.named);
}

/// Says that servers are asked, which takes a while.
pub(crate) fn fetching(count: usize) {
    say(format_args!(
        "ctrflame: asking debuginfod for {count} debug files"
    ));
}

/// Says why debuginfod is not asked.
pub(crate) fn no_cache(reason: &str) {
    note(format_args!(
        "debuginfod is not asked: its cache cannot be used: {reason}"
    ));
}

/// How long there were no samples because the kernel allowed none.
fn throttled(named: &Named) {
    let Counts {
        throttled,
        throttled_ns,
        ..
    } = named.counts;
    if throttled > 0 {
        note(format_args!(
            "the kernel stopped sampling {throttled} times, {} ms in all, for too many interrupts: what \
             ran then is missing; sample less often (-F)",
            throttled_ns / 1_000_000
        ));
    }
}

/// What a JVM did not tell, and what its stacks lack.
fn asked(jvm: &Asked) {
    let whose = format!("JVM {} in {}", jvm.pid.0, jvm.tag);
    if let Some(error) = &jvm.error {
        note(format_args!(
            "{whose} did not name all of its code: {error}"
        ));
        if let AskError::Jvm(error) = error
            && let Some(hint) = error.hint()
        {
            say(format_args!("  hint: {hint}"));
        }
    }
    if jvm.has_frame_pointers == Some(false) {
        note(format_args!(
            "{whose} has no frame pointers: its stacks end at the first Java frame"
        ));
        say("  hint: start it with -XX:+PreserveFramePointer (JDK 8u60 and later)");
    }
}

/// What kept names away.
fn problems(named: &Named) {
    const SHOWN_MAX: usize = 10;
    for problem in named.problems.iter().take(SHOWN_MAX) {
        note(problem);
    }
    if named.problems.len() > SHOWN_MAX {
        let more = named.problems.len() - SHOWN_MAX;
        say(format_args!("ctrflame: note: and {more} more of the kind"));
    }
}

/// Says what a picture of a file cannot: what else is in it, what could not be read.
pub(crate) fn converted(converted: &Converted, input: &Path) {
    let input = input::shown(input);
    let outcome = &converted.outcome;
    let others = outcome.events.iter().zip(&outcome.samples).enumerate();
    for (_, (event, samples)) in
        others.filter(|(at, (_, samples))| *at != outcome.chosen && **samples > 0)
    {
        note(format!(
            "not drawn: {samples} samples of {0}; `-e {0}` draws them",
            event.name
        ));
    }
    if outcome.unknown_samples > 0 {
        note(format!(
            "{} samples belong to none of the events and were left out",
            outcome.unknown_samples
        ));
    }
    if converted.branches_are_any {
        note(
            "its branch stacks are of any branches, not of calls: frames are the last branches \
             taken, not callers",
        );
    }
    if outcome.late > 0 {
        note(format!(
            "{} records came after later ones: some names may be of another moment",
            outcome.late
        ));
    }
    if converted.named.counts.outside > 0 {
        note(format!(
            "{} samples of others were left out",
            converted.named.counts.outside
        ));
    }
    match &outcome.ending {
        Ending::Whole => {}
        Ending::Unclosed { cut_bytes: 0 } => note(format!(
            "{input}: perf was killed while it wrote; drawn is what it had written"
        )),
        Ending::Unclosed { cut_bytes } => note(format!(
            "{input}: perf was killed while it wrote; the last {cut_bytes} bytes are no whole record, drawn is \
             what came before"
        )),
        Ending::Damaged(error) => note(format!("{input}: {error}; drawn is what came before")),
    }
    // perf clears the mark for recordings without threads (`record__init_features()`); should one not, its samples
    // say that nothing is elsewhere.
    if outcome.about.is_directory_head && outcome.samples.iter().all(|samples| *samples == 0) {
        note(format!(
            "{input}: `perf record --threads` wrote the samples into files beside it, data.0 and so on: give \
             their directory"
        ));
    }
    if let Some(cut) = &outcome.about.cut {
        note(missing(cut, &input));
    }
    for part in &outcome.about.unreadable {
        let name = feature_name(part.feature).unwrap_or("header part");
        note(format!("{input}: cannot read its {name}: {}", part.reason));
    }
    let counts = converted.named.counts;
    if counts.outside > 0 && counts.outside == counts.samples {
        note(format!(
            "none of the {} samples was chosen; --by comm,pid without the other flags shows what there is",
            counts.samples
        ));
    }
    if counts.drawn == 0 && counts.idle > 0 {
        note("what was chosen is idle CPUs: `--idle` draws them");
    }
    throttled(&converted.named);
    problems(&converted.named);
}

/// What is missing of a file that was cut behind its records.
fn missing(cut: &CutFeatures, input: &str) -> String {
    let names: Vec<&str> = cut
        .features
        .iter()
        .filter_map(|feature| feature_name(*feature))
        .collect();
    let missing = match names.as_slice() {
        [] => "nothing that is drawn".to_owned(),
        names => names.join(", "),
    };
    format!(
        "{input} is cut at byte {}, behind its samples: missing of it is {missing}",
        cut.len_bytes
    )
}

/// Says what a picture of a text cannot: what else is in it, what could not be read.
pub(crate) fn text_notes(collapsed: &Collapsed) {
    const EVENTS_MAX: usize = 10;
    let others = &collapsed.other_events;
    for (event, samples) in others.iter().take(EVENTS_MAX) {
        note(format!(
            "not drawn: {samples} samples of {event}; `-e {event}` draws them"
        ));
    }
    if let Some(more) = others.get(EVENTS_MAX..).filter(|more| !more.is_empty()) {
        let samples = more
            .iter()
            .fold(0_u64, |sum, (_, samples)| sum.saturating_add(*samples));
        note(format!(
            "not drawn: {samples} samples of {} more events",
            more.len()
        ));
    }
    if collapsed.left_out.lines > 0 {
        note(format!(
            "{} lines were not understood and left out, the first is line {} (byte {})",
            collapsed.left_out.lines, collapsed.left_out.first.line, collapsed.left_out.first.byte
        ));
    }
    if let Some(cut) = collapsed.cut {
        note(format!(
            "the text ends inside the sample of line {} (byte {}): it is counted, its stack may be cut",
            cut.line, cut.byte
        ));
    }
    if let Some(broken) = &collapsed.broken {
        note(format!("{broken}; drawn is what came before"));
    }
    if collapsed.waiting > 0 {
        note(format!(
            "{} samples of waiting threads are not drawn",
            collapsed.waiting
        ));
    }
}

/// The closing line.
pub(crate) fn closing(totals: &impl Display, outputs: &[Output]) {
    let places: Vec<String> = outputs.iter().map(Output::shown).collect();
    say(format_args!("{totals} → {}", places.join(", ")));
}

/// A line on standard output, for commands whose answer is text: what containers wrote is escaped.
fn answer(line: &str) {
    let _ = writeln!(io::stdout(), "{}", clean_line(line, 400));
}

/// Whether somebody sits at a terminal, to read and to press keys.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// A table on standard output: as wide as the terminal, in colours where they are wanted.
pub(crate) fn table(table: &Table) -> Result<Read, Failure> {
    let lines = table.lines(Shown::on(&io::stdout()));
    text(
        &lines
            .iter()
            .fold(String::new(), |text, line| text + line + "\n"),
    )
}

/// Whether what was written is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Yes,
    /// Whoever read it has left, as `head` does: no failure, and nothing more needs to be written.
    NoMore,
}

/// Text that is safe for a terminal, on standard output as it is.
pub(crate) fn text(text: &str) -> Result<Read, Failure> {
    let mut stdout = io::stdout();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(Read::Yes),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Read::NoMore),
        Err(error) => Err(Failure::Answer(error)),
    }
}

/// Lines on standard output, for commands whose answer is text: what containers wrote is escaped.
pub(crate) fn answers(lines: &[String]) -> Result<Read, Failure> {
    let lines = lines.iter().map(|line| clean_line(line, 400));
    text(&lines.fold(String::new(), |text, line| text + &line + "\n"))
}

/// Where a JVM's map is, or why there is none.
pub(crate) fn jvm_map(found: &Found, written: &Result<WrittenMap, JvmError>) {
    let (pid, tag) = (found.jvm.pid.0, &found.tag);
    match written {
        Ok(map) => answer(&format!(
            "{} · {} bytes · JVM {pid} in {tag}",
            map.path.display(),
            map.bytes
        )),
        Err(error) => jvm_error(&format!("JVM {pid} in {tag}"), error),
    }
}

fn jvm_error(whose: &str, error: &JvmError) {
    say(clean_line(&format!("ctrflame: {whose}: {error}"), 400));
    if let Some(hint) = error.hint() {
        say(format_args!("  hint: {hint}"));
    }
}

/// What a JVM is, and whether its frames can be named.
pub(crate) fn jvm_status(found: &Found, status: &Status) {
    let inside = status
        .ns_pid
        .map_or_else(String::new, |ns_pid| match ns_pid.0 {
            same if same == found.jvm.pid.0 => String::new(),
            inside => format!(", {inside} to itself"),
        });
    answer(&format!("JVM {}{inside} in {}", found.jvm.pid.0, found.tag));
    let field = |name: &str, value: &str| answer(&format!("  {name:<16} {value}"));
    let mut can_map = None;
    match &status.version {
        Ok(version) => {
            field("machine", &version.machine);
            field("attachable", "yes");
            can_map = version.release.map(|release| release >= FIRST_WITH_PERFMAP);
        }
        Err(error) => {
            field("attachable", &format!("no: {error}"));
            if let Some(hint) = error.hint() {
                field("", hint);
            }
        }
    }
    field(
        "frame pointers",
        if status.has_frame_pointers {
            "yes"
        } else {
            "no: start it with -XX:+PreserveFramePointer, or its stacks end at the first Java frame"
        },
    );
    if can_map == Some(false) {
        field("names", "no: Compiler.perfmap came with JDK 17");
    }
    let map = match &status.map {
        Some(map) => format!("{} · {} bytes", map.path.display(), map.bytes),
        None if can_map == Some(true) => "none now; a recording asks for one".to_owned(),
        None => "none".to_owned(),
    };
    field("perf map", &map);
}

/// Colours only where a person looks who did not refuse them (<https://no-color.org>).
pub(crate) fn colour() -> Colour {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match io::stdout().is_terminal() && !refused {
        true => Colour::Yes,
        false => Colour::No,
    }
}

/// What it cost.
pub(crate) fn cost(cost: &Cost) {
    say(format_args!("ctrflame: {cost}"));
}

/// The exit status of a command that did all, or not all, that was asked of it.
pub(crate) fn exit(all_well: bool) -> ExitCode {
    if all_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// The exit status of what a signal ended.
#[cfg(feature = "tui")]
pub(crate) fn ended_by(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(SIGNAL_BASE + signal).unwrap_or(FAILED))
}

/// The exit status of a recording that gave its picture.
pub(crate) fn status(ended: Ended) -> ExitCode {
    match ended {
        Ended::Command(status) | Ended::Signal(_, Some(status)) => command_status(status),
        Ended::Time | Ended::Target | Ended::Signal(_, None) => ExitCode::SUCCESS,
    }
}

fn command_status(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal));
    ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok())
            .unwrap_or(FAILED),
    )
}

/// Ends the program at once, after a second signal; what is half written is gone.
#[allow(clippy::exit)] // a thread cannot return from main
pub(crate) fn stop_at_once(signal: i32) -> ! {
    let _nothing_more_is_written = crate::unfinished::abandon();
    std::process::exit(SIGNAL_BASE + signal)
}
