//! Branch stacks as chains: what hardware noted of calls that have not returned
//! (`perf record --call-graph lbr`).

use crate::chain::{CUT_MARKER, KERNEL_MARKER, USER_MARKER, WHOLE_MARKER};
use profiler::record::Sample;

/// Entries of the deepest branch stack (Intel, since Skylake): one that is full may have lost its root.
const ENTRIES_MAX: usize = 32;

/// Appends the chain of a sample's branch stack to `into`, and says whether it has one. As perf does
/// (`resolve_lbr_callchain_sample()`, tools/perf/util/machine.c): the user part is the target of the
/// newest branch, then where each came from; the kernel part stays, and a sample whose chain has
/// no user part is left alone.
pub(super) fn chain_of_branches(sample: &Sample<'_>, into: &mut Vec<u64>) -> bool {
    // What hardware did not fill is zero.
    let branches = sample.branches.iter();
    let mut branches = branches.take_while(|(from, to)| from.0 | to.0 != 0);
    let Some((newest_from, newest_to)) = branches.next() else {
        return false;
    };
    let user = sample.chain.iter().position(|word| word == USER_MARKER);
    if user.is_none() && !sample.chain.is_empty() {
        return false;
    }
    into.extend(sample.chain.iter().take(user.unwrap_or(0)));
    let mut part = marker_of(newest_to.0);
    into.extend([part, newest_to.0]);
    let mut entries = 0;
    let sources = branches.map(|(from, _)| from);
    for from in std::iter::once(newest_from).chain(sources) {
        entries += 1;
        let marker = marker_of(from.0);
        if marker == part {
            // A source is the call itself: one byte on, as a return address is, so that one byte
            // back it is what it was.
            into.push(from.0.saturating_add(1));
        } else {
            // Branches of any kind were recorded, the kernel's too.
            part = marker;
            into.extend([marker, from.0]);
        }
    }
    into.push(match entries < ENTRIES_MAX {
        true => WHOLE_MARKER,
        false => CUT_MARKER,
    });
    true
}

/// Whose address it is: the kernel's are in the upper half, on all 64-bit machines.
fn marker_of(addr: u64) -> u64 {
    match addr >> 63 {
        0 => USER_MARKER,
        _ => KERNEL_MARKER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::tests::sample;
    use profiler::CodeAddr;
    use profiler::record::{Branches, Chain};

    fn chain(recorded: &[u64], branches: &[(u64, u64)]) -> Option<Vec<u64>> {
        let recorded: Vec<[u8; 8]> = recorded.iter().map(|word| word.to_ne_bytes()).collect();
        let branches = branches.iter().flat_map(|(from, to)| [*from, *to, 0]);
        let branches: Vec<[u8; 8]> = branches.map(u64::to_ne_bytes).collect();
        let sample = Sample {
            ip: CodeAddr(1),
            chain: Chain { words: &recorded },
            branches: Branches::new(&branches),
            ..sample()
        };
        let mut into = Vec::new();
        chain_of_branches(&sample, &mut into).then_some(into)
    }

    #[test]
    fn the_user_part_is_the_newest_target_and_where_each_branch_came_from() {
        let kernel = [KERNEL_MARKER, 0xffff_0000_0000_0000];
        let recorded = [kernel[0], kernel[1], USER_MARKER, 0x70, 0x60];
        let found = chain(&recorded, &[(0x51, 0x70), (0x41, 0x50)]);
        let expected = [
            kernel[0],
            kernel[1],
            USER_MARKER,
            0x70,
            0x52,
            0x42,
            WHOLE_MARKER,
        ];
        assert_eq!(found, Some(expected.to_vec()));
        // What was not filled is no branch.
        let found = chain(&[], &[(0x51, 0x70), (0, 0), (0x41, 0x50)]);
        let expected = [USER_MARKER, 0x70, 0x52, WHOLE_MARKER];
        assert_eq!(found, Some(expected.to_vec()));
    }

    #[test]
    fn a_full_branch_stack_may_have_lost_its_root() {
        let found = chain(&[], &[(0x51, 0x70); 32]).expect("a chain");
        assert_eq!((found.len(), found.last()), (35, Some(&CUT_MARKER)));
        let found = chain(&[], &[(0x51, 0x70); 31]).expect("a chain");
        assert_eq!((found.len(), found.last()), (34, Some(&WHOLE_MARKER)));
    }

    #[test]
    fn a_sample_without_branches_or_without_a_user_part_is_left_alone() {
        assert_eq!(chain(&[USER_MARKER, 0x70], &[]), None);
        assert_eq!(chain(&[KERNEL_MARKER, 1 << 63], &[(0x51, 0x70)]), None);
    }

    #[test]
    fn the_kernels_branches_are_the_kernels() {
        let found = chain(&[], &[(0x51, 1 << 63 | 9), (1 << 63 | 5, 0x50)]);
        let expected = [
            KERNEL_MARKER,
            1 << 63 | 9,
            USER_MARKER,
            0x51,
            KERNEL_MARKER,
            1 << 63 | 5,
        ];
        assert_eq!(found, Some([&expected[..], &[WHOLE_MARKER]].concat()));
    }
}
