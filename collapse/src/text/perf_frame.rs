//! One frame line of `perf script`: `ADDRESS SYMBOL+0xOFFSET (DSO)`, and the names that
//! stackcollapse-perf.pl makes of it. Where we differ from it on purpose: docs/perf-data.md.

use std::borrow::Cow;

use crate::tree::NodeKind;

/// The line's parts that matter to its name: equal ones have equal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameLine<'a> {
    /// Without its offset.
    pub(super) symbol: &'a [u8],
    /// What stands in the last brackets; `None` where nothing does (`-F ip,sym`).
    pub(super) dso: Option<&'a [u8]>,
}

/// One frame, as it is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FrameName {
    pub(super) kind: NodeKind,
    pub(super) name: String,
    /// Why it has no name of its own, in a word; empty of all others.
    pub(super) reason: &'static str,
}

/// Of what a frame is that the text does not name, in the words of `Totals`. None of them is an
/// `Unresolved::kind`: folded text annotates these.
pub(crate) const NO_SYMBOL: &str = "of a file";
pub(crate) const NO_KERNEL_SYMBOL: &str = "of the kernel";
pub(crate) const NO_JIT_SYMBOL: &str = "of generated code";
pub(crate) const NO_IMAGE: &str = "unknown";

const UNKNOWN: &[u8] = b"[unknown]";
/// Stands behind the path of a file that was deleted while it was mapped.
const DELETED: &[u8] = b" (deleted)";

/// Takes a line apart; `None` if it does not begin with an address.
pub(super) fn split(line: &[u8]) -> Option<FrameLine<'_>> {
    let line = line.trim_ascii();
    let digits = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let rest = line.get(digits..)?;
    if digits == 0 || rest.first() != Some(&b' ') {
        return None;
    }
    let rest = rest.trim_ascii_start();
    let Some(bracketed) = rest.strip_suffix(b")") else {
        return Some(FrameLine {
            symbol: without_offset(rest),
            dso: None,
        });
    };
    let searched = bracketed.strip_suffix(DELETED).unwrap_or(bracketed);
    let Some(open) = opening(searched) else {
        return Some(FrameLine {
            symbol: without_offset(rest),
            dso: None,
        });
    };
    Some(FrameLine {
        symbol: without_offset(rest.get(..open)?.trim_ascii_end()),
        dso: bracketed.get(open + 1..),
    })
}

/// Where the dso's bracket opens: the last one that follows a blank, or is the first of all.
fn opening(text: &[u8]) -> Option<usize> {
    let mut end = text.len();
    loop {
        let open = memchr::memrchr(b'(', text.get(..end)?)?;
        if open == 0 || text.get(open - 1) == Some(&b' ') {
            return Some(open);
        }
        end = open;
    }
}

/// `f` of `f+0x1d`.
fn without_offset(symbol: &[u8]) -> &[u8] {
    let digits = symbol
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let cut = symbol.len() - digits;
    match symbol.get(..cut).and_then(|rest| rest.strip_suffix(b"+0x")) {
        Some(name) if digits > 0 => name,
        _ => symbol,
    }
}

/// The frames that a line stands for, root first: one, or several where a JVM's agent wrote inlined
/// ones into a map (`a->b`).
pub(super) fn names(line: FrameLine<'_>, is_java: bool) -> Vec<FrameName> {
    let dso = line.dso.unwrap_or(UNKNOWN);
    let annotated = annotation(dso);
    let symbol = String::from_utf8_lossy(line.symbol);
    if line.symbol == UNKNOWN || line.symbol.is_empty() {
        return vec![unnamed(dso, annotated)];
    }
    let mut names = Vec::new();
    // Everywhere else `->` is C++ or Rust: `operator->`, `fn(u8) -> u8`.
    let parts: Vec<&str> = if annotated == NodeKind::Jit {
        symbol.split("->").filter(|part| !part.is_empty()).collect()
    } else {
        vec![&symbol]
    };
    for part in parts {
        let name = tidied(part, is_java);
        let (name, marked) = match annotated {
            NodeKind::Jit => unmarked(&name),
            _ => (name.as_str(), None),
        };
        let kind = match marked {
            Some(kind) => kind,
            None if names.is_empty() => annotated,
            None => NodeKind::Inlined,
        };
        names.push(FrameName {
            kind,
            name: name.to_owned(),
            reason: "",
        });
    }
    names
}

/// What a dso tells of the code in it.
fn annotation(dso: &[u8]) -> NodeKind {
    let is_unknown = memchr::memmem::find(dso, b"unknown").is_some();
    if (dso.starts_with(b"[") || dso.ends_with(b"vmlinux")) && !is_unknown {
        NodeKind::Kernel
    } else if is_generated(dso) {
        NodeKind::Jit
    } else {
        NodeKind::Native
    }
}

/// `/tmp/perf-123.map`, or what `perf inject --jit` makes: `…/jitted-123-4.so`.
fn is_generated(dso: &[u8]) -> bool {
    let numbered = |start: &[u8], end: &[u8]| {
        memchr::memmem::find(dso, start)
            .and_then(|at| dso.get(at + start.len()..))
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|middle| {
                !middle.is_empty()
                    && middle
                        .iter()
                        .all(|byte| byte.is_ascii_digit() || *byte == b'-')
            })
    };
    numbered(b"/tmp/perf-", b".map") || numbered(b"/jitted-", b".so")
}

/// The frame of code that has no symbol: its file in square brackets.
fn unnamed(dso: &[u8], annotated: NodeKind) -> FrameName {
    if dso == UNKNOWN {
        return FrameName {
            kind: NodeKind::Unresolved,
            name: String::from_utf8_lossy(UNKNOWN).into_owned(),
            reason: NO_IMAGE,
        };
    }
    let file = dso.rsplit(|byte| *byte == b'/').next().unwrap_or(dso);
    let file = String::from_utf8_lossy(file);
    FrameName {
        kind: NodeKind::Unresolved,
        name: tidied_characters(&format!("[{file}]")).into_owned(),
        reason: match annotated {
            NodeKind::Kernel => NO_KERNEL_SYMBOL,
            NodeKind::Jit => NO_JIT_SYMBOL,
            _ => NO_SYMBOL,
        },
    }
}

/// Annotations that were in the name already: perf-map-agent and some JVMs write them.
fn unmarked(name: &str) -> (&str, Option<NodeKind>) {
    for (mark, kind) in [("_[j]", NodeKind::Jit), ("_[i]", NodeKind::Inlined)] {
        if let Some(bare) = name.strip_suffix(mark) {
            return (bare, Some(kind));
        }
    }
    (name, None)
}

/// The name without its parameters, quotes and, in Java, the `L` of a signature.
fn tidied(symbol: &str, is_java: bool) -> String {
    let name = tidied_characters(if looks_like_go_method(symbol) {
        symbol
    } else {
        without_parameters(symbol)
    });
    match name.strip_prefix('L') {
        Some(bare) if is_java && name.contains('/') => bare.to_owned(),
        _ => name.into_owned(),
    }
}

/// `;` separates frames, and quotes have no place in folded text.
fn tidied_characters(name: &str) -> Cow<'_, str> {
    if !name.contains([';', '"', '\'']) {
        return Cow::Borrowed(name);
    }
    let kept = name.chars().filter(|c| !matches!(c, '"' | '\''));
    Cow::Owned(kept.map(|c| if c == ';' { ':' } else { c }).collect())
}

/// `net/http.(*Client).Do`
fn looks_like_go_method(symbol: &str) -> bool {
    match (symbol.find(".("), symbol.rfind(").")) {
        (Some(open), Some(close)) => open + 1 < close,
        _ => false,
    }
}

/// What stands before the first bracket that is not of `(anonymous namespace)`; all of a name that
/// begins with a bracket.
fn without_parameters(symbol: &str) -> &str {
    let cut = symbol
        .match_indices('(')
        .map(|(at, _)| at)
        .find(|at| {
            *at > 0
                && symbol
                    .get(*at..)
                    .is_some_and(|rest| !rest.starts_with("(anonymous namespace)"))
        })
        .unwrap_or(symbol.len());
    symbol.get(..cut).unwrap_or(symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names root first, with the annotation that folded text has.
    fn frames(line: &str, is_java: bool) -> String {
        let names = names(split(line.as_bytes()).unwrap(), is_java);
        let shown = names.iter().map(|frame| {
            let mark = match (frame.kind, frame.reason) {
                (NodeKind::Kernel, _) | (_, NO_KERNEL_SYMBOL) => "_[k]",
                (NodeKind::Jit, _) | (_, NO_JIT_SYMBOL) => "_[j]",
                (NodeKind::Inlined, _) => "_[i]",
                _ => "",
            };
            format!("{}{mark}", frame.name)
        });
        shown.collect::<Vec<_>>().join(";")
    }

    #[test]
    fn names_are_those_of_stackcollapse_perf() {
        for (line, expected) in [
            (
                "\tffffffff8103ce3b native_safe_halt+0xb ([kernel.kallsyms])",
                "native_safe_halt_[k]",
            ),
            (
                "  8c3453 tcp_sendmsg (/lib/modules/4.3.0/build/vmlinux)",
                "tcp_sendmsg_[k]",
            ),
            (
                "  7d8 ipv4_conntrack_local+0x7f8f80b8 ([nf_conntrack_ipv4])",
                "ipv4_conntrack_local_[k]",
            ),
            (
                "  7f1 Ljava/io/PrintStream;::print (/tmp/perf-19982.map)",
                "Ljava/io/PrintStream:::print_[j]",
            ),
            (
                "  7f1 a->b->c+0x10 (/tmp/perf-19982.map)",
                "a_[j];b_[i];c_[i]",
            ),
            ("  7f1 a_[j]->b_[i] (/tmp/perf-19982.map)", "a_[j];b_[i]"),
            (
                "  7f1 [unknown] (/tmp/perf-19982.map)",
                "[perf-19982.map]_[j]",
            ),
            ("  7f1 [unknown] (/usr/lib/libc.so.6)", "[libc.so.6]"),
            ("  0 [unknown] ([unknown])", "[unknown]"),
            (
                "  ffff [unknown] ([kernel.kallsyms])",
                "[[kernel.kallsyms]]_[k]",
            ),
            (
                "  7f1 StubRoutines (1)+0xc9 (/tmp/perf-2989.map)",
                "StubRoutines _[j]",
            ),
            (
                "  7f1 long Work.run(Work$Step, int)+0x3e4 (/tmp/perf-1.map)",
                "long Work.run_[j]",
            ),
            (
                "  7f1 std::function<void (int)>::operator()+0x37 (inlined)",
                "std::function<void ",
            ),
            (
                "  7f1 net/http.(*Client).Do+0x1 (/x)",
                "net/http.(*Client).Do",
            ),
            (
                "  7f1 main.(*counter).add.func1(int)+0x1 (/x)",
                "main.(*counter).add.func1(int)",
            ),
            (
                "  7f1 v8::(anonymous namespace)::Invoke(int)+0x12b (/usr/bin/node)",
                "v8::(anonymous namespace)::Invoke",
            ),
            (
                "  7f1 RegExp:[&<>\"'] (/tmp/perf-7539.map)",
                "RegExp:[&<>]_[j]",
            ),
            (
                "  7f1 JS:~round /tmp/work.js:11+0x1 (/tmp/perf-7.map)",
                "JS:~round /tmp/work.js:11_[j]",
            ),
            ("  7f1 f;g+0x1 (/x)", "f:g"),
            ("  7f1 f+0x1 ([vdso])", "f_[k]"),
            ("  7f1 f+0xzz (/x)", "f+0xzz"),
        ] {
            assert_eq!(frames(line, false), expected, "{line}");
        }
    }

    #[test]
    fn a_signature_loses_its_l_in_java_only() {
        let line = "  7f1 Lorg/mozilla/Factory;.call(Lorg/x;)V (/tmp/perf-1.map)";
        assert_eq!(frames(line, true), "org/mozilla/Factory:.call_[j]");
        assert_eq!(frames(line, false), "Lorg/mozilla/Factory:.call_[j]");
        assert_eq!(frames("  7f1 Lambda (/tmp/perf-1.map)", true), "Lambda_[j]");
    }

    #[test]
    fn where_we_differ_on_purpose_the_frame_is_kept_and_named() {
        for (line, expected) in [
            ("  7f1 f+0x10 (/tmp/a.out (deleted))", "f"),
            (
                "  7f1 [unknown] (/tmp/a.out (deleted))",
                "[a.out (deleted)]",
            ),
            (
                "  7f1 [unknown] (/memfd:jit (deleted))",
                "[memfd:jit (deleted)]",
            ),
            (
                "  7f1 (anonymous namespace)::work(int)+0x1 (/x)",
                "(anonymous namespace)::work",
            ),
            ("  7f1 p::operator->() const+0x1 (/x)", "p::operator->"),
            ("  7f1 call::<fn(u8) -> u8>+0x1 (/x)", "call::<fn"),
            ("  7f1  ([unknown])", "[unknown]"),
            ("  7f1  (/usr/lib/libc.so.6)", "[libc.so.6]"),
            ("  7f1 main+0x10", "main"),
            ("  7f1 f (/opt/a(1)/lib.so)", "f"),
            ("  7f1 f (/home/jit/jitted-12-3.so)", "f_[j]"),
            ("  7f1 f_[j] (/x)", "f_[j]"),
        ] {
            assert_eq!(frames(line, false), expected, "{line}");
        }
        let native = names(split(b"  7f1 f_[j] (/x)").unwrap(), false);
        assert_eq!(native.first().unwrap().kind, NodeKind::Native);
    }

    #[test]
    fn what_has_no_address_is_no_frame() {
        for line in [
            "",
            "  ",
            "main (/x)",
            "  file.c:12",
            "7f1",
            "  libc.so.6[27b25]",
        ] {
            assert_eq!(split(line.as_bytes()), None, "{line}");
        }
    }
}
