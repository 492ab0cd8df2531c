//! The rules of the house that neither Cargo nor a lint can see.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate and the crates of this workspace that it may name: a chain, and the binary that sees all of it.
const ARROWS: [(&str, &[&str]); 5] = [
    (
        ".",
        &["profiler", "symbolizer", "collapse", "flamegraph-web"],
    ),
    ("profiler", &[]),
    ("symbolizer", &["profiler"]),
    ("collapse", &["symbolizer"]),
    ("flamegraph-web", &["collapse"]),
];

/// The files that contain `unsafe`. Each starts with `#![allow(unsafe_code)] // reason`.
const UNSAFE_FILES: [&str; 4] = [
    "profiler/src/files/statx.rs",
    "profiler/src/live/raw.rs",
    "src/huge_pages.rs",
    "tests/support/gates.rs",
];

/// Crates without any `unsafe`, by attribute.
const SAFE_CRATES: [&str; 2] = ["collapse", "flamegraph-web"];

/// The only source file that asks which architecture it is built for.
const ARCH_FILE: &str = "symbolizer/src/vdso.rs";

/// The only source files that may print or exit.
const SPEAKERS: [&str; 3] = [
    "src/report.rs",
    "src/main.rs",
    "symbolizer/examples/name_offsets.rs",
];

/// The only other one that may write to standard output: the picture of `-o -`, never a message.
const PICTURE_WRITER: &str = "src/output.rs";

/// Lines beyond which a file is split, or says on its second line why not.
const MOST_LINES: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of the workspace as (path from the root, text), sorted.
fn rust_files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (member, _) in ARROWS {
        for dir in ["src", "tests", "benches", "examples"] {
            collect(&root().join(member).join(dir), &mut files);
        }
    }
    files.sort();
    assert!(files.len() > 10, "only {} Rust files found", files.len());
    files
}

fn collect(dir: &Path, files: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for path in entries.map(|entry| entry.expect("a readable directory").path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("Rust source is UTF-8");
            files.push((name_of(&path), text));
        }
    }
}

fn name_of(path: &Path) -> String {
    let path: PathBuf = path.components().collect();
    let below = path.strip_prefix(root()).expect("found below the root");
    below.to_string_lossy().into_owned()
}

/// The code of a Rust file: comments dropped, the content of string literals dropped, lines kept.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string_length(rest),
            'r' if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_length(rest),
            '\'' if rest.starts_with("'\"'") => 3,
            '\'' if rest.starts_with("'\\\"'") => 4,
            _ => 0,
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..skipped].chars().filter(|&c| c == '\n'));
            rest = &rest[skipped..];
        }
    }
    code
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a raw string literal at the start of `text`; 0 if there is none.
fn raw_length(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|&c| c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    text[start..]
        .find(&close)
        .map_or(text.len(), |at| start + at + close.len())
}

/// Whether `word` is in `code` with no letter, digit or underscore on either side.
fn has_word(code: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(joins) && !code[at + word.len()..].starts_with(joins))
}

#[test]
fn code_is_told_from_comments_and_strings() {
    let code =
        code_of("a(\"unsafe \\\" {\", 'x'); // unsafe\nr#\"unsafe \" \"# + b'\"' /* unsafe */ end");
    assert_eq!(code, "a(, 'x'); \n + b  end");
    assert!(has_word("{ unsafe{ x }}", "unsafe"));
    assert!(!has_word("#![allow(unsafe_code)] not_unsafe", "unsafe"));
}

#[test]
fn each_crate_knows_only_its_left_neighbour() {
    let members: BTreeSet<&str> = ARROWS.iter().map(|(member, _)| *member).collect();
    for (member, allowed) in ARROWS {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml"))
            .unwrap_or_else(|error| panic!("{member}: {error}"));
        let mut section = "";
        let mut named = BTreeSet::new();
        for line in manifest.lines() {
            let line = line.trim();
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']);
            } else if section.ends_with("dependencies") && section != "workspace.dependencies" {
                let name = line.split(['.', '=', ' ']).next().unwrap_or("");
                if members.contains(name) {
                    named.insert(name);
                }
            }
        }
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert_eq!(
            named, allowed,
            "the workspace crates that {member}/Cargo.toml names"
        );
    }
}

#[test]
fn the_workspace_has_no_crate_that_this_page_does_not_know() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest");
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "))
        .expect("one line of members");
    let members: BTreeSet<&str> = members.split('"').skip(1).step_by(2).collect();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(member, _)| *member).collect();
    assert_eq!(members, &known - &BTreeSet::from(["."]));
}

#[test]
fn unsafe_is_only_in_the_files_that_are_listed_and_say_why() {
    let found: Vec<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| has_word(&code_of(text), "unsafe"))
        .map(|(name, text)| {
            let first = text.lines().next().unwrap_or("");
            let reason = first
                .strip_prefix("#![allow(unsafe_code)] // ")
                .unwrap_or("");
            assert!(
                reason.len() > 10,
                "{name} starts with {first:?}, not with a reason"
            );
            name
        })
        .collect();
    assert_eq!(found, UNSAFE_FILES);
    for (name, text) in rust_files() {
        let allows = code_of(&text).contains("allow(unsafe_code)");
        assert_eq!(
            allows,
            UNSAFE_FILES.contains(&name.as_str()),
            "{name} allows unsafe code"
        );
    }
}

#[test]
fn the_pure_crates_forbid_unsafe() {
    for member in SAFE_CRATES {
        let lib = fs::read_to_string(root().join(member).join("src/lib.rs")).expect("a library");
        assert!(
            code_of(&lib).contains("#![forbid(unsafe_code)]"),
            "{member}"
        );
    }
}

#[test]
fn only_the_report_speaks() {
    for (name, text) in rust_files() {
        let test = name.split('/').any(|part| part == "tests")
            || name.ends_with("tests.rs")
            || name.ends_with("testing.rs");
        if test || SPEAKERS.contains(&name.as_str()) {
            continue;
        }
        let code = code_of(&text);
        for mute in [
            "println!",
            "eprintln!",
            "print!",
            "eprint!",
            "process::exit",
            "dbg!",
        ] {
            let (word, mark) = mute.split_at(mute.len() - usize::from(mute.ends_with('!')));
            let spoken = has_word(&code, word) && code.contains(&format!("{word}{mark}"));
            assert!(
                !spoken,
                "{name} uses {mute}: libraries return values, src/report.rs prints"
            );
        }
        for stream in ["stdout()", "stderr()"] {
            if name == PICTURE_WRITER && stream == "stdout()" {
                continue;
            }
            assert!(!code.contains(stream), "{name} writes to {stream}");
        }
    }
}

#[test]
fn a_long_file_says_why_it_is_not_split() {
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        let why = text.lines().nth(1).unwrap_or("");
        assert!(
            lines <= MOST_LINES || why.starts_with("//! ") || why.starts_with("// "),
            "{name} has {lines} lines, and its second line is {why:?}"
        );
    }
}

#[test]
fn every_file_says_its_idea_on_the_first_line() {
    for (name, text) in rust_files() {
        let mut lines = text
            .lines()
            .skip_while(|line| line.is_empty() || line.starts_with("#![allow(unsafe_code)] // "));
        let first = lines.next().unwrap_or("");
        assert!(first.starts_with("//! "), "{name} starts with {first:?}");
    }
}

#[test]
fn one_file_knows_the_architecture() {
    let asking: Vec<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| has_word(&code_of(text), "target_arch"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(asking, [ARCH_FILE]);
}
