//! What a recording says of the machine that it is made on.

use super::clock;
use crate::perfdata::write::Origin;
use nix::sys::utsname::uname;
use nix::time::{ClockId, clock_getres};
use nix::unistd::{SysconfVar, sysconf};

/// This machine, as of now. `recorder` and `command_line` are who records, and how it was started.
pub fn origin(recorder: String, command_line: Vec<String>) -> Origin {
    let uname = uname().ok();
    let text = |field: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
        let found = uname.as_ref().map(field);
        found.map_or_else(String::new, |text| text.to_string_lossy().into_owned())
    };
    let cpus = |which| {
        let count = sysconf(which).ok().flatten();
        count
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0)
    };
    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC).ok();
    Origin {
        hostname: text(|uname| uname.nodename()),
        os_release: text(|uname| uname.release()),
        arch: text(|uname| uname.machine()),
        cpus: (
            cpus(SysconfVar::_NPROCESSORS_CONF),
            cpus(SysconfVar::_NPROCESSORS_ONLN),
        ),
        recorder,
        command_line,
        wall_clock_ns: (clock::wall_ns(), clock::monotonic_ns()),
        clock_resolution_ns: resolution.map_or(1, |time| time.tv_nsec() as u64),
    }
}
