//! Damaged, cut and hostile recordings end in an error with a byte offset, or in what can be read of
//! them: never in a panic, never without an end, never in memory beyond what they are worth.

mod support;

use profiler::perfdata::{Ending, OnDamage, Outcome, PerfDataError};
use std::collections::HashSet;
use std::path::Path;
use support::{Kept, files_of, read_file, read_stream, recordings, whole_recordings};

/// Reads bytes as a file: through a memory file, so that the reader can seek.
fn read_bytes(bytes: &[u8], damage: OnDamage) -> (Kept, Result<Outcome, PerfDataError>) {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for a small file");
    read_file(file.path(), damage)
}

fn load(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every length of the small ones; of the larger ones the first and the last, and some between.
fn lengths(whole: usize) -> impl Iterator<Item = usize> {
    let (first, last, between) = match whole {
        0..=20_480 => (whole, 0, 1),
        20_481..=100_000 => (2_000, whole - 600, 997),
        _ => (600, whole - 100, 4_999),
    };
    (0..whole).filter(move |len| *len < first || *len >= last || len % between == 0)
}

/// A pipe has no end but its last record's: cut between two records it is whole.
fn is_cut_between_records(bytes: &[u8], len: usize) -> bool {
    let mut at = 16;
    while at < len {
        let Some(size) = bytes.get(at + 6..at + 8) else {
            return false;
        };
        at += usize::from(u16::from_le_bytes([size[0], size[1]]));
    }
    at == len
}

#[test]
fn every_truncation_is_an_error_or_said_and_never_a_panic() {
    for (path, name) in whole_recordings() {
        let whole = load(&path);
        let is_pipe = whole.get(8) == Some(&16);
        let data_end = u64::from_le_bytes(whole[40..48].try_into().expect("eight bytes"))
            + u64::from_le_bytes(whole[48..56].try_into().expect("eight bytes"));
        for len in lengths(whole.len()) {
            let cut = &whole[..len];
            let (_, outcome) = read_stream(cut.to_vec(), OnDamage::Refuse);
            match &outcome {
                Err(error) => {
                    let is_placed = error.offset().is_some_and(|at| at <= len as u64);
                    assert!(is_placed, "{name} cut to {len}: {error}");
                }
                Ok(_) if is_pipe => {
                    // The last of them ends in the words of perf, which are no record.
                    let is_whole = is_cut_between_records(&whole, len);
                    assert!(
                        is_whole || name.contains("compressed2"),
                        "{name} cut to {len}"
                    );
                }
                Ok(outcome) => {
                    assert!(
                        len as u64 >= data_end,
                        "{name} cut to {len} is taken for whole"
                    );
                    let lost = outcome.about.cut.is_some();
                    let last = len as u64 >= whole.len() as u64 - 8;
                    assert!(lost || last, "{name} cut to {len}: nothing is said");
                }
            }
            if len % 16 == 0 {
                let (_, from_file) = read_bytes(cut, OnDamage::Refuse);
                assert_eq!(from_file.is_ok(), outcome.is_ok(), "{name} cut to {len}");
            }
        }
    }
}

#[test]
fn what_came_before_a_cut_is_kept_when_it_is_asked_for() {
    for (path, name) in whole_recordings() {
        let whole = load(&path);
        let (all, _) = read_file(&path, OnDamage::Refuse);
        let known: HashSet<_> = all.samples.iter().collect();
        let mut most = 0;
        for len in lengths(whole.len()).filter(|len| len % 8 == 3) {
            let cut = whole[..len].to_vec();
            let (kept, outcome) = read_stream(cut, OnDamage::KeepBefore);
            let Ok(outcome) = outcome else {
                assert_eq!(kept.samples.len(), 0, "{name} cut to {len}");
                continue;
            };
            let is_whole = matches!(outcome.ending, Ending::Whole);
            assert!(
                !is_whole || kept.samples.len() == all.samples.len(),
                "{name} cut to {len}"
            );
            // Cut records are missing at the end of each ring only: what is there is of the recording.
            assert!(
                kept.samples.iter().all(|sample| known.contains(sample)),
                "{name}"
            );
            assert!(
                kept.samples.len() >= most,
                "{name} cut to {len} has fewer than before"
            );
            most = kept.samples.len();
        }
        // Of the larger ones not every length is tried.
        assert!(
            most + 1 >= all.samples.len(),
            "{name}: {most} of {}",
            all.samples.len()
        );
    }
}

#[test]
fn every_file_that_fuzzers_found_ends_in_an_error_with_its_offset_or_in_what_is_in_it() {
    let mut endings = Vec::new();
    for path in files_of("damaged") {
        let name = path
            .file_name()
            .expect("a file")
            .to_string_lossy()
            .into_owned();
        for damage in [OnDamage::Refuse, OnDamage::KeepBefore] {
            let (kept, outcome) = read_file(&path, damage);
            let (streamed, stream_outcome) = read_stream(load(&path), damage);
            if outcome.is_ok() && stream_outcome.is_ok() {
                assert_eq!(kept, streamed, "{name}");
            }
            let short: String = name.chars().take(12).collect();
            endings.push(match outcome {
                Ok(outcome) => format!(
                    "{short}: {} records, {:?}",
                    outcome.stats.total(),
                    outcome.ending
                ),
                Err(error) => format!("{short}: {error}"),
            });
        }
    }
    let golden = recordings().join("damaged.expected.txt");
    let found = endings.join("\n") + "\n";
    if std::env::var_os("CTRFLAME_BLESS").is_some() {
        std::fs::write(&golden, &found).expect("a writable golden file");
    }
    let expected = std::fs::read_to_string(&golden).expect("the golden file");
    assert_eq!(found, expected);
}

/// A small generator of numbers: the same every time (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Values that lengths and counts go wrong with.
const EVIL: [u64; 8] = [
    0,
    1,
    7,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    u32::MAX as u64,
    u64::MAX,
];

fn mutated(bytes: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=numbers.below(4) {
        // Headers are where most can go wrong.
        let reach = if numbers.below(2) == 0 {
            bytes.len().min(600)
        } else {
            bytes.len()
        };
        let at = numbers.below(reach);
        match numbers.below(3) {
            0 => bytes[at] ^= 1 << numbers.below(8),
            1 => bytes[at] = numbers.next() as u8,
            _ => {
                let value = EVIL[numbers.below(EVIL.len())].to_le_bytes();
                let len = [2, 4, 8][numbers.below(3)].min(bytes.len() - at);
                bytes[at..at + len].copy_from_slice(&value[..len]);
            }
        }
    }
    if numbers.below(8) == 0 {
        bytes.truncate(numbers.below(bytes.len()));
    }
    bytes
}

#[test]
fn no_mutation_makes_the_reader_panic_or_hang() {
    let mut numbers = Numbers(4);
    let runs = std::env::var("CTRFLAME_MUTATIONS")
        .ok()
        .and_then(|runs| runs.parse().ok());
    let runs: usize = runs.unwrap_or(400);
    for (path, name) in whole_recordings() {
        let mut whole = load(&path);
        whole.truncate(200_000);
        let runs = if whole.len() > 100_000 {
            runs / 10
        } else {
            runs
        };
        for run in 0..runs {
            let bytes = mutated(&whole, &mut numbers);
            let began = std::time::Instant::now();
            for damage in [OnDamage::Refuse, OnDamage::KeepBefore] {
                let (_, outcome) = read_stream(bytes.clone(), damage);
                if let Err(error) = outcome {
                    assert!(!error.to_string().contains('\n'), "{name}: {error}");
                }
            }
            let took = began.elapsed();
            assert!(took.as_secs() < 10, "{name}, run {run}: {took:?}");
        }
    }
}
