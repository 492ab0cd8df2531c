//! Whole pictures: well-formed whatever a container wrote, and the same for the same stacks.

use collapse::{
    Detail, Frame, FrameKind, FrameTree, NamedStack, Taken, Totals, Unresolved, clean_line,
};
use flamegraph_web::{DETAIL, Picture, SvgError, write_svg};
use quick_xml::events::Event;

fn frame(name: &str, kind: FrameKind) -> Frame {
    Frame::new(Ok(name.into()), kind)
}

fn tree_of<'a>(stacks: impl IntoIterator<Item = &'a NamedStack>) -> FrameTree {
    FrameTree::of(&stacks.into_iter().collect(), Detail::All)
}

fn svg(stacks: &[NamedStack], picture: &Picture) -> String {
    let mut out = Vec::new();
    write_svg(&tree_of(stacks), picture, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// What a viewer gets to see and to run, as an XML parser reads it.
#[derive(Default)]
struct Seen {
    /// Contents of all `title` elements: what hovering shows.
    titles: Vec<String>,
    texts: Vec<String>,
    scripts: Vec<String>,
    elements: std::collections::BTreeSet<String>,
    attributes: std::collections::BTreeSet<String>,
    /// Values of attributes that run something.
    handlers: Vec<String>,
}

/// Panics at whatever is not well-formed. The parser is lenient in places; what it lets pass is
/// checked by hand: characters, comments, and that elements end as they began.
fn parsed(svg: &str) -> Seen {
    let forbidden = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}');
    let script = svg.find("<script").unwrap_or(svg.len());
    assert_eq!(svg[..script].find(forbidden), None);
    let after = svg.find("</script>").unwrap_or(0);
    assert_eq!(svg[after..].find(forbidden), None);

    let mut seen = Seen::default();
    let mut open: Vec<String> = Vec::new();
    let mut reader = quick_xml::Reader::from_str(svg);
    reader.config_mut().check_comments = true;
    reader.config_mut().check_end_names = true;
    let mut text = String::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => {
                open.push(String::from_utf8(start.name().as_ref().to_vec()).unwrap());
                text.clear();
                attributes(&start, &mut seen);
            }
            Event::Empty(start) => attributes(&start, &mut seen),
            Event::End(_) => {
                match open.pop().unwrap().as_str() {
                    "title" => seen.titles.push(std::mem::take(&mut text)),
                    "text" => seen.texts.push(std::mem::take(&mut text)),
                    "script" => seen.scripts.push(std::mem::take(&mut text)),
                    _ => {}
                };
            }
            Event::Text(part) => text.push_str(&part.decode().unwrap()),
            Event::CData(part) => text.push_str(&part.decode().unwrap()),
            Event::GeneralRef(entity) => text.push(match &*entity.decode().unwrap() {
                "lt" => '<',
                "gt" => '>',
                "amp" => '&',
                "apos" => '\'',
                "quot" => '"',
                other => panic!("nobody wrote &{other};"),
            }),
            Event::Comment(_) | Event::Decl(_) => {}
            Event::Eof => break,
            other => panic!("nothing else belongs into a picture: {other:?}"),
        }
    }
    assert_eq!(open, [""; 0]);
    seen
}

fn attributes(start: &quick_xml::events::BytesStart<'_>, seen: &mut Seen) {
    seen.elements
        .insert(String::from_utf8(start.name().as_ref().to_vec()).unwrap());
    for attribute in start.attributes() {
        let attribute = attribute.unwrap();
        let name = String::from_utf8(attribute.key.as_ref().to_vec()).unwrap();
        if name.starts_with("on") {
            seen.handlers
                .push(String::from_utf8(attribute.value.to_vec()).unwrap());
        }
        seen.attributes.insert(name);
    }
}

const HOSTILE: &[&str] = &[
    "</script><script>alert(1)</script>",
    "]]><script>alert(1)</script>",
    "<![CDATA[",
    "--><script>alert(1)</script><!--",
    "--",
    "-",
    "\" onload=\"alert(1)",
    "' onclick='alert(1)",
    "&#x0;&#0;&lt;&nope;&",
    "javascript:alert(1)",
    "<svg onload=alert(1)>",
    "</svg></svg>",
    "<!DOCTYPE x [<!ENTITY a \"b\">]>",
    "<?xml version=\"1.0\"?>",
    "a;b;;c",
    ";",
    " ",
    "",
    "# comment",
    "f 12",
    "f 12 13",
    "f_[k]",
    "[truncated stack]",
    "all",
    "\0\x01\x08\x0b\x0c\x1b[31m\x7f\u{85}\u{9b}",
    "line\r\nline\ttab",
    "\u{fffe}\u{ffff}\u{fdd0}\u{1fffe}",
    "\u{202e}\u{2066}\u{200b}\u{feff}\u{2028}",
    "\u{f0000}\u{f103b}\u{f0012}\u{10ffff}",
    "👩🏽‍🚀 🔥 é 函数",
    "\\x1b",
];

fn hostile_stacks() -> Vec<NamedStack> {
    let kinds = [FrameKind::Native, FrameKind::Kernel, FrameKind::Jit];
    let named = HOSTILE.iter().flat_map(|name| {
        kinds.map(|kind| NamedStack::new(name, name, vec![frame(name, kind), frame("f", kind)], 2))
    });
    let unnamed = HOSTILE.iter().map(|name| {
        let name = Err(Unresolved::Stripped((*name).into()));
        NamedStack::new("c", "p", vec![Frame::new(name, FrameKind::Native)], 3)
    });
    named.chain(unnamed).collect()
}

fn hostile_picture() -> Picture {
    let all = HOSTILE.concat();
    Picture {
        title: all.clone(),
        subtitle: all.clone(),
        notes: all.clone() + "-",
        unit: all,
    }
}

fn tame_picture() -> Picture {
    Picture {
        title: "t".into(),
        subtitle: "s".into(),
        notes: String::new(),
        ..Picture::default()
    }
}

#[test]
fn no_name_and_no_title_adds_an_element_an_attribute_or_a_script() {
    let tame = parsed(&svg(
        &[NamedStack::new(
            "c",
            "p",
            vec![frame("f", FrameKind::Native)],
            1,
        )],
        &tame_picture(),
    ));
    let hostile = parsed(&svg(&hostile_stacks(), &hostile_picture()));
    assert_eq!(hostile.scripts, tame.scripts);
    assert_eq!(hostile.scripts.len(), 1);
    assert_eq!(hostile.handlers, ["init(evt)"]);
    assert_eq!(hostile.elements, tame.elements);
    assert_eq!(hostile.attributes, tame.attributes);
    for one in HOSTILE {
        let picture = Picture {
            title: (*one).into(),
            subtitle: (*one).into(),
            notes: (*one).into(),
            unit: (*one).into(),
        };
        let frames = vec![frame(one, FrameKind::Native); 2];
        let seen = parsed(&svg(&[NamedStack::new(one, one, frames, 1)], &picture));
        assert_eq!(seen.scripts, tame.scripts, "{one:?}");
        assert_eq!(seen.elements, tame.elements, "{one:?}");
        assert_eq!(seen.handlers, ["init(evt)"], "{one:?}");
        let unit = format!(" {}, ", clean_line(one, 40));
        let frames = seen
            .titles
            .iter()
            .filter(|title| title.contains(&unit))
            .count();
        assert_eq!(frames, 5, "{one:?}");
        parsed(&svg(&[], &picture));
    }
}

#[test]
fn hovering_shows_the_name_its_samples_and_its_share() {
    let seen = parsed(&svg(
        &[
            NamedStack::new(
                "docker:web",
                "nginx",
                vec![frame("drop<[u8; 8]> & co_[k]", FrameKind::Native)],
                1234,
            ),
            NamedStack::new(
                " # c;d",
                "nginx 7",
                vec![frame("f 12", FrameKind::Kernel)],
                1234,
            ),
        ],
        &tame_picture(),
    ));
    let mut titles = seen.titles;
    titles.sort();
    assert_eq!(
        titles,
        [
            " # c;d (1,234 samples, 50.00%)",
            "all (2,468 samples, 100%)",
            "docker:web (1,234 samples, 50.00%)",
            "drop<[u8; 8]> & co_[k] (1,234 samples, 50.00%)",
            "f 12 (1,234 samples, 50.00%)",
            "nginx (1,234 samples, 50.00%)",
            "nginx 7 (1,234 samples, 50.00%)",
        ]
    );
}

#[test]
fn every_hostile_name_is_drawn_as_its_cleaned_self() {
    let stacks = hostile_stacks();
    let seen = parsed(&svg(&stacks, &tame_picture()));
    let tree = tree_of(&stacks);
    let mut expected: Vec<String> = tree
        .preorder()
        .map(|node| {
            let name = if node.name.is_empty() {
                collapse::NO_NAME
            } else {
                node.name
            };
            let percent = 100.0 * node.total_samples as f64 / tree.samples() as f64;
            let share = if node.depth == 0 {
                "100%".into()
            } else {
                format!("{percent:.2}%")
            };
            format!("{name} ({} samples, {share})", node.total_samples)
        })
        .collect();
    // Legend entries that were cut have a title as well.
    let (mut titles, _): (Vec<String>, Vec<String>) = seen
        .titles
        .into_iter()
        .partition(|title| title.contains(" samples, "));
    titles.sort();
    expected.sort();
    assert_eq!(titles, expected);
}

#[test]
fn a_frame_beside_one_whose_name_begins_alike_is_drawn_once() {
    let native = |names: &[&str]| names.iter().map(|n| frame(n, FrameKind::Native)).collect();
    let seen = parsed(&svg(
        &[
            NamedStack::new("c", "p", native(&["f"]), 1),
            NamedStack::new("c", "p", native(&["f(int)", "g"]), 1),
            NamedStack::new("c", "p", native(&["f", "g"]), 1),
        ],
        &tame_picture(),
    ));
    let count = |name: &str| seen.titles.iter().filter(|title| *title == name).count();
    assert_eq!(count("f (2 samples, 66.67%)"), 1);
    assert_eq!(count("f(int) (1 samples, 33.33%)"), 1);
}

#[test]
fn one_thread_name_in_two_containers_has_two_colours() {
    let sh = |container: &str| {
        NamedStack::new(container, "sh", vec![frame("main", FrameKind::Native)], 1)
    };
    let text = svg(&[sh("a"), sh("b"), sh("host")], &tame_picture());
    let fills_of = |name: &str| -> Vec<String> {
        text.split(&format!("<title>{name} (1 samples, 33.33%)</title>"))
            .skip(1)
            .map(|after| {
                after
                    .split("fill=\"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap()
                    .into()
            })
            .collect()
    };
    for name in ["sh", "main"] {
        let mut fills = fills_of(name);
        assert_eq!(fills.len(), 3);
        fills.sort();
        fills.dedup();
        assert_eq!(fills.len(), 3, "{name}");
    }
}

#[test]
fn the_same_stacks_in_any_order_are_the_same_bytes() {
    let mut stacks = hostile_stacks();
    let picture = hostile_picture();
    let first = svg(&stacks, &picture);
    assert_eq!(svg(&stacks, &picture), first);
    stacks.reverse();
    assert_eq!(svg(&stacks, &picture), first);
    stacks.rotate_left(17);
    assert_eq!(svg(&stacks, &picture), first);
    let elsewhere = std::thread::spawn(move || svg(&stacks, &picture))
        .join()
        .unwrap();
    assert_eq!(elsewhere, first);
}

#[test]
fn a_name_of_a_megabyte_is_cut_and_a_deep_stack_is_drawn() {
    let long = "<\u{202e}".repeat(1 << 18);
    let deep = vec![frame("recursion", FrameKind::Native); 3000];
    let picture = Picture {
        title: long.clone(),
        subtitle: long.clone(),
        notes: long.clone(),
        unit: long.clone(),
    };
    let text = svg(
        &[
            NamedStack::new(&long, &long, vec![frame(&long, FrameKind::Jit)], 1),
            NamedStack::new("c", "p", deep, 1),
        ],
        &picture,
    );
    let seen = parsed(&text);
    assert!(text.len() < 1 << 20, "{} bytes", text.len());
    assert!(seen.titles.iter().all(|title| title.chars().count() < 1100));
    assert!(
        seen.texts
            .contains(&"stacks are drawn to depth 1000".to_owned())
    );
}

#[test]
fn no_samples_are_a_picture_that_says_so() {
    let picture = Picture {
        title: "nothing <here>".into(),
        subtitle: Totals::default().to_string(),
        notes: "--".into(),
        ..Picture::default()
    };
    for stacks in [vec![], vec![NamedStack::new("c", "p", vec![], 0)]] {
        let seen = parsed(&svg(&stacks, &picture));
        assert_eq!(
            seen.texts,
            ["nothing <here>", "0 samples · 0 lost", "no samples"]
        );
        assert_eq!((seen.scripts.len(), seen.handlers.len()), (0, 0));
    }
}

#[test]
fn every_wide_frame_has_its_text_where_no_script_runs() {
    let native = |name| frame(name, FrameKind::Native);
    let stacks = [NamedStack::new(
        "c",
        "p",
        vec![native("main"), native("all")],
        1,
    )];
    let seen = parsed(&svg(&stacks, &Picture::default()));
    let frames = |texts: &[String], name: &str| texts.iter().filter(|text| *text == name).count();
    for (name, count) in [("all", 2), ("c", 1), ("p", 1), ("main", 1)] {
        assert_eq!(frames(&seen.texts, name), count, "{name}");
    }
}

#[test]
fn nothing_is_loaded_when_a_picture_is_opened() {
    let text = svg(&hostile_stacks(), &hostile_picture());
    // Addresses are names of XML name spaces, or in inferno's comments.
    for loads in [
        "<!DOCTYPE",
        "<image",
        "<use",
        "<foreignObject",
        "xlink:href",
        "@import",
        "src=",
    ] {
        assert_eq!(text.matches(loads).count(), 0, "{loads}");
    }
    for style in text.split("url(").skip(1) {
        assert!(style.starts_with("#background)"));
    }
}

#[test]
fn an_output_that_is_full_is_an_error_that_says_so() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let tree = tree_of(&hostile_stacks());
    let error = write_svg(&tree, &tame_picture(), Full).unwrap_err();
    assert!(matches!(error, SvgError::Write(_)));
    assert_eq!(error.to_string(), "cannot write the picture");
}

/// Folded text is for others' tools; inferno's own reader stands in for them.
#[test]
fn folded_text_of_hostile_names_is_read_by_inferno_with_every_sample_and_frame() {
    let stacks = hostile_stacks();
    let tree = tree_of(&stacks);
    let mut folded = Vec::new();
    collapse::write_folded(&tree, &mut folded).unwrap();
    let folded = String::from_utf8(folded).unwrap();

    let mut options = inferno::flamegraph::Options::default();
    options.min_width = 0.0;
    let mut drawing = Vec::new();
    inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut drawing).unwrap();
    let drawing = String::from_utf8(drawing).unwrap();

    let root = format!("<title>all ({} samples, 100%)</title>", tree.samples());
    assert_eq!(drawing.matches(&root).count(), 1);
    assert_eq!(drawing.matches(" samples, ").count(), tree.preorder().len());
}

#[test]
fn a_tree_of_what_is_drawn_gives_the_picture_of_the_whole_one() {
    let mut state = 1_u64;
    let mut below = |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % limit
    };
    let stacks: Vec<NamedStack> = (0..5_000)
        .map(|_| {
            let depth = below(12);
            let names = (0..depth).map(|_| format!("f{}", below(3) * below(9)));
            let frames = names.map(|name| frame(&name, FrameKind::Native)).collect();
            let container = ["web", "db"][below(2) as usize];
            NamedStack::new(container, "p", frames, below(20))
        })
        // Too narrow to be drawn, and in the legend all the same.
        .chain([NamedStack::new(
            "rare",
            "p",
            vec![frame("jitted", FrameKind::Jit)],
            1,
        )])
        .collect();
    let picture = |stacks: &[NamedStack], detail| {
        let tree = FrameTree::of(&stacks.iter().collect(), detail);
        let mut out = Vec::new();
        write_svg(&tree, &Picture::default(), &mut out).expect("a picture");
        (String::from_utf8(out).expect("UTF-8"), tree)
    };
    let (whole, all) = picture(&stacks, Detail::All);
    let (drawn, wide) = picture(&stacks, DETAIL);
    assert!(wide.preorder().len() < all.preorder().len());
    assert!(whole.contains("are not drawn") && whole.contains("function of generated code"));
    assert_eq!(drawn, whole);
    let taken = Taken::default();
    assert_eq!(Totals::of(&wide, taken), Totals::of(&all, taken));
    // More than a count of 64 bits holds: what is narrow is so beside what it does hold.
    let named = |name: &str| vec![frame(name, FrameKind::Native)];
    let [one, other] =
        ["one", "other"].map(|name| NamedStack::new("c", "p", named(name), u64::MAX));
    let narrow = NamedStack::new("c", "p", named("narrow"), u64::MAX / 9_000);
    let narrower = NamedStack::new("c", "p", named("narrower"), u64::MAX / 30_000);
    let saturated = [one, other, narrow, narrower];
    let [whole, drawn] = [Detail::All, DETAIL].map(|detail| picture(&saturated, detail).0);
    assert_eq!(drawn, whole);
}
