//! Build ids that a recording tells beside its mappings: of its images, its kernel, its vdso.

use crate::lookup::View;
use crate::source::build_id_of;
use profiler::BuildId;
use profiler::files::HeldFile;
use profiler::perfdata::ImageBuildId;
use std::collections::HashMap;
use std::path::Path;

/// perf's names for what is no file (tools/perf/util/dso.h).
const KERNEL: &[u8] = b"[kernel.kallsyms]";
const VDSO: &[u8] = b"[vdso]";
/// Largest image whose build id is looked at for [`is_of_another_file`].
const IMAGE_LIMIT_BYTES: u64 = 16 << 30;

/// What perf read in the images that were hit, when it had recorded.
pub(crate) struct Told<'a> {
    /// A path with two ids was replaced during the recording, or is of two containers: it does not
    /// tell which.
    by_path: HashMap<&'a [u8], Option<BuildId>>,
}

impl<'a> Told<'a> {
    pub(crate) fn new(told: &'a [ImageBuildId]) -> Self {
        let mut by_path: HashMap<&[u8], Option<BuildId>> = HashMap::new();
        for told in told {
            let known = by_path.entry(told.path.as_slice()).or_insert(Some(told.id));
            if *known != Some(told.id) {
                *known = None;
            }
        }
        Self { by_path }
    }

    /// The id of the image at this path.
    pub(crate) fn of(&self, path: &[u8]) -> Option<BuildId> {
        self.by_path.get(path).copied().flatten()
    }

    /// The recorded kernel's vdso.
    pub(crate) fn vdso(&self) -> Option<BuildId> {
        self.of(VDSO)
    }
}

/// The recorded kernel's build id, where the recording tells it.
pub fn kernel_build_id(told: &[ImageBuildId]) -> Option<BuildId> {
    Told::new(told).of(KERNEL)
}

/// Whether the id that was told for a mapped file is that of another one, which lies at its path on this
/// host: perf reads that one if a container is gone when the recording ends (`dsos__read_build_ids()`,
/// tools/perf/util/dsos.c, without the namespace). `mapped` is what was mapped: device and inode. Same
/// device and two inodes are two files; or the file was replaced since by its equal, which is rarer.
pub(crate) fn is_of_another_file(
    told: &BuildId,
    mapped: (u32, u32, u64),
    host: &View,
    path: &Path,
) -> bool {
    let (major, minor, inode) = mapped;
    let Ok(held) = host.open(path) else {
        return false;
    };
    let is_same_device = |held: &HeldFile| {
        held.identity().is_ok_and(|found| {
            major != 0
                && (found.dev_major, found.dev_minor) == (major, minor)
                && found.inode != inode
        })
    };
    is_same_device(&held)
        && held
            .open_regular(IMAGE_LIMIT_BYTES)
            .ok()
            .and_then(|file| build_id_of(&file).ok()?)
            .is_some_and(|found| found.matches(told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler::files::TargetRoot;
    use std::sync::Arc;

    fn told(path: &str, first: u8) -> ImageBuildId {
        ImageBuildId {
            pid: -1,
            id: BuildId::new(&[first; 20]).expect("a build id"),
            path: path.into(),
            is_kernel: path.starts_with('['),
        }
    }

    #[test]
    fn a_path_with_two_ids_has_none() {
        let ids = [
            told("[kernel.kallsyms]", 1),
            told("/lib/x", 2),
            told("/lib/x", 2),
            told("/lib/y", 3),
            told("/lib/y", 4),
            told("[vdso]", 5),
        ];
        let known = Told::new(&ids);
        assert_eq!(known.of(b"/lib/x"), Some(ids[1].id));
        assert_eq!(known.of(b"/lib/y"), None);
        assert_eq!(known.vdso(), Some(ids[5].id));
        assert_eq!(kernel_build_id(&ids), Some(ids[0].id));
        assert_eq!(kernel_build_id(&[]), None);
    }

    #[test]
    fn an_id_of_the_hosts_file_is_not_the_containers_where_the_inodes_differ() {
        let path = std::env::current_exe().expect("we run from a file");
        let host = View::of_target(Arc::new(TargetRoot::host().expect("our root")));
        let held = host.open(&path).expect("we are there");
        let own = held.identity().expect("its inode");
        let file = held.open_regular(IMAGE_LIMIT_BYTES).expect("regular");
        let Some(id) = build_id_of(&file).expect("an image") else {
            return; // linked without one
        };
        let other = BuildId::new(&[7; 20]).expect("a build id");
        let is = |id: &BuildId, major, inode| {
            is_of_another_file(id, (major, own.dev_minor, inode), &host, &path)
        };
        // On an anonymous device nothing can be told.
        assert_eq!(is(&id, own.dev_major, own.inode + 1), own.dev_major != 0);
        assert!(!is(&id, own.dev_major, own.inode));
        assert!(!is(&other, own.dev_major, own.inode + 1));
        assert!(!is(&id, own.dev_major + 1, own.inode + 1));
    }
}
