//! One recording: opens the events, reads what already runs, then moves rounds of records into the
//! sink in time order until something ends it.

use super::clock;
use super::command::{self, Before, Held, Running};
use super::config::{Config, KernelSamples, SampledEvent, Stop, Target};
use super::open_files::OpenFiles;
use super::opened::{CpusCame, Opened, SAMPLING, TRACKING};
use super::procfs::{self, ScanTotals};
use super::signals::{Arrived, Signals};
use super::{LiveError, watch::TargetWatch};
use crate::HostPid;
use crate::order::RoundSorter;
use crate::record::{self, Event, EventSink};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// After a wake the reader stays away from the tracking rings this long: a storm of forks costs a
/// bounded number of wakes, and a process that lives longer than this is seen alive.
const TRACKING_PAUSE: Duration = Duration::from_millis(20);
/// Rings are read at least this often, whatever their watermark.
const LONGEST_SLEEP: Duration = Duration::from_millis(200);
/// How far behind the start of a reading the merge's limit lies: see `order`.
const MERGE_SLACK_NS: u64 = 5_000_000;
/// How often CPUs and targets are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a command is waited for, once it was told to end.
const COMMAND_GRACE: Duration = Duration::from_secs(2);

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The command ended, with this status.
    Command(ExitStatus),
    /// The time was over.
    Time,
    /// Nothing of the target runs any more.
    Target,
    /// A signal with this number; the command's status, if there was one and it has ended since.
    Signal(i32, Option<ExitStatus>),
}

/// What a recording says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// Why it ended.
    pub ended: Ended,
    /// How long it sampled.
    pub duration: Duration,
    /// The event that was sampled by.
    pub event: SampledEvent,
    /// Whether kernel stacks are in it.
    pub kernel: KernelSamples,
    /// Samples that the kernel could not write, by its own count; LOST records tell of fewer.
    pub lost: u64,
    /// Records of what tasks did (began, execed, mapped) that found no room in their ring: what they
    /// would have told is unknown, no sample is missing.
    pub lost_tracking: u64,
    /// Records that could not be decoded: 0 unless the kernel wrote something unheard of.
    pub undecoded: u64,
    /// What was read of `/proc` at the start.
    pub scanned: ScanTotals,
}

/// Records until something ends the recording; the events go to `sink`.
pub fn record(
    config: &Config,
    signals: &Signals,
    sink: &mut impl EventSink,
) -> Result<Recorded, LiveError> {
    let before = Before {
        signal_mask: signals.mask_before(),
        open_files: OpenFiles::raise().map_err(|source| LiveError::OpenFiles { source })?,
    };
    let held = match &config.stop {
        Stop::Command(argv) => {
            let spawn_error = |source| LiveError::Command {
                argv0: argv.first().cloned().unwrap_or_default(),
                source,
            };
            Some((command::hold(argv, before).map_err(spawn_error)?, argv))
        }
        _ => None,
    };
    // Behind the fork of the command: it keeps its own.
    let opened = Opened::open(config, held.as_ref().map(|(held, _)| held.pid()))?;
    let mut session = Session {
        config,
        signals,
        opened,
        sorter: RoundSorter::default(),
        undecoded: 0,
        lost_tracking: 0,
        stop_signal: None,
    };
    let scanned = session.begin(held.as_ref().map(|(held, _)| held), sink)?;
    let command = match held {
        Some((held, argv)) => Some(held.release().map_err(|source| LiveError::Command {
            argv0: argv.first().cloned().unwrap_or_default(),
            source,
        })?),
        None => None,
    };
    session.run(command, scanned, sink)
}

struct Session<'a> {
    config: &'a Config,
    signals: &'a Signals,
    opened: Opened,
    sorter: RoundSorter,
    undecoded: u64,
    /// As far as LOST records told.
    lost_tracking: u64,
    stop_signal: Option<Signal>,
}

impl Session<'_> {
    /// Tracking starts first and `/proc` is read then: what changes in between is told twice, never
    /// missed. Sampling starts last.
    fn begin(
        &mut self,
        held: Option<&Held>,
        sink: &mut impl EventSink,
    ) -> Result<ScanTotals, LiveError> {
        self.opened.enable_tracking()?;
        let pids = match (&self.config.target, held) {
            // It has no children yet.
            (Target::Command, Some(held)) => vec![held.pid()],
            _ => self.target_pids(None)?,
        };
        let totals = scan(pids, sink);
        self.opened.enable_sampling()?;
        Ok(totals)
    }

    /// Processes whose events are recorded, as of now; `command`: the pid of the command.
    fn target_pids(&self, command: Option<HostPid>) -> Result<Vec<HostPid>, LiveError> {
        let proc_root = Path::new(procfs::PROC);
        let pids = match &self.config.target {
            Target::Host | Target::Cgroup(_) => procfs::all_pids(proc_root),
            Target::Processes(pids) => procfs::with_descendants(proc_root, pids),
            Target::Command => procfs::with_descendants(proc_root, command.as_slice()),
        };
        pids.map_err(|source| LiveError::Proc { source })
    }

    fn run(
        mut self,
        mut command: Option<Running>,
        scanned: ScanTotals,
        sink: &mut impl EventSink,
    ) -> Result<Recorded, LiveError> {
        let began = Instant::now();
        let deadline = match self.config.stop {
            Stop::After(duration) => Some(began + duration),
            _ => None,
        };
        let watch = TargetWatch::new(&self.config.target);
        let mut checked = began;
        let ended = loop {
            self.opened
                .wait(self.signals, TRACKING_PAUSE, self.sleep_limit(deadline))?;
            self.read_signals()?;
            self.round(sink);
            if let Some(signal) = self.stop_signal {
                break Ended::Signal(signal as i32, None);
            }
            if let Some(running) = command.as_mut() {
                if running.poll_ended()
                    && let Some(status) = running.status()
                {
                    break Ended::Command(status);
                }
            } else if watch.has_ended() {
                break Ended::Target;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break Ended::Time;
            }
            if checked.elapsed() >= CHECK_INTERVAL {
                checked = Instant::now();
                if self.opened.follow_cpus(self.config)? == CpusCame::Yes {
                    // What began on them unseen.
                    scan(self.target_pids(command.as_ref().map(Running::pid))?, sink);
                }
            }
        };
        self.opened.disable()?;
        let duration = began.elapsed();
        self.drain(sink);
        let ended = match (ended, command.as_mut()) {
            (Ended::Signal(signal, _), Some(running)) => {
                Ended::Signal(signal, self.end_command(running))
            }
            (ended, _) => ended,
        };
        Ok(Recorded {
            ended,
            duration,
            event: self.opened.event(),
            kernel: self.config.kernel,
            lost: self.opened.lost(),
            lost_tracking: self.opened.lost_tracking().max(self.lost_tracking),
            undecoded: self.undecoded,
            scanned,
        })
    }

    fn sleep_limit(&self, deadline: Option<Instant>) -> Duration {
        let longest = if self.sorter.has_kept() {
            2 * TRACKING_PAUSE
        } else {
            LONGEST_SLEEP
        };
        deadline.map_or(longest, |deadline| {
            longest.min(deadline.saturating_duration_since(Instant::now()))
        })
    }

    fn read_signals(&mut self) -> Result<(), LiveError> {
        while let Some(arrived) = self
            .signals
            .next()
            .map_err(|source| LiveError::Wait { source })?
        {
            if let Arrived::Stop(signal) = arrived {
                self.stop_signal = Some(signal);
            }
        }
        Ok(())
    }

    /// Reads every ring once and delivers what is safely in order.
    fn round(&mut self, sink: &mut impl EventSink) {
        let limit_ns = clock::monotonic_ns().saturating_sub(MERGE_SLACK_NS);
        self.collect(limit_ns, sink);
    }

    /// Delivers all that is left.
    fn drain(&mut self, sink: &mut impl EventSink) {
        self.collect(u64::MAX, sink);
    }

    fn collect(&mut self, limit_ns: u64, sink: &mut impl EventSink) {
        self.sorter.begin_round();
        self.opened.drain_into(&mut self.sorter);
        self.sorter.end_round(limit_ns);
        let layouts = self.opened.layouts();
        while let Some((bytes, source)) = self.sorter.pop() {
            let layout = if source == SAMPLING {
                &layouts.sampling
            } else {
                &layouts.tracking
            };
            match record::decode(bytes, layout) {
                // A full tracking ring loses no samples.
                Ok(Some(Event::Lost(lost))) if source == TRACKING => {
                    self.lost_tracking += lost.count;
                }
                Ok(Some(event)) => sink.event(&event),
                Ok(None) => {}
                Err(_) => self.undecoded += 1,
            }
        }
        sink.round_ended();
    }

    /// Ctrl-C in a terminal reaches the command by itself; a SIGTERM to us alone does not.
    fn end_command(&self, command: &mut Running) -> Option<ExitStatus> {
        command.signal(Signal::SIGTERM);
        let deadline = Instant::now() + COMMAND_GRACE;
        while !command.poll_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        command.status()
    }
}

/// Tells `sink` of `pids` as they are now.
fn scan(pids: Vec<HostPid>, sink: &mut impl EventSink) -> ScanTotals {
    let proc_root = Path::new(procfs::PROC);
    let mut totals = ScanTotals::default();
    for pid in pids {
        procfs::scan_process(proc_root, pid, &mut |event| sink.event(event), &mut totals);
    }
    totals
}
