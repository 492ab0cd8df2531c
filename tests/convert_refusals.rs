//! What `ctrflame convert` refuses: each message names the file, each hint helps.

mod support;

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use support::ctrflame::{Ctrflame, Finished};
use support::folded::Folded;
use support::gates::Gate;
use support::recordings;

/// The two lines of a refusal: what is wrong, what to do. No file was written.
fn refused(run: Finished) -> (String, String) {
    let run = run.expect_failure();
    assert_eq!(run.files(), Vec::<String>::new(), "{}", run.stderr);
    let line = |prefix: &str| {
        let lines = run.stderr.lines();
        let mut found = lines.filter_map(|line| line.strip_prefix(prefix));
        found.next().map(str::to_owned).expect("checked above")
    };
    (line("ctrflame: error: "), line("hint: "))
}

#[test]
fn what_cannot_be_opened_is_named_and_the_hint_says_what_can_be_given() {
    let (error, hint) = refused(Ctrflame::new(["convert"]).run());
    assert!(error.starts_with("cannot open perf.data: "), "{error}");
    assert!(hint.contains("ctrflame record -o perf.data"), "{hint}");

    let (error, hint) = refused(Ctrflame::convert(Path::new("/no/such/file"), &[]));
    assert!(error.starts_with("cannot open /no/such/file: "), "{error}");
    assert!(hint.contains("- for standard input"), "{hint}");

    let dir = tempfile::tempdir().expect("a directory");
    let (error, hint) = refused(Ctrflame::convert(dir.path(), &[]));
    let path = dir.path().display();
    assert_eq!(
        error,
        format!(
            "{path}: not a recording of `perf record --threads`: the directory has no file `data`"
        )
    );
    assert!(hint.contains("perf.data file itself"), "{hint}");
}

#[test]
fn a_recording_of_somebody_else_is_refused_with_what_opens_it() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("ours");
    let file = dir.path().join("perf.data");
    fs::write(&file, b"PERFILE2").expect("ours");
    // Nobody may read it but root, who is nobody behind the gate.
    fs::set_permissions(&file, Permissions::from_mode(0o000)).expect("ours");
    let mut run = Ctrflame::new(["convert", file.to_str().expect("text"), "-o", "out.svg"]);
    if nix::unistd::geteuid().is_root() {
        run = run.behind(Gate::Nobody);
    }
    let (error, hint) = refused(run.run());
    assert_eq!(
        error,
        format!(
            "cannot open {}: Permission denied (os error 13)",
            file.display()
        )
    );
    assert!(
        hint.contains("0600") && hint.contains("chmod a+r"),
        "{hint}"
    );
}

#[test]
fn an_empty_file_and_one_without_events_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let empty = dir.path().join("empty.data");
    File::create(&empty).expect("a new file");
    let (error, hint) = refused(Ctrflame::convert(&empty, &[]));
    assert_eq!(error, format!("{} is empty", empty.display()));
    assert!(hint.contains("disk full"), "{hint}");

    // A pipe's header, and nothing behind it.
    let bare = dir.path().join("bare.data");
    fs::write(&bare, b"PERFILE2\x10\0\0\0\0\0\0\0").expect("written");
    let (error, hint) = refused(Ctrflame::convert(&bare, &[]));
    let expected = "the recording describes no event up to byte 16";
    assert_eq!(error, format!("{}: {expected}", bare.display()));
    assert!(hint.contains("did `perf record` fail?"), "{hint}");
}

#[test]
fn damage_is_of_the_file_that_was_given() {
    let whole =
        fs::read(recordings().join("quipper/quipper.singleprocess-3.8.data")).expect("a recording");
    let dir = tempfile::tempdir().expect("a directory");
    let cut = dir.path().join("cut.data");
    fs::write(&cut, &whole[..whole.len() / 2]).expect("written");
    let (error, _) = refused(Ctrflame::convert(&cut, &[]));
    let begin = format!("{}: the recording ends inside the ", cut.display());
    assert!(error.starts_with(&begin), "{error}");

    let text = dir.path().join("damaged.txt");
    fs::write(&text, "a;b 1\nno count\n").expect("written");
    let (error, _) = refused(Ctrflame::convert(&text, &[]));
    let begin = format!("{}: line 2 (byte 6) of the ", text.display());
    assert!(error.starts_with(&begin), "{error}");
}

/// A recording as perf leaves it when it is killed: the length of its records was never written.
fn killed(dir: &Path, more_bytes: &[u8]) -> PathBuf {
    let mut bytes =
        fs::read(recordings().join("quipper/quipper.singleprocess-3.8.data")).expect("a recording");
    let word = |bytes: &[u8], at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes")) as usize
    };
    let data_end = word(&bytes, 40) + word(&bytes, 48);
    bytes.truncate(data_end);
    bytes[48..56].fill(0);
    bytes.extend(more_bytes);
    let file = dir.join("killed.data");
    fs::write(&file, bytes).expect("written");
    file
}

#[test]
fn a_recording_of_a_killed_perf_is_drawn_and_a_note_says_where_it_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = killed(dir.path(), &[]);
    let note = |run: Finished| {
        let run = run.expect_code(0);
        let notes = run.stderr.lines();
        let mut notes = notes.filter(|line| line.contains("killed"));
        let note = notes.next().expect("a note").to_owned();
        assert_eq!(notes.next(), None, "{}", run.stderr);
        note
    };
    let shown = file.display();
    assert_eq!(
        note(Ctrflame::convert(&file, &[])),
        format!(
            "ctrflame: note: {shown}: perf was killed while it wrote; drawn is what it had written"
        )
    );
    let file = killed(dir.path(), &[9, 0, 0, 0, 1]);
    assert_eq!(
        note(Ctrflame::convert(&file, &[])),
        format!(
            "ctrflame: note: {shown}: perf was killed while it wrote; the last 5 bytes are no whole record, \
             drawn is what came before"
        )
    );
}

#[test]
fn a_file_that_is_cut_behind_its_samples_gives_one_note_of_what_is_missing() {
    let whole =
        fs::read(recordings().join("quipper/quipper.callgraph-3.8.data")).expect("a recording");
    let word =
        |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().expect("eight bytes")) as usize;
    let table = word(40) + word(48);
    // Behind the first feature's section: tracing data or build ids; and within the table.
    let first_end = word(table) + word(table + 8);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("cut.data");
    let folded = Ctrflame::convert(
        &recordings().join("quipper/quipper.callgraph-3.8.data"),
        &[],
    );
    let folded = folded.expect_code(0).read("out.folded");
    for (len, has_build_ids) in [(table + 3, false), (first_end, true)] {
        fs::write(&file, &whole[..len]).expect("written");
        let run = Ctrflame::convert(&file, &[]).expect_code(0);
        let notes: Vec<&str> = run
            .stderr
            .lines()
            .filter(|line| line.contains("cut.data"))
            .collect();
        let [note, closing @ ..] = notes.as_slice() else {
            panic!("{}", run.stderr)
        };
        assert_eq!(closing, [""; 0], "{}", run.stderr);
        let begin = format!(
            "ctrflame: note: {} is cut at byte {len}, behind its samples: missing of it is ",
            file.display()
        );
        let missing = note
            .strip_prefix(&begin)
            .unwrap_or_else(|| panic!("{note}"));
        assert_eq!(missing.contains("build ids"), !has_build_ids, "{note}");
        assert!(missing.contains("host name, kernel release"), "{note}");
        assert_eq!(run.folded().total(), Folded::parse(&folded).total());
    }
}

#[test]
fn what_only_a_recording_can_tell_is_refused_of_every_text_with_what_helps() {
    let texts = recordings().join("../text");
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().to_str().expect("text");
    let sysroot = format!("web={dir}");
    for (flag, value, helps) in [
        ("--container", Some("web"), "perf.data itself"),
        ("--symfs", Some(dir), "`perf script` has --symfs"),
        ("--sysroot", Some(&sysroot), "perf.data itself"),
        (
            "--kallsyms",
            Some("/dev/null"),
            "`perf script` has --kallsyms",
        ),
        ("--perf-map", Some("7=/dev/null"), "perf.data itself"),
        ("--call-graph", Some("fp"), "perf.data itself"),
        ("--idle", None, "perf.data itself"),
        ("--pid", Some("7"), "`perf script` has --pid"),
        ("--tid", Some("7"), "`perf script` has --tid"),
        ("--comm", Some("sh"), "`perf script` has --comms"),
        ("--cpu", Some("0"), "`perf script` has --cpu"),
        ("--time", Some("+1,+2"), "`perf script` has --time"),
        ("--by", Some("pid"), "perf.data itself"),
    ] {
        for text in ["c.txt", "c.folded", "foreign/sample.txt"] {
            let flags: Vec<&str> = [flag].into_iter().chain(value).collect();
            let (error, hint) = refused(Ctrflame::convert(&texts.join(text), &flags));
            assert!(
                error.starts_with(&format!("{flag} is for ")),
                "{text}: {error}"
            );
            assert!(hint.contains(helps), "{text} {flag}: {hint}");
            assert_eq!(
                hint.contains("perf script"),
                helps.contains("perf script"),
                "{hint}"
            );
        }
    }
}

#[test]
fn a_weight_that_the_text_does_not_tell_is_refused() {
    let texts = recordings().join("../text");
    for weight in ["samples", "period"] {
        for text in ["c.folded", "foreign/vtune.csv"] {
            let (error, hint) =
                refused(Ctrflame::convert(&texts.join(text), &["--weight", weight]));
            assert!(error.contains("has counts of its own"), "{text}: {error}");
            assert!(hint.contains("leave `--weight` out"), "{text}: {hint}");
        }
    }
    let script = fs::read_to_string(texts.join("c.txt")).expect("a text");
    let dir = tempfile::tempdir().expect("a directory");
    let unweighed = dir.path().join("unweighed.txt");
    // `-F -period`: the number before the event's name is gone.
    let lines = script.lines().map(|line| match line.split_once(": ") {
        Some((head, event)) if !line.starts_with([' ', '\t']) => {
            let event = event.trim_start().split_once(' ').expect("a period").1;
            format!("{head}: {event}\n")
        }
        _ => format!("{line}\n"),
    });
    fs::write(&unweighed, lines.collect::<String>()).expect("written");
    let (error, hint) = refused(Ctrflame::convert(&unweighed, &["--weight", "period"]));
    assert!(error.ends_with("tells no periods"), "{error}");
    assert!(hint.contains("perf script -F +period"), "{hint}");
    let total = |file: &Path, weight| {
        let run = Ctrflame::convert(file, &["--weight", weight]).expect_code(0);
        run.folded().total()
    };
    assert_eq!(total(&unweighed, "samples"), 179);
    assert_eq!(total(&texts.join("c.txt"), "samples"), 179);
    assert!(total(&texts.join("c.txt"), "period") > 179);
}

#[test]
fn a_directory_that_lost_a_file_is_refused_and_its_first_file_alone_says_where_the_samples_are() {
    let whole = recordings().join("perf-6.1/directory.data");
    let alone = Ctrflame::convert(&whole.join("data"), &[]).expect_code(0);
    assert!(
        alone.stderr.contains("give their directory"),
        "{}",
        alone.stderr
    );
    let all = Ctrflame::convert(&whole, &[]).expect_code(0);
    assert!(
        !all.stderr.contains("give their directory"),
        "{}",
        all.stderr
    );

    let dir = tempfile::tempdir().expect("a directory");
    for part in ["data", "data.1"] {
        fs::copy(whole.join(part), dir.path().join(part)).expect("copied");
    }
    let (error, hint) = refused(Ctrflame::convert(dir.path(), &[]));
    let expected = "the directory has no file `data.0`, but a later one";
    assert_eq!(error, format!("{}: {expected}", dir.path().display()));
    assert!(hint.contains("with all of its files"), "{hint}");
}

#[test]
fn what_is_chosen_and_idle_says_how_it_is_drawn() {
    let file = recordings().join("quipper/quipper.callgraph-3.8.data");
    let idle = Ctrflame::convert(&file, &["--pid", "0"]).expect_code(0);
    assert!(
        idle.stderr.contains("`--idle` draws them"),
        "{}",
        idle.stderr
    );
    // The other flags leave nothing: that is not the container's fault.
    let none = Ctrflame::convert(&file, &["--pid", "4000000", "--container", "web"]).expect_code(0);
    assert!(
        none.stderr.contains("none of the 1768 samples was chosen"),
        "{}",
        none.stderr
    );
}

/// Whether the hint of a refusal is the flag that draws what came before the damage.
fn is_told_to_allow_it(run: Finished) -> bool {
    let (error, hint) = refused(run);
    assert!(!hint.is_empty(), "{error}");
    hint.contains("--allow-damaged")
}

#[test]
fn allow_damaged_is_the_hint_where_it_draws_something_and_nowhere_else() {
    let whole =
        fs::read(recordings().join("quipper/quipper.callgraph-3.8.data")).expect("a recording");
    let text = fs::read_to_string(recordings().join("../text/c.txt")).expect("a text");
    let dir = tempfile::tempdir().expect("a directory");
    let late =
        fs::read(recordings().join("quipper/quipper.singleprocess-3.8.data")).expect("a recording");
    let records_at = usize::from(u16::from_le_bytes([whole[40], whole[41]]));
    let first_record_damaged =
        [&whole[..records_at], &[0xff; 16], &whole[records_at + 16..]].concat();
    let first_attr_damaged = [&whole[..16], &[0xff; 8], &whole[24..]].concat();
    let unknown_gzip = [&gzip(b"a;b 1\n")[..12], &[]].concat();
    let packed = gzip(text.as_bytes());
    for (name, bytes, is_drawn) in [
        ("cut.data", &whole[..whole.len() / 2], true),
        // Without the header nothing is read, with or without the flag.
        ("header.data", &whole[..60], false),
        ("attr.data", &first_attr_damaged, false),
        ("records.data", &whole[..records_at], false),
        ("first.data", &first_record_damaged, false),
        // Its samples come last.
        ("early.data", &late[..late.len() / 2], false),
        (
            "pipe.data",
            b"PERFILE2\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            false,
        ),
        ("cut.gz", &packed[..packed.len() * 2 / 3], true),
        ("start.gz", &unknown_gzip, false),
        ("line.folded", b"a;b 1\nno count\na;c 2\n", true),
        ("dtrace.txt", b"\n\n  a`b+0x1\n  3\n\n  4\n", false),
    ] {
        let file = dir.path().join(name);
        fs::write(&file, bytes).expect("written");
        let hinted = is_told_to_allow_it(Ctrflame::convert(&file, &[]));
        assert_eq!(hinted, is_drawn, "{name}");
        let allowed = Ctrflame::convert(&file, &["--allow-damaged"]);
        match is_drawn {
            true => assert!(allowed.expect_code(0).folded().total() > 0, "{name}"),
            false => assert!(!is_told_to_allow_it(allowed), "{name}"),
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).expect("into memory");
    packed.finish().expect("into memory")
}
