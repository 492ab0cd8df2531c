//! What a text is, from its beginning.

use std::fmt;

use inferno::collapse::{Collapse, dtrace, ghcprof, vsprof, vtune, xctrace};

use super::perf_head::Record;
use super::{folded_in, perf_frame, perf_head};

/// The texts that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// The output of `perf script`.
    PerfScript,
    /// `a;b;c 12`
    Folded,
    /// The output of DTrace's `ustack()` or `stack()` aggregations.
    Dtrace,
    /// The output of macOS' `sample`.
    Sample,
    /// A CSV of Intel VTune: `vtune -R top-down -format csv`.
    Vtune,
    /// A CSV of the call tree of Visual Studio's profiler.
    Vsprof,
    /// XML of `xctrace export`.
    Xctrace,
    /// A `.prof` file of GHC.
    Ghcprof,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerfScript => "output of perf script",
            Self::Folded => "folded text",
            Self::Dtrace => "output of dtrace",
            Self::Sample => "output of sample",
            Self::Vtune => "CSV of VTune",
            Self::Vsprof => "CSV of Visual Studio",
            Self::Xctrace => "XML of xctrace",
            Self::Ghcprof => "profile of GHC",
        })
    }
}

/// How much of a text is looked at: behind the longest headers there are samples in it.
pub(super) const LOOKED_AT_BYTES: usize = 256 << 10;

/// Tells what begins with `start`; `is_all` if nothing follows. `None` of none of them.
pub(super) fn detect(start: &[u8], is_all: bool) -> Option<Format> {
    let mut lines: Vec<&[u8]> = start
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    if !is_all && lines.len() > 1 {
        // Its end is not here.
        lines.pop();
    }
    lines.retain(|line| !line.is_empty());
    // A frame of a folded line may read like a time.
    let is_sample = |line: &&[u8]| match perf_head::timed(line) {
        Some(Record::Sample(head)) => !head.comm.contains(&b';'),
        Some(Record::Other { .. }) => true,
        None => false,
    };
    if lines.iter().any(is_sample) {
        return Some(Format::PerfScript);
    }
    let mut told = lines.iter().filter(|line| !line.starts_with(b"#"));
    let first = told.next()?;
    // A name in a later line may read like the header of another format.
    if first.contains(&b';') && folded_in::is_stack(first) {
        return Some(Format::Folded);
    }
    if let Some(foreign) = foreign(start) {
        return Some(foreign);
    }
    // Without times: a sample and its first frame are neighbours.
    let is_frame = |line: &&[u8]| {
        line.first().is_some_and(u8::is_ascii_whitespace) && perf_frame::split(line).is_some()
    };
    if perf_head::untimed(first).is_some() && told.next().is_some_and(is_frame) {
        return Some(Format::PerfScript);
    }
    if folded_in::is_stack(first) {
        return Some(Format::Folded);
    }
    let is_odd_sample = |line: &&[u8]| perf_head::timed(line).is_some();
    lines
        .iter()
        .any(is_odd_sample)
        .then_some(Format::PerfScript)
}

fn foreign(start: &[u8]) -> Option<Format> {
    // inferno's readers ask for text.
    let text = String::from_utf8_lossy(start);
    let is = |applies: Option<bool>| applies == Some(true);
    if text.lines().any(|line| line.starts_with("Call graph:")) {
        return Some(Format::Sample);
    }
    if is(vtune::Folder::default().is_applicable(&text)) {
        return Some(Format::Vtune);
    }
    if !text.is_empty() && is(vsprof::Folder::default().is_applicable(&text)) {
        return Some(Format::Vsprof);
    }
    if is(xctrace::Folder::default().is_applicable(&text)) {
        return Some(Format::Xctrace);
    }
    if is(ghcprof::Folder::default().is_applicable(&text)) {
        return Some(Format::Ghcprof);
    }
    is(dtrace::Folder::default().is_applicable(&text)).then_some(Format::Dtrace)
}

/// Whether it begins as a perf.data of either byte order does.
pub(super) fn is_perf_data(start: &[u8]) -> bool {
    [b"PERFILE2", b"2ELIFREP", b"PERFFILE"]
        .iter()
        .any(|magic| start.starts_with(*magic))
}

/// What made a compressed file that is no gzip.
pub(super) fn compressor(start: &[u8]) -> Option<&'static str> {
    [
        (&b"\x28\xb5\x2f\xfd"[..], "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
        (b"\x04\x22\x4d\x18", "lz4"),
    ]
    .into_iter()
    .find_map(|(magic, program)| start.starts_with(magic).then_some(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_apart_by_their_beginning() {
        for (text, expected) in [
            ("a;b;c 12\n", Some(Format::Folded)),
            ("main 12", Some(Format::Folded)),
            ("# made by a tool\n\na;b 1.5\n", Some(Format::Folded)),
            (
                "java 25607 4794564.109216: cycles:\n\n",
                Some(Format::PerfScript),
            ),
            (
                "# ========\n# hostname : a\n#\nsh 12 [000] 1.5:  1 c:\n",
                Some(Format::PerfScript),
            ),
            (
                "sh 12 \n\t    7f1 main (/bin/sh)\n\n",
                Some(Format::PerfScript),
            ),
            (
                "Analysis of sampling a (pid 1) every 1 millisecond\nCall graph:\n    1 a\n",
                Some(Format::Sample),
            ),
            ("Function Stack,CPU Time:Self,Module\n", Some(Format::Vtune)),
            (
                "<?xml version=\"1.0\"?>\n<trace-query-result>\n",
                Some(Format::Xctrace),
            ),
            (
                "CPU  ID  FUNCTION:NAME\n\n  a`b+0x1\n  c`d\n  12\n",
                Some(Format::Dtrace),
            ),
            ("a;b 7 1.5: c 12\n", Some(Format::Folded)),
            ("a;b 7 1.5: cycles:\n\n", Some(Format::PerfScript)),
            ("", None),
            ("\n\n", None),
            ("hello world\n", None),
            ("{\"a\": 12}\n", None),
            ("\x7fELF\x02\x01", None),
            ("#!/bin/sh\necho 12;\n", None),
        ] {
            assert_eq!(detect(text.as_bytes(), true), expected, "{text}");
        }
    }

    #[test]
    fn a_line_whose_end_is_not_read_yet_decides_nothing() {
        assert_eq!(detect(b"a;b 12\nhello 1", false), Some(Format::Folded));
        assert_eq!(detect(b"hello\na;b 12", false), None);
    }
}
