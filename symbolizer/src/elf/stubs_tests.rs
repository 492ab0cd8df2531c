//! Stubs are called as binutils call them, whoever linked them.

use super::fixture::symbols_at;
use super::stubs::decoded;
use super::*;
use std::fs;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n\
    int (*volatile pointer)(const char *) = puts;\n\
    int main(int argc, char **argv) { puts(\"x\"); pointer(\"y\");\n\
      return getppid() + strlen(argv[0]) + strchr(argv[0], 'x')[0] + (int)random(); }\n";

/// The program, linked so.
fn linked(dir: &Path, flags: &[&str]) -> Vec<u8> {
    let (source, program) = (dir.join("stubs.c"), dir.join("stubs"));
    fs::write(&source, SOURCE).expect("our own directory");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O1", "-o"]).arg(&program).arg(&source);
    let done = gcc.args(flags).output().expect("gcc runs");
    assert!(
        done.status.success(),
        "{flags:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    fs::read(program).expect("it was built")
}

fn output(program: &str, args: &[&str], file: &Path) -> String {
    let done = Command::new(program).args(args).arg(file).output();
    String::from_utf8(done.expect("binutils run").stdout).expect("names of ours")
}

/// Labels of `objdump -d`: `0000000000001030 <puts@plt>:`.
fn objdumps(file: &Path) -> Vec<(u64, String)> {
    let lines = output("objdump", &["-d"], file);
    let label = |line: &str| {
        let (at, name) = line.strip_suffix(">:")?.split_once(" <")?;
        let at = u64::from_str_radix(at, 16).ok()?;
        name.ends_with("@plt").then(|| (at, name.to_owned()))
    };
    lines.lines().filter_map(label).collect()
}

/// The names at these addresses, and the first and the last address that have it.
fn names(bytes: &[u8], wanted: &[u64]) -> Vec<Option<(String, u64, u64)>> {
    let found = symbols_at(bytes, wanted).into_iter();
    let with_last = |(name, first, size)| (name, first, first + size - 1);
    found.map(|found| found.map(with_last)).collect()
}

#[test]
fn a_stub_is_called_by_what_it_leads_to_as_objdump_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("stubs");
    let gold: &[&str] = &["-fuse-ld=gold"];
    let variants: [&[&str]; 6] = [
        &["-Wl,-z,lazy"],
        &["-Wl,-z,now"],
        &["-fcf-protection", "-Wl,-z,ibtplt", "-Wl,-z,lazy"],
        &["-no-pie"],
        &["-shared", "-fPIC"],
        gold,
    ];
    for flags in variants {
        let bytes = linked(dir.path(), flags);
        let expected = objdumps(&file);
        for function in ["puts", "getppid", "strlen", "random"] {
            let called = format!("{function}@plt");
            assert!(
                expected.iter().any(|(_, name)| *name == called),
                "{flags:?}: {expected:x?}"
            );
        }
        let wanted: Vec<u64> = expected.iter().map(|(at, _)| at + 5).collect();
        let found = names(&bytes, &wanted);
        for ((at, name), found) in expected.iter().zip(found) {
            let (found, first, last) = found.unwrap_or_default();
            assert_eq!((&found, first), (name, *at), "{flags:?}");
            assert!((first + 7..=first + 15).contains(&last), "{flags:?}");
        }
        // A stripped program has them still.
        let before = names(&bytes, &wanted);
        output("strip", &[], &file);
        let stripped = fs::read(&file).expect("there it is");
        assert_eq!(names(&stripped, &wanted), before, "{flags:?}");
        for at in wanted {
            let asked = ElfImage::read(&*bytes, &ElfLimits::default(), Wanted::Addresses(&[0x1]));
            assert!(asked.expect("sound").lookup(at).is_none(), "not asked for");
        }
    }
}

#[test]
fn the_first_code_of_plt_has_its_name_where_it_finds_functions() {
    let dir = tempfile::tempdir().expect("a directory");
    let bytes = linked(dir.path(), &["-Wl,-z,lazy"]);
    let file = dir.path().join("stubs");
    let first = objdumps(&file).first().expect("there are stubs").0 - 16;
    assert_eq!(
        names(&bytes, &[first + 6]),
        [Some((".plt".to_owned(), first, first + 15))]
    );
}

#[test]
fn a_stub_of_a_static_program_is_called_by_the_function_that_chooses() {
    let dir = tempfile::tempdir().expect("a directory");
    for flags in [["-static"], ["-static-pie"]] {
        let bytes = linked(dir.path(), &flags);
        let file = dir.path().join("stubs");
        let sections = output("readelf", &["-SW"], &file);
        let plt = sections.lines().find(|line| line.contains(" .plt "));
        let plt = plt.expect("glibc has functions that are chosen");
        let words: Vec<_> = plt.split_whitespace().rev().collect();
        let number = |at: usize| u64::from_str_radix(words[at], 16).expect("a number");
        // From the right: alignment, info, link, flags, entry, size, offset, address.
        let (addr, len) = (number(7), number(5));
        let wanted: Vec<u64> = (addr..addr + len).collect();
        let found: Vec<_> = names(&bytes, &wanted).into_iter().flatten().collect();
        assert_eq!(found.len(), wanted.len(), "{flags:?}: each byte has a name");
        let functions = output("nm", &[], &file);
        for (name, ..) in &found {
            let chooses = name.strip_suffix("@plt").unwrap_or("");
            let is_its = |line: &str| line.ends_with(&format!(" i {chooses}"));
            assert!(
                name == ".plt" || functions.lines().any(is_its),
                "{flags:?}: {name}"
            );
        }
        assert!(found.iter().any(|(name, ..)| name == "strlen@plt"));
    }
}

#[test]
fn the_instructions_of_every_linker_are_understood() {
    // As GNU ld, gold and lld write them; start 0x1000.
    let jump = [0xff, 0x25, 0x10, 0, 0, 0];
    let endbr = [0xf3, 0x0f, 0x1e, 0xfa];
    let x86 = |parts: &[&[u8]]| decoded(object::elf::EM_X86_64, &parts.concat(), 0x1000, false);
    assert_eq!(x86(&[&jump, &[0x66, 0x90]]), "through 0x1016");
    assert_eq!(x86(&[&endbr, &jump]), "through 0x101a");
    assert_eq!(x86(&[&endbr, &[0xf2], &jump]), "through 0x101b");
    // mold: endbr64; mov $7, %r11d; jmp
    assert_eq!(
        x86(&[&endbr, &[0x41, 0xbb, 7, 0, 0, 0], &jump]),
        "through 0x1020"
    );
    let push = [0x68, 3, 0, 0, 0];
    assert_eq!(x86(&[&endbr, &push, &[0xf2, 0xe9]]), "number 3");
    assert_eq!(x86(&[&[0xff, 0x35, 1, 0, 0, 0], &jump]), "binder");
    // A jump backwards; one out of the address space; what is no stub; one that is cut.
    assert_eq!(
        x86(&[&[0xff, 0x25, 0xf0, 0xff, 0xff, 0xff]]),
        "through 0xff6"
    );
    assert_eq!(x86(&[&[0xff, 0x25, 0, 0, 0, 0x80]]), "nothing");
    assert_eq!(x86(&[&[0xff, 0xe0]]), "nothing");
    assert_eq!(x86(&[&jump[..5]]), "nothing");

    let arm = |words: &[u32], is_first| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        decoded(object::elf::EM_AARCH64, &bytes, 0x1_0608, is_first)
    };
    // adrp x16, 0x1f000 (15 pages on); ldr x17, [x16, #4056]; add; br x17
    let stub = [0xf000_0070, 0xf947_ee11, 0x913f_6210, 0xd61f_0220];
    assert_eq!(arm(&stub, false), "through 0x1ffd8");
    assert_eq!(
        arm(&[&[0xd503_245f], &stub[..]].concat(), false),
        "through 0x1ffd8"
    );
    assert_eq!(arm(&stub, true), "binder");
    // One page back.
    assert_eq!(arm(&[0xf0ff_fff0, 0xf940_0211], false), "through 0xf000");
    assert_eq!(arm(&[0xd503_201f, 0xd503_201f], false), "nothing");
    assert_eq!(arm(&stub[..1], false), "nothing");
}

#[test]
fn no_damage_of_stubs_or_relocations_panics_or_costs_a_symbol() {
    let dir = tempfile::tempdir().expect("a directory");
    let bytes = linked(dir.path(), &["-Wl,-z,lazy"]);
    let file = dir.path().join("stubs");
    let stubs = objdumps(&file);
    let wanted: Vec<u64> = stubs.iter().map(|(at, _)| *at).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let (mut read, mut named) = (0, 0);
    for _ in 0..1000 {
        let mut bytes = bytes.clone();
        for _ in 0..1 + random() % 4 {
            // Dynamic symbols to stubs, or the section headers.
            let at = match random() % 2 {
                0 => 0x300 + random() % 0xe00,
                _ => bytes.len() - 1 - random() % 0x800,
            };
            bytes[at] = [0xff, 0, random() as u8][random() % 3];
        }
        let wanted = Wanted::Addresses(&wanted);
        if let Ok(image) = ElfImage::read(&*bytes, &ElfLimits::default(), wanted) {
            read += 1;
            named += stubs
                .iter()
                .filter(|(at, _)| image.lookup(*at).is_some())
                .count();
        }
    }
    assert!(read > 300 && named > 300, "{read} read, {named} named");
}
