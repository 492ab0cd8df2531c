//! A perf map: what a container wrote about its generated code. The last line that covers an address
//! names it, whatever the lines before it say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolizer::fuzzing::PerfMap;

/// A line as perf's documentation has it: `START SIZE NAME`. `None` for any other, which may be one as well.
fn plain(line: &[u8]) -> Option<(u64, u64, &str)> {
    let line = std::str::from_utf8(line).ok()?;
    let (start, rest) = line.split_once(' ')?;
    let (len, name) = rest.split_once(' ')?;
    let digits = |text: &str| {
        let is_hex = !text.is_empty() && text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(text, 16).ok())?
    };
    let (start, len) = (digits(start)?, digits(len)?);
    let is_name = !name.is_empty() && name.len() < 1000 && name.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = len > 0 && len <= u64::from(u32::MAX) && start.checked_add(len).is_some();
    (is_name && fits).then_some((start, len, name))
}

fuzz_target!(|bytes: &[u8]| {
    let Some(map) = PerfMap::read(bytes) else {
        return;
    };
    let complete = bytes.split_inclusive(|byte| *byte == b'\n');
    let complete = complete.filter_map(|line| line.strip_suffix(b"\n"));
    let lines: Vec<_> = complete.map(plain).collect();
    let edges = lines.iter().flatten().flat_map(|(start, len, _)| {
        let end = start + len;
        [start.wrapping_sub(1), *start, start + len / 2, end - 1, end]
    });
    let is_plain = lines.iter().all(Option::is_some);
    if is_plain {
        assert_eq!(map.bad_lines(), 0);
    }
    for address in edges.chain([0, u64::MAX]) {
        let found = map.lookup(address);
        if is_plain && lines.len() <= 200 {
            let covers = |(start, len, _): &&(u64, u64, &str)| address.wrapping_sub(*start) < *len;
            let expected = lines.iter().rev().flatten().find(covers);
            assert_eq!(found, expected.map(|(_, _, name)| name.as_bytes()), "{address:x}");
        }
    }
});
