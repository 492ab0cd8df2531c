//! Hexadecimal digits: the texts that tell of symbols begin each of their lines with some.

/// The value of each byte that is a digit, of either case.
static DIGITS: [u8; 256] = {
    let mut digits = [NONE; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};
const NONE: u8 = 0xff;

/// The number that a text begins with and how many digits it has, zeros in front among them: both 0 where it begins with
/// none. `None` of one beyond 64 bits.
pub(crate) fn number(text: &[u8]) -> Option<(u64, usize)> {
    let (mut value, mut rest) = (0_u64, text);
    while let [byte, behind @ ..] = rest
        && let Some(digit) = digit(*byte)
    {
        if value >> 60 != 0 {
            return None;
        }
        value = value << 4 | u64::from(digit);
        rest = behind;
    }
    Some((value, text.len() - rest.len()))
}

/// The number that sixteen digits of lower case are, eight at once: as addresses stand in kallsyms.
pub(crate) fn of_sixteen(text: &[u8; 16]) -> Option<u64> {
    let text = u128::from_be_bytes(*text);
    Some(of_eight((text >> 64) as u64)? << 32 | of_eight(text as u64)?)
}

/// The first character is the highest.
fn of_eight(text: u64) -> Option<u64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Of a digit its value; of others something below 25.
    let values = (text & (0x0f * ONES)) + 9 * (text >> 6 & ONES);
    // What such a value is written as: of ten and more, 0x76 further up is the highest bit.
    let letters = (values + 0x76 * ONES) >> 7 & ONES;
    let written = values + 0x30 * ONES + 39 * letters;
    if written != text || values & (0xf0 * ONES) != 0 {
        return None;
    }
    let values = (values | values >> 4) & 0x00ff_00ff_00ff_00ff;
    let values = (values | values >> 8) & 0x0000_ffff_0000_ffff;
    Some((values | values >> 16) & 0xffff_ffff)
}

pub(crate) fn digit(byte: u8) -> Option<u8> {
    DIGITS
        .get(usize::from(byte))
        .copied()
        .filter(|digit| *digit != NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_has_the_value_that_std_gives_it() {
        for byte in 0..=u8::MAX {
            let value = char::from(byte).to_digit(16).map(|value| value as u8);
            assert_eq!(digit(byte), value, "{byte:#x}");
        }
    }

    #[test]
    fn a_number_is_what_std_reads_of_as_many_digits() {
        let check = |text: &[u8]| {
            let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit());
            let digits: String = digits.map(|byte| char::from(*byte)).collect();
            let expected = match digits.len() {
                0 => Some((0, 0)),
                len => u64::from_str_radix(&digits, 16).ok().map(|it| (it, len)),
            };
            let shown = String::from_utf8_lossy(text);
            assert_eq!(number(text), expected, "{shown}");
        };
        for digits in [
            &b"fedcba9876543210"[..],
            b"FEDCBA9876543210",
            b"7f00aBcD1234",
            b"0000000000000000000000001",
            b"00000000fffffffffffffffff",
            b"fffffffffffffffff",
            b"10000000000000000",
        ] {
            if let Some(sixteen) = digits.first_chunk::<16>() {
                for (at, byte) in (0..16).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
                    let mut changed = *sixteen;
                    changed[at] = byte;
                    let is_lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                    let expected = changed.iter().all(is_lower).then(|| number(&changed));
                    let expected = expected.flatten().map(|(value, _)| value);
                    assert_eq!(of_sixteen(&changed), expected, "{changed:?}");
                }
            }
            for len in 0..=digits.len() {
                check(&digits[..len]);
                for byte in 0..=u8::MAX {
                    let ended = [&digits[..len], &[byte], b"0000 T _text"].concat();
                    check(&ended);
                    check(&ended[..=len]);
                }
            }
        }
    }
}
