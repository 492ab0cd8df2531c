//! Generated code gets its names: from the perf maps of its processes. Each map is read once.

use crate::context::Origin;
use crate::java_name::java_frame;
use crate::jitmap::{CutAt, JitMap, JitMapError, JitMapLimits, Lines};
use crate::living::Now;
use crate::locate::PlaceId;
use crate::lookup::{Lookup, RecordedOn};
use crate::name::{Named, READ_DEADLINE, jit_frame};
use crate::problem::Problem;
use crate::source::{MapFile, MapOwner, map_path, open_given_map, open_held_map, open_map};
use crate::stack::Unresolved;
use crate::whose_map::{NotItsMap, is_from_before, not_its_map};
use profiler::NsPid;
use profiler::files::{FileError, HeldFile, TargetRoot, within};
use profiler::live::{self, Identity};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An address in generated code, and what the memory is called that it lies in, where that is not
/// anonymous.
pub(crate) type GeneratedAt = (PlaceId, u64, Option<Arc<str>>);

/// A process that generated code.
pub(crate) struct Generator {
    pub(crate) origin: Origin,
    pub(crate) root: Option<Arc<TargetRoot>>,
    pub(crate) host: Option<Arc<TargetRoot>>,
    pub(crate) host_pid: u32,
    pub(crate) identity: Option<Identity>,
    /// As [`crate::tasks::Space::began_ns`].
    pub(crate) began_ns: Option<u64>,
    /// Who has its pid now; `None` where nobody looked.
    pub(crate) now: Option<Now>,
    /// What it said itself while it was recorded.
    pub(crate) snapshot: Option<JitMap>,
    /// Its map, held when it ended.
    pub(crate) held: Option<HeldFile>,
    /// Whether its code is a HotSpot JVM's.
    pub(crate) is_hotspot: bool,
    pub(crate) container: Arc<str>,
}

/// Names generated code by the maps of its processes, processes in parallel.
pub(crate) fn generated(
    processes: Vec<(Generator, Vec<GeneratedAt>)>,
    lookup: &Lookup,
) -> (Named, Vec<Problem>) {
    let mut unused: BTreeMap<u32, &Path> = lookup.perf_maps().collect();
    for (process, _) in &processes {
        unused.remove(&process.host_pid);
    }
    let (named, problems): (Vec<Named>, Vec<Option<Problem>>) = processes
        .into_par_iter()
        .map(|(process, addrs)| name_process(process, addrs, lookup))
        .unzip();
    let unused = unused
        .into_iter()
        .map(|(host_pid, path)| Problem::MapUnused {
            host_pid,
            path: path.to_owned(),
        });
    (
        named.into_iter().flatten().collect(),
        problems.into_iter().flatten().chain(unused).collect(),
    )
}

fn name_process(
    process: Generator,
    addrs: Vec<GeneratedAt>,
    lookup: &Lookup,
) -> (Named, Option<Problem>) {
    let container = Arc::clone(&process.container);
    let is_hotspot = process.is_hotspot;
    let lookup = lookup.clone();
    let refused = |error| Problem::MapRefused {
        container: Arc::clone(&container),
        error,
    };
    let mut wanted: Vec<u64> = addrs.iter().map(|(_, addr, _)| *addr).collect();
    wanted.sort_unstable();
    let read = move || process.map(&lookup, Lines::Of(&wanted));
    let read = within(READ_DEADLINE, "perf map", read);
    let (map, problem) = match read {
        Ok(MapRead::Map(map, path)) => {
            let problem = partial(&map, Arc::clone(&container), path);
            (Some(map), problem)
        }
        Ok(MapRead::Absent) => (None, None),
        Ok(MapRead::NotIts {
            host_pid,
            path,
            why,
        }) => {
            let problem = Problem::MapNotIts {
                container: Arc::clone(&container),
                host_pid,
                path,
                why,
            };
            (None, Some(problem))
        }
        Ok(MapRead::Refused(error)) | Err(error) => (None, Some(refused(error))),
    };
    let name = |addr| {
        let name = map.as_ref().and_then(|map| map.lookup(addr));
        name.map(String::from_utf8_lossy)
    };
    let frame = |addr, memory: Option<Arc<str>>| match name(addr) {
        Some(name) if is_hotspot => java_frame(&name),
        Some(name) => jit_frame(Ok(name.as_ref().into())),
        None => jit_frame(Err(Unresolved::JitWithoutMap(memory.unwrap_or_default()))),
    };
    let named = addrs.into_iter();
    let named = named.map(|(id, addr, memory)| (id, frame(addr, memory)));
    (named.collect(), problem)
}

/// A map, or why there is none.
enum MapRead {
    Map(JitMap, PathBuf),
    Absent,
    Refused(FileError),
    /// One is there under its pid, and is not taken for its own.
    NotIts {
        host_pid: u32,
        path: PathBuf,
        why: NotItsMap,
    },
}

impl Generator {
    /// The map that the user gave; else what it said while it was recorded; else inside its own view
    /// under its own pid; else on the host under its host pid. Of a recording from another host, only
    /// the first.
    fn map(self, lookup: &Lookup, wanted: Lines<'_>) -> MapRead {
        let begin_ns = self.began_ns;
        let host_pid = self.host_pid;
        let own = |file| match file {
            MapFile::Found { file, changed_ns } if is_from_before(begin_ns, changed_ns) => {
                MapRead::NotIts {
                    host_pid,
                    path: file.shown_path().to_owned(),
                    why: NotItsMap::BeforeProcess,
                }
            }
            file => read(file, wanted),
        };
        let read = |file| read(file, wanted);
        let given = lookup.perf_map(self.host_pid);
        if let (Some(path), Some(host)) = (given, &self.host) {
            return read(open_given_map(host, path));
        }
        let held = self.held.as_ref().map(|held| own(open_held_map(held)));
        match (held, self.snapshot) {
            (Some(MapRead::Map(map, path)), Some(older)) => {
                return MapRead::Map(map.over(older), path);
            }
            (_, Some(map)) => {
                let pid = self
                    .identity
                    .map_or(self.host_pid, |identity| identity.ns_pid.0);
                return MapRead::Map(map, map_path(NsPid(pid)));
            }
            (Some(held), None) => return held,
            (None, None) => {}
        }
        if self.origin == Origin::File && lookup.recorded_on() == RecordedOn::Elsewhere {
            return MapRead::Absent;
        }
        let owner = match (self.origin, self.identity) {
            (_, Some(identity)) => MapOwner::Uid(identity.uid),
            (Origin::File, None) => MapOwner::Anyone,
            (Origin::LiveHost, None) => MapOwner::Root,
        };
        let inside = match (&self.root, self.identity) {
            (Some(root), Some(identity)) => open_map(root, identity.ns_pid, owner),
            _ => MapFile::Absent,
        };
        let (MapFile::Absent, Some(host)) = (&inside, &self.host) else {
            return own(inside);
        };
        match open_map(host, NsPid(self.host_pid), owner) {
            MapFile::Found { file, changed_ns } if self.origin == Origin::File => {
                let booted_ns = match lookup.recorded_on() {
                    RecordedOn::Here => live::boot_wall_ns(),
                    _ => None,
                };
                match not_its_map(self.now, changed_ns, booted_ns) {
                    Some(why) => MapRead::NotIts {
                        host_pid: self.host_pid,
                        path: map_path(NsPid(self.host_pid)),
                        why,
                    },
                    None => read(MapFile::Found { file, changed_ns }),
                }
            }
            on_host => own(on_host),
        }
    }
}

fn read(file: MapFile, wanted: Lines<'_>) -> MapRead {
    match file {
        MapFile::Found { file, .. } => {
            let path = file.shown_path().to_owned();
            match JitMap::read(file, &JitMapLimits::default(), wanted) {
                Ok(map) => MapRead::Map(map, path),
                Err(JitMapError::Read { source, .. }) => {
                    MapRead::Refused(FileError::Io { path, source })
                }
            }
        }
        MapFile::Absent => MapRead::Absent,
        MapFile::Refused(error) => MapRead::Refused(error),
    }
}

/// What of a map was not taken. A torn last line is not worth a word: it is being written.
fn partial(map: &JitMap, container: Arc<str>, path: PathBuf) -> Option<Problem> {
    let cut_after = map.cut_at().map(|limit| match limit {
        CutAt::Bytes(bytes) => format!("{bytes} bytes"),
        CutAt::Lines(lines) => format!("{lines} lines"),
    });
    let bad_lines = map.bad_lines();
    (bad_lines > 0 || cut_after.is_some()).then_some(Problem::MapPartial {
        container,
        path,
        bad_lines,
        cut_after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookup::LookupPlaces;
    use std::fs;

    const PID: u32 = 7;

    /// A host whose `/tmp` has maps of pid 7, of pid 1 as a container sees itself, and one elsewhere.
    fn host() -> (tempfile::TempDir, Arc<TargetRoot>) {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("tmp")).expect("ours");
        for (file, name) in [
            ("tmp/perf-7.map", "host"),
            ("tmp/perf-1.map", "inside"),
            ("copy.map", "given"),
        ] {
            fs::write(dir.path().join(file), format!("1000 10 {name}\n")).expect("ours");
        }
        let root = TargetRoot::of_directory(dir.path()).expect("a directory");
        (dir, Arc::new(root))
    }

    fn recorded(host: &Arc<TargetRoot>, now: Option<Now>) -> Generator {
        Generator {
            origin: Origin::File,
            root: None,
            host: Some(Arc::clone(host)),
            host_pid: PID,
            identity: None,
            began_ns: None,
            now,
            snapshot: None,
            held: None,
            is_hotspot: false,
            container: "host".into(),
        }
    }

    /// The name that the map gives, or why there is none.
    fn named(generator: Generator, lookup: &Lookup) -> String {
        match generator.map(lookup, Lines::All) {
            MapRead::Map(map, _) => {
                let name = map.lookup(0x1008).expect("it covers the address");
                String::from_utf8_lossy(name).into_owned()
            }
            MapRead::Absent => "absent".into(),
            MapRead::Refused(error) => error.to_string(),
            MapRead::NotIts {
                host_pid,
                path,
                why,
            } => format!("{why:?} {host_pid} {}", path.display()),
        }
    }

    #[test]
    fn a_recorded_processs_map_is_the_given_one_its_own_or_the_hosts_if_nobody_else_may_have_made_it()
     {
        let (_dir, host) = host();
        let lookup = Lookup::of_host();
        for now in [None, Some(Now::Gone)] {
            assert_eq!(named(recorded(&host, now), &lookup), "host");
        }
        // The map was made just now.
        let now_ns = live::wall_ns();
        const HOUR_NS: u64 = 3_600_000_000_000;
        let another = |began_ns| named(recorded(&host, Some(Now::Another { began_ns })), &lookup);
        for may_have_written_it in [None, Some(now_ns - HOUR_NS)] {
            assert_eq!(another(may_have_written_it), "OfAnother 7 /tmp/perf-7.map");
        }
        assert_eq!(another(Some(now_ns + HOUR_NS)), "host");
        let elsewhere = Lookup::of_host().recorded(RecordedOn::Elsewhere);
        assert_eq!(named(recorded(&host, None), &elsewhere), "absent");

        let given = Lookup::open(LookupPlaces {
            perf_maps: vec![(PID, "/copy.map".into())],
            ..LookupPlaces::default()
        })
        .expect("nothing to open");
        for (now, on) in [
            (Now::Another { began_ns: None }, RecordedOn::Here),
            (Now::Gone, RecordedOn::Elsewhere),
        ] {
            let given = given.clone().recorded(on);
            assert_eq!(named(recorded(&host, Some(now)), &given), "given");
        }
    }

    #[test]
    fn a_living_processs_map_is_the_one_under_its_pid_inside_and_is_its_users() {
        let (dir, host) = host();
        let own = fs::metadata(dir.path().join("tmp/perf-1.map")).expect("ours");
        let owner = std::os::unix::fs::MetadataExt::uid(&own);
        let living = |uid| Generator {
            root: Some(Arc::clone(&host)),
            identity: Some(Identity {
                ns_pid: NsPid(1),
                uid,
            }),
            ..recorded(&host, Some(Now::Same))
        };
        assert_eq!(named(living(owner), &Lookup::of_host()), "inside");
        // Of one that had the pid before: in a container that was started again, or on the host.
        let began = |after_ns: i64| Generator {
            origin: Origin::LiveHost,
            began_ns: live::wall_ns().checked_add_signed(after_ns),
            ..living(owner)
        };
        let lookup = Lookup::of_host();
        assert_eq!(named(began(-1_000_000_000), &lookup), "inside");
        let stale = "BeforeProcess 7 /tmp/perf-1.map";
        assert_eq!(named(began(60_000_000_000), &lookup), stale);
        let on_host = Generator {
            root: None,
            ..began(60_000_000_000)
        };
        let stale = "BeforeProcess 7 /tmp/perf-7.map";
        assert_eq!(named(on_host, &lookup), stale);
        // Root may give it to somebody; to others it is their own.
        let map = dir.path().join("tmp/perf-1.map");
        let owner = if owner == 0 {
            std::os::unix::fs::chown(&map, Some(65534), None).expect("root may");
            65534
        } else {
            owner
        };
        assert_eq!(named(living(owner), &Lookup::of_host()), "inside");
        let refused = named(living(owner - 1), &Lookup::of_host());
        assert!(refused.contains("cannot be read"), "{refused}");
    }
}
