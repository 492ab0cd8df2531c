//! Equal stacks become a tree with counts; folded text. No system, no clock, no random number.
#![forbid(unsafe_code)]

mod clean;
mod folded;
mod labels;
mod paths;
mod rows;
mod siblings;
mod split;
mod sums;
pub mod text;
mod totals;
mod tree;

pub use clean::{NAME_CHARS_MAX, clean_line, clean_name};
pub use folded::{NO_NAME, write_folded};
pub use labels::{LabelId, Labels};
pub use paths::Paths;
/// What trees are made of, for those who draw them.
pub use symbolizer::{
    Frame, FrameId, FrameKind, Layer, LayerKind, NamedStack, Resolved, StackPart, Unresolved,
};
pub use totals::{Taken, Totals, is_host};
pub use tree::{Detail, FrameTree, Node, NodeKind};
