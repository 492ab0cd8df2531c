//! `ctrflame top` on a terminal: keys, signals and measurements are one queue; one thread draws.

mod recording;
mod state;
mod terminal;
mod view;

use super::sampler::{Measured, Sampler};
use crate::cli::TopArgs;
use crate::failure::Failure;
use crate::report;
use profiler::live::Signals;
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use recording::Recording;
use state::{Action, State};
use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;
use terminal::Screen;

/// The first numbers come this soon.
const FIRST_DELAY_MAX: Duration = Duration::from_secs(1);

/// How long a recording's remaining seconds may stand still.
const TICK: Duration = Duration::from_millis(500);

/// What the screen waits for.
enum Happened {
    Key(KeyEvent),
    /// The terminal has another size, or was covered.
    Resized,
    Measured(Box<Measured>),
    /// A recording's process has said its last; all that it said.
    Recorded(String),
    /// Somebody wants us to stop: the signal's number.
    Signal(i32),
    /// No key will ever come again: the terminal is gone.
    NoTerminal,
}

/// Why it ends.
enum Ended {
    /// By a key, or after as many refreshes as were asked for.
    Asked,
    Signal(i32),
    NoTerminal,
}

/// Runs until a key or a signal ends it.
pub(super) fn run(args: &TopArgs) -> Result<ExitCode, Failure> {
    let sampler = Sampler::start()?;
    // Before any thread is started: they inherit the mask.
    let signals = Signals::block().map_err(Failure::Signals)?;
    let (tell, happened) = channel();
    start("signals", &tell, move |tell| tell_signals(&signals, tell))?;
    let mut screen = Screen::open().map_err(Failure::Terminal)?;
    start("keys", &tell, tell_keys)?;
    let delay = args.delay;
    start("counters", &tell, move |tell| measure(sampler, delay, tell))?;
    let mut recording = None;
    let mut state = State::new(args.sort, &args.filter);
    let ended = until_it_ends(
        args,
        &mut screen,
        &mut state,
        &mut recording,
        &tell,
        &happened,
    );
    // Before anything is said, or waited for.
    drop(screen);
    if let Some(recording) = recording {
        report::note(format_args!(
            "drawing what was recorded of {}",
            recording.tag
        ));
        let said = recording.end_now(&happened);
        report::note(said);
    }
    match ended? {
        Ended::Asked => Ok(ExitCode::SUCCESS),
        Ended::Signal(signal) => Ok(report::ended_by(signal)),
        Ended::NoTerminal => Ok(report::exit(false)),
    }
}

fn until_it_ends(
    args: &TopArgs,
    screen: &mut Screen,
    state: &mut State,
    recording: &mut Option<Recording>,
    tell: &Sender<Happened>,
    happened: &Receiver<Happened>,
) -> Result<Ended, Failure> {
    let mut refreshes = 0;
    loop {
        state.recording = recording.as_ref().map(Recording::said);
        screen.draw(state).map_err(Failure::Terminal)?;
        let next = match happened.recv_timeout(TICK) {
            Ok(next) => next,
            Err(RecvTimeoutError::Timeout) => continue,
            // We hold a sender ourselves.
            Err(RecvTimeoutError::Disconnected) => return Ok(Ended::NoTerminal),
        };
        match next {
            Happened::Key(key) => match state.key(key, screen.rows()) {
                Action::None => {}
                Action::Quit => return Ok(Ended::Asked),
                Action::Record => record(args, state, recording, tell),
            },
            Happened::Resized => screen.forget().map_err(Failure::Terminal)?,
            Happened::Measured(measured) => {
                refreshes += u64::from(measured.host.is_some());
                state.measured(*measured);
                if args.count.is_some_and(|count| refreshes >= count) {
                    screen.draw(state).map_err(Failure::Terminal)?;
                    return Ok(Ended::Asked);
                }
            }
            Happened::Recorded(said) => {
                if let Some(recording) = recording.take() {
                    state.message = Some(recording.result(&said));
                }
            }
            Happened::Signal(signal) => return Ok(Ended::Signal(signal)),
            Happened::NoTerminal => return Ok(Ended::NoTerminal),
        }
    }
}

/// Records the selected container, unless one is being recorded.
fn record(
    args: &TopArgs,
    state: &mut State,
    recording: &mut Option<Recording>,
    tell: &Sender<Happened>,
) {
    if let Some(recording) = recording {
        state.message = Some(format!("{} is still being recorded", recording.tag));
        return;
    }
    let Some(row) = state.selected() else {
        return;
    };
    let tell = tell.clone();
    let said = move |said| {
        let _ = tell.send(Happened::Recorded(said));
    };
    match Recording::start(row, args.record_for, &args.output_dir, said) {
        Ok(started) => {
            *recording = Some(started);
            state.message = None;
        }
        Err(error) => state.message = Some(format!("cannot record: {error}")),
    }
}

fn start(
    name: &str,
    tell: &Sender<Happened>,
    work: impl FnOnce(&Sender<Happened>) + Send + 'static,
) -> Result<(), Failure> {
    let tell = tell.clone();
    thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            // Whatever ends a thread that is needed ends the screen.
            let _end = EndsTheScreen(tell.clone());
            work(&tell);
        })
        .map(drop)
        .map_err(Failure::Thread)
}

struct EndsTheScreen(Sender<Happened>);

impl Drop for EndsTheScreen {
    fn drop(&mut self) {
        let _ = self.0.send(Happened::NoTerminal);
    }
}

fn tell_signals(signals: &Signals, tell: &Sender<Happened>) {
    while let Ok(signal) = signals.wait_for_stop() {
        if tell.send(Happened::Signal(signal)).is_err() {
            return;
        }
    }
}

fn tell_keys(tell: &Sender<Happened>) {
    loop {
        let happened = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Happened::Key(key),
            Ok(Event::Resize(..)) => Happened::Resized,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        if tell.send(happened).is_err() {
            return;
        }
    }
}

fn measure(mut sampler: Sampler, delay: Duration, tell: &Sender<Happened>) {
    let mut wait = delay.min(FIRST_DELAY_MAX);
    loop {
        let measured = Box::new(sampler.measure());
        if tell.send(Happened::Measured(measured)).is_err() {
            return;
        }
        thread::sleep(wait);
        wait = delay;
    }
}
