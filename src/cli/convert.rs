//! The flags of `ctrflame convert`.

use super::values::{
    Cpus, Sysroot, TimeSpan, parse_cpus, parse_perf_map, parse_sysroot, parse_time_span,
};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What is converted if nothing is given: what `perf record` writes.
pub(crate) const DEFAULT_INPUT: &str = "perf.data";

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A perf.data file or directory, the text of perf script, folded stacks, or a text of dtrace,
    /// sample, vtune and others; plain or gzip; - for standard input
    #[arg(value_name = "FILE", default_value = DEFAULT_INPUT)]
    pub(crate) input: PathBuf,

    /// Draw this event's samples, by its name as perf prints it (cycles:u, cpu-clock), of several events
    /// of one name with a number: cpu-clock#2 [default: the recording's first]
    #[arg(short = 'e', long = "event", value_name = "EVENT")]
    pub(crate) event: Option<String>,

    #[command(flatten)]
    pub(crate) sources: SourceArgs,
    /// What stacks are made from: fp (as the kernel walked them), dwarf (unwound here from registers
    /// and copies of the stacks), lbr (branch stacks) [default: dwarf where it was recorded, else fp]
    #[arg(long, value_name = "HOW", hide_possible_values = true)]
    pub(crate) call_graph: Option<CallGraphArg>,

    /// Draw what came before the damage of a damaged recording
    #[arg(long)]
    pub(crate) allow_damaged: bool,

    #[command(flatten)]
    pub(crate) choice: ChoiceArgs,

    /// What stands above the stacks, outermost first
    #[arg(
        long,
        value_name = "LAYERS",
        value_delimiter = ',',
        default_value = "container,comm"
    )]
    pub(crate) by: Vec<LayerArg>,

    /// What a sample counts: one, or the events since the sample before [default: samples; of text
    /// that tells periods, period]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) weight: Option<WeightArg>,

    /// Draw idle CPUs too, as the thread swapper
    #[arg(long)]
    pub(crate) idle: bool,

    /// Write here: .svg or .folded by extension, - for an SVG on standard output; repeatable
    /// [default: ctrflame.svg]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) outputs: Vec<PathBuf>,

    /// Also say what the conversion itself cost
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,
}

/// Which samples of a recording are drawn: those that agree with all that is given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Samples")]
pub(crate) struct ChoiceArgs {
    /// Of these processes, by the pid that the recording has
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',')]
    pub(crate) pids: Vec<u32>,

    /// Of these threads
    #[arg(long = "tid", value_name = "TID", value_delimiter = ',')]
    pub(crate) tids: Vec<u32>,

    /// Of threads with these names
    #[arg(long = "comm", value_name = "NAME", value_delimiter = ',')]
    pub(crate) comms: Vec<String>,

    /// On these CPUs, such as 0,4-7
    #[arg(long = "cpu", value_name = "CPUS", value_parser = parse_cpus)]
    pub(crate) cpus: Option<Cpus>,

    /// From A to B, in seconds as perf script prints them, or with + since the first sample; either
    /// may be left out: +10,+20
    #[arg(long, value_name = "A,B", value_parser = parse_time_span, allow_hyphen_values = true)]
    pub(crate) time: Option<TimeSpan>,
}

/// Whose samples of a recording, and where their names are.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Draw this container's samples only: id prefix, name, namespace/pod, pod, cgroup path, or
    /// `host`; repeatable
    #[arg(
        short = 'G',
        long = "container",
        value_name = "WHAT",
        value_delimiter = ','
    )]
    pub(crate) containers: Vec<String>,

    /// Look for files below this directory instead of /
    #[arg(long, value_name = "DIR", help_heading = "Where names come from")]
    pub(crate) symfs: Option<PathBuf>,

    /// Look for a container's files below this directory first; repeatable
    #[arg(long = "sysroot", value_name = "CONTAINER=DIR", value_parser = parse_sysroot,
          help_heading = "Where names come from")]
    pub(crate) sysroots: Vec<Sysroot>,

    /// The recorded kernel's /proc/kallsyms, copied since its boot
    #[arg(long, value_name = "FILE", help_heading = "Where names come from")]
    pub(crate) kallsyms: Option<PathBuf>,

    /// The recorded kernel's own image with its symbols
    #[arg(long, value_name = "FILE", help_heading = "Where names come from")]
    pub(crate) vmlinux: Option<PathBuf>,

    /// Leave out functions that the compiler put into others
    #[arg(long, help_heading = "Where names come from")]
    pub(crate) no_inline: bool,

    /// Do not ask the servers of DEBUGINFOD_URLS for debug files
    #[arg(long, help_heading = "Where names come from")]
    pub(crate) no_debuginfod: bool,

    /// Names of the code that a process generated, by its recorded pid; repeatable
    #[arg(long = "perf-map", value_name = "PID=FILE", value_parser = parse_perf_map,
          help_heading = "Where names come from")]
    pub(crate) perf_maps: Vec<(u32, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerArg {
    Container,
    Comm,
    Pid,
    Tid,
    Cpu,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightArg {
    Samples,
    Period,
}

/// What stacks are made from, in perf's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CallGraphArg {
    Fp,
    Dwarf,
    Lbr,
}
