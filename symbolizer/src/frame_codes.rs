//! Frames as a recording has them: codes, which must never change their meaning.

use crate::stack::{Frame, FrameKind, Unresolved};
use profiler::perfdata::sidecar::{FramesId, NamedFrame, Sidecar, SidecarBuilder};
use std::sync::Arc;

/// Codes of [`FrameKind`] in a recording.
const KINDS: [(FrameKind, u8); 3] = [
    (FrameKind::Native, 1),
    (FrameKind::Kernel, 2),
    (FrameKind::Jit, 3),
];

/// The code of a function that was put into the one before it in its list.
const INLINED: u8 = 4;

/// The code of a name.
const NAMED: u8 = 0;

/// The code of a reason, and what it is about.
fn reason_code(reason: &Unresolved) -> (u8, &str) {
    match reason {
        Unresolved::Stripped(image) => (1, image),
        Unresolved::Gone(image) => (2, image),
        Unresolved::Replaced(image) => (3, image),
        Unresolved::Unverified(image) => (4, image),
        Unresolved::Unreadable(image) => (5, image),
        Unresolved::JitWithoutMap(memory) => (6, memory),
        Unresolved::KernelRestricted => (7, ""),
        Unresolved::KernelUnknown => (8, ""),
        Unresolved::Unmapped => (9, ""),
        Unresolved::Truncated => (10, ""),
    }
}

fn reason_of(code: u8, text: Arc<str>) -> Option<Unresolved> {
    Some(match code {
        1 => Unresolved::Stripped(text),
        2 => Unresolved::Gone(text),
        3 => Unresolved::Replaced(text),
        4 => Unresolved::Unverified(text),
        5 => Unresolved::Unreadable(text),
        6 => Unresolved::JitWithoutMap(text),
        7 => Unresolved::KernelRestricted,
        8 => Unresolved::KernelUnknown,
        9 => Unresolved::Unmapped,
        10 => Unresolved::Truncated,
        _ => return None,
    })
}

/// Adds a frame to what a recording carries.
pub(crate) fn frames_id(sidecar: &mut SidecarBuilder, frame: &Frame) -> FramesId {
    let (reason, text) = match &frame.name {
        Ok(name) => (NAMED, &**name),
        Err(reason) => reason_code(reason),
    };
    let kind = KINDS.iter().find(|(kind, _)| *kind == frame.kind);
    let named = NamedFrame {
        kind: kind.map_or(0, |(_, code)| *code),
        reason,
        text: sidecar.text(text),
    };
    let mut list = vec![named];
    list.extend(frame.inlined.iter().map(|name| NamedFrame {
        kind: INLINED,
        reason: NAMED,
        text: sidecar.text(name),
    }));
    sidecar.frames(&list)
}

/// The frame that a recording has; `None` for what a later version wrote: it is looked up.
pub(crate) fn frame_of(sidecar: &Sidecar, id: FramesId) -> Option<Frame> {
    let mut frames = sidecar.frames(id);
    let frame = frames.next()?;
    let inlined: Option<Arc<[Arc<str>]>> = frames
        .map(|frame| {
            let is_inlined = (frame.kind, frame.reason) == (INLINED, NAMED);
            is_inlined.then(|| Arc::from(sidecar.text(frame.text)))
        })
        .collect();
    let (kind, _) = KINDS.iter().find(|(_, code)| *code == frame.kind)?;
    let text: Arc<str> = Arc::from(sidecar.text(frame.text));
    let name = match frame.reason {
        NAMED => Ok(text),
        code => Err(reason_of(code, text)?),
    };
    Some(Frame {
        name,
        kind: *kind,
        inlined: inlined?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_is_the_same_when_it_comes_back() {
        let image: Arc<str> = "libz.so".into();
        let mut names = vec![Ok(Arc::from("main")), Ok(Arc::from(""))];
        for code in 1..=u8::MAX {
            names.extend(reason_of(code, Arc::clone(&image)).map(Err));
        }
        assert_eq!(names.len(), 2 + 10);
        let mut frames: Vec<Frame> = names
            .into_iter()
            .flat_map(|name| KINDS.map(|(kind, _)| Frame::new(name.clone(), kind)))
            .collect();
        frames.push(Frame {
            inlined: ["b", "c"].map(Arc::from).into(),
            ..Frame::new(Ok("a".into()), FrameKind::Jit)
        });
        let mut builder = SidecarBuilder::default();
        let ids: Vec<FramesId> = frames
            .iter()
            .map(|frame| frames_id(&mut builder, frame))
            .collect();
        let sidecar = builder.finish();
        assert_eq!(ids.len(), frames.len());
        for (frame, id) in frames.iter().zip(ids) {
            assert_eq!(frame_of(&sidecar, id).as_ref(), Some(frame));
        }
    }

    #[test]
    fn what_a_later_version_wrote_is_looked_up() {
        let mut builder = SidecarBuilder::default();
        let text = builder.text("f");
        let frame = |kind, reason| NamedFrame { kind, reason, text };
        let known = frame(1, 0);
        let lists = [&[frame(77, 0)][..], &[frame(1, 77)], &[], &[known, known]];
        let ids = lists.map(|list| builder.frames(list));
        let sidecar = builder.finish();
        assert_eq!(
            ids.map(|id| frame_of(&sidecar, id)),
            [None, None, None, None]
        );
    }
}
