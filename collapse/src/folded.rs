//! Folded text: one line for each distinct stack, `container;comm;frame;frame COUNT`.
//!
//! It is read by flamegraph.pl, inferno and speedscope, which split at every `;` and take the last
//! digits for the count. What a name holds that would be read as something else is written as an
//! escape of [`clean_name`](crate::clean_name)'s, so that one rule reads all of them back:
//!
//! | in a name | written | because |
//! | --- | --- | --- |
//! | `;` | `\x3b` | it would begin the next frame |
//! | a space at the beginning | `\x20` | readers trim lines |
//! | the space before digits at the end | `\x20` | readers take them for the count, or for a second one |
//! | `#` that begins a line | `\x23` | readers skip such lines |
//! | `[` that begins a function, unless it is a JVM's `[interpreter]` | `\x5b` | `[…]` is a frame without a name |
//! | `[` of `_[k]` at the end, and the like | `\x5b` | readers take it for the kind |
//!
//! Kernel functions end in `_[k]`, generated ones in `_[j]` and inlined ones in `_[i]`, which readers
//! colour by and drop.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::clean::push_escape;
use crate::text::{NO_JIT_SYMBOL, NO_KERNEL_SYMBOL};
use crate::tree::{FrameTree, Node, NodeKind};
use symbolizer::INTERPRETER;

/// Written for a name that is empty. No function's name reads so: its `[` would be an escape.
pub const NO_NAME: &str = "[no name]";

/// Writes all stacks that the tree has, in its order: of [`Detail::All`](crate::Detail::All) all that were sampled. The
/// counts add up to [`FrameTree::samples`].
pub fn write_folded(tree: &FrameTree, mut out: impl Write) -> io::Result<()> {
    let mut line = String::new();
    // Byte offsets where the names of the open nodes end, containers first.
    let mut ends: Vec<usize> = Vec::new();
    for node in tree.preorder().filter(|node| node.kind != NodeKind::Root) {
        ends.truncate(node.depth - 1);
        line.truncate(ends.last().copied().unwrap_or(0));
        if !line.is_empty() {
            line.push(';');
        }
        line.push_str(&escaped(&node));
        line.push_str(annotation(&node));
        ends.push(line.len());
        if node.self_samples > 0 {
            writeln!(out, "{line} {}", node.self_samples)?;
        }
    }
    Ok(())
}

fn annotation(node: &Node<'_>) -> &'static str {
    match (node.kind, node.reason) {
        (NodeKind::Kernel, _) | (NodeKind::Unresolved, NO_KERNEL_SYMBOL) => "_[k]",
        (NodeKind::Jit, _) | (NodeKind::Unresolved, NO_JIT_SYMBOL) => "_[j]",
        (NodeKind::Inlined, _) => "_[i]",
        _ => "",
    }
}

/// The node's name, as it may stand between two `;`.
fn escaped<'a>(node: &Node<'a>) -> Cow<'a, str> {
    let name = node.name;
    if name.is_empty() {
        return Cow::Borrowed(NO_NAME);
    }
    let is_function = matches!(
        node.kind,
        NodeKind::Native | NodeKind::Kernel | NodeKind::Jit | NodeKind::Inlined
    );
    let is_interpreter = node.kind == NodeKind::Jit && name == INTERPRETER;
    let first = (node.depth == 1 && name.starts_with('#'))
        || (is_function && name.starts_with('[') && !is_interpreter)
        || name.starts_with(' ');
    let late = late_escape(name);
    if !first && late.is_none() && !name.contains(';') {
        return Cow::Borrowed(name);
    }
    let mut out = String::with_capacity(name.len() + 16);
    for (at, c) in name.char_indices() {
        if c == ';' || (first && at == 0) || Some(at) == late {
            push_escape(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// The byte offset of the one character that would make readers see an end of the name, a count or
/// an annotation where there is none.
fn late_escape(name: &str) -> Option<usize> {
    if ["_[k]", "_[w]", "_[i]", "_[j]"]
        .iter()
        .any(|looks| name.ends_with(looks))
    {
        return Some(name.len() - "[k]".len());
    }
    // Spaces at the end are kept: stackcollapse-perf.pl leaves many (`std::function<void `).
    let bare = name.trim_end_matches(' ');
    let space = bare.rfind(' ')?;
    let is_count = bare
        .get(space + 1..)?
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let last = name.len() - 1;
    is_count.then_some(if bare.len() < name.len() { last } else { space })
}

#[cfg(test)]
mod tests {
    use symbolizer::{Frame, FrameKind, NamedStack, Unresolved};

    use crate::tree::Detail;

    use super::*;

    fn tree_of<'a>(stacks: impl IntoIterator<Item = &'a NamedStack>) -> FrameTree {
        FrameTree::of(&stacks.into_iter().collect(), Detail::All)
    }

    fn one(container: &str, comm: &str, frames: &[(&str, FrameKind)]) -> NamedStack {
        let frames = frames
            .iter()
            .map(|(name, kind)| Frame::new(Ok((*name).into()), *kind));
        NamedStack::new(container, comm, frames.collect(), 1)
    }

    fn folded(stacks: &[NamedStack]) -> String {
        let mut out = Vec::new();
        write_folded(&tree_of(stacks), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Reads one line as speedscope does: the digits after the last space, the rest at every `;`.
    /// Escapes are undone last.
    fn read_back(line: &str) -> (Vec<String>, u64) {
        let (stack, count) = line.rsplit_once(' ').unwrap();
        (
            stack.split(';').map(unescaped).collect(),
            count.parse().unwrap(),
        )
    }

    fn unescaped(name: &str) -> String {
        let mut out = String::new();
        let mut rest = name;
        while let Some(c) = rest.chars().next() {
            let code = |from: usize, to: usize| {
                rest.get(from..to)
                    .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            };
            let braced = rest.find('}').filter(|_| rest.starts_with(r"\u{"));
            let (value, len) = match braced {
                Some(end) => (code(3, end), end + 1),
                None if rest.starts_with(r"\x") => (code(2, 4), 4),
                None => (None, 0),
            };
            match value.and_then(char::from_u32) {
                Some(escaped) => {
                    out.push(escaped);
                    rest = &rest[len..];
                }
                None => {
                    out.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        out
    }

    const HOSTILE: &[&str] = &[
        "f",
        "a;b",
        ";",
        " ",
        " f ",
        "f 12",
        "f 12 13",
        "f 12 ",
        "f 1.5",
        "f .",
        "12",
        "# comment",
        "#",
        "[stripped x]",
        "[",
        "f_[k]",
        "f_[j]",
        "f_[w]",
        "f_[i]",
        "f_[k]_[k]",
        "f\n1",
        "f\r",
        r"f\x3bg",
        r"\",
        "\u{a0}f\u{3000}",
        "\u{202e}f",
        "[T; 8]::len",
        "all",
        "🔥 7",
        "\0",
    ];

    #[test]
    fn each_distinct_stack_is_one_sorted_line() {
        use FrameKind::{Jit, Kernel, Native};
        let mut unnamed = one("web", "java", &[("start_thread", Native)]);
        unnamed
            .frames
            .push(Frame::new(Err(Unresolved::JitWithoutMap("".into())), Jit));
        unnamed.samples = 9;
        let mut frameless = one("host", "swapper", &[]);
        frameless.samples = 4;
        let text = folded(&[
            one(
                "web",
                "nginx",
                &[("main", Native), ("read", Native), ("ksys_read", Kernel)],
            ),
            one("web", "nginx", &[("main", Native)]),
            one(
                "web",
                "java",
                &[
                    ("start_thread", Native),
                    ("java.lang.String::hashCode", Jit),
                ],
            ),
            one(
                "web",
                "nginx",
                &[("main", Native), ("read", Native), ("ksys_read", Kernel)],
            ),
            unnamed,
            frameless,
        ]);
        assert_eq!(
            text,
            "host;swapper 4\n\
             web;java;start_thread;[jit, no map] 9\n\
             web;java;start_thread;java.lang.String::hashCode_[j] 1\n\
             web;nginx;main 1\n\
             web;nginx;main;read;ksys_read_[k] 2\n"
        );
    }

    #[test]
    fn what_a_name_may_hold_is_written_as_documented() {
        let line = |name: &str| folded(&[one("c", "p", &[(name, FrameKind::Native)])]);
        assert_eq!(line("[u8; 8]"), "c;p;\\x5bu8\\x3b 8] 1\n");
        assert_eq!(line("drop<[u8; 8]>"), "c;p;drop<[u8\\x3b 8]> 1\n");
        assert_eq!(line(" f "), "c;p;\\x20f  1\n");
        assert_eq!(line("f 12"), "c;p;f\\x2012 1\n");
        assert_eq!(line("f 12 "), "c;p;f 12\\x20 1\n");
        assert_eq!(line("f_[k]"), "c;p;f_\\x5bk] 1\n");
        assert_eq!(line("[interpreter]"), "c;p;\\x5binterpreter] 1\n");
        let interpreter = one("c", "p", &[("[interpreter]", FrameKind::Jit)]);
        assert_eq!(folded(&[interpreter]), "c;p;[interpreter]_[j] 1\n");
        assert_eq!(line("f\n9"), "c;p;f\\x0a9 1\n");
        assert_eq!(line(""), "c;p;[no name] 1\n");
        assert_eq!(folded(&[one("# c", "# p", &[])]), "\\x23 c;# p 1\n");
        assert_eq!(
            folded(&[one("", "", &[("", FrameKind::Kernel)])])
                .matches(NO_NAME)
                .count(),
            3
        );
    }

    #[test]
    fn no_hostile_name_changes_the_count_the_depth_or_another_name() {
        let kinds = [FrameKind::Native, FrameKind::Kernel, FrameKind::Jit];
        let stacks: Vec<NamedStack> = HOSTILE
            .iter()
            .flat_map(|name| kinds.map(|kind| one(name, name, &[(name, kind), (name, kind)])))
            .collect();
        let text = folded(&stacks);
        let mut expected: Vec<Vec<String>> = HOSTILE
            .iter()
            .flat_map(|name| {
                ["", "_[k]", "_[j]"].map(|kind| {
                    let frame = format!("{name}{kind}");
                    vec![(*name).to_owned(), (*name).to_owned(), frame.clone(), frame]
                })
            })
            .collect();
        let mut found: Vec<Vec<String>> = Vec::new();
        for line in text.lines() {
            assert_eq!(line, line.trim());
            assert!(!line.starts_with('#'));
            let (stack, count) = read_back(line);
            assert_eq!(count, 1, "{line}");
            // A reader that looks for a second count must not find one.
            let frame = line.rsplit_once(' ').unwrap().0;
            let frame = frame.trim_end();
            let second = frame.rsplit_once(' ').map_or("x", |(_, last)| last);
            assert!(
                second.contains(|c: char| !c.is_ascii_digit() && c != '.'),
                "{line}"
            );
            found.push(stack);
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        let mut distinct: Vec<&str> = text.lines().collect();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), stacks.len());
    }

    #[test]
    fn the_order_of_the_stacks_does_not_reach_the_text() {
        let stacks: Vec<NamedStack> = HOSTILE
            .iter()
            .map(|name| one(name, "p", &[(name, FrameKind::Native)]))
            .collect();
        let backwards: Vec<NamedStack> = stacks.iter().rev().cloned().collect();
        assert_eq!(folded(&stacks), folded(&backwards));
    }

    #[test]
    fn no_stacks_are_no_lines() {
        assert_eq!(folded(&[]), "");
    }
}
