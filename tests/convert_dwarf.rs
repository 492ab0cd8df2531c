//! `ctrflame convert` on recordings with registers and copies of stacks, and with branch stacks.

mod support;

use std::fs;
use std::path::Path;

use support::ctrflame::{Ctrflame, Finished};
use support::recordings;
use tempfile::TempDir;

/// The directory that the program was recorded in.
const RECORDED_IN: &str = "/tmp/ctrflame-sample-0123456789";

/// The feature that tells the host: `struct perf_header_string`.
const RECORDED_ON: &[u8] = b"\x40\0\0\0vm\0";

/// The recording and its program, moved to a directory of the test's own.
struct Moved {
    dir: TempDir,
}

impl Moved {
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ctrflame-sample-")
            .rand_bytes(10)
            .tempdir_in("/tmp")
            .expect("a directory");
        let path = dir.path().to_str().expect("our own paths are text");
        let recording = fs::read(recordings().join("dwarf-frameless/perf.data")).expect("a sample");
        let (from, to) = (RECORDED_IN.as_bytes(), path.as_bytes());
        assert_eq!(from.len(), to.len(), "{path}");
        let mut moved = recording.clone();
        let places = recording.windows(from.len()).enumerate();
        for (at, _) in places.filter(|(_, bytes)| *bytes == from) {
            moved[at..at + to.len()].copy_from_slice(to);
        }
        assert_ne!(moved, recording);
        // Of a host that is not this one, whichever this is: its inodes are none of ours.
        let host = recording
            .windows(RECORDED_ON.len())
            .position(|bytes| bytes == RECORDED_ON);
        let host = host.expect("a hostname, behind its length");
        moved[host + 4..host + 6].copy_from_slice(b"~~");
        fs::write(dir.path().join("perf.data"), moved).expect("writes");
        Self { dir }
    }

    fn with_image(change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let moved = Self::new();
        let mut image = fs::read(recordings().join("dwarf-frameless/frameless")).expect("a sample");
        change(&mut image);
        fs::write(moved.dir.path().join("frameless"), image).expect("writes");
        moved
    }

    fn convert(&self, more: &[&str]) -> Finished {
        let file = self.dir.path().join("perf.data");
        convert(&file, more)
    }
}

fn convert(file: &Path, more: &[&str]) -> Finished {
    let file = file.to_str().expect("our own paths are text");
    Ctrflame::new(["convert", file, "-o", "out.folded"])
        .args(more.iter().copied())
        .run()
}

fn folded(run: &Finished) -> String {
    assert_eq!(run.code(), 0, "{}", run.stderr);
    run.read("out.folded")
}

#[test]
fn stacks_without_frame_pointers_are_unwound_and_cut_ones_say_so() {
    let expected = recordings().join("dwarf-frameless/expected.folded");
    let expected = fs::read_to_string(expected).expect("a golden file");
    let moved = Moved::with_image(|_| {});
    for more in [&[][..], &["--call-graph", "dwarf"]] {
        let run = moved.convert(more);
        assert_eq!(folded(&run), expected, "{more:?}");
        assert!(run.stderr.contains("45 truncated"), "{}", run.stderr);
    }
}

#[test]
fn the_recorded_chain_is_drawn_when_it_is_asked_for() {
    let moved = Moved::with_image(|_| {});
    let run = moved.convert(&["--call-graph", "fp"]);
    // The kernel walked no user stack, and perf asked for none of its own: a sample is where it was.
    assert_eq!(folded(&run), "host;frameless;leaf 90\n");
}

#[test]
fn the_rules_of_another_image_at_that_path_are_not_used() {
    let moved = Moved::with_image(|image| {
        let id = [0x81, 0x1d, 0xf7, 0x6f];
        let at = image.windows(4).position(|bytes| bytes == id);
        let at = at.expect("the build id that perf told");
        image[at] ^= 1;
    });
    let run = moved.convert(&[]);
    assert_eq!(
        folded(&run),
        "host;frameless;[truncated stack];[replaced frameless] 90\n"
    );
}

#[test]
fn without_the_image_a_stack_is_its_leaf_and_a_mark() {
    let run = Moved::new().convert(&[]);
    assert_eq!(
        folded(&run),
        "host;frameless;[truncated stack];[gone frameless] 90\n"
    );
}

#[test]
fn what_was_not_recorded_is_an_error_with_a_way_out() {
    let raw = recordings().join("perf-6.1/raw.data");
    for (how, what) in [
        ("dwarf", "no user registers and stacks to unwind"),
        ("lbr", "no branch stacks"),
    ] {
        let run = convert(&raw, &["--call-graph", how]);
        assert_eq!(run.code(), 125, "{}", run.stderr);
        assert!(run.stderr.contains(what), "{}", run.stderr);
        assert!(
            run.stderr.contains("hint: leave --call-graph out"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn branch_stacks_are_chains_when_they_are_asked_for() {
    let file = recordings().join("quipper/quipper.branch-4.14.data");
    let run = convert(&file, &["--call-graph", "lbr"]);
    let depth = |text: &str| {
        let stacks = text.lines().map(|line| line.split(';').count());
        stacks.max().unwrap_or(0)
    };
    // Two samples in ld.so: 32 branches, the newest one's target, container, thread and mark.
    assert_eq!(depth(&folded(&run)), 36);
    assert!(run.stderr.contains("13 samples"), "{}", run.stderr);
    assert!(
        run.stderr.contains("are of any branches, not of calls"),
        "{}",
        run.stderr
    );
    let run = convert(&file, &[]);
    assert_eq!(depth(&folded(&run)), 3);
}
