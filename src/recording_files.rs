//! `record -o x.data`: the events go into files while they are counted, the names behind them.

use crate::naming::Tagger;
use crate::output::{Format, Output, OutputError};
use crate::unfinished::Unfinished;
use profiler::container::Container;
use profiler::live::{self, Config, KernelMaps, Recorded};
use profiler::perfdata::sidecar::{ContainerSeen, SidecarBuilder};
use profiler::perfdata::write::{Ending, Origin, Sampled, Writer};
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;
use symbolizer::{Kept, Tap, Told};

/// The files of a recording, while it is made.
pub(crate) struct RecordingFiles {
    files: Rc<RefCell<Vec<Begun>>>,
    origin: Origin,
}

/// A file, and where it will be.
struct Begun {
    writer: Writer<File>,
    unfinished: Unfinished,
}

impl RecordingFiles {
    /// Begins those of `outputs` that are recordings; `None` if none is.
    pub(crate) fn begin(outputs: &[Output]) -> Result<Option<Self>, OutputError> {
        let wanted = || {
            outputs
                .iter()
                .filter(|output| output.format == Format::PerfData)
        };
        if wanted().next().is_none() {
            return Ok(None);
        }
        let kernel = KernelMaps::of_running();
        let mut files = Vec::new();
        for output in wanted() {
            let unfinished = output.begin()?;
            let file = unfinished.file().try_clone();
            let file = file.map_err(|source| failed(unfinished.path(), source))?;
            let writer = Writer::begin(file, &kernel);
            files.push(Begun { writer, unfinished });
        }
        let recorder = format!("ctrflame {}", env!("CARGO_PKG_VERSION"));
        let arguments = std::env::args_os();
        let command_line = arguments.map(|argument| argument.to_string_lossy().into_owned());
        Ok(Some(Self {
            files: Rc::new(RefCell::new(files)),
            origin: live::origin(recorder, command_line.collect()),
        }))
    }

    /// What the events are given to.
    pub(crate) fn tap(&self) -> Tap {
        let files = Rc::clone(&self.files);
        Box::new(move |told| {
            for begun in files.borrow_mut().iter_mut() {
                match told {
                    Told::Event(event) => begun.writer.event(event),
                    Told::SampleWaits(sample) => begun.writer.sample_waits(sample),
                    Told::SampleCame(sample) => begun.writer.sample_came(sample),
                }
            }
        })
    }

    /// Writes what comes behind the events; the files then appear. One that cannot be written does
    /// not keep the others from being written; the first error is returned.
    pub(crate) fn finish(
        self,
        config: &Config,
        recorded: &Recorded,
        kept: Kept,
    ) -> Result<(), OutputError> {
        let mut sidecar = kept.sidecar;
        let max_stack = live::max_stack();
        sidecar.sidecar.max_stack = u32::try_from(max_stack).unwrap_or(u32::MAX);
        let sidecar = sidecar.finish();
        let ending = Ending {
            sampled: Sampled {
                event: recorded.event,
                rate_hz: config.rate_hz,
                kernel: recorded.kernel,
                max_stack: u16::try_from(max_stack).unwrap_or(u16::MAX),
            },
            origin: &self.origin,
            lost: recorded.lost,
            build_ids: &kept.build_ids,
            sidecar: &sidecar,
        };
        let mut written = Ok(());
        for Begun { writer, unfinished } in self.files.take() {
            let finished = match writer.finish(&ending) {
                Ok(_) => {
                    let path = unfinished.path().to_owned();
                    unfinished.finish().map_err(|source| failed(&path, source))
                }
                Err(source) => Err(failed(unfinished.path(), source)),
            };
            written = written.and(finished);
        }
        written
    }
}

fn failed(path: &Path, source: io::Error) -> OutputError {
    OutputError::Write {
        path: path.to_owned(),
        source,
    }
}

/// Adds the containers that were sampled to what a recording carries.
pub(crate) fn add_containers(sidecar: &mut SidecarBuilder, tagger: &Tagger) {
    for (tag, container) in tagger.containers() {
        let seen = ContainerSeen {
            tag: sidecar.text(tag),
            id: sidecar.text(&container.reference.id),
            name: sidecar.text(&name_of(container)),
            cgroup_path: sidecar.text(&container.cgroup_path),
        };
        sidecar.sidecar.containers.push(seen);
    }
}

/// `namespace/pod/container` in Kubernetes, else the name that its engine gave it, else its hostname.
fn name_of(container: &Container) -> String {
    let name = &container.name;
    if name.pod.is_some() {
        let parts = [&name.namespace, &name.pod, &name.container];
        let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        return parts.join("/");
    }
    let names = [&name.name, &container.hostname, &name.hostname];
    let found = names.into_iter().flatten().next();
    found.cloned().unwrap_or_default()
}
