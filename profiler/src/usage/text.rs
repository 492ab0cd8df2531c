//! Small files of the kernel's: read whole, `key value` lines, numbers.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest that a file of counters is: `/proc/stat` has a number for each interrupt and a line for
/// each of thousands of CPUs.
const MAX_BYTES: u64 = 16 << 20;

/// The text of a file; `None` where it is not there or not ours to read.
pub(crate) fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    // Not `fs::read_to_string`: that asks for the size first, which is 0 for these files.
    let file = File::open(path).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The only number in a file.
pub(crate) fn number(path: &Path) -> Option<u64> {
    read(path)?.trim().parse().ok()
}

/// The value behind `key`, on a line `key value` or `key: value …`.
pub(crate) fn value(text: &str, key: &str) -> Option<u64> {
    word(text, key)?.split_whitespace().next()?.parse().ok()
}

/// What follows `key` on its line, without a colon and spaces.
pub(crate) fn word<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(key)?;
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        rest.starts_with([' ', '\t']).then(|| rest.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_that_of_its_own_key_and_not_of_a_longer_one() {
        let text = "nr_throttled_x 7\nnr_throttled 3\nVmPeak:\t  12 kB\nlist:\t0-1\ntorn";
        assert_eq!(value(text, "nr_throttled"), Some(3));
        assert_eq!(value(text, "VmPeak"), Some(12));
        assert_eq!(word(text, "list"), Some("0-1"));
        assert_eq!(value(text, "list"), None);
        assert_eq!(value(text, "torn"), None);
        assert_eq!(value("", "x"), None);
    }
}
