//! The recording's clock, and the kernel's other one: process start times count from boot.

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use std::time::Duration;

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
pub fn wall_ns() -> u64 {
    read_ns(ClockId::CLOCK_REALTIME).unwrap_or(0)
}

/// The wall clock at boot, in nanoseconds since 1970, as it is set now.
pub fn boot_wall_ns() -> Option<u64> {
    wall_ns().checked_sub(read_ns(ClockId::CLOCK_BOOTTIME)?)
}

/// The wall clock, as it is set now, at `ticks` after boot, rounded down to a tick.
pub(crate) fn wall_of_boot_ticks(ticks: u64) -> Option<u64> {
    boot_wall_ns()?.checked_add(boot_ticks_ns(ticks)?)
}

/// How long ago it was `ticks` after boot, the time that the machine was suspended included.
pub(crate) fn since_boot_ticks(ticks: u64) -> Option<Duration> {
    let now_ns = read_ns(ClockId::CLOCK_BOOTTIME)?;
    Some(Duration::from_nanos(
        now_ns.saturating_sub(boot_ticks_ns(ticks)?),
    ))
}

fn boot_ticks_ns(ticks: u64) -> Option<u64> {
    let ticks_per_s = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??)
        .ok()
        .filter(|hz| *hz > 0)?;
    u64::try_from(u128::from(ticks) * u128::from(NS_PER_S) / u128::from(ticks_per_s)).ok()
}

/// `CLOCK_MONOTONIC` at `ticks` after boot (`/proc/PID/stat`, field 22), rounded down to a tick:
/// never later than it was.
pub(crate) fn monotonic_of_boot_ticks(ticks: u64) -> Option<u64> {
    // Boot time runs on while the machine is suspended, monotonic time does not.
    let suspended_ns =
        read_ns(ClockId::CLOCK_BOOTTIME)?.saturating_sub(read_ns(ClockId::CLOCK_MONOTONIC)?);
    Some(boot_ticks_ns(ticks)?.saturating_sub(suspended_ns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

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
        // A file's time is of the last jiffy.
        let file = tempfile::tempfile().expect("a temporary file");
        let made = file.metadata().and_then(|file| file.modified());
        let made = made.expect("a time").duration_since(UNIX_EPOCH);
        let made_ns = made.expect("after 1970").as_nanos();
        let began_wall_ns = super::super::procfs::began_wall_ns(pid).expect("we run");
        let booted_ns = boot_wall_ns().expect("the clocks can be read");
        assert!(booted_ns < began_wall_ns, "{booted_ns} {began_wall_ns}");
        let ran_ns = made_ns - u128::from(began_wall_ns);
        let by_boot_ns = u128::from(now_ns - began_ns);
        assert!(
            ran_ns.abs_diff(by_boot_ns) < 1_000_000_000,
            "{ran_ns} {by_boot_ns}"
        );
        assert!(super::super::procfs::started_by(pid, now_ns));
        assert!(!super::super::procfs::started_by(
            pid,
            began_ns - 20_000_000
        ));
    }
}
