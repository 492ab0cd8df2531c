//! The programs of `samples/workloads`, built with gcc on first use and kept in `target/tmp/workloads`.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Frame pointers in every function, no tail call, nothing inlined: what is on the stack is what the source says.
const FLAGS: [&str; 7] = [
    "-O1",
    "-g0",
    "-fno-omit-frame-pointer",
    "-fno-optimize-sibling-calls",
    "-fno-inline",
    "-static",
    "-pthread",
];

/// Length of the name of `huge_symbol`'s only hot function.
pub(crate) const HUGE_SYMBOL_BYTES: usize = 1_000_000;

/// One program of `samples/workloads`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    /// `main → alpha_outer → alpha_inner`; argument: seconds.
    HotA,
    /// `main → beta_outer → beta_inner` at overlapping addresses; argument: seconds.
    HotB,
    /// `short_outer → short_inner`, prints `cpu_seconds`; argument: seconds.
    Short,
    /// Threads in `busy_loop`, prints `cpu_seconds`; arguments: threads, seconds, `wait`, `status N`.
    Busy,
    /// Code in anonymous memory with a perf map; arguments: seconds, `no-map`, another kind of memory.
    JitLike,
    /// Three functions one after the other at one address, told by a jitdump; prints the CPU seconds of each;
    /// arguments: seconds for each, `tsc`, `late`, `pid` or `wait`.
    JitDump,
    /// `main → outer → X_caller → X`, of which `small_leaf`, `tiny_leaf` and what the C library has lack frames;
    /// argument: seconds.
    Leaves,
    /// The same without frame pointers in the program either.
    LeavesFrameless,
    /// `main → evaluate → enter → py::f0 → …` through trampolines without frame pointers; arguments: seconds, `packed`,
    /// `aligned` or `cet`.
    Trampolines,
    /// `descend`, as often as asked for, and `compute`; arguments: threads or 0 for `main`, depth, seconds.
    Deep,
    /// `main → wide → narrow → far_spin → far_leaf`, or `main → on_stack → lower → on_stack → upper → …` on three
    /// stacks; arguments: seconds, `huge` or `stacks`.
    Far,
    /// The same without frame pointers.
    FarFrameless,
    /// A process that execs, whose pid is used again, or that changes its name; argument: which.
    Identity,
    /// A call that is its function's last instruction, symbols without size; argument: seconds.
    Traps,
    /// Processes whose stacks lie, in `lie`, and threads with tiny ones, in `small`; argument: seconds.
    LyingStacks,
    /// Two BPF programs one after the other at one address; root only.
    Bpf,
    /// Its own text put onto other pages: `main → moved_outer → moved_inner`, and in a page that was changed
    /// afterwards `changed_inner`; arguments: `copy` or `mremap`, seconds.
    Remap,
    /// A chosen thread name; arguments: seconds, name.
    Comm,
    /// Two functions whose names are to be patched; argument: seconds.
    OddSymbols,
    /// A function name of [`HUGE_SYMBOL_BYTES`]; argument: seconds.
    HugeSymbol,
}

impl Workload {
    /// The static executable, built if it is not there yet for this source and these flags.
    pub(crate) fn build(self) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("samples/workloads")
            .join(self.source());
        let text = fs::read(&source).unwrap_or_else(|error| panic!("{source:?}: {error}"));
        let mut key = DefaultHasher::new();
        (&text, FLAGS, self.more_flags(), HUGE_SYMBOL_BYTES).hash(&mut key);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workloads");
        fs::create_dir_all(&dir).expect("target/ is writable");
        let name = source.file_stem().expect("a .c file").to_string_lossy();
        let built = dir.join(format!("{name}-{:016x}", key.finish()));
        if built.exists() {
            return built;
        }
        // Two test binaries may build at once: each into a directory of its own, then a rename.
        let own = tempfile::tempdir_in(&dir).expect("target/ is writable");
        let output = own.path().join("program");
        let mut gcc = Command::new("gcc");
        gcc.args(FLAGS).args(self.more_flags());
        gcc.arg("-o").arg(&output);
        if let Workload::HugeSymbol = self {
            let header = own.path().join("huge.h");
            let label = "h".repeat(HUGE_SYMBOL_BYTES);
            fs::write(&header, format!("#define HUGE_LABEL \"{label}\"\n")).expect("own directory");
            gcc.arg("-include").arg(header);
        }
        let done = gcc.arg(&source).output().expect("gcc runs");
        assert!(
            done.status.success(),
            "gcc {source:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        fs::rename(&output, &built).expect("same file system");
        built
    }

    fn more_flags(self) -> &'static [&'static str] {
        match self {
            Workload::LeavesFrameless | Workload::FarFrameless | Workload::Trampolines => {
                &["-fomit-frame-pointer"]
            }
            _ => &[],
        }
    }

    fn source(self) -> &'static str {
        match self {
            Workload::HotA => "hot_a.c",
            Workload::HotB => "hot_b.c",
            Workload::Short => "short.c",
            Workload::Busy => "busy.c",
            Workload::JitLike => "jitlike.c",
            Workload::JitDump => "jitdump.c",
            Workload::Leaves | Workload::LeavesFrameless => "leaves.c",
            Workload::Trampolines => "trampolines.c",
            Workload::Deep => "deep.c",
            Workload::Far | Workload::FarFrameless => "far.c",
            Workload::Identity => "identity.c",
            Workload::Traps => "traps.c",
            Workload::LyingStacks => "hostile/stacks.c",
            Workload::Bpf => "bpf.c",
            Workload::Remap => "remap.c",
            Workload::Comm => "hostile/comm.c",
            Workload::OddSymbols => "hostile/odd_symbols.c",
            Workload::HugeSymbol => "hostile/huge_symbol.c",
        }
    }
}

/// Writes a copy of `program` to `to` with every occurrence of `slot` overwritten by `name`, zero-terminated: gives a
/// symbol a name that no assembler accepts.
pub(crate) fn patch_symbol(program: &mut [u8], slot: &[u8], name: &[u8]) {
    assert!(name.len() < slot.len(), "a name must leave room for its 0");
    let mut patched = 0;
    let mut at = 0;
    while let Some(found) = program[at..].windows(slot.len()).position(|w| w == slot) {
        let place = &mut program[at + found..at + found + slot.len()];
        place.fill(0);
        place[..name.len()].copy_from_slice(name);
        patched += 1;
        at += found + slot.len();
    }
    assert_eq!(patched, 1, "the string table holds the slot once");
}
