//! One question to one JVM, in a process of its own: it takes on the JVM's uid and gid, for these the
//! JVM checks of whom it listens to, and in a user namespace no others mean anything.
//!
//! Everything that needs our privilege is opened before it is given up. Paths of the container are only
//! walked below its root, and nothing that it put there is followed.

use super::reply::text_of;
use super::status::Status;
use super::{Jvm, JvmError};
use crate::HostPid;
use crate::files::TargetRoot;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{
    Gid, Uid, UnlinkatFlags, getegid, geteuid, setgroups, setresgid, setresuid, unlinkat,
};
use rustix::process::{Pid, PidfdFlags, Signal as RawSignal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What to ask whom.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) pid: u32,
    pub(crate) start_ticks: u64,
    pub(crate) command: String,
    pub(crate) timeouts: Timeouts,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Timeouts {
    /// For its socket. A JVM opens it within milliseconds, unless it is in a long pause.
    pub(crate) listen_ms: u64,
    /// For its answer, once connected.
    pub(crate) answer_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            listen_ms: 6_000,
            answer_ms: 15_000,
        }
    }
}

impl Timeouts {
    pub(crate) fn total(self) -> Duration {
        Duration::from_millis(self.listen_ms.saturating_add(self.answer_ms))
    }

    fn listen(self) -> Duration {
        Duration::from_millis(self.listen_ms)
    }
}

/// `/proc/PID/status` has 2 KiB; no line that is looked at is behind that.
const STATUS_LIMIT_BYTES: usize = 16 << 10;
/// Longest answer that is taken of a JVM.
const REPLY_LIMIT_BYTES: u64 = 1 << 20;

/// Reads a request, asks, and writes what came of it. Changes the uid, the gid and the signal mask of
/// the calling process: for one that does nothing else.
pub fn serve(input: impl Read, mut output: impl Write) -> io::Result<()> {
    // Whoever ends us while the trigger file is there would leave it behind.
    let ending = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let ending: SigSet = ending.into_iter().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ending), None)?;
    let request: Request = serde_json::from_reader(input)?;
    serde_json::to_writer(&mut output, &ask(&request))?;
    output.flush()
}

fn ask(request: &Request) -> Result<String, JvmError> {
    let jvm = Jvm::named(HostPid(request.pid), request.start_ticks);
    let target = Target::open(&jvm)?;
    become_user(&target.status)?;
    let stream = target.connect(request.timeouts)?;
    let answer = exchange(stream, &request.command, request.timeouts.answer_ms)?;
    text_of(&request.command, &answer)
}

/// A JVM that may be asked, and all that asking needs.
struct Target<'a> {
    jvm: &'a Jvm,
    status: Status,
    /// Held before its identity was checked: a signal to it reaches nobody else.
    process: OwnedFd,
    /// Open, for /proc may be closed (`hidepid`) to the user that we become.
    status_file: File,
    tmp: Result<OwnedFd, String>,
    cwd: Result<OwnedFd, String>,
}

impl<'a> Target<'a> {
    fn open(jvm: &'a Jvm) -> Result<Self, JvmError> {
        let pid = i32::try_from(jvm.pid.0).ok().and_then(Pid::from_raw);
        let process = pid
            .ok_or(Errno::ESRCH)
            .and_then(|pid| {
                pidfd_open(pid, PidfdFlags::empty())
                    .map_err(|error| Errno::from_raw(error.raw_os_error()))
            })
            .map_err(|errno| match errno {
                Errno::ESRCH => JvmError::Gone,
                errno => JvmError::system("pidfd_open (Linux 5.3 has it)", errno),
            })?;
        let status_file = File::open(format!("/proc/{}/status", jvm.pid.0));
        let status_file = status_file.map_err(|_| JvmError::Gone)?;
        let status = jvm.askable()?;
        let root = TargetRoot::of_process(jvm.pid);
        let tmp = root.and_then(|root| root.open_directory(Path::new("/tmp")));
        let cwd = nix::fcntl::open(
            Path::new(&format!("/proc/{}/cwd", jvm.pid.0)),
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        );
        Ok(Self {
            jvm,
            status,
            process,
            status_file,
            tmp: tmp.map_err(|error| error.to_string()),
            cwd: cwd.map_err(|errno| errno.desc().to_owned()),
        })
    }

    /// A connection to it, once it listens. Tells it to, if it does not.
    fn connect(&self, timeouts: Timeouts) -> Result<UnixStream, JvmError> {
        if let Some(stream) = self.try_connect()? {
            return Ok(stream);
        }
        let _trigger = self.trigger()?;
        // It may have been stopped, or have become another program, while we looked.
        self.status_now()?.survives_sigquit(false)?;
        pidfd_send_signal(&self.process, RawSignal::QUIT)
            .map_err(|error| JvmError::system("cannot send SIGQUIT to it", error))?;
        let until = Instant::now() + timeouts.listen();
        let mut pause = Duration::from_millis(5);
        while Instant::now() < until {
            std::thread::sleep(pause);
            pause = (pause * 3 / 2).min(Duration::from_millis(200));
            if let Some(stream) = self.try_connect()? {
                return Ok(stream);
            }
            if self.has_exited() {
                return Err(JvmError::Gone);
            }
        }
        Err(JvmError::Silent(timeouts.listen_ms / 1000))
    }

    fn status_now(&self) -> Result<Status, JvmError> {
        let mut text = [0; STATUS_LIMIT_BYTES];
        // No such process any more, if not what is expected.
        let len = self
            .status_file
            .read_at(&mut text, 0)
            .map_err(|_| JvmError::Gone)?;
        let text = String::from_utf8_lossy(text.get(..len).unwrap_or_default());
        Status::parse(self.jvm.pid, &text).ok_or(JvmError::Gone)
    }

    /// A pidfd is readable once its process has ended (pidfd_open(2)).
    fn has_exited(&self) -> bool {
        let mut process = [PollFd::new(self.process.as_fd(), PollFlags::POLLIN)];
        poll(&mut process, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// `None` while nobody listens: no socket yet, or one that an earlier process left.
    fn try_connect(&self) -> Result<Option<UnixStream>, JvmError> {
        let Ok(tmp) = &self.tmp else {
            return Ok(None);
        };
        let name = format!(".java_pid{}", self.status.ns_pid.0);
        let held = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let Ok(file) = openat(tmp, name.as_str(), held, Mode::empty()) else {
            return Ok(None);
        };
        let is_its = fstat(&file).is_ok_and(|found| {
            let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
            kind == SFlag::S_IFSOCK && found.st_uid == self.status.uid
        });
        if !is_its {
            return Ok(None);
        }
        let failed = |what: &str, errno: Errno| JvmError::system(what.to_owned(), errno);
        // Neither a listener that takes nobody nor one that is gone may keep us waiting.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let ours = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .map_err(|errno| failed("cannot make a socket", errno))?;
        // By the file that was looked at: its path may be too long for an address, or lead elsewhere by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let address = UnixAddr::new(path.as_str()).map_err(|errno| failed("its socket", errno))?;
        match connect(ours.as_raw_fd(), &address) {
            Ok(()) => {}
            Err(Errno::ECONNREFUSED | Errno::EAGAIN | Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(failed("cannot connect to its socket", errno)),
        }
        let peer = getsockopt(&ours, PeerCredentials)
            .map_err(|errno| failed("cannot see who listens on its socket", errno))?;
        if u32::try_from(peer.pid()).ok() != Some(self.jvm.pid.0) {
            return Err(JvmError::Impostor(peer.pid()));
        }
        let stream = UnixStream::from(ours);
        stream
            .set_nonblocking(false)
            .map_err(|error| JvmError::system("its socket", error))?;
        Ok(Some(stream))
    }

    /// The file that makes it listen when SIGQUIT comes, in the place that it looks at second: the first
    /// is its working directory, where a file may disturb a program. That is taken where something else has
    /// the file's name; a /tmp that takes no file takes no socket either.
    fn trigger(&self) -> Result<Trigger<'_>, JvmError> {
        let name = format!(".attach_pid{}", self.status.ns_pid.0);
        let make = |dir: &'_ OwnedFd| self.make_trigger(dir.as_fd(), &name);
        let tmp = self
            .tmp
            .as_ref()
            .map_err(|reason| JvmError::NoPlace(reason.clone()))?;
        let (dir, is_ours) = match make(tmp) {
            Ok(is_ours) => (tmp, is_ours),
            Err(Errno::EEXIST) => {
                let in_the_way = |reason: &str| {
                    JvmError::NoPlace(format!(
                        "something else is {name} there; its working directory: {reason}"
                    ))
                };
                let cwd = self.cwd.as_ref().map_err(|reason| in_the_way(reason))?;
                (cwd, make(cwd).map_err(|errno| in_the_way(errno.desc()))?)
            }
            Err(errno) => return Err(JvmError::NoPlace(errno.desc().to_owned())),
        };
        Ok(Trigger {
            dir: dir.as_fd(),
            name,
            is_ours,
        })
    }

    /// Whether the file was made: one that an earlier attempt left does as well, if it is of a user that
    /// the JVM listens to (`AttachListener::is_init_trigger` follows links).
    fn make_trigger(&self, dir: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
        let flags =
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(_) => Ok(true),
            Err(Errno::EEXIST) => {
                let held = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let found = fstat(openat(dir, name, held, Mode::empty())?)?;
                let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
                if found.st_uid == self.status.uid && kind != SFlag::S_IFLNK {
                    Ok(false)
                } else {
                    Err(Errno::EEXIST)
                }
            }
            Err(errno) => Err(errno),
        }
    }
}

/// The trigger file; removed when it is dropped, if we made it.
struct Trigger<'a> {
    dir: BorrowedFd<'a>,
    name: String,
    is_ours: bool,
}

impl Drop for Trigger<'_> {
    fn drop(&mut self) {
        if self.is_ours {
            // Its container may have removed it.
            let _ = unlinkat(self.dir, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// For good: there is no way back.
fn become_user(status: &Status) -> Result<(), JvmError> {
    let (uid, gid) = (Uid::from_raw(status.uid), Gid::from_raw(status.gid));
    if (geteuid(), getegid()) == (uid, gid) {
        return Ok(());
    }
    setgroups(&[])
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(|errno| {
            JvmError::system(
                format!("cannot become its user (uid {uid}, gid {gid})"),
                errno,
            )
        })
}

/// Protocol 1: version, command and three arguments, each with a zero behind it. `jcmd` and its words
/// are one command and one argument.
fn exchange(mut stream: UnixStream, command: &str, answer_ms: u64) -> Result<Vec<u8>, JvmError> {
    let until = Instant::now() + Duration::from_millis(answer_ms);
    let timed_out = || JvmError::TimedOut(answer_ms / 1000);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => timed_out(),
        _ => JvmError::system("its socket", error),
    };
    let left = || {
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left).ok_or_else(timed_out)
    };
    stream.set_write_timeout(Some(left()?)).map_err(failed)?;
    let request = format!("1\0jcmd\0{command}\0\0\0");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 8 << 10];
    loop {
        stream.set_read_timeout(Some(left()?)).map_err(failed)?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(len) => answer.extend_from_slice(buffer.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
        if answer.len() as u64 > REPLY_LIMIT_BYTES {
            return Err(JvmError::Garbled(format!("over {REPLY_LIMIT_BYTES} bytes")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// What comes of asking somebody who does `answer`.
    fn ask(answer: impl FnOnce(UnixStream) + Send + 'static) -> Result<Vec<u8>, JvmError> {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let answering = thread::spawn(move || answer(theirs));
        let started = Instant::now();
        let answer = exchange(ours, "VM.flags", 300);
        assert!(started.elapsed() < Duration::from_secs(3));
        answering.join().expect("it ends with us");
        answer
    }

    #[test]
    fn an_answer_is_taken_to_its_end_and_the_question_is_jcmds() {
        let answer = ask(|mut stream| {
            let mut question = [0; 18];
            stream.read_exact(&mut question).expect("a question");
            assert_eq!(&question, b"1\0jcmd\0VM.flags\0\0\0");
            stream.write_all(b"0\n-XX").expect("we read");
            stream.write_all(b":+A").expect("we read");
        });
        assert_eq!(answer, Ok(b"0\n-XX:+A".to_vec()));
    }

    #[test]
    fn who_never_answers_drips_or_floods_is_left() {
        let silent = ask(|mut stream| {
            // Until we are gone.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        assert_eq!(silent, Err(JvmError::TimedOut(0)));
        let drips = ask(|mut stream| {
            while stream.write_all(b"0").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        assert_eq!(drips, Err(JvmError::TimedOut(0)));
        let floods = ask(|mut stream| while stream.write_all(&[b'0'; 4096]).is_ok() {});
        assert!(matches!(floods, Err(JvmError::Garbled(_))), "{floods:?}");
    }
}
