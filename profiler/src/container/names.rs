//! What the runtimes left on disk about a container: its name, its pod, its image.

use super::engine_dirs::EngineDirs;
pub use super::engine_files::ContainerName;
use super::engine_files::{
    bundle_config, docker_config, read_bounded, runc_cgroup_dirs, storage_list,
};
use super::hierarchy::{Hierarchy, below};
use super::path::{ContainerRef, Located, Runtime, is_hex_id, located_in};
use super::proc_cgroups::ProcCgroups;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The names of this host's containers. Loading finds where the engines keep them; the files of a
/// container are read when it is looked up, so that one started later is found as well. No engine
/// is asked and none needs to run. Look a short-lived container up while it lives: `docker run
/// --rm` takes its files away.
#[derive(Debug)]
pub struct Names {
    fs_root: PathBuf,
    hierarchy: Option<Hierarchy>,
    dirs: EngineDirs,
    /// The containers that we are in ourselves.
    own_chain: Vec<ContainerRef>,
    by_path: Mutex<PathIndex>,
    storage: Mutex<HashMap<PathBuf, StorageList>>,
    /// containerd's namespaces, by the directory that they are in, with that directory's time.
    namespaces: Mutex<HashMap<PathBuf, (SystemTime, Subdirectories)>>,
}

/// Names and paths, by name.
type Subdirectories = Vec<(String, PathBuf)>;

/// A directory that was changed this long ago is not changed again without another time: file systems count
/// time in ticks.
const SETTLED: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct StorageList {
    modified: Option<SystemTime>,
    by_id: HashMap<String, ContainerName>,
}

/// Containers whose id is a name that somebody chose (runc, ctr): only the cgroup that their
/// runtime wrote down connects them with a path.
#[derive(Debug, Default)]
struct PathIndex {
    /// The directories that it was read from. Not set while one of them was being filled.
    read_from: Option<Vec<(PathBuf, Option<SystemTime>)>>,
    by_path: HashMap<String, (ContainerRef, ContainerName)>,
}

impl Names {
    /// Of the host whose filesystem lies below `fs_root` (`/`, except for frozen trees).
    pub fn load(fs_root: &Path) -> Self {
        let own = read_bounded(&fs_root.join("proc/self/cgroup")).unwrap_or_default();
        Self {
            fs_root: fs_root.to_owned(),
            hierarchy: Hierarchy::discover_with_root(fs_root).ok(),
            dirs: EngineDirs::discover(fs_root),
            own_chain: ProcCgroups::parse(&String::from_utf8_lossy(&own)).containers(),
            by_path: Mutex::default(),
            storage: Mutex::default(),
            namespaces: Mutex::default(),
        }
    }

    /// Also reads runc's state below `dir`, a directory as the host names it: `runc --root DIR`
    /// leaves no other trace.
    pub fn add_runc_root(&mut self, dir: &Path) {
        self.dirs.runc.push(dir.to_owned());
        self.by_path = Mutex::default();
    }

    /// What the container is called whose cgroup is `cgroup_path` or above it. `None` where nothing
    /// on this host's disks knows it.
    pub fn lookup(&self, container: &ContainerRef, cgroup_path: &str) -> Option<ContainerName> {
        let chain = self.located(cgroup_path);
        let depth = chain
            .iter()
            .rposition(|located| located.container == *container);
        let outer = chain.get(..depth.unwrap_or(0)).unwrap_or(&[]);
        // A container can make cgroups below its own, and give them another container's id. What
        // is nested is known to the engine inside, whose files are not ours, unless we are inside.
        let ours = outer.len() <= self.own_chain.len()
            && outer
                .iter()
                .zip(&self.own_chain)
                .all(|(outer, own)| outer.container == *own);
        if !ours {
            return None;
        }
        let end = depth
            .and_then(|depth| chain.get(depth))
            .map_or(cgroup_path.len(), |located| located.end);
        let own_dir = cgroup_path.get(..end).unwrap_or(cgroup_path);
        if is_hex_id(&container.id)
            && let Some(name) = self.by_id(&container.id, cgroup_path)
        {
            return Some(name);
        }
        let index = self.index();
        index.by_path.get(own_dir).map(|(_, name)| name.clone())
    }

    /// The containers of a path, outermost first: by shape, and those that only their runtime's
    /// state tells (a plain runc container may be in any cgroup).
    pub(crate) fn located(&self, cgroup_path: &str) -> Vec<Located> {
        let mut chain = located_in(cgroup_path);
        for (path, (container, _)) in &self.index().by_path {
            let below = cgroup_path.strip_prefix(path.as_str());
            if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                && !chain.iter().any(|located| located.end == path.len())
            {
                chain.push(Located {
                    container: container.clone(),
                    end: path.len(),
                });
            }
        }
        chain.sort_by_key(|located| located.end);
        chain
    }

    fn by_id(&self, id: &str, cgroup_path: &str) -> Option<ContainerName> {
        self.docker(id)
            .or_else(|| self.task(id))
            .or_else(|| self.stored(id))
            .or_else(|| self.conmon(id, cgroup_path))
    }

    fn docker(&self, id: &str) -> Option<ContainerName> {
        self.dirs.docker.iter().find_map(|root| {
            let containers = below(&self.fs_root, root).join("containers");
            docker_config(&containers.join(id).join("config.v2.json"))
        })
    }

    fn task(&self, id: &str) -> Option<ContainerName> {
        self.task_namespaces()
            .into_iter()
            .find_map(|(namespace, dir)| {
                let mut name = bundle_config(&dir.join(id).join("config.json"))?.name;
                // dockerd's own containerd has its tasks in the namespace `moby`.
                let docker = namespace == "moby";
                name.engine = Some(if docker {
                    Runtime::Docker
                } else {
                    Runtime::Containerd
                });
                Some(name)
            })
    }

    /// containerd's namespaces and the directory of each one's tasks: listed again when there is a new one.
    fn task_namespaces(&self) -> Subdirectories {
        let mut known = lock(&self.namespaces);
        let mut all = Vec::new();
        for tasks in &self.dirs.tasks {
            let dir = below(&self.fs_root, tasks);
            let modified = fs::metadata(&dir).and_then(|meta| meta.modified());
            let Ok(modified) = modified else {
                continue;
            };
            match known.get(&dir) {
                Some((then, listed)) if *then == modified => all.extend(listed.iter().cloned()),
                _ => {
                    let listed: Subdirectories = subdirectories(&dir).collect();
                    all.extend(listed.iter().cloned());
                    if modified.elapsed().is_ok_and(|age| age > SETTLED) {
                        known.insert(dir, (modified, listed));
                    }
                }
            }
        }
        all
    }

    /// The storage's list has podman's name and the image, the bundle's annotations the pod.
    fn stored(&self, id: &str) -> Option<ContainerName> {
        let mut found: Option<ContainerName> = None;
        for root in &self.dirs.storage {
            let drivers = subdirectories(&below(&self.fs_root, root))
                .filter(|(driver, _)| driver.ends_with("-containers"));
            for (_, dir) in drivers {
                let listed = ["containers.json", "volatile-containers.json"]
                    .iter()
                    .find_map(|file| self.listed(&dir.join(file), id));
                let bundle = bundle_config(&dir.join(id).join("userdata/config.json"));
                for name in bundle.map(|bundle| bundle.name).into_iter().chain(listed) {
                    found = Some(match found {
                        Some(known) => merged(known, name),
                        None => name,
                    });
                }
            }
        }
        found
    }

    /// One container of a storage's list, which is read again only when it has changed.
    fn listed(&self, file: &Path, id: &str) -> Option<ContainerName> {
        let modified = fs::symlink_metadata(file).ok()?.modified().ok();
        let mut lists = lock(&self.storage);
        let stale = lists
            .get(file)
            .is_none_or(|list| list.modified.is_none() || list.modified != modified);
        if stale {
            let by_id = storage_list(file)?;
            lists.insert(file.to_owned(), StorageList { modified, by_id });
        }
        lists.get(file)?.by_id.get(id).cloned()
    }

    /// A rootless podman's files are its user's: they are not read. Its conmon has said the name.
    fn conmon(&self, id: &str, cgroup_path: &str) -> Option<ContainerName> {
        let conmon = self.dirs.conmons.get(id)?;
        if let Some(uid) = conmon.uid {
            let slice = format!("user-{uid}.slice");
            cgroup_path.split('/').find(|part| *part == slice)?;
        }
        Some(ContainerName {
            name: Some(conmon.name.clone()),
            ..ContainerName::default()
        })
    }

    /// The index, read again if a container came or went since.
    fn index(&self) -> MutexGuard<'_, PathIndex> {
        let mut index = lock(&self.by_path);
        let runc = self.dirs.runc.iter().map(|dir| below(&self.fs_root, dir));
        let tasks = self.task_namespaces().into_iter().map(|(_, dir)| dir);
        let now: Vec<_> = runc
            .chain(tasks)
            .map(|dir| {
                let modified = fs::metadata(&dir).and_then(|meta| meta.modified()).ok();
                (dir, modified)
            })
            .collect();
        if index.read_from.as_ref() != Some(&now) {
            *index = self.read_index(now);
        }
        index
    }

    fn read_index(&self, read_from: Vec<(PathBuf, Option<SystemTime>)>) -> PathIndex {
        let mut index = PathIndex::default();
        let mut complete = true;
        let runc = self.dirs.runc.iter();
        for (id, dir) in runc.flat_map(|root| subdirectories(&below(&self.fs_root, root))) {
            // The engines call runc with their own ids, which the path's shape tells already.
            if is_hex_id(&id) {
                continue;
            }
            match runc_cgroup_dirs(&dir.join("state.json")) {
                Some(dirs) => {
                    for dir in dirs {
                        index.insert(self.path_of(&dir), Runtime::Runc, &id, None);
                    }
                }
                None => complete = false,
            }
        }
        for (id, dir) in self
            .task_namespaces()
            .into_iter()
            .flat_map(|(_, dir)| subdirectories(&dir))
        {
            if is_hex_id(&id) {
                continue;
            }
            match bundle_config(&dir.join("config.json")) {
                Some(bundle) => {
                    if let Some(path) = bundle.cgroups_path.as_deref() {
                        index.insert(expanded(path), Runtime::Containerd, &id, Some(bundle.name));
                    }
                }
                None => complete = false,
            }
        }
        index.read_from = complete.then_some(read_from);
        index
    }

    fn path_of(&self, dir: &str) -> String {
        match &self.hierarchy {
            Some(hierarchy) => hierarchy.path_of(dir),
            None => dir.to_owned(),
        }
    }
}

impl PathIndex {
    fn insert(&mut self, path: String, runtime: Runtime, id: &str, name: Option<ContainerName>) {
        // A container in the root cgroup would make the whole host one.
        if path.len() <= 1 {
            return;
        }
        let mut name = name.unwrap_or_default();
        name.name.get_or_insert_with(|| id.to_owned());
        name.engine = Some(runtime);
        let id = Arc::from(id);
        self.by_path
            .insert(path, (ContainerRef { runtime, id }, name));
    }
}

/// Where runc puts `slice:prefix:name` under systemd; a plain path is itself, from the root.
fn expanded(cgroups_path: &str) -> String {
    let fields: Vec<&str> = cgroups_path.split(':').collect();
    let [slice, prefix, name] = fields[..] else {
        return format!("/{}", cgroups_path.trim_matches('/'));
    };
    let mut path = String::new();
    // A slice `a-b.slice` lies in `a.slice` (systemd.slice(5)).
    // `-.slice` is the root.
    if let Some(stem) = slice.strip_suffix(".slice").filter(|stem| *stem != "-") {
        let ends = stem
            .match_indices('-')
            .map(|(at, _)| at)
            .chain([stem.len()]);
        for end in ends.filter(|end| *end > 0) {
            path.push('/');
            path.push_str(stem.get(..end).unwrap_or(stem));
            path.push_str(".slice");
        }
    }
    if prefix.is_empty() {
        format!("{path}/{name}.scope")
    } else {
        format!("{path}/{prefix}-{name}.scope")
    }
}

/// `known`, completed by what only `more` says.
fn merged(known: ContainerName, more: ContainerName) -> ContainerName {
    ContainerName {
        name: known.name.or(more.name),
        pod: known.pod.or(more.pod),
        namespace: known.namespace.or(more.namespace),
        container: known.container.or(more.container),
        image: known.image.or(more.image),
        hostname: known.hostname.or(more.hostname),
        engine: known.engine.or(more.engine),
    }
}

/// Names and paths of the directories in a directory, by name. Empty where there is none.
fn subdirectories(dir: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let mut found: Vec<(String, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            entry.file_type().ok().filter(fs::FileType::is_dir)?;
            Some((entry.file_name().into_string().ok()?, entry.path()))
        })
        .collect();
    found.sort();
    found.into_iter()
}

/// A cache is as good after a panic as before.
fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
