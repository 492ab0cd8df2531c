//! Processes of a recording in a file that still run here: their own view of files, their own maps.
//!
//! A pid alone proves nothing: it is used again. The process that has it now is taken for the
//! recorded one if the recording is of this host since its boot, if it began before its first sample,
//! and if it has mapped what was sampled where it was sampled: with randomised addresses nobody else
//! has.

use crate::hash::FastMap;
use crate::image::{Image, ImageId, ImageKey, Images};
use crate::lookup::RecordedOn;
use crate::maps::{Backing, Mapping};
use crate::pins::Pins;
use crate::tasks::{SpaceId, Tasks};
use profiler::HostPid;
use profiler::files::HeldFile;
use profiler::live::{self, Identity};
use profiler::record::{Event, MappedFile};
use std::ops::Range;

/// Who has a recorded pid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Now {
    /// Nobody, as far as we may see.
    Gone,
    /// The process that was recorded: its view is pinned, its identity known.
    Same,
    /// Another one, or nothing tells.
    Another {
        /// When it began, by the wall clock in nanoseconds since 1970 and at most a tick too early.
        began_ns: Option<u64>,
    },
}

/// Looks at each space's process; those that are still there get their pinned view and their identity,
/// their images are held.
pub(crate) fn look(
    tasks: &mut Tasks,
    images: &mut Images,
    pins: &mut Pins,
    recorded_on: RecordedOn,
) -> FastMap<SpaceId, Now> {
    let mut found = FastMap::default();
    if recorded_on == RecordedOn::Elsewhere {
        return found;
    }
    for id in tasks.space_ids() {
        let now = look_at(id, tasks, images, pins, recorded_on);
        found.insert(id, now);
    }
    found
}

fn look_at(
    id: SpaceId,
    tasks: &mut Tasks,
    images: &mut Images,
    pins: &mut Pins,
    recorded_on: RecordedOn,
) -> Now {
    let Some(space) = tasks.space_mut(id) else {
        return Now::Gone;
    };
    let pid = space.pid;
    let Some(identity) = live::identity(pid) else {
        return Now::Gone;
    };
    let another = || Now::Another {
        began_ns: live::began_wall_ns(pid),
    };
    if recorded_on != RecordedOn::Here {
        return another();
    }
    let by_ns = latest_start_ns(space.since_ns);
    if !live::started_by(pid, by_ns) {
        return another();
    }
    let mapped = mapped_now(pid);
    if mapped.is_empty() {
        // Ending, or not ours to look at.
        return Now::Gone;
    }
    let kept: Vec<Mapping> = space.maps.iter().copied().collect();
    if !is_same(&kept, images, &mapped) {
        return another();
    }
    let Some(root) = pins.pin_still_there(pid, by_ns) else {
        return Now::Gone;
    };
    space.root = root;
    space.identity = Some(identity);
    for mapping in &kept {
        if let Backing::Image(image) = mapping.backing {
            images.hold_late(image, pid, mapping.start..mapping.end, root);
        }
    }
    // What has that pid now began before: so it had it all the time.
    if live::started_by(pid, by_ns) {
        Now::Same
    } else {
        another()
    }
}

/// By when a process that was sampled at `since_ns` had begun, on `CLOCK_MONOTONIC`. perf's default
/// clock is not that one, but begins with it and is never slewed: NTP may turn the other by 500 ppm
/// (`MAXFREQ`, include/linux/timex.h).
fn latest_start_ns(since_ns: u64) -> u64 {
    since_ns.saturating_add(since_ns / 2_000 + 1_000_000_000)
}

/// The file that `pid` has mapped at `start`, if it still is the recorded process and that file is the
/// recorded image: at that address, with that inode or name, mapped since it was sampled at `since_ns`.
pub(crate) fn holding(
    pid: HostPid,
    since_ns: u64,
    start: u64,
    image: &Image,
) -> Option<(HeldFile, Identity)> {
    let by_ns = latest_start_ns(since_ns);
    let identity = live::identity(pid).filter(|_| live::started_by(pid, by_ns))?;
    let mapped = mapped_now(pid);
    let found = mapped.iter().find(|one| one.avma.start == start)?;
    if !is_this_image(found, image) {
        return None;
    }
    let held = HeldFile::mapped(pid, found.avma.clone()).ok()?;
    live::started_by(pid, by_ns).then_some((held, identity))
}

/// An executable mapping of a living process.
struct MappedNow {
    avma: Range<u64>,
    file_offset: u64,
    file: MappedFile,
    name: Vec<u8>,
}

fn mapped_now(pid: HostPid) -> Vec<MappedNow> {
    let mut mapped = Vec::new();
    live::scan(pid, &mut |event| {
        if let Event::Mapped(found) = event {
            mapped.push(MappedNow {
                avma: found.avma.clone(),
                file_offset: found.file_offset_bytes,
                file: found.file,
                name: file_name(found.path).to_vec(),
            });
        }
    });
    mapped
}

/// Of a path, which the process may see below another root than we do.
fn file_name(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Whether what was sampled is mapped where it was sampled: at least one image is, and no address of
/// one belongs to another file. What was unmapped since says nothing.
fn is_same(kept: &[Mapping], images: &Images, now: &[MappedNow]) -> bool {
    let mut agreeing = 0;
    for mapping in kept {
        let Backing::Image(image) = mapping.backing else {
            continue;
        };
        let Some(found) = now.iter().find(|one| one.avma.contains(&mapping.start)) else {
            continue;
        };
        let bias = mapping.start.wrapping_sub(mapping.file_offset);
        if found.avma.start.wrapping_sub(found.file_offset) != bias
            || !is_image(found, image, images)
        {
            return false;
        }
        agreeing += 1;
    }
    agreeing > 0
}

/// By its inode, where one was recorded. The device is not compared: see `source::inode_agrees`.
fn is_image(found: &MappedNow, image: ImageId, images: &Images) -> bool {
    images
        .get(image)
        .is_some_and(|image| is_this_image(found, image))
}

fn is_this_image(found: &MappedNow, image: &Image) -> bool {
    match (&image.key, found.file) {
        (ImageKey::Inode { inode, .. }, MappedFile::Inode { inode: now, .. }) => *inode == now,
        _ => image.path.file_name().is_some_and(|name| {
            std::os::unix::ffi::OsStrExt::as_bytes(name) == found.name.as_slice()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryId;
    use profiler::BuildId;
    use profiler::record::MappedFile;

    fn inode(inode: u64) -> MappedFile {
        MappedFile::Inode {
            major: 8,
            minor: 1,
            inode,
            generation: 0,
        }
    }

    fn kept(start: u64, backing: Backing) -> Mapping {
        Mapping {
            start,
            end: start + 0x1000,
            file_offset: 0x1000,
            backing,
        }
    }

    fn now(start: u64, file: MappedFile, name: &str) -> MappedNow {
        MappedNow {
            avma: start..start + 0x1000,
            file_offset: 0x1000,
            file,
            name: name.into(),
        }
    }

    #[test]
    fn a_process_is_the_recorded_one_if_it_has_its_images_where_they_were() {
        let mut images = Images::default();
        let id = MappedFile::BuildId(BuildId::new(&[1; 20]).expect("a build id"));
        let hot = Backing::Image(images.intern(inode(7), None, b"/app/hot"));
        let libc = Backing::Image(images.intern(id, None, b"/lib/libc.so.6 (deleted)"));
        let sampled = [
            kept(0x10_0000, hot),
            kept(0x20_0000, libc),
            kept(0x30_0000, Backing::Generated(MemoryId::ANONYMOUS)),
        ];
        let same = |now: &[MappedNow]| is_same(&sampled, &images, now);
        let (hot_now, libc_now) = (
            now(0x10_0000, inode(7), "other name"),
            now(0x20_0000, inode(9), "libc.so.6"),
        );
        assert!(same(&[hot_now, libc_now]));
        // A library that was unloaded since.
        assert!(same(&[now(0x10_0000, inode(7), "hot")]));
        // Nothing of it is there; another file is; the same file is elsewhere; another part of it.
        assert!(!same(&[]));
        assert!(!same(&[now(0x30_0000, inode(0), "anon")]));
        assert!(!same(&[
            now(0x10_0000, inode(7), "hot"),
            now(0x20_0000, inode(9), "libm.so.6")
        ]));
        assert!(!same(&[now(0x10_0000, inode(8), "hot")]));
        assert!(!same(&[now(0x11_0000, inode(7), "hot")]));
        let mut shifted = now(0x10_0000, inode(7), "hot");
        shifted.file_offset = 0;
        assert!(!same(&[shifted]));
    }

    #[test]
    fn our_own_process_has_what_it_maps_and_began_before_now() {
        let pid = HostPid(std::process::id());
        let here = our_own_process_has_what_it_maps_and_began_before_now as *const () as u64;
        let mapped = mapped_now(pid);
        let own = mapped.iter().find(|one| one.avma.contains(&here));
        let own = own.expect("our own code");
        let mut images = Images::default();
        let image = images.intern(own.file, None, &own.name);
        let sampled = [Mapping {
            start: own.avma.start,
            end: own.avma.end,
            file_offset: own.file_offset,
            backing: Backing::Image(image),
        }];
        assert!(is_same(&sampled, &images, &mapped));
        assert!(live::started_by(pid, latest_start_ns(live::monotonic_ns())));
    }
}
