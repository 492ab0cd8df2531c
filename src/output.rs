//! Where pictures go: checked before the recording, whole or not at all.

use crate::unfinished::{Unfinished, parent};
use collapse::Detail;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Svg,
    Folded,
    /// The recording itself, which perf opens.
    PerfData,
}

/// Where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Standard output.
    Stdout,
    /// A file that appears whole or not at all.
    File(PathBuf),
    /// A device or pipe: written as it is.
    Stream(PathBuf),
}

/// One `-o`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) destination: Destination,
}

/// Why an output cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error("cannot tell the format of {}", path.display())]
    UnknownFormat { path: PathBuf },
    #[error("cannot make {}: `convert` makes no recordings", path.display())]
    Copy { path: PathBuf },
    #[error("cannot write a recording into {}: it is no file", path.display())]
    NotAFile { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot write to standard output")]
    Stdout { source: io::Error },
}

impl OutputError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownFormat { .. } => Some(
                "end the name in .svg or .folded (of `record` also in .data), or use - for an SVG on standard output"
                    .into(),
            ),
            Self::Copy { .. } => Some("end the name in .svg or .folded".into()),
            Self::NotAFile { .. } => {
                Some("its header is written last, at its beginning: choose a file".into())
            }
            Self::Write { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!(
                    "choose another place with -o; {} is not writable",
                    parent(path).display()
                ))
            }
            Self::Write { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("create the directory first, or choose another place with -o".into())
            }
            _ => None,
        }
    }
}

/// Where the picture goes when nobody says.
const DEFAULT: &str = "ctrflame.svg";

/// All outputs, each checked to be writable.
pub(crate) fn all(paths: &[PathBuf]) -> Result<Vec<Output>, OutputError> {
    let default = [PathBuf::from(DEFAULT)];
    let paths = if paths.is_empty() { &default } else { paths };
    let outputs: Vec<Output> = paths
        .iter()
        .map(|path| Output::parse(path))
        .collect::<Result<_, _>>()?;
    outputs.iter().try_for_each(Output::check)?;
    Ok(outputs)
}

/// What of a tree they show.
pub(crate) fn detail(outputs: &[Output]) -> Detail {
    let are_pictures = outputs.iter().all(|output| match output.format {
        Format::Svg | Format::PerfData => true,
        Format::Folded => false,
    });
    if are_pictures {
        flamegraph_web::DETAIL
    } else {
        Detail::All
    }
}

/// Refuses outputs that would be a recording made of a recording.
pub(crate) fn no_recordings(outputs: &[Output]) -> Result<(), OutputError> {
    let data = outputs
        .iter()
        .find(|output| output.format == Format::PerfData);
    match data.map(|output| &output.destination) {
        Some(Destination::File(path) | Destination::Stream(path)) => {
            Err(OutputError::Copy { path: path.clone() })
        }
        _ => Ok(()),
    }
}

impl Output {
    /// What a `-o` means.
    pub(crate) fn parse(path: &Path) -> Result<Self, OutputError> {
        if path == Path::new("-") {
            return Ok(Self {
                format: Format::Svg,
                destination: Destination::Stdout,
            });
        }
        let is_stream =
            std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir());
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => Format::Svg,
            Some("folded" | "collapsed") => Format::Folded,
            Some("data") if is_stream => {
                return Err(OutputError::NotAFile {
                    path: path.to_owned(),
                });
            }
            Some("data") => Format::PerfData,
            _ if is_stream => Format::Svg,
            _ => {
                return Err(OutputError::UnknownFormat {
                    path: path.to_owned(),
                });
            }
        };
        let destination = if is_stream {
            Destination::Stream(path.to_owned())
        } else {
            Destination::File(path.to_owned())
        };
        Ok(Self {
            format,
            destination,
        })
    }

    /// Fails now rather than after the recording, if nothing can be written there.
    pub(crate) fn check(&self) -> Result<(), OutputError> {
        let Destination::File(path) = &self.destination else {
            return Ok(());
        };
        let failed = |source| OutputError::Write {
            path: path.clone(),
            source,
        };
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        // An unnamed file: nothing is left behind, whatever happens.
        tempfile::tempfile_in(parent(path))
            .map(|_| ())
            .map_err(failed)
    }

    /// Writes what `render` makes; a file then appears at once, in place of an older one.
    pub(crate) fn write(
        &self,
        render: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), OutputError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| OutputError::Write { path, source }
        };
        match &self.destination {
            Destination::Stdout => buffered(io::stdout().lock(), render)
                .map_err(|source| OutputError::Stdout { source }),
            Destination::Stream(path) => File::options()
                .write(true)
                .open(path)
                .and_then(|stream| buffered(stream, render))
                .map_err(failed(path)),
            Destination::File(path) => write_whole(path, render).map_err(failed(path)),
        }
    }

    /// Begins a file of an output that is one.
    pub(crate) fn begin(&self) -> Result<Unfinished, OutputError> {
        match &self.destination {
            Destination::File(path) => Unfinished::begin(path).map_err(|source| {
                let path = path.clone();
                OutputError::Write { path, source }
            }),
            Destination::Stream(path) => Err(OutputError::NotAFile { path: path.clone() }),
            Destination::Stdout => Err(OutputError::NotAFile { path: "-".into() }),
        }
    }

    /// How the closing line calls it.
    pub(crate) fn shown(&self) -> String {
        match &self.destination {
            Destination::Stdout => "standard output".into(),
            Destination::File(path) | Destination::Stream(path) => path.display().to_string(),
        }
    }
}

fn write_whole(
    path: &Path,
    render: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let unfinished = Unfinished::begin(path)?;
    buffered(unfinished.file(), render)?;
    unfinished.finish()
}

fn buffered(
    to: impl Write,
    render: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut to = BufWriter::with_capacity(1 << 16, to);
    render(&mut to)?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_chooses_the_format() {
        let format = |path: &str| {
            Output::parse(Path::new(path))
                .map(|output| output.format)
                .ok()
        };
        assert_eq!(format("a.svg"), Some(Format::Svg));
        assert_eq!(format("dir/a.folded"), Some(Format::Folded));
        assert_eq!(format("-"), Some(Format::Svg));
        assert_eq!(format("/dev/null"), Some(Format::Svg));
        assert_eq!(format("dir/perf.data"), Some(Format::PerfData));
        assert_eq!(format("a.png"), None);
        assert_eq!(format("svg"), None);
    }

    #[test]
    fn only_pictures_are_made_of_a_part_of_the_tree() {
        let detail_of = |paths: &[&str]| {
            let outputs = paths.iter().map(|path| Output::parse(Path::new(path)));
            let outputs: Result<Vec<Output>, OutputError> = outputs.collect();
            detail(&outputs.expect("formats"))
        };
        assert_eq!(detail_of(&["a.svg"]), flamegraph_web::DETAIL);
        assert_eq!(detail_of(&["-", "a.data"]), flamegraph_web::DETAIL);
        assert_eq!(detail_of(&["a.folded"]), Detail::All);
        assert_eq!(detail_of(&["a.svg", "a.folded"]), Detail::All);
        assert_eq!(detail_of(&["a.collapsed", "a.svg"]), Detail::All);
    }

    #[test]
    fn a_file_appears_whole_and_an_unwritable_place_fails_before_the_recording() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("out.svg");
        let output = Output::parse(&path).expect("an svg");
        output.check().expect("writable");
        output
            .write(|out| out.write_all(b"first"))
            .expect("written");
        output
            .write(|out| out.write_all(b"second"))
            .expect("written over");
        assert_eq!(std::fs::read(&path).expect("there"), b"second");
        assert_eq!(
            std::fs::read_dir(dir.path()).expect("readable").count(),
            1,
            "something was left beside it"
        );
        let missing = Output::parse(&dir.path().join("no/out.svg")).expect("an svg");
        assert!(matches!(missing.check(), Err(OutputError::Write { .. })));
        let directory = dir.path().join("d.svg");
        std::fs::create_dir(&directory).expect("made");
        assert!(Output::parse(&directory).expect("an svg").check().is_err());
    }
}
