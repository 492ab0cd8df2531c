//! Whose a perf map is that lies under the pid of a recorded process which is not there any more.
//!
//! `/tmp/perf-PID.map` says of its process only the pid, and pids are used again. Of a recording in a
//! file, the one on this host is taken for the recorded process's own unless it must or may be somebody
//! else's. Who has the pid at the moment of the conversion is chance, so that alone decides nothing:
//!
//! | the pid now | the map was last changed | |
//! | --- | --- | --- |
//! | nobody's | any time | the recorded process's |
//! | another process's | before that one began | the recorded process's: the other cannot have written it |
//! | another process's | since then, or nobody knows when it began | the other one's, perhaps: not used |
//! | anybody's | before the boot that was recorded | of a process that the boot ended: not used |
//!
//! "Last changed" is the later of mtime and ctime: nobody can set back the latter, so that a map which
//! was copied or unpacked with its old time is not taken for an old one. A map older than the recording
//! is no worse for it: a JVM writes its own once. Of a process in a container, `/tmp/perf-PID.map` on the
//! host is no file that it wrote (it would use its pid inside, below its own root), but one that somebody
//! put there for the host's pid; the same rule holds.
//!
//! What is left: the map of a third process that had the pid and is gone too. Neither the map nor the
//! recording tells; `docs/perf-data.md` says so to the user. And a wall clock that was set forward after the
//! other process wrote its map, by more than that one has run since.

use crate::living::Now;

/// File times may be this much too early: FAT counts in two seconds, others in jiffies.
const FILE_TIME_STEP_NS: u64 = 2_000_000_000;

/// Why a map is not taken for the recorded process's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotItsMap {
    /// Another process has the pid, and may have written it.
    OfAnother,
    /// It was there before the process that was recorded.
    BeforeProcess,
    /// It was there before the host was booted, which was recorded since.
    BeforeBoot,
}

/// Whether a map that was last changed at `changed_ns` is older than a process: of one that had its pid before, in
/// a container that was started again with its files, or on a host that ran out of pids.
pub(crate) fn is_from_before(process_began_ns: Option<u64>, changed_ns: u64) -> bool {
    process_began_ns.is_some_and(|began| changed_ns.saturating_add(FILE_TIME_STEP_NS) < began)
}

/// Whether the map under a recorded pid may not be used. Times are the wall clock's, in nanoseconds since
/// 1970; `booted_ns` is known if the recording is of this host since then.
pub(crate) fn not_its_map(
    now: Option<Now>,
    changed_ns: u64,
    booted_ns: Option<u64>,
) -> Option<NotItsMap> {
    let is_before = |began_ns: u64| is_from_before(Some(began_ns), changed_ns);
    if booted_ns.is_some_and(is_before) {
        return Some(NotItsMap::BeforeBoot);
    }
    match now {
        Some(Now::Another { began_ns }) if !began_ns.is_some_and(is_before) => {
            Some(NotItsMap::OfAnother)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn another(began_ns: u64) -> Option<Now> {
        Some(Now::Another {
            began_ns: Some(began_ns),
        })
    }

    #[test]
    fn a_map_that_was_there_before_the_pids_holder_is_not_the_holders() {
        let changed_ns = 1000 * S;
        assert_eq!(not_its_map(another(1003 * S), changed_ns, None), None);
        for holder in [
            another(1002 * S),
            another(999 * S),
            Some(Now::Another { began_ns: None }),
        ] {
            assert_eq!(
                not_its_map(holder, changed_ns, None),
                Some(NotItsMap::OfAnother),
                "{holder:?}"
            );
        }
        for nobody in [None, Some(Now::Gone)] {
            assert_eq!(not_its_map(nobody, changed_ns, None), None);
        }
    }

    #[test]
    fn a_map_from_before_the_recorded_boot_is_nobodys_of_that_boot() {
        for (booted_ns, refused) in [(1003 * S, true), (1001 * S, false), (5 * S, false)] {
            assert_eq!(
                not_its_map(Some(Now::Gone), 1000 * S, Some(booted_ns)),
                refused.then_some(NotItsMap::BeforeBoot)
            );
        }
    }
}
