//! What the integration tests stand on: containers, workloads, a runner for the binary, readers of what it wrote.

// Every test binary compiles this module and uses its own part of it.
#![allow(dead_code)]

pub(crate) mod cgroups;
pub(crate) mod container;
pub(crate) mod ctrflame;
pub(crate) mod docker;
pub(crate) mod folded;
pub(crate) mod gates;
pub(crate) mod java;
pub(crate) mod oci;
pub(crate) mod svg;
pub(crate) mod workloads;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

/// What a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Real root: uid 0 that may open a system-wide perf event.
    Root,
    /// Root, `runc`, a static `busybox`, and `gcc` to build the programs that run in the containers.
    Containers,
    /// Everything of [`Need::Containers`], and `dockerd` with its client.
    Docker,
    /// Everything of [`Need::Containers`], and a JDK.
    Java,
    /// Everything of [`Need::Containers`], and `node`.
    Node,
    /// Root, and `perf` to record with: what it records of living processes cannot be kept in a file.
    Perf,
}

impl Need {
    /// The word for it in `CTRFLAME_REQUIRE`.
    fn word(self) -> &'static str {
        match self {
            Need::Root => "root",
            Need::Containers => "containers",
            Need::Docker => "docker",
            Need::Java => "java",
            Need::Node => "node",
            Need::Perf => "perf",
        }
    }

    /// What is missing here, `None` if nothing is.
    fn missing(self) -> Option<String> {
        let programs: &[&str] = match self {
            Need::Root => &["gcc"],
            Need::Containers => &["gcc", "runc", "busybox"],
            Need::Docker => &["gcc", "runc", "busybox", "dockerd", "docker", "tar"],
            Need::Java => &["gcc", "runc", "busybox", "javac"],
            Need::Node => &["gcc", "runc", "busybox", "node"],
            Need::Perf => &["gcc", "perf"],
        };
        if !nix::unistd::geteuid().is_root() {
            return Some("not root".to_owned());
        }
        if !gates::has_capability(gates::CAP_SYS_ADMIN) {
            return Some("root without CAP_SYS_ADMIN, as in a container".to_owned());
        }
        let absent = programs.iter().find(|program| which(program).is_none())?;
        Some(format!("no `{absent}` in PATH"))
    }
}

/// The machine, ours alone for as long as this value lives: tests that start containers, count samples or change
/// a sysctl run one at a time, across threads, test binaries and checkouts.
pub(crate) struct Host {
    _alone: Flock<File>,
    lab: PathBuf,
}

impl Host {
    /// Directory for bundles and runc's state; below `target/`.
    pub(crate) fn lab(&self) -> &Path {
        &self.lab
    }

    /// Number of CPUs that this process may run on.
    pub(crate) fn cpus(&self) -> usize {
        thread::available_parallelism()
            .expect("the kernel tells the affinity mask")
            .get()
    }
}

/// The machine, or `None` if it lacks what `need` says; the reason goes straight to standard error, because libtest
/// hides what a passing test prints with `eprintln!`. Panics instead if `CTRFLAME_REQUIRE` (a comma-separated
/// list of `root`, `containers`, `docker`, `java` …) holds the need.
pub(crate) fn needs(need: Need) -> Option<Host> {
    if let Some(reason) = need.missing() {
        let required = std::env::var("CTRFLAME_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|word| word.trim() == need.word()),
            "CTRFLAME_REQUIRE={required}, but {reason}"
        );
        let test = thread::current().name().unwrap_or("a test").to_owned();
        say_skipped(&format!("skipped: {test} needs {need:?}: {reason}\n"));
        return None;
    }
    let path = std::env::temp_dir().join("ctrflame-tests.lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("open {}: {error}", path.display()));
    let alone = Flock::lock(file, FlockArg::LockExclusive)
        .unwrap_or_else(|(_, error)| panic!("lock {}: {error}", path.display()));
    let lab = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab");
    fs::create_dir_all(&lab).expect("target/ is writable");
    let host = Host { _alone: alone, lab };
    container::sweep(&host);
    Some(host)
}

/// To standard error, and to the file that `CTRFLAME_SKIP_LOG` names: nextest shows no output of passing tests, so
/// scripts/test collects these lines.
fn say_skipped(line: &str) {
    let _ = io::stderr().write_all(line.as_bytes());
    if let Some(log) = std::env::var_os("CTRFLAME_SKIP_LOG") {
        let log = OpenOptions::new().create(true).append(true).open(log);
        let _ = log.and_then(|mut log| log.write_all(line.as_bytes()));
    }
}

/// Asks again every 10 ms until `condition` gives a value; panics with `what` when `limit` has passed.
pub(crate) fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Where the shell would find `program`, looking into the sbin directories too.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// `bytes` random bytes as lower-case hexadecimal: ids of containers.
pub(crate) fn random_hex(bytes: usize) -> String {
    use std::io::Read;
    let mut random = vec![0; bytes];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .expect("/dev/urandom has bytes for everybody");
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line straight to standard error: for clean-up that failed inside `drop`, where a panic would hide the first one.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(io::stderr(), "warning: {line}");
}

/// The recordings that the project has.
pub(crate) fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/recordings")
}
