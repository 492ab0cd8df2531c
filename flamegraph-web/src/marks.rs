//! What stands for names while the renderer has them, and is taken out of its drawing.
//!
//! The renderer knows a frame by its text alone and gives equal texts one colour, so each name is
//! followed by a mark: one character of a private plane, which no cleaned name can hold, that
//! numbers the frame's style. They serve two more ends: no name is mistaken for a count or an annotation, and
//! no name is a beginning of another one, so the order of the marked names is that of whole lines.
//!
//! Of a frame whose text need not be cut, a single character of the other private plane is all that the
//! renderer gets: lines repeat their whole path, and it would go through long names again and again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};

use collapse::{NO_NAME, Node};
use inferno::flamegraph::color::{Color, PaletteMap};

use crate::palette::{ALL, Style};
use crate::svg::escaped;

/// A style's number is added to this.
const STYLE_MARK: u32 = 0xf_0000;
/// An ASCII character that the renderer would read as syntax is added to this.
const SYNTAX_MARK: u32 = 0xf_1000;
const SYNTAX: [char; 3] = [';', ' ', '#'];
/// The number of a short name is added to this.
const SHORT: u32 = 0x10_0000;
/// The last two characters of a plane are none.
const SHORT_MAX: usize = 0xfffe;

/// A frame with room for fewer characters has no text.
const TEXT_CHARS_MIN: f64 = 3.0;
/// By how much the renderer may see the room otherwise than we do; by far.
const ROUNDING_CHARS: f64 = 0.1;

/// A distinct name and style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LabelId(u32);

#[derive(Debug)]
struct Label<'a> {
    name: &'a str,
    colour: Color,
    marked: String,
    /// Whether the renderer was told the colour of the marked name.
    is_used: bool,
    short: Option<char>,
}

/// The labels of the frames that are drawn, and the colour of each text that the renderer gets.
#[derive(Default)]
pub(crate) struct Labels<'a> {
    labels: Vec<Label<'a>>,
    ids: HashMap<(&'a str, u32), LabelId>,
    palette: PaletteMap,
    names: ShortNames<'a>,
}

/// What short names stand for, escaped.
#[derive(Debug, Default)]
pub(crate) struct ShortNames<'a>(Vec<Cow<'a, str>>);

impl<'a> Labels<'a> {
    pub(crate) fn new() -> Self {
        let mut labels = Self::default();
        labels.palette.insert("", ALL);
        labels
    }

    pub(crate) fn id(&mut self, node: &Node<'a>, style: Style) -> LabelId {
        let name = match node.name {
            "" => NO_NAME,
            name => name,
        };
        let labels = &mut self.labels;
        *self.ids.entry((name, style.number())).or_insert_with(|| {
            labels.push(Label {
                name,
                colour: style.colour_of(node),
                marked: marked(name, style),
                is_used: false,
                short: None,
            });
            LabelId(labels.len() as u32 - 1)
        })
    }

    /// The place of each label among all, in the order of the marked names.
    pub(crate) fn ranks(&self) -> Ranks {
        let marked = |number: &u32| self.labels.get(*number as usize).map(|it| &it.marked);
        let mut ordered: Vec<u32> = (0..self.labels.len() as u32).collect();
        ordered.sort_unstable_by(|a, b| marked(a).cmp(&marked(b)));
        let mut ranks = vec![0; ordered.len()];
        for (rank, number) in (0..).zip(ordered) {
            if let Some(slot) = ranks.get_mut(number as usize) {
                *slot = rank;
            }
        }
        Ranks(ranks)
    }

    /// Bytes of the marked name.
    pub(crate) fn len(&self, id: LabelId) -> usize {
        self.labels
            .get(id.0 as usize)
            .map_or(0, |it| it.marked.len())
    }

    /// Adds the name for the renderer; the short one if the text of the frame, which has room for so many characters,
    /// will not be cut, and there is one left.
    pub(crate) fn write(&mut self, id: LabelId, room_chars: f64, line: &mut String) {
        let Some(label) = self.labels.get_mut(id.0 as usize) else {
            return;
        };
        let names = &mut self.names.0;
        // The renderer counts bytes, and has to have room for more than them.
        let is_whole = room_chars > label.marked.len() as f64 + 1.0 + ROUNDING_CHARS;
        let is_cut = room_chars > TEXT_CHARS_MIN - ROUNDING_CHARS && !is_whole;
        if !is_cut && (label.short.is_some() || names.len() < SHORT_MAX) {
            let palette = &mut self.palette;
            line.push(*label.short.get_or_insert_with(|| {
                let short = mark(SHORT + names.len() as u32);
                names.push(escaped(label.name));
                palette.insert(short, label.colour);
                short
            }));
            return;
        }
        if !std::mem::replace(&mut label.is_used, true) {
            self.palette.insert(&label.marked, label.colour);
        }
        line.push_str(&label.marked);
    }

    pub(crate) fn finish(self) -> (PaletteMap, ShortNames<'a>) {
        (self.palette, self.names)
    }
}

/// The order of labels.
pub(crate) struct Ranks(Vec<u32>);

impl Ranks {
    pub(crate) fn of(&self, id: LabelId) -> u32 {
        self.0.get(id.0 as usize).copied().unwrap_or_default()
    }
}

/// The frame's text for the renderer.
fn marked(name: &str, style: Style) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (at, c) in name.char_indices() {
        // Lines are trimmed, and left out if they begin with `# `.
        let syntax = c == ';' || (at == 0 && SYNTAX.contains(&c));
        out.push(if syntax {
            mark(SYNTAX_MARK + u32::from(c))
        } else {
            c
        });
    }
    out.push(mark(STYLE_MARK + style.number()));
    out
}

fn mark(code: u32) -> char {
    char::from_u32(code).expect("marks are in planes 15 and 16, whose last two are none of them")
}

/// Writes a part of a drawing, which has whole characters, as it was before the marks.
pub(crate) fn write_unmarked(
    drawing: &[u8],
    names: &ShortNames<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut from = 0;
    // Planes 12 to 15 begin with the first of these bytes in UTF-8, plane 16 with the other.
    for at in memchr::memchr2_iter(0xf3, 0xf4, drawing) {
        let Some([first, rest @ ..]) = drawing.get(at..).and_then(|text| text.first_chunk::<4>())
        else {
            continue;
        };
        let bits = |code: u32, byte: &u8| code << 6 | u32::from(byte & 0x3f);
        let code = rest.iter().fold(u32::from(first & 7), bits);
        if code < STYLE_MARK {
            continue;
        }
        out.write_all(drawing.get(from..at).unwrap_or_default())?;
        from = at + 4;
        if let Some(number) = code.checked_sub(SHORT) {
            let name = names.0.get(number as usize);
            out.write_all(name.map_or(&[], |name| name.as_bytes()))?;
        } else if let Some(syntax) = SYNTAX
            .iter()
            .find(|syntax| SYNTAX_MARK + u32::from(**syntax) == code)
        {
            // All of it is ASCII.
            out.write_all(&[*syntax as u8])?;
        }
    }
    out.write_all(drawing.get(from..).unwrap_or_default())
}

#[cfg(test)]
pub(crate) fn unmarked(drawing: &str, names: &ShortNames<'_>) -> String {
    let mut out = Vec::new();
    write_unmarked(drawing.as_bytes(), names, &mut out).expect("memory");
    String::from_utf8(out).expect("whole characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_all_that_is_taken_out() {
        let text = "a\u{f0012}b\u{f103b}\u{f1020}\u{f1023}\u{e000}🔥\u{eff}\u{e0041}é";
        let names = ShortNames(vec![Cow::Borrowed("f&amp;lt;"), Cow::Borrowed("g")]);
        assert_eq!(unmarked(text, &names), "ab; #\u{e000}🔥\u{eff}\u{e0041}é");
        assert_eq!(
            unmarked("<\u{100001}\u{100000}>\u{100002}", &names),
            "<gf&amp;lt;>"
        );
    }

    #[test]
    fn no_name_is_short_where_none_is_left() {
        let mut labels = Labels::new();
        let names: Vec<String> = (0..=SHORT_MAX).map(|at| format!("f{at}")).collect();
        let node = |name| Node {
            name,
            kind: collapse::NodeKind::Native,
            reason: "",
            depth: 3,
            self_samples: 1,
            total_samples: 1,
        };
        let style = Style::new(crate::palette::Hue::Host, collapse::NodeKind::Native);
        let mut text = |name| {
            let id = labels.id(&node(name), style);
            let mut line = String::new();
            labels.write(id, 1.0, &mut line);
            line
        };
        let (last, others) = names.split_last().expect("there are some");
        for name in others {
            assert_eq!(text(name).len(), 4);
        }
        assert_eq!(text(last), marked(last, style));
        assert_eq!(text("f0"), "\u{100000}");
    }
}
