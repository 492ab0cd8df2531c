//! The names of a picture, each kept once.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use symbolizer::{Frame, FrameKind, Layer, LayerKind};

use crate::clean::clean_name;
use crate::tree::NodeKind;

/// Index of a label, in the order they were met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LabelId(pub(crate) u32);

/// A cleaned name and what it names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Label {
    pub(crate) name: Arc<str>,
    pub(crate) kind: NodeKind,
    /// Why a frame has no name, in a word; empty for all others.
    pub(crate) reason: &'static str,
}

/// Numbers labels in the order they are met.
#[derive(Debug, Default)]
pub struct Labels {
    labels: Vec<Label>,
    ids: HashMap<Label, LabelId>,
    /// By the name as it came.
    raw: HashTable<Raw>,
    hash: RandomState,
}

/// A name as it came.
#[derive(Debug)]
struct Raw {
    hash: u64,
    name: Box<str>,
    kind: NodeKind,
    reason: &'static str,
    id: LabelId,
}

/// The labels of a frame.
pub(crate) struct FrameLabels {
    pub(crate) outer: LabelId,
    /// Of what the compiler put into it; empty for most.
    pub(crate) inlined: Box<[LabelId]>,
}

impl Labels {
    /// The label of a name of any origin; it is cleaned here.
    pub fn intern(&mut self, kind: NodeKind, name: &str) -> LabelId {
        self.intern_as(kind, name, "")
    }

    /// The label of a frame that has no name, `reason` telling why in a word.
    pub fn intern_unresolved(&mut self, text: &str, reason: &'static str) -> LabelId {
        self.intern_as(NodeKind::Unresolved, text, reason)
    }

    pub(crate) fn of_frame(&mut self, frame: &Frame) -> LabelId {
        let kind = match frame.kind {
            FrameKind::Native => NodeKind::Native,
            FrameKind::Kernel => NodeKind::Kernel,
            FrameKind::Jit => NodeKind::Jit,
        };
        match &frame.name {
            Ok(name) => self.intern(kind, name),
            Err(reason) => self.intern_unresolved(&reason.to_string(), reason.kind()),
        }
    }

    /// The labels of a frame, and of what was put into it, outermost first.
    pub(crate) fn of_frames(&mut self, frame: &Frame) -> FrameLabels {
        let outer = self.of_frame(frame);
        let inlined = frame.inlined.iter();
        FrameLabels {
            outer,
            inlined: inlined
                .map(|name| self.intern(NodeKind::Inlined, name))
                .collect(),
        }
    }

    pub(crate) fn of_layer(&mut self, layer: &Layer) -> LabelId {
        let kind = match layer.kind {
            LayerKind::Container => NodeKind::Container,
            LayerKind::Comm => NodeKind::Process,
            LayerKind::Pid | LayerKind::Tid | LayerKind::Cpu => NodeKind::Group,
        };
        self.intern(kind, &layer.label)
    }

    fn intern_as(&mut self, kind: NodeKind, name: &str, reason: &'static str) -> LabelId {
        let hash = self.hash.hash_one((name, kind, reason));
        let is_it = |raw: &Raw| raw.kind == kind && raw.reason == reason && *raw.name == *name;
        if let Some(raw) = self.raw.find(hash, is_it) {
            return raw.id;
        }
        let label = Label {
            name: clean_name(name).into(),
            kind,
            reason,
        };
        let next = LabelId(u32::try_from(self.labels.len()).unwrap_or(u32::MAX));
        let id = *self.ids.entry(label.clone()).or_insert(next);
        if id == next {
            self.labels.push(label);
        }
        let raw = Raw {
            hash,
            name: name.into(),
            kind,
            reason,
            id,
        };
        self.raw.insert_unique(hash, raw, |raw| raw.hash);
        id
    }

    /// The labels in ascending order, and each id's place among them.
    pub(crate) fn ranked(self) -> (Vec<Label>, Vec<u32>) {
        let mut sorted: Vec<(Label, u32)> = self.labels.into_iter().zip(0..).collect();
        sorted.sort_unstable();
        let mut rank_of = vec![0; sorted.len()];
        for (rank, (_, id)) in (0..).zip(&sorted) {
            if let Some(slot) = rank_of.get_mut(*id as usize) {
                *slot = rank;
            }
        }
        (
            sorted.into_iter().map(|(label, _)| label).collect(),
            rank_of,
        )
    }
}
