//! `ctrflame convert` on recordings of many perfs, against perf's own counts.

mod support;

use std::fs;

use support::ctrflame::{Ctrflame, Finished};
use support::recordings;

/// The idle samples that the closing line names.
fn idle(run: &Finished) -> u64 {
    let line = run
        .stderr
        .lines()
        .find(|line| line.contains(" samples") && line.contains('→'))
        .expect("a closing line");
    let part = line
        .split(" · ")
        .find_map(|part| part.strip_suffix(" idle"));
    part.map_or(0, |count| count.replace(' ', "").parse().expect("a number"))
}

/// The samples of other events, which the notes name.
fn not_drawn(run: &Finished) -> u64 {
    let notes = run
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("ctrflame: note: not drawn: "));
    notes
        .map(|note| {
            note.split(' ')
                .next()
                .and_then(|count| count.parse::<u64>().ok())
                .expect("a number")
        })
        .sum()
}

#[test]
fn every_sample_of_a_recording_is_drawn_idle_or_of_another_event() {
    // Samples of all events, as `perf report --stats` counts them.
    let oracle = fs::read_to_string(recordings().join("oracle.tsv")).expect("a table");
    let mut checked = 0;
    for line in oracle.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (file, exit, samples) = (
            fields[0],
            fields[1],
            fields[4].parse::<u64>().expect("a count"),
        );
        if exit != "0" || samples == 0 || file.starts_with("damaged") {
            continue;
        }
        let run = Ctrflame::convert(&recordings().join("quipper").join(file), &[]).expect_code(0);
        let counted = run.folded().total() + idle(&run) + not_drawn(&run);
        assert_eq!(counted, samples, "{file}: {}", run.stderr);
        run.svg();
        checked += 1;
    }
    assert_eq!(checked, 15);
}

#[test]
fn what_perf_6_1_refuses_is_read_file_pipe_and_both_compressions() {
    // The same recording four times (one run of `sleep`), by a perf newer than 6.1.
    for file in [
        "sleep.data",
        "sleep.compressed.data",
        "sleep.compressed.pipe.data",
        "sleep.compressed2.pipe.data",
    ] {
        let run =
            Ctrflame::convert(&recordings().join("linux-perf-data").join(file), &[]).expect_code(0);
        assert!(
            run.folded().total() + idle(&run) > 0,
            "{file}: {}",
            run.stderr
        );
    }
}

#[test]
fn a_recording_of_another_kernel_gets_none_of_this_ones_names() {
    let run = Ctrflame::convert(
        &recordings().join("quipper/quipper.callgraph-3.8.data"),
        &[],
    )
    .expect_code(0);
    assert!(
        run.stderr.contains("recorded on kernel 3.8.11"),
        "{}",
        run.stderr
    );
    let folded = run.read("out.folded");
    let kernel_frames = folded
        .split([';', '\n'])
        .filter(|frame| frame.contains("_[k]"))
        .count();
    assert_eq!(kernel_frames, 0, "a kernel frame has a name");
    assert!(folded.contains("[kernel]"));
}

#[test]
fn a_cut_recording_is_an_error_with_its_offset_and_drawn_only_when_told_so() {
    let whole =
        fs::read(recordings().join("quipper/quipper.callgraph-3.8.data")).expect("a recording");
    let dir = tempfile::tempdir().expect("a directory");
    let cut = dir.path().join("cut.data");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("written");
    let refused = Ctrflame::convert(&cut, &[]).expect_failure();
    assert!(refused.stderr.contains("at byte"), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("--allow-damaged"),
        "{}",
        refused.stderr
    );
    let drawn = Ctrflame::convert(&cut, &["--allow-damaged"]).expect_code(0);
    assert!(
        drawn.read("out.svg").contains("only what came before"),
        "{}",
        drawn.stderr
    );
}

#[test]
fn an_event_that_is_not_there_lists_those_that_are() {
    let file = recordings().join("quipper/quipper.group_desc-4.14.data");
    let refused = Ctrflame::convert(&file, &["-e", "no-such-event"]).expect_failure();
    assert!(
        refused.stderr.contains("no-such-event"),
        "{}",
        refused.stderr
    );
}

#[test]
fn an_event_is_found_by_every_name_that_perf_prints_of_it() {
    for (file, spellings) in [
        // perf 6.1 prints the first; the recording's own description comes behind its events.
        (
            "quipper.piped.header_features_aligned-6.12.data",
            &["cycles:uH", "cycles:u", "cycles"][..],
        ),
        (
            "quipper.branch-4.14.data",
            &["cycles:ppp", "cycles:P", "cycles"],
        ),
        (
            "quipper.piped.lost_samples-4.4.data",
            &["cycles:ppH", "cycles:pp"],
        ),
    ] {
        let file = recordings().join("quipper").join(file);
        let first = Ctrflame::convert(&file, &[])
            .expect_code(0)
            .read("out.folded");
        for spelling in spellings {
            let run = Ctrflame::convert(&file, &["-e", spelling]).expect_code(0);
            assert_eq!(run.read("out.folded"), first, "{spelling}");
        }
        Ctrflame::convert(&file, &["-e", "cycles:k"]).expect_failure();
    }
}

#[test]
fn damaged_recordings_end_in_an_error_or_a_picture_and_in_nothing_else() {
    let mut seen = 0;
    for entry in fs::read_dir(recordings().join("damaged")).expect("a directory") {
        let file = entry.expect("an entry").path();
        for more in [&[][..], &["--allow-damaged"]] {
            let run = Ctrflame::convert(&file, more);
            assert!(
                matches!(run.code(), 0 | 125),
                "{}: {} {}",
                file.display(),
                run.code(),
                run.stderr
            );
        }
        seen += 1;
    }
    assert_eq!(seen, 11);
}
