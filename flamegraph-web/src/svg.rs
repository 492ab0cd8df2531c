//! The picture as one SVG: inferno draws it, we add the legend and take out what is not for viewers.

use std::borrow::Cow;
use std::io::{self, Write};

use collapse::{FrameTree, NAME_CHARS_MAX, clean_line};
use inferno::flamegraph::color::{BackgroundColor, Color};
use inferno::flamegraph::{self, Options, TextTruncateDirection};
use thiserror::Error;

use crate::drawing::Drawing;
use crate::feed::Feed;
use crate::legend::Legend;

/// The texts around the graph. Any text will do: it is cleaned, escaped and, if too long, cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// What was recorded.
    pub title: String,
    /// One line of totals; may be empty.
    pub subtitle: String,
    /// Not seen: a comment in the file, for whoever wonders where it came from. May be empty.
    pub notes: String,
    /// What the widths count: `samples`, `ns`.
    pub unit: String,
}

impl Default for Picture {
    fn default() -> Self {
        Self {
            title: String::new(),
            subtitle: String::new(),
            notes: String::new(),
            unit: "samples".into(),
        }
    }
}

/// Why there is no picture.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SvgError {
    /// The renderer refused lines that we had made.
    #[error("the renderer refused the stacks")]
    Draw(#[source] io::Error),
    /// The renderer's drawing is not of the shape that we add to.
    #[error("the drawing has no `{expected}`")]
    Shape {
        /// What was searched.
        expected: &'static str,
    },
    /// The output took no more.
    #[error("cannot write the picture")]
    Write(#[source] io::Error),
}

/// What fits between the two buttons, and into the line below, at 1200 pixels.
const TITLE_CHARS_MAX: usize = 90;
const SUBTITLE_CHARS_MAX: usize = 165;
/// In every frame's tooltip.
const UNIT_CHARS_MAX: usize = 40;

/// Writes the tree as one well-formed SVG that loads nothing and runs only the viewer's script.
///
/// The same tree and texts give the same bytes. A tree of no samples is a picture that says so.
pub fn write_svg(tree: &FrameTree, picture: &Picture, mut out: impl Write) -> Result<(), SvgError> {
    if tree.samples() == 0 {
        let written = out.write_all(without_samples(picture).as_bytes());
        return written.and_then(|()| out.flush()).map_err(SvgError::Write);
    }
    let Feed {
        lines,
        mut palette,
        names,
        drawn,
    } = Feed::of(tree);
    let mut options = options(picture);
    options.palette_map = Some(&mut palette);
    let legend = |top| Legend::of(tree, &drawn, top);
    let mut drawing = Drawing::new(out, &names, legend);
    let done = flamegraph::from_lines(&mut options, lines.lines().rev(), &mut drawing);
    drawing.finish(done)
}

fn options(picture: &Picture) -> Options<'static> {
    let mut options = Options::default();
    options.title = clean_line(&picture.title, TITLE_CHARS_MAX).into_owned();
    options.subtitle = Some(clean_line(&picture.subtitle, SUBTITLE_CHARS_MAX).into_owned());
    options.notes = for_comment(&clean_line(&picture.notes, NAME_CHARS_MAX));
    options.count_name = clean_line(&picture.unit, UNIT_CHARS_MAX).into_owned();
    options.bgcolors = Some(BackgroundColor::Flat(Color {
        r: 253,
        g: 253,
        b: 251,
    }));
    options.uicolor = Color {
        r: 40,
        g: 40,
        b: 40,
    };
    options.text_truncate_direction = TextTruncateDirection::Right;
    // We have left out what is too narrow, and count it.
    options.min_width = 0.0;
    // Colours come from the palette; were one missing, it would still not be a random one.
    options.deterministic = true;
    // Lines are taken from the last to the first, and not sorted: they are in their order.
    options.flame_chart = true;
    options
}

fn without_samples(picture: &Picture) -> String {
    let title = clean_line(&picture.title, TITLE_CHARS_MAX);
    let subtitle = clean_line(&picture.subtitle, SUBTITLE_CHARS_MAX);
    let notes = for_comment(&clean_line(&picture.notes, NAME_CHARS_MAX));
    format!(
        "<?xml version=\"1.0\" standalone=\"no\"?>\
         <svg version=\"1.1\" width=\"1200\" height=\"120\" viewBox=\"0 0 1200 120\" \
         xmlns=\"http://www.w3.org/2000/svg\"><!--NOTES: {}-->\
         <g font-family=\"monospace\" font-size=\"12\" text-anchor=\"middle\">\
         <rect width=\"100%\" height=\"120\" fill=\"rgb(253,253,251)\"/>\
         <text x=\"50%\" y=\"24\" font-size=\"17\">{}</text>\
         <text x=\"50%\" y=\"48\">{}</text>\
         <text x=\"50%\" y=\"84\">no samples</text></g></svg>\n",
        escaped(&notes),
        escaped(&title),
        escaped(&subtitle),
    )
}

/// A text as element content or in an attribute.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '>', '&', '\'', '"']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A comment may neither hold two hyphens in a row nor end in one.
fn for_comment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '-' && out.ends_with('-') {
            out.push(' ');
        }
        out.push(c);
    }
    if out.ends_with('-') {
        out.push(' ');
    }
    out
}
