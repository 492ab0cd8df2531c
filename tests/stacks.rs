//! Live stacks: what frame pointers miss at the leaf is there, `--call-graph dwarf` needs none, cut stacks say so.

mod support;

use support::ctrflame::{Ctrflame, Finished};
use support::folded::Stack;
use support::workloads::Workload;
use support::{Need, needs};

/// Runs a program under `record` with these flags.
fn record(program: Workload, arguments: &[&str], flags: &[&str]) -> Finished {
    let program = program.build();
    let program = program.to_str().expect("our own paths are text");
    Ctrflame::record(["-F", "999", "-o", "x.data"])
        .args(flags.iter().copied())
        .args(["--", program])
        .args(arguments.iter().copied())
        .run()
        .expect_code(0)
}

/// `convert` of what was recorded gives the same, byte for byte.
fn assert_drawn_again(run: &Finished) {
    let again = Ctrflame::convert(&run.cwd().join("x.data"), &[]).expect_code(0);
    assert_eq!(again.read("out.folded"), run.read("out.folded"));
}

fn is_cut(stack: &Stack) -> bool {
    stack
        .frames
        .first()
        .is_some_and(|name| name == "[truncated stack]")
}

/// What each function of `leaves` that was sampled was called by.
const CALLS: [[&str; 3]; 4] = [
    ["outer", "small_caller", "small_leaf"],
    ["outer", "tiny_caller", "tiny_leaf"],
    ["outer", "framed_caller", "framed"],
    ["outer", "kernel_caller", "getppid"],
];

/// Of the samples in the last function of `call`, the share below the others.
fn whole(run: &Finished, call: &[&str]) -> f64 {
    let leaf = *call.last().expect("a leaf");
    let is_in = |stack: &Stack| {
        stack
            .user_leaf()
            .is_some_and(|name| name.trim_start_matches('_') == leaf)
    };
    let own = run.folded().only(is_in);
    assert!(
        own.total() > 20,
        "{} samples in {leaf}\n{}",
        own.total(),
        run.folded()
    );
    own.share(|stack| {
        let names: Vec<&str> = stack
            .frames
            .iter()
            .map(|name| name.trim_start_matches('_'))
            .collect();
        names.windows(call.len()).any(|names| names == call)
    })
}

#[test]
fn callers_of_leaves_without_a_frame_are_in_their_stacks_and_are_lost_without_the_repair() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let run = record(Workload::Leaves, &["1.5"], &[]);
    for call in CALLS {
        let share = whole(&run, &call);
        assert!(share >= 0.99, "{share} of {call:?}\n{}", run.folded());
    }
    assert_drawn_again(&run);
    let run = record(Workload::Leaves, &["1"], &["--no-leaf-repair"]);
    // Else this program would show nothing.
    for call in [CALLS[0], CALLS[1], CALLS[3]] {
        let share = whole(&run, &call);
        assert!(share <= 0.01, "{share} of {call:?}\n{}", run.folded());
    }
}

#[test]
fn a_static_programs_stacks_end_where_it_began_however_deep_they_are() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    for (depth, flags) in [
        ("2", &[][..]),
        // Deeper than what is copied of a stack: nothing but the file tells.
        ("90", &[]),
        ("90", &["--call-graph", "auto,1024"]),
    ] {
        let run = record(Workload::Deep, &["0", depth, "1"], flags);
        let of_main = run
            .folded()
            .only(|stack| stack.has_chain(&["descend", "compute"]));
        assert!(of_main.total() > 100, "{}", run.folded());
        let is_whole = |stack: &Stack| {
            let begins = stack.frames.iter().take(3).map(String::as_str);
            begins.eq(["__libc_start_call_main", "main", "descend"])
        };
        let share = of_main.share(is_whole);
        assert!(share >= 0.99, "{share} of {depth} {flags:?}\n{of_main}");
        for wrong in ["[unmapped]", "register_tm_clones"] {
            assert!(!of_main.mentions(wrong), "{depth} {flags:?}\n{of_main}");
        }
        assert_drawn_again(&run);
    }
}

#[test]
fn stacks_without_any_frame_pointer_are_whole_from_copies_of_them() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    for how in ["dwarf,4096", "auto,4096"] {
        let run = record(Workload::LeavesFrameless, &["1.5"], &["--call-graph", how]);
        for [outer, caller, leaf] in CALLS {
            let share = whole(&run, &["main", outer, caller, leaf]);
            assert!(share >= 0.99, "{how}: {share} of {leaf}\n{}", run.folded());
        }
        let cut = run.folded().share(is_cut);
        assert!(cut <= 0.01, "{how}: {cut}\n{}", run.folded());
        assert!(!run.stderr.contains("too many others"), "{}", run.stderr);
        let is_said = run
            .stderr
            .contains("no frame pointers, unwound by call frame information: leaves");
        assert_eq!(is_said, how.starts_with("auto"), "{}", run.stderr);
        assert_drawn_again(&run);
    }
}

#[test]
fn of_a_program_with_frame_pointers_they_are_chosen() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let run = record(Workload::Leaves, &["1.5"], &["--call-graph", "auto"]);
    for call in CALLS {
        let share = whole(&run, &call);
        assert!(share >= 0.99, "{share} of {call:?}\n{}", run.folded());
    }
    assert!(!run.stderr.contains("no frame pointers"), "{}", run.stderr);
}

#[test]
fn an_interpreters_trampolines_are_left_to_who_called_them() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let mut call = vec!["main".to_owned()];
    for at in 0..5 {
        call.extend([
            "evaluate".into(),
            "enter".into(),
            format!("py::f{at}:/app.py_[j]"),
        ]);
    }
    call.extend(["evaluate".into(), "compute".into()]);
    let call: Vec<&str> = call.iter().map(String::as_str).collect();
    for (kind, how) in [
        ("packed", "dwarf"),
        ("aligned", "auto"),
        ("cet", "dwarf"),
        ("packed", "fp"),
    ] {
        let run = record(
            Workload::Trampolines,
            &["0.7", kind],
            &["--call-graph", how],
        );
        let share = whole(&run, &call);
        assert!(share >= 0.99, "{kind}, {how}: {share}\n{}", run.folded());
        assert_drawn_again(&run);
    }
}

#[test]
fn stacks_that_lie_and_tiny_ones_end_and_cost_no_sample() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    for how in ["fp", "auto", "dwarf,65528"] {
        let run = record(Workload::LyingStacks, &["1"], &["--call-graph", how]);
        let folded = run.folded();
        let is_in = |stack: &Stack, name: &str| stack.frames.iter().any(|frame| frame == name);
        let lies = folded.only(|stack| is_in(stack, "lie"));
        assert!(lies.total() > 100, "{how}\n{folded}");
        // As many as are followed, and what a sample has besides: nothing comes back to what it came from.
        let longest = lies.stacks.iter().map(|stack| stack.frames.len()).max();
        assert!(longest <= Some(4096 + 64), "{how}: {longest:?}");
        let small = folded.only(|stack| is_in(stack, "small") && !is_in(stack, "lie"));
        assert!(small.total() > 100, "{how}\n{folded}");
        let whole = small.share(|stack| stack.has_chain(&["start_thread", "small"]));
        assert!(whole >= 0.97, "{how}: {whole}\n{folded}");
        assert_drawn_again(&run);
    }
}

#[test]
fn a_stack_that_is_deeper_than_what_was_taken_of_it_says_so() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    // 127 entries; and some 40 frames of 48 bytes.
    for (depth, flags) in [("300", &[][..]), ("900", &["--call-graph", "dwarf,2048"])] {
        let run = record(Workload::Deep, &["1", depth, "1"], flags);
        let deep = run
            .folded()
            .only(|stack| stack.has_chain(&["descend", "compute"]));
        let is_cut = |stack: &Stack| {
            stack
                .frames
                .first()
                .is_some_and(|name| name == "[truncated stack]")
        };
        assert!(deep.share(is_cut) >= 0.99, "{flags:?}\n{}", run.folded());
        assert_drawn_again(&run);
    }
    // Deep enough to be cut by the copy of the stack, and not by the kernel's walk.
    let run = record(
        Workload::Deep,
        &["1", "90", "1"],
        &["--call-graph", "dwarf,1024"],
    );
    let deep = run
        .folded()
        .only(|stack| stack.has_chain(&["descend", "compute"]));
    let descends = |stack: &Stack| {
        stack
            .frames
            .iter()
            .filter(|name| *name == "descend")
            .count()
    };
    assert!(
        deep.share(|stack| descends(stack) == 91) >= 0.99,
        "{}",
        run.folded()
    );
    assert!(
        !run.folded().mentions("[truncated stack]"),
        "{}",
        run.folded()
    );
}

/// Nothing that is copied of a stack reaches them, but frame pointers do.
#[test]
fn callers_behind_huge_frames_and_on_other_stacks_are_found_by_frame_pointers() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let huge = ["main", "wide", "narrow", "far_spin", "far_leaf"];
    let stacks = [
        "main", "on_stack", "lower", "on_stack", "upper", "far_spin", "far_leaf",
    ];
    for (which, chain) in [("huge", &huge[..]), ("stacks", &stacks[..])] {
        for how in ["fp", "dwarf,65528"] {
            let run = record(Workload::Far, &["0.3", which], &["--call-graph", how]);
            let right = whole(&run, chain);
            assert!(right >= 0.97, "{which}, {how}: {right}\n{}", run.folded());
            let cut = run.folded().share(is_cut);
            assert!(cut < 0.03, "{which}, {how}: {cut}\n{}", run.folded());
            assert_drawn_again(&run);
        }
    }
}

/// Without them they cannot be found: the stack is truncated there, and why is said.
#[test]
fn a_stack_that_no_copy_reaches_the_root_of_says_so() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let flags = ["--call-graph", "dwarf,65528"];
    let run = record(Workload::FarFrameless, &["0.3", "huge"], &flags);
    let chain = [
        "[truncated stack]",
        "wide",
        "narrow",
        "far_spin",
        "far_leaf",
    ];
    let right = whole(&run, &chain);
    assert!(right >= 0.97, "{right}\n{}", run.folded());
    let said = &run.stderr;
    assert!(
        said.contains("whose next caller lies over 64 KiB up, further than any copy reaches"),
        "{said}"
    );
    let run = record(Workload::FarFrameless, &["0.3", "stacks"], &flags);
    let chain = [
        "[truncated stack]",
        "on_stack",
        "upper",
        "far_spin",
        "far_leaf",
    ];
    let right = whole(&run, &chain);
    assert!(right >= 0.97, "{right}\n{}", run.folded());
}
