//! The columns: what they are called, what they show of a container, how they sort.

use super::row::{Row, Used};
use super::sampler::Measured;
use clap::ValueEnum;
use std::cmp::Ordering;

/// A number of a container, or its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    /// CPU time, in percent of one CPU
    Cpu,
    /// The part of it in programs
    User,
    /// The part of it in the kernel
    System,
    /// Percent of periods in which a limit held it back
    Throttled,
    /// For how long, in milliseconds a second
    ThrottledTime,
    /// Time of its threads in run queues, in percent of one CPU
    Wait,
    /// Percent of the time in which a task of it waited for a CPU (PSI)
    Pressure,
    /// Percent of the host's CPUs
    Host,
    /// CPUs that it may use at most
    Limit,
    /// Weight against others
    Weight,
    /// Memory in use
    Memory,
    /// Threads
    Tasks,
    /// Name
    Name,
}

impl Column {
    /// The numbers, as they stand beside each other.
    pub(super) const NUMBERS: [Column; 12] = [
        Column::Cpu,
        Column::User,
        Column::System,
        Column::Throttled,
        Column::ThrottledTime,
        Column::Wait,
        Column::Pressure,
        Column::Host,
        Column::Limit,
        Column::Weight,
        Column::Memory,
        Column::Tasks,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Column::Cpu => "CPU%",
            Column::User => "USER",
            Column::System => "SYS",
            Column::Throttled => "THR%",
            Column::ThrottledTime => "MS/S",
            Column::Wait => "WAIT%",
            Column::Pressure => "PSI%",
            Column::Host => "HOST%",
            Column::Limit => "LIMIT",
            Column::Weight => "WEIGHT",
            Column::Memory => "MEM",
            Column::Tasks => "TASKS",
            Column::Name => "NAME",
        }
    }

    /// The number, as it sorts; `None` for the name, and where it is not known.
    pub(super) fn number(self, used: &Used) -> Option<f64> {
        match self {
            Column::Cpu => used.cpu_percent,
            Column::User => used.user_percent,
            Column::System => used.system_percent,
            Column::Throttled => used.throttled_percent,
            Column::ThrottledTime => used.throttled_ms_per_s,
            Column::Wait => used.wait_percent,
            Column::Pressure => used.pressure_percent,
            Column::Host => used.host_percent,
            Column::Limit => used.limit_cpus,
            Column::Weight => used.weight,
            Column::Memory => used.memory_bytes.map(|bytes| bytes as f64),
            Column::Tasks => used.tasks.map(|tasks| tasks as f64),
            Column::Name => None,
        }
    }

    /// A number as it is shown; a dash where it is not known.
    pub(super) fn text(self, row: &Row) -> String {
        let number = row.used.as_ref().and_then(|used| self.number(used));
        let Some(number) = number else {
            return "-".to_owned();
        };
        match self {
            Column::Limit => format!("{number:.2}"),
            Column::Weight | Column::Tasks | Column::ThrottledTime => format!("{number:.0}"),
            Column::Memory => bytes(number),
            _ => percent(number),
        }
    }

    /// Largest first, what is not known last; names from A.
    pub(super) fn order(self, a: &Row, b: &Row) -> Ordering {
        let number = |row: &Row| row.used.as_ref().and_then(|used| self.number(used));
        let by_number = match (number(a), number(b)) {
            (Some(a), Some(b)) => b.total_cmp(&a),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let key = |row: &Row| (row.tag.clone(), row.container.cgroup_path.clone());
        by_number.then_with(|| key(a).cmp(&key(b)))
    }
}

/// The rows that are asked for, in the order that is asked for.
pub(super) fn chosen<'a>(measured: &'a Measured, sort: Column, filter: &str) -> Vec<&'a Row> {
    let mut rows: Vec<&Row> = measured
        .rows
        .iter()
        .filter(|row| matches(row, filter))
        .collect();
    rows.sort_by(|a, b| sort.order(a, b));
    rows
}

/// Whether `filter` is in its label, its id, its name, or its cgroup; case is not looked at.
fn matches(row: &Row, filter: &str) -> bool {
    let filter = filter.to_lowercase();
    let container = &row.container;
    [
        row.tag.as_str(),
        &container.reference.id,
        container.called().unwrap_or_default(),
        &container.cgroup_path,
    ]
    .iter()
    .any(|text| text.to_lowercase().contains(&filter))
}

/// What it is called beside its numbers: `shop/checkout-7d4b9/app`, `web`, or its id. Container-chosen.
pub(super) fn name(row: &Row) -> String {
    let name = &row.container.name;
    let parts = [&name.namespace, &name.pod, &name.container];
    if name.pod.is_some() {
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        return parts.join("/");
    }
    let id = row.container.reference.short_id();
    row.container.called().unwrap_or(id).to_owned()
}

/// In at most five characters up to 99999.
pub(super) fn percent(number: f64) -> String {
    if number < 999.95 {
        format!("{number:.1}")
    } else {
        format!("{number:.0}")
    }
}

/// In at most five characters: `0`, `512K`, `1.5G`.
pub(super) fn bytes(number: f64) -> String {
    let mut number = number;
    for unit in ["", "K", "M", "G", "T"] {
        if number < 1023.5 {
            let is_short = number >= 9.95 || unit.is_empty();
            let decimals = usize::from(!is_short);
            return format!("{number:.decimals$}{unit}");
        }
        number /= 1024.0;
    }
    format!("{number:.0}P")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::testing::{measured, row};

    #[test]
    fn numbers_fit_their_columns() {
        let percents = [0.0, 0.04, 99.94, 999.94, 999.95, 12_800.0].map(percent);
        assert_eq!(percents, ["0.0", "0.0", "99.9", "999.9", "1000", "12800"]);
        let kib = 1024.0;
        let shown = [
            0.0,
            1023.0,
            1024.0,
            10.0 * kib,
            1023.6 * kib,
            1.5 * kib * kib * kib,
        ];
        assert_eq!(
            shown.map(bytes),
            ["0", "1023", "1.0K", "10K", "1.0M", "1.5G"]
        );
    }

    #[test]
    fn the_largest_is_first_and_what_is_not_known_last() {
        let measured = measured(vec![
            row("idle", Some(0.0)),
            row("new", None),
            row("busy", Some(150.0)),
            row("also", Some(0.0)),
        ]);
        let names = |sort| {
            let rows = chosen(&measured, sort, "");
            rows.into_iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(Column::Cpu), ["busy", "also", "idle", "new"]);
        assert_eq!(names(Column::Name), ["also", "busy", "idle", "new"]);
    }

    #[test]
    fn a_filter_is_looked_for_in_names_and_ids_without_case() {
        let measured = measured(vec![row("Web", Some(1.0)), row("db", Some(2.0))]);
        let count = |filter| chosen(&measured, Column::Cpu, filter).len();
        assert_eq!((count("web"), count("DOCKER"), count("x")), (1, 2, 0));
    }
}
