//! The asking side: starts a worker, and waits no longer than it was told to.

use super::worker::{Request, Timeouts};
use super::{Jvm, JvmError};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Largest answer of a worker that is read.
const ANSWER_LIMIT_BYTES: u64 = 4 << 20;
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
        let _ = child.wait();
        let answer = answer.ok_or(JvmError::TimedOut(self.timeouts.total().as_secs()))?;
        serde_json::from_slice(&answer)
            .unwrap_or_else(|_| Err(JvmError::system("the process that asks it", "no answer")))
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
