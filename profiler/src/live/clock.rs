//! The recording's clock, and the kernel's other one: process start times count from boot.

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

const NS_PER_S: u64 = 1_000_000_000;

fn read_ns(clock: ClockId) -> Option<u64> {
    let now = clock_gettime(clock).ok()?;
    u64::try_from(now.tv_sec())
        .ok()?
        .checked_mul(NS_PER_S)?
        .checked_add(u64::try_from(now.tv_nsec()).ok()?)
}

/// `CLOCK_MONOTONIC` now: the clock of the records.
pub(crate) fn monotonic_ns() -> u64 {
    read_ns(ClockId::CLOCK_MONOTONIC).unwrap_or(0)
}

/// The wall clock now, in nanoseconds since 1970.
pub(crate) fn wall_ns() -> u64 {
    read_ns(ClockId::CLOCK_REALTIME).unwrap_or(0)
}

/// `CLOCK_MONOTONIC` at `ticks` after boot (`/proc/PID/stat`, field 22), rounded down to a tick:
/// never later than it was.
pub(crate) fn monotonic_of_boot_ticks(ticks: u64) -> Option<u64> {
    let ticks_per_s = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??)
        .ok()
        .filter(|hz| *hz > 0)?;
    let since_boot_ns = u128::from(ticks) * u128::from(NS_PER_S) / u128::from(ticks_per_s);
    // Boot time runs on while the machine is suspended, monotonic time does not.
    let suspended_ns =
        read_ns(ClockId::CLOCK_BOOTTIME)?.saturating_sub(read_ns(ClockId::CLOCK_MONOTONIC)?);
    Some(
        u64::try_from(since_boot_ns)
            .ok()?
            .saturating_sub(suspended_ns),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_began_before_now_and_after_boot() {
        let pid = crate::HostPid(std::process::id());
        let ticks =
            super::super::procfs::start_ticks(std::path::Path::new("/proc"), pid).expect("we run");
        let began_ns = monotonic_of_boot_ticks(ticks).expect("the clocks can be read");
        let now_ns = monotonic_ns();
        assert!(
            began_ns > 0 && began_ns <= now_ns,
            "{began_ns} is not before {now_ns}"
        );
        assert!(super::super::procfs::started_by(pid, now_ns));
        assert!(!super::super::procfs::started_by(
            pid,
            began_ns - 20_000_000
        ));
    }
}
