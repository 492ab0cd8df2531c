//! Runs the binary as a user would, in a directory of its own and with a deadline, and collects all it gives back.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::folded::Folded;
use super::gates::{self, Gate};
use super::svg::Svg;
use super::{container::is_running, wait_until};

/// Longest that any run may take; a test that records does so for a few seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// A command line that has not been run yet.
pub(crate) struct Ctrflame {
    args: Vec<std::ffi::OsString>,
    gates: Vec<Gate>,
    env: Vec<(&'static str, std::ffi::OsString)>,
}

impl Ctrflame {
    /// `ctrflame` with these arguments, word by word.
    pub(crate) fn new<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        Self {
            args: args.collect(),
            gates: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Another home directory, where perf keeps its cache.
    pub(crate) fn home(mut self, home: &Path) -> Self {
        self.env.push(("HOME", home.into()));
        self
    }

    /// A variable of its environment.
    pub(crate) fn env(mut self, name: &'static str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name, value.as_ref().to_owned()));
        self
    }

    /// `ctrflame record -o out.svg -o out.folded` with these arguments after it.
    pub(crate) fn record<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        let outputs = ["record", "-o", "out.svg", "-o", "out.folded"];
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        Self::new(outputs.iter().map(Into::into).chain(args))
    }

    /// Runs `convert` on a file, into `out.svg` and `out.folded`.
    pub(crate) fn convert(file: &Path, more: &[&str]) -> Finished {
        let file = file.to_str().expect("our own paths are text");
        Self::new(["convert", file, "-o", "out.svg", "-o", "out.folded"])
            .args(more.iter().copied())
            .run()
    }

    /// More arguments, after all others.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Takes a right away from it.
    pub(crate) fn behind(mut self, gate: Gate) -> Self {
        self.gates.push(gate);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Finished {
        self.start().wait()
    }

    /// Starts it.
    pub(crate) fn start(self) -> Running {
        let dir = tempfile::Builder::new().prefix("ctrflame-test-").tempdir();
        let dir = dir.expect("the temporary directory is writable");
        // The checkout may be closed to other users: they get a copy of the binary.
        let mut binary = PathBuf::from(env!("CARGO_BIN_EXE_ctrflame"));
        let logs = dir.path().join("logs");
        let cwd = dir.path().join("cwd");
        for made in [&logs, &cwd] {
            fs::create_dir(made).expect("a new directory");
        }
        if !self.gates.is_empty() {
            let copy = dir.path().join("ctrflame");
            fs::copy(&binary, &copy).expect("room for a copy");
            binary = copy;
            for (path, mode) in [(dir.path(), 0o755), (&cwd, 0o777)] {
                fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
            }
        }
        let output = |name| File::create(logs.join(name)).expect("a new file");
        let mut command = Command::new(binary);
        command
            .args(&self.args)
            .current_dir(&cwd)
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"));
        for (name, value) in &self.env {
            command.env(name, value);
        }
        for &gate in &self.gates {
            gates::close(gate, &mut command);
        }
        Running {
            child: command
                .spawn()
                .expect("the binary was built with the tests"),
            started: Instant::now(),
            dir: Some(dir),
        }
    }
}

/// A run that has not ended. Dropping it kills the process.
pub(crate) struct Running {
    child: Child,
    started: Instant,
    dir: Option<TempDir>,
}

impl Running {
    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        let dir = self.dir.as_ref().expect("taken by wait() only");
        read_text(&dir.path().join("logs/stderr"))
    }

    /// Waits until its rings are mapped and its main thread waits for them to fill: sampling is on.
    pub(crate) fn wait_until_sampling(&mut self) -> &mut Self {
        let pid = self.pid();
        let deadline = Instant::now() + DEADLINE;
        let mut quiet = 0;
        while quiet < 3 {
            if let Some(status) = self.child.try_wait().expect("our child") {
                panic!("ended before it sampled: {status}: {}", self.stderr());
            }
            let mapped = fs::read_to_string(format!("/proc/{pid}/maps"))
                .is_ok_and(|maps| maps.contains("anon_inode:[perf_event]"));
            quiet = if mapped && sleeps(pid) { quiet + 1 } else { 0 };
            assert!(Instant::now() < deadline, "not sampling: {}", self.stderr());
            thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Sends `signal` to it, as a terminal or an init system would.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("our child");
    }

    /// Waits for its end; panics, and so kills it, at the deadline.
    pub(crate) fn wait(mut self) -> Finished {
        let left = DEADLINE.saturating_sub(self.started.elapsed());
        let status = wait_until("ctrflame to end", left, || {
            self.child.try_wait().expect("our child")
        });
        let elapsed = self.started.elapsed();
        let dir = self.dir.take().expect("taken here only");
        Finished {
            status,
            elapsed,
            stdout: read_text(&dir.path().join("logs/stdout")),
            stderr: read_text(&dir.path().join("logs/stderr")),
            dir,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if is_running(self.child.id()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A run that has ended, with the directory it ran in.
pub(crate) struct Finished {
    status: ExitStatus,
    /// From start to end.
    pub(crate) elapsed: Duration,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    dir: TempDir,
}

impl Finished {
    /// Exit status as a shell would give it: 128 + number for a signal.
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .or_else(|| self.status.signal().map(|signal| 128 + signal))
            .expect("a process that ended exited or was killed")
    }

    /// Panics with everything it said unless it ended with `code`.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code(),
            code,
            "stderr: {}\nstdout: {}",
            self.stderr,
            self.stdout
        );
        self
    }

    /// The directory it ran in.
    pub(crate) fn cwd(&self) -> PathBuf {
        self.dir.path().join("cwd")
    }

    /// Names of the files it left in that directory, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.cwd())
            .expect("ours")
            .map(|entry| {
                entry
                    .expect("readable")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// `out.folded`, of [`Ctrflame::record`].
    pub(crate) fn folded(&self) -> Folded {
        Folded::parse(&self.read("out.folded"))
    }

    /// `out.svg`, of [`Ctrflame::record`].
    pub(crate) fn svg(&self) -> Svg {
        Svg::parse(self.read("out.svg"))
    }

    /// A file it wrote, which must be UTF-8.
    pub(crate) fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.cwd().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}; stderr: {}", self.stderr));
        String::from_utf8(bytes).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The number in front of ` samples` in the closing line on standard error; digits are grouped by spaces.
    pub(crate) fn closing_samples(&self) -> u64 {
        self.closing_number(" samples")
    }

    /// The number in front of ` lost` in the closing line.
    pub(crate) fn closing_lost(&self) -> u64 {
        self.closing_number(" lost")
    }

    fn closing_number(&self, word: &str) -> u64 {
        let line = self.stderr.lines().rfind(|line| line.contains(" samples"));
        let line = line.unwrap_or_else(|| panic!("no closing line in {:?}", self.stderr));
        line.split('·')
            .find_map(|part| part.split_once(word).map(|(number, _)| number))
            .map(|number| {
                number
                    .chars()
                    .filter(char::is_ascii_digit)
                    .collect::<String>()
            })
            .and_then(|digits| digits.parse().ok())
            .unwrap_or_else(|| panic!("no number before {word:?} in {line:?}"))
    }

    /// Panics unless standard error is an error with a hint, and the status 125: ctrflame's own failure.
    pub(crate) fn expect_failure(self) -> Self {
        let this = self.expect_code(125);
        let mut lines = this.stderr.lines();
        assert!(
            lines.any(|line| line.starts_with("ctrflame: error: ")),
            "no error line in {:?}",
            this.stderr
        );
        assert!(
            lines.any(|line| line.starts_with("hint: ")),
            "no hint after the error in {:?}",
            this.stderr
        );
        this
    }
}

fn read_text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn sleeps(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with('S')))
        .unwrap_or(false)
}
