#![allow(unsafe_code)] // one ioctl that perf-event-open leaves out, and a hook between fork and exec
//! The raw calls of the sampler: one ring for many events, a command held before its exec.

use super::command::Before;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

mod ioctl {
    // include/uapi/linux/perf_event.h: PERF_EVENT_IOC_SET_OUTPUT = _IO('$', 5)
    nix::ioctl_write_int_bad!(set_output, nix::request_code_none!(b'$', 5));
}

/// Sends the records of `event` into the ring of `ring_owner`: same CPU, same clock, equal attributes.
pub(crate) fn share_ring(event: &File, ring_owner: &File) -> io::Result<()> {
    // SAFETY: both are open perf event descriptors for the time of the call; the ioctl takes a
    // descriptor number by value and touches no memory of ours.
    unsafe { ioctl::set_output(event.as_raw_fd(), ring_owner.as_raw_fd()) }
        .map(|_| ())
        .map_err(io::Error::from)
}

/// Makes `command`'s child write its pid to `ready` (four bytes, host order) and then wait for one
/// byte from the pipe `go` (its two ends, as of pipe(2)) before it execs. When we close our end of it
/// without one, or die, the child does not exec.
/// All descriptors must stay open until the child has forked, its own two until it has execed.
pub(crate) fn hold_before_exec(command: &mut Command, ready: RawFd, go: [RawFd; 2]) {
    let [go, go_of_parent] = go;
    // SAFETY: between fork and exec only async-signal-safe calls are made: getpid, close, write and
    // read on descriptors that the parent keeps open, on buffers of this stack frame; what is closed
    // is the child's copy, which nobody else uses. Nothing allocates.
    unsafe {
        command.pre_exec(move || {
            // With its own copy open it would never read the end of the pipe.
            libc::close(go_of_parent);
            let pid = libc::getpid().to_ne_bytes();
            if libc::write(ready, pid.as_ptr().cast(), pid.len()) != pid.len() as isize {
                return Err(io::Error::from_raw_os_error(libc::EPIPE));
            }
            let mut byte = [0u8; 1];
            loop {
                match libc::read(go, byte.as_mut_ptr().cast(), 1) {
                    1 => return Ok(()),
                    0 => return Err(io::Error::from_raw_os_error(libc::ECANCELED)),
                    _ if *libc::__errno_location() == libc::EINTR => continue,
                    _ => return Err(io::Error::from_raw_os_error(*libc::__errno_location())),
                }
            }
        });
    }
}

/// Gives `command`'s child what we changed for ourselves as it was before.
pub(crate) fn restore_before_exec(command: &mut Command, before: Before) {
    let limit = libc::rlimit {
        rlim_cur: before.open_files.soft,
        rlim_max: before.open_files.hard,
    };
    // SAFETY: setrlimit and sigprocmask are one system call each, on values that the closure owns;
    // nothing allocates.
    unsafe {
        command.pre_exec(move || {
            if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
                return Err(io::Error::from_raw_os_error(*libc::__errno_location()));
            }
            before
                .signal_mask
                .thread_set_mask()
                .map_err(io::Error::from)
        });
    }
}
