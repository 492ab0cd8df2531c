//! Work that a target can hold up for ever, given up at a deadline.

use super::FileError;
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// Runs `job` on a thread of its own and gives up after `deadline`. `what` names the job in the
/// error. A job that waits for a file system whose server never answers cannot be woken: its thread
/// stays behind, holding what the job holds, until the server or this program ends. Whoever gets
/// [`FileError::TimedOut`] should not ask the same target again.
pub fn within<T: Send + 'static>(
    deadline: Duration,
    what: impl Into<String>,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FileError> {
    let what = what.into();
    let (answer, answered) = sync_channel(1);
    let worker = thread::Builder::new()
        .name("target-files".into())
        .spawn(move || {
            // Nobody is left to tell when the deadline has passed.
            let _ = answer.send(job());
        })
        .map_err(|source| FileError::Io {
            path: (&what).into(),
            source,
        })?;
    match answered.recv_timeout(deadline) {
        Ok(value) => Ok(value),
        Err(RecvTimeoutError::Timeout) => Err(FileError::TimedOut { what, deadline }),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => unreachable!("the job sent its answer or panicked"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn an_answer_in_time_is_handed_on() {
        let answer = within(Duration::from_secs(60), "adding", || 2 + 2);
        assert_eq!(answer.expect("in time"), 4);
    }

    #[test]
    fn a_pipe_nobody_writes_to_is_given_up_at_the_deadline() {
        let dir = tempfile::tempdir().expect("a directory");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let blocked = fifo.clone();
        let begun = Instant::now();
        let error = within(Duration::from_millis(50), "opening a pipe", move || {
            std::fs::File::open(blocked).map(drop)
        })
        .expect_err("nobody writes");
        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert_eq!(error.to_string(), "no answer within 50 ms: opening a pipe");
        // A writer lets the thread that was left behind end.
        std::fs::OpenOptions::new()
            .write(true)
            .open(&fifo)
            .expect("the blocked reader is there");
    }

    #[test]
    #[should_panic(expected = "a bug of ours")]
    fn a_panic_is_not_hidden() {
        let _ = within(Duration::from_secs(60), "panicking", || {
            panic!("a bug of ours")
        });
    }
}
