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
}
