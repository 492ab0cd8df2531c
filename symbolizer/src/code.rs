//! What kind of code a mapping holds, by its path.

use profiler::record::MappedFile;

/// What kind of code a mapping's path tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Vdso,
    Generated,
    File,
}

/// `None` for what holds no code of the process (`[vsyscall]`).
pub(crate) fn classify(path: &[u8], file: MappedFile) -> Option<Code> {
    // `perf_event_mmap_event()` (kernel/events/core.c) and `d_path()` write these.
    const GENERATED: [&[u8]; 9] = [
        b"//anon",
        b"[heap]",
        b"[stack",
        b"[anon",
        b"/memfd:",
        b"/dev/zero",
        b"/anon_hugepage",
        b"/SYSV",
        b"anon_inode:",
    ];
    match path {
        b"[vdso]" => Some(Code::Vdso),
        b"[vsyscall]" => None,
        b"" => Some(Code::Generated),
        // The kernel found an ELF file in it: runc runs from a sealed copy of itself.
        path if path.starts_with(b"/memfd:") && matches!(file, MappedFile::BuildId(_)) => {
            Some(Code::File)
        }
        path if GENERATED.iter().any(|prefix| path.starts_with(prefix)) => Some(Code::Generated),
        _ => Some(Code::File),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler::BuildId;

    #[test]
    fn a_memory_file_is_an_image_where_the_kernel_read_a_build_id_in_it() {
        let id = BuildId::new(&[7; 20]).expect("a build id");
        let runc = b"/memfd:runc_cloned:/proc/self/exe (deleted)";
        assert!(matches!(
            classify(runc, MappedFile::BuildId(id)),
            Some(Code::File)
        ));
        let inode = MappedFile::Inode {
            major: 0,
            minor: 1,
            inode: 1024,
            generation: 0,
        };
        for path in [&runc[..], b"/memfd:doublemapper (deleted)", b"//anon"] {
            assert!(matches!(classify(path, inode), Some(Code::Generated)));
        }
        assert!(matches!(classify(b"/bin/sh", inode), Some(Code::File)));
        assert!(classify(b"[vsyscall]", inode).is_none());
    }
}
