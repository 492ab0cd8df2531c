//! What ctrflame itself costs: CPU time and memory, by stage.

use nix::sys::resource::{UsageWho, getrusage};
use std::fmt;
use std::time::Duration;

/// CPU time of all our threads up to a moment; commands we started are not in it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime(Duration);

impl CpuTime {
    pub(crate) fn now() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
            return Self::default();
        };
        let micros = |time: nix::sys::time::TimeVal| {
            time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64
        };
        Self(Duration::from_micros(
            micros(usage.user_time()) + micros(usage.system_time()),
        ))
    }
}

/// The stages of one run.
pub(crate) struct Cost {
    /// What the first stage did: `record`.
    first: &'static str,
    recording: Duration,
    drawing: Duration,
    peak_kib: u64,
}

impl Cost {
    /// The cost so far of a run that ended its first stage at `sampled`.
    pub(crate) fn since(first: &'static str, sampled: CpuTime) -> Self {
        Self {
            first,
            recording: sampled.0,
            drawing: CpuTime::now().0.saturating_sub(sampled.0),
            peak_kib: getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss() as u64),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.3} s of CPU to {}, {:.3} s to name and draw, {} MiB at most",
            self.recording.as_secs_f64(),
            self.first,
            self.drawing.as_secs_f64(),
            self.peak_kib.div_ceil(1024)
        )
    }
}
