//! `ctrflame convert` on text: what it draws of `perf script`, against stackcollapse-perf.pl, and of other profilers.

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use support::ctrflame::Ctrflame;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/text")
}

/// `convert` of `input` with these bytes on standard input.
fn convert_piped(input: &str, bytes: Vec<u8>) -> (Output, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ctrflame"))
        .args(["convert", input, "-o", "out.folded"])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built with the tests");
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("our child");
    let _refused_or_written = writer.join();
    let folded = fs::read_to_string(dir.path().join("out.folded")).unwrap_or_default();
    (output, folded)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).expect("memory");
    packer.finish().expect("memory")
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// The recordings, each with what stackcollapse-perf.pl --all makes of it.
const RECORDED: [&str; 10] = [
    "c",
    "c-dwarf",
    "cpp",
    "cpp-dwarf",
    "rust",
    "rust-dwarf",
    "go",
    "java",
    "node",
    "two-events",
];

#[test]
fn perf_script_is_folded_as_stackcollapse_perf_folds_it() {
    for name in RECORDED {
        let run = Ctrflame::convert(&samples().join(format!("{name}.txt")), &[]).expect_code(0);
        let expected = fs::read_to_string(samples().join(format!("{name}.folded")));
        let expected = expected.expect("a folded text beside each recording");
        let found = run.read("out.folded");
        assert_eq!(sorted(&found), sorted(&expected), "{name}");
        assert!(!found.is_empty(), "{name}");
        run.svg();
    }
}

#[test]
fn where_we_differ_on_purpose_every_frame_and_comm_is_there() {
    for name in ["differences", "no-chains"] {
        let text = fs::read_to_string(samples().join(format!("{name}.txt"))).expect("a text");
        let run = Ctrflame::convert(&samples().join(format!("{name}.txt")), &[]).expect_code(0);
        let expected = fs::read_to_string(samples().join(format!("{name}.folded")));
        assert_eq!(
            run.read("out.folded"),
            expected.expect("a folded text"),
            "{name}"
        );
        let samples = text.matches(" cpu-clock: ").count() as u64;
        assert_eq!(run.closing_samples(), samples, "{name}: {}", run.stderr);
    }
}

#[test]
fn the_closing_line_counts_samples_and_the_picture_says_what_its_widths_are() {
    let run = Ctrflame::convert(&samples().join("c.txt"), &[]).expect_code(0);
    assert_eq!(run.closing_samples(), 179);
    assert!(run.stderr.contains("weighted by period"), "{}", run.stderr);
    assert!(!run.stderr.contains(" lost"), "{}", run.stderr);
    let svg = run.read("out.svg");
    assert!(svg.contains(" ns, 100%)"), "no unit in the picture");
    assert!(svg.contains("179 samples of cpu-clock, weighted by period"));
}

#[test]
fn samples_are_counted_when_asked_for_and_flags_of_recordings_are_refused() {
    let file = samples().join("c.txt");
    let run = Ctrflame::convert(&file, &["--weight", "samples"]).expect_code(0);
    let counts = run.read("out.folded");
    let sum: u64 = counts
        .lines()
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(sum, 179);
    assert!(run.read("out.svg").contains(" samples, 100%)"));
    for flag in [
        ["--cpu", "0"],
        ["--comm", "sh"],
        ["--by", "tid"],
        ["--time", "+1,"],
        ["--call-graph", "dwarf"],
    ] {
        let refused = Ctrflame::convert(&file, &flag).expect_failure();
        let said = format!("{} is for recordings", flag[0]);
        assert!(refused.stderr.contains(&said), "{}", refused.stderr);
    }
}

#[test]
fn another_event_is_named_and_can_be_chosen() {
    let file = samples().join("two-events.txt");
    let first = Ctrflame::convert(&file, &[]).expect_code(0);
    assert!(
        first
            .stderr
            .contains("not drawn: 6 samples of cpu-clock; `-e cpu-clock` draws them"),
        "{}",
        first.stderr
    );
    let second = Ctrflame::convert(&file, &["-e", "cpu-clock"]).expect_code(0);
    assert_eq!((first.closing_samples(), second.closing_samples()), (6, 6));
    assert_ne!(first.read("out.folded"), second.read("out.folded"));
    let refused = Ctrflame::convert(&file, &["-e", "cycles"]).expect_failure();
    assert!(
        refused.stderr.contains("page-faults, cpu-clock"),
        "{}",
        refused.stderr
    );
    let folded = Ctrflame::convert(&samples().join("c.folded"), &["-e", "cycles"]).expect_failure();
    assert!(
        folded.stderr.contains("names no events"),
        "{}",
        folded.stderr
    );
}

#[test]
fn a_text_is_the_same_from_a_file_a_pipe_and_packed() {
    for name in ["java.txt", "java.folded"] {
        let text = fs::read(samples().join(name)).expect("a text");
        let expected = Ctrflame::convert(&samples().join(name), &[])
            .expect_code(0)
            .read("out.folded");
        let dir = tempfile::tempdir().expect("a directory");
        let packed = dir.path().join("packed");
        fs::write(&packed, gzip(&text)).expect("written");
        let unpacked = Ctrflame::convert(&packed, &[])
            .expect_code(0)
            .read("out.folded");
        assert_eq!(unpacked, expected, "{name}");
        for bytes in [text.clone(), gzip(&text)] {
            for input in ["-", "/dev/stdin"] {
                let (output, folded) = convert_piped(input, bytes.clone());
                assert!(output.status.success(), "{name}: {output:?}");
                assert_eq!(folded, expected, "{name} from {input}");
            }
        }
    }
}

#[test]
fn a_recording_is_still_one_from_a_pipe() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples/recordings/quipper/quipper.singleprocess-3.8.data");
    let bytes = fs::read(&file).expect("a recording");
    let expected = Ctrflame::convert(&file, &[])
        .expect_code(0)
        .read("out.folded");
    for input in ["-", "/dev/stdin"] {
        let (output, folded) = convert_piped(input, bytes.clone());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(folded, expected, "from {input}");
    }
}

#[test]
fn folded_text_is_written_again_as_it_was() {
    for name in RECORDED {
        let file = samples().join(format!("{name}.folded"));
        let run = Ctrflame::convert(&file, &[]).expect_code(0);
        let text = fs::read_to_string(&file).expect("a text");
        assert_eq!(sorted(&run.read("out.folded")), sorted(&text), "{name}");
    }
}

#[test]
fn texts_of_other_profilers_are_recognised_and_read() {
    for (file, samples_expected) in [
        ("dtrace.txt", 14),
        ("sample.txt", 20),
        ("vtune.csv", 244),
        ("vsprof.csv", 2540),
        ("xctrace.xml", 3),
        ("ghc.prof", 1000),
    ] {
        let file = samples().join("foreign").join(file);
        let run = Ctrflame::convert(&file, &[]).expect_code(0);
        let expected = fs::read_to_string(file.with_extension("folded")).expect("a folded text");
        assert_eq!(run.read("out.folded"), expected, "{}", file.display());
        assert_eq!(run.closing_samples(), samples_expected, "{}", run.stderr);
        run.svg();
    }
}

#[test]
fn a_damaged_text_is_an_error_with_its_place_and_drawn_only_when_told_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = fs::read_to_string(samples().join("c.txt")).expect("a text");
    let damaged = dir.path().join("damaged.txt");
    let broken = text.replacen("\n\n", "\n\nnobody knows what this line is\n", 3);
    fs::write(&damaged, &broken).expect("written");
    let refused = Ctrflame::convert(&damaged, &[]).expect_failure();
    let line = 1 + broken
        .lines()
        .position(|line| line.starts_with("nobody"))
        .expect("there");
    assert!(
        refused.stderr.contains(&format!("line {line} (byte ")),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("nobody knows"),
        "{}",
        refused.stderr
    );
    assert!(refused.files().is_empty(), "{:?}", refused.files());
    let drawn = Ctrflame::convert(&damaged, &["--allow-damaged"]).expect_code(0);
    assert!(
        drawn.stderr.contains("3 lines were not understood"),
        "{}",
        drawn.stderr
    );
    assert_eq!(drawn.closing_samples(), 179);

    let packed = dir.path().join("cut.gz");
    let whole = gzip(text.as_bytes());
    fs::write(&packed, &whole[..whole.len() * 2 / 3]).expect("written");
    let refused = Ctrflame::convert(&packed, &[]).expect_failure();
    assert!(
        refused
            .stderr
            .contains("gzip stream is damaged or cut behind byte"),
        "{}",
        refused.stderr
    );
    let drawn = Ctrflame::convert(&packed, &["--allow-damaged"]).expect_code(0);
    assert!(
        drawn.read("out.svg").contains("only what came before"),
        "{}",
        drawn.stderr
    );
    assert!(drawn.closing_samples() > 10);
}

#[test]
fn what_is_no_text_of_stacks_is_an_error_that_says_what_can_be_given() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, content, said) in [
        ("empty", &b""[..], "empty is empty"),
        ("words", b"hello world\n", "begins with `hello world`"),
        (
            "elf",
            b"\x7fELF\x02\x01\x01\0\0\0",
            "neither a perf.data nor",
        ),
        ("short", b"PERFI", "neither a perf.data nor"),
        (
            "zstd",
            b"\x28\xb5\x2f\xfd\0\0",
            "zstd -dc FILE | ctrflame convert -",
        ),
        (
            "difference",
            b"a;b 1 2\na;c 3 4\n",
            "difference of two profiles",
        ),
    ] {
        let file = dir.path().join(name);
        fs::write(&file, content).expect("written");
        let refused = Ctrflame::convert(&file, &[]).expect_failure();
        assert!(refused.stderr.contains(said), "{name}: {}", refused.stderr);
        assert!(refused.files().is_empty(), "{name}: {:?}", refused.files());
    }
    let (output, _) = convert_piped("-", Vec::new());
    assert_eq!(output.status.code(), Some(125));
}

#[test]
fn a_text_without_end_is_an_error_and_not_all_of_the_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("holes.txt");
    let mut text = File::create(&file).expect("a new file");
    text.write_all(b"a;b 1\n").expect("written");
    // A line of 1 TiB of zeros that needs no room on the disk.
    text.set_len(1 << 40).expect("a sparse file");
    let refused = Ctrflame::convert(&file, &[]).expect_failure();
    assert!(
        refused.stderr.contains("line 2 (byte 6) is longer than"),
        "{}",
        refused.stderr
    );
}
