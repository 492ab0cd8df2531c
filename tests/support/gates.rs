#![allow(unsafe_code)] // closures that run between fork and exec, to take rights from the child

//! The gates between a user and perf_event_open, closed one at a time for one child process or by a sysctl.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{Host, warn};

/// `CAP_SYS_ADMIN` in linux/capability.h.
pub(crate) const CAP_SYS_ADMIN: u8 = 21;
/// `CAP_PERFMON` in linux/capability.h, since Linux 5.8.
pub(crate) const CAP_PERFMON: u8 = 38;

/// Whether it is in this process's effective set.
pub(crate) fn has_capability(capability: u8) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_capabilities(&status) & (1 << capability) != 0
}

/// `CapEff` of a `/proc/PID/status`.
pub(crate) fn effective_capabilities(status: &str) -> u64 {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    u64::from_str_radix(effective.unwrap_or("0").trim(), 16).unwrap_or(0)
}

/// What a child process is denied.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gate {
    /// It runs as uid and gid 65534, without a capability.
    Nobody,
    /// A seccomp filter answers perf_event_open with `EPERM`, as docker's default profile does.
    Seccomp,
    /// It stays uid 0, but these capabilities have left its bounding set.
    WithoutCapabilities(&'static [u8]),
}

/// Closes `gate` for the process that `command` is about to start.
pub(crate) fn close(gate: Gate, command: &mut Command) {
    match gate {
        Gate::Nobody => {
            command.uid(65534).gid(65534);
        }
        Gate::Seccomp => {
            // SAFETY: the closure only calls prctl(2), which is async-signal-safe, and allocates nothing.
            unsafe { command.pre_exec(deny_perf_event_open) };
        }
        Gate::WithoutCapabilities(capabilities) => {
            // SAFETY: as above.
            unsafe { command.pre_exec(|| drop_from_bounding_set(capabilities)) };
        }
    }
}

fn deny_perf_event_open() -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    // seccomp_data.nr is the first word.
    let load_nr = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    let if_perf_else_skip_one = libc::sock_filter {
        jf: 1,
        ..statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_perf_event_open as u32,
        )
    };
    let refuse = statement(libc::BPF_RET, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32);
    let allow = statement(libc::BPF_RET, libc::SECCOMP_RET_ALLOW);
    let mut filter = [load_nr, if_perf_else_skip_one, refuse, allow];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: PR_SET_NO_NEW_PRIVS takes integers only.
    let no_new_privs = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if no_new_privs != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `program` points at `filter`, and both live until the call returns; the kernel copies them.
    let installed = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    if installed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Root's capabilities after `execve` are its inheritable and bounding sets (capabilities(7)).
fn drop_from_bounding_set(capabilities: &[u8]) -> io::Result<()> {
    for &capability in capabilities {
        // SAFETY: PR_CAPBSET_DROP takes integers only.
        if unsafe {
            libc::prctl(
                libc::PR_CAPBSET_DROP,
                libc::c_ulong::from(capability),
                0,
                0,
                0,
            )
        } != 0
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// `kernel.perf_event_paranoid` at a value of our choice; put back on drop. The host's lock keeps it ours.
pub(crate) struct Paranoid<'a> {
    _host: &'a Host,
    before: String,
}

impl<'a> Paranoid<'a> {
    const PATH: &'static str = "/proc/sys/kernel/perf_event_paranoid";

    pub(crate) fn set(host: &'a Host, value: i32) -> Self {
        let before = fs::read_to_string(Self::PATH).expect("perf events are built in");
        fs::write(Self::PATH, value.to_string()).expect("root may write sysctls");
        Self {
            _host: host,
            before: before.trim().to_owned(),
        }
    }
}

impl Drop for Paranoid<'_> {
    fn drop(&mut self) {
        if let Err(error) = fs::write(Self::PATH, &self.before) {
            warn(&format!(
                "{} is not {} again: {error}",
                Self::PATH,
                self.before
            ));
        }
    }
}
