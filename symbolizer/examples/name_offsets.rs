//! Names offsets of files, for `scripts/bench-names`: `name_offsets addresses|names|inlines COUNT FILE…`.
//!
//! `addresses` writes them; `names` and `inlines` name them, without and with functions that were put into
//! others, and write what that took.

use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;
use symbolizer::{Inlines, bench};

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_default();
    let count: usize = args
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    let paths: Vec<PathBuf> = args.map(PathBuf::from).collect();
    let mut files = Vec::new();
    let mut out = BufWriter::new(io::stdout());
    for path in paths {
        let offsets = bench::offsets(&path, count)?;
        if what == "addresses" {
            for (_, address) in &offsets {
                writeln!(out, "{address:#x}")?;
            }
        }
        files.push((
            path,
            offsets.into_iter().map(|(offset, _)| offset).collect(),
        ));
    }
    let inlines = match what.as_str() {
        "names" => Inlines::Dropped,
        "inlines" => Inlines::Named,
        _ => return Ok(()),
    };
    // What was read so far is given back; the largest size is counted anew (proc_pid_clear_refs(5)).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = (field("VmRSS"), cpu_ticks());
    let begun = std::time::Instant::now();
    let frames = bench::frames(&files, inlines)?;
    let wall = begun.elapsed().as_secs_f64();
    let named = frames.iter().filter(|frame| frame.name.is_ok()).count();
    let inlined: usize = frames.iter().map(|frame| frame.inlined.len()).sum();
    writeln!(
        out,
        "{} frames, {named} named, {inlined} inlined: {:.2} s CPU, {wall:.2} s, {} MiB at most, {} MiB before",
        frames.len(),
        (cpu_ticks() - before.1) as f64 / 100.0,
        field("VmHWM") / 1024,
        before.0 / 1024,
    )
}

/// KiB, of `/proc/self/status`.
fn field(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_whitespace().nth(1));
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// User and system time of this process in ticks of 10 ms (proc_pid_stat(5)).
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let fields = rest.split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}
