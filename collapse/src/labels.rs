//! The names of a picture, each kept once.

use std::sync::Arc;

use hashbrown::HashTable;
use symbolizer::{Frame, Layer, LayerKind, PathSeed, Unresolved};

use crate::clean::{clean_name, is_plain_name};
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
    /// Each label's hash and place.
    ids: HashTable<(u64, LabelId)>,
    /// By the name as it came, if that may have to be cleaned.
    raw: HashTable<Raw>,
    seed: PathSeed,
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

/// Labels of the frames of a recording: most have their name with others together, and a name that was
/// met is known by where it is.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) labels: Labels,
    met: HashTable<Met>,
    seed: PathSeed,
}

/// A name that was met, or an image that a frame without a name is in.
struct Met {
    hash: u64,
    at: *const u8,
    kind: NodeKind,
    reason: &'static str,
    id: LabelId,
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

    pub(crate) fn of_layer(&mut self, layer: &Layer) -> LabelId {
        let kind = match layer.kind {
            LayerKind::Container => NodeKind::Container,
            LayerKind::Comm => NodeKind::Process,
            LayerKind::Pid | LayerKind::Tid | LayerKind::Cpu => NodeKind::Group,
        };
        self.intern(kind, &layer.label)
    }

    fn intern_as(&mut self, kind: NodeKind, name: &str, reason: &'static str) -> LabelId {
        if is_plain_name(name) {
            return self.of_clean((kind, name, reason), || name.into());
        }
        let hash = self.hash((kind, name, reason));
        let is_it = |raw: &Raw| raw.kind == kind && raw.reason == reason && *raw.name == *name;
        if let Some(raw) = self.raw.find(hash, is_it) {
            return raw.id;
        }
        let clean = clean_name(name);
        let id = self.of_clean((kind, &clean, reason), || clean.as_ref().into());
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

    /// The label of a name that is kept as long as it is.
    fn intern_shared(&mut self, kind: NodeKind, name: &Arc<str>) -> LabelId {
        match is_plain_name(name) {
            true => self.of_clean((kind, name, ""), || Arc::clone(name)),
            false => self.intern(kind, name),
        }
    }

    /// The label of a name that needs no cleaning any more.
    fn of_clean(
        &mut self,
        (kind, name, reason): (NodeKind, &str, &'static str),
        kept: impl FnOnce() -> Arc<str>,
    ) -> LabelId {
        let hash = self.hash((kind, name, reason));
        let is_it = |(of, id): &(u64, LabelId)| {
            let label = self.labels.get(id.0 as usize).filter(|_| *of == hash);
            label.is_some_and(|it| it.kind == kind && it.reason == reason && *it.name == *name)
        };
        if let Some((_, id)) = self.ids.find(hash, is_it) {
            return *id;
        }
        let id = LabelId(u32::try_from(self.labels.len()).unwrap_or(u32::MAX));
        self.labels.push(Label {
            name: kept(),
            kind,
            reason,
        });
        self.ids.insert_unique(hash, (hash, id), |(hash, _)| *hash);
        id
    }

    /// Seeded: names come from programs that may be hostile.
    fn hash(&self, (kind, name, reason): (NodeKind, &str, &'static str)) -> u64 {
        let seed = self.seed;
        let (words, rest) = name.as_bytes().as_chunks::<8>();
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        // Reasons are words of ours: of two of one length nothing depends on a hash of their own.
        let sizes = [name.len() as u64, reason.len() as u64, kind as u64];
        let words = words.iter().chain([&last]).copied();
        let steps = sizes.into_iter().chain(words.map(u64::from_le_bytes));
        let hash = steps.fold(seed.root(), |hash, step| seed.then(hash, step));
        hash.place()
    }

    /// The labels in ascending order, and what numbers them so.
    pub(crate) fn ranked(self) -> (Vec<Label>, Ranks) {
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
            Ranks { rank_of },
        )
    }
}

/// Numbers labels by their order.
pub(crate) struct Ranks {
    rank_of: Vec<u32>,
}

impl Ranks {
    /// The number of a label; of what is none of them, the one behind the last: the root's.
    pub(crate) fn of(&self, label: LabelId) -> LabelId {
        let rank = self.rank_of.get(label.0 as usize).copied();
        LabelId(rank.unwrap_or(self.rank_of.len() as u32))
    }
}

impl Names {
    /// The label of a frame. The frame must be kept as long as this.
    pub(crate) fn of_frame(&mut self, frame: &Frame) -> LabelId {
        match &frame.name {
            Ok(name) => self.of_name(NodeKind::of(frame.kind), name),
            Err(reason) => self.of_reason(reason),
        }
    }

    /// The labels of what was put into a frame, outermost first. The frame must be kept as long as this.
    pub(crate) fn of_inlined(&mut self, frame: &Frame) -> impl Iterator<Item = LabelId> {
        let inlined = frame.inlined.iter();
        inlined.map(|name| self.of_name(NodeKind::Inlined, name))
    }

    pub(crate) fn label(&self, id: LabelId) -> Option<&Label> {
        self.labels.labels.get(id.0 as usize)
    }

    pub(crate) fn into_labels(self) -> Vec<Label> {
        self.labels.labels
    }

    fn of_name(&mut self, kind: NodeKind, name: &Arc<str>) -> LabelId {
        self.of_met(name, (kind, ""), |labels| labels.intern_shared(kind, name))
    }

    fn of_reason(&mut self, reason: &Unresolved) -> LabelId {
        let kind = reason.kind();
        let intern = |labels: &mut Labels| labels.intern_unresolved(&reason.to_string(), kind);
        match reason.about() {
            Some(name) => self.of_met(name, (NodeKind::Unresolved, kind), intern),
            None => intern(&mut self.labels),
        }
    }

    /// The frames keep all their names: where one is, no other comes to be.
    fn of_met(
        &mut self,
        name: &Arc<str>,
        (kind, reason): (NodeKind, &'static str),
        intern: impl FnOnce(&mut Labels) -> LabelId,
    ) -> LabelId {
        let at = Arc::as_ptr(name).cast::<u8>();
        let hash = self.seed.then(self.seed.root(), at.addr() as u64).place();
        let is_it = |met: &Met| met.at == at && met.kind == kind && met.reason == reason;
        if let Some(met) = self.met.find(hash, is_it) {
            return met.id;
        }
        let id = intern(&mut self.labels);
        let met = Met {
            hash,
            at,
            kind,
            reason,
            id,
        };
        self.met.insert_unique(hash, met, |met| met.hash);
        id
    }
}
