//! SIGINT, SIGTERM, SIGHUP and SIGCHLD as something to wait for rather than as interruptions.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The signals that end a recording, and a child's end. Create it before any thread is started:
/// threads inherit the blocked mask.
pub struct Signals {
    fd: SignalFd,
    before: SigSet,
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// Someone wants the recording to end.
    Stop(Signal),
    /// A child changed state.
    Child,
}

impl Signals {
    /// Blocks the signals in this thread (and the ones it starts) and opens the descriptor.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGCHLD,
        ] {
            set.add(signal);
        }
        let before = SigSet::thread_get_mask()?;
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { fd, before })
    }

    /// The mask before ours: what a command that we start is to have.
    pub(crate) fn mask_before(&self) -> SigSet {
        self.before
    }

    /// The next signal that arrived, or `None`; never blocks.
    pub(crate) fn next(&self) -> io::Result<Option<Arrived>> {
        let Some(info) = self.fd.read_signal()? else {
            return Ok(None);
        };
        let signal = Signal::try_from(info.ssi_signo as i32)?;
        Ok(Some(if signal == Signal::SIGCHLD {
            Arrived::Child
        } else {
            Arrived::Stop(signal)
        }))
    }

    /// Blocks until somebody wants us to stop (again); the signal's number.
    pub fn wait_for_stop(&self) -> io::Result<i32> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        loop {
            let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            while let Some(arrived) = self.next()? {
                if let Arrived::Stop(signal) = arrived {
                    return Ok(signal as i32);
                }
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
