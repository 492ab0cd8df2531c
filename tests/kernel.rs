//! The kernel's own image, where the user gives it: it names the kernel that it is of, and no other.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::ctrflame::Ctrflame;
use support::folded::Folded;
use support::{Need, needs};

/// Mostly in the kernel, for half a second.
const COMMAND: [&str; 3] = [
    "sh",
    "-c",
    "timeout 0.5 dd if=/dev/zero of=/dev/null bs=1M 2>/dev/null; true",
];

/// This kernel's functions by their addresses.
struct Kernel {
    text: u64,
    end: u64,
    names: BTreeMap<u64, Vec<String>>,
}

impl Kernel {
    fn here() -> Self {
        let kallsyms = fs::read_to_string("/proc/kallsyms").expect("it is there");
        let mut names: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut bound = BTreeMap::new();
        for line in kallsyms.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [address, kind, name] = words[..] else {
                continue; // of a module
            };
            let address = u64::from_str_radix(address, 16).expect("an address");
            if ["_text", "_etext"].contains(&name) {
                bound.insert(name, address);
            }
            if ["T", "t", "W", "w"].contains(&kind) {
                names.entry(address).or_default().push(name.to_owned());
            }
        }
        let (text, end) = (bound["_text"], bound["_etext"]);
        assert!(text != 0, "root sees addresses");
        names.retain(|address, _| (text..end).contains(address));
        Self { text, end, names }
    }

    /// An image of it that was linked elsewhere, and calls the function at offset 0x123 `vm_123`.
    fn image(&self, dir: &Path, build_id: &str) -> PathBuf {
        let mut source = String::from(".text\n.globl _text\n_text:\n");
        let ends = self.names.keys().skip(1).copied().chain([self.end]);
        for (start, end) in self.names.keys().zip(ends) {
            let (at, len) = (start - self.text, end - start);
            writeln!(
                source,
                ".org {at}\n.type vm_{at:x},@function\nvm_{at:x}:\n.size vm_{at:x},{len}"
            )
            .expect("memory");
        }
        writeln!(source, ".org {}", self.end - self.text).expect("memory");
        let (assembly, object) = (dir.join("vmlinux.s"), dir.join("vmlinux.o"));
        fs::write(&assembly, source).expect("ours");
        let image = dir.join(format!("vmlinux-{build_id}"));
        run(Command::new("as").arg(&assembly).arg("-o").arg(&object));
        let elsewhere = format!("-Ttext={:#x}", self.text - (16 << 20));
        let build_id = format!("--build-id=0x{build_id}");
        let mut ld = Command::new("ld");
        ld.args(["-e", "0", &elsewhere, &build_id]);
        run(ld.arg(&object).arg("-o").arg(&image));
        image
    }

    /// Whether all of the kernel's frames are of that image, and are what kallsyms calls one of `expected`.
    fn assert_named(&self, folded: &Folded, expected: &Folded) {
        let frames = folded.stacks.iter().flat_map(|stack| {
            let frames = stack.frames.iter().map(move |it| (it, stack.count));
            frames.filter_map(|(it, count)| Some((it.strip_suffix("_[k]")?, count)))
        });
        let mut samples = 0;
        for (frame, count) in frames {
            let at = frame
                .strip_prefix("vm_")
                .and_then(|at| u64::from_str_radix(at, 16).ok())
                .unwrap_or_else(|| panic!("{frame} is not of the image\n{folded}"));
            let names = &self.names[&(self.text + at)];
            let is_expected = |name: &String| expected.mentions(&format!("{name}_[k]"));
            assert!(names.iter().any(is_expected), "{names:?}\n{expected}");
            samples += count;
        }
        assert!(samples >= 100, "{samples}\n{folded}");
    }
}

fn run(command: &mut Command) {
    let done = command.output().expect("binutils run");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {said}");
}

/// The running kernel's, out of its notes.
fn build_id() -> String {
    let notes = fs::read("/sys/kernel/notes").expect("it is there");
    let at = notes.windows(4).position(|bytes| bytes == b"GNU\0");
    let id = &notes[at.expect("a build id") + 4..][..20];
    id.iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn a_vmlinux_names_the_kernel_whose_build_it_is_wherever_that_lay_and_no_other() {
    let Some(_host) = needs(Need::Root) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let (kernel, own) = (Kernel::here(), build_id());
    let image = kernel.image(dir.path(), &own);
    let image = image.to_str().expect("text");
    let recorded = Ctrflame::record(["-F", "999", "-o", "x.data", "--"])
        .args(COMMAND)
        .run()
        .expect_code(0);
    let by_kallsyms = recorded.folded();
    let recording = recorded.cwd().join("x.data");
    let converted = Ctrflame::convert(&recording, &["--vmlinux", image]).expect_code(0);
    kernel.assert_named(&converted.folded(), &by_kallsyms);

    let live = Ctrflame::record(["-F", "999", "--vmlinux", image, "--"])
        .args(COMMAND)
        .run()
        .expect_code(0);
    let frames = live.folded().stacks.into_iter().flat_map(|it| it.frames);
    let kernels: Vec<String> = frames.filter(|it| it.ends_with("_[k]")).collect();
    assert!(kernels.len() > 5, "{kernels:?}");
    assert!(
        kernels.iter().all(|it| it.starts_with("vm_")),
        "{kernels:?}"
    );

    let other = "00112233445566778899aabbccddeeff00112233";
    let another = kernel.image(dir.path(), other);
    let another = another.to_str().expect("text");
    for refused in [
        Ctrflame::convert(&recording, &["--vmlinux", another]),
        Ctrflame::record(["--vmlinux", another, "--", "true"]).run(),
    ] {
        let refused = refused.expect_code(125);
        for said in [other, &own, "hint:"] {
            assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
        }
    }
    let no_kernel = Ctrflame::record(["--vmlinux", "/etc/passwd", "--", "true"]).run();
    let no_kernel = no_kernel.expect_code(125);
    assert!(
        no_kernel.stderr.contains("/etc/passwd"),
        "{}",
        no_kernel.stderr
    );
}
