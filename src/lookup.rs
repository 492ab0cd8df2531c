//! Where the names of a recording in a file come from: the flags, what this host has, and whether it is the
//! host that was recorded.

use crate::chosen::Chosen;
use crate::cli::SourceArgs;
use crate::debuginfod::{Debuginfod, Fetched};
use crate::kernel::{RecordedKernel, Running};
use crate::report;
use profiler::BuildId;
use profiler::container::Names;
use profiler::files::FileError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use symbolizer::{Inlines, Lookup, LookupPlaces, RecordedOn};

/// A place of names that the user gave cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error("{flag}: `{}` cannot be used", path.display())]
    Place {
        flag: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("--kallsyms: `{}` shows no addresses: all of its {symbols} symbols are at zero", path.display())]
    KernelHidden { path: PathBuf, symbols: u64 },
    #[error("--kallsyms: `{}` has no kernel symbols", path.display())]
    NoKernel { path: PathBuf },
    #[error(
        "--kallsyms: `{}` has {symbol} at {found:#x}, the recorded kernel had it at {recorded:#x}",
        path.display()
    )]
    AnotherKernel {
        path: PathBuf,
        symbol: String,
        found: u64,
        recorded: u64,
    },
    #[error("cannot open the places where names are")]
    Open(#[from] FileError),
}

impl LookupError {
    /// What the user can do.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Place {
                flag: "--perf-map" | "--kallsyms",
                ..
            } => "give a regular file that can be read",
            Self::Place { .. } => {
                "give the directory that is to stand for /: one with usr, lib and so on in it"
            }
            Self::KernelHidden { .. } => {
                "copy /proc/kallsyms again as root, after `sysctl kernel.kptr_restrict=1`"
            }
            Self::NoKernel { .. } => "give a copy of /proc/kallsyms",
            Self::AnotherKernel { .. } => {
                "give a copy of /proc/kallsyms that was made since the boot that was recorded: each boot puts the \
                 kernel elsewhere"
            }
            Self::Open(_) => "can it be read?",
        }
    }
}

/// What the flags say of names, checked as far as it can be before anything is read.
pub(crate) struct Sources {
    pub(crate) chosen: Arc<Chosen>,
    pub(crate) lookup: Lookup,
    /// What `--kallsyms` names.
    pub(crate) kallsyms: Option<PathBuf>,
    /// What `--vmlinux` names.
    pub(crate) vmlinux: Option<PathBuf>,
    /// Whether the user gave any place of names: those go before what a recording says itself.
    pub(crate) are_given: bool,
}

impl Sources {
    pub(crate) fn new(args: &SourceArgs) -> Result<Self, LookupError> {
        for dir in args.symfs.iter() {
            check("--symfs", dir, Kind::Directory)?;
        }
        for sysroot in &args.sysroots {
            check("--sysroot", &sysroot.dir, Kind::Directory)?;
        }
        let mut perf_maps = Vec::new();
        for (pid, file) in &args.perf_maps {
            check("--perf-map", file, Kind::File)?;
            let absolute = std::path::absolute(file).map_err(|source| LookupError::Place {
                flag: "--perf-map",
                path: file.clone(),
                source,
            })?;
            perf_maps.push((*pid, absolute));
        }
        let sysroots = args.sysroots.iter();
        let chosen = Arc::new(Chosen::new(
            Names::load(Path::new("/")),
            args.containers.clone(),
            sysroots.clone().map(|one| one.container.clone()).collect(),
        ));
        let asked = Arc::clone(&chosen);
        let lookup = Lookup::open(LookupPlaces {
            symfs: args.symfs.clone(),
            sysroots: sysroots.map(|one| one.dir.clone()).collect(),
            sysroot_of: (!args.sysroots.is_empty()).then(|| -> symbolizer::SysrootOf {
                Arc::new(move |place| asked.sysroots_of(place))
            }),
            perf_maps,
            build_id_dirs: build_id_dirs(),
        })?
        .with_inlines(inlines(args.no_inline));
        let lookup = debuginfod(lookup, args.no_debuginfod);
        Ok(Self {
            chosen,
            lookup,
            kallsyms: args.kallsyms.clone(),
            vmlinux: args.vmlinux.clone(),
            are_given: args.symfs.is_some()
                || args.kallsyms.is_some()
                || args.vmlinux.is_some()
                || !args.sysroots.is_empty()
                || !args.perf_maps.is_empty(),
        })
    }
}

/// What `--no-inline` says.
pub(crate) fn inlines(no_inline: bool) -> Inlines {
    match no_inline {
        true => Inlines::Dropped,
        false => Inlines::Named,
    }
}

/// The same places of names with debuginfod's, where the environment asks for it and the user does not say no.
pub(crate) fn debuginfod(lookup: Lookup, no_debuginfod: bool) -> Lookup {
    let asked = match no_debuginfod {
        true => None,
        false => Debuginfod::of(|name| std::env::var_os(name)),
    };
    let Some(asked) = asked else {
        return lookup;
    };
    let fetcher = asked.clone();
    let fetch = move |ids: &[BuildId]| {
        report::fetching(ids.len());
        let Fetched { here, failed } = fetcher.fetch(ids);
        symbolizer::Fetched { here, failed }
    };
    let cached = asked.cache().map_err(|error| error.to_string());
    let with = cached.and_then(|cache| {
        let with = lookup.clone().with_fetched(cache, Arc::new(fetch));
        with.map_err(|error| error.to_string())
    });
    with.unwrap_or_else(|error| {
        report::no_cache(&error);
        lookup
    })
}

/// What a flag takes.
#[derive(Clone, Copy)]
enum Kind {
    Directory,
    File,
}

fn check(flag: &'static str, path: &Path, kind: Kind) -> Result<(), LookupError> {
    let wrong = match (path.metadata(), kind) {
        (Ok(found), Kind::Directory) if found.is_dir() => return Ok(()),
        (Ok(found), Kind::File) if found.is_file() => return Ok(()),
        (Ok(_), Kind::Directory) => io::ErrorKind::NotADirectory.into(),
        (Ok(_), Kind::File) => io::Error::other("not a regular file"),
        (Err(error), _) => error,
    };
    Err(LookupError::Place {
        flag,
        path: path.to_owned(),
        source: wrong,
    })
}

/// Where `perf record` keeps copies of what it hit, unless it was configured otherwise
/// (`set_buildid_dir()`, tools/perf/util/config.c).
fn build_id_dirs() -> Vec<PathBuf> {
    std::env::home_dir()
        .map(|home| home.join(".debug"))
        .into_iter()
        .collect()
}

/// Whether a recording is of this host, and of this boot of it: by the host's name, by the kernel, by its
/// time. Says nothing about any one process.
pub(crate) fn recorded_on(kernel: &RecordedKernel<'_>, running: &Running) -> RecordedOn {
    if kernel.is_elsewhere() {
        RecordedOn::Elsewhere
    } else if running.is_recorded() {
        RecordedOn::Here
    } else {
        RecordedOn::Unknown
    }
}
