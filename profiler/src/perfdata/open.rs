//! Opening a recording: its header, its events and what it says of itself, before any record is read.

use super::about::{About, RecordedEvent};
use super::bytes::{ByteOrder, Fields};
use super::events::EventTable;
use super::header::{self, FILE_BYTES, FileHeader, Format, PIPE_BYTES, Section};
use super::source::{Parts, Source};
use super::stream::{RoundMarks, Stream};
use super::{PerfDataError, attr, features, header_records, inflate, sidecar};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Header, attrs and ids of a file that comes as a stream; a feature section.
const MOST_HEADER_BYTES: u64 = 64 << 20;
/// How far into a pipe its events are looked for before it is read.
const LEADING_BYTES: usize = 256 << 10;

/// An opened recording. What is known of it is what its header says; a pipe's header records are
/// read ahead as far as they come first.
pub struct Recording {
    pub(crate) about: About,
    /// As far as they are known.
    pub(crate) events: EventTable,
    pub(crate) streams: Vec<Stream>,
    /// The header was never completed: perf was killed.
    pub(crate) is_unclosed: bool,
    /// The records are in the order in which they were delivered when they were recorded.
    pub(crate) is_in_order: bool,
    /// Features that lie behind the records of a stream.
    pub(crate) features_behind: Option<FileHeader>,
    /// Bytes of all its files, where they are files.
    pub(crate) len_bytes: Option<u64>,
}

impl Recording {
    /// As many bytes tell whether something is a recording at all.
    pub const MAGIC_BYTES: usize = header::MAGIC_BYTES;

    /// Whether these are the first bytes of a recording.
    pub fn has_magic(start: &[u8]) -> bool {
        header::has_magic(start)
    }

    /// Opens a file, a pipe's recording in a file, a named pipe, or a directory of `perf record --threads`.
    pub fn open(path: &Path) -> Result<Self, PerfDataError> {
        let open = |path: &Path| {
            File::open(path).map_err(|source| PerfDataError::Open {
                path: path.to_owned(),
                source,
            })
        };
        let file = open(path)?;
        let is_directory = file.metadata().is_ok_and(|file| file.is_dir());
        if !is_directory {
            return Self::from_file(file);
        }
        let data = match open(&path.join("data")) {
            Err(PerfDataError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(PerfDataError::NoDirectoryRecording);
            }
            opened => opened?,
        };
        let mut recording = Self::from_file(data)?;
        for path in numbered_files(path)? {
            recording.about.is_directory_head = false;
            let file = open(&path)?;
            let len = file.metadata().map_or(0, |file| file.len());
            recording.len_bytes = recording.len_bytes.map(|sum| sum.saturating_add(len));
            let source = Source::file(file, 0, None);
            recording.add_stream(source, RoundMarks::None, len);
        }
        for stream in &mut recording.streams {
            stream.ignore_round_marks();
        }
        Ok(recording)
    }

    /// Reads the recording that an open file has, from its first byte whatever its position.
    pub fn from_file(file: File) -> Result<Self, PerfDataError> {
        let read_error = |source| PerfDataError::Read { offset: 0, source };
        let metadata = file.metadata().map_err(read_error)?;
        if !metadata.is_file() {
            return Self::from_stream(Box::new(file));
        }
        let len = metadata.len();
        let mut start = [0; FILE_BYTES];
        let start = read_start(&file, &mut start, 0).map_err(read_error)?;
        let (order, format) = header::read(start)?;
        match format {
            Format::Pipe => {
                let mut leading = vec![0; LEADING_BYTES];
                let offset = PIPE_BYTES as u64;
                let leading = read_start(&file, &mut leading, offset).map_err(read_error)?;
                let source = match file.try_clone() {
                    Ok(file) => Source::file(file, offset, None),
                    Err(source) => return Err(PerfDataError::Read { offset: 0, source }),
                };
                let mut recording = Self::pipe(order, leading);
                recording.len_bytes = Some(len);
                recording.add_stream(source, RoundMarks::Records, len);
                Ok(recording)
            }
            Format::File(header) => {
                check_reaches_records(&header, len)?;
                let parts = Parts::File(&file);
                let mut recording = Self::new(About::new(order, false));
                recording.events = read_attrs(&header, order, &parts, len)?;
                recording.about.is_directory_head =
                    header.has_feature(features::number::DIR_FORMAT);
                recording.is_unclosed = header.data.len_bytes == 0;
                recording.is_in_order = header.has_feature(sidecar::FEATURE);
                recording.len_bytes = Some(len);
                let end = (!recording.is_unclosed).then(|| data_end(&header));
                if end.is_some() {
                    read_features(&header, &parts, &mut recording.about, &mut recording.events);
                }
                recording.events.number_equal_names();
                let source = Source::file(file, header.data.offset, end);
                recording.add_stream(source, RoundMarks::Records, len);
                Ok(recording)
            }
        }
    }

    /// Reads a stream, such as standard input: a pipe's recording, or a file's that comes as a stream.
    pub fn from_stream(mut stream: Box<dyn Read + Send>) -> Result<Self, PerfDataError> {
        let mut start = Vec::new();
        read_more(&mut stream, &mut start, PIPE_BYTES)?;
        let is_pipe = matches!(header::read(&start), Ok((_, Format::Pipe)));
        if !is_pipe {
            read_more(&mut stream, &mut start, FILE_BYTES)?;
        }
        let (order, format) = header::read(&start)?;
        let header = match format {
            Format::File(header) => header,
            Format::Pipe => {
                let mut leading = Vec::new();
                read_more(&mut stream, &mut leading, LEADING_BYTES)?;
                let mut recording = Self::pipe(order, &leading);
                let stream = Box::new(io::Cursor::new(leading).chain(stream));
                let source = Source::stream(stream, PIPE_BYTES as u64, None);
                recording.add_stream(source, RoundMarks::Records, 0);
                return Ok(recording);
            }
        };
        if !(FILE_BYTES as u64..MOST_HEADER_BYTES).contains(&header.data.offset) {
            return Err(PerfDataError::BadField {
                offset: 40,
                what: "offset of the records (behind the header expected)",
                found: header.data.offset,
            });
        }
        read_more(&mut stream, &mut start, header.data.offset as usize)?;
        check_reaches_records(&header, start.len() as u64)?;
        let parts = Parts::Kept {
            bytes: &start,
            offset: 0,
        };
        let mut recording = Self::new(About::new(order, false));
        recording.events = read_attrs(&header, order, &parts, MOST_HEADER_BYTES)?;
        recording.events.number_equal_names();
        recording.about.is_directory_head = header.has_feature(features::number::DIR_FORMAT);
        recording.is_unclosed = header.data.len_bytes == 0;
        recording.is_in_order = header.has_feature(sidecar::FEATURE);
        let end = (!recording.is_unclosed).then(|| data_end(&header));
        recording.features_behind = end.map(|_| header);
        let source = Source::stream(stream, header.data.offset, end);
        recording.add_stream(source, RoundMarks::Records, 0);
        Ok(recording)
    }

    /// Whether it is one of ours: it carries a sidecar, though that may be found damaged or, of a
    /// stream, come last.
    pub fn is_ours(&self) -> bool {
        self.is_in_order
    }

    /// What the recording says of itself; of a stream, what its start says.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Its events, in the recording's order; those of a pipe as far as its start names them.
    pub fn events(&self) -> &[RecordedEvent] {
        self.events.events()
    }

    fn new(about: About) -> Self {
        Self {
            about,
            events: EventTable::default(),
            streams: Vec::new(),
            is_unclosed: false,
            is_in_order: false,
            features_behind: None,
            len_bytes: None,
        }
    }

    fn pipe(order: ByteOrder, leading: &[u8]) -> Self {
        let mut recording = Self::new(About::new(order, true));
        let offset = PIPE_BYTES as u64;
        let (about, events) = (&mut recording.about, &mut recording.events);
        header_records::read_leading(leading, offset, about, events);
        recording.events.settle();
        recording.events.number_equal_names();
        recording
    }

    fn add_stream(&mut self, source: Source, marks: RoundMarks, len_bytes: u64) {
        // A damaged header must not cost more memory than the file is worth; of a stream nobody knows.
        // 32 MiB are enough for all levels of zstd but the highest two.
        let window = len_bytes.saturating_mul(2).saturating_add(32 << 20);
        let window = window.min(inflate::LARGEST_WINDOW_BYTES);
        let order = self.about.byte_order;
        self.streams.push(Stream::new(source, order, marks, window));
    }
}

/// Whether a file of `len_bytes` goes as far as to its first record.
fn check_reaches_records(header: &FileHeader, len_bytes: u64) -> Result<(), PerfDataError> {
    match header.data.offset.checked_sub(len_bytes) {
        None | Some(0) => Ok(()),
        Some(wanted_bytes) => Err(PerfDataError::Truncated {
            offset: len_bytes,
            what: "header",
            wanted_bytes,
            found_bytes: 0,
        }),
    }
}

fn data_end(header: &FileHeader) -> u64 {
    header.data.end()
}

/// As many bytes at `offset` as there are, up to `buffer`'s length.
fn read_start<'a>(file: &File, buffer: &'a mut [u8], offset: u64) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}

/// Reads until `kept` has `len` bytes, or all of a shorter stream.
fn read_more(
    stream: &mut Box<dyn Read + Send>,
    kept: &mut Vec<u8>,
    len: usize,
) -> Result<(), PerfDataError> {
    let missing = len.saturating_sub(kept.len()) as u64;
    let offset = kept.len() as u64;
    match stream.take(missing).read_to_end(kept) {
        Ok(_) => Ok(()),
        Err(source) => Err(PerfDataError::Read { offset, source }),
    }
}

/// The attrs and their ids; `most_ids_bytes` bounds the ids of all of them together.
fn read_attrs(
    header: &FileHeader,
    order: ByteOrder,
    parts: &Parts<'_>,
    most_ids_bytes: u64,
) -> Result<EventTable, PerfDataError> {
    let stride = usize::try_from(header.attr_stride).unwrap_or(usize::MAX);
    if stride < 80 {
        return Err(PerfDataError::BadField {
            offset: 16,
            what: "size of an attr and its ids section (80 or more expected)",
            found: header.attr_stride,
        });
    }
    let bytes = parts.read(header.attrs, "attrs", MOST_HEADER_BYTES)?;
    let mut events = EventTable::default();
    let mut ids_left = most_ids_bytes;
    let mut offset = header.attrs.offset;
    for entry in bytes.chunks_exact(stride) {
        let mut fields = Fields::new(entry, offset, order, "attrs");
        let mut event = attr::read(&mut fields)?;
        let ids: Section = header::section(&mut fields)?;
        if ids.len_bytes > 0 {
            let bytes = parts.read(ids, "ids of an event", ids_left)?;
            ids_left -= ids.len_bytes;
            let ids = bytes.as_chunks::<8>().0.iter();
            event.ids = ids.map(|id| order.u64(*id)).collect();
        }
        events.add(event, offset)?;
        offset += stride as u64;
    }
    events.settle();
    events.check(header.attrs.offset)?;
    Ok(events)
}

/// The feature sections: a table behind the records, one entry for each bit. None of them is needed
/// to read the records, so that damage in them is noted and goes no further.
pub(crate) fn read_features(
    header: &FileHeader,
    parts: &Parts<'_>,
    about: &mut About,
    events: &mut EventTable,
) {
    let order = about.byte_order;
    let table = Section {
        offset: data_end(header),
        len_bytes: 16 * header.feature_numbers().count() as u64,
    };
    // Where that cannot be told, reading fails and says so.
    let end = parts.end().unwrap_or(u64::MAX);
    let is_cut = |section: Section| section.len_bytes > 0 && section.end() > end;
    if is_cut(table) {
        for number in header.feature_numbers() {
            features::note_cut(number, end, about);
        }
        return;
    }
    let table = match parts.read(table, "table of features", MOST_HEADER_BYTES) {
        Ok(bytes) => bytes,
        Err(error) => return features::note(features::number::TABLE, &error, about),
    };
    let mut fields = Fields::new(&table, data_end(header), order, "table of features");
    for number in header.feature_numbers() {
        let section = match header::section(&mut fields) {
            Ok(section) if is_cut(section) => {
                features::note_cut(number, end, about);
                continue;
            }
            Ok(section) => section,
            Err(error) => return features::note(number, &error, about),
        };
        if !features::is_wanted(number) {
            continue;
        }
        match parts.read(section, "feature section", MOST_HEADER_BYTES) {
            Ok(bytes) => {
                let fields = Fields::new(&bytes, section.offset, order, "feature section");
                features::take(number, fields, about, events);
            }
            Err(error) => features::note(number, &error, about),
        }
    }
}

/// `data.0`, `data.1` … of a directory, by number.
fn numbered_files(directory: &Path) -> Result<Vec<PathBuf>, PerfDataError> {
    let open_error = |source| PerfDataError::Open {
        path: directory.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(open_error)? {
        let path = entry.map_err(open_error)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_prefix("data.")?.parse::<u32>().ok());
        if let Some(number) = number {
            files.push((number, path));
        }
    }
    files.sort();
    // `data.%d` without gaps (`perf_data__create_dir()`, tools/perf/util/data.c).
    let gap = (0..)
        .zip(&files)
        .find(|(expected, (found, _))| expected != found);
    if let Some((missing, _)) = gap {
        return Err(PerfDataError::MissingPart { missing });
    }
    Ok(files.into_iter().map(|(_, path)| path).collect())
}
