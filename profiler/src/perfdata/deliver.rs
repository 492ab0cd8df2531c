//! The delivering side: records in their order become events, and those of the chosen event reach the sink.

use super::PerfDataError;
use super::chunk::{Chunk, Entry, Message, Place, Spare};
use super::events::EventTable;
use super::write;
use crate::record::{self, Event, EventSink, ReadValues, Sample, sample_bits};
use std::collections::{HashMap, VecDeque};

/// In which order a recording's records are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// By their times.
    Time,
    /// As they are in the file: it was written in the order in which a live recording delivered them.
    Delivered,
}

/// Decodes and delivers.
pub(crate) struct Deliver<'a, S> {
    sink: &'a mut S,
    spare: &'a Spare,
    chosen: u16,
    order: Order,
    /// Chunks that are needed, and the number of the first of them.
    chunks: VecDeque<Chunk>,
    first_chunk: u32,
    /// Last values of counters read with samples, by event id.
    totals: HashMap<u64, u64>,
    last_ns: u64,
    pub(crate) counts: DeliverCounts,
}

/// What was delivered.
#[derive(Debug, Default)]
pub(crate) struct DeliverCounts {
    /// Samples of READ events, by event.
    pub(crate) samples: Vec<u64>,
    pub(crate) unknown_samples: u64,
    pub(crate) late: u64,
}

impl<'a, S: EventSink> Deliver<'a, S> {
    pub(crate) fn new(sink: &'a mut S, spare: &'a Spare, chosen: u16, order: Order) -> Self {
        Self {
            sink,
            spare,
            chosen,
            order,
            chunks: VecDeque::new(),
            first_chunk: 0,
            totals: HashMap::new(),
            last_ns: 0,
            counts: DeliverCounts::default(),
        }
    }

    pub(crate) fn take(&mut self, message: Message) -> Result<(), PerfDataError> {
        match message {
            Message::Chunk(chunk) => self.chunks.push_back(chunk),
            Message::Deliver {
                entries,
                events,
                keep_from,
            } => {
                for entry in &entries {
                    self.deliver(entry, &events)?;
                }
                self.spare.return_entries(entries);
                while self.first_chunk != keep_from
                    && let Some(chunk) = self.chunks.pop_front()
                {
                    self.first_chunk = self.first_chunk.wrapping_add(1);
                    self.spare.return_buffer(chunk.bytes);
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, entry: &Entry, events: &EventTable) -> Result<(), PerfDataError> {
        if entry.time_ns != 0 && self.order == Order::Time {
            self.counts.late += u64::from(entry.time_ns < self.last_ns);
            self.last_ns = entry.time_ns;
        }
        let Place {
            chunk,
            at,
            len_bytes,
            event,
        } = entry.place;
        let chunk = self
            .chunks
            .get(chunk.wrapping_sub(self.first_chunk) as usize);
        let start = at as usize;
        // Both are there: the walk made the place from them.
        let record = chunk.and_then(|chunk| chunk.bytes.get(start..start + usize::from(len_bytes)));
        let (Some(chunk), Some(bytes), Some(layout)) = (chunk, record, events.layout(event)) else {
            return Ok(());
        };
        // Changed where it is: to move it costs as much as to decode it.
        match &mut record::decode(bytes, layout) {
            Ok(Some(decoded)) => {
                match &mut *decoded {
                    Event::Sample(sample) => {
                        if !layout.has(sample_bits::PERIOD) {
                            sample.period = events.fixed_period(event);
                        }
                        if sample.read.is_some() {
                            let counted = Counted {
                                totals: &mut self.totals,
                                counts: &mut self.counts,
                                chosen: self.chosen,
                            };
                            counted.deliver(*sample, event, events, self.sink);
                            return Ok(());
                        }
                    }
                    // Of an event that is not drawn.
                    Event::Throttle(_) if event != self.chosen => return Ok(()),
                    _ if self.order == Order::Delivered => write::restore(decoded.stamp_mut()),
                    _ => {}
                }
                self.sink.event(decoded);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(source) => Err(PerfDataError::Undecodable {
                offset: chunk.offset_of(at),
                kind: bytes
                    .first_chunk::<4>()
                    .map_or(0, |kind| u32::from_ne_bytes(*kind)),
                source: source.clone(),
            }),
        }
    }
}

/// Samples that carry counters: each counter's growth is a sample of its own event, with that growth
/// as its period, and none where it did not grow (perf's `deliver_sample_value()`).
struct Counted<'a> {
    totals: &'a mut HashMap<u64, u64>,
    counts: &'a mut DeliverCounts,
    chosen: u16,
}

impl Counted<'_> {
    fn deliver(
        mut self,
        sample: Sample<'_>,
        sampled: u16,
        events: &EventTable,
        sink: &mut impl EventSink,
    ) {
        match sample.read {
            Some(ReadValues::Group(group)) => {
                for (id, value) in group.iter() {
                    self.one(id, value, sample, sampled, events, sink);
                }
            }
            Some(ReadValues::One { value, id }) => {
                self.one(id.or(sample.event_id), value, sample, sampled, events, sink);
            }
            None => {}
        }
    }

    fn one(
        &mut self,
        id: Option<u64>,
        value: u64,
        sample: Sample<'_>,
        sampled: u16,
        events: &EventTable,
        sink: &mut impl EventSink,
    ) {
        let mut sample = sample;
        let event = match id {
            None => sampled,
            Some(id) => {
                let Some(event) = events.by_id(id) else {
                    self.counts.unknown_samples += 1;
                    return;
                };
                let before = self.totals.insert(id, value).unwrap_or(0);
                sample.period = value.wrapping_sub(before);
                event
            }
        };
        if sample.period == 0 {
            return;
        }
        let number = usize::from(event);
        if self.counts.samples.len() <= number {
            self.counts.samples.resize(number + 1, 0);
        }
        if let Some(count) = self.counts.samples.get_mut(number) {
            *count += 1;
        }
        if event == self.chosen {
            sink.event(&Event::Sample(sample));
        }
    }
}
