//! Names of what does not stay what it was, and of what has no name: no sample has another one's.

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::ctrflame::{Ctrflame, Finished};
use support::folded::{Folded, Stack};
use support::workloads::Workload;
use support::{Need, needs};

/// Some hundred samples of what computes for a second on a machine that is shared with others.
const RATE: &str = "999";

fn record(command: &[&str]) -> Finished {
    let args = ["-F", RATE, "--"]
        .into_iter()
        .chain(command.iter().copied());
    Ctrflame::record(args).run().expect_code(0)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own paths are text")
}

/// Of the samples in a program's own functions, those that are not in other's too.
fn assert_apart(folded: &Folded, own: &str, others: &[&str]) {
    let has = |stack: &Stack, prefix: &str| stack.frames.iter().any(|it| it.starts_with(prefix));
    let samples = folded.only(|stack| has(stack, own));
    assert!(
        samples.total() >= 20,
        "{own}: {}\n{folded}",
        samples.total()
    );
    for other in others {
        let mixed = samples.only(|stack| has(stack, other));
        assert_eq!(mixed.total(), 0, "{own} and {other}\n{mixed}");
    }
}

/// A copy of a program, under another name, with or without its build id.
fn copied(program: Workload, to: &Path, build_id: bool) {
    let mut objcopy = Command::new("objcopy");
    if !build_id {
        objcopy.args(["-R", ".note.gnu.build-id"]);
    }
    let done = objcopy.arg(program.build()).arg(to).output();
    assert!(done.expect("binutils run").status.success());
}

#[test]
fn a_program_that_is_replaced_has_old_names_where_it_ran_and_new_ones_where_it_runs() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    // Without a build id the file is told by its inode.
    for build_id in [true, false] {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str| -> PathBuf { dir.path().join(name) };
        copied(Workload::HotA, &file("hot"), build_id);
        copied(Workload::HotB, &file("new"), build_id);
        // As a package's upgrade does, while the old one runs.
        let script = "./hot 1 & sleep 0.2; mv new hot; ./hot 1 & wait";
        let script = format!("cd {}; {script}", text(dir.path()));
        let run = record(&["sh", "-c", &script]);
        let folded = run.folded().comm("hot");
        assert_apart(&folded, "alpha_", &["beta_", "[replaced"]);
        assert_apart(&folded, "beta_", &["alpha_", "[replaced"]);
        let lost = folded.only(|stack| stack.frames.iter().any(|it| it.starts_with("[replaced")));
        assert_eq!(lost.total(), 0, "{lost}");
    }
}

#[test]
fn a_process_that_execs_is_another_one_under_its_pid() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    // Both are static: their code lies at the same addresses.
    let (program, next) = (Workload::Identity.build(), Workload::HotA.build());
    let run = record(&[text(&program), "exec", text(&next), "1"]);
    let folded = run.folded();
    assert_apart(&folded, "before_exec", &["alpha_"]);
    assert_apart(&folded, "alpha_", &["before_exec"]);
    for stack in &folded.stacks {
        let before = stack.frames.iter().any(|frame| frame == "before_exec");
        assert!(!before || stack.comm.starts_with("identity"), "{stack:?}");
    }
}

#[test]
fn a_pid_that_is_used_again_mixes_no_two_programs() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let (program, next) = (Workload::Identity.build(), Workload::HotA.build());
    let run = Ctrflame::record(["-F", RATE, "-o", "x.data", "--"])
        .args([text(&program), "reuse", text(&next), "1"])
        .run()
        .expect_code(0);
    let pid = run.stdout.trim();
    assert!(pid.parse::<u32>().is_ok(), "{} {}", run.stdout, run.stderr);
    let folded = run.folded();
    assert_apart(&folded, "before_reuse", &["alpha_"]);
    assert_apart(&folded, "alpha_", &["before_reuse"]);
    // It was one pid, and the recording tells them apart as well.
    let recording = run.cwd().join("x.data");
    let by_pid = Ctrflame::convert(&recording, &["--by", "pid,comm"]).expect_code(0);
    let layer = format!("pid:{pid}");
    for own in ["before_reuse", "alpha_inner"] {
        let out = by_pid.read("out.folded");
        let is_its = |line: &str| line.contains(&layer) && line.contains(own);
        assert!(out.lines().any(is_its), "no {own} of {pid}\n{out}");
    }
}

#[test]
fn a_thread_that_changes_its_name_has_the_one_of_its_time() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let folded = record(&[text(&Workload::Identity.build()), "rename"]).folded();
    for (comm, own, other) in [
        ("first", "as_first", "as_second"),
        ("second", "as_second", "as_first"),
    ] {
        let samples = folded.comm(comm);
        assert_apart(&samples, own, &[other]);
        assert!(!samples.mentions(other), "{samples}");
    }
}

#[test]
fn a_call_at_its_functions_end_and_aliases_without_size_give_no_wrong_name() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let folded = record(&[text(&Workload::Traps.build()), "1"]).folded();
    let chain = ["main", "trap_main", "trap_caller", "trap_spin"];
    let inside = folded.only(|stack| stack.user_leaf() == Some("trap_spin"));
    assert!(inside.total() >= 100, "{folded}");
    let right = inside.share(|stack| stack.has_chain(&chain));
    assert!(right >= 0.99, "{right}\n{folded}");
    assert!(!folded.mentions("trap_behind"), "{folded}");
}

#[test]
fn code_without_a_name_is_called_by_the_memory_that_it_lies_in() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let program = Workload::JitLike.build();
    let program = text(&program);
    let kinds = ["anonymous", "memfd", "shared", "sysv"];
    let started: Vec<String> = kinds
        .iter()
        .map(|kind| format!("{program} 1 no-map {kind} &"))
        .collect();
    let script = format!("{} wait", started.join(" "));
    let run = Ctrflame::record(["-F", RATE, "-o", "x.data", "--"])
        .args(["sh", "-c", &script])
        .run()
        .expect_code(0);
    let folded = run.folded();
    for label in [
        "[jit, no map]",
        "[memfd:codemaker, no map]",
        "[shared memory, no map]",
        "[SYSV shared memory, no map]",
    ] {
        let of_it = folded.only(|stack| stack.user_leaf() == Some(label));
        assert!(of_it.total() >= 20, "{label}\n{folded}");
    }
    assert!(
        run.stderr.contains("jit without map"),
        "they are counted as one reason: {}",
        run.stderr
    );
    let again = Ctrflame::convert(&run.cwd().join("x.data"), &[]).expect_code(0);
    assert_eq!(again.read("out.folded"), run.read("out.folded"));
}

#[test]
fn kernel_code_that_came_and_went_while_it_was_recorded_has_the_name_of_its_time() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let program = Workload::Bpf.build();
    for call_graph in ["fp", "dwarf"] {
        let run = Ctrflame::record(["-F", RATE, "--call-graph", call_graph, "-o", "x.data", "--"])
            .args([text(&program)])
            .run()
            .expect_code(0);
        let folded = run.folded();
        let own = |stack: &Stack, name: &str| {
            let is_it = |frame: &String| frame.starts_with("bpf_prog_") && frame.contains(name);
            stack.frames.iter().any(is_it)
        };
        let (first, second) = ("_ctr_first_[k]", "_ctr_second_[k]");
        for name in [first, second] {
            let samples = folded.only(|stack| own(stack, name));
            assert!(samples.total() >= 50, "{name}, {call_graph}\n{folded}");
        }
        // What ran under one of them is nothing without a name.
        let under = |stack: &Stack| stack.frames.iter().any(|it| it.starts_with("bpf_test_run"));
        let under = folded.only(under);
        let is_lost = |frame: &String| frame.starts_with('[') && frame.ends_with("_[k]");
        let lost = under.only(|stack| stack.frames.iter().any(is_lost));
        assert_eq!(lost.total(), 0, "{lost}");
        assert_apart_in_time(&run, first, second);
        let again = Ctrflame::convert(&run.cwd().join("x.data"), &[]).expect_code(0);
        assert_eq!(again.read("out.folded"), run.read("out.folded"));
    }
}

/// The samples in `first` are all before those in `second`, by the recording's own times: the first half of the time
/// has none of the second.
fn assert_apart_in_time(run: &Finished, first: &str, second: &str) {
    let recording = run.cwd().join("x.data");
    let of = |time: &str| {
        let run = Ctrflame::convert(&recording, &["--time", time]).expect_code(0);
        run.folded()
    };
    // Each runs for 0.4 s of CPU time, with 0.3 s between them.
    let (early, late) = (of(",+0.35"), of("+0.75,"));
    assert!(early.mentions(first) && !early.mentions(second), "{early}");
    assert!(late.mentions(second), "{late}");
}

#[test]
fn text_that_a_program_put_onto_other_pages_keeps_its_names_and_what_was_changed_there_has_none() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let program = Workload::Remap.build();
    for how in ["copy", "mremap"] {
        let run = Ctrflame::record(["-F", RATE, "-o", "x.data", "--"])
            .args([text(&program), how, "1"])
            .run()
            .expect_code(0);
        assert_moved(&run.folded());
        let again = Ctrflame::convert(&run.cwd().join("x.data"), &[]).expect_code(0);
        assert_eq!(again.read("out.folded"), run.read("out.folded"), "{how}");

        // Moved before the recording begins.
        let mut child = Command::new(&program)
            .args([how, "3"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut said = [0; 6];
        let stdout = child.stdout.as_mut().expect("a pipe");
        stdout.read_exact(&mut said).expect("it says that it has");
        let pid = child.id().to_string();
        let run = Ctrflame::record(["-F", RATE, "-p", &pid])
            .run()
            .expect_code(0);
        child.wait().expect("ours");
        assert_moved(&run.folded());
    }
}

/// Half of the time it is in text that was moved, half in what was put where `changed_inner` was.
fn assert_moved(folded: &Folded) {
    let chain = ["main", "moved_outer", "moved_inner"];
    let moved = folded.only(|stack| stack.has_chain(&chain));
    let changed = folded.only(|stack| stack.user_leaf() == Some("[jit, no map]"));
    for half in [&moved, &changed] {
        assert!(half.total() >= 100, "{folded}");
        // Some was sampled before the program was ready, or before we had looked.
        assert!(half.total() * 10 >= folded.total() * 3, "{folded}");
    }
    for wrong in ["changed_inner", "[unknown", "[stripped"] {
        assert!(!folded.mentions(wrong), "{folded}");
    }
    assert!(!changed.mentions("moved_"), "{changed}");
}
