//! The flags, and nothing else: what was typed, checked as far as it can be without asking the system.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Container-aware CPU flame graphs from the host, in one command.
#[derive(Debug, Parser)]
#[command(name = "ctrflame", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sample stacks and draw them, each under its container
    #[command(after_help = "\
Examples:
  ctrflame record -G web -- sleep 30           one container, by name or id prefix, for 30 s
  ctrflame record -a --duration 30s            the whole host
  ctrflame record -o hot.svg -- ./program      one program, from its exec on
  ctrflame record -p 4242 -o - --duration 5s   a process, the picture to standard output")]
    Record(RecordArgs),
    /// Draw a recording that perf made, here or elsewhere
    #[command(after_help = "\
Examples:
  ctrflame convert perf.data -o out.svg
  perf record -o - -a -g -- sleep 10 | ctrflame convert - -o out.svg")]
    Convert(ConvertArgs),
}

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

    /// Leave the kernel's own stacks out
    #[arg(long)]
    pub(crate) no_kernel: bool,

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

    /// Also say what the recording itself cost
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,

    /// Stop when this command ends; without -a, -G and -p it is what is sampled
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) argv: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A perf.data file or directory; - for standard input
    #[arg(value_name = "FILE", default_value = "perf.data")]
    pub(crate) input: PathBuf,

    /// Draw this event's samples, by its name as perf prints it [default: the recording's first]
    #[arg(short = 'e', long = "event", value_name = "EVENT")]
    pub(crate) event: Option<String>,

    /// Draw what came before the damage of a damaged recording
    #[arg(long)]
    pub(crate) allow_damaged: bool,

    /// Write here: .svg or .folded by extension, - for an SVG on standard output; repeatable
    /// [default: ctrflame.svg]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub(crate) outputs: Vec<PathBuf>,

    /// Also say what the conversion itself cost
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventArg {
    CpuClock,
    TaskClock,
    Cycles,
}

/// A ring's size, as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingSize {
    Pages(usize),
    Bytes(usize),
}

/// Largest ring of one CPU.
const RING_MAX_BYTES: usize = 1 << 30;

fn parse_ring_size(text: &str) -> Result<RingSize, String> {
    let (digits, unit_bytes) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), Some(1 << 10)),
        Some((at, 'm' | 'M')) => (text.get(..at), Some(1 << 20)),
        Some((at, 'g' | 'G')) => (text.get(..at), Some(1 << 30)),
        _ => (Some(text), None),
    };
    let number = digits
        .and_then(|digits| digits.parse::<usize>().ok())
        .filter(|number| *number > 0);
    let size = match (number, unit_bytes) {
        (Some(number), None) if number <= RING_MAX_BYTES / 4096 => Some(RingSize::Pages(number)),
        (Some(number), Some(unit)) => number
            .checked_mul(unit)
            .filter(|bytes| *bytes <= RING_MAX_BYTES)
            .map(RingSize::Bytes),
        _ => None,
    };
    size.ok_or_else(|| "expected pages (128) or a size up to 1G (512K)".to_owned())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    // A bare number is seconds, as for sleep(1).
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    parsed.and_then(|duration| {
        if duration.is_zero() {
            Err("must be longer than 0".to_owned())
        } else {
            Ok(duration)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_duration_is_seconds_or_has_a_unit() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("0").is_err());
        assert!(parse_duration("-1").is_err());
        assert!(parse_duration("soon").is_err());
    }

    #[test]
    fn a_ring_is_pages_or_bytes() {
        assert_eq!(parse_ring_size("128"), Ok(RingSize::Pages(128)));
        assert_eq!(parse_ring_size("512K"), Ok(RingSize::Bytes(512 << 10)));
        assert_eq!(parse_ring_size("1G"), Ok(RingSize::Bytes(1 << 30)));
        for wrong in ["", "0", "2G", "K", "12x", "99999999999999999999"] {
            assert!(parse_ring_size(wrong).is_err(), "accepted {wrong:?}");
        }
    }

    #[test]
    fn containers_come_as_a_list_or_repeated_and_the_command_keeps_its_own_flags() {
        let cli = Cli::try_parse_from([
            "ctrflame", "record", "-G", "a,b", "-G", "c", "--", "sleep", "-x",
        ]);
        let Ok(Cli {
            command: Command::Record(args),
        }) = cli
        else {
            panic!("not accepted")
        };
        assert_eq!(args.containers, ["a", "b", "c"]);
        assert_eq!(args.argv, ["sleep", "-x"]);
        assert!(Cli::try_parse_from(["ctrflame", "record", "-p", "1", "-G", "a"]).is_err());
        assert!(
            Cli::try_parse_from(["ctrflame", "record", "--duration", "1s", "--", "true"]).is_err()
        );
    }
}
