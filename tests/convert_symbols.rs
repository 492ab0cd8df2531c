//! Where `ctrflame convert` gets names from: sysroots, symfs, perf's cache, debug files, given maps and kallsyms; and
//! that a file with another build id is never used.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::stat::Mode;
use support::ctrflame::{Ctrflame, Finished};
use support::folded::Folded;
use support::workloads::Workload;
use support::{Need, needs, wait_until};
use tempfile::TempDir;

const A: &str = "docker:a1a1a1a1a1a1";
const B: &str = "docker:b2b2b2b2b2b2";
const HOT_A_ID: &str = "e9fdf9e6f8e761c72732f66698c9ea3d46ba147c";
const HOT_B_ID: &str = "63e9b2e2353dfe9ef067cab8c842783f4881d9f2";
const ALPHA: [&str; 3] = ["main", "alpha_outer", "alpha_inner"];
const BETA: [&str; 3] = ["main", "beta_outer", "beta_inner"];
const JITLIKE_PID: u32 = 26277;
/// Of `build-ids.data`.
const HOT_A_SAMPLES: u64 = 30;
const JITLIKE_SAMPLES: u64 = 32;
const HOT_B_SAMPLES: u64 = 31;

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/recordings/containers")
}

fn image(name: &str) -> PathBuf {
    recordings().join("images").join(name)
}

/// A root directory with these files, each a copy of an image.
fn root_with(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    for (inside, from) in files {
        place(dir.path(), inside, from);
    }
    dir
}

fn place(root: &Path, inside: &str, from: &str) {
    let to = root.join(inside);
    fs::create_dir_all(to.parent().expect("below the root")).expect("ours");
    fs::copy(image(from), to).expect("an image");
}

fn converting(recording: &str) -> Ctrflame {
    let file = recordings().join(recording);
    let file = file.to_str().expect("our own paths are text");
    // What perf has cached in our own home is nobody's business.
    let convert = Ctrflame::new(["convert", file, "-o", "out.folded"]);
    convert.home(Path::new("/nonexistent"))
}

fn sysroot(container: &str, dir: &TempDir) -> String {
    format!("--sysroot={container}={}", dir.path().display())
}

fn convert(recording: &str, args: &[&str]) -> Finished {
    converting(recording).args(args.iter().copied()).run()
}

/// Samples of `container` whose stack has this chain.
fn with_chain(folded: &Folded, container: &str, names: &[&str]) -> u64 {
    folded
        .container(container)
        .only(|stack| stack.has_chain(names))
        .total()
}

fn hot(folded: &Folded, container: &str) -> u64 {
    folded.container(container).comm("hot").total()
}

#[test]
fn two_programs_at_one_path_are_named_by_the_sysroots_of_their_containers() {
    let (a, b) = (
        root_with(&[("app/hot", "hot_a")]),
        root_with(&[("app/hot", "hot_b")]),
    );
    let run = convert("build-ids.data", &[&sysroot("a1a1", &a), &sysroot(B, &b)]).expect_code(0);
    let folded = run.folded();
    assert_eq!(with_chain(&folded, A, &ALPHA), HOT_A_SAMPLES);
    assert_eq!(with_chain(&folded, B, &BETA), HOT_B_SAMPLES);
    assert!(!run.stderr.contains("is not the file"), "{}", run.stderr);
}

#[test]
fn a_file_with_another_build_id_is_never_used_and_a_note_has_both_ids() {
    let (a, b) = (
        root_with(&[("app/hot", "hot_a")]),
        root_with(&[("app/hot", "hot_b")]),
    );
    let run = convert(
        "build-ids.data",
        &[&sysroot("a1a1", &b), &sysroot("b2b2", &a)],
    )
    .expect_code(0);
    let folded = run.folded();
    let replaced = ["[replaced hot]"; 3];
    assert_eq!(with_chain(&folded, A, &replaced), HOT_A_SAMPLES);
    assert_eq!(with_chain(&folded, B, &replaced), HOT_B_SAMPLES);
    assert!(!run.read("out.folded").contains("alpha_"));
    let note = format!(
        "{}/app/hot is not the file that was mapped: its build id is {HOT_A_ID}, recorded was {HOT_B_ID}",
        a.path().display()
    );
    assert!(run.stderr.contains(&note), "{}", run.stderr);
    assert_eq!(run.stderr.matches("is not the file").count(), 2);
}

#[test]
fn a_given_file_is_used_unchecked_only_where_no_build_id_was_recorded_and_a_note_says_so() {
    let root = root_with(&[("app/hot", "hot_a")]);
    let run = convert("no-build-ids.data", &[&sysroot("a1a1", &root)]).expect_code(0);
    let folded = run.folded();
    assert_eq!(with_chain(&folded, A, &ALPHA), hot(&folded, A));
    assert_eq!(with_chain(&folded, B, &["[gone hot]"; 3]), hot(&folded, B));
    let note = format!("{}/app/hot used as given", root.path().display());
    assert!(run.stderr.contains(&note), "{}", run.stderr);
}

#[test]
fn symfs_stands_for_the_root_of_everything() {
    let root = root_with(&[("app/hot", "hot_a")]);
    let symfs = format!("--symfs={}", root.path().display());
    let run = convert("build-ids.data", &[&symfs]).expect_code(0);
    let folded = run.folded();
    assert_eq!(with_chain(&folded, A, &ALPHA), HOT_A_SAMPLES);
    assert_eq!(
        with_chain(&folded, B, &["[replaced hot]"; 3]),
        HOT_B_SAMPLES
    );
    // This host's own files are not looked at.
    assert!(run.read("out.folded").contains("[gone libc.so.6]"));
    let missing = convert("build-ids.data", &["--symfs=/no/such/dir"]).expect_failure();
    assert!(
        missing.stderr.contains("--symfs: `/no/such/dir`"),
        "{}",
        missing.stderr
    );
}

#[test]
fn perfs_cache_names_what_is_gone_in_its_new_and_its_old_form() {
    let home = tempfile::tempdir().expect("a directory");
    let cache = home.path().join(".debug");
    place(&cache, &format!("app/hot/{HOT_A_ID}/elf"), "hot_a");
    // As the first perfs made it: the link leads to the image itself.
    place(&cache, &format!("app/hot/{HOT_B_ID}"), "hot_b");
    for id in [HOT_A_ID, HOT_B_ID] {
        let link = cache.join(".build-id").join(&id[..2]).join(&id[2..]);
        fs::create_dir_all(link.parent().expect("below the cache")).expect("ours");
        symlink(format!("../../app/hot/{id}"), link).expect("a link");
    }
    let convert = || converting("build-ids.data").home(home.path()).run();
    let folded = convert().expect_code(0).folded();
    assert_eq!(with_chain(&folded, A, &ALPHA), HOT_A_SAMPLES);
    assert_eq!(with_chain(&folded, B, &BETA), HOT_B_SAMPLES);

    // A cache that lies about what it has is not believed.
    place(&cache, &format!("app/hot/{HOT_A_ID}/elf"), "hot_b");
    let folded = convert().expect_code(0).folded();
    assert_eq!(with_chain(&folded, A, &["[gone hot]"; 3]), HOT_A_SAMPLES);
}

#[test]
fn a_stripped_image_is_named_by_its_debug_file_if_that_has_its_build_id() {
    let root = root_with(&[("app/hot", "hot_a.stripped")]);
    let named = || {
        let run = convert("build-ids.data", &[&sysroot("a1a1", &root)]).expect_code(0);
        let folded = run.folded();
        let (named, stripped) = (
            with_chain(&folded, A, &ALPHA),
            with_chain(&folded, A, &["[stripped hot]"; 3]),
        );
        assert_eq!(named + stripped, HOT_A_SAMPLES);
        named
    };
    assert_eq!(named(), 0);
    let by_id = format!(
        "usr/lib/debug/.build-id/{}/{}.debug",
        &HOT_A_ID[..2],
        &HOT_A_ID[2..]
    );
    place(root.path(), &by_id, "hot_b");
    assert_eq!(named(), 0, "of another build id");
    place(root.path(), &by_id, "hot_a.debug");
    assert_eq!(named(), HOT_A_SAMPLES);
    fs::remove_file(root.path().join(&by_id)).expect("ours");
    place(root.path(), "usr/lib/debug/app/hot.debug", "hot_a.debug");
    assert_eq!(named(), HOT_A_SAMPLES);
}

#[test]
fn a_debug_file_alone_names_an_image_only_if_it_tells_where_the_code_lay() {
    let root = root_with(&[]);
    let debug = "usr/lib/debug/app/hot.debug";
    let chain = |names: &[&str]| {
        let run = convert("build-ids.data", &[&sysroot("a1a1", &root)]).expect_code(0);
        with_chain(&run.folded(), A, names)
    };
    // objcopy leaves no file offsets of code in it.
    place(root.path(), debug, "hot_a.debug");
    assert_eq!(chain(&["[gone hot]"; 3]), HOT_A_SAMPLES);
    // The unstripped program is a debug file as well.
    place(root.path(), debug, "hot_a");
    assert_eq!(chain(&ALPHA), HOT_A_SAMPLES);
}

#[test]
fn a_hostile_sysroot_neither_leads_out_nor_blocks() {
    let outside = root_with(&[("hot", "hot_a")]);
    let root = tempfile::tempdir().expect("a directory");
    let app = root.path().join("app");
    fs::create_dir(&app).expect("ours");
    let label = || {
        let run = convert("build-ids.data", &[&sysroot("a1a1", &root)]).expect_code(0);
        let folded = run.folded();
        let labels = ["[gone hot]", "[unreadable hot]"];
        labels.map(|label| with_chain(&folded, A, &[label; 3]))
    };
    symlink(outside.path().join("hot"), app.join("hot")).expect("a link");
    assert_eq!(label(), [HOT_A_SAMPLES, 0]);
    fs::remove_file(app.join("hot")).expect("ours");
    nix::unistd::mkfifo(&app.join("hot"), Mode::S_IRWXU).expect("a pipe");
    assert_eq!(label(), [0, HOT_A_SAMPLES]);
    fs::remove_file(app.join("hot")).expect("ours");
    fs::create_dir(app.join("hot")).expect("ours");
    assert_eq!(label(), [0, HOT_A_SAMPLES]);
}

#[test]
fn container_keeps_the_samples_of_those_that_are_meant() {
    let drawn = |args: &[&str]| {
        let run = convert("build-ids.data", args).expect_code(0);
        let folded = run.folded();
        let outside = run
            .stderr
            .lines()
            .find_map(|line| {
                line.strip_prefix("ctrflame: note: ")?
                    .strip_suffix(" samples of others were left out")
            })
            .map_or(0, |count| count.parse::<u64>().expect("a number"));
        let (a, b) = (folded.container(A).total(), folded.container(B).total());
        assert_eq!(folded.total(), a + b);
        (a, b, outside)
    };
    let (a, b) = (HOT_A_SAMPLES + JITLIKE_SAMPLES, HOT_B_SAMPLES);
    assert_eq!(drawn(&[]), (a, b, 0));
    assert_eq!(drawn(&["--container", "a1a"]), (a, 0, b));
    assert_eq!(drawn(&["-G", B]), (0, b, a));
    assert_eq!(drawn(&["-G", "a1a,b2b"]), (a, b, 0));
    assert_eq!(drawn(&["-G", "a1a", "-G", "b2b"]), (a, b, 0));
    assert_eq!(drawn(&["-G", "/docker"]), (a, b, 0));

    let missed = convert("build-ids.data", &["-G", "nosuch"]).expect_failure();
    assert!(
        missed
            .stderr
            .contains("no container and no cgroup `nosuch` in the recording"),
        "{}",
        missed.stderr
    );
    assert!(
        missed.stderr.contains(&format!("{A}  /docker/a1a1")),
        "{}",
        missed.stderr
    );
    let nobody = root_with(&[]);
    let missed = convert("build-ids.data", &[&sysroot("nosuch", &nobody)]).expect_failure();
    assert!(missed.stderr.contains(B), "{}", missed.stderr);
}

#[test]
fn a_given_perf_map_names_the_code_of_its_process_and_an_unneeded_one_is_told() {
    let map = recordings().join(format!("perf-{JITLIKE_PID}.map"));
    let given = |pid: u32| format!("--perf-map={pid}={}", map.display());
    let run = convert("build-ids.data", &[&given(JITLIKE_PID), &given(1)]).expect_code(0);
    let jit = ["jit_outer_[j]", "jit_inner_[j]"];
    assert_eq!(with_chain(&run.folded(), A, &jit), JITLIKE_SAMPLES);
    assert!(
        run.stderr
            .contains("not needed: no sample is in generated code of process 1"),
        "{}",
        run.stderr
    );
    let wrong = convert("build-ids.data", &["--perf-map=1=/nosuch"]).expect_failure();
    assert!(
        wrong.stderr.contains("--perf-map: `/nosuch`"),
        "{}",
        wrong.stderr
    );
}

/// A kernel with a function every 16 KiB, whose `_text` is at an address, and a module over all of it.
fn kallsyms(text: u64) -> String {
    let mut symbols = format!("{text:016x} T _text\n");
    for at in (0..0x0128_0000).step_by(0x4000) {
        symbols.push_str(&format!("{:016x} t fn_{at:x}\n", text + at));
        symbols.push_str(&format!("{:016x} t mod_{at:x}\t[mod]\n", text + at + 1));
    }
    symbols
}

const TEXT: u64 = 0xffff_ffff_8100_0000;

fn kernel_frames(folded: &Folded) -> Vec<String> {
    let stacks = folded.stacks.iter();
    let mut frames: Vec<String> = stacks
        .flat_map(|stack| &stack.frames)
        .filter(|frame| frame.ends_with("_[k]"))
        .cloned()
        .collect();
    frames.sort();
    frames.dedup();
    frames
}

#[test]
fn given_kernel_symbols_are_used_if_the_kernel_lay_there_and_else_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("kallsyms");
    let flag = format!("--kallsyms={}", file.display());
    fs::write(&file, kallsyms(TEXT)).expect("written");
    let run = convert("build-ids.data", &[&flag]).expect_code(0);
    let frames = kernel_frames(&run.folded());
    assert!(!frames.is_empty(), "{}", run.read("out.folded"));
    let is_given = |frame: &String| frame.starts_with("fn_") || frame.starts_with("mod_");
    assert!(frames.iter().all(is_given), "{frames:?}");

    let refused = |text: &str, reason: &str| {
        fs::write(&file, text).expect("written");
        let run = convert("build-ids.data", &[&flag]).expect_failure();
        assert!(run.stderr.contains(reason), "{}", run.stderr);
    };
    refused(
        &kallsyms(TEXT + 0x1000_0000),
        "has _text at 0xffffffff91000000, the recorded kernel had it at 0xffffffff81000000",
    );
    refused(
        "0000000000000000 T _text\n0000000000000000 t f\n",
        "all of its 2 symbols are at zero",
    );
    refused("nothing of the kind\n", "has no kernel symbols");
}

#[test]
fn a_process_that_still_runs_is_read_in_its_own_root_and_one_that_ended_is_not() {
    let Some(_host) = needs(Need::Perf) else {
        return;
    };
    let root = tempfile::tempdir().expect("a directory");
    fs::create_dir(root.path().join("tmp")).expect("ours");
    fs::copy(Workload::JitLike.build(), root.path().join("jitlike")).expect("room for a copy");
    let mut living = Command::new("unshare")
        .args(["-m", "chroot"])
        .arg(root.path())
        .args(["/jitlike", "50"])
        .stdout(Stdio::null())
        .spawn()
        .expect("util-linux is there");
    let pid = living.id();
    let map = root.path().join(format!("tmp/perf-{pid}.map"));
    wait_until("the perf map", std::time::Duration::from_secs(20), || {
        let text = fs::read_to_string(&map).ok()?;
        text.ends_with("jit_inner\n").then_some(())
    });
    let data = root.path().join("perf.data");
    let recorded = Command::new("perf")
        .args(["record", "-B", "-e", "cpu-clock", "-g", "-F", "199", "-o"])
        .arg(&data)
        .args(["-p", &pid.to_string(), "--", "sleep", "0.5"])
        .env("HOME", root.path())
        .output()
        .expect("perf runs");
    assert!(recorded.status.success(), "{recorded:?}");
    // The path of the program leads nowhere on the host, and now nowhere inside either.
    fs::remove_file(root.path().join("jitlike")).expect("ours");
    let convert = || {
        let run = Ctrflame::new(["convert", "-o", "out.folded"])
            .args([&data])
            .run();
        run.expect_code(0).folded().comm("jitlike")
    };
    let named = ["main", "jit_outer_[j]", "jit_inner_[j]"];
    let alive = convert();
    living.kill().expect("our child");
    living.wait().expect("our child");
    assert!(alive.share(|stack| stack.has_chain(&named)) > 0.9);
    let gone = ["[gone jitlike]", "[jit, no map]", "[jit, no map]"];
    assert!(convert().share(|stack| stack.has_chain(&gone)) > 0.9);
}

#[test]
fn a_stripped_program_of_a_living_root_is_named_by_the_debug_file_in_that_root() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let root = tempfile::tempdir().expect("a directory");
    let program = root.path().join("hot");
    let id = "c0ffee".repeat(6);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/workloads/hot_a.c");
    let run = |tool: &str, args: &[&std::ffi::OsStr]| {
        let done = Command::new(tool).args(args).output().expect("binutils");
        assert!(done.status.success(), "{tool}: {done:?}");
    };
    let build_id = format!("-Wl,--build-id=0x{id}");
    let flags = ["-O1", "-fno-omit-frame-pointer", "-fno-inline", "-static"];
    let mut gcc: Vec<&std::ffi::OsStr> = flags.map(AsRef::as_ref).to_vec();
    gcc.extend([
        "-fno-optimize-sibling-calls".as_ref(),
        build_id.as_ref(),
        source.as_os_str(),
        "-o".as_ref(),
        program.as_os_str(),
    ]);
    run("gcc", &gcc);
    let debug_dir = root.path().join("usr/lib/debug/.build-id/c0");
    fs::create_dir_all(&debug_dir).expect("ours");
    let debug = debug_dir.join(format!("{}.debug", &id[2..]));
    run(
        "objcopy",
        &[
            "--only-keep-debug".as_ref(),
            program.as_os_str(),
            debug.as_os_str(),
        ],
    );
    run("strip", &[program.as_os_str()]);
    let run = Ctrflame::record(["--", "chroot"])
        .args([root.path()])
        .args(["/hot", "1"])
        .run()
        .expect_code(0);
    let hot = run.folded().comm("hot");
    let named = hot.share(|stack| stack.has_chain(&ALPHA));
    assert!(named > 0.9, "{named}: {}", run.read("out.folded"));
}
