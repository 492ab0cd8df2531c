//! A node in a container is named by the map that it writes itself, under its pid there.

mod support;

use std::path::Path;

use support::container::Builder;
use support::ctrflame::Ctrflame;
use support::{Need, needs, which};

#[test]
fn javascript_in_a_container_is_named_by_the_map_under_its_pid_there() {
    let Some(host) = needs(Need::Node) else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/workloads/burn.js");
    let node = which("node").expect("needs(Need::Node) looked");
    let args = ["--perf-basic-prof", "--interpreted-frames-native-stack"];
    let args = ["/app/node", args[0], args[1], "/app/burn.js", "60"];
    let container = Builder::new(&host, &args)
        .host_libraries()
        .file(
            "/app/node",
            std::fs::canonicalize(node).expect("it is there"),
        )
        .file("/app/burn.js", script)
        .start();
    container.wait_for_line("burning", std::time::Duration::from_secs(30));
    let run = Ctrflame::record(["-G", container.id(), "-F", "499", "--duration", "2s"]);
    let run = run.run().expect_code(0);
    let folded = run.folded().comm("node");
    let named = folded.share(|stack| {
        let is_ours = |name: &str, frame: &str| {
            frame.contains(name) && frame.contains("/app/burn.js") && frame.ends_with("_[j]")
        };
        let of = |name| stack.frames.iter().position(|frame| is_ours(name, frame));
        of("burnTop")
            .zip(of("burnFib"))
            .is_some_and(|(top, fib)| top < fib)
    });
    assert!(named >= 0.95, "{named}\n{folded}");
    assert!(container.inside("/tmp/perf-1.map").exists());
}
