//! The vdso's symbols.
//!
//! The kernel maps one image into every process of one kind, so ours names the vdso of all 64-bit
//! processes of the same kernel. 32-bit and x32 processes have another one, below 4 GiB, which stays
//! unnamed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use thiserror::Error;

use crate::elf::{ElfError, ElfImage, ElfLimits, Symbol, Wanted};
use profiler::BuildId;

/// The vdso has two pages on x86_64; this is room for any.
const IMAGE_MAX_BYTES: u64 = 1 << 20;

/// Why the vdso's names are not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum VdsoError {
    /// Our own `/proc/self/maps` or `mem` could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Which of them.
        path: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel maps none (`vdso=0`), or one of no sensible length.
    #[error("no vdso is mapped into this process")]
    NotMapped,
    /// It is not an image as we know them.
    #[error("cannot read the vdso's symbols")]
    Image(#[from] ElfError),
}

/// A vdso: of this process, or another kernel's that somebody kept.
#[derive(Debug)]
pub(crate) struct Vdso {
    image: ElfImage,
    build_id: Option<BuildId>,
}

impl Vdso {
    /// Reads our own vdso.
    pub(crate) fn of_self() -> Result<Self, VdsoError> {
        let bytes = own_image()?;
        let build_id = ElfImage::read_build_id(&bytes, &ElfLimits::default())?;
        let image = ElfImage::read(&bytes, &ElfLimits::default(), Wanted::All)?;
        Ok(Self { image, build_id })
    }

    /// One that was read from a file, and has this build id.
    pub(crate) fn kept(image: ElfImage, build_id: BuildId) -> Self {
        Self {
            image,
            build_id: Some(build_id),
        }
    }

    /// Whether it is the one with this build id.
    pub(crate) fn is(&self, id: &BuildId) -> bool {
        self.build_id.is_some_and(|own| own.matches(id))
    }

    /// The function at an offset from the start of the vdso's mapping, as in an address' distance
    /// from the start of the `[vdso]` line plus the mapping's page offset (0).
    pub(crate) fn lookup(&self, offset: u64) -> Option<Symbol<'_>> {
        self.image.lookup(self.image.svma_of(offset)?)
    }
}

/// The bytes of our own vdso, which the kernel wrote: through `/proc/self/mem`, which needs no unsafe.
pub(crate) fn own_image() -> Result<Vec<u8>, VdsoError> {
    let failed = |path| move |source| VdsoError::Read { path, source };
    let maps = fs::read("/proc/self/maps").map_err(failed("/proc/self/maps"))?;
    let (start, end) = vdso_range(&maps).ok_or(VdsoError::NotMapped)?;
    let len_bytes = end
        .checked_sub(start)
        .filter(|len| (1..=IMAGE_MAX_BYTES).contains(len))
        .ok_or(VdsoError::NotMapped)?;
    let memory = File::open("/proc/self/mem").map_err(failed("/proc/self/mem"))?;
    // At most IMAGE_MAX_BYTES.
    let mut image = vec![0; len_bytes as usize];
    memory
        .read_exact_at(&mut image, start)
        .map_err(failed("/proc/self/mem"))?;
    Ok(image)
}

/// Start and end of the `[vdso]` line of a `maps` file.
fn vdso_range(maps: &[u8]) -> Option<(u64, u64)> {
    let line = maps
        .split(|byte| *byte == b'\n')
        .find(|line| line.ends_with(b" [vdso]"))?;
    let range = line.split(|byte| *byte == b' ').next()?;
    let (start, end) = std::str::from_utf8(range).ok()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    Some((hex(start)?, hex(end)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_vdso_is_found_and_vvar_is_not_it() {
        let maps = b"7ffd000-7ffd400 rw-p 00000000 00:00 0   [stack]\n\
            7fdc3c204000-7fdc3c208000 r--p 00000000 00:00 0   [vvar]\n\
            7fdc3c208000-7fdc3c20a000 r-xp 00000000 00:00 0   [vdso]\n";
        let range = (0x7fdc_3c20_8000, 0x7fdc_3c20_a000);
        assert_eq!(vdso_range(maps), Some(range));
        for len in 0..maps.len() - 1 {
            assert_eq!(vdso_range(&maps[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn our_own_vdso_names_the_clock() {
        let vdso = Vdso::of_self().expect("this kernel maps a vdso");
        let names: std::collections::BTreeSet<_> = (0..0x4000)
            .filter_map(|offset| vdso.lookup(offset))
            .map(|symbol| String::from_utf8_lossy(&symbol.name).into_owned())
            .collect();
        let clock = if cfg!(target_arch = "aarch64") {
            "__kernel_clock_gettime"
        } else {
            "__vdso_clock_gettime"
        };
        assert!(names.contains(clock), "{names:?}");
        assert!(
            !names.contains("clock_gettime"),
            "the global name is preferred"
        );
    }
}
