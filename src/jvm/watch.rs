//! JVMs that are sampled are asked for the names of their code: when they are first seen, from time to
//! time, and in the end. What was compiled and thrown away in between is in one of the maps.
//!
//! A thread of its own learns from the sampling one who was sampled and who has mapped `libjvm.so`; each
//! JVM then has a thread, which mostly sleeps: one that does not answer keeps no other one waiting.

use super::asker;
use super::found::tag_of;
use crate::target::Host;
use profiler::HostPid;
use profiler::files::FileError;
use profiler::jvm::{Flags, Jvm, JvmError};
use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use symbolizer::{CodeSnapshot, ProcessNews};

/// The name of HotSpot's library.
pub(crate) const LIBRARY: &str = "/libjvm.so";

/// Until a JVM that is starting is looked at again.
const STARTING: Duration = Duration::from_millis(250);
/// How long a JVM is left alone at first: it may be one that has just begun, and will not live long. Each
/// time after that is twice as long, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What the sampling thread tells.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    /// A process was sampled, and is wanted.
    Sampled(HostPid),
    /// A process has mapped the library, or has ended.
    Of(ProcessNews),
    /// The recording is over.
    End,
}

/// What became of asking one JVM.
pub(crate) struct Asked {
    pub(crate) pid: HostPid,
    pub(crate) tag: String,
    /// Its code, as far as it told.
    pub(crate) code: Option<CodeSnapshot>,
    /// Why it did not tell all.
    pub(crate) error: Option<AskError>,
    /// `None` where it did not say.
    pub(crate) has_frame_pointers: Option<bool>,
}

/// Why a JVM's code has no names, or not all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Jvm(#[from] JvmError),
    #[error("its map cannot be read: {0}")]
    Map(#[from] FileError),
}

/// Asks the JVMs of a recording.
pub(crate) struct JvmWatch {
    tell: Sender<Seen>,
    thread: JoinHandle<Vec<Asked>>,
}

impl JvmWatch {
    /// `interval`: how long a JVM is left alone.
    pub(crate) fn start(interval: Duration) -> io::Result<Self> {
        let (tell, told) = channel();
        let thread = thread::Builder::new()
            .name("jvms".into())
            .spawn(move || watch(&told, interval))?;
        Ok(Self { tell, thread })
    }

    /// The telling side, for the thread that samples: never waits.
    pub(crate) fn teller(&self) -> Sender<Seen> {
        self.tell.clone()
    }

    /// Asks all once more; what they told.
    pub(crate) fn finish(self) -> Vec<Asked> {
        // The other side lives until it is told.
        let _ = self.tell.send(Seen::End);
        // A panic there loses names, not samples.
        self.thread.join().unwrap_or_default()
    }
}

/// A JVM's thread, and what ends it when it is dropped.
type Follower = (Sender<()>, JoinHandle<Asked>);

/// The living processes that may be JVMs to ask.
#[derive(Default)]
struct Candidates {
    sampled: HashSet<HostPid>,
    mapped: HashSet<HostPid>,
}

impl Candidates {
    /// The process, once it is both.
    fn take_note(&mut self, seen: Seen) -> Option<HostPid> {
        let pid = match seen {
            Seen::Sampled(pid) => {
                self.sampled.insert(pid);
                pid
            }
            Seen::Of(ProcessNews::Mapped(pid)) => {
                self.mapped.insert(pid);
                pid
            }
            Seen::Of(ProcessNews::Exited(pid)) => {
                // Whoever has its pid next is another one.
                self.sampled.remove(&pid);
                self.mapped.remove(&pid);
                return None;
            }
            Seen::End => return None,
        };
        (self.sampled.contains(&pid) && self.mapped.contains(&pid)).then_some(pid)
    }
}

fn watch(told: &Receiver<Seen>, interval: Duration) -> Vec<Asked> {
    let mut candidates = Candidates::default();
    let mut known: HashSet<Jvm> = HashSet::new();
    let mut followers: Vec<Follower> = Vec::new();
    let mut host = None;
    for seen in told {
        if matches!(seen, Seen::End) {
            break;
        }
        let Some(pid) = candidates.take_note(seen) else {
            continue;
        };
        let Some(jvm) = Jvm::look(pid).filter(|jvm| known.insert(*jvm)) else {
            continue;
        };
        let host: &Option<Host> = host.get_or_insert_with(|| Host::look().ok());
        let tag = tag_of(pid, host.as_ref());
        let (end, ended) = channel();
        let follow = move || follow(jvm, tag, interval, &ended);
        // Without the thread its code stays unnamed, which the picture says.
        if let Ok(thread) = thread::Builder::new().name("jvm".into()).spawn(follow) {
            followers.push((end, thread));
        }
    }
    let threads: Vec<_> = followers.into_iter().map(|(_, thread)| thread).collect();
    let asked = threads.into_iter().map(JoinHandle::join);
    asked.filter_map(Result::ok).collect()
}

/// Asks one JVM until the end, or until it will not answer.
fn follow(jvm: Jvm, tag: String, interval: Duration, ended: &Receiver<()>) -> Asked {
    let mut asked = Asked {
        pid: jvm.pid,
        tag,
        code: None,
        error: None,
        has_frame_pointers: None,
    };
    let mut pause = FIRST_PAUSE.min(interval);
    loop {
        asked.error = ask(&jvm, &mut asked).err();
        let is_last = match asked.error.as_ref().map(What::next) {
            None => {
                let is_last = wait(ended, pause);
                pause = pause.saturating_mul(2).min(interval);
                is_last
            }
            Some(What::AskSoon) => wait(ended, STARTING),
            Some(What::AskLater) => wait(ended, interval),
            Some(What::LeaveIt) => break,
        };
        if Jvm::look(jvm.pid) != Some(jvm) {
            // It has ended, or has become another program: what it told is all there is.
            asked.error = Some(JvmError::Gone.into());
            break;
        }
        if is_last {
            // It has had its time.
            if !matches!(asked.error, Some(AskError::Jvm(JvmError::TimedOut(_)))) {
                asked.error = ask(&jvm, &mut asked).err();
            }
            break;
        }
    }
    if asked.code.is_some() && matches!(asked.error, Some(AskError::Jvm(JvmError::Gone))) {
        // It told what it could.
        asked.error = None;
    }
    asked
}

/// What to do with a JVM that did not tell.
enum What {
    AskSoon,
    AskLater,
    LeaveIt,
}

impl What {
    fn next(error: &AskError) -> Self {
        match error {
            AskError::Jvm(
                JvmError::NotRunning
                | JvmError::WouldDie {
                    reduced_signals: false,
                },
            ) => Self::AskSoon,
            // Nothing was sent to it, or it listens.
            AskError::Jvm(JvmError::Stopped(_) | JvmError::TimedOut(_)) => Self::AskLater,
            _ => Self::LeaveIt,
        }
    }
}

/// Whether the end came first.
fn wait(ended: &Receiver<()>, time: Duration) -> bool {
    ended.recv_timeout(time) != Err(RecvTimeoutError::Timeout)
}

fn ask(jvm: &Jvm, asked: &mut Asked) -> Result<(), AskError> {
    let asker = asker();
    if asked.has_frame_pointers.is_none() {
        let flags = asker.ask(jvm, "VM.flags")?;
        asked.has_frame_pointers = Some(Flags::parse(&flags).is_on("PreserveFramePointer"));
    }
    let map_file = asker.write_map(jvm)?;
    let code = CodeSnapshot::take(jvm.pid);
    map_file.remove_ours();
    let code = code?;
    asked.code = Some(match asked.code.take() {
        Some(older) => code.over(older),
        None => code,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_forgotten_with_its_process() {
        let pid = HostPid(7);
        let (sampled, mapped) = (Seen::Sampled(pid), Seen::Of(ProcessNews::Mapped(pid)));
        let mut candidates = Candidates::default();
        assert_eq!(candidates.take_note(sampled), None);
        assert_eq!(candidates.take_note(mapped), Some(pid));
        assert_eq!(
            candidates.take_note(Seen::Of(ProcessNews::Exited(pid))),
            None
        );
        // Of another process, which nobody wants.
        assert_eq!(candidates.take_note(mapped), None);
        for other in 0..10_000 {
            candidates.take_note(Seen::Sampled(HostPid(other)));
            candidates.take_note(Seen::Of(ProcessNews::Exited(HostPid(other))));
        }
        assert!(candidates.sampled.is_empty() && candidates.mapped.is_empty());
    }
}
