//! Texts of other profilers, by inferno's readers.
//!
//! Lines are looked at before inferno sees them:
//!
//! - What it would panic on is an error with its place.
//! - Of `sample`, VTune and Visual Studio it keeps the last count of equal stacks and forgets the
//!   others: each line's function gets a mark of its own, so that no two stacks are equal.
//! - Where it looks for Rust's names it panics on characters above ASCII: they are spelled.
//!
//! Marks and spellings are undone behind it.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use inferno::collapse::{Collapse, dtrace, ghcprof, sample, vsprof, vtune, xctrace};

use super::collapsed::Collapsed;
use super::folded_in::{Folded, Layers};
use super::lines::{Line, Lines};
use super::{Format, OnBadLine, TextError, TextOptions, line_error};

/// Around a mark: control characters, which are spelled themselves where a text has them.
const MARK_BEGIN: char = '\x01';
const MARK_END: char = '\x02';
/// Around the hexadecimal digits of a spelled character.
const SPELLED_BEGIN: char = '\x03';
const SPELLED_END: char = '\x04';

/// Reads a text of one of the foreign formats.
pub(super) fn collapse<R: Read>(
    lines: Lines<R>,
    format: Format,
    options: &TextOptions,
) -> Result<Collapsed, TextError> {
    let mut checked = Checked::new(lines, format);
    let mut out = Vec::new();
    // Should a text be found that inferno still panics on, it is an error like any other.
    let read = catch_unwind(AssertUnwindSafe(|| {
        with_inferno(format, &mut checked, &mut out)
    }))
    .unwrap_or_else(|_| Err(io::Error::other("inferno's reader gave up")));
    let mut broken = None;
    let stopped = match (checked.error.take(), read) {
        // Nothing of it can be had, unlike of the formats that are read here.
        (Some(error @ (TextError::Gzip { .. } | TextError::Read { .. })), _) => {
            Some(TextError::Foreign {
                format,
                source: io::Error::other(error),
            })
        }
        (Some(error), _) => Some(error),
        (None, Err(source)) => Some(TextError::Foreign { format, source }),
        (None, Ok(())) => None,
    };
    if let Some(error) = stopped {
        // inferno writes at the end only: nothing is kept of what came before.
        if options.bad_lines == OnBadLine::Refuse || out.is_empty() {
            return Err(error);
        }
        broken = Some(error.to_string());
    }
    let mut folded = Folded::new(Layers::None);
    for line in out
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let line = String::from_utf8_lossy(line);
        // Its counts are behind the last blank, whatever a name holds.
        folded
            .line(undone(&line).as_bytes())
            .map_err(|what| TextError::Foreign {
                format,
                source: io::Error::new(io::ErrorKind::InvalidData, what),
            })?;
    }
    let mut collapsed = folded.finish(format);
    collapsed.broken = broken;
    if format == Format::Sample {
        collapsed.waiting = checked.total.saturating_sub(collapsed.tree.samples());
    }
    Ok(collapsed)
}

fn with_inferno(format: Format, input: &mut impl BufRead, out: &mut Vec<u8>) -> io::Result<()> {
    match format {
        Format::Dtrace => dtrace::Folder::default().collapse(input, out),
        Format::Sample => sample::Folder::default().collapse(input, out),
        Format::Vtune => vtune::Folder::default().collapse(input, out),
        Format::Vsprof => vsprof::Folder::default().collapse(input, out),
        Format::Xctrace => xctrace::Folder::default().collapse(input, out),
        Format::Ghcprof => ghcprof::Folder::default().collapse(input, out),
        Format::PerfScript | Format::Folded => {
            Err(io::Error::other("this format has a reader of ours"))
        }
    }
}

/// The text with what [`undone`] undoes.
fn spelled(text: &str, format: Format) -> Cow<'_, str> {
    let looks_for_rust = matches!(format, Format::Dtrace | Format::Sample | Format::Xctrace);
    let is_spelled = |c: char| match c {
        MARK_BEGIN..=SPELLED_END => true,
        // It counts columns in characters.
        _ if format == Format::Ghcprof => false,
        _ => looks_for_rust && !c.is_ascii(),
    };
    if !text.contains(is_spelled) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(2 * text.len());
    for c in text.chars() {
        if is_spelled(c) {
            out.push_str(&format!("{SPELLED_BEGIN}{:x}{SPELLED_END}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The line without marks and spellings.
fn undone(line: &str) -> Cow<'_, str> {
    if !line.contains([MARK_BEGIN, SPELLED_BEGIN]) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find([MARK_BEGIN, SPELLED_BEGIN]) {
        let (before, added) = rest.split_at(at);
        out.push_str(before);
        let (inside, behind) = added
            .split_once([MARK_END, SPELLED_END])
            .unwrap_or((added, ""));
        if let Some(digits) = inside.strip_prefix(SPELLED_BEGIN) {
            let value = u32::from_str_radix(digits, 16).ok();
            out.push(
                value
                    .and_then(char::from_u32)
                    .unwrap_or(char::REPLACEMENT_CHARACTER),
            );
        }
        rest = behind;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The lines of a text, looked at and marked one by one.
struct Checked<R> {
    lines: Lines<R>,
    format: Format,
    /// Of the current line; what is before `at` was consumed.
    shown: Vec<u8>,
    at: usize,
    /// The part of the text that inferno reads has begun.
    is_begun: bool,
    marks: u64,
    /// Of the line before, in Visual Studio's text.
    depth: u64,
    /// DTrace: a frame was read since the last count.
    has_frames: bool,
    /// Samples, as the text itself adds them up.
    total: u64,
    /// Why nothing more is handed out.
    error: Option<TextError>,
}

impl<R: Read> Checked<R> {
    fn new(lines: Lines<R>, format: Format) -> Self {
        Self {
            lines,
            format,
            shown: Vec::new(),
            at: 0,
            is_begun: false,
            marks: 0,
            depth: 0,
            has_frames: false,
            total: 0,
            error: None,
        }
    }

    fn next(&mut self) -> Result<(), TextError> {
        let Self {
            lines,
            format,
            shown,
            is_begun,
            marks,
            depth,
            has_frames,
            total,
            ..
        } = self;
        shown.clear();
        self.at = 0;
        let Some(line) = lines.next_line()? else {
            return Ok(());
        };
        let lossy = String::from_utf8_lossy(line.text);
        // Visual Studio begins its texts with a byte order mark.
        let mut text = spelled(lossy.trim_start_matches('\u{feff}'), *format);
        let mut mark_at = None;
        match format {
            Format::Sample if text.starts_with("Call graph:") => *is_begun = true,
            Format::Sample if text.starts_with("Total number in stack") => *is_begun = false,
            Format::Sample if *is_begun => {
                mark_at = sample_function(&text, total)
                    .map_err(|what| line_error(line, *format, what))?;
                const MODULE: &str = "(in ";
                if let Some(module) = text.rfind(MODULE).filter(|_| mark_at.is_some()) {
                    // Not before the function: it is looked at for a Rust name.
                    mark_at = Some(module + MODULE.len());
                } else {
                    // Without a module inferno takes what it finds for one.
                    let end = text.find('(').unwrap_or(text.len());
                    text = Cow::Owned(text.get(..end).unwrap_or_default().trim_end().to_owned());
                }
            }
            Format::Vtune if text.starts_with("Function Stack,") => *is_begun = true,
            Format::Vtune if *is_begun => {
                let indent = text.find(|c| c != ' ').unwrap_or(text.len());
                let quote = text.get(indent..).is_some_and(|rest| rest.starts_with('"'));
                mark_at = Some(indent + usize::from(quote));
            }
            Format::Vsprof if *is_begun => {
                mark_at = vsprof_function(&text, depth)
                    .map_err(|what| line_error(line, *format, what))?;
            }
            Format::Vsprof => *is_begun = true,
            Format::Dtrace if *is_begun => {
                dtrace_line(&text, line, has_frames, total)?;
            }
            Format::Dtrace => *is_begun = text.trim().is_empty(),
            _ => {}
        }
        match mark_at.and_then(|at| text.split_at_checked(at)) {
            Some((before, behind)) => {
                *marks += 1;
                let marked = format!("{before}{MARK_BEGIN}{marks}{MARK_END}{behind}");
                // It would begin another frame.
                shown.extend_from_slice(marked.replace(';', ":").as_bytes());
            }
            None => shown.extend_from_slice(text.as_bytes()),
        }
        shown.push(b'\n');
        Ok(())
    }
}

/// Where the function begins in a line of `sample`; the counts of threads are added up.
fn sample_function(text: &str, total: &mut u64) -> Result<Option<usize>, &'static str> {
    let Some(rest) = text.strip_prefix("    ") else {
        return Ok(None);
    };
    let indent = rest
        .find(|c| !matches!(c, ' ' | '+' | '|' | ':' | '!'))
        .unwrap_or(rest.len());
    let Some((count, _)) = rest.get(indent..).and_then(|line| line.split_once(' ')) else {
        return Ok(None);
    };
    if indent == 0 {
        let samples: u64 = count.parse().map_err(|_| "has no count of samples")?;
        *total = total.checked_add(samples).ok_or("counts too much")?;
    }
    Ok(Some(text.len() - rest.len() + indent + count.len() + 1))
}

/// Where the function begins in a line of Visual Studio: `6,"Function","1,234",…`.
fn vsprof_function(text: &str, depth: &mut u64) -> Result<Option<usize>, &'static str> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    const FORM: &str = "is not `LEVEL,\"FUNCTION\",CALLS,…`";
    let (level, rest) = text.split_once(",\"").ok_or(FORM)?;
    let (function, rest) = rest.split_once('"').ok_or(FORM)?;
    let calls = rest.strip_prefix(',').ok_or(FORM)?;
    let calls = match calls.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => calls.split(',').next(),
    };
    // inferno adds digits up without a look at the sum.
    if calls.ok_or(FORM)?.len() > 24 {
        return Err("counts too much");
    }
    let level: u64 = level.trim_matches('"').parse().map_err(|_| FORM)?;
    if level == 0 || level > *depth + 1 {
        return Err("is more than one level below the line before");
    }
    *depth = level;
    let at = text.len() - rest.len() - 1 - function.len();
    Ok(Some(at))
}

/// Looks at a line behind DTrace's header.
fn dtrace_line(
    text: &str,
    line: Line<'_>,
    has_frames: &mut bool,
    total: &mut u64,
) -> Result<(), TextError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok(());
    }
    let Ok(count) = trimmed.parse::<u64>() else {
        *has_frames = true;
        return Ok(());
    };
    if !std::mem::take(has_frames) {
        return Err(line_error(
            line,
            Format::Dtrace,
            "is a count without a stack",
        ));
    }
    *total = total
        .checked_add(count)
        .ok_or_else(|| line_error(line, Format::Dtrace, "counts too much"))?;
    Ok(())
}

impl<R: Read> BufRead for Checked<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.shown.len()
            && let Err(error) = self.next()
        {
            self.shown.clear();
            let stopped = io::Error::other(error.to_string());
            self.error = Some(error);
            return Err(stopped);
        }
        Ok(self.shown.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.shown.len());
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(room)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TextOptions, collapse_text};
    use super::*;
    use crate::write_folded;

    fn folded(text: &str) -> Result<String, TextError> {
        let collapsed = collapse_text(text.as_bytes(), &TextOptions::default())?;
        let mut out = Vec::new();
        write_folded(&collapsed.tree, &mut out).unwrap();
        Ok(String::from_utf8(out).unwrap())
    }

    const SAMPLE: &str = "\
Call graph:
    9 Thread_1   DispatchQueue_1: main  (serial)
    + 9 naïve_naïve_naïve_ö  (in läb.dylib) + 1  [0x1]
    +   5 f;g  (in b) + 2  [0x2]
    +   3 f;g  (in b) + 4  [0x4]
    +   1 _$LT$a..b$GT$::run::h30ecedc997ad7e32  (in b) + 4  [0x4]
    2 Thread_2
      2 __select  (in k) + 4  [0x4]

Total number in stack (recursive counted multiple, when >=5):
";

    #[test]
    fn equal_stacks_of_sample_are_added_up_and_waiting_threads_counted() {
        let root = "Thread_1   DispatchQueue_1: main;läb`naïve_naïve_naïve_ö";
        assert_eq!(
            folded(SAMPLE).unwrap(),
            format!("{root};b`<a::b>::run 1\n{root};b`f:g 8\n")
        );
        let collapsed = collapse_text(SAMPLE.as_bytes(), &TextOptions::default()).unwrap();
        assert_eq!(collapsed.waiting, 2);
    }

    #[test]
    fn what_inferno_would_panic_on_is_an_error_with_its_place() {
        let visual = "Level,Function Name,Number of Calls,Elapsed Inclusive Time %,Elapsed Exclusive Time %,\
             Avg Elapsed Inclusive Time,Avg Elapsed Exclusive Time,Module Name,\n";
        for (text, line) in [
            ("h\n\n  a`b\n  1\n  12\n".to_owned(), 5),
            (format!("h\n\n  a`b\n  {0}\n  a`b\n  {0}\n", u64::MAX), 6),
            (format!("{visual}2,\"f\",1,\n"), 2),
            (format!("{visual}1,\"f\",1,\n0,\"f\",1,\n"), 3),
            (format!("{visual}1,\"f\",{}1,\n", "1,000,".repeat(9)), 0),
            (format!("{visual}1,\"f\",{},\n", "9".repeat(25)), 2),
            (format!("{visual}x\n"), 2),
        ] {
            match folded(&text) {
                Err(TextError::Line { at, .. }) => assert_eq!(at.line, line, "{text}"),
                Ok(_) => assert_eq!(line, 0, "{text}"),
                Err(other) => panic!("{text}: {other}"),
            }
        }
    }

    #[test]
    fn every_cut_and_every_odd_byte_ends_in_an_error_or_a_tree() {
        let dtrace = "CPU ID\n\n  a`bö+0x1\n  0xff\n  12\n\n  c->d;e`f::g(int)\n  7\n";
        let vtune = "Function Stack,CPU Time:Self,Module\nTotal,0,\n \"f(a, b)\",1.5,m\n f,nan,m\n";
        let ghc = "COST CENTRE  MODULE  SRC  no. entries  %time %alloc   %time %alloc\n\n\
             MAIN  MAIN  <built-in>  1  0  1.5  0.0  100.0 100.0\n ä  M  s  2  1  98.5  0.0  1.0 1.0\n";
        let xml = "<?xml version=\"1.0\"?>\n<trace-query-result><node><row><backtrace id=\"1\"><frame id=\"2\" \
             name=\"ö;f\" addr=\"0\"></frame></backtrace></row></node></trace-query-result>\n";
        for text in [dtrace, vtune, ghc, xml, SAMPLE] {
            for len in (0..=text.len()).filter(|len| text.is_char_boundary(*len)) {
                let _either = folded(&text[..len]);
            }
            for at in 0..text.len() {
                for byte in [b'\x01', b'\x03', b'\xff', b';', b' ', b'9', b'"', b'\n'] {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[at] = byte;
                    let _either = collapse_text(&bytes[..], &TextOptions::default());
                }
            }
        }
    }
}
