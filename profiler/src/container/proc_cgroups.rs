//! `/proc/PID/cgroup`: the cgroups of one process, one in each hierarchy.

use super::path::{ContainerRef, containers_in};

/// One line of `/proc/PID/cgroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcCgroup {
    /// Number of the hierarchy; 0 is cgroup v2.
    pub hierarchy: u32,
    /// Its v1 controllers, or `name=…`; empty for v2.
    pub controllers: Vec<String>,
    /// The cgroup below that hierarchy's root, as the reader's cgroup namespace shows it.
    pub path: String,
}

/// All the cgroups of one process, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcCgroups {
    /// One for each hierarchy.
    pub lines: Vec<ProcCgroup>,
}

impl ProcCgroups {
    /// Reads the text of `/proc/PID/cgroup`. What is no line of it (a torn last one) is left out.
    pub fn parse(text: &str) -> Self {
        Self {
            lines: text.lines().filter_map(parse_line).collect(),
        }
    }

    /// The path in the hierarchy that perf_event lives in: v1 `perf_event` where there is one,
    /// else v2.
    pub fn perf_path(&self) -> Option<&str> {
        self.path_in(Some("perf_event"))
            .or_else(|| self.path_in(None))
    }

    /// The path in the v1 hierarchy of a controller; with `None` in cgroup v2.
    pub(crate) fn path_in(&self, controller: Option<&str>) -> Option<&str> {
        let line = match controller {
            Some(controller) => self.with_controller(controller),
            None => self.lines.iter().find(|line| line.hierarchy == 0),
        };
        line.map(|line| line.path.as_str())
    }

    /// The process's containers, outermost first: from the line that perf_event lives on, and
    /// where that one is in none, from the first line that is. Runtimes on hybrid hosts do not
    /// enter every hierarchy.
    pub fn containers(&self) -> Vec<ContainerRef> {
        let best = self.container_path();
        best.map(containers_in).unwrap_or_default()
    }

    /// The container that the process is directly in.
    pub fn innermost_container(&self) -> Option<ContainerRef> {
        self.containers().pop()
    }

    /// The path that [`Self::containers`] reads.
    pub fn container_path(&self) -> Option<&str> {
        self.perf_path()
            .into_iter()
            .chain(self.lines.iter().map(|line| line.path.as_str()))
            .find(|path| !containers_in(path).is_empty())
    }

    fn with_controller(&self, controller: &str) -> Option<&ProcCgroup> {
        self.lines
            .iter()
            .find(|line| line.controllers.iter().any(|name| name == controller))
    }
}

fn parse_line(line: &str) -> Option<ProcCgroup> {
    let mut fields = line.splitn(3, ':');
    let hierarchy = fields.next()?.parse().ok()?;
    let controllers = fields.next()?;
    let path = fields.next().filter(|path| path.starts_with('/'))?;
    // cgroup v2 marks a removed cgroup so (proc_cgroup_show in kernel/cgroup/cgroup.c).
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    Some(ProcCgroup {
        hierarchy,
        controllers: controllers
            .split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Runtime;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn innermost(text: &str) -> Option<(Runtime, String)> {
        let container = ProcCgroups::parse(text).innermost_container()?;
        Some((container.runtime, container.id.to_string()))
    }

    #[test]
    fn a_line_has_a_number_controllers_and_a_path_that_may_hold_colons() {
        let text = "11:cpu,cpuacct:/a:b:c\n1:name=systemd:/x\n0::/y z (deleted)\nnonsense\n3:cpu\nx::/\n2:cpu:rel\n";
        let parsed = ProcCgroups::parse(text);
        let line = |hierarchy, controllers: &[&str], path: &str| ProcCgroup {
            hierarchy,
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            path: path.to_owned(),
        };
        assert_eq!(
            parsed.lines,
            [
                line(11, &["cpu", "cpuacct"], "/a:b:c"),
                line(1, &["name=systemd"], "/x"),
                line(0, &[], "/y z"),
            ]
        );
        assert_eq!(ProcCgroups::parse("").lines, []);
    }

    #[test]
    fn the_perf_event_line_wins_over_v2_and_v2_over_the_rest() {
        let v1 = format!("4:cpu:/docker/{B}\n3:perf_event:/docker/{A}\n0::/docker/{B}\n");
        assert_eq!(innermost(&v1), Some((Runtime::Docker, A.to_owned())));
        let hybrid = format!("4:cpu:/docker/{B}\n0::/docker/{A}\n");
        assert_eq!(innermost(&hybrid), Some((Runtime::Docker, A.to_owned())));
        let parsed = ProcCgroups::parse(&v1);
        assert_eq!(parsed.perf_path(), Some(format!("/docker/{A}").as_str()));
    }

    #[test]
    fn a_container_that_only_v1_controllers_know_is_found_all_the_same() {
        let text = format!("4:cpu:/\n3:memory:/docker/{A}\n0::/\n");
        assert_eq!(innermost(&text), Some((Runtime::Docker, A.to_owned())));
        assert_eq!(ProcCgroups::parse(&text).perf_path(), Some("/"));
        assert_eq!(innermost("4:cpu:/\n0::/system.slice/x.service\n"), None);
    }
}
