//! How many files we may hold open: as many as the system lets us.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises our soft limit on open files to the hard one. A recording holds an event for each CPU, and a
/// view and the images of each container that was sampled; the usual soft limit (1024) is there for
/// programs that call select(2). A command that is held already keeps the limit that it was given.
pub(crate) fn raise_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // Where it is refused, the limit stays: what cannot be held then is counted.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
