//! Folded text read back: ours, of the stackcollapse scripts, of any profiler that writes it.
//!
//! Each line is `FRAME;FRAME;FRAME COUNT`. The escapes that [`write_folded`](crate::write_folded)
//! writes are undone, the annotations `_[k]`, `_[j]`, `_[i]` become kinds, a frame in square
//! brackets is one without a name. The first name of a line is taken for a thread's, unless the
//! first names of all lines are labels of containers as ours are: then the second one is.

use std::borrow::Cow;
use std::io::Read;

use super::collapsed::{Collapsed, Counted, LeftOut};
use super::lines::Lines;
use super::perf_frame::{NO_IMAGE, NO_JIT_SYMBOL, NO_KERNEL_SYMBOL, NO_SYMBOL};
use super::{Format, OnBadLine, TextError, TextOptions, for_each_line, line_error};
use symbolizer::{INTERPRETER, Unresolved};

use crate::folded::NO_NAME;
use crate::labels::{LabelId, Labels};
use crate::paths::Paths;
use crate::totals::is_host;
use crate::tree::{FrameTree, NodeKind};

/// Counts all lines of a text.
pub(super) fn collapse<R: Read>(
    lines: &mut Lines<R>,
    options: &TextOptions,
) -> Result<Collapsed, TextError> {
    let mut folded = Folded::new(Layers::Unknown);
    let mut left_out = LeftOut::default();
    let broken = for_each_line(lines, options, |line| {
        let trimmed = line.text.trim_ascii_end();
        if trimmed.is_empty() || trimmed.starts_with(b"#") {
            return Ok(());
        }
        match folded.line(trimmed) {
            Ok(()) => {}
            Err(what) if options.bad_lines == OnBadLine::Refuse => {
                return Err(line_error(line, Format::Folded, what));
            }
            Err(_) => left_out.add(line.at),
        }
        Ok(())
    })?;
    if folded.lines > 0 && folded.lines == folded.lines_of_two_counts {
        return Err(TextError::Difference);
    }
    Ok(Collapsed {
        left_out,
        broken,
        ..folded.finish(Format::Folded)
    })
}

/// Whether a line has a stack and a count.
pub(super) fn is_stack(line: &[u8]) -> bool {
    matches!(counted(line.trim_ascii_end()), Ok(_) | Err(PARTS))
}

const PARTS: &str = "counts parts of a sample";

/// The stack and the count of a line without white space at its end.
fn counted(line: &[u8]) -> Result<(&[u8], u64), &'static str> {
    let space = memchr::memrchr2(b' ', b'\t', line).ok_or("has no count at its end")?;
    let (stack, digits) = line.split_at(space);
    let digits = digits.trim_ascii();
    let point = memchr::memchr(b'.', digits).unwrap_or(digits.len());
    let (whole, part) = digits.split_at(point);
    let part = part.get(1..).unwrap_or_default();
    let count = super::perf_head::number(whole)
        .filter(|_| part.iter().all(u8::is_ascii_digit))
        .ok_or("has no count at its end")?;
    if part.iter().any(|digit| *digit != b'0') {
        return Err(PARTS);
    }
    if stack.trim_ascii().is_empty() {
        return Err("has a count and no stack");
    }
    Ok((stack, count))
}

/// Which layers stand before the frames.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Layers {
    /// The lines tell.
    Unknown,
    /// None: another profiler's frames begin at once.
    None,
}

/// Lines that are counted as they come.
pub(super) struct Folded {
    layers: Layers,
    labels: Labels,
    /// By a thread's name first.
    paths: Paths,
    /// By a container's label first, while all lines have one.
    in_containers: Option<Paths>,
    path: Vec<LabelId>,
    lines: u64,
    lines_of_two_counts: u64,
}

impl Folded {
    pub(super) fn new(layers: Layers) -> Self {
        Self {
            layers,
            labels: Labels::default(),
            paths: Paths::default(),
            in_containers: (layers == Layers::Unknown).then(Paths::default),
            path: Vec::new(),
            lines: 0,
            lines_of_two_counts: 0,
        }
    }

    /// Counts a line; what is wrong with it.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let (stack, count) = counted(line)?;
        self.lines += 1;
        self.lines_of_two_counts += u64::from(is_stack(stack));
        let stack = String::from_utf8_lossy(stack);
        let layers: &[NodeKind] = match self.layers {
            Layers::Unknown => &[NodeKind::Process],
            Layers::None => &[],
        };
        self.read_path(&stack, layers);
        self.paths.add(self.path.iter().copied(), count);
        let mut names = stack.split(';');
        let is_contained = names.next().is_some_and(is_container) && names.next().is_some();
        if let Some(mut paths) = self.in_containers.take_if(|_| true)
            && is_contained
        {
            self.read_path(&stack, &[NodeKind::Container, NodeKind::Process]);
            paths.add(self.path.iter().copied(), count);
            self.in_containers = Some(paths);
        }
        Ok(())
    }

    fn read_path(&mut self, stack: &str, layers: &[NodeKind]) {
        self.path.clear();
        for (at, name) in stack.split(';').enumerate() {
            let label = match layers.get(at) {
                Some(kind) => {
                    let name = if name == NO_NAME { "" } else { name };
                    self.labels.intern(*kind, &unescaped(name))
                }
                None => frame(&mut self.labels, name),
            };
            self.path.push(label);
        }
    }

    pub(super) fn finish(self, format: Format) -> Collapsed {
        let paths = match self.in_containers {
            Some(paths) if self.lines > 0 => paths,
            _ => self.paths,
        };
        Collapsed {
            format,
            tree: FrameTree::new(self.labels, paths),
            samples: None,
            weight: Counted::Samples,
            event: None,
            other_events: Vec::new(),
            lost: None,
            waiting: 0,
            left_out: LeftOut::default(),
            cut: None,
            broken: None,
        }
    }
}

/// Whether a name reads like the label of a container or of the host: `docker:web (3f2a12345678)`.
fn is_container(name: &str) -> bool {
    const ENGINES: &[&str] = &[
        "docker",
        "containerd",
        "cri-o",
        "crio",
        "podman",
        "k8s",
        "lxc",
        "nspawn",
        "ecs",
        "garden",
        "buildkit",
        "runc",
        "container",
    ];
    let engine = name.split_once(':').map(|(engine, _)| engine);
    is_host(name) || engine.is_some_and(|engine| ENGINES.contains(&engine))
}

/// What stackcollapse-perf.pl writes for code of no file.
const UNKNOWN: &str = "[unknown]";

/// The label of a frame by its text.
fn frame(labels: &mut Labels, text: &str) -> LabelId {
    let annotated = [
        ("_[k]", NodeKind::Kernel),
        ("_[j]", NodeKind::Jit),
        ("_[i]", NodeKind::Inlined),
    ];
    let (name, kind) = annotated
        .into_iter()
        .find_map(|(mark, kind)| Some((text.strip_suffix(mark)?, kind)))
        .unwrap_or((text, NodeKind::Native));
    if name == NO_NAME {
        return labels.intern(kind, "");
    }
    if kind == NodeKind::Jit && name == INTERPRETER {
        return labels.intern(kind, name);
    }
    if name.starts_with('[') && name.ends_with(']') {
        let reason = match kind {
            NodeKind::Kernel => NO_KERNEL_SYMBOL,
            NodeKind::Jit => NO_JIT_SYMBOL,
            _ if name == Unresolved::Truncated.to_string() => Unresolved::Truncated.kind(),
            _ if name == UNKNOWN => NO_IMAGE,
            _ => NO_SYMBOL,
        };
        return labels.intern_unresolved(&unescaped(name), reason);
    }
    labels.intern(kind, &unescaped(name))
}

/// The name that was written as `\x3b`, `\u{202e}` and the like, which cleaning will write again.
fn unescaped(name: &str) -> Cow<'_, str> {
    if !name.contains('\\') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (c, len) = escaped_character(escape).unwrap_or(('\\', 1));
        out.push(c);
        rest = escape.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The character that an escape at the beginning of `text` stands for, and the escape's length.
fn escaped_character(text: &str) -> Option<(char, usize)> {
    let (digits, len) = match text.strip_prefix(r"\x") {
        Some(rest) => (rest.get(..2)?, 4),
        None => {
            let digits = text.strip_prefix(r"\u{")?.split_once('}')?.0;
            (digits, digits.len() + r"\u{}".len())
        }
    };
    let is_lower = digits
        .bytes()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let value = u32::from_str_radix(digits, 16).ok().filter(|_| is_lower)?;
    Some((char::from_u32(value)?, len))
}
