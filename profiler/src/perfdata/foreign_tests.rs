//! Recordings of the other byte order, made from those of this one, say the same.

use super::bytes::{ByteOrder, Fields};
use super::events::EventTable;
use super::header::{self, Format};
use super::walk::{COMPRESSED, COMPRESSED2};
use super::{Outcome, ReadOptions, Recording, attr, header_records, swap};
use crate::record::{Event, EventSink};
use std::path::{Path, PathBuf};

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/recordings")
}

/// Every event, in full, as text.
#[derive(Default)]
struct Told(Vec<String>);

impl EventSink for Told {
    fn event(&mut self, event: &Event<'_>) {
        // Chains and register dumps are bytes in host order: their values are what counts.
        match event {
            Event::Sample(sample) => {
                let chain: Vec<u64> = sample.chain.iter().collect();
                let branches: Vec<_> = sample.branches.iter().collect();
                self.0.push(format!(
                    "{:?} {:?} {:?} {:?} {chain:x?} {branches:x?} {:?} {:?}",
                    sample.stamp,
                    sample.ip,
                    sample.period,
                    sample.cgroup,
                    sample.read,
                    sample.user_stack
                ));
            }
            other => self.0.push(format!("{other:?}")),
        }
    }
}

fn read(bytes: Vec<u8>) -> (Vec<String>, Outcome) {
    let mut told = Told::default();
    let recording = Recording::from_stream(Box::new(std::io::Cursor::new(bytes)));
    let outcome = recording.and_then(|found| found.read(&ReadOptions::default(), &mut told));
    (told.0, outcome.expect("a whole recording"))
}

fn swap_words(bytes: &mut [u8]) {
    for word in bytes.as_chunks_mut::<8>().0 {
        word.reverse();
    }
}

/// An attr: two u32, five u64 before the bit field, then words with pairs of u32 among them.
fn swap_attr(bytes: &mut [u8]) {
    let (words, _) = bytes.as_chunks_mut::<8>();
    for (at, word) in words.iter_mut().enumerate() {
        match at {
            // type and size; wakeup and bp_type; sample_stack_user and clockid
            0 | 6 | 11 | 13 => {
                word[..4].reverse();
                word[4..].reverse();
            }
            5 => *word = word.map(u8::reverse_bits),
            _ => word.reverse(),
        }
    }
}

/// Turns records round, knowing their events; of perf's own only attrs are kept, in a pipe.
fn swap_records(bytes: &mut [u8], events: &mut EventTable, is_pipe: bool) -> Vec<u8> {
    let native = ByteOrder::NATIVE;
    let mut about = super::About::new(native, is_pipe);
    let (mut swapped, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let header: [u8; 8] = bytes[at..at + 8].try_into().expect("a whole header");
        let kind = u32::from_ne_bytes(header[..4].try_into().expect("four bytes"));
        let misc = u16::from_ne_bytes([header[4], header[5]]);
        let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
        let record = &mut bytes[at..at + size];
        at += size;
        assert!(kind != COMPRESSED && kind != COMPRESSED2, "not of these");
        match kind {
            header_records::ATTR => {
                header_records::take(kind, record, (0, native), &mut about, events)
                    .expect("a whole attr");
                events.settle();
                let size = u32::from_ne_bytes(record[12..16].try_into().expect("four bytes"));
                let (attr, ids) = record[8..].split_at_mut(size as usize);
                swap_attr(attr);
                swap_words(ids);
            }
            0..64 => {
                let event = events
                    .event_of(kind, record, native)
                    .expect("a known event");
                let layout = *events.layout(event).expect("its layout");
                swap::swap_body(kind, misc, record, native, &layout);
            }
            68 => {}
            _ => continue,
        }
        swap::swap_header(record, native);
        swapped.extend_from_slice(record);
    }
    swapped
}

fn foreign(mut bytes: Vec<u8>) -> Vec<u8> {
    let native = ByteOrder::NATIVE;
    let (_, format) = header::read(&bytes[..104]).expect("a header");
    let mut swapped = bytes[..16].to_vec();
    let mut events = EventTable::default();
    let Format::File(header) = format else {
        swap_words(&mut swapped);
        swapped.extend(swap_records(&mut bytes[16..], &mut events, true));
        return swapped;
    };
    let (start, end) = (
        header.data.offset as usize,
        (header.data.offset + header.data.len_bytes) as usize,
    );
    let (first, count) = (
        header.attrs.offset as usize,
        header.attrs.len_bytes / header.attr_stride,
    );
    let mut head = bytes[..start].to_vec();
    for number in 0..count as usize {
        let at = first + number * header.attr_stride as usize;
        let mut fields = Fields::new(&bytes[at..], at as u64, native, "attr");
        let mut event = attr::read(&mut fields).expect("an attr");
        let attr_len = fields.offset() as usize - at;
        let ids = header::section(&mut fields).expect("its ids");
        let (ids_at, ids_end) = (ids.offset as usize, (ids.offset + ids.len_bytes) as usize);
        event.ids = bytes[ids_at..ids_end]
            .as_chunks::<8>()
            .0
            .iter()
            .map(|id| u64::from_ne_bytes(*id))
            .collect();
        events.add(event, 0).expect("few events");
        swap_attr(&mut head[at..at + attr_len]);
        swap_words(&mut head[at + attr_len..at + attr_len + 16]);
        swap_words(&mut head[ids_at..ids_end]);
    }
    events.settle();
    let records = swap_records(&mut bytes[start..end], &mut events, false);
    // The records that were left out, and the features.
    head[48..56].copy_from_slice(&(records.len() as u64).to_ne_bytes());
    head[72..104].fill(0);
    swap_words(&mut head[..104]);
    head.extend(records);
    head
}

#[test]
fn a_recording_of_the_other_byte_order_says_the_same() {
    let names = [
        "quipper/quipper.branch-4.14.data",
        "quipper/quipper.callgraph-3.8.data",
        "quipper/quipper.ctx_switch_namespaces-4.14.data",
        "quipper/quipper.group_desc-4.14.data",
        "quipper/quipper.i686-3.4.data",
        "quipper/quipper.lost_samples-4.4.data",
        "quipper/quipper.remmap-3.2.data",
        "quipper/quipper.piped.target-3.4.data",
        "quipper/quipper.piped.header_features_aligned-6.12.data",
        "linux-perf-data/sleep.data",
    ];
    for name in names {
        let bytes = std::fs::read(recordings().join(name)).expect("a readable file");
        let (told, outcome) = read(bytes.clone());
        let (foreign_told, foreign_outcome) = read(foreign(bytes));
        assert!(!foreign_outcome.about.byte_order.is_native(), "{name}");
        assert_eq!(foreign_told, told, "{name}");
        assert_eq!(foreign_outcome.samples, outcome.samples, "{name}");
        let layouts = |outcome: &Outcome| -> Vec<_> {
            outcome
                .events
                .iter()
                .map(|event| (event.layout, event.ids.clone()))
                .collect()
        };
        assert_eq!(layouts(&foreign_outcome), layouts(&outcome), "{name}");
    }
}
