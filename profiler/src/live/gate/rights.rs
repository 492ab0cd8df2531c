//! The gates that let a user pass or not: where we run, filters, capabilities, the sysctl, security modules.

use super::circumstances::{Circumstances, UserNamespace};
use super::finding::{Finding, GateId, Standing};
use super::hint;
use super::surroundings::Surroundings;
use super::tried::Tried;
use super::{
    Attempt, Capability, Gate, HeldInUserNamespace, NamespaceRecords, Scope, Step, missing_words,
    refused_by_privilege,
};
use crate::live::LiveError;
use crate::live::config::{KernelSamples, SampledEvent};
use std::error::Error;

/// What recording the host asks for.
const HOST: Attempt = Attempt {
    step: Step::Open,
    scope: Scope::System,
    kernel: KernelSamples::Include,
    namespaces: NamespaceRecords::Left,
    event: SampledEvent::CpuClock,
    rate_hz: None,
};

pub(super) fn pid_namespace(here: &Circumstances) -> Finding {
    let place = here.surroundings.name();
    let needed = "the host's pid namespace";
    if here.sees_host_pids != Some(false) {
        return Finding::open(GateId::PidNamespace, place, needed);
    }
    let found = match here.surroundings {
        Surroundings::Host => "in a pid namespace of its own".to_owned(),
        _ => format!("{place}, in a pid namespace of its own"),
    };
    let or = match here.surroundings {
        Surroundings::Kubernetes => "in the pod's spec: `hostPID: true`",
        _ => "start ctrflame outside of this pid namespace",
    };
    // perf_event_pid(): a task outside of the opener's namespace has the pid 0, as idle has.
    Finding::open(GateId::PidNamespace, found, needed)
        .but(
            Standing::Closed,
            "only the processes in this pid namespace are drawn, all others count as idle",
        )
        .opened_with(hint::by_flags(&["--pid host"], here, or), here)
}

pub(super) fn seccomp(here: &Circumstances, tried: &Tried) -> Finding {
    let needed = "no filter on perf_event_open";
    if let Some(denied) = tried.refused_by(|gate| *gate == Gate::Seccomp) {
        let without = match here.surroundings {
            Surroundings::Host => "nothing",
            _ => "nothing in here: record on the host",
        };
        return Finding::open(GateId::Seccomp, denied.gate.to_string(), needed)
            .but(Standing::Closed, without)
            .opened_with(hint::seccomp_opener(here), here);
    }
    let found = match here.seccomp_mode {
        Some(0) => "no filter",
        Some(_) => "a filter, which lets perf_event_open pass",
        None => "unknown",
    };
    Finding::open(GateId::Seccomp, found, needed)
}

/// What is lost without a capability.
fn loss(capability: Capability) -> &'static str {
    match capability {
        Capability::Perfmon => "frames of very short processes may stay unnamed",
        Capability::SysPtrace => "frames of other users' processes stay unnamed",
        Capability::Syslog => "the kernel's frames stay unnamed",
        Capability::CheckpointRestore => "files that were deleted or replaced stay unnamed",
        _ => "frames in files that only other users may read stay unnamed",
    }
}

pub(super) fn capabilities(here: &Circumstances, tried: &Tried) -> Finding {
    let wanted = [
        here.perfmon(),
        Capability::SysPtrace,
        here.checkpoint_restore(),
        Capability::Syslog,
        Capability::DacReadSearch,
    ];
    let mut missing: Vec<Capability> = Vec::new();
    for capability in wanted {
        if !here.may(capability) && !missing.contains(&capability) {
            missing.push(capability);
        }
    }
    let refused = match refused_privilege(here, tried) {
        Some(Gate::MissingCapability { needed, .. }) => {
            if !missing.contains(&needed) {
                missing.insert(0, needed);
            }
            Refused::Yes
        }
        _ => Refused::No,
    };
    let needed = wanted_words(&wanted);
    if missing.is_empty() {
        let found = match here.may(Capability::SysAdmin) {
            true => "all that are used",
            false => {
                "all but CAP_SYS_ADMIN, by which only the host names of containers would be read"
            }
        };
        return Finding::open(GateId::Capabilities, found, needed);
    }
    let held = match here.user_namespace {
        UserNamespace::Nested if missing.iter().any(|one| here.holds(*one)) => {
            HeldInUserNamespace::Yes
        }
        _ => HeldInUserNamespace::No,
    };
    let (standing, without) = match refused {
        Refused::Yes => (Standing::Closed, works(tried)),
        Refused::No => {
            let lost: Vec<&str> = missing.iter().map(|one| loss(*one)).collect();
            (Standing::Limits, lost.join("; "))
        }
    };
    let opener = hint::capabilities_opener(&missing, held, Scope::System, here);
    Finding::open(GateId::Capabilities, missing_words(&missing, held), needed)
        .but(standing, without)
        .opened_with(opener, here)
}

enum Refused {
    Yes,
    No,
}

fn wanted_words(wanted: &[Capability]) -> String {
    let mut names: Vec<String> = Vec::new();
    for capability in wanted {
        let name = format!("CAP_{}", capability.name());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    format!("{}, in the host's user namespace", names.join(", "))
}

pub(super) fn paranoid(here: &Circumstances, tried: &Tried) -> Finding {
    let needed = "at most 0, or CAP_PERFMON";
    let Some(value) = here.paranoid else {
        let found = "there is none: the kernel has no perf events, or /proc is not mounted";
        return Finding {
            standing: Standing::Unknown,
            ..Finding::open(GateId::Paranoid, found, needed)
        };
    };
    match refused_privilege(here, tried) {
        Some(gate @ Gate::Paranoid { .. }) => {
            Finding::open(GateId::Paranoid, gate.to_string(), needed)
                .but(Standing::Closed, works(tried))
                .opened_by(hint::opens_paranoid(HOST.scope, 0))
        }
        _ if value > 0 && here.may(Capability::Perfmon) => Finding::open(
            GateId::Paranoid,
            match here.counts(Capability::Perfmon) {
                true => format!("{value}, which CAP_PERFMON passes"),
                false => format!("{value}, which CAP_SYS_ADMIN passes"),
            },
            needed,
        ),
        _ => Finding::open(GateId::Paranoid, value.to_string(), needed),
    }
}

pub(super) fn lsm(here: &Circumstances, tried: &Tried) -> Finding {
    let needed = "none that refuses perf_event_open";
    if let Some(denied) = tried.refused_by(|gate| matches!(gate, Gate::Lsm { .. })) {
        return Finding::open(GateId::Lsm, denied.gate.to_string(), needed)
            .but(Standing::Closed, works(tried))
            .opened_with(hint::lsm_opener(here), here);
    }
    let found = match &here.lsm {
        Some(active) => format!("active: {active}"),
        None => "the active ones are unknown: securityfs is not mounted".to_owned(),
    };
    let found = match &here.label {
        Some(label) => format!("{found}; we are {label}"),
        None => found,
    };
    let finding = Finding::open(GateId::Lsm, found, needed);
    match &tried.host {
        Ok(_) => finding,
        Err(_) => Finding {
            standing: Standing::Unknown,
            ..finding
        },
    }
}

/// The kernel's perf events, and every refusal that no other gate answers for.
pub(super) fn perf_events(here: &Circumstances, tried: &Tried) -> Finding {
    let needed = "a kernel with CONFIG_PERF_EVENTS";
    let closed = |found: String, hint: Option<String>| {
        let finding =
            Finding::open(GateId::PerfEvents, found, needed).but(Standing::Closed, works(tried));
        match hint {
            Some(hint) => finding.opened_by(hint),
            None => finding,
        }
    };
    match &tried.host {
        Ok(_) => {
            let found = format!(
                "opened for the whole host, {} KiB of rings mapped on each of {} CPUs",
                tried.ring_kib, tried.cpus
            );
            Finding::open(GateId::PerfEvents, found, needed)
        }
        Err(LiveError::Denied(denied)) => match &denied.gate {
            Gate::NotSupported { .. }
            | Gate::NoPmu { .. }
            | Gate::SystemFileLimit
            | Gate::Unexplained => {
                let mut found = denied.gate.to_string();
                if let (Gate::Unexplained, Some(source)) = (&denied.gate, denied.source()) {
                    found.push_str(&format!(": {source}"));
                }
                closed(found, denied.hint().map(str::to_owned))
            }
            // With the sysctl there, so are perf events (perf_event_open(2), NOTES).
            _ if here.paranoid.is_some() => {
                Finding::open(GateId::PerfEvents, "this kernel has them", needed)
            }
            _ => Finding {
                standing: Standing::Unknown,
                ..Finding::open(
                    GateId::PerfEvents,
                    "could not be tried: another gate is shut",
                    needed,
                )
            },
        },
        Err(error) => {
            let source = error.source().map(|source| format!(": {source}"));
            closed(
                format!("{error}{}", source.unwrap_or_default()),
                error.hint(),
            )
        }
    }
}

/// The privilege that keeps the host from being recorded, also where another gate is in front of it.
fn refused_privilege(here: &Circumstances, tried: &Tried) -> Option<Gate> {
    let gate = match &tried.host {
        Ok(_) => return None,
        Err(LiveError::Denied(denied))
            if matches!(
                denied.gate,
                Gate::MissingCapability { .. } | Gate::Paranoid { .. }
            ) =>
        {
            denied.gate.clone()
        }
        Err(LiveError::Denied(denied)) if matches!(denied.gate, Gate::Lsm { .. }) => return None,
        // On patched kernels even that may not be enough; that shows when it is tried.
        Err(_) if here.may(Capability::Perfmon) => return None,
        Err(_) => refused_by_privilege(HOST, here),
    };
    (!matches!(gate, Gate::Lsm { .. })).then_some(gate)
}

/// What works where the host cannot be recorded.
pub(super) fn works(tried: &Tried) -> String {
    match (&tried.command, &tried.command_without_kernel) {
        (Ok(_), _) => "a command of your own: `ctrflame record -- COMMAND`",
        (Err(_), Ok(_)) => hint::OWN_COMMAND_IN_WORDS,
        (Err(_), Err(_)) => "nothing",
    }
    .to_owned()
}
