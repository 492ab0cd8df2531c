//! Which CPUs are online.

use std::io;

const ONLINE: &str = "/sys/devices/system/cpu/online";

/// CPUs that are online now, ascending.
pub(crate) fn online() -> io::Result<Vec<u32>> {
    let list = std::fs::read_to_string(ONLINE)?;
    parse_list(list.trim())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{ONLINE}: {list:?}")))
}

/// `0-3,5`: the kernel's cpulist format (`bitmap_print_to_pagebuf()`). `None` when it is not one.
fn parse_list(list: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_list_is_ranges_and_single_numbers() {
        assert_eq!(parse_list("0-3,5"), Some(vec![0, 1, 2, 3, 5]));
        assert_eq!(parse_list("0"), Some(vec![0]));
        assert_eq!(parse_list(""), None);
        assert_eq!(parse_list("0-"), None);
    }
}
