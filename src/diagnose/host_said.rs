//! The host on one screen: utilization, saturation and errors of CPUs, memory and disks.

use super::said::{percent, plural};
use profiler::usage::{HostUse, Pressure};

/// What is used, what waits, what fails, as lines.
pub(super) fn screen(host: &HostUse, seconds: f64) -> Vec<String> {
    /// More CPUs are added up: a screen has so many lines.
    const CPUS_MAX: usize = 16;
    let mut lines = vec![line("host", "utilization", "saturation", "errors")];
    let sum = host.sum(&host.online());
    let count = host.cpus.len();
    let pressed = |at: usize, what: &str| {
        let pressure: Option<Pressure> = host.pressure.get(at).copied().flatten();
        pressure.map_or_else(String::new, |pressure| {
            let part = pressure.some_us as f64 / 1e6 / seconds;
            format!("{what} {}", percent(part.min(1.0)))
        })
    };
    let load = host
        .load_hundredths
        .map_or_else(String::new, |[one, five, _]| {
            format!(
                "load {}.{:02} {}.{:02}",
                one / 100,
                one % 100,
                five / 100,
                five % 100
            )
        });
    let queue = host.running.map_or_else(String::new, |running| {
        // The one that reads it runs, too.
        format!("{} ready", running.saturating_sub(1))
    });
    lines.push(line(
        &format!("{count} CPU{}", plural(count)),
        &format!("{:.2} busy, {:.2} idle", sum.busy(), sum.idle),
        &some(&[queue, load, pressed(0, "waited")]),
        &host.heat_throttles.map_or_else(String::new, |times| {
            format!("slowed for heat {times} times")
        }),
    ));
    if count <= CPUS_MAX {
        for (cpu, used) in &host.cpus {
            let parts = [
                ("user", used.user),
                ("system", used.system),
                ("interrupts", used.interrupts),
            ];
            let parts: Vec<String> = parts
                .iter()
                .filter(|(_, part)| *part >= 0.005)
                .map(|(name, part)| format!("{name} {}", percent(*part)))
                .collect();
            let steal = match used.steal >= 0.005 {
                true => format!("stolen {}", percent(used.steal)),
                false => String::new(),
            };
            lines.push(line(
                &format!("  CPU {cpu}"),
                &some(&[percent(used.busy()), parts.join(", ")]),
                &steal,
                "",
            ));
        }
    }
    if let Some(memory) = host.memory {
        let used = memory.total.saturating_sub(memory.available);
        let swapped = match host.swapped_pages {
            Some(pages) if pages > 0 => format!("swapped {pages} pages"),
            _ => String::new(),
        };
        let out = host
            .oom_kills
            .map(|kills| format!("{kills} killed for memory"));
        lines.push(line(
            "memory",
            &format!("{} of {}", bytes(used), bytes(memory.total)),
            &some(&[pressed(1, "waited"), swapped]),
            &out.unwrap_or_default(),
        ));
    }
    let blocked = host
        .blocked
        .filter(|blocked| *blocked > 0)
        .map_or_else(String::new, |blocked| format!("{blocked} blocked"));
    lines.push(line("I/O", "", &some(&[pressed(2, "waited"), blocked]), ""));
    for (name, disk) in &host.disks {
        lines.push(line(
            &format!("  {name}"),
            &format!(
                "{}, {}/s read, {}/s written",
                percent(disk.busy),
                bytes((disk.read_bytes as f64 / seconds) as u64),
                bytes((disk.written_bytes as f64 / seconds) as u64)
            ),
            &format!("queue {:.1}", disk.queue),
            &disk
                .errors
                .map_or_else(String::new, |errors| format!("{errors} failed")),
        ));
    }
    lines
}

fn line(name: &str, used: &str, waits: &str, fails: &str) -> String {
    let line = format!("{name:<10} {used:<38} {waits:<38} {fails}");
    line.trim_end().to_owned()
}

fn some(parts: &[String]) -> String {
    let parts: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(", ")
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        unit = next;
        if value < 1024.0 {
            break;
        }
        if next != "TiB" {
            value /= 1024.0;
        }
    }
    match unit {
        "B" => format!("{bytes} B"),
        unit => format!("{value:.1} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_unit_that_leaves_them_below_1024() {
        let shown = [0, 1023, 1024, 1536, 1 << 30, 5 << 40].map(bytes);
        assert_eq!(
            shown,
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 GiB", "5.0 TiB"]
        );
    }
}
