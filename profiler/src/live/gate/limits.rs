//! The gates that leave a recording possible but poorer, and the limits that it may run into.

use super::circumstances::Circumstances;
use super::finding::{Finding, GateId, Standing};
use super::hint::Opener;
use super::rights::works;
use super::surroundings::Surroundings;
use super::tried::{KernelSymbols, Tried};
use super::{Capability, Gate, Scope, hint};
use crate::container::HierarchyKind;
use crate::live::config::SampledEvent;
use std::error::Error;

/// Entries of a call chain below which stacks of ordinary programs are cut: the kernel's default
/// (include/uapi/linux/perf_event.h, `PERF_MAX_STACK_DEPTH`).
const STACK_ENTRIES: u32 = 127;
/// Samples a second that `record` takes unless it is told otherwise.
const RATE_HZ: u32 = 99;
/// Descriptors beside those of CPUs and mount namespaces: one for each sampled file, and our own.
const FILES_SAMPLED: u64 = 1024;
/// Descriptors without which nothing can be opened at all.
const FILES_OWN: u64 = 16;

pub(super) fn cycles(tried: &Tried) -> Finding {
    let needed = "a PMU";
    match tried.sampled() {
        Some(sampled) if sampled.event == SampledEvent::Cycles => {
            Finding::open(GateId::Cycles, "counted", needed)
        }
        Some(sampled) => {
            let gate = Gate::NoPmu {
                event: SampledEvent::Cycles.name(),
            };
            let without = format!(
                "sampled by {}: code that runs with interrupts off is not seen",
                sampled.event.name()
            );
            Finding::open(GateId::Cycles, gate.to_string(), needed)
                .but(Standing::Limits, without)
                .opened_by(
                    "in a virtual machine: its hypervisor's virtual PMU (`qemu -cpu host,pmu=on`)",
                )
        }
        None => untried(GateId::Cycles, needed),
    }
}

pub(super) fn locked_memory(here: &Circumstances, tried: &Tried) -> Finding {
    let needed = format!("{} KiB for each CPU", tried.ring_kib);
    if let Some(denied) = tried.refused_by(|gate| matches!(gate, Gate::MlockLimit { .. })) {
        let standing = match tried.host {
            Ok(_) => Standing::Limits,
            Err(_) => Standing::Closed,
        };
        let without = match tried.smaller_rings {
            Some(size) => format!(
                "smaller rings, and more samples lost under load: `ctrflame record -m {size} …`"
            ),
            None => works(tried),
        };
        let finding = Finding::open(GateId::LockedMemory, denied.gate.to_string(), needed)
            .but(standing, without);
        return match denied.hint() {
            Some(hint) => finding.opened_by(hint),
            None => finding,
        };
    }
    if here.may(Capability::IpcLock) {
        return Finding::open(GateId::LockedMemory, "no limit, with CAP_IPC_LOCK", needed);
    }
    let memlock = match here.memlock_bytes {
        Some(bytes) => format!("{} KiB", bytes / 1024),
        None => "no limit".to_owned(),
    };
    let found = match here.mlock_kb {
        Some(kib) => format!("{kib} KiB for each CPU, and RLIMIT_MEMLOCK: {memlock}"),
        None => format!("RLIMIT_MEMLOCK: {memlock}"),
    };
    match tried.sampled() {
        Some(_) => Finding::open(GateId::LockedMemory, found, needed),
        None => Finding {
            standing: Standing::Unknown,
            ..Finding::open(GateId::LockedMemory, found, needed)
        },
    }
}

pub(super) fn open_files(here: &Circumstances, tried: &Tried) -> Finding {
    let least = 2 * tried.cpus + FILES_OWN;
    let enough = least + 3 * tried.processes.mount_namespaces + FILES_SAMPLED;
    let needed = format!(
        "{enough}: 2 for each of {} CPUs, 3 for each of {} mount namespaces, 1 for each sampled file",
        tried.cpus, tried.processes.mount_namespaces
    );
    let hard = here.open_files_hard;
    let denied = tried.refused_by(|gate| matches!(gate, Gate::FileLimit { .. }));
    let found = match (denied, hard) {
        (Some(denied), _) => denied.gate.to_string(),
        (None, Some(hard)) => format!("{hard}, to which a recording raises its limit"),
        (None, None) => "no limit".to_owned(),
    };
    let finding = Finding::open(GateId::OpenFiles, found, needed);
    // A recording raises the soft one itself.
    let opener = hint::open_files_opener(hard, hard, here);
    match hard {
        _ if denied.is_some() => finding
            .but(Standing::Closed, works(tried))
            .opened_with(opener, here),
        Some(hard) if hard < least => finding
            .but(Standing::Closed, works(tried))
            .opened_with(opener, here),
        Some(hard) if hard < enough => finding
            .but(
                Standing::Limits,
                "frames of files that could not be held stay unnamed, which a note says",
            )
            .opened_with(opener, here),
        _ => finding,
    }
}

pub(super) fn sample_rate(here: &Circumstances, tried: &Tried) -> Finding {
    let needed = format!("at least {RATE_HZ}, the default of -F");
    let denied = tried.refused_by(|gate| matches!(gate, Gate::SampleRate { .. }));
    match here.max_rate_hz {
        Some(max_hz) if denied.is_some() || max_hz < RATE_HZ => {
            Finding::open(GateId::SampleRate, format!("{max_hz} Hz"), needed)
                .but(
                    Standing::Closed,
                    format!("`ctrflame record -F {max_hz} …`, fewer samples"),
                )
                .opened_by(hint::sysctl(
                    "kernel.perf_event_max_sample_rate",
                    100_000,
                    here,
                ))
        }
        Some(max_hz) => Finding::open(GateId::SampleRate, format!("{max_hz} Hz"), needed),
        None => untried(GateId::SampleRate, needed),
    }
}

pub(super) fn max_stack(here: &Circumstances) -> Finding {
    let needed =
        format!("at least {STACK_ENTRIES}, the kernel's and the program's frames together");
    match here.max_stack {
        Some(found) if found < STACK_ENTRIES => {
            Finding::open(GateId::MaxStack, format!("{found} entries"), needed)
                .but(
                    Standing::Limits,
                    "deeper stacks lose their root and are drawn below `[truncated stack]`",
                )
                .opened_by(hint::sysctl(
                    "kernel.perf_event_max_stack",
                    STACK_ENTRIES.into(),
                    here,
                ))
        }
        Some(found) => Finding::open(GateId::MaxStack, format!("{found} entries"), needed),
        None => untried(GateId::MaxStack, needed),
    }
}

pub(super) fn kernel_symbols(here: &Circumstances, tried: &Tried) -> Finding {
    let needed = "addresses in /proc/kallsyms: at most 1, and CAP_SYSLOG";
    let value = match here.kptr_restrict {
        Some(value) => format!("kernel.kptr_restrict is {value}"),
        None => "kernel.kptr_restrict is unknown".to_owned(),
    };
    let found = match &tried.kernel_symbols {
        KernelSymbols::Addresses => {
            let found = format!("{value}, /proc/kallsyms has addresses");
            return Finding::open(GateId::KernelSymbols, found, needed);
        }
        KernelSymbols::Zeros => format!("{value}, all addresses in /proc/kallsyms are zero"),
        KernelSymbols::Unreadable(error) => format!("cannot read /proc/kallsyms: {error}"),
    };
    let finding = Finding::open(GateId::KernelSymbols, found, needed)
        .but(Standing::Limits, "the kernel's frames stay unnamed");
    // kallsyms_show_value(): 2 hides them from everybody, less from those without CAP_SYSLOG.
    match (&tried.kernel_symbols, here.kptr_restrict) {
        (KernelSymbols::Unreadable(_), _) => {
            finding.opened_by("boot a kernel with CONFIG_KALLSYMS=y, mount /proc")
        }
        (_, Some(2..)) => finding.opened_by(hint::sysctl("kernel.kptr_restrict", 1, here)),
        _ if !here.may(Capability::Syslog) => finding.opened_with(
            hint::capabilities_opener(
                &[Capability::Syslog],
                here.held_in_user_namespace(Capability::Syslog),
                Scope::System,
                here,
            ),
            here,
        ),
        _ => finding.opened_by(hint::sysctl("kernel.kptr_restrict", 0, here)),
    }
}

pub(super) fn cgroups(here: &Circumstances, tried: &Tried) -> Finding {
    let needed = "the whole cgroup v2, or v1 with perf_event";
    let untold = "containers cannot be asked for by -G, and are not told apart";
    let hierarchy = match &tried.hierarchy {
        Ok(hierarchy) => hierarchy,
        Err(error) => {
            let finding = Finding::open(GateId::Cgroups, error.to_string(), needed)
                .but(Standing::Limits, untold);
            return match (here.surroundings, error.hint()) {
                (Surroundings::Host, Some(hint)) => finding.opened_by(hint),
                (Surroundings::Host, None) => finding,
                _ => finding.opened_with(host_cgroups(here), here),
            };
        }
    };
    let place = hierarchy.mount_point.display();
    let beside = match hierarchy.is_hybrid {
        true => ", others beside it",
        false => "",
    };
    let found = match hierarchy.kind {
        HierarchyKind::PerfEventV1 => format!("v1 perf_event at {place}{beside}"),
        HierarchyKind::Unified => format!("cgroup v2 at {place}{beside}"),
    };
    if !hierarchy.is_whole {
        return Finding::open(GateId::Cgroups, format!("only a part of {found}"), needed)
            .but(Standing::Limits, untold)
            .opened_with(host_cgroups(here), here);
    }
    match (&tried.host, &tried.cgroup) {
        (Ok(_), Some(Err(error))) => {
            let source = error.source().map(|source| format!(": {source}"));
            let found = format!("{found}: {error}{}", source.unwrap_or_default());
            let finding = Finding::open(GateId::Cgroups, found, needed)
                .but(Standing::Limits, "`-a` works, `-G` does not");
            match error.hint() {
                Some(hint) => finding.opened_by(hint),
                None => finding,
            }
        }
        _ => Finding::open(GateId::Cgroups, found, needed),
    }
}

fn host_cgroups(here: &Circumstances) -> Opener {
    let or = match here.surroundings {
        Surroundings::Kubernetes => {
            "in the pod's spec: `volumes: [{name: cgroup, hostPath: {path: /sys/fs/cgroup}}]`, \
             mounted at /sys/fs/cgroup"
        }
        _ => "start ctrflame in the host's cgroup namespace, with the host's /sys/fs/cgroup",
    };
    let flags = ["--cgroupns host", "-v /sys/fs/cgroup:/sys/fs/cgroup:ro"];
    hint::by_flags(&flags, here, or)
}

pub(super) fn sample_cgroup(tried: &Tried) -> Finding {
    let needed = "PERF_SAMPLE_CGROUP: Linux 5.7 with CONFIG_CGROUP_PERF";
    match tried.sampled() {
        Some(sampled) if sampled.with_cgroups => {
            Finding::open(GateId::SampleCgroup, "each sample tells its cgroup", needed)
        }
        Some(_) => Finding::open(GateId::SampleCgroup, "samples tell no cgroup", needed)
            .but(
                Standing::Limits,
                "a process is in the container in which /proc first shows it; one that is gone \
                 by then is the host's",
            )
            .opened_by("boot Linux 5.7 or later with CONFIG_CGROUP_PERF=y"),
        None => untried(GateId::SampleCgroup, needed),
    }
}

pub(super) fn mount_namespaces(here: &Circumstances, tried: &Tried) -> Finding {
    let needed = "/proc/PID/root and ns/mnt of every process";
    let processes = &tried.processes;
    let reached = processes.seen.saturating_sub(processes.refused);
    let namespaces = match processes.mount_namespaces {
        1 => "1 mount namespace".to_owned(),
        several => format!("{several} mount namespaces"),
    };
    let found = format!("{reached} of {} processes, in {namespaces}", processes.seen);
    let Some(refused) = processes.first_refused else {
        return Finding::open(GateId::MountNamespaces, found, needed);
    };
    let found = format!("{found}; refused for pid {}", refused.0);
    let opener = match here.may(Capability::SysPtrace) {
        true => hint::lsm_opener(here),
        false => hint::capabilities_opener(
            &[Capability::SysPtrace],
            here.held_in_user_namespace(Capability::SysPtrace),
            Scope::System,
            here,
        ),
    };
    Finding::open(GateId::MountNamespaces, found, needed)
        .but(
            Standing::Limits,
            "frames of the processes that refuse stay unnamed",
        )
        .opened_with(opener, here)
}

const UNTRIED: &str = "could not be tried: another gate is shut";

fn untried(gate: GateId, needed: impl Into<String>) -> Finding {
    Finding {
        standing: Standing::Unknown,
        ..Finding::open(gate, UNTRIED, needed)
    }
}
