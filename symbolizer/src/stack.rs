//! What the symbolizer hands on: stacks of named frames, root first, with their weight.

use std::fmt;
use std::sync::Arc;

/// Equal stacks of one thread name in one container, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedStack {
    /// The container's tag, such as `docker:web (3f2a12345678)`, or `host`.
    pub container: Arc<str>,
    /// The thread's name at that time.
    pub comm: Arc<str>,
    /// Root first.
    pub frames: Vec<Frame>,
    /// How many samples.
    pub samples: u64,
}

/// One function of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function's name, or why there is none.
    pub name: Result<Arc<str>, Unresolved>,
    /// What kind of code it is.
    pub kind: FrameKind,
}

/// Kinds of code that a picture tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// Machine code of an ELF image.
    Native,
    /// The kernel, its modules and BPF programs.
    Kernel,
    /// Code generated at run time, named by its own map.
    Jit,
}

/// Why a frame has no name. Each is drawn as a frame and counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unresolved {
    /// The image has no symbol that covers the address: stripped, or between symbols.
    Stripped(Arc<str>),
    /// The image is gone or cannot be opened any more.
    Gone(Arc<str>),
    /// The file at the image's path is another one than was mapped: its names would be wrong.
    Replaced(Arc<str>),
    /// Nothing tells whether the file at the image's path is the one that was mapped: neither a
    /// build id nor an inode was recorded.
    Unverified(Arc<str>),
    /// The file is not one we read: not regular, not ELF, damaged, over a limit.
    Unreadable(Arc<str>),
    /// No mapping of the process covers the address.
    Unmapped,
    /// Generated code whose process wrote no map, or a map without this address.
    JitWithoutMap,
    /// `/proc/kallsyms` shows no addresses (kptr_restrict).
    KernelRestricted,
    /// The kernel has no symbol there.
    KernelUnknown,
    /// The stack's root side is missing: cut by `kernel.perf_event_max_stack`, or unwound as far as a
    /// copied stack and the images' call frame information led.
    Truncated,
}

impl Unresolved {
    /// One word for the reason, for totals: `stripped`, `gone`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stripped(_) => "stripped",
            Self::Gone(_) => "image gone",
            Self::Replaced(_) => "image replaced",
            Self::Unverified(_) => "image unverified",
            Self::Unreadable(_) => "image unreadable",
            Self::Unmapped => "unmapped",
            Self::JitWithoutMap => "jit without map",
            Self::KernelRestricted => "kernel symbols hidden",
            Self::KernelUnknown => "kernel without symbol",
            Self::Truncated => "truncated stack",
        }
    }
}

impl fmt::Display for Unresolved {
    /// The frame's label in a picture, in square brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stripped(image) => write!(f, "[stripped {image}]"),
            Self::Gone(image) => write!(f, "[gone {image}]"),
            Self::Replaced(image) => write!(f, "[replaced {image}]"),
            Self::Unverified(image) => write!(f, "[unverified {image}]"),
            Self::Unreadable(image) => write!(f, "[unreadable {image}]"),
            Self::Unmapped => f.write_str("[unmapped]"),
            Self::JitWithoutMap => f.write_str("[jit, no map]"),
            Self::KernelRestricted => f.write_str("[kernel, kptr_restrict]"),
            Self::KernelUnknown => f.write_str("[kernel]"),
            Self::Truncated => f.write_str("[truncated stack]"),
        }
    }
}
