//! Another reader of perf.data finds the same samples in the same files. It reads neither groups of
//! counters nor, as it is built here, compressed records: those files are left to perf's own digests.

mod support;

use linux_perf_data::linux_perf_event_reader::EventRecord;
use linux_perf_data::{PerfFileReader, PerfFileRecord};
use profiler::perfdata::{EventChoice, ReadOptions, Recording};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use support::{Kept, KeptSample, whole_recordings};

/// The other reader's samples, by event.
fn other_samples(path: &Path, is_pipe: bool) -> Vec<Vec<KeptSample>> {
    let file = BufReader::new(File::open(path).expect("a readable file"));
    let mut samples = Vec::new();
    let mut take = |attr_index: usize, record: EventRecord<'_>| {
        let EventRecord::Sample(sample) = record else {
            return;
        };
        samples.resize_with(samples.len().max(attr_index + 1), Vec::new);
        let chain = sample.callchain.map_or(Vec::new(), |chain| {
            (0..chain.len()).filter_map(|at| chain.get(at)).collect()
        });
        samples[attr_index].push(KeptSample {
            pid: sample.pid.unwrap_or(-1) as u32,
            tid: sample.tid.unwrap_or(-1) as u32,
            time_ns: sample.timestamp.unwrap_or(0),
            ip: sample.ip.unwrap_or(0),
            period: sample.period.unwrap_or(0),
            chain,
        });
    };
    macro_rules! read_all {
        ($reader:expr) => {{
            let PerfFileReader {
                mut perf_file,
                mut record_iter,
            } = $reader.expect("a header");
            while let Some(record) = record_iter.next_record(&mut perf_file).expect("a record") {
                if let PerfFileRecord::EventRecord { attr_index, record } = record {
                    take(attr_index, record.parse().expect("a whole record"));
                }
            }
        }};
    }
    if is_pipe {
        read_all!(PerfFileReader::parse_pipe(file));
    } else {
        read_all!(PerfFileReader::parse_file(file));
    }
    samples
}

#[test]
fn another_reader_finds_the_same_samples() {
    let mut compared = 0;
    for (path, name) in whole_recordings() {
        if name.contains("compressed") || name.contains("group-read") {
            continue;
        }
        let is_pipe = name.contains("piped");
        let mut others = other_samples(&path, is_pipe);
        let events = Recording::open(&path).expect("a recording").events().len();
        others.resize_with(events, Vec::new);
        for (index, mut other) in others.into_iter().enumerate() {
            let mut kept = Kept::default();
            let options = ReadOptions {
                event: EventChoice::Index(index),
                ..ReadOptions::default()
            };
            let recording = Recording::open(&path).expect("a recording");
            recording
                .read(&options, &mut kept)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            for (sample, other) in kept.samples.iter().zip(&mut other) {
                if other.period == 0 {
                    // The other reader leaves an event's fixed period to its caller.
                    other.period = sample.period;
                }
            }
            assert_eq!(kept.samples, other, "{name}, event {index}");
            compared += other.len();
        }
    }
    assert_eq!(compared, 5156);
}
