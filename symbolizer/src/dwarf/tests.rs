//! What debug information says, beside what addr2line reads of the same bytes, address by address.

use super::{DebugSections, Found, Located, Part, Sections};
use crate::elf::{Contents, ElfImage, ElfLimits, Wanted};
use gimli::SectionId;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Functions put into each other, a cold part, a template, a lambda, a function of another unit.
const SHAPES: &str = r#"
#include <cstdio>
#include <cstdlib>
namespace shapes {
struct Stats { long sum = 0; inline __attribute__((always_inline)) void add(long v) { sum += v ^ (sum >> 3); } };
template <int N> inline __attribute__((always_inline)) void add_many(Stats& s, long v) {
  for (int i = 0; i < N; i++) s.add(v + i);
}
static inline __attribute__((always_inline)) long mixed(Stats& s, long v) {
  add_many<3>(s, v);
  if (__builtin_expect(s.sum == 0x123456789, 0)) { fprintf(stderr, "rare %ld\n", s.sum); abort(); }
  return s.sum;
}
__attribute__((noinline)) long outer(Stats& s, long n) {
  long r = 0;
  for (long i = 0; i < n; i++) r += mixed(s, i);
  return r;
}
__attribute__((noinline, cold)) long seldom(long v) { Stats s; return mixed(s, v) + 1; }
}
extern long elsewhere(long);
int main(int argc, char** argv) {
  shapes::Stats s;
  auto twice = [&](long v) __attribute__((noinline)) { s.add(v); s.add(v); return s.sum; };
  return (int)(shapes::outer(s, argc * 100) + twice(argc) + shapes::seldom(argc) + elsewhere(argc));
}
"#;
const ELSEWHERE: &str = r#"
static inline __attribute__((always_inline)) long inner(long v) { return v * 3 ^ (v >> 2); }
static inline __attribute__((always_inline)) long middle(long v) { return inner(v) + inner(v + 1); }
__attribute__((noinline)) long elsewhere(long v) { return middle(v) - 7; }
"#;

/// Builds the two units with these flags; the program's path.
pub(super) fn build(dir: &Path, flags: &[&str]) -> PathBuf {
    for (name, text) in [("shapes.cc", SHAPES), ("elsewhere.cc", ELSEWHERE)] {
        std::fs::write(dir.join(name), text).expect("ours");
    }
    let mut gcc = Command::new("g++");
    gcc.current_dir(dir).args(["-O2", "-o", "program"]);
    run(gcc.args(flags).args(["shapes.cc", "elsewhere.cc"]));
    dir.join("program")
}

fn run(command: &mut Command) {
    let done = command.output().expect("it is installed");
    assert!(
        done.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

pub(super) fn read(path: &Path, part: Part) -> Option<Sections> {
    let bytes = std::fs::read(path).ok()?;
    let sections = Contents::read(&bytes, &ElfLimits::default()).ok()?;
    let located = Located::find(&bytes, &sections, part).expect("sound")?;
    Some(located.read(&bytes).expect("sound"))
}

/// With what addr2line reads besides.
fn read_for_oracle(path: &Path) -> Sections {
    let bytes = std::fs::read(path).expect("built");
    let sections = Contents::read(&bytes, &ElfLimits::default()).expect("sound");
    let lines = SectionId::DebugLine.name();
    let place = sections.locate(&bytes, lines).expect("sound");
    let lines = place.expect("it has lines").read(&bytes, lines);
    let read = read(path, Part::Main).expect("debug information");
    read.with(SectionId::DebugLine, lines.expect("sound"))
}

/// Every address of the program's functions.
pub(super) fn addresses(program: &Path) -> Vec<u64> {
    let bytes = std::fs::read(program).expect("built");
    let elf = ElfImage::read(&bytes, &ElfLimits::default(), Wanted::All).expect("an image");
    let offsets = 0..bytes.len() as u64;
    let svmas = offsets.filter_map(|at| elf.svma_of(at));
    let mut inside: Vec<u64> = svmas.filter(|at| elf.lookup(*at).is_some()).collect();
    inside.sort_unstable();
    inside.dedup();
    assert!(inside.len() > 200, "{}", inside.len());
    inside
}

fn ask(sections: &DebugSections, wanted: &[u64], dir: &Path) -> Vec<Option<Found>> {
    let read_split = |name: &super::SplitName| {
        let file = String::from_utf8(name.file.clone()).expect("text");
        read(&dir.join(file), Part::Split)
    };
    sections.look_up(wanted, &read_split).expect("sound")
}

pub(super) fn alone(main: Sections) -> DebugSections {
    DebugSections {
        main,
        shared: None,
        package: None,
    }
}

/// The names of one address, outermost first, as the linker knows them.
fn shown(found: &Option<Found>) -> Vec<String> {
    let Some(found) = found else {
        return Vec::new();
    };
    let function = found
        .name
        .as_ref()
        .map_or("?".into(), |it| it.shown().to_string());
    let inlined = found.inlined.iter().map(|name| name.to_string());
    [function].into_iter().chain(inlined).collect()
}

/// The same by addr2line.
fn oracle(program: &Path, shared: Option<&Path>, wanted: &[u64]) -> Vec<Vec<String>> {
    let main = read_for_oracle(program);
    let shared = shared.map(read_for_oracle);
    let mut dwarf = main.dwarf();
    if let Some(shared) = &shared {
        dwarf.set_sup(shared.dwarf());
    }
    let context = addr2line::Context::from_dwarf(dwarf).expect("sound");
    let frames = |at: &u64| {
        let mut frames = context.find_frames(*at).skip_all_loads().expect("sound");
        let mut names = Vec::new();
        while let Some(frame) = frames.next().expect("sound") {
            if let Some(function) = frame.function {
                let raw = function.raw_name().expect("text").into_owned();
                names.push(crate::demangle::demangle(raw.as_bytes()).into_owned());
            }
        }
        names.reverse();
        names
    };
    wanted.iter().map(frames).collect()
}

/// What is found of a program, which is what addr2line finds.
fn ask_as_the_oracle(
    program: &Path,
    wanted: &[u64],
    dir: &Path,
    shown_as: &str,
) -> Vec<Option<Found>> {
    let sections = alone(read(program, Part::Main).expect("debug information"));
    let ours = ask(&sections, wanted, dir);
    let theirs = oracle(program, None, wanted);
    assert_eq!(ours.len(), wanted.len());
    for ((at, ours), theirs) in wanted.iter().zip(&ours).zip(&theirs) {
        assert_eq!(&shown(ours), theirs, "{at:#x} of {shown_as}");
    }
    ours
}

/// The program of [`SHAPES`] has each of these chains somewhere.
fn assert_has_all(answers: &[Option<Found>]) {
    for chain in [
        &[
            "shapes::outer(shapes::Stats&, long)",
            // Nobody outside of its unit can call it: GCC gives it no linkage name.
            "mixed",
            "shapes::add_many<3>(shapes::Stats&, long)",
            "shapes::Stats::add(long)",
        ][..],
        &["elsewhere(long)", "middle", "inner"],
        &["main"],
    ] {
        let is_there = answers.iter().any(|found| shown(found) == chain);
        assert!(is_there, "{chain:?}");
    }
}

#[test]
fn every_address_has_the_functions_that_addr2line_finds() {
    for flags in [
        &["-gdwarf-5"][..],
        &["-gdwarf-4"],
        &["-gdwarf-3"],
        &["-gdwarf-2", "-gstrict-dwarf"],
        &[
            "-gdwarf-5",
            "-ffunction-sections",
            "-Wl,--gc-sections",
            "-no-pie",
        ],
        &["-gdwarf-5", "-O0"],
        &["-gdwarf-5", "-flto"],
        &["-gdwarf-4", "-O3", "-fdebug-types-section"],
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let program = build(dir.path(), flags);
        let wanted = addresses(&program);
        let ours = ask_as_the_oracle(&program, &wanted, dir.path(), &format!("{flags:?}"));
        if flags.len() == 1 {
            assert_has_all(&ours);
        }
    }
}

/// Types of every kind, among functions and in them, and functions in functions. The entries of types are passed over
/// as a whole.
const PLAIN: &str = r#"
enum kind { SMALL, LARGE, NONE };
union word { long whole; char parts[8]; };
struct list { struct list *next; enum kind kind; union word word; long (*of)(struct list *, long); int grid[3][4]; };
static inline __attribute__((always_inline)) long weigh(struct list *l, long by) {
  struct local { long a; struct { int b; } inner; } at = { l->word.whole, { (int)by } };
  return l->of(l, at.a ^ at.inner.b) + l->grid[by & 1][by & 3];
}
__attribute__((noinline)) long all(struct list *l, long n) {
  enum step { ONE = 1, TWO } step = n & 1 ? ONE : TWO;
  long sum = 0;
  __attribute__((noinline)) long nested(struct list *l) {
    struct seen { long it; } seen = { sum };
    return weigh(l, seen.it) * step;
  }
  for (; l; l = l->next) sum += nested(l) + weigh(l, n);
  return sum;
}
__attribute__((noinline)) static long own(struct list *l, long n) { return l->kind + n; }
int main(int argc, char **argv) {
  struct list l = { 0, LARGE, { argc }, own, { { argc } } };
  return (int)all(&l, argc);
}
"#;

#[test]
fn every_address_of_c_has_the_functions_that_addr2line_finds() {
    for flags in [["-gdwarf-5", "-O2"], ["-gdwarf-4", "-O2"], ["-g", "-O0"]] {
        let dir = tempfile::tempdir().expect("a directory");
        let (source, program) = (dir.path().join("plain.c"), dir.path().join("program"));
        std::fs::write(&source, PLAIN).expect("ours");
        let mut gcc = Command::new("gcc");
        run(gcc.args(flags).arg("-o").arg(&program).arg(&source));
        let wanted = addresses(&program);
        let ours = ask_as_the_oracle(&program, &wanted, dir.path(), &format!("{flags:?}"));
        let has = |name: &str| {
            ours.iter()
                .any(|it| shown(it).last().is_some_and(|it| it == name))
        };
        for name in ["all", "nested", "weigh", "own", "main"] {
            assert!(has(name), "{name} of {flags:?}");
        }
    }
}

/// What LLVM writes: of Rust, with all that it takes from std and other crates.
#[test]
fn a_large_program_of_rust_has_the_functions_that_addr2line_finds() {
    let program = std::env::current_exe().expect("this test");
    let all = addresses(&program);
    let wanted: Vec<u64> = all.iter().copied().step_by(all.len() / 5_000).collect();
    let ours = ask_as_the_oracle(&program, &wanted, Path::new("/nowhere"), "this test");
    let inlined = ours.iter().map(|ours| shown(ours).len().saturating_sub(1));
    let inlined: usize = inlined.sum();
    assert!(inlined > wanted.len(), "{inlined} of {}", wanted.len());
}

#[test]
fn compressed_sections_say_what_plain_ones_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = build(dir.path(), &["-gdwarf-5"]);
    let wanted = addresses(&program);
    let answers = |program: &Path| -> Vec<Vec<String>> {
        let sections = alone(read(program, Part::Main).expect("debug information"));
        ask(&sections, &wanted, dir.path())
            .iter()
            .map(shown)
            .collect()
    };
    let plain = answers(&program);
    for how in ["zlib-gabi", "zlib-gnu", "zstd"] {
        let packed = dir.path().join(how);
        let flag = format!("--compress-debug-sections={how}");
        run(Command::new("objcopy").arg(flag).arg(&program).arg(&packed));
        let bytes = std::fs::read(&packed).expect("written");
        assert!(
            bytes.len() < std::fs::read(&program).expect("built").len(),
            "{how}: nothing was compressed"
        );
        assert_eq!(answers(&packed), plain, "{how}");
    }
}

#[test]
fn split_debug_information_says_what_the_unsplit_does_and_none_says_nothing() {
    for version in ["-gdwarf-5", "-gdwarf-4"] {
        let dir = tempfile::tempdir().expect("a directory");
        let whole = {
            let program = build(dir.path(), &[version]);
            let sections = alone(read(&program, Part::Main).expect("debug information"));
            let wanted = addresses(&program);
            let answers = ask(&sections, &wanted, dir.path());
            answers.iter().map(shown).collect::<Vec<_>>()
        };
        let program = build(dir.path(), &[version, "-gsplit-dwarf"]);
        let wanted = addresses(&program);
        let mut sections = alone(read(&program, Part::Main).expect("skeletons"));
        let split = ask(&sections, &wanted, dir.path());
        assert_has_all(&split);
        assert!(
            split.iter().map(shown).eq(whole.iter().cloned()),
            "{version}"
        );

        let nowhere = dir.path().join("nowhere");
        assert!(
            ask(&sections, &wanted, &nowhere)
                .iter()
                .all(Option::is_none)
        );
        // binutils' dwp knows DWARF 4 alone, and LLVM's takes no end on what GCC writes of DWARF 5.
        if version == "-gdwarf-4" {
            let mut pack = Command::new("dwp");
            run(pack
                .current_dir(dir.path())
                .args(["-e", "program", "-o", "program.dwp"]));
            sections.package = read(&dir.path().join("program.dwp"), Part::Split);
            assert!(sections.package.is_some());
            let packed = ask(&sections, &wanted, &nowhere);
            assert!(packed.iter().map(shown).eq(whole));
        }

        // One of another compilation at its place.
        let text = SHAPES.replace("v ^ (sum >> 3)", "v + sum");
        std::fs::write(dir.path().join("shapes.cc"), text).expect("ours");
        let mut gcc = Command::new("g++");
        let args = [
            "-O2",
            version,
            "-gsplit-dwarf",
            "-c",
            "shapes.cc",
            "-dumpbase",
            "",
        ];
        run(gcc
            .current_dir(dir.path())
            .args(args)
            .args(["-dumpdir", "program-", "-o", "x.o"]));
        sections.package = None;
        let replaced = ask(&sections, &wanted, dir.path());
        let named = |answers: &[Option<Found>], name: &str| {
            let names = answers.iter().map(shown);
            names
                .filter(|names| names.iter().any(|it| it.contains(name)))
                .count()
        };
        assert_eq!(named(&replaced, "shapes::"), 0, "its file is another one");
        assert_eq!(named(&replaced, "elsewhere"), named(&split, "elsewhere"));
    }
}

#[test]
fn what_dwz_moved_to_a_shared_file_is_found_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = build(dir.path(), &["-gdwarf-5", "-Wl,--build-id"]);
    let wanted = addresses(&program);
    let whole = alone(read(&program, Part::Main).expect("debug information"));
    let whole: Vec<_> = ask(&whole, &wanted, dir.path()).iter().map(shown).collect();
    let other = dir.path().join("other");
    std::fs::copy(&program, &other).expect("copied");
    let mut dwz = Command::new("dwz");
    run(dwz
        .current_dir(dir.path())
        .args(["-m", "shared", "program", "other"]));

    let mut sections = alone(read(&program, Part::Main).expect("debug information"));
    let without = ask(&sections, &wanted, dir.path());
    assert!(without.iter().map(shown).ne(whole.iter().cloned()));
    sections.shared = read(&dir.path().join("shared"), Part::Main);
    assert!(sections.shared.is_some());
    let with = ask(&sections, &wanted, dir.path());
    assert_has_all(&with);
    assert_eq!(with.iter().map(shown).collect::<Vec<_>>(), whole);
    let shared = dir.path().join("shared");
    assert_eq!(oracle(&program, Some(&shared), &wanted), whole);
}
