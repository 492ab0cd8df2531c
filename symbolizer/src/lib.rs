//! Addresses become names, as of the moment they were sampled.
//!
//! What you give: events in time order. What you get: equal stacks with their weight, root first,
//! each frame named or with the reason why not. What it is not for: drawing, printing.

#[doc(hidden)]
pub mod bench;
mod chain;
mod choice;
mod code;
mod context;
mod contexts;
mod debug_file;
mod debug_info;
mod debug_link;
mod demangle;
mod dwarf;
mod elf;
mod frame_codes;
#[doc(hidden)]
pub mod fuzzing;
mod gaps;
mod generated;
mod hash;
mod hex;
mod image;
mod java_name;
mod jitdump;
mod jitmap;
mod kept;
mod kernel;
mod living;
mod locate;
mod lookup;
mod maps;
mod memory;
mod mini_debug;
mod name;
mod native;
mod path_hash;
mod pins;
mod problem;
mod recorded;
mod remapped;
mod resolve;
mod snapshot;
mod source;
mod stack;
mod stacks;
mod table;
mod tally;
mod tap;
mod tasks;
mod told;
mod unwind;
mod vdso;
mod watch;
mod whose_map;

pub use choice::{Choice, Counting, Idle, Moment, Weight};
pub use context::{Counts, Origin, Place, Selected, Selector};
pub use java_name::INTERPRETER;
pub use jitdump::{JitDumpError, JitDumpNote, JitDumpOptions, RecordingClock, Timeless};
pub use kernel::{Vmlinux, VmlinuxError};
pub use lookup::{FetchDebugFiles, Fetched, Inlines, Lookup, LookupPlaces, RecordedOn, SysrootOf};
pub use name::Kallsyms;
pub use path_hash::{PathHash, PathSeed};
pub use problem::Problem;
pub use recorded::{KeepNames, Kept, Known, RecordedTags, Turn};
pub use resolve::ResolveOptions;
pub use snapshot::{CodeSnapshot, EndedGenerator, HeldMap};
pub use stack::{
    Frame, FrameId, FrameKind, Layer, LayerKind, NamedStack, Resolved, ResolvedStack, StackPart,
    Unresolved,
};
pub use tally::{Counted, Tally};
pub use tap::{Tap, Told};
pub use told::kernel_build_id;
pub use unwind::{Astray, CallGraph, ChainOptions, LiveStacks, Unreached};
pub use watch::ProcessNews;
pub use whose_map::NotItsMap;
