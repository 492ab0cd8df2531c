//! The renderer's drawing on its way to the output: the document type is taken out, whose address a viewer could
//! load, the legend is added below, and marks become what they stand for. It is megabytes long and never held as a
//! whole.
//!
//! Everything searched here begins with `<`, which no escaped text holds.

use std::io::{self, Write};

use crate::legend::Legend;
use crate::marks::{ShortNames, write_unmarked};
use crate::svg::SvgError;

/// Passed on at once. The head, scripts included, is shorter.
const CHUNK_BYTES: usize = 64 << 10;
/// What is held back: more than the frame of the root, and than what ends the drawing.
const TAIL_BYTES: usize = 4 << 10;

const DOCTYPE: &str = "<!DOCTYPE ";
const ROOT: &str = "<svg version=\"1.1\" ";
const BACKGROUND: &str = r#"<rect x="0" y="0" width="100%" height=""#;
const END: &str = "</svg></svg>";
/// Of the frame of the root. The shares of all other frames have two decimals: `100.00%`.
const ROOT_TITLE: &str = ", 100%)</title>";
const NO_TEXT: &str = "></text>";

/// Takes what the renderer writes.
pub(crate) struct Drawing<'a, L, W> {
    out: W,
    names: &'a ShortNames<'a>,
    /// What is not passed on yet.
    held: Vec<u8>,
    head: Head<L>,
    /// Whether the root has its text. The renderer leaves it to the viewer's script, which does not run where the
    /// picture is only shown (an `<img>`, a converter).
    is_root_named: bool,
    /// What its writer cannot be told.
    failed: Option<SvgError>,
}

enum Head<L> {
    /// Makes the legend, which begins at so many pixels from the upper edge.
    Expected(L),
    Passed(Legend),
    Failed,
}

impl<'a, L: FnOnce(usize) -> Legend, W: Write> Drawing<'a, L, W> {
    /// `legend` is called with the height of the drawing.
    pub(crate) fn new(out: W, names: &'a ShortNames<'a>, legend: L) -> Self {
        Self {
            out,
            names,
            held: Vec::with_capacity(CHUNK_BYTES + TAIL_BYTES),
            head: Head::Expected(legend),
            is_root_named: false,
            failed: None,
        }
    }

    /// The end of what came. `drawn` is what the renderer says of it.
    pub(crate) fn finish(mut self, drawn: io::Result<()>) -> Result<(), SvgError> {
        if let Err(error) = drawn {
            return Err(self.failed.unwrap_or(SvgError::Draw(error)));
        }
        self.pass_on()?;
        let legend = match self.head {
            Head::Passed(legend) => legend,
            Head::Expected(_) | Head::Failed => {
                return Err(SvgError::Shape {
                    expected: BACKGROUND,
                });
            }
        };
        if !self.is_root_named {
            return Err(SvgError::Shape {
                expected: ROOT_TITLE,
            });
        }
        let tail = self.held.strip_suffix(END.as_bytes());
        let tail = tail.ok_or(SvgError::Shape { expected: END })?;
        let end = ["</svg>", &legend.elements, "</svg>\n"].map(str::as_bytes);
        for piece in [tail].into_iter().chain(end) {
            write_unmarked(piece, self.names, &mut self.out).map_err(SvgError::Write)?;
        }
        self.out.flush().map_err(SvgError::Write)
    }

    /// Passes on all but the tail of what is held, as soon as the head is there.
    fn pass_on(&mut self) -> Result<(), SvgError> {
        if let Head::Expected(_) = self.head {
            self.pass_head()?;
        }
        if let Head::Expected(_) = self.head {
            return Ok(());
        }
        let mut end = self.held.len().saturating_sub(TAIL_BYTES);
        // Not within a character.
        while self.held.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        if !self.is_root_named
            && let Some(title) = memchr::memmem::find(&self.held, ROOT_TITLE.as_bytes())
        {
            let root = self.held.get(title..).unwrap_or_default();
            match memchr::memmem::find(root, NO_TEXT.as_bytes()) {
                Some(text) => {
                    let text = title + text + ">".len();
                    self.pass(text)?;
                    self.out.write_all(b"all").map_err(SvgError::Write)?;
                    self.is_root_named = true;
                    end = end.saturating_sub(text);
                }
                None => end = end.min(title),
            }
        }
        self.pass(end)
    }

    fn pass(&mut self, end: usize) -> Result<(), SvgError> {
        let body = self.held.get(..end).unwrap_or_default();
        write_unmarked(body, self.names, &mut self.out).map_err(SvgError::Write)?;
        self.held.drain(..end);
        Ok(())
    }

    fn pass_head(&mut self) -> Result<(), SvgError> {
        let text = match std::str::from_utf8(&self.held) {
            Ok(text) => text,
            Err(cut) => std::str::from_utf8(self.held.get(..cut.valid_up_to()).unwrap_or_default())
                .unwrap_or_default(),
        };
        let Ok((head, height, rest)) = parts_of_head(text) else {
            // More may come.
            return Ok(());
        };
        let Head::Expected(legend) = std::mem::replace(&mut self.head, Head::Failed) else {
            return Ok(());
        };
        let old: usize = height
            .parse()
            .map_err(|_| SvgError::Shape { expected: "height" })?;
        let legend = legend(old);
        let new = old + legend.height;
        let root = head
            .root
            .replace(
                &format!(r#" height="{old}""#),
                &format!(r#" height="{new}""#),
            )
            .replace(&format!(r#" {old}""#), &format!(r#" {new}""#));
        let height = format!("{new}\"");
        for piece in [
            head.declaration,
            head.between,
            ROOT,
            &root,
            ">",
            head.prelude,
            BACKGROUND,
            &height,
        ] {
            write_unmarked(piece.as_bytes(), self.names, &mut self.out).map_err(SvgError::Write)?;
        }
        let end = text.len() - rest.len();
        self.held.drain(..end);
        self.head = Head::Passed(legend);
        Ok(())
    }
}

impl<L: FnOnce(usize) -> Legend, W: Write> Write for Drawing<'_, L, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= CHUNK_BYTES {
            self.pass_on().map_err(|error| {
                self.failed = Some(error);
                io::Error::other("the drawing is not passed on")
            })?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What comes before the frames, without the document type.
struct HeadParts<'d> {
    declaration: &'d str,
    between: &'d str,
    /// Attributes.
    root: &'d str,
    prelude: &'d str,
}

/// The head, the height that it states, and what comes behind that.
fn parts_of_head(drawing: &str) -> Result<(HeadParts<'_>, &str, &str), SvgError> {
    let (declaration, rest) = split(drawing, DOCTYPE)?;
    let (_, rest) = split(rest, ">")?;
    let (between, rest) = split(rest, ROOT)?;
    let (root, rest) = split(rest, ">")?;
    let (prelude, rest) = split(rest, BACKGROUND)?;
    let (height, rest) = split(rest, "\"")?;
    let head = HeadParts {
        declaration,
        between,
        root,
        prelude,
    };
    Ok((head, height, rest))
}

/// What is before and after the first `expected`.
fn split<'a>(text: &'a str, expected: &'static str) -> Result<(&'a str, &'a str), SvgError> {
    text.split_once(expected)
        .ok_or(SvgError::Shape { expected })
}
