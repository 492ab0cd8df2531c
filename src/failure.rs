//! All that ends ctrflame without its picture: what it is, what the user can do, the exit status.

use crate::cli::{CallGraphArg, DEFAULT_INPUT};
use crate::input;
use crate::lookup::LookupError;
use crate::output::OutputError;
use crate::vmlinux::NotVmlinux;
use collapse::text::TextError;
use flamegraph_web::SvgError;
use profiler::container::{ContainerError, HierarchyError};
use profiler::live::LiveError;
use profiler::perfdata::PerfDataError;
use std::io;
use std::path::{Path, PathBuf};

/// ctrflame itself failed.
pub(crate) const FAILED: u8 = 125;
/// The command was found and could not be run; it was not found (as env(1) and timeout(1)).
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Anything that ends ctrflame without its picture.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Hierarchy(#[from] HierarchyError),
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error("cannot open {}", path.display())]
    OpenInput { path: PathBuf, source: io::Error },
    #[error("{} is empty", path.display())]
    EmptyFile { path: PathBuf },
    #[error("{input}")]
    Recording {
        input: String,
        /// Samples that were read before it.
        samples_before: u64,
        source: PerfDataError,
    },
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Vmlinux(#[from] NotVmlinux),
    #[error("{input}")]
    Text { input: String, source: TextError },
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("{flag} is for recordings: a text does not tell all that it needs")]
    FlagOfRecordings { flag: &'static str },
    #[error("cannot draw the picture")]
    Svg(#[from] SvgError),
    #[error("the recording has no {0}")]
    NotRecorded(&'static str, CallGraphArg),
    #[error("cannot block signals")]
    Signals(#[source] io::Error),
    #[cfg(feature = "tui")]
    #[error("cannot use the terminal")]
    Terminal(#[source] io::Error),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("cannot list the processes of this host")]
    Processes(#[source] io::Error),
    #[error("no JVM {}", if targets.is_empty() { "runs here" } else { "in what was named" })]
    NoJvm { targets: String },
    #[error("{}", said_of_missing(pids, container.as_deref()))]
    NoProcess {
        pids: Vec<u32>,
        /// In which these are the pids.
        container: Option<String>,
    },
    #[error("{} ended before there was anything to say", what.join(", "))]
    Gone { what: Vec<String> },
    #[error("cannot answer who asked")]
    Worker(#[source] io::Error),
    #[error("cannot write to standard output")]
    Answer(#[source] io::Error),
}

impl Failure {
    /// A recording that cannot be opened, or not be read after `samples_before` samples.
    pub(crate) fn recording(input: &Path, samples_before: u64, error: PerfDataError) -> Self {
        match error {
            PerfDataError::Open { path, source } => Self::OpenInput { path, source },
            source => Self::Recording {
                input: input::shown(input),
                samples_before,
                source,
            },
        }
    }

    /// A text that cannot be read.
    pub(crate) fn text(input: &Path, source: TextError) -> Self {
        Self::Text {
            input: input::shown(input),
            source,
        }
    }

    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Container(error @ ContainerError::NotFound { candidates, .. })
                if !candidates.is_empty() && !nix::unistd::geteuid().is_root() =>
            {
                Some(format!(
                    "most names are root's to read, `sudo ctrflame …` knows them; or {}",
                    error.hint()
                ))
            }
            Self::Container(error) => Some(error.hint()),
            Self::Hierarchy(error) => error.hint().map(str::to_owned),
            Self::Live(error) => error.hint(),
            Self::Lookup(error) => Some(error.hint().to_owned()),
            Self::Vmlinux(error) => Some(error.hint().to_owned()),
            Self::Output(error) => error.hint(),
            Self::OpenInput { path, source } => open_hint(path, source).map(str::to_owned),
            Self::EmptyFile { .. } => Some(
                "was the recording stopped before it began, or the disk full? record again".into(),
            ),
            Self::Text { source, .. } => source.hint(),
            Self::FlagOfRecordings { flag } => Some(match flag_of_perf_script(flag) {
                Some(its) => format!(
                    "give the perf.data itself, or choose when the text is made: `perf script` has {its}"
                ),
                None => "give the perf.data itself".to_owned(),
            }),
            Self::Recording {
                source,
                samples_before,
                ..
            } if source.is_damage() => Some(damage_hint(*samples_before).to_owned()),
            Self::Recording { source, .. } => source.hint().map(str::to_owned),
            Self::NoJvm { targets } if !targets.is_empty() => Some(
                "`ctrflame jvm status` lists all JVMs that are ours to see; as root, all".into(),
            ),
            Self::NoJvm { .. } => Some("others' processes are seen as root".into()),
            #[cfg(feature = "tui")]
            Self::Terminal(_) => Some("`ctrflame top --batch` needs none".into()),
            Self::NoProcess { container, .. } => Some(match container {
                Some(_) => "list all of it with `ctrflame ps -G WHAT`; the pids of the host go without -G".into(),
                None => "pids are the host's; those inside go with their container: `ctrflame ps -G WHAT PID`".into(),
            }),
            Self::Gone { .. } => {
                Some("a shorter --duration, or `ctrflame ps` for what runs".into())
            }
            Self::NotRecorded(_, CallGraphArg::Lbr) => {
                Some("leave --call-graph out; `perf record --call-graph lbr` records them".into())
            }
            Self::NotRecorded(..) => {
                Some("leave --call-graph out; `perf record --call-graph dwarf` records them".into())
            }
            _ => None,
        }
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Live(LiveError::Command { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                NOT_FOUND
            }
            Self::Live(LiveError::Command { .. }) => CANNOT_RUN,
            _ => FAILED,
        }
    }
}

fn said_of_missing(pids: &[u32], container: Option<&str>) -> String {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let pids = pids.join(", ");
    match container {
        Some(container) => format!(
            "no process of {} calls itself {pids}",
            collapse::clean_line(container, 200)
        ),
        None => format!("no process {pids} runs"),
    }
}

/// Where samples came before the damage the flag was not given: it would have drawn them.
fn damage_hint(samples_before: u64) -> &'static str {
    match samples_before {
        0 => {
            "nothing to draw came before the damage: copy the file again from where it was recorded, or record again"
        }
        _ => "`--allow-damaged` draws what came before the damage",
    }
}

/// What `perf script` has for a flag that a text cannot be asked.
fn flag_of_perf_script(flag: &str) -> Option<&str> {
    match flag {
        "--comm" => Some("--comms"),
        "--pid" | "--tid" | "--cpu" | "--time" | "--symfs" | "--kallsyms" => Some(flag),
        _ => None,
    }
}

fn open_hint(path: &Path, source: &io::Error) -> Option<&'static str> {
    match source.kind() {
        io::ErrorKind::NotFound if path == Path::new(DEFAULT_INPUT) => Some(
            "give a recording or a text of stacks, or make one here: `ctrflame record -o perf.data`, `perf record -g`",
        ),
        io::ErrorKind::NotFound => {
            Some("give the path of a perf.data or of a text of stacks, or - for standard input")
        }
        io::ErrorKind::PermissionDenied => Some(
            "perf writes recordings for their owner alone (mode 0600): convert it as that user or as root, or let \
             others read it with `chmod a+r`",
        ),
        _ => None,
    }
}
