//! Which samples `ctrflame convert` draws, below which layers, at which weight: against perf's own
//! counts (`perf script -F comm,pid,tid,cpu,time` of perf 6.1, counted by field).

mod support;

use std::path::Path;

use support::ctrflame::{Ctrflame, Finished};

const CHROME: &str = "quipper/quipper.callgraph-3.8.data";

fn convert(file: &str, flags: &[&str]) -> Finished {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples/recordings")
        .join(file);
    let file = file.to_str().expect("our own paths are text");
    Ctrflame::new(["convert", file, "-o", "out.folded"])
        .args(flags.iter().copied())
        .run()
        .expect_code(0)
}

/// The sums of the counts by what is above the frames.
fn by_layers(run: &Finished, layers: usize) -> Vec<(String, u64)> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    for line in run.read("out.folded").lines() {
        let (stack, count) = line.rsplit_once(' ').expect("a count");
        let mut above: Vec<&str> = stack.split(';').collect();
        above.truncate(layers);
        let (above, count) = (above.join(";"), count.parse::<u64>().expect("a number"));
        match sums.iter_mut().find(|(known, _)| *known == above) {
            Some((_, sum)) => *sum += count,
            None => sums.push((above, count)),
        }
    }
    sums.sort();
    sums
}

fn total(run: &Finished) -> u64 {
    by_layers(run, 0).iter().map(|(_, count)| count).sum()
}

#[test]
fn a_choice_draws_the_samples_that_perf_counts_for_it() {
    // 1768 in all, 410 of them idle.
    for (flags, drawn) in [
        (&["--idle"][..], 1768),
        (&[], 1358),
        (&["--pid", "13642"], 1246),
        (&["--tid", "13642"], 847),
        (&["--pid", "13642,1837"], 1246 + 21),
        (&["--comm", "chrome"], 851),
        (&["--comm", "chrome", "--pid", "13642", "--tid", "13777"], 0),
        (&["--idle", "--cpu", "1-2"], 277 + 570),
        (&["--idle", "--time", "346833,346834"], 840),
        (&["--idle", "--time", "+0.5,+1"], 398),
        (&["--idle", "--comm", "swapper"], 410),
    ] {
        let run = convert(CHROME, flags);
        assert_eq!(total(&run), drawn, "{flags:?}: {}", run.stderr);
        let left = run.stderr.contains(" not chosen");
        assert_eq!(left, !matches!(flags, [] | ["--idle"]), "{}", run.stderr);
    }
}

#[test]
fn a_choice_of_nothing_says_how_to_see_what_is_there() {
    let run = convert(CHROME, &["--comm", "chromium"]);
    assert!(
        run.stderr.contains("none of the 1768 samples was chosen")
            && run.stderr.contains("--by comm,pid"),
        "{}",
        run.stderr
    );
}

#[test]
fn layers_stand_in_the_order_that_was_asked_for() {
    let by_cpu = convert(CHROME, &["--idle", "--by", "cpu"]);
    let expected = [
        ("cpu:0", 410),
        ("cpu:1", 277),
        ("cpu:2", 570),
        ("cpu:3", 511),
    ];
    let expected = expected.map(|(cpu, count)| (cpu.to_owned(), count));
    assert_eq!(by_layers(&by_cpu, 1), expected);

    let by_thread = convert(CHROME, &["--by", "comm,pid,tid", "--pid", "13642"]);
    let expected = [
        ("Compositor;pid:13642;tid:13777", 399),
        ("chrome;pid:13642;tid:13642", 847),
    ];
    let expected = expected.map(|(thread, count)| (thread.to_owned(), count));
    assert_eq!(by_layers(&by_thread, 3), expected);
    assert!(
        !by_thread.stderr.contains("container"),
        "{}",
        by_thread.stderr
    );

    let named_twice = convert(
        CHROME,
        &["--by", "container,comm,container", "--comm", "chrome"],
    );
    assert_eq!(
        by_layers(&named_twice, 2),
        [("host;chrome".to_owned(), 851)]
    );
}

#[test]
fn a_sample_weighs_its_period_where_that_was_asked_for() {
    let run = Ctrflame::new(["convert"])
        .args([Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("samples/recordings")
            .join(CHROME)])
        .args(["--weight", "period", "--comm", "chrome"])
        .args(["-o", "out.folded", "-o", "out.svg"])
        .run()
        .expect_code(0);
    // `perf script -F comm,period`, summed.
    assert_eq!(total(&run), 161_426_217);
    assert!(run.stderr.contains("851 samples"), "{}", run.stderr);
    let all = run.read("out.svg");
    assert!(all.contains(" cycles, 100%)"), "{}", &all[..2000]);
}
