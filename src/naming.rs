//! What containers are called: looked up on a thread of its own while they exist, since a runtime
//! removes what it wrote about a container together with the container.

use profiler::container::{Container, Names, ProcCgroups, Tags, host_tag, hostname_in};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use symbolizer::Place;

/// Cgroup path to the container it is in, if any.
type Identified = HashMap<String, Option<Container>>;

/// Looks containers up as soon as a task of theirs is sampled.
pub(crate) struct NameThread {
    ask: Sender<String>,
    thread: JoinHandle<(Names, Identified)>,
}

/// The asking side, for the thread that samples: never waits.
pub(crate) struct Ask {
    ask: Sender<String>,
    asked: HashSet<String>,
}

impl NameThread {
    pub(crate) fn start(names: Names) -> std::io::Result<Self> {
        let (ask, asked) = channel::<String>();
        let thread = std::thread::Builder::new()
            .name("names".into())
            .spawn(move || {
                let mut identified = Identified::new();
                for path in asked {
                    let container = Container::identify(&path, &names);
                    identified.insert(path, container);
                }
                (names, identified)
            })?;
        Ok(Self { ask, thread })
    }

    pub(crate) fn asker(&self) -> Ask {
        Ask {
            ask: self.ask.clone(),
            asked: HashSet::new(),
        }
    }

    /// Ends the thread, once every [`Ask`] is dropped, and gives what it found.
    pub(crate) fn finish(self) -> Tagger {
        drop(self.ask);
        // A panic there loses names, not samples.
        let (names, identified) = match self.thread.join() {
            Ok((names, identified)) => (Some(names), identified),
            Err(_) => (None, Identified::new()),
        };
        Tagger {
            names,
            identified,
            tags: Tags::default(),
            by_place: HashMap::new(),
        }
    }
}

impl Ask {
    /// A task is in this place: its container's name will be needed.
    pub(crate) fn seen(&mut self, place: &Place<'_>) {
        for path in paths_of(place) {
            if !self.asked.contains(&path) {
                self.asked.insert(path.clone());
                // The other side lives as long as we do.
                let _ = self.ask.send(path);
            }
        }
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
    tags: Tags,
    by_place: HashMap<Vec<String>, Arc<str>>,
}

impl Tagger {
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
                    && let Some(uts) = place.root.and_then(|root| root.uts_ns())
                {
                    container.hostname = hostname_in(uts).ok();
                }
                self.tags.tag(&container)
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
