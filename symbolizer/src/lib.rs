//! Addresses become names, as of the moment they were sampled.
//!
//! What you give: events in time order. What you get: equal stacks with their weight, root first,
//! each frame named or with the reason why not. What it is not for: drawing, printing.

#[allow(dead_code)] // Until the resolver uses it.
mod demangle;
#[allow(dead_code)] // Until the resolver uses it.
mod elf;
#[allow(dead_code)] // Until the resolver uses it.
mod jitmap;
#[allow(dead_code)] // Until the resolver uses it.
mod kernel;
mod stack;
#[allow(dead_code)] // Until the resolver uses it.
mod vdso;

pub use stack::{Frame, FrameKind, ResolvedStack, Unresolved};
