//! What decides over permissions, as this thread finds it: status, sysctls, limits.

use super::surroundings::{Surroundings, is_in_initial};
use super::{Capability, HeldInUserNamespace};
use nix::sys::resource::{Resource, getrlimit};
use std::fs;
use std::str::FromStr;

/// Everything a diagnosis looks at. Unknown is `None`, which no rule takes for a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Circumstances {
    /// `Seccomp:` of the status: 0 none, 1 strict, 2 filter.
    pub(super) seccomp_mode: Option<u8>,
    /// `CapEff:` of the status.
    pub(super) effective_caps: Option<u64>,
    /// Second number of `Uid:` in the status.
    pub(super) effective_uid: Option<u32>,
    /// `kernel.cap_last_cap`.
    pub(super) last_cap: Option<u32>,
    pub(super) user_namespace: UserNamespace,
    /// `kernel.perf_event_paranoid`; a kernel without perf events has none.
    pub(super) paranoid: Option<i32>,
    /// `kernel.perf_event_mlock_kb`.
    pub(super) mlock_kb: Option<u64>,
    /// `kernel.perf_event_max_sample_rate`.
    pub(super) max_rate_hz: Option<u32>,
    /// `kernel.perf_event_max_stack`.
    pub(super) max_stack: Option<u32>,
    /// `kernel.kptr_restrict`.
    pub(super) kptr_restrict: Option<i32>,
    /// Whether our pid namespace is the host's.
    pub(super) sees_host_pids: Option<bool>,
    /// RLIMIT_MEMLOCK, soft; `None` also when unlimited.
    pub(super) memlock_bytes: Option<u64>,
    /// RLIMIT_NOFILE, soft.
    pub(super) open_files_soft: Option<u64>,
    /// RLIMIT_NOFILE, hard.
    pub(super) open_files_hard: Option<u64>,
    /// `/sys/kernel/security/lsm`.
    pub(super) lsm: Option<String>,
    /// `/proc/thread-self/attr/current`: the profile or context that confines us.
    pub(super) label: Option<String>,
    pub(super) surroundings: Surroundings,
}

/// Whether capabilities count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum UserNamespace {
    /// The host's own, as far as is known.
    #[default]
    Initial,
    /// Another: perf asks for capabilities in the initial one.
    Nested,
}

impl Circumstances {
    pub(crate) fn of_this_thread() -> Self {
        let status = read("/proc/thread-self/status").unwrap_or_default();
        let limit = |resource| getrlimit(resource).ok();
        let finite = |value: u64| (value != libc::RLIM_INFINITY).then_some(value);
        let open_files = limit(Resource::RLIMIT_NOFILE);
        Self {
            last_cap: number("/proc/sys/kernel/cap_last_cap"),
            user_namespace: match is_in_initial("user") {
                Some(false) => UserNamespace::Nested,
                _ => UserNamespace::Initial,
            },
            paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            mlock_kb: number("/proc/sys/kernel/perf_event_mlock_kb"),
            max_rate_hz: number("/proc/sys/kernel/perf_event_max_sample_rate"),
            max_stack: number("/proc/sys/kernel/perf_event_max_stack"),
            kptr_restrict: number("/proc/sys/kernel/kptr_restrict"),
            sees_host_pids: is_in_initial("pid"),
            memlock_bytes: limit(Resource::RLIMIT_MEMLOCK).and_then(|(soft, _)| finite(soft)),
            open_files_soft: open_files.and_then(|(soft, _)| finite(soft)),
            open_files_hard: open_files.and_then(|(_, hard)| finite(hard)),
            lsm: read("/sys/kernel/security/lsm").map(|text| text.trim().to_owned()),
            label: read("/proc/thread-self/attr/current")
                .map(|text| text.trim_end_matches(['\0', '\n']).to_owned())
                .filter(|label| !label.is_empty()),
            surroundings: Surroundings::here(),
            ..Self::from_status(&status)
        }
    }

    /// What `/proc/…/status` tells; the rest unknown.
    pub(super) fn from_status(status: &str) -> Self {
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        Self {
            seccomp_mode: field("Seccomp").and_then(|text| text.parse().ok()),
            effective_caps: field("CapEff").and_then(|text| u64::from_str_radix(text, 16).ok()),
            effective_uid: field("Uid").and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok()),
            ..Self::default()
        }
    }

    /// A filter (mode 2) is on us. Mode 1 would have killed us.
    pub(super) fn is_filtered(&self) -> bool {
        self.seccomp_mode == Some(2)
    }

    /// The capability is effective, in whichever user namespace.
    pub(super) fn holds(&self, capability: Capability) -> bool {
        self.effective_caps
            .is_some_and(|caps| caps >> capability.bit() & 1 == 1)
    }

    /// The capability is effective where perf asks for it.
    pub(super) fn counts(&self, capability: Capability) -> bool {
        self.user_namespace == UserNamespace::Initial && self.holds(capability)
    }

    /// Whether it is held where it does not count.
    pub(super) fn held_in_user_namespace(&self, capability: Capability) -> HeldInUserNamespace {
        match self.user_namespace {
            UserNamespace::Nested if self.holds(capability) => HeldInUserNamespace::Yes,
            _ => HeldInUserNamespace::No,
        }
    }

    /// The least capability that this kernel knows for perf events.
    pub(super) fn perfmon(&self) -> Capability {
        match self.last_cap {
            Some(last) if last < Capability::Perfmon.bit() => Capability::SysAdmin,
            _ => Capability::Perfmon,
        }
    }

    /// The least capability that this kernel knows for `/proc/PID/map_files`.
    pub(super) fn checkpoint_restore(&self) -> Capability {
        match self.last_cap {
            Some(last) if last < Capability::CheckpointRestore.bit() => Capability::SysAdmin,
            _ => Capability::CheckpointRestore,
        }
    }

    /// It, or one that the kernel takes for it, is effective where the kernel asks for it.
    pub(super) fn may(&self, capability: Capability) -> bool {
        let stronger = match capability {
            // perfmon_capable(), checkpoint_restore_ns_capable()
            Capability::Perfmon | Capability::CheckpointRestore => Some(Capability::SysAdmin),
            Capability::DacReadSearch => Some(Capability::DacOverride),
            _ => None,
        };
        self.counts(capability) || stronger.is_some_and(|stronger| self.counts(stronger))
    }

    /// `sudo` would change nothing: what is missing has been taken away.
    pub(super) fn is_as_good_as_root(&self) -> bool {
        self.effective_uid == Some(0) || self.surroundings != Surroundings::Host
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn number<T: FromStr>(path: &str) -> Option<T> {
    read(path)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_the_filter_the_capabilities_and_the_effective_uid() {
        let status = "Name:\tctrflame\nUid:\t1000\t0\t1000\t1000\nCapInh:\t0000000000000000\n\
                      CapEff:\t0000004000200000\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        let here = Circumstances::from_status(status);
        assert_eq!(here.seccomp_mode, Some(2));
        assert_eq!(here.effective_caps, Some(1 << 38 | 1 << 21));
        assert_eq!(here.effective_uid, Some(0));
        assert!(here.counts(Capability::Perfmon) && here.counts(Capability::SysAdmin));
        assert_eq!(Circumstances::from_status(""), Circumstances::default());
        assert_eq!(
            Circumstances::from_status("CapEff:\tx\nUid:\t1\nSeccomp:\t"),
            Circumstances::default()
        );
    }

    #[test]
    fn the_live_values_are_read() {
        let here = Circumstances::of_this_thread();
        assert_eq!(here.effective_uid, Some(nix::unistd::geteuid().as_raw()));
        assert!(here.seccomp_mode.is_some_and(|mode| mode <= 2));
        assert!(here.open_files_soft <= here.open_files_hard);
    }
}
