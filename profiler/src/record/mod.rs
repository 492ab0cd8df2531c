//! perf records: raw bytes, from a ring or a file, become [`Event`]s by one decoder.

mod event;

pub use event::{
    CgroupSeen, Chain, Comm, Event, Fork, Ksymbol, Lost, Mapped, MappedFile, NamespacesSeen,
    Sample, Stamp,
};
