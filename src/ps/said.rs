//! What `ctrflame ps` says: its tables.

use super::{Found, Place};
use crate::table::{Cell, Column, Table, span};
use profiler::container::{Container, NamespaceKind, Namespaces, Process, Resident};

/// Behind a namespace that is the host's, for those who see no red.
const SHARED: char = '!';
/// Behind one that may not be looked at.
const UNKNOWN: char = '?';

const NAMESPACES: &str = "NAMESPACES (! the host's)";

/// A row a container, nested ones below theirs.
pub(super) fn residents(residents: &[Resident], host: &Namespaces) -> Table {
    let mut table = Table::new(&[
        Column::left("CONTAINER"),
        Column::left("NAME"),
        Column::left("RUNTIME"),
        Column::left("POD"),
        Column::right("PID"),
        Column::right("INSIDE"),
        Column::right("PROCS"),
        Column::right("AGE"),
        Column::left(NAMESPACES),
        Column::left("IMAGE"),
        Column::left("COMMAND"),
    ]);
    let branches = branches(residents);
    for (
        Resident {
            container, first, ..
        },
        branch,
    ) in residents.iter().zip(branches)
    {
        let of_first =
            |text: fn(&Process) -> String| Cell::some(first.as_ref().map(text).as_deref());
        table.row(vec![
            Cell::text(&format!("{branch}{}", container.reference.short_id())),
            Cell::some(container.called()),
            Cell::text(container.engine().word()),
            Cell::some(pod_of(container).as_deref()),
            of_first(|first| first.pid.0.to_string()),
            of_first(inner_pid),
            Cell::text(&container.processes.len().to_string()),
            of_first(|first| span(first.age.as_secs())),
            first.as_ref().map_or_else(
                || Cell::some(None),
                |first| namespaces(&first.namespaces, host),
            ),
            Cell::some(container.name.image.as_deref()),
            of_first(|first| first.command.clone()),
        ]);
    }
    table.without_empty(&["POD", "IMAGE"])
}

/// A row a process.
pub(super) fn processes(found: &[Found], host: &Namespaces) -> Table {
    let mut table = Table::new(&[
        Column::right("PID"),
        Column::right("INSIDE"),
        Column::left("CONTAINER"),
        Column::left("NAME"),
        Column::left("RUNTIME"),
        Column::left("POD"),
        Column::right("UID"),
        Column::right("AGE"),
        Column::left(NAMESPACES),
        Column::left("COMMAND"),
    ]);
    for Found { process, place, .. } in found {
        let [id, name, runtime, pod] = match place {
            Place::Container(container) => [
                Cell::text(&chain_of(container)),
                Cell::some(container.called()),
                Cell::text(container.engine().word()),
                Cell::some(pod_of(container).as_deref()),
            ],
            Place::Host(tag) => [
                Cell::text("host"),
                Cell::some(tag.split_once(':').map(|(_, unit)| unit)),
                Cell::some(None),
                Cell::some(None),
            ],
        };
        table.row(vec![
            Cell::text(&process.pid.0.to_string()),
            Cell::text(&inner_pid(process)),
            id,
            name,
            runtime,
            pod,
            Cell::text(&process.uid.to_string()),
            Cell::text(&span(process.age.as_secs())),
            namespaces(&process.namespaces, host),
            Cell::text(&process.command),
        ]);
    }
    table.without_empty(&["POD"])
}

/// The pids below the host's, from the outermost container's to its own: `17/1`.
fn inner_pid(process: &Process) -> String {
    if process.inner_pids.is_empty() {
        return process.pid.0.to_string();
    }
    let pids: Vec<String> = process
        .inner_pids
        .iter()
        .map(|pid| pid.0.to_string())
        .collect();
    pids.join("/")
}

/// The ids down to a container: `3f2a12345678/9c8d12345678`.
fn chain_of(container: &Container) -> String {
    let chain = container.outer.iter().chain([&container.reference]);
    let ids: Vec<&str> = chain.map(|one| one.short_id()).collect();
    ids.join("/")
}

pub(super) fn pod_of(container: &Container) -> Option<String> {
    let pod = container.name.pod.as_deref()?;
    Some(match &container.name.namespace {
        Some(namespace) => format!("{namespace}/{pod}"),
        None => pod.to_owned(),
    })
}

/// All seven by name, each as wide as with its sign.
fn namespaces(own: &Namespaces, host: &Namespaces) -> Cell {
    let mut cell = Cell::default();
    for (at, kind) in NamespaceKind::ALL.into_iter().enumerate() {
        if at > 0 {
            cell.push(" ", false);
        }
        match own.shares(kind, host) {
            Some(true) => cell.push(format!("{kind}{SHARED}"), true),
            Some(false) => cell.push(format!("{kind} "), false),
            None => cell.push(format!("{kind}{UNKNOWN}"), false),
        }
    }
    cell
}

/// What stands before each container's id, so that the tree is seen.
fn branches(residents: &[Resident]) -> Vec<String> {
    let depths: Vec<usize> = residents.iter().map(|one| one.depth).collect();
    let is_last = |at: usize, depth: usize| {
        let later = depths.iter().skip(at + 1);
        later
            .take_while(|later| **later >= depth)
            .all(|later| *later != depth)
    };
    depths
        .iter()
        .enumerate()
        .map(|(at, depth)| {
            let mut branch = String::new();
            for level in 1..=*depth {
                let is_own = level == *depth;
                branch.push_str(match (is_own, is_last(at, level)) {
                    (true, true) => "└─",
                    (true, false) => "├─",
                    (false, true) => "  ",
                    (false, false) => "│ ",
                });
            }
            branch
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler::container::Names;
    use std::path::Path;

    fn resident(depth: usize) -> Resident {
        let path = format!("/docker/{}", "a".repeat(64));
        let names = Names::load(Path::new("/nonexistent"));
        let container = Container::identify(&path, &names).expect("docker's shape");
        Resident {
            container,
            depth,
            first: None,
        }
    }

    #[test]
    fn the_tree_has_a_branch_for_each_and_a_line_past_its_siblings() {
        let residents: Vec<Resident> = [0, 1, 2, 2, 1, 2, 0].map(resident).into();
        assert_eq!(
            branches(&residents),
            ["", "├─", "│ ├─", "│ └─", "└─", "  └─", ""]
        );
    }

    #[test]
    fn a_container_that_has_just_ended_is_a_row_without_a_process() {
        let table = residents(&[resident(0)], &Namespaces::default());
        let lines = table.lines(Default::default());
        assert_eq!(lines.len(), 2);
        assert!(
            lines[1].starts_with("aaaaaaaaaaaa  -     docker"),
            "{lines:?}"
        );
    }
}
