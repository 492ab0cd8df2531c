//! `ctrflame top --batch`: a table for each interval, for scripts and pipes.

use super::column::{Column, bytes, chosen, name, percent};
use super::row::{Row, Used};
use super::sampler::{Measured, Sampler};
use crate::cli::TopArgs;
use crate::failure::Failure;
use crate::json;
use crate::ps::OneContainer;
use crate::report::{self, Read};
use crate::table::{self, Cell, Table};
use profiler::usage::HostUse;
use serde::Serialize;
use std::process::ExitCode;
use std::thread;

/// Until so many tables were written, or nobody reads them any more.
pub(super) fn run(args: &TopArgs) -> Result<ExitCode, Failure> {
    let mut sampler = Sampler::start()?;
    sampler.measure();
    let mut written = 0;
    while args.count.is_none_or(|count| written < count) {
        thread::sleep(args.delay);
        let measured = sampler.measure();
        let rows = chosen(&measured, args.sort, &args.filter);
        let read = if args.json {
            report::text(&document(&measured, &rows))?
        } else {
            let head = format!("{}\n", head(&measured));
            let gap = if written > 0 { "\n" } else { "" };
            report::text(&format!("{gap}{head}"))?;
            report::table(&table(&rows))?
        };
        if read == Read::NoMore {
            break;
        }
        written += 1;
    }
    Ok(ExitCode::SUCCESS)
}

/// When, and what the host did: one line.
fn head(measured: &Measured) -> String {
    let at = humantime::format_rfc3339_seconds(measured.at);
    let host = measured.host.as_ref().map(of_host).unwrap_or_default();
    format!("{at}  {} containers  {host}", measured.rows.len())
}

/// The host in one line: `2 CPUs, 87.5% busy, steal 0.2%  PSI 12.0%  load 3.10  memory 3.2G of 8.0G`.
pub(super) fn of_host(host: &HostUse) -> String {
    let online = host.online();
    let sum = host.sum(&online);
    let of_all = |cpus: f64| percent(cpus * 100.0 / online.len().max(1) as f64);
    let mut line = format!("{} CPUs, {}% busy", online.len(), of_all(sum.busy()));
    if sum.steal > 0.0005 {
        line.push_str(&format!(", steal {}%", of_all(sum.steal)));
    }
    if let Some([load, ..]) = host.load_hundredths {
        line.push_str(&format!("  load {}.{:02}", load / 100, load % 100));
    }
    if let Some(memory) = host.memory {
        let used = memory.total.saturating_sub(memory.available);
        let (used, total) = (bytes(used as f64), bytes(memory.total as f64));
        line.push_str(&format!("  memory {used} of {total}"));
    }
    line
}

fn table(rows: &[&Row]) -> Table {
    let mut columns = vec![table::Column::left("CONTAINER")];
    let numbers = Column::NUMBERS;
    columns.extend(numbers.map(|column| table::Column::right(column.title())));
    columns.push(table::Column::left(Column::Name.title()));
    let mut table = Table::new(&columns);
    for row in rows {
        let mut cells = vec![Cell::text(row.container.reference.short_id())];
        cells.extend(numbers.map(|column| Cell::text(&column.text(row))));
        cells.push(Cell::text(&name(row)));
        table.row(cells);
    }
    table
}

#[derive(Serialize)]
struct Document<'a> {
    at: String,
    host: Option<OneHost>,
    containers: Vec<OneRow<'a>>,
}

#[derive(Serialize)]
struct OneHost {
    cpus: usize,
    busy_percent: f64,
    steal_percent: f64,
    load_1m: Option<f64>,
}

#[derive(Serialize)]
struct OneRow<'a> {
    #[serde(flatten)]
    container: OneContainer<'a>,
    /// `null` for one that was not there for a whole interval.
    used: Option<OneUsed>,
}

/// As [`Used`] has them.
#[derive(Serialize)]
struct OneUsed {
    cpu_percent: Option<f64>,
    user_percent: Option<f64>,
    system_percent: Option<f64>,
    throttled_percent: Option<f64>,
    throttled_ms_per_s: Option<f64>,
    wait_percent: Option<f64>,
    pressure_percent: Option<f64>,
    host_percent: Option<f64>,
    limit_cpus: Option<f64>,
    weight: Option<f64>,
    memory_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    tasks: Option<u64>,
}

fn document(measured: &Measured, rows: &[&Row]) -> String {
    let host = measured.host.as_ref().map(|host| {
        let online = host.online();
        let sum = host.sum(&online);
        let of_all = |cpus: f64| rounded(cpus * 100.0 / online.len().max(1) as f64);
        OneHost {
            cpus: online.len(),
            busy_percent: of_all(sum.busy()),
            steal_percent: of_all(sum.steal),
            load_1m: host.load_hundredths.map(|[load, ..]| load as f64 / 100.0),
        }
    });
    json::document(&Document {
        at: humantime::format_rfc3339_seconds(measured.at).to_string(),
        host,
        containers: rows
            .iter()
            .map(|row| OneRow {
                container: OneContainer::of(&row.container),
                used: row.used.as_ref().map(one_used),
            })
            .collect(),
    })
}

fn one_used(used: &Used) -> OneUsed {
    OneUsed {
        cpu_percent: used.cpu_percent.map(rounded),
        user_percent: used.user_percent.map(rounded),
        system_percent: used.system_percent.map(rounded),
        throttled_percent: used.throttled_percent.map(rounded),
        throttled_ms_per_s: used.throttled_ms_per_s.map(rounded),
        wait_percent: used.wait_percent.map(rounded),
        pressure_percent: used.pressure_percent.map(rounded),
        host_percent: used.host_percent.map(rounded),
        limit_cpus: used.limit_cpus.map(rounded),
        weight: used.weight.map(rounded),
        memory_bytes: used.memory_bytes,
        memory_limit_bytes: used.memory_limit_bytes,
        tasks: used.tasks,
    }
}

/// Two decimals: more were not measured.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Shown;
    use crate::top::testing::{measured, row};

    #[test]
    fn a_table_has_a_row_for_each_and_its_name_is_last_and_escaped() {
        let measured = measured(vec![row("a\x1bb", Some(12.34)), row("new", None)]);
        let lines = table(&chosen(&measured, Column::Cpu, "")).lines(Shown::default());
        assert_eq!(
            lines,
            [
                "CONTAINER     CPU%  USER  SYS  THR%  MS/S  WAIT%  PSI%  HOST%  LIMIT  WEIGHT  MEM  TASKS  NAME",
                r"611b62611b62  12.3     -    -     -     -      -     -      -      -       -    -      -  a\x1bb",
                "6e65776e6577     -     -    -     -     -      -     -      -      -       -    -      -  new",
            ]
        );
    }

    #[test]
    fn a_document_says_null_for_what_is_not_known() {
        let measured = measured(vec![row("web", Some(12.345)), row("new", None)]);
        let text = document(&measured, &chosen(&measured, Column::Cpu, ""));
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["at"], "1970-01-01T00:00:00Z");
        let containers = &read["containers"];
        assert_eq!(containers[0]["name"], "web");
        assert_eq!(containers[0]["used"]["cpu_percent"], 12.35);
        assert!(containers[0]["used"]["memory_bytes"].is_null());
        assert!(containers[1]["used"].is_null());
    }
}
