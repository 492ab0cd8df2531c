//! Places get their names: from the kernel and the vdso. Each source is read once.

use crate::demangle::demangle;
use crate::elf::Wanted;
use crate::kernel::{KernelSymbols, KernelSymbolsError, KsymbolId, Ksymbols};
use crate::locate::{Place, PlaceId};
use crate::lookup::Lookup;
use crate::problem::Problem;
use crate::source::read_with_id;
use crate::stack::{Frame, FrameKind, Unresolved};
use crate::vdso::Vdso;
use profiler::BuildId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How long one image or map of a target may take to be read: a FUSE server in a container may
/// never answer.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(10);

/// The text of kallsyms: the recorded kernel's, as it was booted when it was recorded.
#[derive(Debug)]
pub struct Kallsyms {
    /// As `/proc/kallsyms` has it.
    pub text: Vec<u8>,
    /// Of another boot of the same kernel: its text lay this much further up (wrapping) when it was
    /// recorded. Modules of another boot are left out.
    pub moved_by: Option<u64>,
    /// Why it cannot be told whether it is that kernel's: it is used all the same.
    pub unchecked: Option<String>,
}

impl Kallsyms {
    /// Of the kernel that was recorded, since its boot.
    pub fn recorded(text: Vec<u8>) -> Self {
        Self {
            text,
            moved_by: None,
            unchecked: None,
        }
    }
}

/// Which vdso was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VdsoIs {
    /// The one that this kernel maps.
    Ours,
    /// The one with this build id.
    Told(BuildId),
    /// Nothing tells.
    Unknown,
}

pub(crate) type Named = Vec<(PlaceId, Frame)>;

pub(crate) fn numbered(places: &[Place]) -> impl Iterator<Item = (PlaceId, Place)> {
    places
        .iter()
        .enumerate()
        .map(|(at, place)| (PlaceId(at as u32), *place))
}

pub(crate) fn native_frame(name: Result<Arc<str>, Unresolved>) -> Frame {
    Frame::new(name, FrameKind::Native)
}

pub(crate) fn jit_frame(name: Result<Arc<str>, Unresolved>) -> Frame {
    Frame::new(name, FrameKind::Jit)
}

/// The frame of kernel code that came or went.
pub(crate) fn kernel_code(known: &Ksymbols, code: KsymbolId) -> Frame {
    let name = known
        .name(code)
        .map(|name| Arc::from(demangle(name).as_ref()));
    Frame::new(name.ok_or(Unresolved::KernelUnknown), FrameKind::Kernel)
}

/// Names kernel addresses by the kernel's own image, if there is one, and by kallsyms; those that were sampled where code came later, by that: nothing that was there
/// before has been told to be gone.
pub(crate) fn kernel(
    kallsyms: Result<Kallsyms, String>,
    known: &Ksymbols,
    (mut addrs, lookup): (Vec<(PlaceId, u64)>, &Lookup),
) -> (Named, Vec<Problem>) {
    let (mut named, mut problems) = match lookup.vmlinux() {
        Some(vmlinux) => vmlinux.name(&addrs, lookup),
        None => (Named::new(), Vec::new()),
    };
    let by_vmlinux: HashSet<PlaceId> = named.iter().map(|(id, _)| *id).collect();
    addrs.retain(|(id, _)| !by_vmlinux.contains(id));
    if addrs.is_empty() {
        return (named, problems);
    }
    let hidden = |reason: String, hint| Problem::KernelHidden { reason, hint };
    let mut unchecked = None;
    let parsed = match kallsyms {
        Ok(kallsyms) => {
            unchecked = kallsyms.unchecked;
            let parsed = KernelSymbols::parse(kallsyms.text).map_err(|error| {
                let unresolved = match error {
                    KernelSymbolsError::Restricted { .. } => Unresolved::KernelRestricted,
                    KernelSymbolsError::Empty { .. } => Unresolved::KernelUnknown,
                };
                (unresolved, hidden(error.to_string(), error.hint()))
            });
            match kallsyms.moved_by {
                Some(by) => parsed.map(|symbols| symbols.of_another_boot(by)),
                None => parsed,
            }
        }
        Err(error) => Err((Unresolved::KernelUnknown, hidden(error, None))),
    };
    let name = |addr| match &parsed {
        Ok(symbols) => symbols
            .lookup(addr)
            .map(|symbol| Arc::from(demangle(symbol.name).as_ref()))
            .ok_or(Unresolved::KernelUnknown),
        Err((reason, _)) => Err(reason.clone()),
    };
    let frame = |addr| match known.first_at(addr) {
        Some(code) => kernel_code(known, code),
        None => Frame::new(name(addr), FrameKind::Kernel),
    };
    named.extend(addrs.iter().map(|(id, addr)| (*id, frame(*addr))));
    problems.extend(match parsed {
        Ok(_) => unchecked.map(|reason| Problem::KernelUnchecked { reason }),
        Err((_, problem)) => Some(problem),
    });
    (named, problems)
}

/// Names the vdso by ours, if that is the recorded one, else by what the caches have.
pub(crate) fn vdso(places: &[Place], is: VdsoIs, lookup: &Lookup) -> Named {
    let mut vdso = None;
    numbered(places)
        .filter_map(|(id, place)| {
            let Place::Vdso(offset) = place else {
                return None;
            };
            let vdso = vdso.get_or_insert_with(|| recorded_vdso(is, lookup));
            let symbol = vdso.as_ref().and_then(|vdso| vdso.lookup(offset));
            let name = symbol.map(|symbol| demangle(&symbol.name).as_ref().into());
            Some((
                id,
                native_frame(name.ok_or_else(|| Unresolved::Stripped("[vdso]".into()))),
            ))
        })
        .collect()
}

fn recorded_vdso(is: VdsoIs, lookup: &Lookup) -> Option<Vdso> {
    let ours = || Vdso::of_self().ok();
    match is {
        VdsoIs::Ours => ours(),
        VdsoIs::Told(id) => ours().filter(|vdso| vdso.is(&id)).or_else(|| {
            let mut kept = lookup.cached(&id, "vdso");
            kept.find_map(|(_, held)| Some(Vdso::kept(read_with_id(&held, &id, Wanted::All)?, id)))
        }),
        VdsoIs::Unknown => None,
    }
}
