//! `record -o x.data`: a recording that names itself, whatever has become of what was recorded.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::container::Builder;
use support::ctrflame::{Ctrflame, Finished};
use support::workloads::Workload;
use support::{Host, Need, needs};

/// The container's processes, by the pids that they have inside: their perf maps are under these.
const PROGRAMS: &str = "/app/jitlike 60 & exec /app/hot 60";

fn container<'a>(host: &'a Host, hostname: &str) -> Builder<'a> {
    Builder::new(host, &["/bin/busybox", "sh", "-c", PROGRAMS])
        .busybox()
        .file("/app/hot", Workload::HotA.build())
        .file("/app/jitlike", Workload::JitLike.build())
        .hostname(hostname)
}

/// `convert` of a recording, in a directory of its own.
fn convert(recording: &Path, more: &[&str]) -> Finished {
    let recording = recording.to_str().expect("our own paths are text");
    Ctrflame::new(["convert", recording, "-o", "out.folded", "-o", "out.svg"])
        .args(more.iter().copied())
        .run()
}

#[test]
fn a_host_with_a_container_that_is_gone_is_drawn_again_byte_for_byte() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = container(&host, "alpha").start();
    let tag = container.tag();
    let run = Ctrflame::record(["-a", "-F", "999", "--duration", "4s", "-o", "x.data"])
        .run()
        .expect_code(0);
    let own = run.folded().container(&tag);
    for name in ["alpha_inner", "jit_inner"] {
        assert!(own.mentions(name), "no {name}\n{own}\n{}", run.stderr);
    }
    drop(container);
    let again = convert(&run.cwd().join("x.data"), &[]).expect_code(0);
    assert_eq!(again.read("out.folded"), run.read("out.folded"));
    let totals = |run: &Finished| {
        let line = run.stderr.lines().last().expect("a closing line");
        line.split(" → ").next().map(str::to_owned)
    };
    assert_eq!(totals(&again), totals(&run));
    assert!(
        !again.stderr.contains("note:"),
        "nothing is left to be looked up: {}",
        again.stderr
    );
}

#[test]
fn one_container_of_two_is_drawn_again_byte_for_byte() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let a = container(&host, "alpha").start();
    let b = container(&host, "beta").start();
    let c = container(&host, "gamma").start();
    // Two are told from the third sample by sample: what is of the third is not in the file.
    let (first, second) = (a.id().to_owned(), b.id().to_owned());
    let third = c.id().to_owned();
    let run = Ctrflame::record(["-G", &first, "-G", &second, "-F", "499"])
        .args(["--duration", "3s", "-o", "x.data"])
        .run()
        .expect_code(0);
    drop((a, b, c));
    let again = convert(&run.cwd().join("x.data"), &[]).expect_code(0);
    let folded = again.read("out.folded");
    assert_eq!(folded, run.read("out.folded"));
    assert!(folded.contains(&first[..12]) && folded.contains(&second[..12]));
    assert!(!folded.contains(&third[..12]));
}

#[test]
fn a_command_is_drawn_again_byte_for_byte_from_standard_input_too() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let busy = Workload::Busy.build();
    let busy = busy.to_str().expect("our own paths are text");
    let run = Ctrflame::record(["-F", "999", "-o", "x.data", "--", busy, "2", "1"])
        .run()
        .expect_code(0);
    let recording = run.cwd().join("x.data");
    let again = convert(&recording, &[]).expect_code(0);
    assert_eq!(again.read("out.folded"), run.read("out.folded"));
    let piped = Command::new(env!("CARGO_BIN_EXE_ctrflame"))
        .args(["convert", "-", "-o", "piped.folded"])
        .current_dir(run.cwd())
        .stdin(fs::File::open(&recording).expect("the recording"))
        .output()
        .expect("it runs");
    assert!(piped.status.success(), "{piped:?}");
    assert_eq!(run.read("piped.folded"), run.read("out.folded"));
}

#[test]
fn only_the_recording_is_written_when_only_it_is_asked_for() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let run = Ctrflame::new(["record", "-o", "x.data", "--", "true"])
        .run()
        .expect_code(0);
    assert_eq!(run.files(), ["x.data"]);
}

#[test]
fn a_recording_that_finds_no_room_is_an_error_and_the_others_are_written() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let small = tempfile::tempdir().expect("a directory");
    let tmpfs = nix::mount::MsFlags::empty();
    nix::mount::mount(
        Some("tmpfs"),
        small.path(),
        Some("tmpfs"),
        tmpfs,
        Some("size=64k"),
    )
    .expect("root mounts");
    let path = small.path().join("x.data");
    let path = path.to_str().expect("our own paths are text");
    let run = Ctrflame::record(["-a", "-F", "999", "--duration", "2s", "-o", path]).run();
    let left = fs::read_dir(small.path()).expect("there").count();
    nix::mount::umount(small.path()).expect("ours");
    assert_eq!(run.code(), 125, "{}", run.stderr);
    let wanted = format!("error: cannot write {path}: No space left on device");
    assert!(run.stderr.contains(&wanted), "{}", run.stderr);
    assert_eq!(left, 0, "something half written is left");
    assert_eq!(run.files(), ["out.folded", "out.svg"]);
    assert!(run.folded().total() > 0);
}

#[test]
fn a_recording_is_not_written_to_what_is_no_file_nor_made_of_a_recording() {
    let refused = |args: &[&str]| Ctrflame::new(args.iter().copied()).run().expect_failure();
    let dir = tempfile::tempdir().expect("a directory");
    let pipe = dir.path().join("pipe.data");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
    let pipe = pipe.to_str().expect("our own paths are text");
    let run = refused(&["record", "-o", pipe, "--", "true"]);
    assert!(run.stderr.contains("it is no file"), "{}", run.stderr);
    let run = refused(&["convert", "x.data", "-o", "y.data"]);
    let wanted = "cannot make y.data: `convert` makes no recordings";
    assert!(run.stderr.contains(wanted), "{}", run.stderr);
}

/// A recording of one container's process, made on another host.
fn sample() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/recordings/ctrflame/container.data")
}

#[test]
fn a_recording_of_another_host_names_itself() {
    let run = convert(&sample(), &[]).expect_code(0);
    let golden = sample().with_extension("folded");
    if std::env::var_os("CTRFLAME_BLESS").is_some() {
        fs::write(&golden, run.read("out.folded")).expect("writable");
    }
    let expected = fs::read_to_string(&golden).expect("a golden file");
    assert_eq!(run.read("out.folded"), expected);
    assert!(!run.stderr.contains("note:"), "{}", run.stderr);
}

#[test]
fn a_damaged_sidecar_is_said_with_its_place_and_every_sample_is_drawn() {
    let whole = fs::read(sample()).expect("a recording");
    let at = whole
        .windows(8)
        .rposition(|bytes| bytes == b"ctrflame")
        .expect("the sidecar");
    let samples = convert(&sample(), &[]).expect_code(0).folded().total();
    let dir = tempfile::tempdir().expect("a directory");
    let damaged = dir.path().join("damaged.data");
    // Its magic, its version, the length of a block, a count.
    for byte in [0, 8, 24, 48] {
        let mut bytes = whole.clone();
        bytes[at + byte] ^= 0xff;
        fs::write(&damaged, &bytes).expect("written");
        let run = convert(&damaged, &[]).expect_code(0);
        let note = run
            .stderr
            .lines()
            .find(|line| line.contains("cannot read its names and containers"));
        let note = note.unwrap_or_else(|| panic!("byte {byte}: {}", run.stderr));
        let offset: usize = note
            .split("at byte ")
            .nth(1)
            .and_then(|rest| rest.split([':', ' ']).next()?.parse().ok())
            .unwrap_or_else(|| panic!("no offset in {note}"));
        assert!((at..whole.len()).contains(&offset), "byte {byte}: {note}");
        assert_eq!(run.folded().total(), samples);
    }
}

#[test]
fn a_stack_is_cut_where_the_recorded_kernel_cut_it_whatever_this_one_does() {
    let whole = fs::read(sample()).expect("a recording");
    let sidecar = whole
        .windows(8)
        .rposition(|bytes| bytes == b"ctrflame")
        .expect("the sidecar");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x.data");
    let truncated = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        fs::write(&file, bytes).expect("written");
        let run = convert(&file, &[]).expect_code(0);
        run.folded().mentions("[truncated stack]")
    };
    // One stack has one frame only, and of the others the root is no code.
    // The number in the sidecar's first block; `sample_max_stack` of the attr; the bit of the sidecar.
    let (in_sidecar, in_attr, bit) = (sidecar + 32, 104 + 108, 97);
    assert_eq!(
        (whole[in_sidecar], whole[in_attr], whole[bit]),
        (127, 127, 1)
    );
    assert!(!truncated(&|_| ()));
    assert!(truncated(&|bytes| bytes[in_sidecar] = 1));
    // As of another recorder: its attr tells, and where that tells nothing, perf's default.
    assert!(truncated(&|bytes| (bytes[bit], bytes[in_attr]) = (0, 1)));
    assert!(!truncated(&|bytes| (bytes[bit], bytes[in_attr]) = (0, 0)));
}

#[test]
fn names_that_the_user_gives_go_before_those_of_the_recording() {
    let dir = tempfile::tempdir().expect("a directory");
    let map = dir.path().join("given.map");
    // `jitlike` has its two functions at these addresses; the inner one is left to the recording.
    fs::write(&map, "200000000000 100 given_outer\n").expect("written");
    let given = format!("15791={}", map.display());
    let run = convert(&sample(), &["--perf-map", &given]).expect_code(0);
    let folded = run.folded();
    let jitted = folded.comm("jitlike");
    assert!(jitted.total() > 0);
    let both = jitted.share(|stack| {
        let names = ["given_outer", "jit_inner"];
        names
            .iter()
            .all(|name| stack.frames.iter().any(|frame| frame.starts_with(name)))
    });
    assert_eq!(both, 1.0, "{jitted}");
    assert!(!folded.mentions("jit_outer"), "{folded}");
    assert!(folded.mentions("alpha_inner"), "{folded}");
}
