//! What the renderer is fed: folded lines of the frames that are wide enough to be drawn, in the order that it
//! draws them in.

use collapse::{Detail, FrameTree, NodeKind};
use inferno::flamegraph::color::PaletteMap;
use inferno::flamegraph::defaults;
use std::fmt::Write as _;

use crate::marks::{LabelId, Labels, Ranks, ShortNames};
use crate::palette::{Hues, Style};

/// A browser stays quick with as many. More are drawn only if they are all wide.
const FRAMES_MAX: usize = 20_000;
/// More than deep recursion needs to be recognised as such.
const DEPTH_MAX: usize = 1_000;
/// Lines repeat their whole path: what a hostile tree may cost us.
const FEED_BYTES_MAX: usize = 64 << 20;
/// What is asked of a tree that only a picture is made of: a frame is drawn if it has at least one of as many samples,
/// while others are not in its way.
pub const DETAIL: Detail = Detail::Wide { one_of: 10_000 };
/// A frame that has at least one of as many samples is drawn even then: of a few hundred deep
/// stacks that share little, all the frames may be too many.
const WIDE: u64 = 1_000;
/// How wide the renderer takes the picture to be when it cuts texts.
const PICTURE_PIXELS: f64 = 1200.0;

/// The lines, and the colour for every name in them.
pub(crate) struct Feed<'a> {
    pub(crate) lines: String,
    pub(crate) palette: PaletteMap,
    pub(crate) names: ShortNames<'a>,
    pub(crate) drawn: Drawn,
}

/// Which frames are drawn. The samples of the others are in the width of the frames below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// Frames of fewer samples are left out. At least 1.
    pub(crate) samples_min: u64,
    /// Frames of greater depth are left out.
    pub(crate) depth_max: usize,
    /// Whether there are such frames.
    pub(crate) narrow_left_out: bool,
    pub(crate) deep_left_out: bool,
}

impl<'a> Feed<'a> {
    /// All frames, or of very many the widest.
    pub(crate) fn of(tree: &'a FrameTree) -> Self {
        Self::within(tree, FRAMES_MAX, FEED_BYTES_MAX)
    }

    fn within(tree: &'a FrameTree, frames_max: usize, bytes_max: usize) -> Self {
        let mut samples_min = samples_min(tree, frames_max);
        let mut depth_max = DEPTH_MAX;
        loop {
            // At the end of this loop one path of 64 names is left, which is never too much.
            let last = depth_max <= 64 && samples_min >= tree.samples();
            let budget = if last { usize::MAX } else { bytes_max };
            if let Some(feed) = Self::build(tree, samples_min, depth_max, budget) {
                return feed;
            }
            if depth_max > 64 {
                depth_max /= 2;
            } else {
                samples_min = samples_min.saturating_mul(4).min(tree.samples());
            }
        }
    }

    /// `None` if the lines, with their names in full, need more than `bytes_max`.
    fn build(
        tree: &'a FrameTree,
        samples_min: u64,
        depth_max: usize,
        bytes_max: usize,
    ) -> Option<Self> {
        let mut drawn = Drawn {
            samples_min,
            depth_max,
            narrow_left_out: tree.leaves_out(),
            deep_left_out: false,
        };
        let mut labels = Labels::new();
        let mut frames: Vec<Shown> = Vec::new();
        let hues = Hues::of(tree);
        let mut hue = hues.outside();
        // Of the container that the node is in.
        let mut container_depth = usize::MAX;
        for node in tree.preorder().filter(|node| node.kind != NodeKind::Root) {
            if node.kind == NodeKind::Container {
                hue = hues.of_container(node.name);
                container_depth = node.depth;
            } else if node.depth <= container_depth {
                hue = hues.outside();
            }
            if node.total_samples < samples_min {
                drawn.narrow_left_out = true;
            } else if node.depth > depth_max {
                drawn.deep_left_out = true;
            } else {
                frames.push(Shown {
                    label: labels.id(&node, Style::new(hue, node.kind)),
                    depth: node.depth,
                    samples: node.total_samples,
                });
            }
        }
        let frames = Frames::of(frames);
        let lines = Lines::new(tree.samples(), &frames, bytes_max);
        let lines = lines.of(&frames, &mut labels)?;
        let (palette, names) = labels.finish();
        Some(Self {
            lines,
            palette,
            names,
            drawn,
        })
    }
}

/// A frame that is drawn.
struct Shown {
    label: LabelId,
    /// 1 for the lowest.
    depth: usize,
    samples: u64,
}

/// The frames that are drawn, each before those above it.
struct Frames {
    all: Vec<Shown>,
    /// Where the frames above each one end.
    ends: Vec<usize>,
}

impl Frames {
    fn of(all: Vec<Shown>) -> Self {
        let mut ends = vec![all.len(); all.len()];
        let mut open: Vec<usize> = Vec::new();
        for (at, frame) in all.iter().enumerate() {
            while open.len() >= frame.depth {
                if let Some(end) = open.pop().and_then(|below| ends.get_mut(below)) {
                    *end = at;
                }
            }
            open.push(at);
        }
        Self { all, ends }
    }

    /// Those right above a frame, or the lowest.
    fn above(&self, below: Option<usize>) -> impl Iterator<Item = usize> {
        let first = below.map_or(0, |below| below + 1);
        let end_of = |at: usize| self.ends.get(at).copied();
        let end = below.and_then(end_of).unwrap_or(self.all.len());
        std::iter::successors(Some(first), move |at| end_of(*at)).take_while(move |at| *at < end)
    }

    fn samples(&self, at: usize) -> u64 {
        self.all.get(at).map_or(0, |frame| frame.samples)
    }

    fn rank(&self, at: usize, ranks: &Ranks) -> u32 {
        self.all.get(at).map_or(0, |frame| ranks.of(frame.label))
    }
}

/// The least count such that at most `frames_max` frames, or only wide ones, have as many samples.
fn samples_min(tree: &FrameTree, frames_max: usize) -> u64 {
    let narrowest = DETAIL.samples_min(tree.samples());
    let mut counts: Vec<u64> = tree
        .preorder()
        .map(|n| n.total_samples)
        .filter(|count| *count >= narrowest)
        .collect();
    if counts.len() <= frames_max {
        return narrowest;
    }
    let (_, first_too_many, _) = counts.select_nth_unstable_by(frames_max, |a, b| b.cmp(a));
    first_too_many
        .saturating_add(1)
        .min(tree.samples().div_ceil(WIDE))
}

/// Writes a path whenever it has samples that no drawn frame above it has.
struct Lines {
    text: String,
    path: String,
    /// For each open frame: where its name ends in `path`, and where it would with all names in full.
    open: Vec<(usize, usize)>,
    /// What the lines would be with all names in full.
    full_bytes: usize,
    bytes_max: usize,
    /// Samples that lines may still be given. Where counts have been saturated, their sum has not
    /// been: the renderer adds them up unchecked.
    left: u64,
    /// How many characters a frame of one sample has room for.
    sample_chars: f64,
}

impl Lines {
    fn new(samples: u64, frames: &Frames, bytes_max: usize) -> Self {
        let lowest = frames.above(None).map(|at| frames.samples(at));
        let width = lowest.fold(0, u64::saturating_add).min(samples);
        let char_pixels = defaults::FONT_SIZE as f64 * defaults::FONT_WIDTH;
        let picture_chars = PICTURE_PIXELS / char_pixels;
        Self {
            text: String::new(),
            path: String::new(),
            open: Vec::new(),
            full_bytes: 0,
            bytes_max,
            left: samples,
            sample_chars: picture_chars / width.max(1) as f64,
        }
    }

    /// The lines in ascending order of their marked names.
    fn of(mut self, frames: &Frames, labels: &mut Labels<'_>) -> Option<String> {
        let ranks = labels.ranks();
        let mut waiting: Vec<usize> = Vec::new();
        let mut above: Vec<usize> = frames.above(None).collect();
        loop {
            // Nearly always ascending: without the marks it is their order in the tree.
            above.sort_by_key(|at| frames.rank(*at, &ranks));
            waiting.extend(above.drain(..).rev());
            let Some(at) = waiting.pop() else {
                return Some(self.text);
            };
            let Some(frame) = frames.all.get(at) else {
                continue;
            };
            self.open(frame, labels);
            above.extend(frames.above(Some(at)));
            let samples = above.iter().map(|at| frames.samples(*at));
            self.line(samples.fold(frame.samples, u64::saturating_sub))?;
        }
    }

    fn open(&mut self, frame: &Shown, labels: &mut Labels<'_>) {
        self.open.truncate(frame.depth - 1);
        let (end, mut full_end) = self.open.last().copied().unwrap_or_default();
        self.path.truncate(end);
        if !self.open.is_empty() {
            self.path.push(';');
            full_end += 1;
        }
        let room_chars = frame.samples as f64 * self.sample_chars;
        labels.write(frame.label, room_chars, &mut self.path);
        full_end += labels.len(frame.label);
        self.open.push((self.path.len(), full_end));
    }

    /// Writes the path, if it has samples of its own.
    fn line(&mut self, own: u64) -> Option<()> {
        let own = own.min(self.left);
        if own == 0 {
            return Some(());
        }
        self.left -= own;
        let full = self.open.last().map_or(0, |(_, full_end)| *full_end);
        self.full_bytes += full;
        if self.full_bytes > self.bytes_max {
            return None;
        }
        self.text.push_str(&self.path);
        let end = self.text.len();
        // A `String` takes everything.
        let _ = writeln!(self.text, " {own}");
        self.full_bytes += self.text.len() - end;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use collapse::{Detail, Frame, FrameKind, NamedStack};

    use super::*;
    use crate::marks::unmarked;

    fn tree_of<'a>(stacks: impl IntoIterator<Item = &'a NamedStack>) -> FrameTree {
        FrameTree::of(&stacks.into_iter().collect(), Detail::All)
    }

    fn stack(container: &str, names: &[&str], samples: u64) -> NamedStack {
        let frames = names
            .iter()
            .map(|name| Frame::new(Ok((*name).into()), FrameKind::Native))
            .collect();
        NamedStack::new(container, "p", frames, samples)
    }

    fn lines(feed: &Feed<'_>) -> Vec<String> {
        let lines = feed.lines.lines();
        lines.map(|line| unmarked(line, &feed.names)).collect()
    }

    #[test]
    fn every_sample_is_in_one_line() {
        let tree = tree_of(&[
            stack("c", &["main", "f"], 3),
            stack("c", &["main"], 4),
            stack("c", &[], 5),
            stack("d", &["main"], 6),
        ]);
        let feed = Feed::of(&tree);
        assert_eq!(
            lines(&feed),
            ["c;p 5", "c;p;main 4", "c;p;main;f 3", "d;p;main 6"]
        );
        assert_eq!(
            (feed.drawn.narrow_left_out, feed.drawn.deep_left_out),
            (false, false)
        );
        // The root, two containers with a process and a function each, and `f`.
        assert_eq!(feed.palette.iter().count(), 8);
    }

    #[test]
    fn a_narrow_frame_leaves_its_samples_to_the_one_below_it() {
        let stacks = [
            stack("c", &["main", "wide"], 19_999),
            stack("c", &["main", "narrow", "above"], 1),
            stack("c", &["main", "other"], 1),
        ];
        let tree = tree_of(&stacks);
        let feed = Feed::of(&tree);
        assert_eq!(lines(&feed), ["c;p;main 2", "c;p;main;wide 19999"]);
        assert_eq!(
            (feed.drawn.samples_min, feed.drawn.narrow_left_out),
            (3, true)
        );
    }

    #[test]
    fn of_too_many_frames_the_widest_are_drawn() {
        let mut stacks: Vec<NamedStack> = (2..=9)
            .map(|i| stack("c", &[&format!("f{i}")], i))
            .collect();
        stacks.push(stack("c", &["wide"], 19_000));
        let tree = tree_of(&stacks);
        // The root, the container, the process, `wide` and two more.
        let feed = Feed::within(&tree, 6, usize::MAX);
        assert_eq!(
            lines(&feed),
            ["c;p 27", "c;p;f8 8", "c;p;f9 9", "c;p;wide 19000"]
        );
        assert_eq!(
            (feed.drawn.samples_min, feed.drawn.narrow_left_out),
            (8, true)
        );
    }

    #[test]
    fn frames_that_are_wide_are_drawn_be_they_ever_so_many() {
        let stacks: Vec<NamedStack> = (0..500)
            .map(|i| stack("c", &[&format!("f{i}")], 1))
            .collect();
        let tree = tree_of(&stacks);
        let feed = Feed::within(&tree, 6, usize::MAX);
        assert_eq!(lines(&feed).len(), 500);
        assert_eq!(
            (feed.drawn.samples_min, feed.drawn.narrow_left_out),
            (1, false)
        );
    }

    #[test]
    fn a_tree_made_to_fill_our_memory_is_drawn_less_deep() {
        let name: std::sync::Arc<str> = "n".repeat(1000).into();
        let stacks: Vec<NamedStack> = (1..2000)
            .step_by(7)
            .map(|depth| NamedStack {
                frames: vec![Frame::new(Ok(name.clone()), FrameKind::Native); depth],
                ..stack("c", &[], 1)
            })
            .collect();
        let tree = tree_of(&stacks);
        let feed = Feed::within(&tree, FRAMES_MAX, 1 << 20);
        assert!(feed.lines.len() <= 1 << 20);
        // The deepest frame is at depth 1998.
        assert_eq!((feed.drawn.depth_max, feed.drawn.deep_left_out), (62, true));
        let drawn: u64 = feed
            .lines
            .lines()
            .map(|l| l.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
            .sum();
        assert_eq!(drawn, tree.samples());
        // Not even one line of 64 names fits: what cannot be less is drawn all the same.
        let feed = Feed::within(&tree, FRAMES_MAX, 10);
        assert_eq!((feed.drawn.depth_max, feed.lines.lines().count()), (62, 1));
    }

    #[test]
    fn saturated_counts_do_not_add_up_past_the_limit() {
        let stacks = [stack("c", &["f"], u64::MAX), stack("c", &["g"], u64::MAX)];
        let tree = tree_of(&stacks);
        let feed = Feed::of(&tree);
        assert_eq!(lines(&feed), [format!("c;p;f {}", u64::MAX)]);
    }

    #[test]
    fn lines_are_in_the_order_of_their_marked_names() {
        let names = [
            "a",
            "ab",
            "a;b",
            ";a",
            "a b",
            "aé",
            "a🔥",
            "a\u{e0041}",
            " ",
            "#",
        ];
        let stacks: Vec<NamedStack> = names
            .iter()
            .flat_map(|name| [stack("c", &[name], 1), stack("c", &[name, "above"], 1)])
            .collect();
        let tree = tree_of(&stacks);
        let feed = Feed::of(&tree);
        let given: Vec<&str> = feed.lines.lines().collect();
        let mut sorted = given.clone();
        sorted.sort_unstable();
        assert_eq!(given, sorted);
        assert_eq!(given.len(), 20);
    }

    #[test]
    fn only_a_frame_whose_text_will_be_cut_has_its_name_in_full() {
        let long = "a".repeat(160);
        let mut stacks: Vec<NamedStack> = ["aa", "a", "zz"]
            .iter()
            .map(|name| stack("c", &["main", name], 1))
            .collect();
        stacks.push(stack("c", &["main", &long], 100));
        let tree = tree_of(&stacks);
        let feed = Feed::of(&tree);
        let expected = [&long, "aa", "a", "zz"];
        let ends = lines(&feed).into_iter().map(|line| {
            let path = line.rsplit_once(' ').map(|(path, _)| path.to_owned());
            path.and_then(|path| Some(path.rsplit_once(';')?.1.to_owned()))
        });
        assert_eq!(ends.flatten().collect::<Vec<_>>(), expected);
        let names = feed.lines.chars().filter(char::is_ascii_alphabetic);
        assert_eq!(names.collect::<String>(), long);
    }
}
