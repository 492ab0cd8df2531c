//! The flags of `ctrflame record`.

use super::values::{RingSize, StacksArg, parse_duration, parse_ring_size, parse_stacks};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// Sample every process of the host (the default without -G, -p and a command)
    #[arg(short = 'a', long = "all", conflicts_with = "pids")]
    pub(crate) all: bool,

    /// Sample this container: id prefix, name, namespace/pod, pod, or cgroup path
    #[arg(
        short = 'G',
        long = "container",
        value_name = "WHAT",
        value_delimiter = ',',
        conflicts_with = "pids"
    )]
    pub(crate) containers: Vec<String>,

    /// Sample this process, its threads and its children
    #[arg(short = 'p', long = "pid", value_name = "PID", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pids: Vec<u32>,

    /// Samples a second on each CPU
    #[arg(short = 'F', long = "freq", value_name = "HZ", default_value_t = 99,
          value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) rate_hz: u64,

    /// Event to sample by [default: cycles where the machine counts them, else cpu-clock]
    #[arg(short = 'e', long = "event", value_name = "EVENT")]
    pub(crate) event: Option<EventArg>,

    /// How stacks are found: fp (by frame pointers), dwarf[,BYTES] (by call frame information, from a copy of
    /// that much of each stack), auto[,BYTES] (by frame pointers where they are true, else as dwarf)
    #[arg(long, value_name = "HOW", default_value = "fp", value_parser = parse_stacks)]
    pub(crate) call_graph: StacksArg,

    /// With fp: leave out what is done about callers that frame pointers miss, those of leaf functions
    #[arg(long)]
    pub(crate) no_leaf_repair: bool,

    /// Leave the kernel's own stacks out
    #[arg(long)]
    pub(crate) no_kernel: bool,

    /// Leave out functions that the compiler put into others
    #[arg(long)]
    pub(crate) no_inline: bool,

    /// The kernel's own image with its symbols: names and inlined functions of exactly this build
    #[arg(long, value_name = "FILE")]
    pub(crate) vmlinux: Option<PathBuf>,

    /// Do not ask the servers of DEBUGINFOD_URLS for debug files
    #[arg(long)]
    pub(crate) no_debuginfod: bool,

    /// Ring buffer of each CPU: pages, or a size such as 1M; rounded up to a power of two
    #[arg(short = 'm', long = "mmap-pages", value_name = "PAGES", value_parser = parse_ring_size)]
    pub(crate) ring: Option<RingSize>,

    /// Stop after this much time, such as 30s or 2m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "argv")]
    pub(crate) duration: Option<Duration>,

    /// Write here: .svg, .folded or .data (a perf.data) by extension, - for an SVG on standard
    /// output; repeatable
    /// [default: ctrflame.svg]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) outputs: Vec<PathBuf>,

    /// Ask sampled JVMs for the names of their code: auto, off, or force, where a JVM that does not tell
    /// makes the exit status 125
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(crate) jvm: JvmArg,

    /// Ask them again after this much time: code that was compiled and thrown away in between is named
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) jvm_map_interval: Duration,

    /// Also say what the recording itself cost
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,

    /// Stop when this command ends; without -a, -G and -p it is what is sampled
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) argv: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum JvmArg {
    Auto,
    Off,
    Force,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventArg {
    CpuClock,
    TaskClock,
    Cycles,
}
