//! The one command that opens a gate.

use super::circumstances::Circumstances;
use super::surroundings::Surroundings;
use super::{
    Attempt, Capability, Gate, HeldInUserNamespace, KernelSamples, SampledEvent, Scope, Step,
};

/// What always works: sampling a command of one's own, user side only.
const OWN_COMMAND: &str = "`ctrflame record --no-kernel -- COMMAND`";

pub(super) fn of(gate: &Gate, attempt: Attempt, here: &Circumstances) -> Option<String> {
    Some(match gate {
        Gate::Seccomp => seccomp(here),
        Gate::MissingCapability {
            needed,
            held_in_user_namespace,
        } => capabilities(&[*needed], *held_in_user_namespace, attempt.scope, here),
        Gate::Paranoid { found, needed } => paranoid(*found, *needed, attempt),
        Gate::MlockLimit {
            ring_kib, mlock_kb, ..
        } => {
            let cpu_kib = match attempt.step {
                Step::MapRing { cpu_bytes, .. } => cpu_bytes.div_ceil(1024),
                Step::Open => *ring_kib,
            };
            // Where a CPU's rings would fit, others of this user have used the budget up.
            let found = mlock_kb.unwrap_or(0);
            let enough = if found < cpu_kib {
                cpu_kib
            } else {
                found + cpu_kib
            };
            sysctl("kernel.perf_event_mlock_kb", enough, here)
        }
        Gate::NoPmu { .. } => {
            "sample by the kernel's clock: `ctrflame record -e cpu-clock …`".into()
        }
        Gate::Lsm { .. } => lsm_opener(here).said(here),
        Gate::NotSupported { .. } => match attempt.event {
            SampledEvent::CpuClock | SampledEvent::TaskClock => {
                "boot a kernel with CONFIG_PERF_EVENTS=y".into()
            }
            SampledEvent::Cycles => {
                "boot a kernel with CONFIG_PERF_EVENTS=y and CONFIG_HW_PERF_EVENTS=y".into()
            }
        },
        Gate::FileLimit { soft, hard } => open_files(*soft, *hard, here),
        Gate::SystemFileLimit => {
            "`sudo sysctl fs.file-max=N` with more than `sysctl fs.file-nr` shows in use".into()
        }
        Gate::SampleRate { max_hz, .. } => format!("`ctrflame record -F {max_hz} …`"),
        Gate::Unexplained => return None,
    })
}

/// [`OWN_COMMAND`], and what it is.
pub(super) const OWN_COMMAND_IN_WORDS: &str =
    "a command of your own, without the kernel's frames: `ctrflame record --no-kernel -- COMMAND`";

/// What opens a gate: one command, or one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opener {
    /// Flags of the `docker run` or `podman run` that started us.
    Run(Vec<String>),
    /// Anything else, as it is said.
    Said(String),
}

impl Opener {
    /// As it is said where we run.
    pub(super) fn said(&self, here: &Circumstances) -> String {
        match self {
            Self::Run(flags) => run(flags, here),
            Self::Said(text) => text.clone(),
        }
    }
}

/// The command that starts a container with `flags`.
pub(super) fn run(flags: &[String], here: &Circumstances) -> String {
    // A rootless container's capabilities do not count.
    let command = match here.surroundings {
        Surroundings::Podman => "sudo podman run",
        _ => "docker run",
    };
    format!("`{command} {} …`", flags.join(" "))
}

/// Flags of a runtime where we are in its container, else `or`.
pub(super) fn by_flags(flags: &[&str], here: &Circumstances, or: &str) -> Opener {
    match here.surroundings {
        Surroundings::Docker | Surroundings::Podman => {
            Opener::Run(flags.iter().map(|flag| (*flag).to_owned()).collect())
        }
        Surroundings::Kubernetes | Surroundings::Host => Opener::Said(or.to_owned()),
    }
}

fn seccomp(here: &Circumstances) -> String {
    seccomp_opener(here).said(here)
}

pub(super) fn seccomp_opener(here: &Circumstances) -> Opener {
    // Docker's own profile lets the call pass with CAP_SYS_ADMIN, and only newer ones with
    // CAP_PERFMON: without the profile, the capability is enough everywhere.
    let or = match here.surroundings {
        Surroundings::Kubernetes => {
            "in the pod's securityContext: \
             `{capabilities: {add: [PERFMON]}, seccompProfile: {type: Unconfined}}`"
        }
        _ => {
            "run ctrflame outside of what set the filter; in a systemd unit: \
             `SystemCallFilter=perf_event_open`"
        }
    };
    by_flags(
        &["--cap-add PERFMON", "--security-opt seccomp=unconfined"],
        here,
        or,
    )
}

fn capabilities(
    missing: &[Capability],
    held: HeldInUserNamespace,
    scope: Scope,
    here: &Circumstances,
) -> String {
    capabilities_opener(missing, held, scope, here).said(here)
}

pub(super) fn capabilities_opener(
    missing: &[Capability],
    held: HeldInUserNamespace,
    scope: Scope,
    here: &Circumstances,
) -> Opener {
    if held == HeldInUserNamespace::Yes {
        let said = "run as the host's root, outside of user namespaces: `sudo ctrflame …`";
        return Opener::Said(said.into());
    }
    let names: Vec<&str> = missing.iter().map(|one| one.name()).collect();
    let or = match here.surroundings {
        Surroundings::Kubernetes => format!(
            "in the pod's securityContext: `{{capabilities: {{add: [{}]}}}}`",
            names.join(", ")
        ),
        _ if here.effective_uid == Some(0) => {
            let listed: Vec<String> = names
                .iter()
                .map(|name| format!("cap_{}", name.to_ascii_lowercase()))
                .collect();
            format!(
                "this root has been stripped of {}: start ctrflame from a shell whose \
                 `capsh --print` lists {}",
                if names.len() == 1 { "it" } else { "them" },
                listed.join(", ")
            )
        }
        _ if scope == Scope::OwnProcess => {
            format!("`sudo ctrflame …`, or unprivileged: {OWN_COMMAND}")
        }
        _ => "`sudo ctrflame …`".into(),
    };
    let flags: Vec<String> = names
        .iter()
        .map(|name| format!("--cap-add {name}"))
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    by_flags(&flags, here, &or)
}

pub(super) fn lsm_opener(here: &Circumstances) -> Opener {
    let or = "find the denial: `sudo dmesg | grep -iE 'avc|apparmor|lockdown'`";
    // AppArmor writes `docker-default (enforce)`, SELinux `system_u:system_r:container_t:s0:c1,c2`.
    match here.label.as_deref().unwrap_or("") {
        label if label.ends_with(" (enforce)") => {
            by_flags(&["--security-opt apparmor=unconfined"], here, or)
        }
        label if label.contains(":container_t:") => {
            by_flags(&["--security-opt label=disable"], here, or)
        }
        _ => Opener::Said(or.into()),
    }
}

/// Sets a sysctl; a container has the host's and may not write them.
pub(super) fn sysctl(name: &str, value: u64, here: &Circumstances) -> String {
    match here.surroundings {
        Surroundings::Host => format!("`sudo sysctl {name}={value}`"),
        _ => format!("on the host: `sudo sysctl {name}={value}`"),
    }
}

fn open_files(soft: Option<u64>, hard: Option<u64>, here: &Circumstances) -> String {
    open_files_opener(soft, hard, here).said(here)
}

pub(super) fn open_files_opener(
    soft: Option<u64>,
    hard: Option<u64>,
    here: &Circumstances,
) -> Opener {
    let or = match (soft, hard) {
        (Some(soft), Some(hard)) if soft < hard => format!("`ulimit -n {hard}`"),
        // fs.nr_open is 1048576 unless it was changed.
        (Some(_), None) => "`ulimit -n 1048576`".into(),
        _ => "as root: `ulimit -n 1048576`".into(),
    };
    by_flags(&["--ulimit nofile=1048576"], here, &or)
}

fn paranoid(found: i32, needed: i32, attempt: Attempt) -> String {
    let without_kernel = match attempt.kernel {
        // Patched kernels refuse even that above 2.
        KernelSamples::Include if found <= 2 => Some(OWN_COMMAND),
        _ => None,
    };
    let open = opens_paranoid(attempt.scope, needed);
    match without_kernel {
        Some(command) => format!("{open}, or unprivileged, without the kernel's frames: {command}"),
        None => open,
    }
}

/// Lets an unprivileged user pass. For all that everybody runs, being root is the lesser evil.
pub(super) fn opens_paranoid(scope: Scope, needed: i32) -> String {
    match scope {
        Scope::System | Scope::Cgroup => "`sudo ctrflame …`".to_owned(),
        Scope::OwnProcess | Scope::OtherProcess => {
            format!("`sudo sysctl kernel.perf_event_paranoid={needed}`")
        }
    }
}
