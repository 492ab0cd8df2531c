//! What memory generated code lies in, for its label where it has no name.

use std::collections::HashMap;
use std::sync::Arc;

/// Names that are kept: a program may map memory files of new names without end.
const NAMES_MAX: u16 = 4096;
/// What is kept of a name. A memory file's has at most 249 bytes (`MFD_NAME_MAX_LEN`).
const NAME_MAX_BYTES: usize = 64;

/// Index of a label of memory; of plain anonymous memory, 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MemoryId(u16);

impl MemoryId {
    /// Anonymous memory, or memory of which no more is known.
    pub(crate) const ANONYMOUS: Self = Self(0);
}

/// The labels of memory that code was generated into.
#[derive(Debug, Default)]
pub(crate) struct Memories {
    /// From 1 on.
    labels: Vec<Arc<str>>,
    ids: HashMap<Box<str>, MemoryId>,
}

impl Memories {
    /// The memory that is mapped under this path, as the kernel writes it.
    pub(crate) fn intern(&mut self, path: &[u8]) -> MemoryId {
        let Some(label) = label(path) else {
            return MemoryId::ANONYMOUS;
        };
        if let Some(id) = self.ids.get(&*label) {
            return *id;
        }
        let number = self.labels.len() as u16 + 1;
        if number > NAMES_MAX {
            return MemoryId::ANONYMOUS;
        }
        let id = MemoryId(number);
        self.labels.push(Arc::from(&*label));
        self.ids.insert(label.into(), id);
        id
    }

    /// What it is called; `None` of anonymous memory.
    pub(crate) fn label(&self, id: MemoryId) -> Option<&Arc<str>> {
        self.labels.get(usize::from(id.0).checked_sub(1)?)
    }
}

/// As people know it: without what the kernel puts around it (`d_path()`, `shmem_kernel_file_setup()`,
/// `hugetlb_file_setup()`, `newseg()` in ipc/shm.c, `perf_event_mmap_event()`).
fn label(path: &[u8]) -> Option<String> {
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let named = |name: &[u8]| {
        let cut = name.get(..NAME_MAX_BYTES).unwrap_or(name);
        String::from_utf8_lossy(cut).into_owned()
    };
    Some(match path {
        b"" | b"//anon" => return None,
        // A shared anonymous mapping: memory of a file that nobody opened.
        path if path.starts_with(b"/dev/zero") => "shared memory".into(),
        path if path.starts_with(b"/SYSV") => "SYSV shared memory".into(),
        path if path.starts_with(b"/anon_hugepage") => "huge pages".into(),
        path if path.starts_with(b"/memfd:") => named(path.get(1..)?),
        // `[heap]`, `[stack]`, `[anon:NAME]`, `anon_inode:[io_uring]`.
        path => named(
            path.strip_prefix(b"[")
                .map_or(path, |inner| inner.strip_suffix(b"]").unwrap_or(inner)),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_called_what_it_is() {
        let mut memories = Memories::default();
        for (path, expected) in [
            ("", None),
            ("//anon", None),
            ("/dev/zero (deleted)", Some("shared memory")),
            ("/SYSV00000000 (deleted)", Some("SYSV shared memory")),
            ("/anon_hugepage (deleted)", Some("huge pages")),
            ("/memfd:doublemapper (deleted)", Some("memfd:doublemapper")),
            ("[heap]", Some("heap")),
            ("[stack]", Some("stack")),
            ("[anon:v8]", Some("anon:v8")),
            ("anon_inode:[io_uring]", Some("anon_inode:[io_uring]")),
        ] {
            let id = memories.intern(path.as_bytes());
            assert_eq!(memories.label(id).map(|label| &**label), expected, "{path}");
            assert_eq!(memories.intern(path.as_bytes()), id);
        }
    }

    #[test]
    fn a_program_with_endless_names_takes_no_endless_memory() {
        let mut memories = Memories::default();
        for number in 0..20_000 {
            let long = "x".repeat(200);
            memories.intern(format!("/memfd:{number}{long}").as_bytes());
        }
        assert_eq!(memories.labels.len(), usize::from(NAMES_MAX));
        assert!(memories.labels.iter().all(|it| it.len() <= NAME_MAX_BYTES));
        let new = memories.intern(b"/memfd:one more");
        assert_eq!(new, MemoryId::ANONYMOUS);
    }
}
