//! Of recordings that perf 6.1 made here, every sample has perf's pid, thread, time, period and
//! address, in perf's order: by digests that `scripts/perf-digest.py` made with perf.

mod support;

use profiler::perfdata::{EventChoice, ReadOptions, Recording};
use std::collections::HashMap;
use support::{Kept, files_of, recordings};

/// FNV-1a, as the script has it.
fn digest(lines: impl Iterator<Item = String>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for line in lines {
        for byte in line.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

#[test]
fn every_sample_of_every_event_is_perfs() {
    let folder = recordings().join("perf-6.1");
    let table = std::fs::read_to_string(folder.join("expected.tsv")).expect("the table");
    let mut expected = HashMap::new();
    for line in table.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, event, samples, digest] = columns[..] else {
            panic!("not four columns: {line}")
        };
        let samples: usize = samples.parse().expect("a number");
        expected.insert(
            (file.to_owned(), event.to_owned()),
            (samples, digest.to_owned()),
        );
    }
    assert_eq!(expected.len(), table.lines().count());
    for path in files_of("perf-6.1") {
        let file = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        if file == "expected.tsv" {
            continue;
        }
        let recording = Recording::open(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let names: Vec<String> = recording
            .events()
            .iter()
            .map(|event| event.name.clone())
            .collect();
        for name in names {
            let mut kept = Kept::default();
            let options = ReadOptions {
                event: EventChoice::Name(name.clone()),
                ..ReadOptions::default()
            };
            let outcome = Recording::open(&path).and_then(|found| found.read(&options, &mut kept));
            let outcome = outcome.unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(
                kept.samples.len() as u64,
                outcome.samples[outcome.chosen],
                "{file} {name}"
            );
            assert_eq!(outcome.late, 0, "{file}");
            let lines = kept.samples.iter().map(|sample| {
                let (pid, tid) = (sample.pid as i32, sample.tid as i32);
                format!(
                    "{pid} {tid} {} {} {:x}\n",
                    sample.time_ns, sample.period, sample.ip
                )
            });
            let found = (kept.samples.len(), digest(lines));
            match expected.remove(&(file.clone(), name.clone())) {
                Some(row) => assert_eq!(found, row, "{file} {name}"),
                None => assert_eq!(found.0, 0, "{file} {name}: perf has no sample of it"),
            }
            let Some(row) = expected.remove(&(file.clone(), "*chains*".to_owned())) else {
                continue;
            };
            let chains = kept.samples.iter().map(|sample| {
                let addresses = sample
                    .chain
                    .iter()
                    .filter(|entry| **entry < -4095i64 as u64);
                let addresses: Vec<String> = addresses.map(|entry| format!("{entry:x}")).collect();
                addresses.join(" ") + "\n"
            });
            assert_eq!((kept.samples.len(), digest(chains)), row, "{file}: chains");
        }
    }
    assert_eq!(expected, HashMap::new(), "rows that no recording answered");
}
