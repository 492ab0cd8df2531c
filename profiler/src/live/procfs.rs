//! `/proc` as it is at the start: what already runs, as the events that would have told of it.

use super::clock;
use crate::record::{
    Comm, Event, Fork, MNT_NS_INDEX, Mapped, MappedFile, NamespacesSeen, NsLinks, Stamp,
};
use crate::{HostPid, HostTid, MntNs, NsPid};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the reading of `/proc` saw and could not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanTotals {
    /// Processes read.
    pub processes: u64,
    /// Processes whose mappings were refused (no CAP_SYS_PTRACE, another's process).
    pub unreadable: u64,
}

pub(crate) const PROC: &str = "/proc";

/// Largest `/proc/PID/maps` that is read: a million mappings or so. More is cut there.
const MAPS_LIMIT_BYTES: u64 = 128 << 20;

const AT_START: u64 = 0;

fn stamp(pid: HostPid, tid: HostTid) -> Stamp {
    Stamp {
        time_ns: AT_START,
        pid,
        tid,
        cpu: u32::MAX,
    }
}

/// All processes, ascending.
pub fn pids() -> io::Result<Vec<HostPid>> {
    all_pids(Path::new(PROC))
}

/// Pids in `/proc`, ascending.
pub(crate) fn all_pids(proc_root: &Path) -> io::Result<Vec<HostPid>> {
    let mut pids: Vec<HostPid> = numbered_entries(proc_root)?.map(HostPid).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Threads of a process.
pub(crate) fn threads(proc_root: &Path, pid: HostPid) -> io::Result<Vec<HostTid>> {
    Ok(numbered_entries(&process_dir(proc_root, pid).join("task"))?
        .map(HostTid)
        .collect())
}

fn numbered_entries(dir: &Path) -> io::Result<impl Iterator<Item = u32>> {
    Ok(std::fs::read_dir(dir)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

fn process_dir(proc_root: &Path, pid: HostPid) -> PathBuf {
    proc_root.join(pid.0.to_string())
}

/// The processes that `pids` name and all their descendants, each once, from the parent pids of
/// `/proc/PID/stat`. A thread's id names its process, as for perf.
pub(crate) fn with_descendants(proc_root: &Path, pids: &[HostPid]) -> io::Result<Vec<HostPid>> {
    let parents: Vec<(HostPid, HostPid)> = all_pids(proc_root)?
        .into_iter()
        .filter_map(|pid| {
            let stat = std::fs::read(process_dir(proc_root, pid).join("stat")).ok()?;
            Some((pid, HostPid(stat_field(&stat, 4)?.parse().ok()?)))
        })
        .collect();
    let mut family: Vec<HostPid> = Vec::new();
    for pid in pids {
        let leader = leader_of(proc_root, *pid).unwrap_or(*pid);
        if !family.contains(&leader) {
            family.push(leader);
        }
    }
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        next += 1;
        for (child, of) in &parents {
            if *of == parent && !family.contains(child) {
                family.push(*child);
            }
        }
    }
    Ok(family)
}

/// The process of a thread: `Tgid:` of its status. `None` when it is gone.
pub(crate) fn leader_of(proc_root: &Path, tid: HostPid) -> Option<HostPid> {
    let status = std::fs::read_to_string(process_dir(proc_root, tid).join("status")).ok()?;
    let tgid = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    tgid.trim().parse().ok().map(HostPid)
}

/// Whether a process has ended and only waits for its parent to ask for its status. A leader that
/// has ended before its other threads is a zombie too, and counts them in field 20.
pub(crate) fn is_zombie(proc_root: &Path, pid: HostPid) -> bool {
    let Ok(stat) = std::fs::read(process_dir(proc_root, pid).join("stat")) else {
        return false;
    };
    let threads = stat_field(&stat, 20).and_then(|count| count.parse::<u32>().ok());
    matches!(stat_field(&stat, 3), Some("Z" | "X")) && threads.is_none_or(|count| count <= 1)
}

/// Field `number` (1-based, at least 3) of `/proc/PID/stat`: counted behind the last `)`, since
/// the name in field 2 may hold anything (proc_pid_stat(5)).
fn stat_field(stat: &[u8], number: usize) -> Option<&str> {
    let behind_comm = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(behind_comm + 1..)?).ok()?;
    fields.split_ascii_whitespace().nth(number.checked_sub(3)?)
}

/// When a process began, in clock ticks since boot (`/proc/PID/stat`, field 22): with its pid, its
/// identity.
pub(crate) fn start_ticks_of(pid: HostPid) -> Option<u64> {
    start_ticks(Path::new(PROC), pid)
}

/// As [`start_ticks_of`], in another `/proc`.
pub(crate) fn start_ticks(proc_root: &Path, pid: HostPid) -> Option<u64> {
    let stat = std::fs::read(process_dir(proc_root, pid).join("stat")).ok()?;
    stat_field(&stat, 22)?.parse().ok()
}

/// Whether the process that has `pid` now is one that ran at `time_ns` (`CLOCK_MONOTONIC`): began
/// before then. `false` when there is none.
pub fn started_by(pid: HostPid, time_ns: u64) -> bool {
    let Some(ticks) = start_ticks(Path::new(PROC), pid) else {
        return false;
    };
    let Some(before_start_ns) = clock::monotonic_of_boot_ticks(ticks) else {
        return true;
    };
    before_start_ns <= time_ns
}

/// When the process that has `pid` now began, by the wall clock as it is set now: nanoseconds since
/// 1970, at most a tick too early. `None` when there is none.
pub fn began_wall_ns(pid: HostPid) -> Option<u64> {
    clock::wall_of_boot_ticks(start_ticks(Path::new(PROC), pid)?)
}

/// What `/proc/PID/status` says of who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its pid in its innermost pid namespace: the last of `NStgid:` (Linux 4.1; before, the host
    /// pid is all there is).
    pub ns_pid: NsPid,
    /// Its effective uid, as the host sees it.
    pub uid: u32,
}

/// Who a process is; `None` when it is gone.
pub fn identity(pid: HostPid) -> Option<Identity> {
    let status = std::fs::read_to_string(process_dir(Path::new(PROC), pid).join("status")).ok()?;
    identity_in(pid, &status)
}

/// Who a process is by its `/proc/PID/status`; `None` when a field is missing.
pub(crate) fn identity_in(pid: HostPid, status: &str) -> Option<Identity> {
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let ns_pid = match field("NStgid:") {
        Some(pids) => pids.split_ascii_whitespace().next_back()?.parse().ok()?,
        None => pid.0,
    };
    let uid = field("Uid:")?
        .split_ascii_whitespace()
        .nth(1)?
        .parse()
        .ok()?;
    Some(Identity {
        ns_pid: NsPid(ns_pid),
        uid,
    })
}

/// The pids in the pid namespaces below the reader's, outermost first, of a `/proc/PID/status`: all of
/// `NStgid:` but the first. Empty before Linux 4.1.
pub(crate) fn inner_pids_in(status: &str) -> Vec<NsPid> {
    let pids = status
        .lines()
        .find_map(|line| line.strip_prefix("NStgid:"))
        .unwrap_or_default();
    let pids = pids.split_ascii_whitespace().skip(1);
    pids.filter_map(|pid| pid.parse().ok().map(NsPid)).collect()
}

/// Names of the links in `/proc/PID/ns`, in the order of [`NsLinks`].
const NS_NAMES: [&str; 7] = ["net", "uts", "ipc", "pid", "user", "mnt", "cgroup"];

/// All namespaces of a process as it is now; zeros for those that cannot be read.
pub(crate) fn namespace_links(pid: HostPid) -> NsLinks {
    let dir = process_dir(Path::new(PROC), pid).join("ns");
    let mut links = NsLinks::default();
    for (link, name) in links.iter_mut().zip(NS_NAMES) {
        if let Ok(ns) = std::fs::metadata(dir.join(name)) {
            (link.dev, link.inode) = (ns.dev(), ns.ino());
        }
    }
    links
}

/// `/proc/PID/cgroup` of a process.
pub fn proc_cgroups(pid: HostPid) -> Option<String> {
    std::fs::read_to_string(process_dir(Path::new(PROC), pid).join("cgroup")).ok()
}

/// The kernel's symbols: `/proc/kallsyms`, modules and BPF programs included. It is made while it is read: some
/// 25 ms of CPU time for all of it.
pub fn kallsyms() -> io::Result<File> {
    File::open(Path::new(PROC).join("kallsyms"))
}

/// No code of this host's kernel, its modules or BPF programs lies below; 0 where that is not known. On x86_64 all of it is in the topmost
/// 2 GiB, for which it is compiled (`-mcmodel=kernel`; Documentation/arch/x86/x86_64/mm.rst).
pub fn kernel_code_from() -> u64 {
    match std::env::consts::ARCH {
        "x86_64" => (-2_i64 << 30) as u64,
        _ => 0,
    }
}

/// This kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> io::Result<String> {
    let release = std::fs::read_to_string(Path::new(PROC).join("sys/kernel/osrelease"))?;
    Ok(release.trim_end().to_owned())
}

/// Entries at which the kernel cuts a call chain: `kernel.perf_event_max_stack`, 127 where it
/// cannot be read (include/uapi/linux/perf_event.h, `PERF_MAX_STACK_DEPTH`).
pub fn max_stack() -> usize {
    let sysctl = std::fs::read_to_string(Path::new(PROC).join("sys/kernel/perf_event_max_stack"));
    sysctl
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(127)
}

/// Tells `sink` of a process that runs but was never told of.
pub fn scan(pid: HostPid, sink: &mut dyn FnMut(&Event<'_>)) {
    scan_process(Path::new(PROC), pid, sink, &mut ScanTotals::default());
}

/// Tells `sink` of one process: its threads and their names, its mount namespace, its executable
/// mappings. A process that ends meanwhile is told of as far as it was seen.
pub(crate) fn scan_process(
    proc_root: &Path,
    pid: HostPid,
    sink: &mut dyn FnMut(&Event<'_>),
    totals: &mut ScanTotals,
) {
    let dir = process_dir(proc_root, pid);
    let Ok(tids) = threads(proc_root, pid) else {
        return;
    };
    let leader = HostTid(pid.0);
    totals.processes += 1;
    for tid in tids {
        // Pid of the parent equal to the own one says: a thread. The leader is its own parent here;
        // nothing is inherited, all that is known follows.
        let task = Fork {
            stamp: stamp(pid, tid),
            pid,
            tid,
            parent_pid: pid,
            parent_tid: leader,
        };
        sink(&Event::Fork(task));
        if let Ok(comm) = std::fs::read(dir.join("task").join(tid.0.to_string()).join("comm")) {
            let name = comm.strip_suffix(b"\n").unwrap_or(&comm);
            sink(&Event::Comm(Comm {
                stamp: stamp(pid, tid),
                pid,
                tid,
                name,
                is_exec: false,
            }));
        }
    }
    match std::fs::metadata(dir.join("ns/mnt")) {
        Ok(ns) => {
            // The others are asked for by whom they are for: see `namespace_links`.
            let mut links = NsLinks::default();
            if let Some(mnt) = links.get_mut(MNT_NS_INDEX) {
                (mnt.dev, mnt.inode) = (ns.dev(), ns.ino());
            }
            sink(&Event::Namespaces(NamespacesSeen {
                stamp: stamp(pid, leader),
                pid,
                mnt: Some(MntNs(ns.ino())),
                links,
            }));
        }
        Err(error) => count_unreadable(&error, totals),
    }
    match read_bounded(&dir.join("maps"), MAPS_LIMIT_BYTES) {
        Ok(maps) => {
            for mapped in maps
                .split(|byte| *byte == b'\n')
                .filter_map(|line| parse_maps_line(line, pid))
            {
                sink(&Event::Mapped(mapped));
            }
        }
        Err(error) => count_unreadable(&error, totals),
    }
}

fn count_unreadable(error: &io::Error, totals: &mut ScanTotals) {
    // Once a process, and not for one that is simply gone.
    if error.kind() == io::ErrorKind::PermissionDenied && totals.unreadable < totals.processes {
        totals.unreadable += 1;
    }
}

fn read_bounded(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(limit_bytes)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// One line of `/proc/PID/maps` (proc_pid_maps(5)), if it is an executable mapping:
/// `7f00-8f00 r-xp 00001000 08:01 1234    /usr/lib/libc.so.6`.
fn parse_maps_line(line: &[u8], pid: HostPid) -> Option<Mapped<'_>> {
    let mut rest = line;
    let mut field = || {
        let start = rest.iter().position(|byte| *byte != b' ')?;
        let from = rest.get(start..)?;
        let len = from
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(from.len());
        let (taken, left) = from.split_at_checked(len)?;
        rest = left;
        std::str::from_utf8(taken).ok()
    };
    let (range, permissions, offset, device, inode) =
        (field()?, field()?, field()?, field()?, field()?);
    if permissions.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let path = rest
        .iter()
        .position(|byte| *byte != b' ')
        .and_then(|at| rest.get(at..))
        .unwrap_or(b"//anon");
    Some(Mapped {
        stamp: stamp(pid, HostTid(pid.0)),
        pid,
        avma: hex(start)?..hex(end)?,
        file_offset_bytes: hex(offset)?,
        file: MappedFile::Inode {
            major: hex(major)? as u32,
            minor: hex(minor)? as u32,
            inode: inode.parse().ok()?,
            generation: 0,
        },
        path,
        is_kernel: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maps_line_keeps_spaces_in_its_path_and_only_executable_ones_count() {
        let line =
            b"7f0000001000-7f0000003000 r-xp 00002000 fe:01 123   /opt/my app/libx.so (deleted)";
        let mapped = parse_maps_line(line, HostPid(9)).expect("an executable mapping");
        assert_eq!(mapped.avma, 0x7f00_0000_1000..0x7f00_0000_3000);
        assert_eq!(
            (mapped.file_offset_bytes, mapped.path),
            (0x2000, &b"/opt/my app/libx.so (deleted)"[..])
        );
        assert_eq!(
            mapped.file,
            MappedFile::Inode {
                major: 0xfe,
                minor: 1,
                inode: 123,
                generation: 0
            }
        );
        let anonymous =
            parse_maps_line(b"7f00-8f00 rwxp 00000000 00:00 0 ", HostPid(9)).expect("executable");
        assert_eq!(anonymous.path, b"//anon");
        assert_eq!(
            parse_maps_line(b"7f00-8f00 rw-p 00000000 00:00 0 [heap]", HostPid(9)),
            None
        );
        assert_eq!(parse_maps_line(b"zz r-xp", HostPid(9)), None);
        assert_eq!(parse_maps_line(b"", HostPid(9)), None);
    }

    #[test]
    fn a_process_that_is_named_twice_or_by_a_thread_is_one_process() {
        let own = HostPid(std::process::id());
        // Tests run in threads of their own: this one's id is not the process's.
        let thread = HostPid(nix::unistd::gettid().as_raw() as u32);
        assert_ne!(thread, own);
        let family = with_descendants(Path::new(PROC), &[own, own, thread]).expect("/proc");
        assert_eq!(family.iter().filter(|pid| **pid == own).count(), 1);
        assert!(!family.contains(&thread));
    }

    #[test]
    fn a_child_that_nobody_waited_for_is_over() {
        let mut child = std::process::Command::new("true").spawn().expect("true");
        let pid = HostPid(child.id());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while !is_zombie(Path::new(PROC), pid) {
            assert!(std::time::Instant::now() < deadline, "it never ended");
            std::thread::yield_now();
        }
        assert!(
            start_ticks(Path::new(PROC), pid).is_some(),
            "it is still listed"
        );
        child.wait().expect("its status");
        assert!(!is_zombie(Path::new(PROC), HostPid(std::process::id())));
    }

    #[test]
    fn stat_fields_are_counted_behind_a_name_that_holds_anything() {
        let stat = b"42 (a) b ) S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 100 200";
        assert_eq!(stat_field(stat, 3), Some("S"));
        assert_eq!(stat_field(stat, 4), Some("7"));
        assert_eq!(stat_field(stat, 22), Some("9876"));
        assert_eq!(stat_field(b"42 (a", 4), None);
    }

    #[test]
    fn this_process_is_seen_with_its_name_and_its_own_code() {
        let pid = HostPid(std::process::id());
        let (mut mapped, mut named, mut totals) = (false, false, ScanTotals::default());
        let here = this_process_is_seen_with_its_name_and_its_own_code as *const () as u64;
        scan_process(
            Path::new("/proc"),
            pid,
            &mut |event| match event {
                Event::Mapped(found) => mapped |= found.avma.contains(&here),
                Event::Comm(comm) => named |= comm.tid == HostTid(pid.0) && !comm.name.is_empty(),
                _ => {}
            },
            &mut totals,
        );
        assert!(mapped && named);
        assert_eq!(
            totals,
            ScanTotals {
                processes: 1,
                unreadable: 0
            }
        );
    }
}
