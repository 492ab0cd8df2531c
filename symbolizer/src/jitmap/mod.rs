//! perf-PID.map: what a JIT says of its code.
//!
//! A line is `START SIZE NAME`, both numbers hexadecimal. The files are append-only: where lines
//! overlap, the later one is the newer code, so it answers for each byte that it covers (perf 6.1
//! lets the oldest win, which names code by what was there before). The file was written by the
//! profiled process, so nothing in it is trusted: it is read as a stream, up to limits.

mod intervals;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::CStr;
use std::io::{self, BufRead, BufReader, Read};
use std::mem;

use thiserror::Error;

use crate::hex;
use intervals::{Interval, newest_first_cover};

/// A name is kept up to this length, then `…`.
const NAME_MAX_BYTES: usize = 4 << 10;
/// Longer lines are read up to here; what follows can only belong to an overlong name.
const LINE_MAX_BYTES: u64 = 64 << 10;
/// Read at once: what is whole in there is not copied.
const BUFFER_BYTES: usize = LINE_MAX_BYTES as usize;

/// What a map may cost at most. What was read before is kept, see [`JitMap::cut_at`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct JitMapLimits {
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Lines, bad ones included.
    pub(crate) lines: u64,
}

impl Default for JitMapLimits {
    fn default() -> Self {
        Self {
            bytes: 1 << 30,
            lines: 20_000_000,
        }
    }
}

/// Which lines of a map are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lines<'a> {
    /// All of them.
    All,
    /// Those that answer one of these addresses, which ascend.
    Of(&'a [u64]),
}

impl Lines<'_> {
    fn want(self, interval: &Interval) -> bool {
        let Self::Of(addrs) = self else {
            return true;
        };
        // Most lines are of code that lies in front of all, or behind.
        if addrs.last().is_none_or(|last| *last < interval.start) {
            return false;
        }
        let from = addrs.partition_point(|addr| *addr < interval.start);
        let first = addrs.get(from);
        first.is_some_and(|addr| addr - interval.start < u64::from(interval.len))
    }
}

/// Why a map could not be read. A bad line is none: it is counted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum JitMapError {
    /// The system refused to read on.
    #[error("cannot read the map after {read_bytes} bytes")]
    Read {
        /// How far it went.
        read_bytes: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// The limit at which reading stopped, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutAt {
    /// [`JitMapLimits::bytes`].
    Bytes(u64),
    /// [`JitMapLimits::lines`].
    Lines(u64),
}

/// A process' generated code, by address in that process.
#[derive(Debug)]
pub(crate) struct JitMap {
    /// Sorted, disjoint.
    intervals: Vec<Interval>,
    /// NUL-terminated names, in the order of the lines.
    names: Vec<u8>,
    lines: u64,
    bad_lines: u64,
    torn_last_line: bool,
    cut_at: Option<CutAt>,
}

impl JitMap {
    /// Reads lines up to the end or a limit: memory follows those that are wanted. A last line without its newline is being written
    /// right now: its name or even its size may lack digits, so it is skipped.
    pub(crate) fn read(
        map: impl Read,
        limits: &JitMapLimits,
        wanted: Lines<'_>,
    ) -> Result<Self, JitMapError> {
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, map);
        let mut intervals = Vec::new();
        let mut table = Self {
            intervals: Vec::new(),
            names: Vec::new(),
            lines: 0,
            bad_lines: 0,
            torn_last_line: false,
            cut_at: None,
        };
        let mut read_bytes = 0;
        let mut line = Vec::new();
        loop {
            let failed = |source| JitMapError::Read { read_bytes, source };
            let mut whole = reader.fill_buf().map_err(failed)?;
            let mut taken = 0;
            while let Some(end) = memchr::memchr(b'\n', whole)
                && table.lines < limits.lines
                && read_bytes + taken + (end as u64) < limits.bytes
            {
                let (line, rest) = whole.split_at_checked(end).unwrap_or((whole, &[]));
                intervals.extend(table.line(line, wanted));
                whole = rest.get(1..).unwrap_or_default();
                taken += end as u64 + 1;
            }
            if taken > 0 {
                reader.consume(taken as usize);
                read_bytes += taken;
                continue;
            }
            // The end, one that reaches beyond the buffer, or beyond a limit.
            line.clear();
            let mut len = reader
                .by_ref()
                .take(LINE_MAX_BYTES)
                .read_until(b'\n', &mut line)
                .map_err(failed)? as u64;
            if len == 0 {
                break;
            }
            if table.lines >= limits.lines {
                table.cut_at = Some(CutAt::Lines(limits.lines));
                break;
            }
            let mut complete = line.pop_if(|last| *last == b'\n').is_some();
            if !complete && len == LINE_MAX_BYTES {
                // Up to the limit and no further: a line may be endless.
                let budget = limits.bytes.saturating_sub(read_bytes + len);
                let (skipped, found) = skip_line(&mut reader, budget).map_err(failed)?;
                len += skipped;
                complete = found;
            }
            read_bytes += len;
            if read_bytes > limits.bytes || (!complete && read_bytes == limits.bytes) {
                table.cut_at = Some(CutAt::Bytes(limits.bytes));
                break;
            }
            if !complete {
                table.torn_last_line = true;
                break;
            }
            intervals.extend(table.line(&line, wanted));
        }
        table.intervals = newest_first_cover(intervals);
        table.names.shrink_to_fit();
        Ok(table)
    }

    /// Takes away what has one of these names.
    pub(crate) fn forget(&mut self, is_forgotten: impl Fn(&[u8]) -> bool) {
        let names = &self.names;
        self.intervals
            .retain(|interval| !name_at(names, interval.name).is_some_and(&is_forgotten));
    }

    /// This map, and where it covers nothing, an older one.
    pub(crate) fn over(mut self, mut older: Self) -> Self {
        let Ok(shift) = u32::try_from(older.names.len()) else {
            return self;
        };
        if u32::try_from(older.names.len() + self.names.len()).is_err() {
            return self;
        }
        // The greater a name's place, the newer its line: see `Interval::name`.
        let mut intervals = mem::take(&mut older.intervals);
        intervals.extend(self.intervals.iter().map(|interval| Interval {
            name: interval.name + shift,
            ..*interval
        }));
        older.names.append(&mut self.names);
        self.intervals = newest_first_cover(intervals);
        self.names = older.names;
        self.forget_unused_names();
        self
    }

    /// Maps that come again and again mostly say the same: the names of the older lines go.
    fn forget_unused_names(&mut self) {
        let mut kept: Vec<u8> = Vec::new();
        let mut moved: HashMap<u32, u32> = HashMap::new();
        let mut by_age: Vec<u32> = self
            .intervals
            .iter()
            .map(|interval| interval.name)
            .collect();
        by_age.sort_unstable();
        by_age.dedup();
        for at in by_age {
            let name = self.names.get(at as usize..).unwrap_or_default();
            let name = CStr::from_bytes_until_nul(name).map(CStr::to_bytes_with_nul);
            // Shorter than what it is made from, so it has a place of 32 bits.
            moved.insert(at, kept.len() as u32);
            kept.extend_from_slice(name.unwrap_or(b"\0"));
        }
        for interval in &mut self.intervals {
            interval.name = moved.get(&interval.name).copied().unwrap_or_default();
        }
        self.names = kept;
    }

    /// The name of the newest code at an address of the process: up to 4 KiB, any bytes but NUL
    /// and newline.
    pub(crate) fn lookup(&self, address: u64) -> Option<&[u8]> {
        let after = self
            .intervals
            .partition_point(|interval| interval.start <= address);
        let interval = self.intervals.get(after.checked_sub(1)?)?;
        if address - interval.start >= u64::from(interval.len) {
            return None;
        }
        name_at(&self.names, interval.name)
    }

    /// Complete lines read, bad ones included.
    #[cfg(test)]
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Lines that say nothing: no numbers, size zero or 4 GiB and more, past the end of the
    /// address space, no name.
    pub(crate) fn bad_lines(&self) -> u64 {
        self.bad_lines
    }

    /// Whether a last line without newline was skipped.
    #[cfg(test)]
    pub(crate) fn torn_last_line(&self) -> bool {
        self.torn_last_line
    }

    /// The limit that the file is over: what follows was not read.
    pub(crate) fn cut_at(&self) -> Option<CutAt> {
        self.cut_at
    }

    /// Counts a line, and stores its name if it is wanted.
    fn line(&mut self, line: &[u8], wanted: Lines<'_>) -> Option<Interval> {
        self.lines += 1;
        let interval = self.interval(line, wanted);
        self.bad_lines += u64::from(interval.is_err());
        interval.unwrap_or_default()
    }

    fn interval(&mut self, line: &[u8], wanted: Lines<'_>) -> Result<Option<Interval>, BadLine> {
        let (mut interval, text) = parsed(line).ok_or(BadLine)?;
        if !wanted.want(&interval) {
            return Ok(None);
        }
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        // The arena's names end with NUL; nobody's function has one inside.
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        let text = text.get(..end).unwrap_or_default();
        interval.name = u32::try_from(self.names.len()).map_err(|_| BadLine)?;
        self.names
            .extend_from_slice(text.get(..NAME_MAX_BYTES).unwrap_or(text));
        if text.len() > NAME_MAX_BYTES {
            self.names.extend_from_slice("…".as_bytes());
        }
        self.names.push(0);
        Ok(Some(interval))
    }
}

fn name_at(names: &[u8], at: u32) -> Option<&[u8]> {
    let names = names.get(at as usize..)?;
    CStr::from_bytes_until_nul(names).ok().map(CStr::to_bytes)
}

/// A line that says nothing.
struct BadLine;

/// Range of a line, and its text from the name on; the name's place is not known yet.
fn parsed(line: &[u8]) -> Option<(Interval, &[u8])> {
    let (start, rest) = hex_word(line)?;
    let (len, rest) = hex_word(rest)?;
    let len = u32::try_from(len).ok().filter(|len| *len > 0)?;
    start.checked_add(u64::from(len))?;
    let text = rest.trim_ascii_start();
    let interval = Interval {
        start,
        len,
        name: 0,
    };
    (!matches!(text, [] | [0, ..])).then_some((interval, text))
}

/// A hexadecimal number, with or without `0x`, either case, any zeros in front; and what follows
/// it: the line's end, or a blank and the rest.
fn hex_word(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = text.trim_ascii_start();
    let digits = match text {
        [b'0', b'x' | b'X', digits @ ..] => digits,
        digits => digits,
    };
    let (value, len) = hex::number(digits)?;
    match digits.get(len..)? {
        rest @ ([] | [b' ' | b'\t', ..]) if len > 0 => Some((value, rest)),
        _ => None,
    }
}

/// Skips past the next newline, but no more than about `budget` bytes; says how many, and whether
/// the newline was found.
fn skip_line(reader: &mut impl BufRead, budget: u64) -> io::Result<(u64, bool)> {
    let mut skipped = 0;
    while skipped <= budget {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok((skipped, false));
        }
        let newline = memchr::memchr(b'\n', bytes);
        let len = newline.map_or(bytes.len(), |at| at + 1);
        reader.consume(len);
        skipped += len as u64;
        if newline.is_some() {
            return Ok((skipped, true));
        }
    }
    Ok((skipped, false))
}
