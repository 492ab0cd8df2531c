//! What can be wrong with an image.

use std::io;

use thiserror::Error;

/// Why an image gives no symbols. An image without any symbol is not an error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum ElfError {
    /// The bytes do not start like a 32- or 64-bit ELF file of a known version.
    #[error("not an ELF image")]
    NotElf,
    /// A part lies, wholly or in part, behind the end.
    #[error("{what} at offset {offset} needs {len_bytes} bytes, the image has {image_len_bytes}")]
    Truncated {
        /// Which part.
        what: &'static str,
        /// Where it starts in the file.
        offset: u64,
        /// How long it says it is.
        len_bytes: u64,
        /// How long the file is.
        image_len_bytes: u64,
    },
    /// A header contradicts the format.
    #[error("{what} is {found}, which the format does not allow")]
    Malformed {
        /// Which field.
        what: &'static str,
        /// Its value.
        found: u64,
    },
    /// More than [`super::ElfLimits`] allows.
    #[error("{what}: {found}, the limit is {limit}")]
    OverLimit {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        found: u64,
        /// How much is read at most.
        limit: u64,
    },
    /// A section is compressed, and not as it says.
    #[error("{what} is compressed in a way that is not understood")]
    Compressed {
        /// Which part.
        what: &'static str,
        /// What its decoder said; `None` of a method that is not known.
        source: Option<io::Error>,
    },
    /// The bytes could not be read.
    #[error("cannot read {len_bytes} bytes at offset {offset}")]
    Read {
        /// Where in the file.
        offset: u64,
        /// How many.
        len_bytes: u64,
        /// What the system said.
        source: io::Error,
    },
}
