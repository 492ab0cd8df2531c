//! Which gates a recording would meet: tries what a recording does, and undoes it.

use super::config::{Config, KernelSamples, RingSize, Stop, Target, UserPart};
use super::gate::{
    self, Circumstances, Finding, Gate, KernelSymbols, Processes, Sampled, SeenHierarchy, Standing,
    Tried,
};
use super::open_files::OpenFiles;
use super::opened::{Opened, page_bytes};
use super::ring::{SAMPLING_RING_BYTES, rings_of_cpu};
use super::{LiveError, cpus, procfs};
use crate::HostPid;
use crate::container::Hierarchy;
use crate::files::RootIdentity;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Samples a second of a recording that is not told otherwise. More would not be another permission.
const RATE_HZ: u64 = 99;
/// Rings that fit into the kernel's default budget (516 KiB for each CPU), and how `-m` takes them.
const SMALLER_RINGS: (usize, &str) = (128 << 10, "128K");
/// As much of `/proc/kallsyms` as tells whether addresses are zero: some are in truth, the first
/// per-CPU symbols.
const KALLSYMS_BYTES: usize = 64 << 10;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// What `record` can record.
    pub records: Records,
    /// Each gate, in a fixed order.
    pub findings: Vec<Finding>,
    /// Where several are opened by flags of the container that we run in: all those flags.
    pub opens_all: Option<String>,
}

/// What `record` can record: tried, but for what a wider recording proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    /// `-a`: the events of the whole host could be opened and their rings be mapped.
    pub host: bool,
    /// `-G`: the events of a cgroup.
    pub container: bool,
    /// A command of one's own.
    pub command: bool,
    /// The same with `--no-kernel`.
    pub command_without_kernel: bool,
}

impl Survey {
    /// Whether the host and its containers can be recorded, as the worst of the gates says.
    pub fn standing(&self) -> Standing {
        let standings = self.findings.iter().map(|finding| finding.standing);
        standings.max().unwrap_or(Standing::Unknown)
    }
}

/// Looks at every gate. Opens events as a recording does, disabled, and closes them.
pub fn survey() -> Survey {
    let here = Circumstances::of_this_thread();
    // As a recording does; where the limit cannot be read, it is met as it is.
    let before = OpenFiles::raise();
    let tried = try_all();
    if let Ok(before) = before {
        before.put_back();
    }
    let findings = gate::findings(&here, &tried);
    Survey {
        records: Records {
            host: tried.host.is_ok(),
            container: matches!(tried.cgroup, Some(Ok(_))),
            command: tried.command.is_ok(),
            command_without_kernel: tried.command_without_kernel.is_ok(),
        },
        opens_all: gate::opens_all(&findings, &here),
        findings,
    }
}

fn try_all() -> Tried {
    let online = cpus::online();
    let hierarchy = Hierarchy::discover();
    let (host, cgroup, command, command_without_kernel) = match &online {
        Err(error) => {
            let unknown = || {
                Err(LiveError::Cpus {
                    source: again(error),
                })
            };
            (unknown(), None, unknown(), unknown())
        }
        Ok(online) => {
            let host = open(online, Target::Host, KernelSamples::Include, None);
            // Whether a cgroup may be asked for is the same question on every CPU.
            let first = online.get(..1).unwrap_or_default();
            let cgroup = hierarchy.as_ref().ok().map(|hierarchy| {
                let directory = hierarchy.top();
                open(
                    first,
                    Target::Cgroup(directory),
                    KernelSamples::Include,
                    None,
                )
            });
            match host {
                // Whoever may record all may record one; nothing else is opened for it.
                Ok(sampled) => (Ok(sampled), cgroup, Ok(sampled), Ok(sampled)),
                Err(refused) => {
                    let own = |kernel| open(online, Target::Command, kernel, None);
                    let command = own(KernelSamples::Include);
                    let without_kernel = own(KernelSamples::Exclude);
                    (Err(refused), cgroup, command, without_kernel)
                }
            }
        }
    };
    let mut tried = Tried {
        cpus: online.as_ref().map_or(1, |online| online.len() as u64),
        ring_kib: (rings_of_cpu(SAMPLING_RING_BYTES, page_bytes()) as u64).div_ceil(1024),
        host,
        cgroup,
        command,
        command_without_kernel,
        smaller_rings: None,
        hierarchy: hierarchy.map(|hierarchy| seen(&hierarchy)),
        kernel_symbols: kernel_symbols(),
        processes: processes(),
    };
    if let (Some(denied), Ok(online)) = (tried.refused_by(is_mlock), &online) {
        let (bytes, size) = SMALLER_RINGS;
        let (target, kernel) = match denied.attempt.scope {
            gate::Scope::System | gate::Scope::Cgroup => (Target::Host, denied.attempt.kernel),
            _ => (Target::Command, denied.attempt.kernel),
        };
        let fits = open(online, target, kernel, Some(RingSize::Bytes(bytes)));
        tried.smaller_rings = fits.is_ok().then_some(size);
    }
    tried
}

fn is_mlock(gate: &Gate) -> bool {
    matches!(gate, Gate::MlockLimit { .. })
}

/// Opens the events and maps the rings of a recording; closes them.
fn open(
    cpus: &[u32],
    target: Target,
    kernel: KernelSamples,
    ring: Option<RingSize>,
) -> Result<Sampled, LiveError> {
    let config = Config {
        target,
        rate_hz: RATE_HZ,
        event: None,
        kernel,
        user: UserPart::ChainOnly,
        ring,
        stop: Stop::Signal,
    };
    // Of a command only its task counts, and that its events wait for an exec: so do ours.
    let ourselves = HostPid(nix::unistd::gettid().as_raw().cast_unsigned());
    let opened = Opened::open_on(cpus, &config, Some(ourselves))?;
    Ok(Sampled {
        event: opened.event(),
        with_cgroups: opened.tells_cgroups(),
    })
}

fn seen(hierarchy: &Hierarchy) -> SeenHierarchy {
    SeenHierarchy {
        kind: hierarchy.kind(),
        mount_point: hierarchy.mount_point().to_owned(),
        is_hybrid: hierarchy.is_hybrid(),
        is_whole: hierarchy.is_whole(),
    }
}

fn kernel_symbols() -> KernelSymbols {
    let mut beginning = Vec::new();
    let read = File::open(Path::new(procfs::PROC).join("kallsyms"))
        .and_then(|file| file.take(KALLSYMS_BYTES as u64).read_to_end(&mut beginning));
    match read {
        Err(error) => KernelSymbols::Unreadable(error),
        Ok(0) => KernelSymbols::Unreadable(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) if has_addresses(&beginning) => KernelSymbols::Addresses,
        Ok(_) => KernelSymbols::Zeros,
    }
}

/// Whether a line's first field is more than zeros.
fn has_addresses(kallsyms: &[u8]) -> bool {
    kallsyms
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').next())
        .any(|addr| addr.iter().any(|digit| *digit != b'0'))
}

/// Looks at every process as a recording does at its first sample.
fn processes() -> Processes {
    let mut found = Processes::default();
    let mut namespaces = BTreeSet::new();
    for pid in procfs::pids().unwrap_or_default() {
        match RootIdentity::of_process(pid) {
            Ok(root) => {
                namespaces.insert(root.mnt_ns.0);
            }
            Err(error) if error.is_denied() => {
                found.refused += 1;
                found.first_refused = found.first_refused.or(Some(pid));
            }
            // It has ended since.
            Err(_) => continue,
        }
        found.seen += 1;
    }
    found.mount_namespaces = namespaces.len() as u64;
    found
}

/// The same error, for another answer.
fn again(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kallsyms_tell_addresses_or_zeros_only() {
        let hidden = b"0000000000000000 T _stext\n0000000000000000 A fixed_percpu_data\n00000";
        assert!(!has_addresses(hidden));
        let told = b"0000000000000000 A fixed_percpu_data\nffffffff81000000 T _stext\n";
        assert!(has_addresses(told));
        assert!(!has_addresses(b""));
    }
}
