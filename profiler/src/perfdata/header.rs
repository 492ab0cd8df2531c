//! The first bytes of a perf.data: a file's header (104 bytes, 72 before there were features) or a
//! pipe's (16 bytes), in either byte order.
//!
//! ```text
//! file:  magic size attr_size │ attrs │ data │ event types │ feature bits │ … attrs … data … features
//! pipe:  magic size=16 │ records, the header's own among them
//! ```

use super::PerfDataError;
use super::bytes::{ByteOrder, Fields};

/// `PERFILE2` as its writer's memory holds it: the string on every machine, read as a number.
pub(crate) const MAGIC: &[u8; 8] = b"PERFILE2";
const MAGIC_SWAPPED: &[u8; 8] = b"2ELIFREP";
/// Before perf 2.6.39: no byte order in it.
const MAGIC_FIRST: &[u8; 8] = b"PERFFILE";
/// Size of a magic.
pub(crate) const MAGIC_BYTES: usize = 8;
/// Size of a pipe's header.
pub(crate) const PIPE_BYTES: usize = 16;
/// Size of a file's header.
pub(crate) const FILE_BYTES: usize = 104;
/// Size of a file's header before there were features.
const OLD_FILE_BYTES: u64 = 72;
/// Sizes of (attr and its ids section) that a machine of the right byte order can have written.
const PLAUSIBLE_STRIDES: std::ops::Range<u64> = 80..65536;
/// `HEADER_HOSTNAME`: a set bit that tells the word size of old feature bits.
const HOSTNAME: u32 = 3;

/// A part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) len_bytes: u64,
}

impl Section {
    /// The byte behind it.
    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(self.len_bytes)
    }
}

/// A file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// Bytes from one attr to the next, its ids section included.
    pub(crate) attr_stride: u64,
    pub(crate) attrs: Section,
    pub(crate) data: Section,
    /// One bit for each feature section, `HEADER_*`.
    pub(crate) features: [u64; 4],
}

impl FileHeader {
    /// Whether a section of this number is there.
    pub(crate) fn has_feature(&self, number: u32) -> bool {
        self.feature_numbers().any(|known| known == number)
    }

    /// Numbers of the feature sections, in the order of their table.
    pub(crate) fn feature_numbers(&self) -> impl Iterator<Item = u32> + '_ {
        (0..256u32).filter(|number| {
            let word = self.features.get(*number as usize / 64).copied();
            word.unwrap_or(0) >> (number % 64) & 1 == 1
        })
    }
}

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Pipe,
    File(FileHeader),
}

/// Whether a perf.data of any kind begins like this.
pub(crate) fn has_magic(start: &[u8]) -> bool {
    [MAGIC, MAGIC_SWAPPED, MAGIC_FIRST]
        .iter()
        .any(|magic| start.starts_with(*magic))
}

/// Reads what `start` begins with: the file's first [`FILE_BYTES`] bytes, or all of a shorter one.
pub(crate) fn read(start: &[u8]) -> Result<(ByteOrder, Format), PerfDataError> {
    let not_perf_data = || PerfDataError::NotPerfData {
        found: start.iter().copied().take(8).collect(),
    };
    let magic: &[u8; 8] = start.first_chunk().ok_or_else(not_perf_data)?;
    let order = match magic {
        MAGIC => ByteOrder::Little,
        MAGIC_SWAPPED => ByteOrder::Big,
        MAGIC_FIRST => order_of_first_format(start),
        _ => return Err(not_perf_data()),
    };
    let mut fields = Fields::new(start, 0, order, "header");
    fields.take(8)?;
    let size_at = fields.offset();
    let size_bytes = fields.u64()?;
    if size_bytes == PIPE_BYTES as u64 {
        return Ok((order, Format::Pipe));
    }
    if size_bytes != FILE_BYTES as u64 && size_bytes != OLD_FILE_BYTES {
        return Err(PerfDataError::BadField {
            offset: size_at,
            what: "size of the header (16 or 104 expected)",
            found: size_bytes,
        });
    }
    let attr_stride = fields.u64()?;
    let attrs = section(&mut fields)?;
    let data = section(&mut fields)?;
    let _event_types = section(&mut fields)?;
    let features = if size_bytes == OLD_FILE_BYTES {
        [0; 4]
    } else {
        feature_bits(&mut fields)?
    };
    let header = FileHeader {
        attr_stride,
        attrs,
        data,
        features,
    };
    Ok((order, Format::File(header)))
}

/// The first format's magic is the same in both byte orders; the sizes behind it are not.
fn order_of_first_format(start: &[u8]) -> ByteOrder {
    let word = |at: usize, order: ByteOrder| {
        let bytes = start.get(at..).and_then(|bytes| bytes.first_chunk::<8>());
        order.u64(bytes.copied().unwrap_or_default())
    };
    let big_pipe = word(8, ByteOrder::Big) == PIPE_BYTES as u64;
    if big_pipe || PLAUSIBLE_STRIDES.contains(&word(16, ByteOrder::Big)) {
        ByteOrder::Big
    } else {
        ByteOrder::Little
    }
}

pub(crate) fn section(fields: &mut Fields<'_>) -> Result<Section, PerfDataError> {
    Ok(Section {
        offset: fields.u64()?,
        len_bytes: fields.u64()?,
    })
}

/// The bits are C longs of the writer: on a big-endian 32-bit machine the two halves of each word
/// are the other way round, which shows by the host name that every perf writes.
fn feature_bits(fields: &mut Fields<'_>) -> Result<[u64; 4], PerfDataError> {
    let mut features = [0; 4];
    for word in &mut features {
        *word = fields.u64()?;
    }
    if fields.order() == ByteOrder::Big && features[0] >> HOSTNAME & 1 == 0 {
        let rotated = features.map(|word| word.rotate_left(32));
        if rotated[0] >> HOSTNAME & 1 == 1 {
            return Ok(rotated);
        }
    }
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_header(order: ByteOrder) -> Vec<u8> {
        let words = [104, 152, 104, 304, 408, 1000, 0, 0, 0b1000, 0, 0, 0];
        let mut bytes = match order {
            ByteOrder::Little => MAGIC.to_vec(),
            ByteOrder::Big => MAGIC_SWAPPED.to_vec(),
        };
        for word in words {
            bytes.extend(match order {
                ByteOrder::Little => u64::to_le_bytes(word),
                ByteOrder::Big => u64::to_be_bytes(word),
            });
        }
        bytes
    }

    #[test]
    fn both_byte_orders_say_the_same() {
        let expected = FileHeader {
            attr_stride: 152,
            attrs: Section {
                offset: 104,
                len_bytes: 304,
            },
            data: Section {
                offset: 408,
                len_bytes: 1000,
            },
            features: [8, 0, 0, 0],
        };
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let found = read(&file_header(order)).expect("a whole header");
            assert_eq!(found, (order, Format::File(expected)));
        }
        // A 32-bit big-endian machine has the low half of each word first.
        let mut narrow = file_header(ByteOrder::Big);
        narrow[72..80].copy_from_slice(&[0, 0, 0, 8, 0, 0, 0, 0]);
        assert_eq!(
            read(&narrow).ok(),
            Some((ByteOrder::Big, Format::File(expected)))
        );
        assert_eq!(expected.feature_numbers().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn the_first_formats_byte_order_shows_by_its_sizes() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let mut bytes = file_header(order);
            bytes[..8].copy_from_slice(MAGIC_FIRST);
            assert_eq!(read(&bytes).map(|(found, _)| found).ok(), Some(order));
        }
    }

    #[test]
    fn every_truncation_is_an_error_and_never_a_panic() {
        let whole = file_header(ByteOrder::Little);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "accepted {len} of 104");
        }
        let error = read(b"MZ\x90\0rest").expect_err("not perf.data");
        assert_eq!(
            error.to_string(),
            "not a perf.data file: `PERFILE2` expected at byte 0, found MZ\\x90\\x00rest"
        );
    }
}
