//! Recordings of `samples/recordings`, and a sink that keeps what it is given.

#![allow(dead_code)] // Each test binary uses its own part.

use profiler::perfdata::{OnDamage, Outcome, PerfDataError, ReadOptions, Recording};
use profiler::record::{Event, EventSink};
use std::path::{Path, PathBuf};

pub(crate) fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/recordings")
}

/// Every file of a folder of recordings, sorted, its README left out.
pub(crate) fn files_of(folder: &str) -> Vec<PathBuf> {
    let folder = recordings().join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "md"))
        .collect();
    files.sort();
    assert!(
        files.len() > 3,
        "{} has {} files",
        folder.display(),
        files.len()
    );
    files
}

/// All readable recordings: the file, and its name in `oracle.tsv`.
pub(crate) fn whole_recordings() -> Vec<(PathBuf, String)> {
    ["quipper", "linux-perf-data", "perf-6.1"]
        .into_iter()
        .flat_map(files_of)
        .filter(|path| path.is_file() && path.extension().is_some_and(|end| end == "data"))
        .map(|path| {
            let name = path
                .file_name()
                .expect("a file")
                .to_string_lossy()
                .into_owned();
            (path, name)
        })
        .collect()
}

/// Counts events, and keeps what a sample says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) samples: Vec<KeptSample>,
    pub(crate) others: u64,
    pub(crate) mapped: u64,
    pub(crate) comms: u64,
    pub(crate) forks: u64,
    pub(crate) exits: u64,
    pub(crate) lost: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeptSample {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) time_ns: u64,
    pub(crate) ip: u64,
    pub(crate) period: u64,
    pub(crate) chain: Vec<u64>,
}

impl EventSink for Kept {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Sample(sample) => self.samples.push(KeptSample {
                pid: sample.stamp.pid.0,
                tid: sample.stamp.tid.0,
                time_ns: sample.stamp.time_ns,
                ip: sample.ip.0,
                period: sample.period,
                chain: sample.chain.iter().collect(),
            }),
            Event::Mapped(_) => self.mapped += 1,
            Event::Comm(_) => self.comms += 1,
            Event::Fork(_) => self.forks += 1,
            Event::Exit(_) => self.exits += 1,
            Event::Lost(lost) => self.lost += lost.count,
            _ => self.others += 1,
        }
    }
}

pub(crate) fn read_file(path: &Path, damage: OnDamage) -> (Kept, Result<Outcome, PerfDataError>) {
    let mut kept = Kept::default();
    let options = ReadOptions {
        damage,
        ..ReadOptions::default()
    };
    let outcome = Recording::open(path).and_then(|found| found.read(&options, &mut kept));
    (kept, outcome)
}

/// The same bytes as a stream that cannot seek.
pub(crate) fn read_stream(
    bytes: Vec<u8>,
    damage: OnDamage,
) -> (Kept, Result<Outcome, PerfDataError>) {
    let mut kept = Kept::default();
    let options = ReadOptions {
        damage,
        ..ReadOptions::default()
    };
    let stream = Box::new(std::io::Cursor::new(bytes));
    let outcome = Recording::from_stream(stream).and_then(|found| found.read(&options, &mut kept));
    (kept, outcome)
}
