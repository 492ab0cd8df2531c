//! What a recording says of the machine that it is made on.

use super::clock;
use super::procfs::PROC;
use crate::perfdata::write::Origin;
use nix::sys::utsname::uname;
use nix::time::{ClockId, clock_getres};
use nix::unistd::{SysconfVar, sysconf};
use std::path::Path;

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
    let cpuinfo = procfs_text("cpuinfo");
    let cpu = |name| field(&cpuinfo, name).unwrap_or_default();
    let cpu_id = ["vendor_id", "cpu family", "model", "stepping"].map(cpu);
    let memory = procfs_text("meminfo");
    let memory_kib = field(&memory, "MemTotal").and_then(|kib| kib.split(' ').next()?.parse().ok());
    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC).ok();
    Origin {
        hostname: text(|uname| uname.nodename()),
        os_release: text(|uname| uname.release()),
        arch: text(|uname| uname.machine()),
        cpus: (
            cpus(SysconfVar::_NPROCESSORS_CONF),
            cpus(SysconfVar::_NPROCESSORS_ONLN),
        ),
        cpu_name: cpu("model name").to_owned(),
        cpu_id: match cpu_id.contains(&"") {
            true => String::new(),
            false => cpu_id.join(","),
        },
        memory_kib: memory_kib.unwrap_or(0),
        recorder,
        command_line,
        wall_clock_ns: (clock::wall_ns(), clock::monotonic_ns()),
        clock_resolution_ns: resolution.map_or(1, |time| time.tv_nsec() as u64),
    }
}

fn procfs_text(name: &str) -> String {
    let text = std::fs::read(Path::new(PROC).join(name)).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// The first `name : value` of a file of such lines.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(found, _)| found.trim_end() == name)?;
    Some(value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_the_first_of_its_name() {
        let cpuinfo = "vendor_id\t: GenuineIntel\nmodel\t\t: 85\nmodel name\t: A CPU @ 2: GHz\n\
            \nvendor_id\t: Other\n";
        assert_eq!(field(cpuinfo, "model name"), Some("A CPU @ 2: GHz"));
        assert_eq!(field(cpuinfo, "vendor_id"), Some("GenuineIntel"));
        assert_eq!(field(cpuinfo, "model"), Some("85"));
        assert_eq!(field(cpuinfo, "stepping"), None);
    }

    #[test]
    fn this_machine_is_told_as_the_system_tells_it() {
        let origin = origin("ctrflame 9".into(), vec!["ctrflame".into()]);
        let release = super::super::procfs::kernel_release().expect("a release");
        assert_eq!(origin.os_release, release);
        let (configured, online) = origin.cpus;
        assert!((1..=configured).contains(&online), "{:?}", origin.cpus);
        assert!(origin.memory_kib > 1024 && origin.wall_clock_ns.0 > origin.wall_clock_ns.1);
    }
}
