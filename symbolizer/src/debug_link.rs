//! What an image says of the files that its debug information was moved to.

use crate::elf::{Contents, ElfError, ReadAt};
use object::Endian as _;
use profiler::BuildId;
use profiler::files::BoundedFile;
use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

const LINK: &str = ".gnu_debuglink";
const SHARED_LINK: &str = ".gnu_debugaltlink";
/// A path and what it is checked by.
const LINK_BYTES_MAX: u64 = 8 << 10;

/// `.gnu_debuglink`, as `objcopy --add-gnu-debuglink` makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DebugLink {
    /// A file name, without any directory.
    pub(crate) name: PathBuf,
    /// Of the whole file: the CRC of Ethernet and zlib.
    pub(crate) crc: u32,
}

/// `.gnu_debugaltlink`, as `dwz -m` makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedLink {
    /// Absolute, or from the directory of the file that has it.
    pub(crate) path: PathBuf,
    pub(crate) id: BuildId,
}

impl DebugLink {
    /// The link of an image, if it has one that leads to a file.
    pub(crate) fn read<R: ReadAt + ?Sized>(image: &R, sections: &Contents) -> Option<Self> {
        let bytes = link_bytes(image, sections, LINK).ok()??;
        let (name, rest) = split_at_nul(&bytes)?;
        // The checksum begins at the next multiple of 4, counted from the beginning.
        let padding = rest.len().checked_sub(4)?;
        let crc = rest.get(padding..)?.first_chunk::<4>()?;
        let crc = sections.endian().read_u32(*crc);
        let name = PathBuf::from(OsStr::from_bytes(name));
        // No way to anywhere else.
        (name.file_name() == Some(name.as_os_str())).then_some(Self { name, crc })
    }

    /// Where the file may be for an image at this path, the best first (gdb's order).
    pub(crate) fn paths(&self, image: &Path, debug_dir: &Path) -> Vec<PathBuf> {
        let dir = image.parent().unwrap_or(Path::new("/"));
        let below = dir.strip_prefix("/").unwrap_or(dir);
        vec![
            dir.join(&self.name),
            dir.join(".debug").join(&self.name),
            debug_dir.join(below).join(&self.name),
        ]
    }

    /// Whether a file is the one that was linked to, whole and unchanged.
    pub(crate) fn is_of(&self, file: &mut BoundedFile) -> io::Result<bool> {
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = file.read(&mut buffer)?;
            match buffer.get(..count) {
                Some(read) if count > 0 => crc.update(read),
                _ => return Ok(crc.finalize() == self.crc),
            }
        }
    }
}

impl SharedLink {
    /// The link of a file with debug information, if it has one.
    pub(crate) fn read<R: ReadAt + ?Sized>(file: &R, sections: &Contents) -> Option<Self> {
        let bytes = link_bytes(file, sections, SHARED_LINK).ok()??;
        let (path, id) = split_at_nul(&bytes)?;
        Some(Self {
            path: OsStr::from_bytes(path).into(),
            id: BuildId::new(id)?,
        })
    }
}

fn link_bytes<R: ReadAt + ?Sized>(
    image: &R,
    sections: &Contents,
    name: &'static str,
) -> Result<Option<Vec<u8>>, ElfError> {
    match sections.locate(image, name)? {
        Some(place) if place.inflated_bytes <= LINK_BYTES_MAX => place.read(image, name).map(Some),
        _ => Ok(None),
    }
}

fn split_at_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes).filter(|end| *end > 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_looked_for_beside_the_image_and_below_the_debug_directory() {
        let link = DebugLink {
            name: "x.debug".into(),
            crc: 0,
        };
        let found = link.paths(Path::new("/usr/bin/x"), Path::new("/usr/lib/debug"));
        let expected = [
            "/usr/bin/x.debug",
            "/usr/bin/.debug/x.debug",
            "/usr/lib/debug/usr/bin/x.debug",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }

    #[test]
    fn a_path_ends_at_its_nul_and_is_not_empty() {
        assert_eq!(split_at_nul(b"a\0bc"), Some((&b"a"[..], &b"bc"[..])));
        assert_eq!(split_at_nul(b"a\0"), Some((&b"a"[..], &b""[..])));
        for bytes in [&b"\0a"[..], b"a", b""] {
            assert_eq!(split_at_nul(bytes), None);
        }
    }
}
