//! Recordings of many perfs have the records that perf counts in them, from a file and from a stream.

mod support;

use profiler::perfdata::{Ending, EventChoice, OnDamage, ReadOptions, Recording};
use std::collections::HashMap;
use support::{Kept, read_file, read_stream, recordings, whole_recordings};

/// `oracle.tsv`: perf's own counts by file, for the files that perf 6.1 reads.
fn oracle() -> HashMap<String, Vec<u64>> {
    let table = std::fs::read_to_string(recordings().join("oracle.tsv")).expect("the table");
    let rows = table.lines().skip(1).map(|line| {
        let mut columns = line.split('\t');
        let name = columns.next().expect("a name").to_owned();
        let numbers = columns
            .map(|number| number.parse().expect("a number"))
            .collect();
        (name, numbers)
    });
    rows.filter(|(name, _)| name.starts_with("quipper."))
        .collect()
}

#[test]
fn every_record_is_counted_and_delivered_as_perf_counts_it() {
    let oracle = oracle();
    let mut compared = 0;
    for (path, name) in whole_recordings() {
        let Some(expected) = oracle.get(&name) else {
            continue;
        };
        let (kept, outcome) = read_file(&path, OnDamage::Refuse);
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        let stats = &outcome.stats;
        let found = [
            stats.total(),
            stats.of(9),
            stats.of(1),
            stats.of(10),
            stats.of(3),
            stats.of(7),
            stats.of(4),
            stats.of(2),
        ];
        // Behind perf's two exit statuses.
        assert_eq!(found, expected[2..], "{name}: {stats:?}");
        assert_eq!(outcome.samples.iter().sum::<u64>(), stats.of(9), "{name}");
        assert_eq!(kept.samples.len() as u64, outcome.samples[0], "{name}");
        assert_eq!(
            (kept.mapped, kept.comms, kept.forks, kept.exits),
            (
                stats.of(1) + stats.of(10),
                stats.of(3),
                stats.of(7),
                stats.of(4)
            ),
            "{name}"
        );
        assert_eq!((outcome.late, outcome.unknown_samples), (0, 0), "{name}");
        assert!(matches!(outcome.ending, Ending::Whole), "{name}");
        assert_eq!(outcome.about.unreadable, [], "{name}");
        compared += 1;
    }
    assert_eq!(compared, 15);
}

#[test]
fn a_stream_that_cannot_seek_gives_what_its_file_gives() {
    for (path, name) in whole_recordings() {
        let (from_file, file_outcome) = read_file(&path, OnDamage::Refuse);
        let bytes = std::fs::read(&path).expect("a readable file");
        let (from_stream, stream_outcome) = read_stream(bytes, OnDamage::Refuse);
        let file_outcome = file_outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        let stream_outcome = stream_outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(from_file, from_stream, "{name}");
        assert_eq!(file_outcome.about, stream_outcome.about, "{name}");
        assert_eq!(file_outcome.events, stream_outcome.events, "{name}");
        assert_eq!(file_outcome.stats, stream_outcome.stats, "{name}");
    }
}

#[test]
fn what_perf_6_1_refuses_is_read() {
    let folder = recordings().join("linux-perf-data");
    for (name, compressed, mapped, samples) in [
        ("sleep.data", 0, 4, 7),
        ("sleep.compressed.data", 1, 49, 8),
        ("sleep.compressed.pipe.data", 1, 49, 8),
        ("sleep.compressed2.pipe.data", 1, 169, 7),
    ] {
        let (kept, outcome) = read_file(&folder.join(name), OnDamage::Refuse);
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        let stats = &outcome.stats;
        assert_eq!(stats.of(81) + stats.of(83), compressed, "{name}");
        assert_eq!(
            (kept.mapped, outcome.samples[0]),
            (mapped, samples),
            "{name}"
        );
        let comms = kept.comms;
        assert_eq!((comms, kept.exits, outcome.late), (2, 1, 0), "{name}");
    }
}

#[test]
fn an_event_is_chosen_by_its_name_or_its_place_and_the_others_are_named() {
    let path = recordings().join("quipper/quipper.group_desc-4.14.data");
    let read = |event: EventChoice| {
        let mut kept = Kept::default();
        let options = ReadOptions {
            event,
            ..ReadOptions::default()
        };
        let outcome = Recording::open(&path).and_then(|found| found.read(&options, &mut kept));
        outcome.map(|outcome| (kept.samples.len(), kept.mapped, outcome.chosen))
    };
    let recording = Recording::open(&path).expect("a recording");
    let names: Vec<&str> = recording
        .events()
        .iter()
        .map(|event| event.name.as_str())
        .collect();
    assert_eq!(names, ["cache-references", "branch-misses"]);
    assert_eq!(read(EventChoice::First).ok(), Some((7, 31, 0)));
    assert_eq!(read(EventChoice::Index(1)).ok(), Some((6, 31, 1)));
    assert_eq!(
        read(EventChoice::Name("branch-misses".to_owned())).ok(),
        Some((6, 31, 1))
    );
    let error = read(EventChoice::Name("cycles".to_owned())).expect_err("not recorded");
    assert_eq!(
        error.to_string(),
        "the recording has no event `cycles`; it has cache-references, branch-misses"
    );
}
