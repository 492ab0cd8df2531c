//! What a recording of ours says beyond what perf knows: containers, and the names of all that was
//! sampled, so that it names itself on any host and at any time.
//!
//! It is a feature section of its own number, which perf passes over:
//! ```text
//!  magic version │ block: kind, length │ … │ block …     numbers inside: LEB128, addresses as steps
//! ```
//! A reader skips blocks that it does not know. Every length and every index is checked when it is
//! read; damage is an error with its file offset, and the recording is then read like anybody's.

mod decode;
mod encode;
mod numbers;
#[cfg(test)]
mod tests;

use crate::{BuildId, CgroupId, HostPid, MntNs, NsPid};
use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;

/// Number of the feature section: far above those that perf gives out one by one.
pub(crate) const FEATURE: u32 = 200;

/// Index of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextId(pub(crate) u32);

/// Index of what one address is called: a list of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FramesId(pub(crate) u32);

/// One function, or the reason why there is no name. What the codes mean is the business of who
/// makes the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamedFrame {
    /// The kind of code.
    pub kind: u8,
    /// 0 for a name, else the reason.
    pub reason: u8,
    /// The name, or what the reason is about.
    pub text: TextId,
}

/// An address space: a process, since when it has this one. The first sample of it begins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpaceKey {
    /// The process; `u32::MAX` for tasks past their exit.
    pub pid: HostPid,
    /// Time of its first sample.
    pub began_ns: u64,
}

/// What makes a mapped file one image.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageFile {
    /// Its build id.
    BuildId(BuildId),
    /// Device, inode and generation, as its mappings have them.
    Inode {
        /// Device number, major part.
        major: u32,
        /// Device number, minor part.
        minor: u32,
        /// Inode number.
        inode: u64,
        /// Inode generation.
        generation: u64,
    },
    /// Its path in a mount namespace.
    Path {
        /// The namespace, where it is known.
        mnt: Option<MntNs>,
        /// The path, as its mappings have it.
        path: Vec<u8>,
    },
}

/// Addresses or offsets, ascending, with what each is called.
pub type Names = Vec<(u64, FramesId)>;

/// What an address of generated code was called from some time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Jitted {
    /// The process.
    pub pid: HostPid,
    /// The address.
    pub addr: u64,
    /// Since when, on the recording's clock.
    pub from_ns: u64,
    /// The name; `None` from when on nothing tells.
    pub text: Option<TextId>,
}

/// The container's tag of the tasks of an address space in a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tagged {
    /// Whose.
    pub space: SpaceKey,
    /// In which cgroup, as the samples tell.
    pub cgroup: Option<CgroupId>,
    /// The tag, such as `docker:web (3f2a12345678)`, or `host`.
    pub tag: TextId,
}

/// Who a sampled process was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessSeen {
    /// Which.
    pub space: SpaceKey,
    /// Its pid inside its container.
    pub ns_pid: NsPid,
    /// Its effective user, as the host sees it.
    pub uid: u32,
}

/// A container that was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerSeen {
    /// Its tag.
    pub tag: TextId,
    /// Its id, in full.
    pub id: TextId,
    /// Its name; empty where its engine told of none.
    pub name: TextId,
    /// Its cgroup, below the hierarchy's root.
    pub cgroup_path: TextId,
}

/// All of it. Made by [`SidecarBuilder`], or read from a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sidecar {
    /// Entries at which the kernel cut chains (`kernel.perf_event_max_stack`).
    pub max_stack: u32,
    texts: Texts,
    frames: Vec<NamedFrame>,
    /// Where in `frame_lists` each list ends.
    list_ends: Vec<u32>,
    frame_lists: Vec<u32>,
    /// Kernel addresses.
    pub kernel: Names,
    /// Offsets in the vdso.
    pub vdso: Names,
    /// File offsets in images.
    pub images: Vec<(ImageFile, Names)>,
    /// Addresses in code that processes generated.
    pub generated: Vec<(SpaceKey, Names)>,
    /// Addresses in code that processes generated, by their times, ascending.
    pub jitted: Vec<Jitted>,
    /// Tags, ascending.
    pub tags: Vec<Tagged>,
    /// Processes, ascending.
    pub processes: Vec<ProcessSeen>,
    /// Containers.
    pub containers: Vec<ContainerSeen>,
}

/// Strings behind each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Texts {
    fn get(&self, id: TextId) -> &[u8] {
        slice_of(&self.bytes, &self.ends, id.0)
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend(text);
        self.ends.push(self.bytes.len() as u32);
    }
}

/// Part `number` of what lies behind each other in `all` and ends where `ends` say.
fn slice_of<'a, T>(all: &'a [T], ends: &[u32], number: u32) -> &'a [T] {
    let end = |number: Option<u32>| {
        let end = number.and_then(|number| ends.get(number as usize));
        end.map_or(0, |end| *end as usize)
    };
    all.get(end(number.checked_sub(1))..end(Some(number)))
        .unwrap_or(&[])
}

impl Sidecar {
    /// A string; bytes that are not UTF-8 are replaced.
    pub fn text(&self, id: TextId) -> Cow<'_, str> {
        String::from_utf8_lossy(self.texts.get(id))
    }

    /// What an address is called: innermost first.
    pub fn frames(&self, id: FramesId) -> impl ExactSizeIterator<Item = NamedFrame> + '_ {
        let list = slice_of(&self.frame_lists, &self.list_ends, id.0);
        // Both the reader and the builder see to it that each is there.
        let nameless = NamedFrame {
            kind: 0,
            reason: u8::MAX,
            text: TextId(u32::MAX),
        };
        list.iter().map(move |frame| {
            let frame = self.frames.get(*frame as usize);
            frame.copied().unwrap_or(nameless)
        })
    }

    /// The tag of the tasks of `space` in `cgroup`: that of the latest space of this process that
    /// had begun by then, since what is read in parts has its first sample later.
    pub fn tag_of(&self, space: SpaceKey, cgroup: Option<CgroupId>) -> Option<TextId> {
        let key = |tagged: &Tagged| (tagged.space.pid, tagged.cgroup, tagged.space.began_ns);
        let wanted = (space.pid, cgroup, space.began_ns);
        let behind = self.tags.partition_point(|tagged| key(tagged) <= wanted);
        let is_alike = |tagged: &&Tagged| (tagged.space.pid, tagged.cgroup) == (space.pid, cgroup);
        let before = behind.checked_sub(1).and_then(|at| self.tags.get(at));
        let found = before.filter(is_alike);
        found
            .or_else(|| self.tags.get(behind).filter(is_alike))
            .map(|tagged| tagged.tag)
    }

    /// The names in the generated code of `space`: of the latest space of this process that had
    /// begun by then.
    pub fn generated_by(&self, space: SpaceKey) -> Option<&Names> {
        let behind = self.generated.partition_point(|(key, _)| *key <= space);
        let before = behind.checked_sub(1).and_then(|at| self.generated.get(at));
        before
            .filter(|(key, _)| key.pid == space.pid)
            .map(|(_, names)| names)
    }

    /// What an address of generated code of `pid` was called at a time.
    pub fn jitted_at(&self, pid: HostPid, addr: u64, time_ns: u64) -> Option<TextId> {
        let key = |jitted: &Jitted| (jitted.pid, jitted.addr, jitted.from_ns);
        let behind = self
            .jitted
            .partition_point(|jitted| key(jitted) <= (pid, addr, time_ns));
        let before = behind.checked_sub(1).and_then(|at| self.jitted.get(at))?;
        let is_it = (before.pid, before.addr) == (pid, addr);
        before.text.filter(|_| is_it)
    }

    /// Puts everything into the order in which it is looked up and written.
    fn sort(&mut self) {
        let by_addr = |names: &mut Names| {
            names.sort_unstable();
            names.dedup_by_key(|(addr, _)| *addr);
        };
        by_addr(&mut self.kernel);
        by_addr(&mut self.vdso);
        self.images.sort_unstable();
        merge_alike(&mut self.images);
        self.images.iter_mut().for_each(|(_, names)| by_addr(names));
        self.generated.sort_unstable();
        merge_alike(&mut self.generated);
        self.generated
            .iter_mut()
            .for_each(|(_, names)| by_addr(names));
        let key = |jitted: &Jitted| (jitted.pid, jitted.addr, jitted.from_ns);
        // Of one time, the one that came last.
        self.jitted.reverse();
        self.jitted.sort_by_key(key);
        self.jitted.dedup_by_key(|jitted| key(jitted));
        let key = |tagged: &Tagged| (tagged.space.pid, tagged.cgroup, tagged.space.began_ns);
        self.tags.sort_unstable_by_key(key);
        self.tags.dedup_by_key(|tagged| key(tagged));
        self.processes.sort_unstable();
        self.processes.dedup_by_key(|process| process.space);
        self.containers.sort_unstable();
        self.containers.dedup();
    }
}

/// Makes neighbours with one key one.
fn merge_alike<K: PartialEq>(all: &mut Vec<(K, Names)>) {
    all.dedup_by(|next, kept| {
        let is_alike = next.0 == kept.0;
        if is_alike {
            kept.1.append(&mut next.1);
        }
        is_alike
    });
}

/// Looks a place up in names that are ascending.
pub fn name_at(names: &Names, at: u64) -> Option<FramesId> {
    let found = names.binary_search_by_key(&at, |(known, _)| *known).ok()?;
    names.get(found).map(|(_, frames)| *frames)
}

/// Makes a [`Sidecar`]: equal strings, frames and lists of frames are kept once.
#[derive(Debug, Default)]
pub struct SidecarBuilder {
    /// What is put in besides names.
    pub sidecar: Sidecar,
    texts: HashMap<Vec<u8>, u32>,
    frames: HashMap<NamedFrame, u32>,
    lists: HashMap<Vec<u32>, u32>,
}

impl SidecarBuilder {
    /// The index of a string.
    pub fn text(&mut self, text: &str) -> TextId {
        if let Some(id) = self.texts.get(text.as_bytes()) {
            return TextId(*id);
        }
        self.sidecar.texts.push(text.as_bytes());
        TextId(next_id(&mut self.texts, text.as_bytes().to_vec()))
    }

    /// The index of what an address is called: its frames, innermost first.
    pub fn frames(&mut self, frames: &[NamedFrame]) -> FramesId {
        let list: Vec<u32> = frames.iter().map(|frame| self.frame(*frame)).collect();
        if let Some(id) = self.lists.get(&list) {
            return FramesId(*id);
        }
        let Sidecar {
            frame_lists,
            list_ends,
            ..
        } = &mut self.sidecar;
        frame_lists.extend(&list);
        list_ends.push(frame_lists.len() as u32);
        FramesId(next_id(&mut self.lists, list))
    }

    fn frame(&mut self, frame: NamedFrame) -> u32 {
        if let Some(id) = self.frames.get(&frame) {
            return *id;
        }
        self.sidecar.frames.push(frame);
        next_id(&mut self.frames, frame)
    }

    /// The finished sidecar.
    pub fn finish(mut self) -> Sidecar {
        self.sidecar.sort();
        self.sidecar
    }
}

/// Numbers a new key behind those that are known.
fn next_id<K: Hash + Eq>(ids: &mut HashMap<K, u32>, key: K) -> u32 {
    let id = ids.len() as u32;
    ids.insert(key, id);
    id
}
