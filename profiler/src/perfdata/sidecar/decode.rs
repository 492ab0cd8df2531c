//! The sidecar out of a file that anybody may have written.

use super::super::PerfDataError;
use super::super::bytes::Fields;
use super::encode::{MAGIC, VERSION, block, image};
use super::numbers::{take, take_below, take_count};
use super::{
    ContainerSeen, FramesId, ImageFile, Jitted, NamedFrame, Names, ProcessSeen, Sidecar, SpaceKey,
    Tagged, TextId,
};
use crate::{BuildId, CgroupId, HostPid, MntNs, NsPid};

impl Sidecar {
    /// Reads a section. What it costs in memory is a small multiple of its length.
    pub(crate) fn decode(mut fields: Fields<'_>) -> Result<Self, PerfDataError> {
        let offset = fields.offset();
        let magic: [u8; 8] = fields.array()?;
        if magic != *MAGIC {
            return Err(PerfDataError::BadField {
                offset,
                what: "first bytes of the sidecar (`ctrflame` expected)",
                found: u64::from_le_bytes(magic),
            });
        }
        let offset = fields.offset();
        let (version, _) = (fields.u32()?, fields.u32()?);
        if version != VERSION {
            return Err(PerfDataError::BadField {
                offset,
                what: "version of the sidecar (1 expected)",
                found: version.into(),
            });
        }
        let mut sidecar = Self::default();
        while !fields.is_empty() {
            let (kind, _) = (fields.u32()?, fields.u32()?);
            let len_bytes = usize::try_from(fields.u64()?).unwrap_or(usize::MAX);
            let (offset, order) = (fields.offset(), fields.order());
            let content = Fields::new(fields.take(len_bytes)?, offset, order, "sidecar");
            sidecar.take_block(kind, content)?;
        }
        Ok(sidecar)
    }

    fn take_block(&mut self, kind: u32, mut at: Fields<'_>) -> Result<(), PerfDataError> {
        let at = &mut at;
        match kind {
            block::LIMITS => self.max_stack = take_u32(at)?,
            block::TEXTS => self.take_texts(at)?,
            block::FRAMES => self.take_frames(at)?,
            block::FRAME_LISTS => self.take_lists(at)?,
            block::KERNEL => self.kernel = self.take_names(at)?,
            block::VDSO => self.vdso = self.take_names(at)?,
            block::IMAGES => {
                for _ in 0..take_count(at)? {
                    let entry = (take_image(at)?, self.take_names(at)?);
                    push_ascending(&mut self.images, entry, |(file, _)| file.clone(), at)?;
                }
            }
            block::GENERATED => {
                for _ in 0..take_count(at)? {
                    let entry = (take_space(at)?, self.take_names(at)?);
                    push_ascending(&mut self.generated, entry, |(space, _)| *space, at)?;
                }
            }
            block::TAGS => self.take_tags(at)?,
            block::PROCESSES => {
                for _ in 0..take_count(at)? {
                    let process = ProcessSeen {
                        space: take_space(at)?,
                        ns_pid: NsPid(take_u32(at)?),
                        uid: take_u32(at)?,
                    };
                    push_ascending(&mut self.processes, process, |process| process.space, at)?;
                }
            }
            block::CONTAINERS => {
                for _ in 0..take_count(at)? {
                    let container = ContainerSeen {
                        tag: self.take_text(at)?,
                        id: self.take_text(at)?,
                        name: self.take_text(at)?,
                        cgroup_path: self.take_text(at)?,
                    };
                    self.containers.push(container);
                }
            }
            block::JITTED => self.take_jitted(at)?,
            _ => {}
        }
        Ok(())
    }

    fn take_jitted(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        let mut before = (0_u64, 0_u64, 0_u64);
        for _ in 0..take_count(at)? {
            let offset = at.offset();
            let too_far = |step| not_ascending(offset, step);
            let mut step = |from: u64| {
                let step = take(at)?;
                from.checked_add(step).ok_or_else(|| too_far(step))
            };
            let pid = step(before.0)?;
            let addr = step(if pid == before.0 { before.1 } else { 0 })?;
            let is_alike = (pid, addr) == (before.0, before.1);
            let from_ns = step(if is_alike { before.2 } else { 0 })?;
            before = (pid, addr, from_ns);
            let known = self.texts.len() as u64 + 1;
            let text = take_below(at, known, "string of the sidecar (a known one expected)")?;
            let jitted = Jitted {
                pid: HostPid(u32::try_from(pid).map_err(|_| too_far(pid))?),
                addr,
                from_ns,
                text: text.checked_sub(1).map(|text| TextId(text as u32)),
            };
            let key = |jitted: &Jitted| (jitted.pid, jitted.addr, jitted.from_ns);
            push_ascending(&mut self.jitted, jitted, key, at)?;
        }
        Ok(())
    }

    fn take_texts(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        let mut end = 0;
        for _ in 0..take_count(at)? {
            // Below four thousand million, as the bytes behind them are.
            let most = at.rest().len() as u64 + 1;
            end += take_below(at, most, "length of a string in the sidecar")?;
            self.texts.ends.push(u32::try_from(end).unwrap_or(u32::MAX));
        }
        let len_bytes = usize::try_from(end).unwrap_or(usize::MAX);
        self.texts.bytes = at.take(len_bytes)?.to_vec();
        Ok(())
    }

    fn take_frames(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        for _ in 0..take_count(at)? {
            let [kind, reason] = at.array()?;
            let text = self.take_text(at)?;
            self.frames.push(NamedFrame { kind, reason, text });
        }
        Ok(())
    }

    fn take_lists(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        for _ in 0..take_count(at)? {
            for _ in 0..take_count(at)? {
                let known = self.frames.len() as u64;
                let frame = take_below(at, known, "frame of the sidecar (a known one expected)")?;
                self.frame_lists.push(frame as u32);
            }
            self.list_ends.push(self.frame_lists.len() as u32);
        }
        Ok(())
    }

    fn take_tags(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        for _ in 0..take_count(at)? {
            let space = take_space(at)?;
            let cgroup = take_option(at)?.map(CgroupId);
            let tag = self.take_text(at)?;
            let tagged = Tagged { space, cgroup, tag };
            let key = |tagged: &Tagged| (tagged.space.pid, tagged.cgroup, tagged.space.began_ns);
            push_ascending(&mut self.tags, tagged, key, at)?;
        }
        Ok(())
    }

    fn take_text(&self, at: &mut Fields<'_>) -> Result<TextId, PerfDataError> {
        let known = self.texts.len() as u64;
        let text = take_below(at, known, "string of the sidecar (a known one expected)")?;
        Ok(TextId(text as u32))
    }

    fn take_names(&self, at: &mut Fields<'_>) -> Result<Names, PerfDataError> {
        let mut names = Names::new();
        let mut addr = 0_u64;
        for _ in 0..take_count(at)? {
            let offset = at.offset();
            let step = take(at)?;
            let next = addr
                .checked_add(step)
                .filter(|_| step > 0 || names.is_empty());
            addr = next.ok_or_else(|| not_ascending(offset, step))?;
            let known = self.list_ends.len() as u64;
            let frames = take_below(at, known, "names of a place (known ones expected)")?;
            names.push((addr, FramesId(frames as u32)));
        }
        Ok(names)
    }
}

fn take_u32(at: &mut Fields<'_>) -> Result<u32, PerfDataError> {
    let number = take_below(at, 1 << 32, "number of the sidecar (32 bits expected)")?;
    Ok(number as u32)
}

fn take_option(at: &mut Fields<'_>) -> Result<Option<u64>, PerfDataError> {
    let is_known = take_below(
        at,
        2,
        "presence of a number in the sidecar (0 or 1 expected)",
    )?;
    let value = take(at)?;
    Ok((is_known == 1).then_some(value))
}

fn take_space(at: &mut Fields<'_>) -> Result<SpaceKey, PerfDataError> {
    Ok(SpaceKey {
        pid: HostPid(take_u32(at)?),
        began_ns: take(at)?,
    })
}

fn take_image(at: &mut Fields<'_>) -> Result<ImageFile, PerfDataError> {
    let offset = at.offset();
    let kind = take(at)?;
    match kind {
        image::BUILD_ID => {
            let len = take_count(at)?;
            let id = BuildId::new(at.take(len as usize)?);
            id.map(ImageFile::BuildId).ok_or(PerfDataError::BadField {
                offset,
                what: "length of a build id in the sidecar (1 to 20 expected)",
                found: len,
            })
        }
        image::INODE => Ok(ImageFile::Inode {
            major: take_u32(at)?,
            minor: take_u32(at)?,
            inode: take(at)?,
            generation: take(at)?,
        }),
        image::PATH => {
            let mnt = take_option(at)?.map(MntNs);
            let len = take_count(at)?;
            Ok(ImageFile::Path {
                mnt,
                path: at.take(len as usize)?.to_vec(),
            })
        }
        found => Err(PerfDataError::BadField {
            offset,
            what: "kind of an image in the sidecar (0 to 2 expected)",
            found,
        }),
    }
}

/// Adds what must lie behind all that is there: it is looked up by halving.
fn push_ascending<T, K: Ord>(
    into: &mut Vec<T>,
    new: T,
    key: impl Fn(&T) -> K,
    at: &Fields<'_>,
) -> Result<(), PerfDataError> {
    if into.last().is_some_and(|last| key(last) >= key(&new)) {
        return Err(not_ascending(at.offset(), into.len() as u64));
    }
    into.push(new);
    Ok(())
}

/// `found`: the step, or the number of the entry.
fn not_ascending(offset: u64, found: u64) -> PerfDataError {
    PerfDataError::BadField {
        offset,
        what: "step to the next entry in the sidecar (an ascending one expected)",
        found,
    }
}
