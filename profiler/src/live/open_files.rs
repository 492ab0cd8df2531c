//! The limit on open files: a recording holds one descriptor for each event and for each image and
//! mount namespace that it saw.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// RLIMIT_NOFILE of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl OpenFiles {
    /// Raises our own soft limit to the hard one, as far as that may be; what it was before.
    pub(crate) fn raise() -> io::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        // Refused: then the limit is what it is, and is named where it is met.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        Ok(Self { soft, hard })
    }

    /// Makes it what it was before.
    pub(crate) fn put_back(self) {
        // Lowering one's own soft limit is never refused (setrlimit(2)).
        let _ = setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard);
    }
}
