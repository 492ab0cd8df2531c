//! What was taken, drawn and named: the numbers of the subtitle and of the closing line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::tree::FrameTree;

/// Samples by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Samples that are in the tree.
    pub samples: u64,
    /// Samples that were not asked for.
    pub not_chosen: u64,
    /// Samples of idle CPUs, which are in no stack.
    pub idle: u64,
    /// Samples that the kernel dropped because its buffer was full; not among those taken.
    pub lost: u64,
}

/// What was taken, and sums over all stacks: those are weighted as the tree is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Samples that are in the stacks.
    pub samples: u64,
    /// Samples that were not asked for.
    pub not_chosen: u64,
    /// Samples of idle CPUs, which are in no stack.
    pub idle: u64,
    /// Samples that the kernel dropped because its buffer was full; not among those taken.
    pub lost: u64,
    /// The width of the picture: the samples, or the sum of their periods.
    pub width: u64,
    /// Of `width`, stacks that were cut at their root side.
    pub truncated: u64,
    /// Frames, without the one that marks a cut.
    pub frames: u64,
    /// Those of `frames` that have no name, by [`Unresolved::kind`].
    pub unnamed: BTreeMap<&'static str, u64>,
    /// Whether the stacks are told apart by container.
    pub has_containers: bool,
    /// The containers met, without the host.
    pub containers: BTreeSet<Arc<str>>,
}

/// Whether a container's tag means the host itself, with or without a systemd unit behind it.
pub fn is_host(tag: &str) -> bool {
    tag.strip_prefix("host")
        .is_some_and(|unit| unit.is_empty() || unit.starts_with([' ', ':', '/']))
}

impl Totals {
    /// Counts a tree; what was taken is known to whoever took it.
    pub fn of(tree: &FrameTree, taken: Taken) -> Self {
        let sums = tree.sums();
        let mut totals = Self {
            samples: taken.samples,
            not_chosen: taken.not_chosen,
            idle: taken.idle,
            lost: taken.lost,
            width: tree.samples(),
            truncated: sums.truncated,
            frames: sums.frames,
            unnamed: sums.unnamed.clone(),
            ..Self::default()
        };
        for (name, _) in tree.containers() {
            totals.has_containers = true;
            if !is_host(name) {
                totals.containers.insert(name.into());
            }
        }
        totals
    }

    /// All samples taken: those drawn, those of idle CPUs, and those that were not asked for.
    pub fn taken(&self) -> u64 {
        let drawn_or_idle = self.samples.saturating_add(self.idle);
        drawn_or_idle.saturating_add(self.not_chosen)
    }

    /// Frames without a name, for whatever reason.
    pub fn unnamed_frames(&self) -> u64 {
        self.unnamed
            .values()
            .fold(0, |sum, frames| sum.saturating_add(*frames))
    }
}

impl fmt::Display for Totals {
    /// One line: `11 880 samples · 0 lost · 3 containers · 3.1 % of frames unnamed (2.0 % stripped,
    /// 1.1 % jit without map)`. Idle and truncated samples are named when there are any. The shares
    /// in brackets add up to the one before them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", counted(self.samples, "sample"))?;
        if self.idle > 0 {
            write!(f, " · {} idle", grouped(self.idle))?;
        }
        if self.not_chosen > 0 {
            write!(f, " · {} not chosen", grouped(self.not_chosen))?;
        }
        write!(f, " · {} lost", grouped(self.lost))?;
        if self.truncated > 0 {
            if self.width == self.samples {
                write!(f, " · {} truncated", grouped(self.truncated))?;
            } else {
                let share = tenths(self.truncated, self.width);
                write!(f, " · {} truncated", percent(share, self.truncated))?;
            }
        }
        if self.has_containers {
            let containers = self.containers.len() as u64;
            write!(f, " · {}", counted(containers, "container"))?;
        }
        self.write_unnamed(f)
    }
}

impl Totals {
    /// ` · 3.1 % of frames unnamed (…)`; nothing where there are no frames.
    pub(crate) fn write_unnamed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.frames == 0 {
            return Ok(());
        }
        let all = tenths(self.unnamed_frames(), self.frames);
        write!(
            f,
            " · {} of frames unnamed",
            percent(all, self.unnamed_frames())
        )?;
        for (i, (kind, frames, share)) in self.shares(all).into_iter().enumerate() {
            let before = if i == 0 { " (" } else { ", " };
            write!(f, "{before}{} {kind}", percent(share, frames))?;
        }
        if self.unnamed.is_empty() {
            Ok(())
        } else {
            f.write_str(")")
        }
    }

    /// Kinds with their frames and tenths of a percent, most frames first. Each share is rounded
    /// down; those that lost most by it get back what is missing from the sum `all`.
    fn shares(&self, all: u64) -> Vec<(&'static str, u64, u64)> {
        let exact = |frames: u64| u128::from(frames) * 1000;
        let of = u128::from(self.frames.max(1));
        let mut shares: Vec<_> = self
            .unnamed
            .iter()
            .map(|(kind, frames)| (*kind, *frames, to_u64(exact(*frames) / of)))
            .collect();
        shares.sort_by_key(|(kind, frames, _)| (exact(*frames) % of, *kind));
        let missing = all.saturating_sub(shares.iter().map(|(_, _, share)| share).sum());
        for (_, _, share) in shares.iter_mut().rev().take(missing as usize) {
            *share += 1;
        }
        shares.sort_by_key(|(kind, frames, _)| (std::cmp::Reverse(*frames), *kind));
        shares
    }
}

/// `part` of `whole` in tenths of a percent, rounded; 0 of 0 is 0.
fn tenths(part: u64, whole: u64) -> u64 {
    let whole = u128::from(whole.max(1));
    to_u64((u128::from(part) * 1000 + whole / 2) / whole)
}

fn to_u64(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// `3.1 %`; something that is too little to show is not shown as nothing.
fn percent(tenths: u64, counted: u64) -> String {
    if tenths == 0 && counted > 0 {
        return "<0.1 %".to_owned();
    }
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// `1 sample`, `11 880 samples`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count))
}

/// Digits in groups of three: `11 880`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use symbolizer::{Frame, FrameKind, NamedStack, Unresolved};

    use crate::tree::Detail;

    use super::*;

    fn tree_of<'a>(stacks: impl IntoIterator<Item = &'a NamedStack>) -> FrameTree {
        FrameTree::of(&stacks.into_iter().collect(), Detail::All)
    }

    fn stack(container: &str, names: Vec<Result<&str, Unresolved>>, samples: u64) -> NamedStack {
        let frames = names
            .into_iter()
            .map(|name| Frame::new(name.map(Arc::from), FrameKind::Native))
            .collect();
        NamedStack::new(container, "p", frames, samples)
    }

    fn stripped() -> Result<&'static str, Unresolved> {
        Err(Unresolved::Stripped("lib.so".into()))
    }

    #[test]
    fn everything_is_counted_by_its_weight() {
        let totals = Totals::of(
            &tree_of(&[
                stack("docker:web", vec![Ok("main"), stripped()], 10),
                stack(
                    "docker:db",
                    vec![Err(Unresolved::Truncated), Ok("f"), Ok("g")],
                    5,
                ),
                stack(
                    "docker:web",
                    vec![Err(Unresolved::JitWithoutMap("".into()))],
                    3,
                ),
                stack("host", vec![], 2),
                stack("docker:unseen", vec![stripped()], 0),
            ]),
            Taken {
                samples: 20,
                not_chosen: 4,
                idle: 7,
                lost: 1,
            },
        );
        assert_eq!(
            (totals.samples, totals.idle, totals.lost, totals.taken()),
            (20, 7, 1, 31)
        );
        assert_eq!((totals.truncated, totals.frames), (5, 33));
        assert_eq!(
            totals.unnamed,
            BTreeMap::from([("stripped", 10), ("jit without map", 3)])
        );
        assert_eq!(totals.unnamed_frames(), 13);
        assert_eq!(
            totals.containers,
            ["docker:db", "docker:web"].map(Arc::from).into()
        );
    }

    #[test]
    fn the_line_reads_as_documented() {
        let totals = Totals {
            samples: 11_880,
            frames: 100_000,
            unnamed: BTreeMap::from([("stripped", 2_000), ("jit without map", 1_100)]),
            has_containers: true,
            containers: ["a", "b", "c"].map(Arc::from).into(),
            ..Totals::default()
        };
        assert_eq!(
            totals.to_string(),
            "11 880 samples · 0 lost · 3 containers · 3.1 % of frames unnamed (2.0 % stripped, \
             1.1 % jit without map)"
        );
    }

    #[test]
    fn idle_and_truncated_samples_are_named_when_there_are_any() {
        let totals = Totals {
            samples: 1,
            not_chosen: 3,
            idle: 4_120,
            lost: 2,
            width: 1,
            truncated: 1,
            frames: 9,
            has_containers: true,
            containers: ["a"].map(Arc::from).into(),
            ..Totals::default()
        };
        assert_eq!(
            totals.to_string(),
            "1 sample · 4 120 idle · 3 not chosen · 2 lost · 1 truncated · 1 container · 0.0 % of frames unnamed"
        );
        let by_period = Totals {
            samples: 20,
            width: 1_000_000,
            truncated: 50_000,
            ..Totals::default()
        };
        assert_eq!(
            by_period.to_string(),
            "20 samples · 0 lost · 5.0 % truncated"
        );
        assert_eq!(Totals::default().to_string(), "0 samples · 0 lost");
    }

    #[test]
    fn shares_add_up_to_their_sum_and_little_is_not_nothing() {
        let totals = |frames, unnamed: &[(&'static str, u64)]| {
            let unnamed = unnamed.iter().copied().collect();
            let line = Totals {
                frames,
                unnamed,
                ..Totals::default()
            }
            .to_string();
            line.split_once("lost · ")
                .map(|(_, shares)| shares.to_owned())
                .unwrap()
        };
        assert_eq!(
            totals(3000, &[("a", 1), ("b", 1), ("c", 1)]),
            "0.1 % of frames unnamed (<0.1 % a, <0.1 % b, 0.1 % c)"
        );
        assert_eq!(
            totals(3000, &[("a", 1000), ("b", 1000), ("c", 1000)]),
            "100.0 % of frames unnamed (33.3 % a, 33.3 % b, 33.4 % c)"
        );
        assert_eq!(
            totals(1_000_000, &[("a", 1)]),
            "<0.1 % of frames unnamed (<0.1 % a)"
        );
        assert_eq!(
            totals(7, &[("a", 7)]),
            "100.0 % of frames unnamed (100.0 % a)"
        );
    }

    #[test]
    fn the_host_is_no_container_and_only_the_host_is_the_host() {
        for tag in [
            "host",
            "host:nginx.service",
            "host nginx.service",
            "host/nginx.service",
        ] {
            assert!(is_host(tag), "{tag}");
        }
        for tag in [
            "",
            "hostess",
            "docker:host",
            "docker:host (3f2a)",
            "Host",
            "host-agent",
        ] {
            assert!(!is_host(tag), "{tag}");
        }
    }

    #[test]
    fn digits_are_grouped_by_three() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1 000"),
            (11_880, "11 880"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(grouped(count), text);
        }
        assert_eq!(grouped(u64::MAX), "18 446 744 073 709 551 615");
    }

    #[test]
    fn absurd_counts_neither_overflow_nor_panic() {
        let stacks = [
            stack("c", vec![stripped(), Ok("f")], u64::MAX),
            stack("c", vec![Err(Unresolved::Unmapped)], u64::MAX),
            stack("c", vec![stripped()], u64::MAX),
            stack("c", vec![Err(Unresolved::Truncated)], u64::MAX),
            stack("d", vec![Err(Unresolved::Truncated)], u64::MAX),
        ];
        let totals = Totals::of(
            &tree_of(&stacks),
            Taken {
                samples: u64::MAX,
                not_chosen: u64::MAX,
                idle: u64::MAX,
                lost: u64::MAX,
            },
        );
        assert_eq!(totals.taken(), u64::MAX);
        assert_eq!((totals.frames, totals.truncated), (u64::MAX, u64::MAX));
        let unnamed: Vec<_> = totals.unnamed.iter().collect();
        assert_eq!(
            unnamed,
            [(&"stripped", &u64::MAX), (&"unmapped", &u64::MAX)]
        );
        assert!(
            totals
                .to_string()
                .starts_with("18 446 744 073 709 551 615 samples")
        );
    }
}
