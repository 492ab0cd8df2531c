//! Fields of headers in either byte order; what is missing is an error with its file offset.

use super::PerfDataError;

/// The byte order of the machine that wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl ByteOrder {
    /// This machine's.
    pub(crate) const NATIVE: Self = if cfg!(target_endian = "big") {
        Self::Big
    } else {
        Self::Little
    };

    pub(crate) fn is_native(self) -> bool {
        self == Self::NATIVE
    }

    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    pub(crate) fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }

    /// A 64-bit C bit field: the first-named bit is the least significant of the first byte on a
    /// little-endian machine and the most significant of the first byte on a big-endian one.
    pub(crate) fn bit_field(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_le_bytes(bytes.map(u8::reverse_bits)),
        }
    }
}

/// Reads one field after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    /// File offset of the next byte.
    offset: u64,
    order: ByteOrder,
    /// What is being read, for the error.
    what: &'static str,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8], offset: u64, order: ByteOrder, what: &'static str) -> Self {
        Self {
            bytes,
            offset,
            order,
            what,
        }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn order(&self) -> ByteOrder {
        self.order
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next `len_bytes` bytes; a length from the file is checked before it is used.
    pub(crate) fn take(&mut self, len_bytes: usize) -> Result<&'a [u8], PerfDataError> {
        match self.bytes.split_at_checked(len_bytes) {
            Some((taken, rest)) => {
                self.bytes = rest;
                self.offset += len_bytes as u64;
                Ok(taken)
            }
            None => Err(self.truncated(len_bytes)),
        }
    }

    fn truncated(&self, wanted_bytes: usize) -> PerfDataError {
        PerfDataError::Truncated {
            offset: self.offset,
            what: self.what,
            wanted_bytes: wanted_bytes as u64,
            found_bytes: self.bytes.len() as u64,
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], PerfDataError> {
        match self.bytes.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.bytes = rest;
                self.offset += N as u64;
                Ok(*taken)
            }
            None => Err(self.truncated(N)),
        }
    }

    pub(crate) fn u16(&mut self) -> Result<u16, PerfDataError> {
        Ok(self.order.u16(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, PerfDataError> {
        Ok(self.order.u32(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, PerfDataError> {
        Ok(self.order.u64(self.array()?))
    }

    /// `struct perf_header_string`: a length that counts the padding, then a NUL-terminated string.
    pub(crate) fn string(&mut self) -> Result<String, PerfDataError> {
        let len_bytes = self.u32()? as usize;
        Ok(text(self.take(len_bytes)?))
    }
}

/// What comes before the first NUL.
pub(crate) fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

/// What comes before the first NUL, as text; bytes that are not UTF-8 are replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(until_nul(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_bit_field_has_its_bits_where_the_first_byte_has_them() {
        // `disabled` is the first-named bit, `sample_id_all` the nineteenth.
        let big = [0x80, 0, 0b0010_0000, 0, 0, 0, 0, 0];
        assert_eq!(ByteOrder::Big.bit_field(big), 1 | 1 << 18);
        assert_eq!(
            ByteOrder::Little.bit_field([1, 0, 4, 0, 0, 0, 0, 0]),
            1 | 1 << 18
        );
    }

    #[test]
    fn a_string_longer_than_its_section_is_refused_with_its_offset() {
        let bytes = [255, 255, 255, 255, b'a'];
        let mut fields = Fields::new(&bytes, 100, ByteOrder::Little, "host name");
        let error = fields.string().expect_err("one byte is not four gigabytes");
        assert_eq!(
            error.to_string(),
            "the recording ends inside the host name at byte 104: 4294967295 bytes expected, 1 left"
        );
    }
}
