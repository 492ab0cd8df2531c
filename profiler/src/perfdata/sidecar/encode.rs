//! The sidecar's bytes.

use super::numbers::put;
use super::{ImageFile, Names, Sidecar, SpaceKey};
use crate::CgroupId;

/// What the section begins with.
pub(super) const MAGIC: &[u8; 8] = b"ctrflame";
/// Raised when a reader of the version before would misread it; what is new comes in a new block.
pub(super) const VERSION: u32 = 1;

/// Kinds of blocks, in the order in which they are written: each names only what came before.
pub(super) mod block {
    pub(in super::super) const LIMITS: u32 = 1;
    pub(in super::super) const TEXTS: u32 = 2;
    pub(in super::super) const FRAMES: u32 = 3;
    pub(in super::super) const FRAME_LISTS: u32 = 4;
    pub(in super::super) const KERNEL: u32 = 5;
    pub(in super::super) const VDSO: u32 = 6;
    pub(in super::super) const IMAGES: u32 = 7;
    pub(in super::super) const GENERATED: u32 = 8;
    pub(in super::super) const TAGS: u32 = 9;
    pub(in super::super) const PROCESSES: u32 = 10;
    pub(in super::super) const CONTAINERS: u32 = 11;
    pub(in super::super) const JITTED: u32 = 12;
}

/// How an image is told.
pub(super) mod image {
    pub(in super::super) const BUILD_ID: u64 = 0;
    pub(in super::super) const INODE: u64 = 1;
    pub(in super::super) const PATH: u64 = 2;
}

impl Sidecar {
    /// Its bytes, in host byte order.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_ne_bytes());
        // Eight bytes for what version 1 does not need.
        bytes.extend([0; 4]);
        let mut add = |kind: u32, content: Vec<u8>| {
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend((content.len() as u64).to_ne_bytes());
            bytes.extend(content);
        };
        add(block::LIMITS, numbers(&[self.max_stack.into()]));
        add(block::TEXTS, self.encode_texts());
        add(block::FRAMES, self.encode_frames());
        add(block::FRAME_LISTS, self.encode_lists());
        add(block::KERNEL, names(&self.kernel));
        add(block::VDSO, names(&self.vdso));
        add(block::IMAGES, self.encode_images());
        add(block::GENERATED, self.encode_generated());
        add(block::TAGS, self.encode_tags());
        add(block::PROCESSES, self.encode_processes());
        add(block::CONTAINERS, self.encode_containers());
        add(block::JITTED, self.encode_jitted());
        bytes
    }

    fn encode_texts(&self) -> Vec<u8> {
        let mut bytes = numbers(&[self.texts.len() as u64]);
        let mut start = 0;
        for end in &self.texts.ends {
            put(&mut bytes, u64::from(end - start));
            start = *end;
        }
        bytes.extend(&self.texts.bytes);
        bytes
    }

    fn encode_frames(&self) -> Vec<u8> {
        let mut bytes = numbers(&[self.frames.len() as u64]);
        for frame in &self.frames {
            bytes.extend([frame.kind, frame.reason]);
            put(&mut bytes, frame.text.0.into());
        }
        bytes
    }

    fn encode_lists(&self) -> Vec<u8> {
        let mut bytes = numbers(&[self.list_ends.len() as u64]);
        let mut start = 0;
        for end in &self.list_ends {
            put(&mut bytes, u64::from(end - start));
            let list = self.frame_lists.get(start as usize..*end as usize);
            for frame in list.unwrap_or_default() {
                put(&mut bytes, u64::from(*frame));
            }
            start = *end;
        }
        bytes
    }

    fn encode_images(&self) -> Vec<u8> {
        let mut bytes = numbers(&[self.images.len() as u64]);
        for (file, known) in &self.images {
            match file {
                ImageFile::BuildId(id) => {
                    let id = id.as_bytes();
                    bytes.extend(numbers(&[image::BUILD_ID, id.len() as u64]));
                    bytes.extend(id);
                }
                ImageFile::Inode {
                    major,
                    minor,
                    inode,
                    generation,
                } => {
                    let (major, minor) = (u64::from(*major), u64::from(*minor));
                    bytes.extend(numbers(&[image::INODE, major, minor, *inode, *generation]));
                }
                ImageFile::Path { mnt, path } => {
                    let mnt = option(mnt.map(|mnt| mnt.0));
                    bytes.extend(numbers(&[image::PATH, mnt.0, mnt.1, path.len() as u64]));
                    bytes.extend(path);
                }
            }
            bytes.extend(names(known));
        }
        bytes
    }

    fn encode_generated(&self) -> Vec<u8> {
        let mut bytes = numbers(&[self.generated.len() as u64]);
        for (space, known) in &self.generated {
            put_space(&mut bytes, *space);
            bytes.extend(names(known));
        }
        bytes
    }

    fn encode_tags(&self) -> Vec<u8> {
        let mut bytes = numbers(&[self.tags.len() as u64]);
        for tagged in &self.tags {
            put_space(&mut bytes, tagged.space);
            let CgroupId(cgroup) = tagged.cgroup.unwrap_or(CgroupId(0));
            let is_known = u64::from(tagged.cgroup.is_some());
            bytes.extend(numbers(&[is_known, cgroup, tagged.tag.0.into()]));
        }
        bytes
    }

    fn encode_processes(&self) -> Vec<u8> {
        let mut bytes = numbers(&[self.processes.len() as u64]);
        for process in &self.processes {
            put_space(&mut bytes, process.space);
            let (ns_pid, uid) = (u64::from(process.ns_pid.0), u64::from(process.uid));
            bytes.extend(numbers(&[ns_pid, uid]));
        }
        bytes
    }

    /// Each number as the step from the one before, where those in front of it are the same.
    fn encode_jitted(&self) -> Vec<u8> {
        let mut bytes = numbers(&[self.jitted.len() as u64]);
        let mut before = (0, 0, 0);
        for jitted in &self.jitted {
            let now = (u64::from(jitted.pid.0), jitted.addr, jitted.from_ns);
            let addr = if now.0 == before.0 { before.1 } else { 0 };
            let is_alike = (now.0, now.1) == (before.0, before.1);
            let from_ns = if is_alike { before.2 } else { 0 };
            // 0 for no name.
            let text = jitted.text.map_or(0, |text| u64::from(text.0) + 1);
            bytes.extend(numbers(&[
                now.0 - before.0,
                now.1 - addr,
                now.2 - from_ns,
                text,
            ]));
            before = now;
        }
        bytes
    }

    fn encode_containers(&self) -> Vec<u8> {
        let mut bytes = numbers(&[self.containers.len() as u64]);
        for container in &self.containers {
            let texts = [
                container.tag,
                container.id,
                container.name,
                container.cgroup_path,
            ];
            bytes.extend(numbers(&texts.map(|text| text.0.into())));
        }
        bytes
    }
}

fn numbers(all: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in all {
        put(&mut bytes, *number);
    }
    bytes
}

/// Whether there is one, and which.
fn option(value: Option<u64>) -> (u64, u64) {
    (u64::from(value.is_some()), value.unwrap_or(0))
}

fn put_space(bytes: &mut Vec<u8>, space: SpaceKey) {
    put(bytes, space.pid.0.into());
    put(bytes, space.began_ns);
}

/// Each address as the step from the one before.
fn names(known: &Names) -> Vec<u8> {
    let mut bytes = numbers(&[known.len() as u64]);
    let mut before = 0;
    for (addr, frames) in known {
        put(&mut bytes, addr - before);
        put(&mut bytes, frames.0.into());
        before = *addr;
    }
    bytes
}
