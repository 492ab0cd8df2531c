//! A call chain's words, told apart: markers, leaves, return addresses.

use profiler::record::Chain;
use std::iter;

/// `PERF_CONTEXT_MAX`: chain entries from here on are markers (include/uapi/linux/perf_event.h).
const FIRST_MARKER: u64 = -4095_i64 as u64;
/// `PERF_CONTEXT_USER`.
pub(crate) const USER_MARKER: u64 = -512_i64 as u64;
/// `PERF_CONTEXT_KERNEL`.
pub(crate) const KERNEL_MARKER: u64 = -128_i64 as u64;
/// Behind a user part that was made from registers: it reached the root. No kernel ends a chain so, and
/// perf, which throws a chain with a marker that it does not know away, reads it (`PERF_CONTEXT_HV`).
pub(crate) const WHOLE_MARKER: u64 = -32_i64 as u64;
/// Behind a user part that was made from registers: its root is missing. The kernel ends a chain so if
/// its own part left no room for the user's.
pub(crate) const CUT_MARKER: u64 = USER_MARKER;

/// Whether a recorded chain has nothing but markers: recorded without call chains, or without those
/// of user space.
pub(crate) fn has_no_entry(chain: Chain<'_>) -> bool {
    // Kernel, user, and what a guest may add.
    chain.len() <= 4 && chain.iter().all(is_marker)
}

/// The chain of a sample that is only known where it was.
pub(crate) fn leaf_alone(ip: u64) -> [u64; 2] {
    // The kernel's half of the addresses, on all 64-bit machines.
    let is_kernel = ip >> 63 == 1;
    [
        if is_kernel {
            KERNEL_MARKER
        } else {
            USER_MARKER
        },
        ip,
    ]
}

/// Whether a chain's word says what follows rather than where the code was.
pub(crate) fn is_marker(word: u64) -> bool {
    word >= FIRST_MARKER
}

/// What an entry of a chain is, besides its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Kernel,
    User,
    /// A guest's or a hypervisor's: not ours to name.
    Other,
}

impl Part {
    fn behind(marker: u64) -> Self {
        match marker {
            KERNEL_MARKER => Self::Kernel,
            USER_MARKER => Self::User,
            _ => Self::Other,
        }
    }
}

/// The part that a word behind these would be in.
pub(crate) fn part_behind(words: &[u64]) -> Part {
    let last = words.iter().rev().find(|word| is_marker(**word));
    last.map_or(Part::User, |marker| Part::behind(*marker))
}

/// The parts of a chain in which there are entries, without their markers.
pub(crate) fn parts(words: &[u64]) -> impl Iterator<Item = (Part, &[u64])> {
    let mut part = Part::User;
    let mut rest = words;
    iter::from_fn(move || {
        while let [marker, others @ ..] = rest
            && is_marker(*marker)
        {
            part = Part::behind(*marker);
            rest = others;
        }
        let len = rest.iter().position(|word| is_marker(*word));
        let (entries, others) = rest.split_at(len.unwrap_or(rest.len()));
        rest = others;
        (!entries.is_empty()).then_some((part, entries))
    })
}

/// The address to look an entry up by, which is the `number`th of its part.
///
/// An entry behind a part's first is a return address, looked up one byte back: a call that is a
/// function's last instruction returns into the next function.
#[inline]
pub(crate) fn looked_up_at(number: usize, entry: u64) -> u64 {
    entry.saturating_sub(u64::from(number > 0))
}

/// The entries of a chain without its markers, leaf first: each with the address to look it up by.
pub(crate) fn entries(words: impl Iterator<Item = u64>) -> impl Iterator<Item = (Part, u64)> {
    let mut part = Part::User;
    let mut number = 0;
    words.filter_map(move |word| {
        if is_marker(word) {
            part = Part::behind(word);
            number = 0;
            return None;
        }
        let addr = looked_up_at(number, word);
        number += 1;
        Some((part, addr))
    })
}

/// A chain without the marker that says how the unwinding of its user part ended.
pub(crate) fn without_end(words: &[u64]) -> (&[u64], Option<u64>) {
    match words {
        [words @ .., end @ (CUT_MARKER | WHOLE_MARKER)] => (words, Some(*end)),
        words => (words, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_without_a_chain_is_where_it_was() {
        let chain = |words: &[u64]| {
            let words: Vec<_> = words.iter().map(|word| word.to_ne_bytes()).collect();
            has_no_entry(Chain { words: &words })
        };
        assert!(chain(&[]) && chain(&[USER_MARKER]) && chain(&[KERNEL_MARKER, USER_MARKER]));
        assert!(!chain(&[USER_MARKER, 5]) && !chain(&[KERNEL_MARKER; 100]));
        let at = |ip| entries(leaf_alone(ip).into_iter()).collect::<Vec<_>>();
        assert_eq!(at(0x40_1000), [(Part::User, 0x40_1000)]);
        assert_eq!(
            at(0xffff_ffff_8100_0000),
            [(Part::Kernel, 0xffff_ffff_8100_0000)]
        );
    }

    #[test]
    fn a_parts_first_entry_is_where_it_is_and_the_others_are_inside_their_calls() {
        let guest = -2048_i64 as u64;
        let chain = [KERNEL_MARKER, 9, 8, USER_MARKER, 7, 6, guest, 5];
        let found: Vec<_> = entries(chain.into_iter()).collect();
        assert_eq!(
            found,
            [
                (Part::Kernel, 9),
                (Part::Kernel, 7),
                (Part::User, 7),
                (Part::User, 5),
                (Part::Other, 5)
            ]
        );
        let told: Vec<_> = parts(&chain).collect();
        assert_eq!(
            told,
            [
                (Part::Kernel, &[9, 8][..]),
                (Part::User, &[7, 6]),
                (Part::Other, &[5])
            ]
        );
        assert_eq!(
            parts(&[4, USER_MARKER]).collect::<Vec<_>>(),
            [(Part::User, &[4][..])]
        );
        assert_eq!(parts(&[USER_MARKER, KERNEL_MARKER]).count(), 0);
    }
}
