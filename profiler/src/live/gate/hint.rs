//! The one command that opens a gate.

use super::circumstances::{Circumstances, Surroundings};
use super::{Attempt, Capability, Gate, HeldInUserNamespace, KernelSamples, SampledEvent, Scope};

/// What always works: sampling a command of one's own, user side only.
const OWN_COMMAND: &str = "`ctrflame record --no-kernel -- COMMAND`";

pub(super) fn of(gate: &Gate, attempt: Attempt, here: &Circumstances) -> Option<String> {
    Some(match gate {
        Gate::Seccomp => seccomp(here),
        Gate::MissingCapability {
            held_in_user_namespace: HeldInUserNamespace::Yes,
            ..
        } => "run as the host's root, outside of user namespaces: `sudo ctrflame …`".into(),
        Gate::MissingCapability { needed, .. } => capability(*needed, attempt, here),
        Gate::Paranoid { found, needed } => paranoid(*found, *needed, attempt),
        Gate::MlockLimit {
            ring_kib, mlock_kb, ..
        } => {
            // Where one ring would fit, others of this user have used the budget up.
            let found = mlock_kb.unwrap_or(0);
            let enough = if found < *ring_kib {
                *ring_kib
            } else {
                found + ring_kib
            };
            format!("`sudo sysctl kernel.perf_event_mlock_kb={enough}`")
        }
        Gate::NoPmu { .. } => {
            "sample by the kernel's clock: `ctrflame record -e cpu-clock …`".into()
        }
        Gate::Lsm { .. } => {
            "find the denial: `sudo dmesg | grep -iE 'avc|apparmor|lockdown'`".into()
        }
        Gate::NotSupported { .. } => match attempt.event {
            SampledEvent::CpuClock | SampledEvent::TaskClock => {
                "boot a kernel with CONFIG_PERF_EVENTS=y".into()
            }
            SampledEvent::Cycles => {
                "boot a kernel with CONFIG_PERF_EVENTS=y and CONFIG_HW_PERF_EVENTS=y".into()
            }
        },
        Gate::FileLimit { soft, hard } => match (soft, hard) {
            (Some(soft), Some(hard)) if soft < hard => format!("`ulimit -n {hard}`"),
            // fs.nr_open is 1048576 unless it was changed.
            (Some(_), None) => "`ulimit -n 1048576`".into(),
            _ => "as root: `ulimit -n 1048576`".into(),
        },
        Gate::SystemFileLimit => {
            "`sudo sysctl fs.file-max=N` with more than `sysctl fs.file-nr` shows in use".into()
        }
        Gate::SampleRate { max_hz, .. } => format!("`ctrflame record -F {max_hz} …`"),
        Gate::Unexplained => return None,
    })
}

fn seccomp(here: &Circumstances) -> String {
    // Docker's own profile lets the call pass with CAP_SYS_ADMIN, and only newer ones with
    // CAP_PERFMON: without the profile, the capability is enough everywhere.
    match here.surroundings {
        Surroundings::Docker => {
            "`docker run --cap-add PERFMON --security-opt seccomp=unconfined …`".into()
        }
        Surroundings::Podman => {
            "`podman run --cap-add PERFMON --security-opt seccomp=unconfined …`".into()
        }
        Surroundings::Kubernetes => "in the pod's securityContext: \
             `{capabilities: {add: [PERFMON]}, seccompProfile: {type: Unconfined}}`"
            .into(),
        Surroundings::Host => "run ctrflame outside of what set the filter; in a systemd unit: \
             `SystemCallFilter=perf_event_open`"
            .into(),
    }
}

fn capability(needed: Capability, attempt: Attempt, here: &Circumstances) -> String {
    let name = needed.name();
    match here.surroundings {
        Surroundings::Docker => format!("`docker run --cap-add {name} …`"),
        Surroundings::Podman => format!("`sudo podman run --cap-add {name} …`"),
        Surroundings::Kubernetes => {
            format!("in the pod's securityContext: `{{capabilities: {{add: [{name}]}}}}`")
        }
        Surroundings::Host if here.effective_uid == Some(0) => format!(
            "this root has been stripped of it: start ctrflame from a shell whose \
             `capsh --print` lists cap_{}",
            name.to_ascii_lowercase()
        ),
        Surroundings::Host if attempt.scope == Scope::OwnProcess => {
            format!("`sudo ctrflame …`, or unprivileged: {OWN_COMMAND}")
        }
        Surroundings::Host => "`sudo ctrflame …`".into(),
    }
}

fn paranoid(found: i32, needed: i32, attempt: Attempt) -> String {
    let without_kernel = match attempt.kernel {
        // Patched kernels refuse even that above 2.
        KernelSamples::Include if found <= 2 => Some(OWN_COMMAND),
        _ => None,
    };
    let open = match attempt.scope {
        Scope::System | Scope::Cgroup => "`sudo ctrflame …`".to_owned(),
        Scope::OwnProcess | Scope::OtherProcess => {
            format!("`sudo sysctl kernel.perf_event_paranoid={needed}`")
        }
    };
    match without_kernel {
        Some(command) => format!("{open}, or unprivileged, without the kernel's frames: {command}"),
        None => open,
    }
}
