//! `--vmlinux`: the recorded kernel's own image, if that is what the file is.

use crate::kallsyms::KernelText;
use crate::kernel::{RecordedKernel, Running};
use profiler::BuildId;
use profiler::live;
use std::path::{Path, PathBuf};
use symbolizer::{Vmlinux, VmlinuxError};

/// Where a kernel begins, as kallsyms and perf's mapping of it call that.
const TEXT: &str = "_text";

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotVmlinux {
    #[error("--vmlinux: `{}` cannot be used", path.display())]
    Unusable { path: PathBuf, source: VmlinuxError },
    #[error(
        "--vmlinux: `{}` is of another kernel: its build id is {found}, that of the recorded one {recorded}",
        path.display()
    )]
    AnotherBuild {
        path: PathBuf,
        found: BuildId,
        recorded: BuildId,
    },
    #[error("--vmlinux: nothing tells the build id of the recorded kernel")]
    Unchecked,
    #[error("--vmlinux: `{}` has no {symbol}", path.display())]
    NoText { path: PathBuf, symbol: String },
    #[error("--vmlinux: nothing tells where the recorded kernel lay")]
    Unplaced,
}

impl NotVmlinux {
    /// What the user can do.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Unusable {
                source: VmlinuxError::File(_),
                ..
            } => "give a file that can be read",
            Self::Unusable { .. } | Self::NoText { .. } => {
                "give the uncompressed vmlinux with its symbols, of the kernel's debug package or its build"
            }
            Self::AnotherBuild { .. } => {
                "give the vmlinux of exactly that build: `file vmlinux` prints a build id"
            }
            Self::Unchecked => "give --kallsyms, a copy of its /proc/kallsyms, instead",
            Self::Unplaced => {
                "run with CAP_SYSLOG and `sysctl kernel.kptr_restrict=1`: each boot puts the kernel elsewhere"
            }
        }
    }
}

/// A kernel as it was booted.
struct Booted<'a> {
    build_id: Option<BuildId>,
    /// Where this symbol lay.
    text: Option<(&'a str, u64)>,
}

/// The image of the kernel that runs here.
pub(crate) fn of_this_host(path: Option<&Path>) -> Result<Option<Vmlinux>, NotVmlinux> {
    let Some(path) = path else {
        return Ok(None);
    };
    let here = Booted {
        build_id: live::kernel_build_id(),
        text: KernelText::running()
            .ok()
            .and_then(|mut kallsyms| text_in(&mut kallsyms)),
    };
    given(path, &here).map(Some)
}

/// The image of the kernel that was recorded.
pub(crate) fn of_recording(
    path: Option<&Path>,
    recorded: &RecordedKernel<'_>,
    running: &mut Running,
) -> Result<Option<Vmlinux>, NotVmlinux> {
    let Some(path) = path else {
        return Ok(None);
    };
    let is_here = running.is_recorded();
    let own = || is_here.then(live::kernel_build_id).flatten();
    let mut here = || is_here.then(|| text_in(running.kallsyms())).flatten();
    let booted = Booted {
        build_id: recorded.build_id().or_else(own),
        text: recorded.text().or_else(&mut here),
    };
    given(path, &booted).map(Some)
}

fn text_in(kallsyms: &mut KernelText) -> Option<(&'static str, u64)> {
    let found = kallsyms.address_of(TEXT).filter(|found| *found != 0);
    found.map(|found| (TEXT, found))
}

fn given(path: &Path, booted: &Booted<'_>) -> Result<Vmlinux, NotVmlinux> {
    let unusable = |source| NotVmlinux::Unusable {
        path: path.to_owned(),
        source,
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let vmlinux = Vmlinux::open(&absolute).map_err(unusable)?;
    let recorded = booted.build_id.ok_or(NotVmlinux::Unchecked)?;
    if !recorded.matches(&vmlinux.build_id()) {
        return Err(NotVmlinux::AnotherBuild {
            path: path.to_owned(),
            found: vmlinux.build_id(),
            recorded,
        });
    }
    let (symbol, at) = booted.text.ok_or(NotVmlinux::Unplaced)?;
    let linked = vmlinux.address_of(symbol).map_err(unusable)?;
    let linked = linked.ok_or_else(|| NotVmlinux::NoText {
        path: path.to_owned(),
        symbol: symbol.to_owned(),
    })?;
    Ok(vmlinux.moved_by(at.wrapping_sub(linked)))
}
