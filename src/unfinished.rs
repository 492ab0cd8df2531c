//! A file that is being written: it appears whole, when it is finished, or not at all.
//!
//! Where the file system can (`O_TMPFILE`: ext4, xfs, btrfs, tmpfs), it has no name
//! until then, so that nothing is left of it however we end. A name that is taken cannot be linked to
//! (linkat(2)): then the file gets a temporary one beside it and is renamed at once. Elsewhere the temporary
//! name is there all the while, and SIGKILL leaves it.

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::linkat;
use std::fs::{File, Permissions};
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use tempfile::NamedTempFile;

/// As for any new file; the umask takes its part.
const MODE: u32 = 0o666;

/// The files that are being written under temporary names.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Removes what is half written, and keeps anything more from appearing: for a program that ends
/// now. Hold what it returns until the end.
pub(crate) fn abandon() -> impl Sized {
    let mut paths = unfinished();
    for path in paths.drain(..) {
        // Nothing can be done about a failure any more.
        let _ = std::fs::remove_file(path);
    }
    paths
}

/// A file that is being written. Dropped, it is gone.
pub(crate) struct Unfinished {
    file: Begun,
    path: PathBuf,
}

enum Begun {
    Unnamed(File),
    Named(NamedTempFile),
}

impl Unfinished {
    /// Begins the file that will be at `path`.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        let file = match unnamed_in(parent(path)) {
            Ok(file) => Begun::Unnamed(file),
            Err(_) => Begun::Named(named_in(parent(path))?),
        };
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// What it is written by.
    pub(crate) fn file(&self) -> &File {
        match &self.file {
            Begun::Unnamed(file) => file,
            Begun::Named(file) => file.as_file(),
        }
    }

    /// Where it will be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, in place of an older file; its content is on the disk then.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file().sync_data()?;
        let Self { file, path } = self;
        let named = match file {
            Begun::Named(file) => file,
            Begun::Unnamed(file) => match link(&file, &path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return replace(&file, &path);
                }
                // Without /proc, say. It was not written in vain.
                Err(_) => copied(file, parent(&path))?,
            },
        };
        let temporary = named.path().to_owned();
        let mut unfinished = unfinished();
        named.persist(&path).map_err(|failed| failed.error)?;
        unfinished.retain(|path| *path != temporary);
        Ok(())
    }
}

/// The directory of a file.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn unnamed_in(dir: &Path) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    Ok(File::from(open(
        dir,
        flags,
        Mode::from_bits_truncate(MODE),
    )?))
}

fn named_in(dir: &Path) -> io::Result<NamedTempFile> {
    let mut unfinished = unfinished();
    let file = temporary()
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(dir)?;
    unfinished.push(file.path().to_owned());
    Ok(file)
}

fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".ctrflame-");
    builder
}

/// Gives an unnamed file a name that nobody has, as open(2) says under `O_TMPFILE`: by its descriptor
/// alone it takes CAP_DAC_READ_SEARCH. Not when we are ending.
fn link(file: &File, path: &Path) -> io::Result<()> {
    let _not_abandoned = unfinished();
    link_unlocked(file, path)
}

fn link_unlocked(file: &File, path: &Path) -> io::Result<()> {
    let open = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(
        AT_FDCWD,
        open.as_str(),
        AT_FDCWD,
        path,
        AtFlags::AT_SYMLINK_FOLLOW,
    )?;
    Ok(())
}

fn replace(file: &File, path: &Path) -> io::Result<()> {
    // Nobody may end us between the two.
    let _not_abandoned = unfinished();
    let beside = temporary().make_in(parent(path), |beside| link_unlocked(file, beside))?;
    beside.persist(path).map_err(|failed| failed.error)
}

fn copied(mut file: File, dir: &Path) -> io::Result<NamedTempFile> {
    let mut copy = named_in(dir)?;
    file.rewind()?;
    io::copy(&mut file, copy.as_file_mut())?;
    copy.as_file().sync_data()?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("ours");
        entries
            .map(|entry| entry.expect("ours").file_name().to_string_lossy().into())
            .collect()
    }

    fn write(unfinished: &Unfinished, bytes: &[u8]) {
        let mut file = unfinished.file();
        file.write_all(bytes).expect("written");
    }

    #[test]
    fn an_unnamed_file_is_nowhere_until_it_is_finished_and_replaces_an_older_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out.svg");
        for (content, before) in [("first", &[][..]), ("second", &["out.svg".to_owned()])] {
            let file = unnamed_in(dir.path()).expect("the temporary directory has O_TMPFILE");
            let unfinished = Unfinished {
                file: Begun::Unnamed(file),
                path: path.clone(),
            };
            write(&unfinished, content.as_bytes());
            assert_eq!(names(dir.path()), before);
            unfinished.finish().expect("finished");
            assert_eq!(names(dir.path()), ["out.svg"]);
            assert_eq!(std::fs::read_to_string(&path).expect("there"), content);
        }
        // As any new file: no more than the umask allows, and not for its owner alone.
        let other = dir.path().join("other");
        File::create(&other).expect("ours");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(mode(&path), mode(&other));
    }

    #[test]
    fn a_file_system_without_unnamed_files_has_a_temporary_name_beside() {
        let dir = tempfile::tempdir().expect("a directory");
        let begin = || Unfinished {
            file: Begun::Named(named_in(dir.path()).expect("ours")),
            path: dir.path().join("out.svg"),
        };
        let dropped = begin();
        assert!(names(dir.path()).concat().starts_with(".ctrflame-"));
        drop(dropped);
        assert_eq!(names(dir.path()), Vec::<String>::new());
        let unfinished = begin();
        write(&unfinished, b"whole");
        unfinished.finish().expect("finished");
        assert_eq!(names(dir.path()), ["out.svg"]);
    }

    #[test]
    fn what_cannot_be_linked_is_copied() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut file = unnamed_in(dir.path()).expect("the temporary directory has O_TMPFILE");
        file.write_all(b"whole").expect("written");
        let copy = copied(file, dir.path()).expect("copied");
        assert_eq!(std::fs::read(copy.path()).expect("there"), b"whole");
    }
}
