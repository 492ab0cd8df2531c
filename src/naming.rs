//! What containers are called: looked up on a thread of its own while they exist, since a runtime
//! removes what it wrote about a container together with the container.

use profiler::container::{Container, Names, ProcCgroups, Tags, host_tag, hostname_in};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use symbolizer::Place;

/// Cgroup path to the container it is in, if any.
type Identified = HashMap<String, Option<Container>>;

/// A container's cgroup path to its UTS namespace. The hostname in it is read when all sampling is over: a runtime
/// sets it some time after it made the namespace.
type UtsNamespaces = HashMap<String, OwnedFd>;

/// A cgroup path that a task was sampled in, and that task's UTS namespace where it is not ours.
struct Question {
    path: String,
    uts: Option<OwnedFd>,
}

/// Looks containers up as soon as a task of theirs is sampled.
pub(crate) struct NameThread {
    ask: Sender<Question>,
    thread: JoinHandle<(Names, Identified, UtsNamespaces)>,
}

/// The asking side, for the thread that samples: never waits.
pub(crate) struct Ask {
    ask: Sender<Question>,
    asked: HashSet<String>,
    /// Paths for which a UTS namespace was sent.
    with_uts: HashSet<String>,
    /// Device and inode of our own UTS namespace.
    own_uts: Option<(u64, u64)>,
}

impl NameThread {
    pub(crate) fn start(names: Names) -> std::io::Result<Self> {
        let (ask, asked) = channel::<Question>();
        let thread = std::thread::Builder::new()
            .name("names".into())
            .spawn(move || {
                let mut identified = Identified::new();
                let mut uts_namespaces = UtsNamespaces::new();
                for Question { path, uts } in asked {
                    let container = identified
                        .entry(path)
                        .or_insert_with_key(|path| Container::identify(path, &names));
                    if let (Some(container), Some(uts)) = (container, uts) {
                        uts_namespaces
                            .entry(container.cgroup_path.clone())
                            .or_insert(uts);
                    }
                }
                (names, identified, uts_namespaces)
            })?;
        Ok(Self { ask, thread })
    }

    pub(crate) fn asker(&self) -> Ask {
        Ask {
            ask: self.ask.clone(),
            asked: HashSet::new(),
            with_uts: HashSet::new(),
            own_uts: fs::metadata("/proc/self/ns/uts")
                .ok()
                .map(|own| (own.dev(), own.ino())),
        }
    }

    /// Ends the thread, once every [`Ask`] is dropped, and gives what it found.
    pub(crate) fn finish(self) -> Tagger {
        drop(self.ask);
        // A panic there loses names, not samples.
        let (names, identified, uts_namespaces) = match self.thread.join() {
            Ok((names, identified, uts_namespaces)) => (Some(names), identified, uts_namespaces),
            Err(_) => (None, Identified::new(), UtsNamespaces::new()),
        };
        Tagger {
            names,
            identified,
            uts_namespaces,
            tags: Tags::default(),
            by_place: HashMap::new(),
            tagged: Vec::new(),
        }
    }
}

impl Ask {
    /// A task is in this place: its container's name will be needed.
    pub(crate) fn seen(&mut self, place: &Place<'_>) {
        for path in paths_of(place) {
            let uts = match place.root.and_then(|root| root.uts_ns()) {
                Some(uts) if !self.with_uts.contains(&path) => self.not_ours(uts),
                _ => None,
            };
            let is_new = self.asked.insert(path.clone());
            if uts.is_some() {
                self.with_uts.insert(path.clone());
            }
            if is_new || uts.is_some() {
                // The other side lives as long as we do.
                let _ = self.ask.send(Question { path, uts });
            }
        }
    }

    /// A descriptor of our own on `uts`, unless that is the namespace that we are in: a runtime enters a container's
    /// cgroup while it is still in the host's namespaces, and its hostname is not the container's.
    fn not_ours(&self, uts: BorrowedFd<'_>) -> Option<OwnedFd> {
        let uts = File::from(uts.try_clone_to_owned().ok()?);
        let found = uts.metadata().ok()?;
        (self.own_uts != Some((found.dev(), found.ino()))).then(|| uts.into())
    }
}

/// Cgroup paths that may tell a task's container, the best first.
fn paths_of(place: &Place<'_>) -> Vec<String> {
    let of_process = place.proc_cgroups.map(ProcCgroups::parse);
    let of_process = of_process.iter().flat_map(|cgroups| {
        let best = cgroups.container_path().or(cgroups.perf_path());
        best.map(str::to_owned)
    });
    place
        .cgroup_path
        .map(str::to_owned)
        .into_iter()
        .chain(of_process)
        .collect()
}

/// Gives each place its tag.
pub(crate) struct Tagger {
    names: Option<Names>,
    identified: Identified,
    uts_namespaces: UtsNamespaces,
    tags: Tags,
    by_place: HashMap<Vec<String>, Arc<str>>,
    /// Those that were given a tag.
    tagged: Vec<(Arc<str>, Container)>,
}

impl Tagger {
    /// The containers that were given a tag, with it. One may come several times.
    pub(crate) fn containers(&self) -> impl Iterator<Item = (&str, &Container)> {
        let tagged = self.tagged.iter();
        tagged.map(|(tag, container)| (&**tag, container))
    }

    /// The tag of what runs in this place.
    pub(crate) fn tag(&mut self, place: &Place<'_>) -> Arc<str> {
        let paths = paths_of(place);
        if let Some(tag) = self.by_place.get(&paths) {
            return Arc::clone(tag);
        }
        let tag = match paths.iter().find_map(|path| self.identify(path)) {
            Some(mut container) => {
                if container.needs_hostname()
                    && container.hostname.is_none()
                    && let Some(uts) = self.uts_namespaces.get(&container.cgroup_path)
                {
                    container.hostname = hostname_in(uts.as_fd()).ok();
                }
                let tag = self.tags.tag(&container);
                self.tagged.push((Arc::clone(&tag), container));
                tag
            }
            None => host_tag(paths.first().map_or("/", String::as_str)).into(),
        };
        self.by_place.insert(paths, Arc::clone(&tag));
        tag
    }

    fn identify(&mut self, path: &str) -> Option<Container> {
        if let Some(known) = self.identified.get(path) {
            return known.clone();
        }
        let found = self
            .names
            .as_ref()
            .and_then(|names| Container::identify(path, names));
        self.identified.insert(path.to_owned(), found.clone());
        found
    }
}
