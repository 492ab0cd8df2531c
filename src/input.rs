//! What `convert` is given: a recording or a text, told apart by its first bytes.

use crate::failure::Failure;
use collapse::text::TextError;
use profiler::perfdata::Recording;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What `convert` was given.
pub(crate) enum Input {
    Recording(Box<Recording>),
    Text(Box<dyn Read>),
}

/// Opens a file, a directory, a pipe or, for `-`, standard input.
pub(crate) fn open(path: &Path) -> Result<Input, Failure> {
    if is_stdin(path) {
        return stream(path, Box::new(io::stdin()));
    }
    let open_error = |source| Failure::OpenInput {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(open_error)?;
    let metadata = file.metadata().map_err(open_error)?;
    let recording = |opened| match opened {
        Ok(recording) => Ok(Input::Recording(Box::new(recording))),
        Err(error) => Err(Failure::recording(path, 0, error)),
    };
    if metadata.is_dir() {
        return recording(Recording::open(path));
    }
    if !metadata.is_file() {
        // Its bytes come once.
        return stream(path, Box::new(file));
    }
    let start = read_start(path, &mut file)?;
    if start.is_empty() {
        return Err(Failure::EmptyFile {
            path: path.to_owned(),
        });
    }
    if Recording::has_magic(&start) {
        return recording(Recording::from_file(file));
    }
    Ok(Input::Text(Box::new(io::Cursor::new(start).chain(file))))
}

fn stream(path: &Path, mut stream: Box<dyn Read + Send>) -> Result<Input, Failure> {
    let start = read_start(path, &mut stream)?;
    let is_recording = Recording::has_magic(&start);
    let stream = io::Cursor::new(start).chain(stream);
    if !is_recording {
        return Ok(Input::Text(Box::new(stream)));
    }
    let recording = Recording::from_stream(Box::new(stream));
    let recording = recording.map_err(|error| Failure::recording(path, 0, error))?;
    Ok(Input::Recording(Box::new(recording)))
}

fn read_start(path: &Path, input: &mut impl Read) -> Result<Vec<u8>, Failure> {
    let mut start = Vec::new();
    input
        .take(Recording::MAGIC_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(|source| Failure::text(path, TextError::Read { byte: 0, source }))?;
    Ok(start)
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// How an input is called.
pub(crate) fn shown(path: &Path) -> String {
    if is_stdin(path) {
        "standard input".into()
    } else {
        path.display().to_string()
    }
}
