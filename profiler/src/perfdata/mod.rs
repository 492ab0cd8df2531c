//! perf.data files, pipes and directories, of any perf and either byte order, as one time-ordered
//! stream of [`crate::record::Event`]s: the same as a live recording's.
//!
//! ```text
//!  Source ─▶ Stream ─▶ Walk ──────────────▶ Rounds ─┬─▶ Deliver ─▶ record::decode ─▶ EventSink
//!  chunks    inflate   find, turn round,    sort    │   on the caller's thread
//!                      whose, when          places  └ a channel; the left side has its own thread
//! ```
//! Memory is bounded: chunks live until their last record is delivered, and what waits for its round
//! to end is limited. What it is not for: naming addresses; telling text from perf.data.

mod about;
mod attr;
mod bytes;
mod chunk;
mod deliver;
mod error;
mod event_choice;
mod event_name;
mod events;
mod features;
mod header;
mod header_records;
mod inflate;
mod open;
mod read;
mod rounds;
pub mod sidecar;
mod source;
mod stats;
mod stream;
mod swap;
mod walk;
pub mod write;

pub use about::{About, CutFeatures, ImageBuildId, RecordedEvent, UnreadableFeature, feature_name};
pub use bytes::ByteOrder;
pub use error::PerfDataError;
pub use open::Recording;
pub use read::{Ending, EventChoice, OnDamage, Outcome, ReadOptions};
pub use stats::Stats;

#[cfg(test)]
mod foreign_tests;
