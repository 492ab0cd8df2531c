//! JVMs in containers: a JDK of the host, mounted where the host has none, and Java programs of `samples/workloads`.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::container::{Builder, Container, is_running};
use super::{Host, wait_until, which};

/// Known code, and JVMs that start fast and stay small.
const FLAGS: [&str; 5] = [
    "-Xmx64m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:CompileCommand=quiet",
    "-XX:CompileCommand=dontinline,Burn::*",
];

/// With frame pointers, so that whole stacks can be walked.
pub(crate) const FRAME_POINTERS: &str = "-XX:+PreserveFramePointer";

/// The directory of the JDK whose `javac` is in PATH.
pub(crate) fn jdk() -> PathBuf {
    let javac = which("javac").expect("needs(Need::Java) looked");
    let javac = fs::canonicalize(javac).expect("it is there");
    let home = javac.parent().and_then(Path::parent);
    home.expect("javac is in its JDK's bin").to_owned()
}

/// The directory with the classes of `samples/workloads/Burn.java`, compiled if they are not there yet.
pub(crate) fn classes() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/workloads/Burn.java");
    let text = fs::read(&source).expect("it is checked in");
    let mut key = DefaultHasher::new();
    text.hash(&mut key);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workloads");
    fs::create_dir_all(&dir).expect("target/ is writable");
    let built = dir.join(format!("java-{:016x}", key.finish()));
    if built.exists() {
        return built;
    }
    let own = tempfile::tempdir_in(&dir).expect("target/ is writable");
    let done = Command::new(jdk().join("bin/javac"))
        .arg("-d")
        .arg(own.path())
        .arg(&source)
        .output();
    let done = done.expect("javac runs");
    assert!(
        done.status.success(),
        "javac: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    // Another test binary may have been quicker: a directory that is not empty is not replaced.
    let _ = fs::rename(own.keep(), &built);
    built
}

/// A container whose init is a JVM with these flags, in `Burn 60` or as the words after say. `before` is a shell
/// script that runs first, in the same process.
pub(crate) fn burn<'a>(host: &'a Host, before: &str, flags: &[&str], how: &str) -> Builder<'a> {
    let flags: Vec<&str> = FLAGS.iter().chain(flags).copied().collect();
    let script = format!(
        "{before}exec /opt/jdk/bin/java {} -cp /opt/app Burn 60 {how}",
        flags.join(" ")
    );
    let builder = Builder::new(host, &["/bin/sh", "-c", &script])
        .busybox()
        .host_libraries()
        .bind(jdk(), "/opt/jdk")
        .bind(classes(), "/opt/app");
    // Debian's JDK has its configuration there, by links.
    match Path::new("/etc/java-17-openjdk").is_dir() {
        true => builder.bind("/etc/java-17-openjdk", "/etc/java-17-openjdk"),
        false => builder,
    }
}

/// Waits until the program of a JVM runs.
pub(crate) fn wait_until_burning(container: &Container) {
    wait_until("a JVM to burn", Duration::from_secs(30), || {
        let log = container.log();
        assert!(is_running(container.pid()), "{log}");
        log.contains("burning\n").then_some(())
    });
}
