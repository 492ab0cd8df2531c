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
use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How long one image or map of a target may take to be read: a FUSE server in a container may
/// never answer.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(10);

/// The text of kallsyms: the recorded kernel's, as it was booted when it was recorded.
pub struct Kallsyms {
    /// As `/proc/kallsyms` has it. It is read as far as is needed.
    pub text: Box<dyn Read + Send>,
    /// Of another boot of the same kernel: its text lay this much further up (wrapping) when it was
    /// recorded. Modules of another boot are left out.
    pub moved_by: Option<u64>,
    /// No code of that kernel lies below this address; 0 where it is not known.
    pub code_from: u64,
    /// Why it cannot be told whether it is that kernel's: it is used all the same.
    pub unchecked: Option<String>,
    /// A copy that has the same of the kernel's own code, but perhaps not of modules. The kernel makes its
    /// text anew for each reader; a copy is there.
    pub copy: Option<Box<Kallsyms>>,
}

impl Kallsyms {
    /// Of the kernel that was recorded, since its boot.
    pub fn recorded(text: impl Read + Send + 'static) -> Self {
        Self {
            text: Box::new(text),
            moved_by: None,
            code_from: 0,
            unchecked: None,
            copy: None,
        }
    }

    /// What it says of `wanted`, ascending addresses.
    fn read(mut self, wanted: &[u64]) -> Result<KernelSymbols, KernelSymbolsError> {
        // What is below is no code, and is not worth going through all of the text.
        let is_code = |at: &u64| *at >= self.code_from || CPU_ENTRY_AREA.contains(at);
        let wanted: Vec<u64> = wanted.iter().copied().filter(is_code).collect();
        let wanted = &wanted[..];
        let span = wanted
            .last()
            .zip(wanted.first())
            .map(|(last, first)| last - first);
        let may_be_own = span.is_some_and(|span| span < OWN_CODE_BYTES);
        let copy = self.copy.filter(|_| may_be_own);
        let copy = copy.and_then(|copy| copy.read(wanted).ok());
        match copy.filter(|copy| copy.is_own_code(wanted)) {
            Some(copy) => Ok(copy),
            None => KernelSymbols::read(&mut self.text, wanted, self.moved_by),
        }
    }
}

impl fmt::Debug for Kallsyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kallsyms")
            .field("moved_by", &self.moved_by)
            .field("code_from", &self.code_from)
            .field("unchecked", &self.unchecked)
            .field("copy", &self.copy)
            .finish_non_exhaustive()
    }
}

/// Where x86_64 has what each CPU enters the kernel by, code of its own among it in Linux 4.15 to 4.19
/// (Documentation/arch/x86/x86_64/mm.rst).
const CPU_ENTRY_AREA: Range<u64> = 0xffff_fe00_0000_0000..0xffff_fe80_0000_0000;

/// The code of a kernel itself is not longer: of addresses that lie further apart some are a module's.
const OWN_CODE_BYTES: u64 = 128 << 20;

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
        Ok(mut kallsyms) => {
            unchecked = kallsyms.unchecked.take();
            let mut wanted: Vec<u64> = addrs.iter().map(|(_, addr)| *addr).collect();
            wanted.sort_unstable();
            wanted.dedup();
            kallsyms.read(&wanted).map_err(|error| {
                let unresolved = match error {
                    KernelSymbolsError::Restricted { .. } => Unresolved::KernelRestricted,
                    KernelSymbolsError::Empty { .. } | KernelSymbolsError::Unreadable { .. } => {
                        Unresolved::KernelUnknown
                    }
                };
                (unresolved, hidden(error.to_string(), error.hint()))
            })
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

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u64 = 0xffff_ffff_8100_0000;
    const MODULE: u64 = 0xffff_ffff_8500_0000;
    const FAR_MODULE: u64 = 0xffff_ffff_c000_0000;

    /// Of a kernel that calls its code by `name`.
    fn kallsyms(name: &str) -> Kallsyms {
        let text = format!(
            "{TEXT:016x} T _text\n{:016x} t {name}\n{:016x} T _etext\n{MODULE:016x} t {name}\t[m]\n\
             {FAR_MODULE:016x} t {name}\t[far]\n",
            TEXT + 0x10,
            TEXT + 0x1000,
        );
        Kallsyms {
            code_from: 1 << 63,
            ..Kallsyms::recorded(std::io::Cursor::new(text))
        }
    }

    #[test]
    fn a_copy_answers_where_all_is_the_kernels_own_code() {
        let named = |wanted: &[u64], copy: Kallsyms| -> Vec<Option<String>> {
            let kallsyms = Kallsyms {
                copy: Some(Box::new(copy)),
                ..kallsyms("made")
            };
            let symbols = kallsyms.read(wanted).expect("there are symbols");
            let names = wanted.iter().map(|at| symbols.lookup(*at));
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            names.map(|it| it.map(|it| text(it.name))).collect()
        };
        let of = |name: &str| Some(name.to_owned());
        let own = TEXT + 0x20;
        assert_eq!(named(&[own], kallsyms("copied")), [of("copied")]);
        for module in [MODULE, FAR_MODULE] {
            let wanted = [own, module + 1];
            assert_eq!(named(&wanted, kallsyms("copied")), [of("made"), of("made")]);
        }
        // Nothing is there that could have a name.
        let low = [1, own];
        assert_eq!(named(&low, kallsyms("copied")), [None, of("copied")]);
        let cut = Kallsyms {
            text: Box::new(kallsyms("copied").text.take(60)),
            ..kallsyms("copied")
        };
        assert_eq!(named(&[own], cut), [of("made")]);
        let empty = Kallsyms::recorded(std::io::empty());
        assert_eq!(named(&[own], empty), [of("made")]);
        // Whom the kernel shows no addresses.
        let hidden = Kallsyms {
            copy: Some(Box::new(kallsyms("copied"))),
            ..Kallsyms::recorded(&b"0000000000000000 T _text\n"[..])
        };
        let symbols = hidden.read(&[own]).expect("there is a copy");
        assert_eq!(symbols.lookup(own).map(|it| it.name), Some(&b"copied"[..]));
    }
}
