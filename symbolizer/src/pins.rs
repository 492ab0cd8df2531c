//! Views of files, pinned while their processes live: a container's root and mount namespace outlast
//! the container until the recording ends.

use crate::hash::FastMap;
use profiler::files::{RootIdentity, TargetRoot, mnt_ns_of};
use profiler::live::started_by;
use profiler::{HostPid, MntNs};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Which view of files a process has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum RootRef {
    /// Not known: never seen alive.
    #[default]
    Unknown,
    /// The host's.
    Host,
    /// A pinned one.
    Pinned(u32),
}

/// Processes that are tried in the place of one that is gone.
const OTHERS_MAX: usize = 32;

/// Views that are pinned at an exec wait for a sample; of those that wait, the oldest go first. A
/// program that makes one mount namespace after the other costs us no more descriptors than these.
const WAITING_MAX: usize = 256;

/// A pinned view.
struct Pin {
    root: Arc<TargetRoot>,
    was_sampled: bool,
}

/// All pins of a recording.
pub(crate) struct Pins {
    host: Option<Arc<TargetRoot>>,
    /// By the number of their [`RootRef`]; `None` where one was given up.
    roots: Vec<Option<Pin>>,
    /// Numbers of those that were pinned before any sample, oldest first.
    waiting: VecDeque<u32>,
    by_identity: HashMap<RootIdentity, u32>,
    by_ns: FastMap<MntNs, u32>,
    /// Views that were not pinned because no descriptor is left.
    pub(crate) out_of_files: u64,
}

impl Pins {
    pub(crate) fn new() -> Self {
        Self {
            host: TargetRoot::host().ok().map(Arc::new),
            roots: Vec::new(),
            waiting: VecDeque::new(),
            by_identity: HashMap::new(),
            by_ns: FastMap::default(),
            out_of_files: 0,
        }
    }

    /// Whether `mnt` is our own mount namespace.
    pub(crate) fn is_host(&self, mnt: MntNs) -> bool {
        self.host.as_ref().is_some_and(|host| host.mnt_ns() == mnt)
    }

    /// Whether `pid`, if it still runs, has another root directory than we have.
    fn is_chrooted(&self, pid: HostPid, time_ns: u64) -> bool {
        let Some(host) = self.host.as_ref().map(|host| host.root_identity()) else {
            return false;
        };
        RootIdentity::of_process(pid).is_ok_and(|found| {
            found.mnt_ns == host.mnt_ns && found != host && started_by(pid, time_ns)
        })
    }

    /// Whether something in `mnt` is pinned.
    pub(crate) fn has(&self, mnt: MntNs) -> bool {
        self.by_ns.contains_key(&mnt)
    }

    /// Pins the view of a process that just execed: it may be gone before its first sample is read.
    pub(crate) fn pin_at_exec(
        &mut self,
        pid: HostPid,
        mnt: MntNs,
        time_ns: u64,
        others: impl IntoIterator<Item = HostPid>,
    ) {
        let known = self.roots.len();
        if let RootRef::Pinned(id) = self.find_or_pin(pid, Some(mnt), time_ns, others)
            && id as usize >= known
        {
            self.waiting.push_back(id);
        }
        while self.waiting.len() > WAITING_MAX {
            let oldest = self.waiting.pop_front();
            let Some(slot) = oldest.and_then(|id| self.roots.get_mut(id as usize)) else {
                return;
            };
            if let Some(pin) = slot.take_if(|pin| !pin.was_sampled) {
                let identity = pin.root.root_identity();
                self.by_identity.remove(&identity);
                self.by_ns.remove(&identity.mnt_ns);
            }
        }
    }

    /// Pins the view of `pid` for naming its samples, until the recording ends. See
    /// [`Self::find_or_pin`].
    pub(crate) fn pin(
        &mut self,
        pid: HostPid,
        mnt: Option<MntNs>,
        time_ns: u64,
        others: impl IntoIterator<Item = HostPid>,
    ) -> RootRef {
        let found = self.find_or_pin(pid, mnt, time_ns, others);
        if let RootRef::Pinned(id) = found
            && let Some(Some(pin)) = self.roots.get_mut(id as usize)
        {
            pin.was_sampled = true;
        }
        found
    }

    /// Pins the view of `pid`, which is known to have run at `time_ns`: another process under its
    /// pid is not taken for it. `mnt`: its mount namespace as far as records told; `others`: who
    /// else was in that namespace at that time.
    fn find_or_pin(
        &mut self,
        pid: HostPid,
        mnt: Option<MntNs>,
        time_ns: u64,
        others: impl IntoIterator<Item = HostPid>,
    ) -> RootRef {
        let mnt = match mnt {
            Some(mnt) => Some(mnt),
            None if started_by(pid, time_ns) => mnt_ns_of(pid).ok(),
            None => None,
        };
        if mnt.is_some_and(|mnt| self.is_host(mnt)) && !self.is_chrooted(pid, time_ns) {
            return RootRef::Host;
        }
        if let Some(root) = self.pin_living(pid, mnt, time_ns) {
            return RootRef::Pinned(root);
        }
        // Gone already. One that was beside it in the namespace and still is: the namespace has been
        // there all the time, so its number was not used again.
        let beside = mnt.and_then(|mnt| {
            let known = self.by_ns.get(&mnt).copied();
            known.or_else(|| {
                others
                    .into_iter()
                    .take(OTHERS_MAX)
                    .find_map(|other| self.pin_living(other, Some(mnt), time_ns))
            })
        });
        beside.map_or(RootRef::Unknown, RootRef::Pinned)
    }

    fn pin_living(&mut self, pid: HostPid, mnt: Option<MntNs>, time_ns: u64) -> Option<u32> {
        let identity = match RootIdentity::of_process(pid) {
            Ok(identity) => identity,
            Err(error) => {
                self.out_of_files += u64::from(error.is_out_of_files());
                return None;
            }
        };
        if mnt.is_some_and(|mnt| mnt != identity.mnt_ns) || !started_by(pid, time_ns) {
            return None;
        }
        if let Some(known) = self.by_identity.get(&identity) {
            return Some(*known);
        }
        let root = match TargetRoot::of_process(pid) {
            Ok(root) => root,
            Err(error) => {
                self.out_of_files += u64::from(error.is_out_of_files());
                return None;
            }
        };
        let identity = root.root_identity();
        let id = *self.by_identity.entry(identity).or_insert_with(|| {
            self.roots.push(Some(Pin {
                root: Arc::new(root),
                was_sampled: false,
            }));
            self.roots.len() as u32 - 1
        });
        self.by_ns.insert(identity.mnt_ns, id);
        Some(id)
    }

    /// Pins the view of a process that was recorded and still runs.
    pub(crate) fn pin_still_there(&mut self, pid: HostPid, time_ns: u64) -> Option<RootRef> {
        self.pin_living(pid, None, time_ns).map(RootRef::Pinned)
    }

    /// The pinned view.
    pub(crate) fn root(&self, root: RootRef) -> Option<&Arc<TargetRoot>> {
        match root {
            RootRef::Unknown => None,
            RootRef::Host => self.host.as_ref(),
            RootRef::Pinned(id) => self.roots.get(id as usize)?.as_ref().map(|pin| &pin.root),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_seen_through_one_beside_it() {
        let own = HostPid(std::process::id());
        let own_ns = mnt_ns_of(own).expect("we may look at ourselves");
        // Pids end at 2^22 (PID_MAX_LIMIT).
        let gone = HostPid(1 << 30);
        let mut pins = Pins {
            // Our own namespace shall be one like any other.
            host: None,
            ..Pins::new()
        };
        let nobody_beside = pins.pin(gone, Some(own_ns), u64::MAX, []);
        assert_eq!(nobody_beside, RootRef::Unknown);
        let elsewhere = pins.pin(gone, Some(MntNs(1)), u64::MAX, [own]);
        assert_eq!(elsewhere, RootRef::Unknown);
        let too_young = pins.pin(gone, Some(own_ns), 0, [own]);
        assert_eq!(too_young, RootRef::Unknown);
        let beside = pins.pin(gone, Some(own_ns), u64::MAX, [gone, own]);
        assert_eq!(beside, RootRef::Pinned(0));
        let known = pins.pin(gone, Some(own_ns), u64::MAX, []);
        assert_eq!(known, RootRef::Pinned(0));
    }

    #[test]
    fn views_that_wait_for_a_sample_are_given_up_oldest_first_and_sampled_ones_never() {
        let own = HostPid(std::process::id());
        let own_ns = mnt_ns_of(own).expect("we may look at ourselves");
        let mut pins = Pins {
            host: None,
            ..Pins::new()
        };
        // Forgetting the identity makes the same view a new one each time.
        let exec = |pins: &mut Pins| {
            pins.by_identity.clear();
            pins.by_ns.clear();
            pins.pin_at_exec(own, own_ns, u64::MAX, []);
        };
        exec(&mut pins);
        let sampled = pins.pin(own, Some(own_ns), u64::MAX, []);
        assert_eq!(sampled, RootRef::Pinned(0));
        for _ in 0..WAITING_MAX + 10 {
            exec(&mut pins);
        }
        assert!(pins.root(sampled).is_some());
        let held = pins.roots.iter().flatten().count();
        assert_eq!(held, WAITING_MAX + 1);
        assert!(pins.roots[1].is_none(), "the oldest was not given up");
        assert!(pins.roots.last().is_some_and(Option::is_some));
    }
}
