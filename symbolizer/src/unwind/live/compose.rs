//! A chain with what was missing of its user part.

use crate::chain::{CUT_MARKER, USER_MARKER, WHOLE_MARKER, is_marker};
use crate::unwind::repair::Repair;

/// Where in a chain the leaf of its user part is.
pub(super) fn leaf_in(mut words: impl Iterator<Item = u64>) -> Option<usize> {
    let marker = words.position(|word| word == USER_MARKER)?;
    Some(marker + 1)
}

/// Appends to `into` the chain `recorded`, whose user part's leaf is at `leaf`, with `found` behind it;
/// whether there is anything to change. `max_entries`: where the kernel cuts a chain.
pub(super) fn compose(
    (recorded, leaf): (&[u64], usize),
    (repair, found): (Repair, &[u64]),
    max_entries: usize,
    into: &mut Vec<u64>,
) -> bool {
    let Some((kept, behind)) = recorded.split_at_checked(leaf + 1) else {
        return false;
    };
    let (rest, end) = match repair {
        Repair::AsRecorded | Repair::Unknown => return false,
        Repair::Inserted(taken) => {
            let rest = behind.get(taken..).unwrap_or_default();
            let entries = |words: &[u64]| words.iter().filter(|word| !is_marker(**word)).count();
            let made = entries(kept) + found.len() + entries(rest);
            // The kernel did not cut it: it is only longer now.
            let is_grown = entries(recorded) < max_entries && max_entries <= made;
            (rest, is_grown.then_some(WHOLE_MARKER))
        }
        Repair::Ended { taken, len } => {
            let rest = behind.get(taken..len).unwrap_or_default();
            (rest, Some(WHOLE_MARKER))
        }
        Repair::Whole => (&[][..], Some(WHOLE_MARKER)),
        Repair::Cut => (&[][..], Some(CUT_MARKER)),
    };
    for words in [kept, found, rest] {
        into.extend_from_slice(words);
    }
    into.extend(end);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::KERNEL_MARKER;

    fn composed(recorded: &[u64], repair: Repair, found: &[u64], max: usize) -> Option<Vec<u64>> {
        let leaf = leaf_in(recorded.iter().copied()).expect("a user part");
        let mut into = Vec::new();
        compose((recorded, leaf), (repair, found), max, &mut into).then_some(into)
    }

    #[test]
    fn what_was_found_is_behind_the_leaf_and_the_rest_follows_if_it_is_true() {
        let recorded = [KERNEL_MARKER, 9, USER_MARKER, 7, 5, 3];
        let with = |repair| composed(&recorded, repair, &[6, 5, 4], 127);
        let head = [KERNEL_MARKER, 9, USER_MARKER, 7, 6, 5, 4];
        let and = |rest: &[u64]| Some([&head[..], rest].concat());
        assert_eq!(with(Repair::Inserted(1)), and(&[3]));
        assert_eq!(with(Repair::Inserted(0)), and(&[5, 3]));
        let ended = |taken, len| with(Repair::Ended { taken, len });
        assert_eq!(ended(0, 1), and(&[5, WHOLE_MARKER]));
        assert_eq!(ended(1, 1), and(&[WHOLE_MARKER]));
        assert_eq!(with(Repair::Whole), and(&[WHOLE_MARKER]));
        assert_eq!(with(Repair::Cut), and(&[CUT_MARKER]));
        assert_eq!(with(Repair::AsRecorded), None);
    }

    #[test]
    fn a_chain_that_only_became_as_long_as_the_kernels_longest_is_not_cut() {
        let recorded = [USER_MARKER, 5, 3, 2];
        let grown = [USER_MARKER, 5, 4, 3, 2];
        let with = |max| composed(&recorded, Repair::Inserted(0), &[4], max).expect("changed");
        assert_eq!(with(5), grown);
        assert_eq!(with(4), [&grown[..], &[WHOLE_MARKER]].concat());
        // The kernel did cut it.
        assert_eq!(with(3), grown);
    }
}
