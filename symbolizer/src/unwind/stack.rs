//! What was copied of a stack.

/// The most that a sample can have of a stack: a record has 64 KiB, with its header
/// (`perf_sample_ustack_size()`, kernel/events/core.c).
const COPIED_MAX: u64 = 65528;

/// Bytes of a stack, from its pointer upwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackBytes<'a> {
    /// Address of the first byte.
    pub(crate) start: u64,
    pub(crate) bytes: &'a [u8],
}

/// On which side of the copied bytes an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// Not of this stack, or popped.
    Below,
    /// Not copied, or not of this stack.
    Above,
    /// Above what any copy of this stack could have.
    Far,
}

impl StackBytes<'_> {
    /// The word at `addr`.
    pub(super) fn word(&self, addr: u64) -> Result<u64, Outside> {
        let at = addr.checked_sub(self.start).ok_or(Outside::Below)?;
        let rest = usize::try_from(at).ok().and_then(|at| self.bytes.get(at..));
        match rest.and_then(|rest| rest.first_chunk::<8>()) {
            Some(word) => Ok(u64::from_le_bytes(*word)),
            None if at > COPIED_MAX - 8 => Err(Outside::Far),
            None => Err(Outside::Above),
        }
    }
}
