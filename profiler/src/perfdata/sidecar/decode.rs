//! The sidecar out of a file that anybody may have written.

use super::super::PerfDataError;
use super::super::bytes::Fields;
use super::encode::{MAGIC, VERSION, block, image};
use super::numbers::{take, take_below, take_count};
use super::{
    ContainerSeen, FramesId, ImageFile, Jitted, NamedFrame, Names, ProcessSeen, Sidecar, SpaceKey,
    Tagged, TextId, Texts,
};
use crate::{BuildId, CgroupId, HostPid, MntNs, NsPid};

/// Most that a section may cost in memory: what real ones do is twice their length.
const MOST_TIMES: usize = 3;
/// What it may cost besides.
const MOST_BESIDES_BYTES: usize = 32 << 20;

impl Sidecar {
    /// Reads a section. What it costs in memory is a small multiple of its length, or an error.
    pub(crate) fn decode(mut fields: Fields<'_>) -> Result<Self, PerfDataError> {
        let most_bytes = MOST_TIMES * fields.rest().len() + MOST_BESIDES_BYTES;
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
        let mut decoder = Decoder {
            sidecar: Self::default(),
            left_bytes: most_bytes,
        };
        while !fields.is_empty() {
            let (kind, _) = (fields.u32()?, fields.u32()?);
            let len_bytes = usize::try_from(fields.u64()?).unwrap_or(usize::MAX);
            let (offset, order) = (fields.offset(), fields.order());
            let content = Fields::new(fields.take(len_bytes)?, offset, order, "sidecar");
            decoder.take_block(kind, content)?;
        }
        Ok(decoder.sidecar)
    }
}

/// A sidecar while it is read.
struct Decoder {
    sidecar: Sidecar,
    /// What may still be allocated.
    left_bytes: usize,
}

impl Decoder {
    /// How many elements follow, and a list with room for them.
    fn take_list<T>(&mut self, at: &mut Fields<'_>) -> Result<(usize, Vec<T>), PerfDataError> {
        let count = self.take_charged::<T>(at)?;
        Ok((count, Vec::with_capacity(count)))
    }

    /// How many elements follow, for which there is room.
    fn take_charged<T>(&mut self, at: &mut Fields<'_>) -> Result<usize, PerfDataError> {
        let offset = at.offset();
        let count = take_count(at)? as usize;
        self.charge(count.saturating_mul(size_of::<T>()), offset)?;
        Ok(count)
    }

    fn charge(&mut self, bytes: usize, offset: u64) -> Result<(), PerfDataError> {
        let left = self.left_bytes.checked_sub(bytes);
        self.left_bytes = left.ok_or(PerfDataError::BadField {
            offset,
            what: "room for what the sidecar tells (a small multiple of its length expected)",
            found: bytes as u64,
        })?;
        Ok(())
    }

    fn take_block(&mut self, kind: u32, mut at: Fields<'_>) -> Result<(), PerfDataError> {
        let at = &mut at;
        match kind {
            block::LIMITS => self.sidecar.max_stack = take_u32(at)?,
            block::TEXTS => self.take_texts(at)?,
            block::FRAMES => self.take_frames(at)?,
            block::FRAME_LISTS => self.take_frame_lists(at)?,
            block::KERNEL => self.sidecar.kernel = self.take_names(at)?,
            block::VDSO => self.sidecar.vdso = self.take_names(at)?,
            block::IMAGES => {
                let (count, mut images) = self.take_list(at)?;
                for _ in 0..count {
                    let entry = (self.take_image(at)?, self.take_names(at)?);
                    push_ascending(&mut images, entry, |(file, _), (next, _)| file < next, at)?;
                }
                self.sidecar.images = images;
            }
            block::GENERATED => {
                let (count, mut generated) = self.take_list(at)?;
                for _ in 0..count {
                    let entry = (take_space(at)?, self.take_names(at)?);
                    push_ascending(
                        &mut generated,
                        entry,
                        |(space, _), (next, _)| space < next,
                        at,
                    )?;
                }
                self.sidecar.generated = generated;
            }
            block::TAGS => self.take_tags(at)?,
            block::PROCESSES => {
                let (count, mut processes) = self.take_list(at)?;
                for _ in 0..count {
                    let process = ProcessSeen {
                        space: take_space(at)?,
                        ns_pid: NsPid(take_u32(at)?),
                        uid: take_u32(at)?,
                    };
                    let is_before =
                        |before: &ProcessSeen, next: &ProcessSeen| before.space < next.space;
                    push_ascending(&mut processes, process, is_before, at)?;
                }
                self.sidecar.processes = processes;
            }
            block::CONTAINERS => {
                let (count, mut containers) = self.take_list(at)?;
                for _ in 0..count {
                    containers.push(ContainerSeen {
                        tag: self.take_text(at)?,
                        id: self.take_text(at)?,
                        name: self.take_text(at)?,
                        cgroup_path: self.take_text(at)?,
                    });
                }
                self.sidecar.containers = containers;
            }
            block::JITTED => self.take_jitted(at)?,
            _ => {}
        }
        Ok(())
    }

    fn take_jitted(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        let mut before = (0_u64, 0_u64, 0_u64);
        let (count, mut all) = self.take_list(at)?;
        for _ in 0..count {
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
            let known = self.sidecar.texts.len() as u64 + 1;
            let text = take_below(at, known, "string of the sidecar (a known one expected)")?;
            let jitted = Jitted {
                pid: HostPid(u32::try_from(pid).map_err(|_| too_far(pid))?),
                addr,
                from_ns,
                text: text.checked_sub(1).map(|text| TextId(text as u32)),
            };
            let key = |jitted: &Jitted| (jitted.pid, jitted.addr, jitted.from_ns);
            let is_before = |before: &Jitted, next: &Jitted| key(before) < key(next);
            push_ascending(&mut all, jitted, is_before, at)?;
        }
        self.sidecar.jitted = all;
        Ok(())
    }

    fn take_texts(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        let (count, mut ends) = self.take_list(at)?;
        let mut end = 0;
        for _ in 0..count {
            // Below four thousand million, as the bytes behind them are.
            let most = at.rest().len() as u64 + 1;
            end += take_below(at, most, "length of a string in the sidecar")?;
            ends.push(u32::try_from(end).unwrap_or(u32::MAX));
        }
        let len_bytes = usize::try_from(end).unwrap_or(usize::MAX);
        let offset = at.offset();
        let bytes = at.take(len_bytes)?;
        self.charge(len_bytes, offset)?;
        self.sidecar.texts = Texts {
            bytes: bytes.to_vec(),
            ends,
        };
        Ok(())
    }

    fn take_frames(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        let (count, mut frames) = self.take_list(at)?;
        for _ in 0..count {
            let [kind, reason] = at.array()?;
            let text = self.take_text(at)?;
            frames.push(NamedFrame { kind, reason, text });
        }
        self.sidecar.frames = frames;
        Ok(())
    }

    fn take_frame_lists(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        let (count, mut ends) = self.take_list(at)?;
        let mut all = Vec::new();
        for _ in 0..count {
            for _ in 0..self.take_charged::<u32>(at)? {
                let known = self.sidecar.frames.len() as u64;
                let frame = take_below(at, known, "frame of the sidecar (a known one expected)")?;
                all.push(frame as u32);
            }
            ends.push(all.len() as u32);
        }
        self.sidecar.frame_lists = all;
        self.sidecar.list_ends = ends;
        Ok(())
    }

    fn take_tags(&mut self, at: &mut Fields<'_>) -> Result<(), PerfDataError> {
        let (count, mut tags) = self.take_list(at)?;
        for _ in 0..count {
            let space = take_space(at)?;
            let cgroup = take_option(at)?.map(CgroupId);
            let tag = self.take_text(at)?;
            let tagged = Tagged { space, cgroup, tag };
            let key = |tagged: &Tagged| (tagged.space.pid, tagged.cgroup, tagged.space.began_ns);
            push_ascending(
                &mut tags,
                tagged,
                |before, next| key(before) < key(next),
                at,
            )?;
        }
        self.sidecar.tags = tags;
        Ok(())
    }

    fn take_text(&self, at: &mut Fields<'_>) -> Result<TextId, PerfDataError> {
        let known = self.sidecar.texts.len() as u64;
        let text = take_below(at, known, "string of the sidecar (a known one expected)")?;
        Ok(TextId(text as u32))
    }

    fn take_names(&mut self, at: &mut Fields<'_>) -> Result<Names, PerfDataError> {
        let (count, mut names) = self.take_list(at)?;
        let mut addr = 0_u64;
        for _ in 0..count {
            let offset = at.offset();
            let step = take(at)?;
            let next = addr
                .checked_add(step)
                .filter(|_| step > 0 || names.is_empty());
            addr = next.ok_or_else(|| not_ascending(offset, step))?;
            let known = self.sidecar.list_ends.len() as u64;
            let frames = take_below(at, known, "names of a place (known ones expected)")?;
            names.push((addr, FramesId(frames as u32)));
        }
        Ok(names)
    }

    fn take_image(&mut self, at: &mut Fields<'_>) -> Result<ImageFile, PerfDataError> {
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
                let (count, mut path) = self.take_list(at)?;
                path.extend(at.take(count)?);
                Ok(ImageFile::Path { mnt, path })
            }
            found => Err(PerfDataError::BadField {
                offset,
                what: "kind of an image in the sidecar (0 to 2 expected)",
                found,
            }),
        }
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

/// Adds what must lie behind all that is there: it is looked up by halving.
fn push_ascending<T>(
    into: &mut Vec<T>,
    new: T,
    is_before: impl Fn(&T, &T) -> bool,
    at: &Fields<'_>,
) -> Result<(), PerfDataError> {
    if into.last().is_some_and(|last| !is_before(last, &new)) {
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
