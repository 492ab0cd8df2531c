//! The one sanitiser between names that a container wrote and any text that we write.
//!
//! A cleaned text is one line of visible characters, white space being U+0020 only, of bounded
//! length. Every other character becomes a visible escape: `\x1b` for ASCII, `\u{202e}` above. A
//! backslash that would read as one of these is itself written `\x5c`, so two names shorter than the
//! limit are never cleaned to the same text. For the same reason a name is cleaned exactly once.

use std::borrow::Cow;
use std::fmt::Write;

/// The most characters that [`clean_name`] returns, escapes and the mark of a cut included.
pub const NAME_CHARS_MAX: usize = 1024;

/// Stands for what was cut out of the middle of a long text.
const CUT: char = '…';

/// A name as it may be written to a picture, a terminal or a text format that adds its own quoting.
///
/// Names over the limit lose their middle, not their end: long C++ and Rust names often differ at
/// the end only.
pub fn clean_name(name: &str) -> Cow<'_, str> {
    clean_line(name, NAME_CHARS_MAX)
}

/// Whether [`clean_name`] surely leaves a name as it is: told at once of most.
pub(crate) fn is_plain_name(name: &str) -> bool {
    is_plain(name, NAME_CHARS_MAX)
}

/// Looks at all bytes, which is done in large steps, and not only up to one that is not plain.
fn is_plain(text: &str, chars_max: usize) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'[' | b']'..=b'~');
    text.len() <= chars_max
        && text
            .bytes()
            .fold(true, |are_plain, byte| are_plain & is_plain(byte))
}

/// [`clean_name`] with a limit of its own, for titles. Returns at most `chars_max` characters,
/// but always room for the mark of a cut.
pub fn clean_line(text: &str, chars_max: usize) -> Cow<'_, str> {
    if is_plain(text, chars_max) {
        return Cow::Borrowed(text);
    }
    let escapes = text
        .char_indices()
        .any(|(at, c)| must_escape(c, after(text, at, c)));
    if !escapes && text.chars().nth(chars_max).is_none() {
        return Cow::Borrowed(text);
    }
    let (whole, rest) = take_front(text, chars_max);
    if rest.is_empty() {
        return Cow::Owned(whole);
    }
    let kept = chars_max.saturating_sub(1);
    let back = kept / 3;
    let (mut cut, rest) = take_front(text, kept - back);
    cut.push(CUT);
    cut.push_str(&take_back(rest, back));
    Cow::Owned(cut)
}

/// Writes a character as an escape that [`clean_name`] never leaves in a text by itself.
pub(crate) fn push_escape(out: &mut String, c: char) {
    let written = if c.is_ascii() {
        write!(out, "\\x{:02x}", u32::from(c))
    } else {
        write!(out, "\\u{{{:x}}}", u32::from(c))
    };
    written.expect("a String takes all that is written to it");
}

/// The escaped beginning of `text`, in at most `room` characters, and what is left of `text`.
fn take_front(text: &str, room: usize) -> (String, &str) {
    let mut out = String::with_capacity(text.len().min(room));
    let mut used = 0;
    for (at, c) in text.char_indices() {
        let shown = Shown::of(c, after(text, at, c));
        if used + shown.chars() > room {
            return (out, text.get(at..).unwrap_or_default());
        }
        used += shown.chars();
        shown.push_to(&mut out);
    }
    (out, "")
}

/// The escaped end of `text`, in at most `room` characters.
fn take_back(text: &str, room: usize) -> String {
    let mut shown = Vec::new();
    let mut used = 0;
    for (at, c) in text.char_indices().rev() {
        let next = Shown::of(c, after(text, at, c));
        used += next.chars();
        if used > room {
            break;
        }
        shown.push(next);
    }
    let mut out = String::new();
    for next in shown.into_iter().rev() {
        next.push_to(&mut out);
    }
    out
}

/// What follows the character `c` that begins at byte `at`.
fn after(text: &str, at: usize, c: char) -> &str {
    text.get(at + c.len_utf8()..).unwrap_or_default()
}

#[derive(Clone, Copy)]
enum Shown {
    AsIs(char),
    Escaped(char),
}

impl Shown {
    fn of(c: char, rest: &str) -> Self {
        if must_escape(c, rest) {
            Self::Escaped(c)
        } else {
            Self::AsIs(c)
        }
    }

    /// As many characters as [`push_escape`] writes.
    fn chars(self) -> usize {
        match self {
            Self::AsIs(_) => 1,
            Self::Escaped(c) if c.is_ascii() => r"\x00".len(),
            Self::Escaped(c) => r"\u{}".len() + hex_digits(u32::from(c)),
        }
    }

    fn push_to(self, out: &mut String) {
        match self {
            Self::AsIs(c) => out.push(c),
            Self::Escaped(c) => push_escape(out, c),
        }
    }
}

fn hex_digits(value: u32) -> usize {
    value
        .checked_ilog2()
        .map_or(1, |bits| bits as usize / 4 + 1)
}

fn must_escape(c: char, rest: &str) -> bool {
    match c {
        ' '..='[' | ']'..='~' => false,
        '\\' => reads_as_escape(rest),
        _ => is_unseen(c),
    }
}

/// Whether a backslash before `rest` looks like the beginning of an escape.
fn reads_as_escape(rest: &str) -> bool {
    match rest.as_bytes() {
        [b'x', high, low, ..] => is_hex(*high) && is_hex(*low),
        [b'u', b'{', ..] => true,
        _ => false,
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Characters that draw nothing, move or reorder other text, look like a plain space, or are no XML
/// 1.0 `Char`. Ranges by Unicode's White_Space, Bidi_Control and Default_Ignorable_Code_Point.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || u32::from(c) & 0xfffe == 0xfffe
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            // Tags, and the private planes: no font agrees with another on what they are.
            | '\u{e0000}'..='\u{e0fff}'
            | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_returned_without_a_copy() {
        for name in [
            "",
            "main",
            "<T as core::fmt::Debug>::fmt",
            "operator new(unsigned long)",
            r"App\utils\Xml::run",
            r"C:\x\u",
            "naïve::größe",
            "函数",
            "🔥",
            "🏽",
            "❤\u{fe0f}",
        ] {
            assert!(
                matches!(clean_name(name), Cow::Borrowed(same) if same == name),
                "{name}"
            );
        }
    }

    #[test]
    fn characters_that_control_a_terminal_or_hide_text_become_visible() {
        for (name, shown) in [
            ("a\x1b[31mb", r"a\x1b[31mb"),
            ("a\0b\x7f", r"a\x00b\x7f"),
            ("line\r\nnext\ttab", r"line\x0d\x0anext\x09tab"),
            ("c1\u{9b}31m", r"c1\u{9b}31m"),
            ("\u{2028}\u{2029}", r"\u{2028}\u{2029}"),
            ("evil\u{202e}gpj.exe", r"evil\u{202e}gpj.exe"),
            (
                "\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}",
                r"\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}",
            ),
            ("a\u{200b}\u{feff}b", r"a\u{200b}\u{feff}b"),
            ("\u{fffe}\u{ffff}\u{1ffff}", r"\u{fffe}\u{ffff}\u{1ffff}"),
            ("\u{a0}\u{3000}", r"\u{a0}\u{3000}"),
            (
                "\u{e0041}\u{f0001}\u{10fffd}",
                r"\u{e0041}\u{f0001}\u{10fffd}",
            ),
        ] {
            assert_eq!(clean_name(name), shown);
        }
    }

    #[test]
    fn a_name_that_spells_an_escape_stays_apart_from_the_escaped_character() {
        assert_eq!(clean_name("\x1b"), r"\x1b");
        assert_eq!(clean_name(r"\x1b"), r"\x5cx1b");
        assert_eq!(clean_name(r"\u{202e}"), r"\x5cu{202e}");
        assert_eq!(clean_name("\\\x1b"), r"\\x1b");
        assert_eq!(clean_name(r"\xyz \X1b \u1"), r"\xyz \X1b \u1");
    }

    #[test]
    fn a_long_name_loses_its_middle_and_keeps_both_ends() {
        let name = format!("begin{}end", "x".repeat(1 << 20));
        let clean = clean_name(&name);
        assert_eq!(clean.chars().count(), NAME_CHARS_MAX);
        assert!(clean.starts_with("beginxx") && clean.ends_with("xxend"));
        assert_eq!(clean.matches(CUT).count(), 1);
        assert_eq!(clean_line("abcdefghij", 10), "abcdefghij");
        assert_eq!(clean_line("abcdefghijk", 10), "abcdef…ijk");
    }

    #[test]
    fn no_escape_is_cut_in_two_and_the_limit_counts_escapes() {
        let clean = clean_name(&"\u{202e}".repeat(5000)).into_owned();
        assert!(clean.chars().count() <= NAME_CHARS_MAX);
        assert_eq!(clean.replace(r"\u{202e}", ""), "…");
        assert_eq!(clean_line("\x01\x02\x03", 12), r"\x01\x02\x03");
        assert_eq!(clean_line("\x01\x02\x03", 11), r"\x01…");
        assert_eq!(clean_line("\x01\x02\x03abc", 13), r"\x01\x02…abc");
        for chars_max in 0..8 {
            assert!(clean_line("é\x1bé\x1b", chars_max).chars().count() <= chars_max.max(1));
        }
    }

    #[test]
    fn every_character_is_shown_as_itself_or_as_ascii() {
        for c in '\0'..=char::MAX {
            let name = String::from(c);
            let clean = clean_name(&name);
            assert!(!is_plain_name(&name) || *clean == *name, "{c:?}");
            assert!(
                *clean == *name || (clean.is_ascii() && clean.starts_with('\\')),
                "{c:?}"
            );
            assert!(!clean.chars().any(char::is_control));
            assert_eq!(Shown::of(c, "").chars(), clean.chars().count(), "{c:?}");
        }
    }
}
