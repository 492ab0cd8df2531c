//! A container may write anything it likes; a profiler that runs as root must not wait for it, believe it or read the host for it.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use support::container::{Builder, Container};
use support::ctrflame::{Ctrflame, Finished};
use support::svg::Svg;
use support::workloads::{HUGE_SYMBOL_BYTES, Workload, patch_symbol};
use support::{Host, Need, needs};

/// A recording of two seconds must be done by then, whatever the container has put into its way.
const LIMIT: Duration = Duration::from_secs(30);

fn record(container: &Container) -> Finished {
    let run = Ctrflame::record(["-G", container.id(), "-F", "999", "--duration", "2s"])
        .run()
        .expect_code(0);
    assert!(run.elapsed < LIMIT, "took {:?}", run.elapsed);
    let folded = run.folded();
    assert!(folded.total() >= 20, "{folded}\n{}", run.stderr);
    assert_eq!(
        folded.container(&container.tag()).total(),
        folded.total(),
        "{folded}"
    );
    run
}

/// `jitlike` behind a shell that first puts something in the place of its perf map.
fn jitlike_after<'a>(host: &'a Host, prepare: &str) -> Builder<'a> {
    let script = format!("{prepare} && exec /app/jitlike 60 no-map");
    Builder::new(host, &["/bin/sh", "-c", &script])
        .file("/app/jitlike", Workload::JitLike.build())
        .busybox()
}

/// The samples are there, in frames that say that they have no name.
fn assert_jit_code_is_unnamed(run: &Finished) {
    let jit = run.folded().comm("jitlike");
    let unnamed = jit.share(|stack| {
        stack
            .frames
            .iter()
            .any(|frame| frame.starts_with('[') && frame.contains("jit"))
    });
    assert!(unnamed >= 0.98, "{unnamed}\n{jit}");
    assert!(!jit.mentions("jit_inner"), "{jit}");
}

#[test]
fn a_perf_map_that_is_a_fifo_is_not_waited_for() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = jitlike_after(&host, "mkfifo /tmp/perf-1.map").start();
    container.wait_for_program("/app/jitlike");
    assert_jit_code_is_unnamed(&record(&container));
}

#[test]
fn a_perf_map_that_links_to_a_file_of_the_host_is_not_followed() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    // A map of the same code, at a path that means something on the host only.
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let secret = dir.path().join("secret.map");
    let map = "200000000000 b host_secret_outer\n200000000100 20 host_secret_inner\n";
    fs::write(&secret, map).expect("ours");
    for target in [secret.to_string_lossy().as_ref(), "/etc/shadow"] {
        let prepare = format!("ln -s {target} /tmp/perf-1.map");
        let container = jitlike_after(&host, &prepare).start();
        container.wait_for_program("/app/jitlike");
        let run = record(&container);
        assert_jit_code_is_unnamed(&run);
        assert_nothing_of_the_host_in(&run);
    }
}

/// Neither the secret map's names nor a line of `/etc/shadow` is in anything that was written.
fn assert_nothing_of_the_host_in(run: &Finished) {
    let shadow = fs::read_to_string("/etc/shadow").expect("root reads it");
    let accounts: Vec<&str> = shadow
        .lines()
        .filter_map(|line| line.split_once(':').map(|(_, rest)| rest))
        .filter(|rest| rest.len() > 8)
        .collect();
    assert!(
        !accounts.is_empty(),
        "/etc/shadow is empty: nothing to look for"
    );
    for text in [
        &run.read("out.folded"),
        &run.svg().text,
        &run.stderr,
        &run.stdout,
    ] {
        assert!(!text.contains("host_secret"), "{text}");
        for account in &accounts {
            assert!(!text.contains(account), "a line of /etc/shadow in {text}");
        }
    }
}

#[test]
fn a_perf_map_of_10_gib_is_not_read() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = jitlike_after(&host, "truncate -s 10G /tmp/perf-1.map").start();
    container.wait_for_program("/app/jitlike");
    assert_jit_code_is_unnamed(&record(&container));
}

#[test]
fn a_program_that_was_replaced_by_a_link_to_the_hosts_keeps_its_own_names() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/hot", "60"])
        .file("/app/hot", Workload::HotA.build())
        .start();
    container.wait_for_program("/app/hot");
    // /proc/PID/root/app/hot now leads a careless reader to a file of the host with other names at the same addresses.
    let inside = container.rootfs().join("app/hot");
    fs::remove_file(&inside).expect("our rootfs");
    symlink(Workload::HotB.build(), &inside).expect("our rootfs");
    let run = record(&container);
    let folded = run.folded();
    assert!(!folded.mentions("beta_"), "{folded}");
    let named = folded.share(|stack| stack.has_chain(&["main", "alpha_outer", "alpha_inner"]));
    assert!(named >= 0.95, "{named}\n{folded}");
}

#[test]
fn a_symbol_name_of_1_mb_is_drawn_short() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let container = Builder::new(&host, &["/app/huge", "60"])
        .file("/app/huge", Workload::HugeSymbol.build())
        .start();
    let run = record(&container);
    let folded = run.folded();
    let in_huge = folded.share(|stack| {
        stack
            .user_leaf()
            .is_some_and(|leaf| leaf.starts_with("hhhh"))
    });
    let longest = folded
        .stacks
        .iter()
        .flat_map(|stack| &stack.frames)
        .map(String::len)
        .max();
    assert!(
        longest < Some(HUGE_SYMBOL_BYTES / 10),
        "{longest:?} bytes in one frame"
    );
    assert!(
        in_huge >= 0.95,
        "{in_huge} in the function with the long name"
    );
    let svg = run.svg();
    assert!(
        svg.text.len() < HUGE_SYMBOL_BYTES,
        "{} bytes of SVG",
        svg.text.len()
    );
}

/// The picture's own scripts are the only ones, and nothing of `planted` got into them.
fn assert_no_script_was_planted(svg: &Svg, planted: &str) {
    assert!(
        !svg.text.contains("<script>alert") && !svg.text.contains("</script><scri"),
        "markup of the container's in the picture"
    );
    for script in &svg.scripts {
        assert!(!script.contains(planted), "{planted:?} in a script");
    }
}

#[test]
fn markup_in_a_thread_name_stays_a_name() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    for name in ["</script><scri", "a;b\n\"'&\x1b[2J"] {
        let container = Builder::new(&host, &["/app/comm", "60", name])
            .file("/app/comm", Workload::Comm.build())
            .start();
        let run = record(&container);
        let folded = run.folded();
        let loops = folded.share(|stack| stack.has_chain(&["main", "comm_loop"]));
        assert!(loops >= 0.95, "{name:?}: {loops}\n{folded}");
        assert!(
            !run.read("out.folded").contains('\x1b'),
            "an escape sequence in folded text"
        );
        assert!(
            !run.stderr.contains('\x1b'),
            "an escape sequence on the terminal"
        );
        assert_no_script_was_planted(&run.svg(), "scri");
    }
}

#[test]
fn markup_and_separators_in_symbol_names_stay_names() {
    let Some(host) = needs(Need::Containers) else {
        return;
    };
    let mut program = fs::read(Workload::OddSymbols.build()).expect("just built");
    let slot = |name: &str| format!("{name:_<48}").into_bytes();
    // Slots are followed by a zero byte, so 47 bytes are the most.
    patch_symbol(
        &mut program,
        &slot("slot_leaf_"),
        b"</script><script>alert(1)</script>;x\n]]>\x1b[2J\xff",
    );
    patch_symbol(
        &mut program,
        &slot("slot_caller_"),
        b"caller;fake 99\n\x01\" onload=\"alert(1) 1 ",
    );
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let patched = dir.path().join("odd");
    fs::copy(Workload::OddSymbols.build(), &patched).expect("ours");
    fs::write(&patched, program).expect("ours");
    let container = Builder::new(&host, &["/app/odd", "60"])
        .file("/app/odd", &patched)
        .start();
    let run = record(&container);
    let folded = run.folded();
    assert_eq!(folded.total(), run.closing_samples(), "{folded}");
    // One frame each: no separator of the names has become one of the format.
    let nested = folded.share(|stack| {
        stack.frames.windows(3).any(|frames| {
            frames[0] == "main" && frames[1].starts_with("caller") && frames[2].contains("alert(1)")
        })
    });
    assert!(nested >= 0.95, "{nested}\n{folded}");
    for control in ['\x1b', '\x01'] {
        assert!(
            !run.read("out.folded").contains(control),
            "{control:?} in folded text"
        );
    }
    assert_no_script_was_planted(&run.svg(), "alert(1)");
}
