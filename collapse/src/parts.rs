//! The stacks of a recording become paths of labels, part by part.

use symbolizer::{FrameId, StackPart};

use crate::labels::{FrameLabels, LabelId};
use crate::paths::Paths;

/// The labels of each frame. Stacks ask for them in no order: of most frames a word is all there is.
pub(crate) struct LabelsOfFrames {
    /// A label; or, with [`SEVERAL`], a place in `several`.
    words: Vec<u32>,
    /// A function's, and those of what the compiler put into it.
    several: Vec<Box<[LabelId]>>,
}

/// The highest bit: no recording has as many labels.
const SEVERAL: u32 = 1 << 31;

impl LabelsOfFrames {
    /// `new` gives each label its number.
    pub(crate) fn of(frames: &[FrameLabels], new: impl Fn(LabelId) -> LabelId) -> Self {
        let mut several = Vec::new();
        let words = frames.iter().map(|frame| {
            let outer = new(frame.outer);
            if frame.inlined.is_empty() && outer.0 < SEVERAL {
                return outer.0;
            }
            let inlined = frame.inlined.iter().map(|label| new(*label));
            several.push([outer].into_iter().chain(inlined).collect());
            SEVERAL | (several.len() - 1) as u32
        });
        Self {
            words: words.collect(),
            several,
        }
    }

    fn push(&self, id: FrameId, to: &mut Vec<LabelId>) {
        match self.words.get(id.0 as usize) {
            Some(word) if word & SEVERAL == 0 => to.push(LabelId(*word)),
            Some(word) => {
                let labels = self.several.get((word & !SEVERAL) as usize);
                to.extend_from_slice(labels.map_or(&[], |labels| labels));
            }
            None => {}
        }
    }
}

/// What stands below the frames of a stack.
pub(crate) struct Below {
    /// The layers of each context, outermost first.
    pub(crate) layers: Vec<Vec<LabelId>>,
    /// Of a stack whose root side is missing.
    pub(crate) cut: LabelId,
}

/// The paths of all stacks of a part.
pub(crate) fn paths_of(part: &StackPart, below: &Below, labels: &LabelsOfFrames) -> Paths {
    // A stack mostly adds a node or none: stacks also differ by addresses in one function.
    let mut paths = Paths::with_room_for(part.stacks().len());
    // The stack before: what it stands on, the labels of its frames, and how many there are up to each
    // of them.
    let mut last_ground = None;
    let mut frames: Vec<LabelId> = Vec::new();
    let mut ends: Vec<usize> = Vec::new();
    for stack in part.stacks() {
        ends.truncate(stack.shared);
        let shared = ends.last().copied().unwrap_or(0);
        frames.truncate(shared);
        for id in stack.frames {
            labels.push(*id, &mut frames);
            ends.push(frames.len());
        }
        let layers = below
            .layers
            .get(stack.context)
            .map_or(&[][..], Vec::as_slice);
        let cut = stack.is_cut.then_some(&below.cut);
        let ground = (stack.context, stack.is_cut);
        if last_ground == Some(ground) {
            let new = frames.get(shared..).unwrap_or_default();
            let shared = layers.len() + usize::from(stack.is_cut) + shared;
            paths.add_after(shared, new.iter().copied(), stack.weight);
        } else {
            let path = layers.iter().chain(cut).chain(&frames);
            paths.add(path.copied(), stack.weight);
            last_ground = Some(ground);
        }
    }
    paths
}
