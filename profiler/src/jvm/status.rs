//! `/proc/PID/status`, as far as asking a JVM needs it.

use super::JvmError;
use crate::live::{Identity, identity_in};
use crate::{HostPid, NsPid};

/// Who a process is, and what it does with SIGQUIT (proc_pid_status(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// `R`, `S`, `T` …
    pub(crate) state: char,
    /// Its pid in its innermost pid namespace.
    pub(crate) ns_pid: NsPid,
    /// Effective, as the host sees them.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Signals that it catches, the lowest bit for signal 1.
    caught: u64,
}

impl Status {
    /// `None` when a field is missing: the process is a zombie, or the text none of the kernel's.
    pub(crate) fn parse(host_pid: HostPid, text: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.map(str::trim)
        };
        let Identity { ns_pid, uid } = identity_in(host_pid, text)?;
        let mut gids = field("Gid:")?.split_ascii_whitespace();
        Some(Self {
            state: field("State:")?.chars().next()?,
            ns_pid,
            uid,
            gid: gids.nth(1)?.parse().ok()?,
            caught: u64::from_str_radix(field("SigCgt:")?, 16).ok()?,
        })
    }

    /// Whether SIGQUIT reaches a handler: without one it kills; and whether that handler can run now.
    pub(crate) fn survives_sigquit(&self, reduced_signals: bool) -> Result<(), JvmError> {
        if !self.catches_sigquit() {
            return Err(JvmError::WouldDie { reduced_signals });
        }
        match self.state {
            'T' => Err(JvmError::Stopped("by a signal".into())),
            't' => Err(JvmError::Stopped("by a debugger".into())),
            _ => Ok(()),
        }
    }

    fn catches_sigquit(&self) -> bool {
        self.caught & (1 << (nix::sys::signal::Signal::SIGQUIT as u32 - 1)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAVA: &str = "\
Name:\tjava
State:\tS (sleeping)
Tgid:\t4242
NStgid:\t4242\t17\t1
Uid:\t1000\t100999\t1000\t100999
Gid:\t1000\t101000\t1000\t101000
SigQ:\t0/1
SigBlk:\t0000000000000000
SigIgn:\t0000000000000000
SigCgt:\t2000000181005ccf
";

    #[test]
    fn the_effective_ids_the_innermost_pid_and_the_handlers_are_found() {
        let status = Status::parse(HostPid(4242), JAVA).expect("whole");
        assert_eq!((status.state, status.ns_pid), ('S', NsPid(1)));
        assert_eq!((status.uid, status.gid), (100_999, 101_000));
        assert_eq!(status.survives_sigquit(false), Ok(()));
        let without = JAVA.replace("2000000181005ccf", "2000000181005ccb");
        let status = Status::parse(HostPid(4242), &without).expect("whole");
        assert_eq!(
            status.survives_sigquit(true),
            Err(JvmError::WouldDie {
                reduced_signals: true
            })
        );
        let stopped = JAVA.replace("S (sleeping)", "T (stopped)");
        let status = Status::parse(HostPid(4242), &stopped).expect("whole");
        assert_eq!(
            status.survives_sigquit(false),
            Err(JvmError::Stopped("by a signal".into()))
        );
    }

    #[test]
    fn a_kernel_without_pid_namespaces_has_one_pid_and_a_torn_text_none() {
        let old = JAVA.replace("NStgid:\t4242\t17\t1\n", "");
        let status = Status::parse(HostPid(4242), &old).expect("whole");
        assert_eq!(status.ns_pid, NsPid(4242));
        assert_eq!(
            Status::parse(HostPid(1), "Name:\tx\nState:\tZ (zombie)\n"),
            None
        );
    }
}
