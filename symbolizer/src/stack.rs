//! What the symbolizer hands on: stacks of named frames, root first, with their weight.

use crate::problem::Problem;
use crate::recorded::Kept;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Everything that a recording has to show.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Distinct frames.
    pub frames: Vec<Frame>,
    /// What the stacks belong to: the layers above their frames, outermost first.
    pub contexts: Vec<Vec<Layer>>,
    /// The stacks, in parts of like size, for as many threads.
    pub parts: Vec<StackPart>,
    /// What kept names away although they may be had.
    pub problems: Vec<Problem>,
    /// What a recording is to carry so that it names itself, where that was asked for.
    pub kept: Option<Kept>,
}

/// Index into [`Resolved::frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub u32);

/// What a stack stands below in a picture.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Layer {
    /// What it tells apart.
    pub kind: LayerKind,
    /// The container's tag, such as `docker:web (3f2a12345678)` or `host`; the thread's name at that
    /// time; `pid:17`, `cpu:3`.
    pub label: Arc<str>,
}

/// What samples can be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerKind {
    /// The container, or the host.
    Container,
    /// The thread's name.
    Comm,
    /// The process.
    Pid,
    /// The thread.
    Tid,
    /// The CPU.
    Cpu,
}

/// A part of the stacks of a recording; equal stacks are in one part.
#[derive(Debug, Default)]
pub struct StackPart {
    stacks: Vec<(StackHead, u32)>,
    frames: Vec<FrameId>,
    /// A stack of as many entries was cut at its root side; 0 where none was.
    pub(crate) cut_at: u32,
}

/// A stack but for its frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StackHead {
    pub(crate) context: u32,
    /// Frames, from the root on, that it shares with the one before it, of the same context.
    pub(crate) shared: u32,
    /// Entries that the kernel wrote; 0 where the walk ended in data or at the root for sure, the
    /// largest number where it did not for sure.
    pub(crate) entries: u32,
    pub(crate) weight: u64,
}

/// Equal stacks, counted; those of different addresses may still have equal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedStack<'a> {
    /// Index into [`Resolved::contexts`].
    pub context: usize,
    /// Whether frames are missing at its root.
    pub is_cut: bool,
    /// As many frames, from the root on, are those of the stack before in its part; 0 where that is
    /// of another context.
    pub shared: usize,
    /// The frames behind them, towards the leaf.
    pub frames: &'a [FrameId],
    /// Samples, or the sum of their periods.
    pub weight: u64,
}

impl StackPart {
    /// All stacks of this part.
    pub fn stacks(&self) -> impl ExactSizeIterator<Item = ResolvedStack<'_>> {
        let mut rest = &self.frames[..];
        self.stacks.iter().map(move |(head, len)| {
            let (frames, behind) = rest.split_at_checked(*len as usize).unwrap_or_default();
            rest = behind;
            ResolvedStack {
                context: head.context as usize,
                is_cut: self.cut_at > 0 && head.entries >= self.cut_at,
                shared: head.shared as usize,
                frames,
                weight: head.weight,
            }
        })
    }

    /// An empty one with room for so many.
    pub(crate) fn with_room(stacks: usize, frames: usize) -> Self {
        Self {
            stacks: Vec::with_capacity(stacks),
            frames: Vec::with_capacity(frames),
            cut_at: 0,
        }
    }

    /// How many stacks it has.
    pub(crate) fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Adds a stack with the frames that it does not share.
    pub(crate) fn push(&mut self, head: StackHead, frames: &[FrameId]) {
        self.frames.extend_from_slice(frames);
        self.stacks.push((head, frames.len() as u32));
    }
}

/// A stack with all its names: what a [`Resolved`] can be made of where there are no addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedStack {
    /// The container's tag.
    pub container: Arc<str>,
    /// The thread's name.
    pub comm: Arc<str>,
    /// Root first.
    pub frames: Vec<Frame>,
    /// Whether frames are missing at its root.
    pub is_cut: bool,
    /// How many samples.
    pub samples: u64,
}

impl NamedStack {
    /// A stack of which no frames are missing.
    pub fn new(container: &str, comm: &str, frames: Vec<Frame>, samples: u64) -> Self {
        Self {
            container: container.into(),
            comm: comm.into(),
            frames,
            is_cut: false,
            samples,
        }
    }
}

/// Two parts, each with the contexts of its own.
impl<'a> FromIterator<&'a NamedStack> for Resolved {
    fn from_iter<I: IntoIterator<Item = &'a NamedStack>>(stacks: I) -> Self {
        let mut resolved = Self::default();
        let mut ids: HashMap<&Frame, FrameId> = HashMap::new();
        let mut contexts: HashMap<(&str, &str), u32> = HashMap::new();
        let part = || StackPart {
            cut_at: 1,
            ..StackPart::default()
        };
        // With each the stack before, and its context.
        let mut parts = [(part(), None, Vec::new()), (part(), None, Vec::new())];
        for stack in stacks {
            let layer = |kind, label: &Arc<str>| Layer {
                kind,
                label: Arc::clone(label),
            };
            let next = contexts.len() as u32;
            let place = (&*stack.container, &*stack.comm);
            let context = *contexts.entry(place).or_insert(next);
            if context == next {
                resolved.contexts.push(vec![
                    layer(LayerKind::Container, &stack.container),
                    layer(LayerKind::Comm, &stack.comm),
                ]);
            }
            let frames = stack.frames.iter().map(|frame| {
                *ids.entry(frame).or_insert_with(|| {
                    resolved.frames.push(frame.clone());
                    FrameId(resolved.frames.len() as u32 - 1)
                })
            });
            let frames: Vec<FrameId> = frames.collect();
            let [even, odd] = &mut parts;
            let (part, last_context, last) = if context.is_multiple_of(2) { even } else { odd };
            let is_behind = last_context.replace(context) == Some(context);
            let alike = last.iter().zip(&frames).take_while(|(a, b)| a == b);
            let shared = if is_behind { alike.count() } else { 0 };
            let head = StackHead {
                context,
                shared: shared as u32,
                entries: u32::from(stack.is_cut),
                weight: stack.samples,
            };
            part.push(head, frames.get(shared..).unwrap_or_default());
            *last = frames;
        }
        resolved.parts.extend(parts.map(|(part, ..)| part));
        resolved
    }
}

/// One function of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The function's name, or why there is none.
    pub name: Result<Arc<str>, Unresolved>,
    /// What kind of code it is.
    pub kind: FrameKind,
    /// The functions that the compiler put into it at this place: the first into it, each other into
    /// the one before.
    pub inlined: Arc<[Arc<str>]>,
}

impl Frame {
    /// A function with nothing put into it.
    pub fn new(name: Result<Arc<str>, Unresolved>, kind: FrameKind) -> Self {
        Self {
            name,
            kind,
            inlined: Arc::default(),
        }
    }
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
    /// Generated code whose process wrote no map, or a map without this address; and the memory that
    /// it lies in, empty for anonymous memory.
    JitWithoutMap(Arc<str>),
    /// `/proc/kallsyms` shows no addresses (kptr_restrict).
    KernelRestricted,
    /// The kernel has no symbol there.
    KernelUnknown,
    /// The stack's root side is missing: cut by `kernel.perf_event_max_stack`, or unwound as far as a
    /// copied stack and the images' call frame information led.
    Truncated,
}

impl Unresolved {
    /// The image or the memory that it is said of, where it is.
    pub fn about(&self) -> Option<&Arc<str>> {
        match self {
            Self::Stripped(name)
            | Self::Gone(name)
            | Self::Replaced(name)
            | Self::Unverified(name)
            | Self::Unreadable(name)
            | Self::JitWithoutMap(name) => Some(name),
            Self::Unmapped | Self::KernelRestricted | Self::KernelUnknown | Self::Truncated => None,
        }
    }

    /// One word for the reason, for totals: `stripped`, `gone`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stripped(_) => "stripped",
            Self::Gone(_) => "image gone",
            Self::Replaced(_) => "image replaced",
            Self::Unverified(_) => "image unverified",
            Self::Unreadable(_) => "image unreadable",
            Self::Unmapped => "unmapped",
            Self::JitWithoutMap(_) => "jit without map",
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
            Self::JitWithoutMap(memory) if memory.is_empty() => f.write_str("[jit, no map]"),
            Self::JitWithoutMap(memory) => write!(f, "[{memory}, no map]"),
            Self::KernelRestricted => f.write_str("[kernel, kptr_restrict]"),
            Self::KernelUnknown => f.write_str("[kernel]"),
            Self::Truncated => f.write_str("[truncated stack]"),
        }
    }
}
