//! The events of a recording, and which of them a record is of.

use super::PerfDataError;
use super::about::RecordedEvent;
use super::bytes::ByteOrder;
use crate::record::{Layout, sound_len_bytes};
use std::collections::HashMap;

/// `perf_event_header.type` of a sample.
pub(crate) const SAMPLE: u32 = 9;
/// More events than any machine has; each costs memory.
const MOST_EVENTS: usize = 16384;

/// Where a record's id and time are, worked out once for each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places {
    /// From a sample's start.
    sample_id: Option<u16>,
    sample_time: Option<u16>,
    /// Back from another record's end.
    other_id_back: Option<u16>,
    other_time_back: Option<u16>,
    /// Length of the trailer that these are in.
    trailer: u16,
}

impl Places {
    fn of(layout: &Layout) -> Self {
        // Header and leading fields of a sample, or the trailer: below a hundred bytes.
        let short = |at: usize| at as u16;
        let trailer = layout.trailer_len_bytes();
        Self {
            sample_id: layout.sample_id_offset_bytes().map(short),
            sample_time: layout.time_offset_bytes(true, 0).map(short),
            other_id_back: layout.trailer_id_back_bytes().map(short),
            other_time_back: layout
                .time_offset_bytes(false, trailer)
                .map(|at| short(trailer.saturating_sub(at))),
            trailer: short(trailer),
        }
    }
}

impl Places {
    /// Where a record ends: what its places are counted back from.
    fn end_of(&self, kind: u32, record: &[u8]) -> usize {
        sound_len_bytes(kind, record, usize::from(self.trailer))
    }
}

/// The events by number and by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventTable {
    events: Vec<RecordedEvent>,
    places: Vec<Places>,
    /// (id, event), sorted when [`Self::settle`] was called.
    ids: Vec<(u64, u16)>,
    is_settled: bool,
}

impl EventTable {
    pub(crate) fn events(&self) -> &[RecordedEvent] {
        &self.events
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.events.iter().map(|event| event.name.clone()).collect()
    }

    pub(crate) fn layout(&self, event: u16) -> Option<&Layout> {
        self.events
            .get(usize::from(event))
            .map(|event| &event.layout)
    }

    /// The period of a sample that does not carry its own: the event's, where that is fixed.
    pub(crate) fn fixed_period(&self, event: u16) -> u64 {
        let event = self.events.get(usize::from(event));
        event
            .filter(|event| !event.is_frequency && event.period_or_hz != 0)
            .map_or(1, |event| event.period_or_hz)
    }

    pub(crate) fn add(&mut self, event: RecordedEvent, offset: u64) -> Result<(), PerfDataError> {
        if self.events.len() >= MOST_EVENTS {
            return Err(PerfDataError::BadField {
                offset,
                what: "number of events (at most 16384 expected)",
                found: self.events.len() as u64 + 1,
            });
        }
        let number = self.events.len() as u16;
        self.ids.extend(event.ids.iter().map(|id| (*id, number)));
        self.places.push(Places::of(&event.layout));
        self.events.push(event);
        self.is_settled = false;
        Ok(())
    }

    /// Names the event that has `id`.
    pub(crate) fn rename_by_id(&mut self, id: u64, name: String) {
        self.settle();
        if let Some(number) = self.by_id(id)
            && let Some(event) = self.events.get_mut(usize::from(number))
        {
            event.name = name;
        }
    }

    /// Names an event by its number.
    pub(crate) fn rename(&mut self, number: usize, name: String) {
        if let Some(event) = self.events.get_mut(number) {
            event.name = name;
        }
    }

    /// Gives the second of several events of one name (`perf record -e cycles -e cycles`) the name
    /// `cycles#2`, and so on: each can be asked for.
    pub(crate) fn number_equal_names(&mut self) {
        let mut known: HashMap<String, usize> = HashMap::new();
        for event in &mut self.events {
            let count = known.entry(event.name.clone()).or_insert(0);
            *count += 1;
            if *count > 1 {
                event.name = format!("{}#{count}", event.name);
            }
        }
    }

    /// Makes ids findable, after events were added.
    pub(crate) fn settle(&mut self) {
        if !self.is_settled {
            self.ids.sort();
            self.is_settled = true;
        }
    }

    /// Whether records can be told apart: their ids lie at one place, or all events are alike.
    /// `offset` is where they are needed.
    pub(crate) fn check(&self, offset: u64) -> Result<(), PerfDataError> {
        let Some(first) = self.places.first() else {
            return Err(PerfDataError::NoEvents { offset });
        };
        let one_place = first.sample_id.is_some()
            && self.places.iter().all(|places| {
                (places.sample_id, places.other_id_back) == (first.sample_id, first.other_id_back)
            });
        let alike = || {
            let mut layouts = self.events.iter().map(|event| event.layout);
            let first = layouts.next();
            layouts.all(|layout| Some(layout) == first)
        };
        if one_place || alike() {
            return Ok(());
        }
        Err(PerfDataError::MixedEvents {
            events: self.events.len(),
        })
    }

    pub(crate) fn by_id(&self, id: u64) -> Option<u16> {
        let at = self.ids.partition_point(|(known, _)| *known < id);
        self.ids
            .get(at)
            .filter(|(known, _)| *known == id)
            .map(|(_, event)| *event)
    }

    /// The event of a record, in the byte order it still has; `None` for an id that no event has.
    /// Records that perf made up itself have the id 0 and the first event's layout.
    pub(crate) fn event_of(&self, kind: u32, record: &[u8], order: ByteOrder) -> Option<u16> {
        let first = self.places.first()?;
        if self.places.len() == 1 {
            return Some(0);
        }
        let place = match kind {
            SAMPLE => first.sample_id.map(usize::from),
            _ => first
                .other_id_back
                .and_then(|back| first.end_of(kind, record).checked_sub(usize::from(back))),
        };
        let id = place
            .and_then(|at| record.get(at..)?.first_chunk::<8>())
            .map_or(0, |bytes| order.u64(*bytes));
        if id == 0 {
            return Some(0);
        }
        self.by_id(id)
    }

    /// The id of a sample, in the byte order it still has, where samples have one.
    #[inline]
    pub(crate) fn sample_id(&self, sample: &[u8], order: ByteOrder) -> Option<u64> {
        let at = self.places.first()?.sample_id?;
        let id = sample.get(usize::from(at)..)?.first_chunk::<8>()?;
        Some(order.u64(*id))
    }

    /// The time of a record of `event`, in host byte order; `None` where it carries none.
    #[inline]
    pub(crate) fn time_ns(&self, event: u16, kind: u32, record: &[u8]) -> Option<u64> {
        let places = self.places.get(usize::from(event))?;
        let at = match kind {
            SAMPLE => usize::from(places.sample_time?),
            _ => places
                .end_of(kind, record)
                .checked_sub(usize::from(places.other_time_back?))?,
        };
        let bytes = record.get(at..)?.first_chunk::<8>()?;
        // perf's own records carry 0, and -1 stands for "no time" (ordered-events.c).
        Some(u64::from_ne_bytes(*bytes)).filter(|time| !matches!(*time, 0 | u64::MAX))
    }

    /// Whether records have times at all: without `sample_id_all` only samples do, and the file's
    /// order is the only one that fits samples and mappings together.
    pub(crate) fn is_timed(&self) -> bool {
        self.places
            .first()
            .is_some_and(|places| places.sample_time.is_some() && places.other_time_back.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample_bits as bit;

    fn event(sample_type: u64, ids: &[u64]) -> RecordedEvent {
        RecordedEvent {
            name: "cycles".to_owned(),
            kind: 0,
            config: 0,
            flags: 0,
            layout: Layout {
                sample_type,
                read_format: 0,
                branch_sample_type: 0,
                sample_regs_user: 0,
                sample_regs_intr: 0,
                sample_id_all: true,
            },
            period_or_hz: 1,
            is_frequency: false,
            max_stack: 0,
            clock_id: None,
            ids: ids.to_vec(),
        }
    }

    fn table(events: &[RecordedEvent]) -> EventTable {
        let mut table = EventTable::default();
        for event in events {
            table.add(event.clone(), 0).expect("few events");
        }
        table.settle();
        table
    }

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn the_identifier_tells_events_of_different_layouts_apart() {
        let base = bit::IDENTIFIER | bit::TID | bit::TIME;
        let table = table(&[event(base, &[7, 8]), event(base | bit::IP, &[9])]);
        table.check(0).expect("an identifier is at one place");
        let order = ByteOrder::NATIVE;
        // header, identifier, (ip,) tid, time
        let sample = words(&[0, 9, 0x1000, 1, 55]);
        assert_eq!(table.event_of(SAMPLE, &sample, order), Some(1));
        assert_eq!(table.time_ns(1, SAMPLE, &sample), Some(55));
        // header, body, tid, time, identifier
        let other = words(&[0, 1, 2, 3, 44, 8]);
        assert_eq!(table.event_of(3, &other, order), Some(0));
        assert_eq!(table.time_ns(0, 3, &other), Some(44));
        assert_eq!(table.event_of(SAMPLE, &words(&[0, 77]), order), None);
        assert_eq!(table.event_of(SAMPLE, &words(&[0, 0]), order), Some(0));
    }

    #[test]
    fn events_of_one_name_can_each_be_asked_for() {
        let one = event(bit::IP, &[]);
        let mut table = table(&[one.clone(), one.clone(), one]);
        table.rename(1, "instructions".to_owned());
        table.number_equal_names();
        let numbered = ["cycles", "instructions", "cycles#2"];
        assert_eq!(table.names(), numbered);
        table.number_equal_names();
        assert_eq!(table.names(), numbered);
    }

    #[test]
    fn ids_at_different_places_are_refused_unless_all_events_are_alike() {
        let (one, two) = (bit::IP | bit::ID, bit::IP | bit::TID | bit::ID);
        let mixed = table(&[event(one, &[1]), event(two, &[2])]);
        assert!(matches!(
            mixed.check(0),
            Err(PerfDataError::MixedEvents { events: 2 })
        ));
        assert!(
            table(&[event(bit::IP, &[]), event(bit::IP, &[])])
                .check(0)
                .is_ok()
        );
        assert!(matches!(
            table(&[]).check(9),
            Err(PerfDataError::NoEvents { offset: 9 })
        ));
    }
}
