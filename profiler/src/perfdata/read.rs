//! Reading a recording to its end: one thread reads and sorts, the caller's decodes and delivers.

use super::PerfDataError;
use super::about::{About, RecordedEvent};
use super::chunk::{Message, Spare};
use super::deliver::{Deliver, Order};
use super::event_choice;
use super::events::EventTable;
use super::open::{Recording, read_features};
use super::source::Parts;
use super::stats::Stats;
use super::stream::Stream;
use super::walk::Walk;
use crate::record::EventSink;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Messages between the threads: enough that neither waits for the other's every step.
const CHANNEL_MESSAGES: usize = 16;
/// A recording this small is read without a second thread.
const SMALL_BYTES: u64 = 1 << 20;
/// Feature sections behind the records of a stream.
const MOST_TAIL_BYTES: u64 = 64 << 20;

/// How to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Which event's samples are delivered.
    pub event: EventChoice,
    /// What becomes of a damaged recording.
    pub damage: OnDamage,
}

/// Which event's samples are delivered. Records other than samples are, whichever event they came with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EventChoice {
    /// The recording's first.
    #[default]
    First,
    /// By its place in [`Recording::events`].
    Index(usize),
    /// By its name as perf prints it, or as it was asked for; without its modifiers if no other has
    /// that name.
    Name(String),
}

/// What becomes of a damaged recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// It is an error; what came before it was delivered.
    #[default]
    Refuse,
    /// What came before the damage is delivered, and the outcome tells of it.
    KeepBefore,
}

/// How a recording ended.
#[derive(Debug)]
pub enum Ending {
    /// As it should.
    Whole,
    /// perf was killed while it recorded: the header was never completed, the last record may be cut.
    Unclosed {
        /// Bytes at the end that are no whole record.
        cut_bytes: u64,
    },
    /// Damage; what came before it was delivered.
    Damaged(PerfDataError),
}

/// What was read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// What the recording says of itself.
    pub about: About,
    /// Its events.
    pub events: Vec<RecordedEvent>,
    /// The event whose samples were delivered.
    pub chosen: usize,
    /// Samples by event, as perf counts them.
    pub samples: Vec<u64>,
    /// Samples whose id belongs to none of the events.
    pub unknown_samples: u64,
    /// Records by type.
    pub stats: Stats,
    /// Records that were delivered after later ones: of a recording without marks between its
    /// rounds, or one whose marks are wrong.
    pub late: u64,
    /// How it ended.
    pub ending: Ending,
}

/// What the reading side has to tell in the end.
struct Walked {
    about: About,
    events: Arc<EventTable>,
    stats: Stats,
    samples: Vec<u64>,
    unknown_samples: u64,
    ending: Result<Ending, PerfDataError>,
}

impl Recording {
    /// Reads everything; the events go to `sink` in time order.
    pub fn read(
        self,
        options: &ReadOptions,
        sink: &mut impl EventSink,
    ) -> Result<Outcome, PerfDataError> {
        // As many as 16384 events are read.
        let chosen = self.choose(&options.event)? as u16;
        let spare = Spare::default();
        let mut deliver = Deliver::new(sink, &spare, chosen, self.order());
        let is_small = self.len_bytes.is_some_and(|len| len < SMALL_BYTES);
        let (walked, delivered) = if is_small {
            let mut delivered = Ok(());
            let walked = self.walk(chosen, options.damage, &spare, &mut |message| {
                delivered = deliver.take(message);
                delivered.is_ok()
            });
            (walked, delivered)
        } else {
            let (sender, receiver) = sync_channel::<Message>(CHANNEL_MESSAGES);
            thread::scope(|scope| {
                let spare = &spare;
                let walker = scope.spawn(move || {
                    self.walk(chosen, options.damage, spare, &mut |message| {
                        sender.send(message).is_ok()
                    })
                });
                let delivered = receiver
                    .iter()
                    .try_for_each(|message| deliver.take(message));
                drop(receiver);
                match walker.join() {
                    Ok(walked) => (walked, delivered),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            })
        };
        let ending = match (delivered, walked.ending) {
            // A record that cannot be decoded stopped the other side.
            (Err(error), _) | (Ok(()), Err(error)) => match options.damage {
                OnDamage::KeepBefore if error.is_damage() => Ending::Damaged(error),
                _ => return Err(error),
            },
            (Ok(()), Ok(ending)) => ending,
        };
        let mut samples = walked.samples;
        samples.resize(walked.events.events().len(), 0);
        for (count, more) in samples.iter_mut().zip(&deliver.counts.samples) {
            *count += more;
        }
        Ok(Outcome {
            about: walked.about,
            events: walked.events.events().to_vec(),
            chosen: usize::from(chosen),
            samples,
            unknown_samples: walked.unknown_samples + deliver.counts.unknown_samples,
            stats: walked.stats,
            late: deliver.counts.late,
            ending,
        })
    }

    /// The place in [`Self::events`] of the event that is meant. Of a pipe whose events come later than
    /// its start tells, none is found.
    pub fn choose(&self, choice: &EventChoice) -> Result<usize, PerfDataError> {
        let events = self.events();
        let name_of = |at: usize| events.get(at).map(|event| event.name.clone());
        let (found, wanted) = match choice {
            EventChoice::First => return Ok(0),
            EventChoice::Index(index) => {
                let found = events.get(*index).map(|_| *index);
                (found.ok_or_else(Vec::new), index.to_string())
            }
            EventChoice::Name(name) => (event_choice::find(events, name), name.to_owned()),
        };
        found.map_err(|several| match several.as_slice() {
            [] => PerfDataError::NoSuchEvent {
                wanted,
                known: self.events.names(),
            },
            several => PerfDataError::SeveralEvents {
                wanted,
                found: several.iter().copied().filter_map(name_of).collect(),
            },
        })
    }

    fn order(&self) -> Order {
        match self.is_in_order {
            true => Order::Delivered,
            false => Order::Time,
        }
    }

    /// The reading side.
    fn walk(
        self,
        chosen: u16,
        damage: OnDamage,
        spare: &Spare,
        emit: &mut dyn FnMut(Message) -> bool,
    ) -> Walked {
        let order = self.order();
        // A pipe's events come again with its records.
        let (events, about) = match self.about.is_pipe {
            true => (
                EventTable::default(),
                About::new(self.about.byte_order, true),
            ),
            false => (self.events, self.about),
        };
        let mut walk = Walk::new(events, about, chosen, spare, emit);
        walk.order = order;
        let mut streams = self.streams;
        let walked = read_streams(&mut streams, &mut walk);
        if walked.is_err() && damage == OnDamage::KeepBefore {
            for stream in &mut streams {
                // What was decompressed before the damage and kept back; the damage is known.
                let _ = stream.finish(&mut walk);
            }
        }
        let ending = walked.and_then(|()| end_streams(&mut streams, &mut walk, self.is_unclosed));
        // Of a damaged recording too: the sink then tells whether there is anything before the damage.
        walk.rounds.end();
        walk.send_ready();
        if let (Some(header), Some(stream)) = (self.features_behind, streams.first_mut()) {
            let tail = stream.source.tail(MOST_TAIL_BYTES);
            let parts = Parts::Kept {
                bytes: &tail,
                offset: stream.source.offset(),
            };
            let events = Arc::make_mut(&mut walk.events);
            read_features(&header, &parts, &mut walk.about, events);
        }
        Arc::make_mut(&mut walk.events).number_equal_names();
        Walked {
            about: walk.about,
            events: walk.events,
            stats: walk.stats,
            samples: walk.samples,
            unknown_samples: walk.unknown_samples,
            ending,
        }
    }
}

/// Reads all streams to their ends; of several, always the one that is furthest behind in time.
fn read_streams(streams: &mut [Stream], walk: &mut Walk<'_>) -> Result<(), PerfDataError> {
    let mut reached_ns = vec![0; streams.len()];
    while !walk.is_stopped {
        let behind = streams
            .iter_mut()
            .zip(&mut reached_ns)
            .filter(|(stream, _)| !stream.is_at_end)
            .min_by_key(|(_, reached)| **reached);
        let Some((stream, reached)) = behind else {
            break;
        };
        stream.step(walk)?;
        *reached = walk.rounds.last_ns().max(*reached);
    }
    Ok(())
}

/// What is left at the ends of the streams.
fn end_streams(
    streams: &mut [Stream],
    walk: &mut Walk<'_>,
    is_unclosed: bool,
) -> Result<Ending, PerfDataError> {
    let mut cut_bytes = 0;
    for stream in streams {
        if walk.is_stopped {
            break;
        }
        match stream.finish(walk) {
            Err(PerfDataError::Zstd { .. }) if is_unclosed => {}
            finished => finished?,
        }
        let (offset, carried) = (stream.source.offset(), stream.carried_bytes());
        if let Some(end) = stream.source.end().filter(|end| *end > offset) {
            return Err(PerfDataError::Truncated {
                offset,
                what: "records",
                wanted_bytes: end - offset,
                found_bytes: 0,
            });
        }
        if carried > 0 && !is_unclosed {
            return Err(PerfDataError::Truncated {
                offset: offset.saturating_sub(carried),
                what: "last record",
                wanted_bytes: stream.wanted_bytes(),
                found_bytes: carried,
            });
        }
        cut_bytes += carried;
        if walk.events.events().is_empty() {
            return Err(PerfDataError::NoEvents { offset });
        }
    }
    if is_unclosed {
        return Ok(Ending::Unclosed { cut_bytes });
    }
    Ok(Ending::Whole)
}
