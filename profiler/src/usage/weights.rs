//! The share of the CPUs that weights entitle a container to: at least, and with what others leave.

use super::interval::{GroupUse, Interval};
use super::level::{LevelUse, Weight};

/// A cgroup that used less than this part of one CPU competes with nobody.
const BUSY_CPUS: f64 = 0.01;

/// What a container may have, in CPUs. The rule is the talk's ("Container Performance Analysis",
/// B. Gregg, 2017), for each cgroup on the way to the container and then multiplied: its weight among
/// all those beside it is the minimum, among those of them that are busy the bursting share. A
/// scheduler that may not move tasks to all CPUs can give less.
#[derive(Clone, Debug, PartialEq)]
pub struct Entitlement {
    /// When all others want everything.
    pub minimum_cpus: f64,
    /// When those that were busy in the interval want everything.
    pub bursting_cpus: f64,
    /// The smallest limit on the way, with its cgroup.
    pub limit: Option<(f64, String)>,
    /// CPUs that its cpuset lets it run on.
    pub cpuset_cpus: usize,
}

/// A cgroup beside a container or beside one above it: who competes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// Its path in the CPU controller's hierarchy; the parent's for tasks that are directly in it.
    pub cgroup_path: String,
    /// Its weight.
    pub weight: Weight,
    /// CPUs that it used.
    pub cpus: f64,
}

impl Interval {
    /// What a container could have had; `None` where the CPU controller does not know it or siblings
    /// were not read.
    pub fn entitlement(&self, group: &GroupUse) -> Option<Entitlement> {
        let online = self.host.online();
        let cpuset_cpus = group
            .cpuset
            .as_ref()
            .map_or(online.len(), |cpus| cpus.and(&online).len());
        if group.levels.is_empty() || online.is_empty() {
            return None;
        }
        let (mut minimum, mut bursting) = (1.0, 1.0);
        for level in &group.levels {
            // Without the controller it competes as a part of the cgroup above.
            let Some(Weight(own)) = level.weight else {
                continue;
            };
            let beside = self.beside(level);
            let sum = |tenants: &mut dyn Iterator<Item = &Tenant>| -> f64 {
                tenants.map(|tenant| tenant.weight.0).sum()
            };
            let all = sum(&mut beside.iter().filter(|one| is_cgroup(one, level)));
            let busy = sum(&mut beside.iter().filter(|one| one.cpus >= BUSY_CPUS));
            minimum *= own / (own + all);
            bursting *= own / (own + busy);
        }
        let limit = group
            .levels
            .iter()
            .filter_map(|level| Some((level.quota?.cpus(), level.cgroup_path.clone())))
            .min_by(|a, b| a.0.total_cmp(&b.0));
        let most = limit
            .as_ref()
            .map_or(f64::INFINITY, |(cpus, _)| *cpus)
            .min(cpuset_cpus as f64);
        let of_host = |share: f64| (share * online.len() as f64).min(most);
        Some(Entitlement {
            minimum_cpus: of_host(minimum),
            bursting_cpus: of_host(bursting),
            limit,
            cpuset_cpus,
        })
    }

    /// Those that compete with a cgroup for its parent's time: the cgroups beside it, and as one of
    /// default weight for each CPU that they used, the tasks directly in the parent.
    pub fn beside(&self, level: &LevelUse) -> Vec<Tenant> {
        let parent = parent_of(&level.cgroup_path);
        let children = || {
            self.levels
                .values()
                .filter(|other| parent_of(&other.cgroup_path) == parent)
        };
        let mut tenants: Vec<Tenant> = children()
            .filter(|other| other.cgroup_path != level.cgroup_path)
            .map(|other| Tenant {
                cgroup_path: other.cgroup_path.clone(),
                weight: other.weight.unwrap_or(Weight::DEFAULT),
                cpus: self.cpus(other.cpu_ns.unwrap_or(0)),
            })
            .collect();
        let whole = match parent {
            "" => self.root_cpu_ns,
            parent => self.levels.get(parent).and_then(|parent| parent.cpu_ns),
        };
        let in_children: u64 = children().filter_map(|child| child.cpu_ns).sum();
        if let Some(direct) = whole.and_then(|whole| whole.checked_sub(in_children)) {
            let cpus = self.cpus(direct);
            if cpus >= BUSY_CPUS {
                tenants.push(Tenant {
                    cgroup_path: if parent.is_empty() { "/" } else { parent }.to_owned(),
                    weight: Weight(Weight::DEFAULT.0 * cpus.ceil()),
                    cpus,
                });
            }
        }
        tenants
    }
}

fn is_cgroup(tenant: &Tenant, level: &LevelUse) -> bool {
    tenant.cgroup_path.len() > parent_of(&level.cgroup_path).len().max(1)
}

/// `""` for the root's children.
fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
#[path = "weights_tests.rs"]
mod tests;
