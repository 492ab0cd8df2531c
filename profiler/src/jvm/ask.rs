//! The asking side: starts a worker, and waits no longer than it was told to.

use super::worker::{Request, Timeouts};
use super::{Jvm, JvmError, MapFile};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Largest answer of a worker that is read: the largest of a JVM, with each byte escaped.
const ANSWER_LIMIT_BYTES: u64 = 8 << 20;
/// A worker ends by itself in time, unless a file system keeps it waiting.
const GRACE: Duration = Duration::from_secs(2);

/// Asks JVMs, each through a short-lived process.
#[derive(Clone, Debug)]
pub struct Asker {
    program: OsString,
    args: Vec<OsString>,
    timeouts: Timeouts,
}

impl Asker {
    /// `program` with `args` runs [`super::worker::serve`] on its standard input and output.
    pub fn new(
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            timeouts: Timeouts::default(),
        }
    }

    /// The answer of a JVM to a diagnostic command, as `jcmd PID COMMAND` prints it. Waits at most some
    /// twenty seconds.
    pub fn ask(&self, jvm: &Jvm, command: &str) -> Result<String, JvmError> {
        // Said here already: most JVMs that cannot be asked cost no process.
        jvm.check()?;
        let request = Request {
            pid: jvm.pid.0,
            start_ticks: jvm.start_ticks,
            command: command.to_owned(),
            timeouts: self.timeouts,
        };
        let request = serde_json::to_vec(&request)
            .map_err(|error| JvmError::system("cannot write the request", error))?;
        let mut child = self
            .start()
            .map_err(|error| JvmError::system("cannot start the process that asks it", error))?;
        let answer = exchange(&mut child, &request, self.timeouts.total() + GRACE);
        if answer.is_none() {
            let _ = child.kill();
        }
        reap(child);
        let answer = answer.ok_or(JvmError::TimedOut(self.timeouts.total().as_secs()))?;
        serde_json::from_slice(&answer)
            .unwrap_or_else(|_| Err(JvmError::system("the process that asks it", "no answer")))
    }

    /// Has a JVM write its map, where that does it no harm.
    pub fn write_map(&self, jvm: &Jvm) -> Result<MapFile, JvmError> {
        let map = MapFile::of(jvm)?;
        self.ask(jvm, "Compiler.perfmap")?;
        // Success is all that a JVM says, also when it could not.
        if map.is_new() {
            Ok(map)
        } else {
            Err(JvmError::NotWritten(map.path()))
        }
    }

    /// Out of our process group: a Ctrl-C is for us, and the worker has to clean up.
    fn start(&self) -> std::io::Result<Child> {
        Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
    }
}

/// Collects a child that has ended, or is about to. A killed one that a file system keeps is left to a thread.
fn reap(mut child: Child) {
    let until = Instant::now() + Duration::from_secs(1);
    while Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let wait = move || child.wait();
    // Without the thread it stays a zombie until we end.
    let _ = std::thread::Builder::new()
        .name("jvm-reap".into())
        .spawn(wait);
}

/// What the child writes until its end; `None` if that does not come in time.
fn exchange(child: &mut Child, request: &[u8], within: Duration) -> Option<Vec<u8>> {
    let (mut stdin, stdout) = (child.stdin.take()?, child.stdout.take()?);
    // A child that ended early is seen at its output.
    let _ = stdin.write_all(request);
    drop(stdin);
    let (sender, receiver) = channel();
    let read = move || {
        let mut answer = Vec::new();
        let _ = stdout.take(ANSWER_LIMIT_BYTES).read_to_end(&mut answer);
        let _ = sender.send(answer);
    };
    std::thread::Builder::new()
        .name("jvm-answer".into())
        .spawn(read)
        .ok()?;
    receiver.recv_timeout(within).ok()
}
