//! LEB128: seven bits a byte, the least significant first, the eighth says that more follow.

use super::super::PerfDataError;
use super::super::bytes::Fields;

/// Bytes that a `u64` takes at most.
const LONGEST_BYTES: u32 = 10;

/// Appends a number.
pub(super) fn put(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Reads a number of at most 64 bits.
pub(super) fn take(fields: &mut Fields<'_>) -> Result<u64, PerfDataError> {
    let offset = fields.offset();
    let mut number = 0;
    for at in 0..LONGEST_BYTES {
        let [byte] = fields.array()?;
        let bits = u64::from(byte & 0x7f);
        if at + 1 == LONGEST_BYTES && bits > 1 {
            break;
        }
        number |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(PerfDataError::BadField {
        offset,
        what: "number of the sidecar (64 bits at most expected)",
        found: number,
    })
}

/// Reads a number that must be below `limit`.
pub(super) fn take_below(
    fields: &mut Fields<'_>,
    limit: u64,
    what: &'static str,
) -> Result<u64, PerfDataError> {
    let offset = fields.offset();
    let found = take(fields)?;
    if found < limit {
        return Ok(found);
    }
    Err(PerfDataError::BadField {
        offset,
        what,
        found,
    })
}

/// Elements of one kind: more than any recording has, and each costs memory.
const MOST_ELEMENTS: u64 = 1 << 22;

/// Reads how many elements, or bytes, follow. No element is shorter than a byte, so that no more can
/// be there than bytes are left.
pub(super) fn take_count(fields: &mut Fields<'_>) -> Result<u64, PerfDataError> {
    let offset = fields.offset();
    let found = take(fields)?;
    if found <= MOST_ELEMENTS.min(fields.rest().len() as u64) {
        return Ok(found);
    }
    Err(PerfDataError::BadField {
        offset,
        what: "number of elements in the sidecar (at most the bytes that are left expected)",
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::bytes::ByteOrder;
    use super::*;

    fn take_all(bytes: &[u8]) -> Result<u64, PerfDataError> {
        take(&mut Fields::new(bytes, 0, ByteOrder::Little, "number"))
    }

    #[test]
    fn a_number_is_read_as_it_was_put_whatever_its_length() {
        for bits in 0..64 {
            for number in [(1_u64 << bits) - 1, 1 << bits, u64::MAX >> bits] {
                let mut bytes = Vec::new();
                put(&mut bytes, number);
                assert_eq!(take_all(&bytes).expect("a number"), number);
                for len in 0..bytes.len() {
                    assert!(take_all(&bytes[..len]).is_err());
                }
            }
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        assert!(take_all(&[0xff; 11]).is_err());
        let mut too_large = [0xff; 10];
        too_large[9] = 2;
        assert!(take_all(&too_large).is_err());
        too_large[9] = 1;
        assert_eq!(take_all(&too_large).expect("64 bits"), u64::MAX);
    }
}
