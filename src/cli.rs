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
    /// Draw a recording that perf made, here or elsewhere, or a text of stacks
    #[command(after_help = "\
Examples:
  ctrflame convert perf.data -o out.svg
  perf record -o - -a -g -- sleep 10 | ctrflame convert - -o out.svg
  perf script | ctrflame convert - -o out.svg           text, by its content
  ctrflame convert stacks.folded.gz -o out.svg
  ctrflame convert --time +10,+20 --by container,comm,tid    ten seconds, thread by thread")]
    Convert(Box<ConvertArgs>),
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
    /// A perf.data file or directory, the text of perf script, folded stacks, or a text of dtrace,
    /// sample, vtune and others; plain or gzip; - for standard input
    #[arg(value_name = "FILE", default_value = "perf.data")]
    pub(crate) input: PathBuf,

    /// Draw this event's samples, by its name as perf prints it [default: the recording's first]
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

/// CPUs, as they were typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) Vec<u32>);

/// Largest number of a CPU that is taken: `CONFIG_NR_CPUS` is at most 8192.
const CPU_MAX: u32 = 1 << 16;

fn parse_cpus(text: &str) -> Result<Cpus, String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|cpu| *cpu < CPU_MAX);
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let range = match part.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)),
            None => number(part).map(|cpu| (cpu, cpu)),
        };
        match range {
            Some((first, last)) if first <= last => cpus.extend(first..=last),
            _ => return Err("expected CPUs such as 0,4-7".to_owned()),
        }
    }
    Ok(Cpus(cpus))
}

/// Where a time of a recording counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeArg {
    /// Nanoseconds of the recording's clock.
    Clock(u64),
    /// Nanoseconds since the first sample.
    SinceFirst(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeSpan {
    pub(crate) from: Option<TimeArg>,
    pub(crate) to: Option<TimeArg>,
}

fn parse_time_span(text: &str) -> Result<TimeSpan, String> {
    let expected = || "expected two times in seconds, such as 4512.25,4513 or +10,+20".to_owned();
    let (from, to) = text.split_once(',').ok_or_else(expected)?;
    let time = |text: &str| match text.trim() {
        "" => Ok(None),
        text => match text.strip_prefix('+') {
            Some(text) => nanoseconds(text).map(TimeArg::SinceFirst),
            None => nanoseconds(text).map(TimeArg::Clock),
        }
        .map(Some)
        .ok_or_else(expected),
    };
    let span = TimeSpan {
        from: time(from)?,
        to: time(to)?,
    };
    match span {
        TimeSpan {
            from: None,
            to: None,
        } => Err(expected()),
        TimeSpan {
            from: Some(TimeArg::Clock(from)),
            to: Some(TimeArg::Clock(to)),
        }
        | TimeSpan {
            from: Some(TimeArg::SinceFirst(from)),
            to: Some(TimeArg::SinceFirst(to)),
        } if from > to => Err("the first time is after the second".to_owned()),
        span => Ok(span),
    }
}

/// Seconds with at most nine decimals: more digits than a float has.
fn nanoseconds(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > 9 || text == "." {
        return None;
    }
    let seconds: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let decimals: u64 = format!("{decimals:0<9}").parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(decimals)
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

    /// Names of the code that a process generated, by its recorded pid; repeatable
    #[arg(long = "perf-map", value_name = "PID=FILE", value_parser = parse_perf_map,
          help_heading = "Where names come from")]
    pub(crate) perf_maps: Vec<(u32, PathBuf)>,
}

/// The root directory of a container, exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysroot {
    /// As `-G` takes it.
    pub(crate) container: String,
    pub(crate) dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventArg {
    CpuClock,
    TaskClock,
    Cycles,
}

/// What stacks are made from, in perf's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CallGraphArg {
    Fp,
    Dwarf,
    Lbr,
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

fn parse_sysroot(text: &str) -> Result<Sysroot, String> {
    let (container, dir) = text
        .split_once('=')
        .filter(|(container, dir)| !container.is_empty() && !dir.is_empty())
        .ok_or("expected CONTAINER=DIR, such as web=/tmp/web-rootfs")?;
    Ok(Sysroot {
        container: container.to_owned(),
        dir: dir.into(),
    })
}

fn parse_perf_map(text: &str) -> Result<(u32, PathBuf), String> {
    text.split_once('=')
        .and_then(|(pid, file)| Some((pid.parse().ok()?, PathBuf::from(file))))
        .filter(|(pid, file)| *pid > 0 && !file.as_os_str().is_empty())
        .ok_or_else(|| "expected PID=FILE, such as 4242=/tmp/perf-1.map".to_owned())
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
    fn cpus_are_a_list_of_numbers_and_ranges() {
        assert_eq!(parse_cpus("0,4-6"), Ok(Cpus(vec![0, 4, 5, 6])));
        for wrong in ["", "1-", "3-1", "x", "1,,2", "0-4294967295"] {
            assert!(parse_cpus(wrong).is_err(), "accepted {wrong:?}");
        }
    }

    #[test]
    fn times_are_seconds_to_the_nanosecond_and_may_count_from_the_first_sample() {
        let span = |from, to| Ok(TimeSpan { from, to });
        assert_eq!(
            parse_time_span("103.000000001,104.5"),
            span(
                Some(TimeArg::Clock(103_000_000_001)),
                Some(TimeArg::Clock(104_500_000_000))
            )
        );
        assert_eq!(
            parse_time_span("+1.5,"),
            span(Some(TimeArg::SinceFirst(1_500_000_000)), None)
        );
        assert_eq!(
            parse_time_span(",+.25"),
            span(None, Some(TimeArg::SinceFirst(250_000_000)))
        );
        for wrong in [
            "",
            ",",
            "5",
            "5,4",
            "-1,2",
            "1e3,",
            "1.0000000001,",
            "+2,+1",
            ".,1",
        ] {
            assert!(parse_time_span(wrong).is_err(), "accepted {wrong:?}");
        }
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
    fn a_sysroot_and_a_perf_map_are_split_at_the_first_equals_sign() {
        let sysroot = |container: &str, dir: &str| Sysroot {
            container: container.into(),
            dir: dir.into(),
        };
        assert_eq!(parse_sysroot("web=/x=y"), Ok(sysroot("web", "/x=y")));
        assert_eq!(parse_perf_map("7=m.map"), Ok((7, "m.map".into())));
        for wrong in ["", "web", "=", "web=", "=/x"] {
            assert!(parse_sysroot(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "7", "7=", "=m", "0=m", "-7=m", "x=m"] {
            assert!(parse_perf_map(wrong).is_err(), "{wrong}");
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
