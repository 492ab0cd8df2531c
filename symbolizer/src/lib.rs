//! Addresses become names, as of the moment they were sampled.
//!
//! What you give: events in time order. What you get: equal stacks with their weight, root first,
//! each frame named or with the reason why not. What it is not for: drawing, printing.

mod demangle;
mod elf;
mod jitmap;
mod kernel;
mod stack;
mod vdso;

pub use stack::{Frame, FrameKind, ResolvedStack, Unresolved};
