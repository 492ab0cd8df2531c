//! Texts of other profilers, by inferno's readers.
//!
//! Lines are looked at before inferno sees them. What it would panic on is an error with its place.
//! Of `sample`, VTune and Visual Studio it keeps the last count of equal stacks and forgets the
//! others: each line's function gets a mark of its own, so that no two stacks are equal, and the
//! marks are taken out behind it.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use inferno::collapse::{Collapse, dtrace, ghcprof, sample, vsprof, vtune, xctrace};

use super::collapsed::Collapsed;
use super::folded_in::{Folded, Layers};
use super::lines::{Line, Lines};
use super::{Format, OnBadLine, TextError, TextOptions, line_error};

/// Begin and end of a mark: private characters of the last plane, which no cleaned name holds.
const MARK_BEGIN: char = '\u{10fff0}';
const MARK_END: char = '\u{10fff1}';

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
            .line(unmarked(&line).as_bytes())
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

/// The line without its marks.
fn unmarked(line: &str) -> Cow<'_, str> {
    if !line.contains(MARK_BEGIN) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut is_in_mark = false;
    for c in line.chars() {
        match c {
            MARK_BEGIN => is_in_mark = true,
            MARK_END => is_in_mark = false,
            ';' | '\n' => {
                is_in_mark = false;
                out.push(c);
            }
            _ if is_in_mark => {}
            _ => out.push(c),
        }
    }
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
        let text = String::from_utf8_lossy(line.text);
        let mut mark_at = None;
        match format {
            Format::Sample if text.starts_with("Call graph:") => *is_begun = true,
            Format::Sample if text.starts_with("Total number in stack") => *is_begun = false,
            Format::Sample if *is_begun => {
                mark_at = sample_function(&text, total)
                    .map_err(|what| line_error(line, *format, what))?;
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
            Some((before, function)) => {
                *marks += 1;
                let marked = format!(
                    "{before}{MARK_BEGIN}{marks}{MARK_END}{}",
                    function.replace(';', ":")
                );
                shown.extend_from_slice(marked.as_bytes());
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
