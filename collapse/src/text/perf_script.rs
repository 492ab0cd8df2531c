//! The output of `perf script`: a line for each sample, a line for each of its frames, a blank one.
//!
//! Names and the choice of events are those of FlameGraph's `stackcollapse-perf.pl --all`; every
//! sample is counted, also those that it leaves out (docs/perf-data.md lists them).

use std::collections::HashMap;
use std::io::Read;

use super::collapsed::{Collapsed, Counted, LeftOut};
use super::frame_cache::FrameCache;
use super::lines::{Line, Lines, Place};
use super::perf_frame;
use super::perf_head::{self, Head, Record};
use super::{Format, OnBadLine, TextError, TextOptions, Weight, for_each_line, line_error};
use crate::labels::{LabelId, Labels};
use crate::paths::Paths;
use crate::tree::NodeKind;

/// Counts all samples of a text.
pub(super) fn collapse<R: Read>(
    lines: &mut Lines<R>,
    options: &TextOptions,
) -> Result<Collapsed, TextError> {
    let mut script = PerfScript::new(options);
    let broken = for_each_line(lines, options, |line| script.line(line))?;
    Ok(Collapsed {
        broken,
        ..script.finish()?
    })
}

/// A comm's label, and whether stackcollapse-perf.pl takes the program for a JVM.
#[derive(Clone, Copy)]
struct Comm {
    label: LabelId,
    is_java: bool,
}

/// The sample whose lines are being read.
struct Open {
    comm: Comm,
    weight: u64,
    event: usize,
    at: Place,
    /// Whether something follows the event's name in its own line: its only frame if no other
    /// follows, a tracepoint's fields.
    has_more: bool,
    has_frames: bool,
}

struct Event {
    /// `None` where the text names no events.
    name: Option<Box<[u8]>>,
    samples: u64,
}

struct PerfScript<'o> {
    options: &'o TextOptions,
    labels: Labels,
    paths: Paths,
    frames: FrameCache,
    comms: HashMap<Box<[u8]>, Comm>,
    events: Vec<Event>,
    event_ids: HashMap<Option<Box<[u8]>>, usize>,
    /// The event that is counted, once its first sample is met.
    chosen: Option<usize>,
    open: Option<Open>,
    /// The open sample's frames, leaf first.
    stack: Vec<LabelId>,
    /// A weight is more than one.
    has_periods: bool,
    tells_periods: bool,
    lost: Option<u64>,
    left_out: LeftOut,
    cut: Option<Place>,
}

impl<'o> PerfScript<'o> {
    fn new(options: &'o TextOptions) -> Self {
        Self {
            options,
            labels: Labels::default(),
            paths: Paths::default(),
            frames: FrameCache::new(),
            comms: HashMap::new(),
            events: Vec::new(),
            event_ids: HashMap::new(),
            chosen: None,
            open: None,
            stack: Vec::new(),
            has_periods: false,
            tells_periods: false,
            lost: None,
            left_out: LeftOut::default(),
            cut: None,
        }
    }

    fn line(&mut self, line: Line<'_>) -> Result<(), TextError> {
        let text = line.text;
        if !line.is_ended {
            self.cut = Some(line.at);
        }
        match text.first() {
            None => {
                self.close();
                return Ok(());
            }
            Some(b' ' | b'\t') if self.may_be_frame() && self.frame(text, line.is_ended) => {
                return Ok(());
            }
            Some(_) => {}
        }
        match perf_head::timed(text) {
            Some(Record::Other { lost }) => {
                self.close();
                self.lost = Some(self.lost.unwrap_or(0).saturating_add(lost));
                return Ok(());
            }
            Some(Record::Sample(head)) => {
                self.begin(head, line.at);
                return Ok(());
            }
            None => {}
        }
        if text.first() == Some(&b'#') || self.is_aside(line) {
            return Ok(());
        }
        if let Some(head) = perf_head::untimed(text) {
            self.begin(head, line.at);
            return Ok(());
        }
        if text.trim_ascii().is_empty() {
            self.close();
            return Ok(());
        }
        if self.open.is_some() && self.frame(text, line.is_ended) {
            return Ok(());
        }
        let what = match (&self.open, perf_frame::split(text)) {
            (None, Some(_)) => "is a frame of no sample",
            _ => "is neither the begin of a sample nor a frame",
        };
        match self.options.bad_lines {
            OnBadLine::Refuse => Err(line_error(line, Format::PerfScript, what)),
            OnBadLine::LeaveOut => {
                self.left_out.add(line.at);
                Ok(())
            }
        }
    }

    /// After a sample's only frame in its own line the next line is mostly another sample's, and
    /// its comm may look like an address.
    fn may_be_frame(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.has_frames || !open.has_more)
    }

    /// Lines that tell of the frame or the sample before them and are no frames: source lines
    /// (`-F srcline`, two blanks), and the rest of a line that was cut.
    fn is_aside(&self, line: Line<'_>) -> bool {
        let is_source = line.text.starts_with(b"  ") && !line.text.starts_with(b"   ");
        !line.is_ended || (is_source && self.open.as_ref().is_some_and(|open| open.has_frames))
    }

    /// Adds a frame to the open sample; whether the line is one.
    fn frame(&mut self, text: &[u8], is_ended: bool) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        let is_drawn = self.chosen == Some(open.event);
        if !is_drawn || !is_ended {
            let Some(frame) = perf_frame::split(text) else {
                return false;
            };
            // Of a cut line the name is cut, most likely.
            if !is_drawn || frame.dso.is_none() {
                open.has_frames = true;
                return true;
            }
        }
        let found = self
            .frames
            .labels(text, open.comm.is_java, &mut self.labels);
        let Some(labels) = found else {
            return false;
        };
        if !open.has_frames {
            open.has_frames = true;
            // What stood in the sample's own line was a data address.
            self.stack.clear();
        }
        self.stack.extend(labels.iter().rev());
        true
    }

    fn begin(&mut self, head: Head<'_>, at: Place) {
        self.close();
        let event = self.event(head.event);
        let comm = self.comm(head.comm);
        // A period of 0 stands for none, as stackcollapse-perf.pl has it.
        let weight = match self.options.weight {
            Weight::Period | Weight::PeriodOrOne => head.period.unwrap_or(1).max(1),
            Weight::One => 1,
        };
        self.has_periods |= weight > 1 && self.chosen == Some(event);
        self.tells_periods |= head.period.is_some() && self.chosen == Some(event);
        if let Some(frame) = inline_frame(head.rest) {
            let labels = self.frames.labels_of(frame, comm.is_java, &mut self.labels);
            self.stack.extend(labels.iter().rev());
        }
        self.open = Some(Open {
            comm,
            weight,
            event,
            at,
            has_more: !head.rest.is_empty(),
            has_frames: false,
        });
    }

    /// Counts the open sample.
    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            if let Some(event) = self.events.get_mut(open.event) {
                event.samples += 1;
            }
            if self.chosen == Some(open.event) {
                let frames = self.stack.iter().rev().copied();
                self.paths
                    .add([open.comm.label].into_iter().chain(frames), open.weight);
            }
        }
        self.stack.clear();
    }

    fn event(&mut self, name: Option<&[u8]>) -> usize {
        // Nearly always the same as before.
        if let Some(chosen) = self.chosen
            && let Some(event) = self.events.get_mut(chosen)
        {
            let any = self.options.event.is_none();
            if event.name.as_deref() == name || (any && name.is_none()) {
                return chosen;
            }
            // Samples without an event's name belong to the first that has one.
            if any && event.name.is_none() {
                event.name = name.map(Into::into);
                self.event_ids.insert(event.name.clone(), chosen);
                return chosen;
            }
        }
        let name: Option<Box<[u8]>> = name.map(Into::into);
        let next = self.events.len();
        let id = *self.event_ids.entry(name.clone()).or_insert(next);
        if id == next {
            let is_wanted = match &self.options.event {
                Some(wanted) => name.as_deref() == Some(wanted.as_bytes()),
                None => self.chosen.is_none(),
            };
            if is_wanted {
                self.chosen = Some(id);
            }
            self.events.push(Event { name, samples: 0 });
        }
        id
    }

    fn comm(&mut self, comm: &[u8]) -> Comm {
        if let Some(known) = self.comms.get(comm) {
            return *known;
        }
        let name = String::from_utf8_lossy(comm).replace(' ', "_");
        let made = Comm {
            label: self.labels.intern(NodeKind::Process, &name),
            is_java: comm.starts_with(b"java"),
        };
        self.comms.insert(comm.into(), made);
        made
    }

    fn finish(mut self) -> Result<Collapsed, TextError> {
        // A blank line ends each sample that has lines of its own.
        let unended = self
            .open
            .as_ref()
            .filter(|open| open.has_frames || !open.has_more);
        let cut = unended.map(|open| open.at).or(self.cut);
        self.close();
        let shown = |event: &Event| {
            let name = event.name.as_deref().unwrap_or(b"(unnamed)");
            String::from_utf8_lossy(name).into_owned()
        };
        let Some(chosen) = self.chosen.and_then(|chosen| self.events.get(chosen)) else {
            return Err(match &self.options.event {
                Some(wanted) if !self.events.is_empty() => TextError::NoSuchEvent {
                    wanted: wanted.clone(),
                    present: self.events.iter().map(shown).collect(),
                },
                _ => TextError::NoSamples {
                    format: Format::PerfScript,
                },
            });
        };
        if self.options.weight == Weight::Period && !self.tells_periods {
            return Err(TextError::NoPeriods);
        }
        let others = self.events.iter().enumerate();
        let others = others
            .filter(|(id, event)| Some(*id) != self.chosen && event.samples > 0)
            .map(|(_, event)| (shown(event), event.samples));
        Ok(Collapsed {
            format: Format::PerfScript,
            samples: Some(chosen.samples),
            event: chosen.name.as_ref().map(|_| shown(chosen)),
            other_events: others.collect(),
            weight: if self.has_periods {
                Counted::Periods
            } else {
                Counted::Samples
            },
            lost: self.lost,
            waiting: 0,
            left_out: self.left_out,
            cut,
            broken: None,
            tree: crate::FrameTree::new(self.labels, self.paths),
        })
    }
}

/// The frame behind the event's name, where a sample has only one: the last address and what
/// follows it (before it there may be a data address).
fn inline_frame(rest: &[u8]) -> Option<perf_frame::FrameLine<'_>> {
    let frame = perf_frame::split(rest)?;
    let starts_with_address = perf_frame::split(frame.symbol);
    frame.dso?;
    match starts_with_address {
        Some(inner) if frame.symbol.iter().take(4).all(u8::is_ascii_hexdigit) => {
            Some(perf_frame::FrameLine {
                symbol: inner.symbol,
                dso: frame.dso,
            })
        }
        _ => Some(frame),
    }
}
