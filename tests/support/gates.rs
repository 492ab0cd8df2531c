#![allow(unsafe_code)] // closures that run between fork and exec, to take rights from the child

//! The gates between a user and perf_event_open, closed one at a time for one child process or by a sysctl.

use std::fmt::Display;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Host, warn};

/// `CAP_SYS_PTRACE` in linux/capability.h.
pub(crate) const CAP_SYS_PTRACE: u8 = 19;
/// `CAP_SYSLOG` in linux/capability.h.
pub(crate) const CAP_SYSLOG: u8 = 34;
/// `CAP_CHECKPOINT_RESTORE` in linux/capability.h, since Linux 5.9.
pub(crate) const CAP_CHECKPOINT_RESTORE: u8 = 40;
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
    /// A Landlock domain, which allows all but to look into processes outside of it: a security module's refusal.
    Landlock,
    /// RLIMIT_NOFILE, soft and hard.
    OpenFiles(u64),
    /// RLIMIT_MEMLOCK in bytes, soft and hard.
    LockedMemory(u64),
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
        Gate::Landlock => {
            // SAFETY: as above, with two calls that libc has no names for.
            unsafe { command.pre_exec(enter_landlock_domain) };
        }
        Gate::OpenFiles(limit) => {
            // SAFETY: as above, with setrlimit(2).
            unsafe { command.pre_exec(move || set_limit(libc::RLIMIT_NOFILE, limit)) };
        }
        Gate::LockedMemory(limit) => {
            // SAFETY: as above.
            unsafe { command.pre_exec(move || set_limit(libc::RLIMIT_MEMLOCK, limit)) };
        }
    }
}

/// A domain that handles the making of symbolic links only (landlock(7), Linux 5.13). Whatever it handles, processes in it
/// may not trace those outside.
fn enter_landlock_domain() -> io::Result<()> {
    /// `LANDLOCK_ACCESS_FS_MAKE_SYM`
    const MAKE_SYM: u64 = 1 << 12;
    let attributes: [u64; 1] = [MAKE_SYM];
    // SAFETY: the kernel reads eight bytes from `attributes`, which lives until the call returns.
    let ruleset = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            attributes.as_ptr(),
            size_of_val(&attributes),
            0,
        )
    };
    if ruleset < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it takes integers only; root needs no no_new_privs.
    let entered = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) };
    // The descriptor closes itself at the exec (`landlock_create_ruleset()`: O_CLOEXEC).
    if entered != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn set_limit(resource: libc::__rlimit_resource_t, limit: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: the kernel reads `limit`, which lives until the call returns.
    if unsafe { libc::setrlimit(resource, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
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

/// A sysctl at a value of our choice; put back on drop, also of a panic. The host's lock keeps it ours.
pub(crate) struct Sysctl<'a> {
    _host: &'a Host,
    path: PathBuf,
    before: String,
}

impl<'a> Sysctl<'a> {
    /// `name` as sysctl(8) takes it.
    pub(crate) fn set(host: &'a Host, name: &str, value: impl Display) -> Self {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        let before = fs::read_to_string(&path).expect("perf events are built in");
        write_sysctl(&path, &value.to_string()).expect("root may write sysctls");
        Self {
            _host: host,
            path,
            before: before.trim().to_owned(),
        }
    }
}

impl Drop for Sysctl<'_> {
    fn drop(&mut self) {
        if let Err(error) = write_sysctl(&self.path, &self.before) {
            warn(&format!(
                "{} is not {} again: {error}",
                self.path.display(),
                self.before
            ));
        }
    }
}

/// `perf_event_max_stack` is busy as long as anybody on this machine samples stacks: asked again until nobody does.
fn write_sysctl(path: &Path, value: &str) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match fs::write(path, value) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            written => return written,
        }
    }
}

/// `kernel.perf_event_paranoid` at a value of our choice.
pub(crate) struct Paranoid;

impl Paranoid {
    /// Until the sysctl that it gives is dropped.
    pub(crate) fn set(host: &Host, value: i32) -> Sysctl<'_> {
        Sysctl::set(host, "kernel.perf_event_paranoid", value)
    }
}
