//! How stacks are found while recording: what `--call-graph` means to the kernel and to the tally, and what
//! is said of it.

use crate::cli::{RecordArgs, StacksArg};
use profiler::live::UserPart;
use symbolizer::{Astray, Counts, LiveStacks, Unreached};

/// What is copied of each stack to find the callers that frame pointers miss
/// ([measured](../docs/decisions/0013-leaf-repair.md)).
const LEAF_BYTES: u32 = 2048;

/// What each sample is to carry, and what is made of it.
pub(crate) fn asked(args: &RecordArgs) -> (UserPart, Option<LiveStacks>) {
    match args.call_graph {
        StacksArg::Dwarf(bytes) => (UserPart::Stack(bytes), Some(LiveStacks::Unwind)),
        StacksArg::Auto(bytes) => (UserPart::Stack(bytes), Some(LiveStacks::Repair)),
        StacksArg::Fp if args.no_leaf_repair || !UserPart::is_supported() => {
            (UserPart::ChainOnly, None)
        }
        StacksArg::Fp => (UserPart::Stack(LEAF_BYTES), Some(LiveStacks::Repair)),
    }
}

/// What is to be said of a recording's stacks.
pub(crate) fn notes(asked: StacksArg, counts: &Counts, astray: &[Astray]) -> Vec<String> {
    let mut notes = Vec::new();
    if counts.not_unwound > 0 {
        notes.push(format!(
            "{} stacks are as the kernel walked them: too many others waited to be unwound; sample less \
             often (-F), or copy less of each stack (--call-graph dwarf,4096)",
            counts.not_unwound
        ));
    }
    let sum = |of: fn(&Astray) -> u64| astray.iter().map(of).sum::<u64>();
    let (whole, cut) = (sum(|it| it.whole), sum(|it| it.cut));
    // A few are of every program's start, and of the C library.
    match asked {
        StacksArg::Auto(_) if 100 * (whole + cut) > counts.drawn => notes.push(format!(
            "no frame pointers, unwound by call frame information: {}",
            names(astray, |it| it.whole + it.cut)
        )),
        StacksArg::Fp if 20 * cut > counts.drawn => notes.push(format!(
            "no frame pointers in {cut} stacks, only their leaf side is known: {}; `--call-graph auto` shows \
             more of them",
            names(astray, |it| it.cut)
        )),
        _ => {}
    }
    notes.extend(unreached(counts));
    notes
}

/// Why stacks that were unwound are truncated, and what helps; of one in twenty at least.
pub(crate) fn unreached(counts: &Counts) -> Option<String> {
    let Unreached {
        deeper,
        far,
        lost,
        long,
    } = counts.unreached;
    let all = counts.unreached.all();
    if all == 0 || 20 * all < counts.drawn {
        return None;
    }
    let whys = [
        (
            deeper,
            "deeper than what was copied of them (--call-graph dwarf,65528 copies most)",
        ),
        (
            far,
            "whose next caller lies over 64 KiB up, further than any copy reaches (a huge frame, a deep recursion, \
             another stack)",
        ),
        (
            lost,
            "that cannot be followed: another stack, or code that tells nothing (Go: record with --call-graph fp)",
        ),
        (long, "of more frames than are followed"),
    ];
    let whys = whys.iter().filter(|(stacks, _)| *stacks > 0);
    let whys: Vec<String> = whys
        .map(|(stacks, why)| format!("{stacks} {why}"))
        .collect();
    Some(format!("truncated stacks: {}", whys.join("; ")))
}

/// The names with most samples, and how many.
fn names(astray: &[Astray], samples: fn(&Astray) -> u64) -> String {
    const NAMES_MAX: usize = 5;
    let mut named: Vec<_> = astray.iter().filter(|it| samples(it) > 0).collect();
    named.sort_by_key(|it| std::cmp::Reverse(samples(it)));
    let shown = named.iter().take(NAMES_MAX);
    let shown: Vec<String> = shown
        .map(|it| format!("{} ({})", it.comm, samples(it)))
        .collect();
    match named.len().saturating_sub(NAMES_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn astray(comm: &str, whole: u64, cut: u64) -> Astray {
        Astray {
            comm: comm.into(),
            whole,
            cut,
        }
    }

    fn of(drawn: u64, not_unwound: u64) -> Counts {
        Counts {
            drawn,
            not_unwound,
            ..Counts::default()
        }
    }

    #[test]
    fn why_stacks_are_truncated_is_said_where_many_are() {
        let of = |drawn, unreached| {
            let counts = Counts {
                drawn,
                unreached,
                ..Counts::default()
            };
            super::unreached(&counts)
        };
        let some = Unreached {
            deeper: 3,
            far: 40,
            lost: 0,
            long: 2,
        };
        assert_eq!(
            of(900, some).as_deref(),
            Some(
                "truncated stacks: 3 deeper than what was copied of them (--call-graph dwarf,65528 copies most); 40 whose \
                 next caller lies over 64 KiB up, further than any copy reaches (a huge frame, a deep recursion, another \
                 stack); 2 of more frames than are followed"
            )
        );
        assert_eq!(of(901, some), None);
        assert_eq!(of(0, Unreached::default()), None);
    }

    #[test]
    fn what_lacked_frame_pointers_is_said_where_it_matters() {
        let all = [
            astray("rustc", 30, 60),
            astray("sh", 50, 0),
            astray("cc1", 0, 61),
        ];
        let said = |how| notes(how, &of(2000, 0), &all);
        assert_eq!(
            said(StacksArg::Fp),
            [
                "no frame pointers in 121 stacks, only their leaf side is known: cc1 (61), rustc (60); \
              `--call-graph auto` shows more of them"
            ]
        );
        assert_eq!(
            said(StacksArg::Auto(8192)),
            ["no frame pointers, unwound by call frame information: rustc (90), cc1 (61), sh (50)"]
        );
        assert!(said(StacksArg::Dwarf(8192)).is_empty());
        // As few as every program has.
        assert!(notes(StacksArg::Fp, &of(5000, 0), &all).is_empty());
        assert!(notes(StacksArg::Fp, &of(0, 0), &[]).is_empty());
        let many: Vec<_> = (0..7).map(|at| astray("x", 1, at)).collect();
        let said = notes(StacksArg::Auto(8), &of(10, 3), &many);
        assert!(
            said[0].starts_with("3 stacks are as the kernel"),
            "{said:?}"
        );
        assert!(said[1].ends_with("x (3) and 2 more"), "{said:?}");
    }
}
