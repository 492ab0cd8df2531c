//! The reading side: chunk by chunk it finds the records, whose they are and when, and sends them on in
//! time order. It decodes nothing else.

use super::about::About;
use super::bytes::ByteOrder;
use super::chunk::{Chunk, Message, Place, Spare};
use super::deliver::Order;
use super::events::{EventTable, SAMPLE};
use super::rounds::Rounds;
use super::stats::{KINDS, Stats};
use super::{PerfDataError, header_records, swap};
use crate::record::sample_bits;
use std::collections::VecDeque;
use std::sync::Arc;

/// `PERF_RECORD_USER_TYPE_START`: from here on perf writes the records, not the kernel.
const USER_KINDS: u32 = 64;
pub(crate) const FINISHED_ROUND: u32 = 68;
pub(crate) const COMPRESSED: u32 = 81;
pub(crate) const COMPRESSED2: u32 = 83;

/// What `perf record -o - 2>&1` writes behind its last record.
const PERF_TALK: &[u8] = b"[ perf record: ";

/// Why the walk through a chunk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The next record is not whole.
    NeedsMore,
    /// The next record is a compressed one, of this size.
    Compressed { kind: u32, size: usize },
    /// The record just passed has bytes behind it that are none of its own.
    Extra(u64),
    /// The record just passed ends a round.
    RoundEnd,
    /// What perf says on standard error follows, sent the same way as its recording.
    Talk,
}

/// Where the bytes of a walk come from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// File offset of the first byte, or of the compressed record they come from.
    pub(crate) offset: u64,
    pub(crate) order: ByteOrder,
    pub(crate) is_inflated: bool,
}

impl Origin {
    fn at(&self, at: usize) -> u64 {
        match self.is_inflated {
            true => self.offset,
            false => self.offset + at as u64,
        }
    }
}

/// What all streams of a recording share.
pub(crate) struct Walk<'a> {
    emit: &'a mut dyn FnMut(Message) -> bool,
    pub(crate) spare: &'a Spare,
    pub(crate) events: Arc<EventTable>,
    pub(crate) about: About,
    pub(crate) stats: Stats,
    pub(crate) rounds: Rounds,
    pub(crate) order: Order,
    /// The event whose samples are wanted.
    chosen: u16,
    /// Samples by event, those of groups not among them: they are told apart when delivered.
    pub(crate) samples: Vec<u64>,
    /// Samples with an id that no event has.
    pub(crate) unknown_samples: u64,
    next_chunk: u32,
    places_in_chunk: usize,
    /// Bytes sent before each chunk that may still be needed, the oldest first.
    sent_before: VecDeque<u64>,
    sent_bytes: u64,
    /// Whether the events are ready to be looked up.
    is_prepared: bool,
    /// The id of the last sample and its event: the next one mostly has it.
    last_id: Option<(u64, u16)>,
    /// The other side wants no more.
    pub(crate) is_stopped: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        events: EventTable,
        about: About,
        chosen: u16,
        spare: &'a Spare,
        emit: &'a mut dyn FnMut(Message) -> bool,
    ) -> Self {
        Self {
            emit,
            spare,
            events: Arc::new(events),
            about,
            stats: Stats::default(),
            rounds: Rounds::new(),
            order: Order::Time,
            chosen,
            samples: Vec::new(),
            unknown_samples: 0,
            next_chunk: 0,
            places_in_chunk: 0,
            sent_before: VecDeque::new(),
            sent_bytes: 0,
            is_prepared: false,
            last_id: None,
            is_stopped: false,
        }
    }

    /// Walks through `bytes` from `at` on, which it leaves at the first record that was not passed.
    pub(crate) fn records(
        &mut self,
        bytes: &mut [u8],
        at: &mut usize,
        origin: Origin,
    ) -> Result<Stop, PerfDataError> {
        let is_native = origin.order.is_native();
        loop {
            let Some(header) = bytes.get(*at..).and_then(|rest| rest.first_chunk::<8>()) else {
                return Ok(Stop::NeedsMore);
            };
            let [a, b, c, d, e, f, g, h] = *header;
            let kind = origin.order.u32([a, b, c, d]);
            let misc = origin.order.u16([e, f]);
            let size = usize::from(origin.order.u16([g, h]));
            if size < 8 || kind == 0 || kind as usize >= KINDS {
                let rest = bytes.get(*at..).unwrap_or_default();
                if rest.starts_with(PERF_TALK) && !origin.is_inflated {
                    return Ok(Stop::Talk);
                }
                return Err(bad_record(origin.at(*at), kind, size));
            }
            let start = *at;
            let Some(record) = bytes.get_mut(start..start + size) else {
                return Ok(Stop::NeedsMore);
            };
            if kind < USER_KINDS {
                self.stats.count(kind);
                if !self.is_prepared {
                    self.prepare_events(origin.at(start))?;
                }
                let event = self.event_of(kind, record, origin.order);
                if !is_native {
                    swap::swap_header(record, origin.order);
                    if let Some(layout) = event.and_then(|event| self.events.layout(event)) {
                        swap::swap_body(kind, misc, record, origin.order, layout);
                    }
                }
                if let Some(event) = event {
                    self.take(kind, event, record, start);
                }
                *at = start + size;
                continue;
            }
            if let Some(stop) = self.user_record(kind, record, origin, start)? {
                if !matches!(stop, Stop::Compressed { .. }) {
                    *at = start + size;
                }
                return Ok(stop);
            }
            *at = start + size;
        }
    }

    /// The record's event: `None` for a sample that is nobody's.
    #[inline]
    fn event_of(&mut self, kind: u32, record: &[u8], order: ByteOrder) -> Option<u16> {
        if kind != SAMPLE {
            return Some(self.events.event_of(kind, record, order).unwrap_or(0));
        }
        let id = self.events.sample_id(record, order);
        if let (Some(id), Some((last, event))) = (id, self.last_id)
            && id == last
        {
            return Some(event);
        }
        let event = self.events.event_of(kind, record, order);
        self.unknown_samples += u64::from(event.is_none());
        self.last_id = id.zip(event);
        event
    }

    /// Makes the events ready to be looked up; `offset` is where they are needed.
    pub(crate) fn prepare_events(&mut self, offset: u64) -> Result<(), PerfDataError> {
        Arc::make_mut(&mut self.events).settle();
        self.events.check(offset)?;
        self.samples.resize(self.events.events().len(), 0);
        let is_sorted = self.order == Order::Time && self.events.is_timed();
        self.rounds.order_by_time(is_sorted);
        self.is_prepared = true;
        Ok(())
    }

    #[inline]
    fn take(&mut self, kind: u32, event: u16, record: &[u8], at: usize) {
        if kind == SAMPLE {
            let layout = self.events.layout(event);
            // With READ, a sample of one event may stand for others of its group.
            if layout.is_some_and(|layout| !layout.has(sample_bits::READ)) {
                if let Some(count) = self.samples.get_mut(usize::from(event)) {
                    *count += 1;
                }
                if event != self.chosen {
                    return;
                }
            }
        } else if !is_delivered(kind) {
            return;
        }
        let time_ns = self.events.time_ns(event, kind, record);
        self.push(time_ns, event, record, at);
    }

    #[inline]
    fn push(&mut self, time_ns: Option<u64>, event: u16, record: &[u8], at: usize) {
        let place = Place {
            chunk: self.next_chunk,
            at: at as u32,
            len_bytes: record.len() as u16,
            event,
        };
        self.places_in_chunk += 1;
        self.rounds.push(time_ns, place);
    }

    fn user_record(
        &mut self,
        kind: u32,
        record: &[u8],
        origin: Origin,
        at: usize,
    ) -> Result<Option<Stop>, PerfDataError> {
        let place = (origin.at(at), origin.order);
        let stop = match kind {
            FINISHED_ROUND => Some(Stop::RoundEnd),
            COMPRESSED | COMPRESSED2 => Some(Stop::Compressed {
                kind,
                size: record.len(),
            }),
            header_records::AUXTRACE | header_records::TRACING_DATA => Some(Stop::Extra(
                header_records::extra_bytes(kind, record, place)?,
            )),
            header_records::ATTR
            | header_records::BUILD_ID
            | header_records::EVENT_UPDATE
            | header_records::FEATURE => {
                self.is_prepared = false;
                self.last_id = None;
                let events = Arc::make_mut(&mut self.events);
                header_records::take(kind, record, place, &mut self.about, events)?;
                None
            }
            _ => None,
        };
        let cannot_be =
            origin.is_inflated && matches!(stop, Some(Stop::Compressed { .. } | Stop::Extra(1..)));
        if cannot_be {
            return Err(bad_record(place.0, kind, record.len()));
        }
        self.stats.count(kind);
        Ok(stop)
    }

    /// Whether any record of the chunk that is being walked waits to be sent.
    pub(crate) fn has_places(&self) -> bool {
        self.places_in_chunk > 0
    }

    /// Sends the chunk that was walked, where a record of it is needed, and then what is ready.
    pub(crate) fn send(&mut self, chunk: Chunk) {
        if self.places_in_chunk == 0 {
            self.spare.return_buffer(chunk.bytes);
        } else {
            self.places_in_chunk = 0;
            self.next_chunk = self.next_chunk.wrapping_add(1);
            self.sent_before.push_back(self.sent_bytes);
            self.sent_bytes += chunk.bytes.len() as u64;
            self.emit(Message::Chunk(chunk));
        }
        self.send_ready();
    }

    /// Sends the records that are ready. Every chunk they are in was sent.
    pub(crate) fn send_ready(&mut self) {
        let oldest = self.next_chunk.wrapping_sub(self.sent_before.len() as u32);
        let (sent_before, sent_bytes) = (&self.sent_before, self.sent_bytes);
        self.rounds.limit_memory(|chunk| {
            let before = sent_before.get(chunk.wrapping_sub(oldest) as usize);
            before.map_or(0, |before| sent_bytes - before)
        });
        let (entries, first) = self.rounds.take_ready(self.spare.entries());
        let keep_from = first.unwrap_or(self.next_chunk);
        let gone = keep_from.wrapping_sub(oldest) as usize;
        self.sent_before.drain(..gone.min(self.sent_before.len()));
        let events = Arc::clone(&self.events);
        self.emit(Message::Deliver {
            entries,
            events,
            keep_from,
        });
    }

    fn emit(&mut self, message: Message) {
        if !self.is_stopped && !(self.emit)(message) {
            self.is_stopped = true;
        }
    }
}

/// Types that the decoder makes events of.
fn is_delivered(kind: u32) -> bool {
    matches!(kind, 1..=7 | 10 | 13 | 16 | 17 | 19)
}

fn bad_record(offset: u64, kind: u32, size: usize) -> PerfDataError {
    PerfDataError::BadRecord {
        offset,
        kind,
        size_bytes: size as u16,
    }
}
