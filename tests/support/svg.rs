//! A picture read as what it claims to be: well-formed XML, with no code in it but its own.

use quick_xml::Reader;
use quick_xml::events::Event;

/// What tests ask of a picture.
#[derive(Debug)]
pub(crate) struct Svg {
    /// The file as it is.
    pub(crate) text: String,
    /// The content of each `<script>` element, in order.
    pub(crate) scripts: Vec<String>,
    /// Content of each `<title>` element, in order, entities resolved: one for each frame drawn.
    pub(crate) titles: Vec<String>,
}

impl Svg {
    /// Panics if it is not well-formed, names the wrong root element, or fetches anything.
    pub(crate) fn parse(text: String) -> Self {
        if let Some(at) = text.find(|c: char| !is_xml_char(c)) {
            let end = text.len().min(at + 40);
            let around = String::from_utf8_lossy(&text.as_bytes()[at..end]);
            panic!("byte {at} of the picture is no XML character: {around:?}");
        }
        let mut reader = Reader::from_str(&text);
        let mut open: Vec<String> = Vec::new();
        let mut root = None;
        let (mut scripts, mut titles) = (Vec::new(), Vec::new());
        let mut content = String::new();
        loop {
            let at = reader.buffer_position();
            let event = reader.read_event();
            match event.unwrap_or_else(|error| panic!("byte {at} of the picture: {error}")) {
                Event::Start(element) => {
                    let name = String::from_utf8_lossy(element.name().as_ref()).into_owned();
                    check_attributes(&element);
                    root.get_or_insert_with(|| name.clone());
                    open.push(name);
                    content.clear();
                }
                Event::Empty(element) => check_attributes(&element),
                Event::End(_) => {
                    match open.pop().as_deref() {
                        Some("script") => scripts.push(std::mem::take(&mut content)),
                        Some("title") => titles.push(std::mem::take(&mut content)),
                        _ => {}
                    }
                    content.clear();
                }
                Event::Text(text) => content += &text.decode().expect("from a str"),
                Event::CData(data) => content += &data.decode().expect("from a str"),
                Event::GeneralRef(name) => content.push(resolve(&name)),
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
        assert_eq!(
            open,
            Vec::<String>::new(),
            "the picture ends inside these elements"
        );
        assert_eq!(root.as_deref(), Some("svg"), "the picture's root element");
        Self {
            text,
            scripts,
            titles,
        }
    }
}

/// Attribute values are quoted, none occurs twice, and none makes a viewer fetch something.
fn check_attributes(element: &quick_xml::events::BytesStart<'_>) {
    for attribute in element.attributes() {
        let attribute = attribute.unwrap_or_else(|error| panic!("{element:?}: {error}"));
        let name = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        let value = String::from_utf8_lossy(&attribute.value).into_owned();
        let fetches =
            matches!(name.as_str(), "href" | "xlink:href" | "src") && !value.starts_with('#');
        assert!(!fetches, "the picture fetches {name}={value:?}");
    }
}

fn resolve(name: &quick_xml::events::BytesRef<'_>) -> char {
    if let Some(char) = name
        .resolve_char_ref()
        .expect("a valid character reference")
    {
        assert!(
            is_xml_char(char),
            "&#{:#x}; is no XML character",
            u32::from(char)
        );
        return char;
    }
    match &*name.decode().expect("from a str") {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        other => panic!("&{other}; is not declared"),
    }
}

/// `Char` of the XML 1.0 grammar: browsers refuse a whole document for one character outside of it.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
