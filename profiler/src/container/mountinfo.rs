//! The cgroup mounts in a `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use std::path::{Component, Path, PathBuf};

/// One mounted cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    /// The cgroup that is mounted: `/`, or below it where only a part is (a bind mount, or a mount
    /// made in another cgroup namespace, which then starts with `/..`).
    pub(crate) subtree: String,
    /// Where.
    pub(crate) mount_point: PathBuf,
    /// cgroup v2.
    pub(crate) unified: bool,
    /// The v1 controllers, with the other options of the superblock.
    pub(crate) options: Vec<String>,
}

impl CgroupMount {
    pub(crate) fn has_perf_event(&self) -> bool {
        self.has_v1("perf_event")
    }

    /// Whether it is the v1 hierarchy of this controller.
    pub(crate) fn has_v1(&self, controller: &str) -> bool {
        !self.unified && self.options.iter().any(|option| option == controller)
    }

    /// The directory of a cgroup as the host names it, whether it exists or not. `None` where the
    /// mount does not reach it: the path climbs with `..`, or only a part of the hierarchy is
    /// mounted and it is outside.
    pub(crate) fn dir_of(&self, path: &str) -> Option<PathBuf> {
        let below = match self.subtree.as_str() {
            "/" => path,
            subtree => {
                let below = path.strip_prefix(subtree)?;
                (below.is_empty() || below.starts_with('/')).then_some(below)?
            }
        };
        let below = Path::new(below.trim_start_matches('/'));
        below
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
            .then(|| match below.as_os_str().is_empty() {
                true => self.mount_point.clone(),
                false => self.mount_point.join(below),
            })
    }
}

/// The cgroup mounts, in the order of the file; one that another covers is left out.
pub(crate) fn cgroup_mounts(text: &str) -> Vec<CgroupMount> {
    let mut mounts: Vec<CgroupMount> = Vec::new();
    for mount in text.lines().filter_map(parse_line) {
        mounts.retain(|earlier| earlier.mount_point != mount.mount_point);
        mounts.push(mount);
    }
    mounts
}

fn parse_line(line: &str) -> Option<CgroupMount> {
    // "36 35 98:0 /root /point rw,opts shared:1 - type source superoptions"
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let subtree = unescaped(mount.next()?);
    let mount_point = PathBuf::from(unescaped(mount.next()?));
    let mut filesystem = filesystem.split(' ');
    let unified = match filesystem.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let options = filesystem.nth(1).unwrap_or("");
    Some(CgroupMount {
        subtree,
        mount_point,
        unified,
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// Undoes `\040` and the like: space, tab, newline and backslash are written in octal.
fn unescaped(field: &str) -> String {
    let mut text = field.to_owned();
    // The backslash last, or its own digits would be read as an escape.
    for (code, letter) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        if text.contains(code) {
            text = text.replace(code, letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_a_subtree_a_point_a_kind_and_options() {
        let text = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            40 31 0:37 /docker/x /sys/fs/cgroup/cpu\\040y rw shared:4 master:1 - cgroup cgroup rw,cpu,perf_event\n\
            41 31 0:38 /../.. /mnt/u rw - cgroup2 cgroup2 rw,nsdelegate\n\
            torn 31 0:38 / /x";
        let mounts = cgroup_mounts(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].subtree, "/docker/x");
        assert_eq!(mounts[0].mount_point, PathBuf::from("/sys/fs/cgroup/cpu y"));
        assert!(mounts[0].has_perf_event() && !mounts[0].unified);
        assert_eq!(mounts[1].subtree, "/../..");
        assert!(mounts[1].unified && !mounts[1].has_perf_event());
    }

    #[test]
    fn a_later_mount_on_the_same_point_covers_the_earlier() {
        let text = "1 0 0:1 / /c rw - cgroup cgroup rw,perf_event\n\
            2 1 0:2 / /c rw - cgroup2 none rw\n";
        let mounts = cgroup_mounts(text);
        assert_eq!(mounts.len(), 1);
        assert!(mounts[0].unified);
    }

    #[test]
    fn every_truncation_of_a_line_is_no_mount_or_one_and_never_a_panic() {
        let line = "40 31 0:37 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw";
        for len in 0..line.len() {
            let mounts = cgroup_mounts(&line[..len]);
            // From " - cgroup" on it reads as a v1 mount without controllers.
            let typed = len >= line.find("2 cgroup2 rw").expect("the type is there");
            assert_eq!(mounts.len(), usize::from(typed), "{}", &line[..len]);
            assert!(!mounts.iter().any(CgroupMount::has_perf_event));
        }
    }
}
