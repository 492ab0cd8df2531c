//! `ctrflame jvm map` and `ctrflame jvm status`.

use super::asker;
use super::found::{Found, jvms};
use crate::cli::{JvmArgs, JvmCommand};
use crate::failure::Failure;
use crate::report;
use profiler::NsPid;
use profiler::files::{LastLink, TargetRoot};
use profiler::jvm::{Flags, Jvm, JvmError, Version};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

/// Runs it; fails when no JVM was found, or one that was to write its map did not.
pub(crate) fn run(args: &JvmArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        JvmCommand::Map { targets } => map(targets),
        JvmCommand::Status { targets } => status(targets),
    }
}

/// A JVM's map, as the host finds it.
pub(crate) struct WrittenMap {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// What is known of a JVM without asking it, and what it said.
pub(crate) struct Status {
    pub(crate) ns_pid: Option<NsPid>,
    /// From its flags, or its command line where it does not say.
    pub(crate) has_frame_pointers: bool,
    pub(crate) map: Option<WrittenMap>,
    pub(crate) version: Result<Version, JvmError>,
}

fn map(targets: &[String]) -> Result<ExitCode, Failure> {
    let found = some(jvms(targets)?, targets)?;
    let written = of_each(&found, |jvm| {
        asker().write_map(jvm)?;
        map_of(jvm).ok_or(JvmError::Gone)
    });
    let all_well = written.iter().all(Result::is_ok);
    for (found, written) in found.iter().zip(&written) {
        report::jvm_map(found, written);
    }
    Ok(report::exit(all_well))
}

fn status(targets: &[String]) -> Result<ExitCode, Failure> {
    let found = some(jvms(targets)?, targets)?;
    let statuses = of_each(&found, status_of);
    for (found, status) in found.iter().zip(&statuses) {
        report::jvm_status(found, status);
    }
    Ok(ExitCode::SUCCESS)
}

fn status_of(jvm: &Jvm) -> Status {
    let asker = asker();
    let version = asker.ask(jvm, "VM.version");
    let flags = match &version {
        Ok(_) => asker.ask(jvm, "VM.flags").ok(),
        Err(_) => None,
    };
    let flags = flags.map(|text| Flags::parse(&text));
    Status {
        ns_pid: jvm.ns_pid().ok(),
        has_frame_pointers: flags
            .map(|flags| flags.is_on("PreserveFramePointer"))
            .unwrap_or_else(|| jvm.options().preserve_frame_pointer),
        map: map_of(jvm),
        version: version.map(|text| Version::parse(&text)),
    }
}

fn some(found: Vec<Found>, targets: &[String]) -> Result<Vec<Found>, Failure> {
    if found.is_empty() {
        return Err(Failure::NoJvm {
            targets: targets.join(", "),
        });
    }
    Ok(found)
}

/// All of them at once: each may take its whole time.
fn of_each<T: Send>(found: &[Found], ask: impl Fn(&Jvm) -> T + Sync) -> Vec<T> {
    let ask = &ask;
    thread::scope(|scope| {
        let asking: Vec<_> = found
            .iter()
            .map(|found| scope.spawn(move || ask(&found.jvm)))
            .collect();
        let answers = asking.into_iter().map(|thread| thread.join());
        answers
            .map(|answer| match answer {
                Ok(answer) => answer,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}

fn map_of(jvm: &Jvm) -> Option<WrittenMap> {
    let inside = PathBuf::from(format!("/tmp/perf-{}.map", jvm.ns_pid().ok()?.0));
    let root = TargetRoot::of_process(jvm.pid).ok()?;
    let map = root.open(&inside, LastLink::Refuse).ok()?;
    Some(WrittenMap {
        bytes: map.identity().ok()?.size_bytes,
        path: PathBuf::from(format!("/proc/{}/root{}", jvm.pid.0, inside.display())),
    })
}
