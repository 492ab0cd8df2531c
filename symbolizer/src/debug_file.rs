//! An image's symbols: its own, and where it was stripped those of its debug file, which has the same
//! build id.

use crate::elf::{ElfError, ElfImage, ElfLimits, Symbol, Wanted};
use crate::image::Image;
use crate::lookup::{Lookup, View, split_id};
use crate::problem::Problem;
use crate::source::{FoundImage, build_id_of, find_image, read_with_id};
use crate::stack::Unresolved;
use profiler::BuildId;
use profiler::files::BoundedFile;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where distributions put debug files.
const DEBUG_DIR: &str = "/usr/lib/debug";

/// Symbols by file offset, of those offsets that they were read for.
#[derive(Debug)]
pub(crate) struct ImageSymbols {
    /// The segments are this one's: those of a debug file need not lie where the image's do.
    image: ElfImage,
    debug: Option<ElfImage>,
}

impl ImageSymbols {
    /// The function that covers a byte of the image.
    pub(crate) fn lookup(&self, file_offset: u64) -> Option<Symbol<'_>> {
        let svma = self.image.svma_of(file_offset)?;
        let in_debug = self.debug.as_ref().and_then(|debug| debug.lookup(svma));
        in_debug.or_else(|| self.image.lookup(svma))
    }
}

/// Reads the symbols of an image that cover `offsets`, and what there is to say of the search.
pub(crate) fn read_symbols(
    image: &Image,
    offsets: &[u64],
    views: &[View],
    lookup: &Lookup,
) -> (Result<ImageSymbols, Unresolved>, Option<Problem>) {
    let FoundImage { file, problem } = find_image(image, views, lookup);
    match file {
        Ok(file) => {
            let symbols = read_found(&file, image, offsets, views, lookup)
                .map_err(|_| Unresolved::Unreadable(image.label.clone()));
            (symbols, problem)
        }
        Err(reason) => {
            let alone = image
                .build_id()
                .and_then(|id| debug_file(&id, image, Wanted::Offsets(offsets), (views, lookup)))
                // Most of them tell where the code lay in the image, some were made so that they do not.
                .filter(|debug| offsets.iter().all(|at| debug.svma_of(*at).is_some()));
            match alone {
                Some(image) => (Ok(ImageSymbols { image, debug: None }), None),
                None => (Err(reason), problem),
            }
        }
    }
}

fn read_found(
    file: &BoundedFile,
    image: &Image,
    offsets: &[u64],
    views: &[View],
    lookup: &Lookup,
) -> Result<ImageSymbols, ElfError> {
    let elf = ElfImage::read(file, &ElfLimits::default(), Wanted::Offsets(offsets))?;
    let debug = if elf.has_symtab() {
        None
    } else {
        let id = image.build_id().or(build_id_of(file)?);
        let addresses: Vec<u64> = offsets.iter().filter_map(|at| elf.svma_of(*at)).collect();
        let wanted = Wanted::Addresses(&addresses);
        id.and_then(|id| debug_file(&id, image, wanted, (views, lookup)))
    };
    Ok(ImageSymbols { image: elf, debug })
}

/// The file with this build id that has the symbols which the image lacks: in the debug directory of
/// each view, then of this host, then in the caches.
fn debug_file(
    id: &BuildId,
    image: &Image,
    wanted: Wanted<'_>,
    (views, lookup): (&[View], &Lookup),
) -> Option<ElfImage> {
    let paths = paths(id, &image.path);
    let views = views.iter().chain(lookup.host());
    let in_views = views.flat_map(|view| paths.iter().filter_map(|path| view.open(path).ok()));
    let in_caches = ["debug", "elf"]
        .into_iter()
        .flat_map(|name| lookup.cached(id, name).map(|(_, held)| held));
    in_views
        .chain(in_caches)
        .filter_map(|held| read_with_id(&held, id, wanted))
        .find(ElfImage::has_symtab)
}

/// By build id; by path, as Debian once did and Fedora does.
fn paths(id: &BuildId, image: &Path) -> Vec<PathBuf> {
    let dir = Path::new(DEBUG_DIR);
    let with_suffix = |path: PathBuf| {
        let mut path = OsString::from(path);
        path.push(".debug");
        PathBuf::from(path)
    };
    let by_path = dir.join(image.strip_prefix("/").unwrap_or(image));
    vec![
        with_suffix(dir.join(".build-id").join(split_id(id))),
        with_suffix(by_path.clone()),
        by_path,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debug_file_is_looked_for_by_its_build_id_and_by_its_path() {
        let id = BuildId::new(&[0xab, 0xcd, 0xef]).expect("three bytes");
        let expected = [
            "/usr/lib/debug/.build-id/ab/cdef.debug",
            "/usr/lib/debug/usr/bin/x.debug",
            "/usr/lib/debug/usr/bin/x",
        ];
        let found = paths(&id, Path::new("/usr/bin/x"));
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
