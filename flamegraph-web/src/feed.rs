//! What the renderer is fed: folded lines of the frames that are wide enough to be drawn.
//!
//! The renderer knows a frame by its text alone and gives equal texts one colour, so each name is
//! followed by a mark: one character of a private plane, which no cleaned name can hold, that
//! numbers the frame's style. [`write_unmarked`] takes the marks out of the finished drawing. They serve
//! two more ends: no name is mistaken for a count or an annotation, and no name is a beginning of
//! another one, which in sorted lines would split a frame with samples of its own in two.

use collapse::{FrameTree, NO_NAME, Node, NodeKind};
use inferno::flamegraph::color::PaletteMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use crate::palette::{ALL, Hues, Style};

/// A style's number is added to this.
const STYLE_MARK: u32 = 0xf_0000;
/// An ASCII character that the renderer would read as syntax is added to this.
const SYNTAX_MARK: u32 = 0xf_1000;
const SYNTAX: [char; 3] = [';', ' ', '#'];

/// A browser stays quick with as many. More are drawn only if they are all wide.
const FRAMES_MAX: usize = 20_000;
/// More than deep recursion needs to be recognised as such.
const DEPTH_MAX: usize = 1_000;
/// Lines repeat their whole path: what a hostile tree may cost us.
const FEED_BYTES_MAX: usize = 64 << 20;
/// A frame is drawn if it has at least one of as many samples, while others are not in its way.
const NARROWEST: u64 = 10_000;
/// A frame that has at least one of as many samples is drawn even then: of a few hundred deep
/// stacks that share little, all the frames may be too many.
const WIDE: u64 = 1_000;

/// The lines, and the colour for every name in them.
pub(crate) struct Feed {
    pub(crate) lines: String,
    pub(crate) palette: PaletteMap,
    pub(crate) drawn: Drawn,
}

/// Which frames are drawn. The samples of the others are in the width of the frames below them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// Frames of fewer samples are left out. At least 1.
    pub(crate) samples_min: u64,
    /// Frames of greater depth are left out.
    pub(crate) depth_max: usize,
    /// How many are left out, and whether for their depth.
    pub(crate) narrow_left_out: usize,
    pub(crate) deep_left_out: usize,
}

impl Feed {
    /// All frames, or of very many the widest.
    pub(crate) fn of(tree: &FrameTree) -> Self {
        Self::within(tree, FRAMES_MAX, FEED_BYTES_MAX)
    }

    fn within(tree: &FrameTree, frames_max: usize, bytes_max: usize) -> Self {
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

    /// `None` if the lines need more than `bytes_max`.
    fn build(
        tree: &FrameTree,
        samples_min: u64,
        depth_max: usize,
        bytes_max: usize,
    ) -> Option<Self> {
        let mut palette = PaletteMap::default();
        palette.insert("", ALL);
        let mut drawn = Drawn {
            samples_min,
            depth_max,
            narrow_left_out: 0,
            deep_left_out: 0,
        };
        let mut lines = Lines::new(tree.samples(), bytes_max);
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
                drawn.narrow_left_out += 1;
            } else if node.depth > depth_max {
                drawn.deep_left_out += 1;
            } else {
                let style = Style::new(hue, node.kind);
                let name = marked(&node, style);
                palette.insert(&name, style.colour_of(&node));
                lines.open(node.depth, &name, node.total_samples)?;
            }
        }
        Some(Self {
            lines: lines.finish()?,
            palette,
            drawn,
        })
    }
}

/// The least count such that at most `frames_max` frames, or only wide ones, have as many samples.
fn samples_min(tree: &FrameTree, frames_max: usize) -> u64 {
    let narrowest = tree.samples().div_ceil(NARROWEST).max(1);
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
    /// For each open frame: where its name ends in `path`, and its samples that are in no line yet.
    open: Vec<(usize, u64)>,
    /// Samples that lines may still be given. Where counts have been saturated, their sum has not
    /// been: the renderer adds them up unchecked.
    left: u64,
    bytes_max: usize,
}

impl Lines {
    fn new(samples: u64, bytes_max: usize) -> Self {
        let (text, path) = (String::new(), String::new());
        Self {
            text,
            path,
            open: Vec::new(),
            left: samples,
            bytes_max,
        }
    }

    /// `depth` is 1 for the first name of a path.
    fn open(&mut self, depth: usize, name: &str, samples: u64) -> Option<()> {
        self.close(depth - 1)?;
        if let Some((_, parents)) = self.open.last_mut() {
            *parents = parents.saturating_sub(samples);
            self.path.push(';');
        }
        self.path.push_str(name);
        self.open.push((self.path.len(), samples));
        Some(())
    }

    /// Leaves all but the first `depth` names of the path.
    fn close(&mut self, depth: usize) -> Option<()> {
        while self.open.len() > depth {
            let (end, own) = self.open.pop()?;
            self.path.truncate(end);
            let own = own.min(self.left);
            if own > 0 {
                self.left -= own;
                if self.text.len() + end > self.bytes_max {
                    return None;
                }
                self.text.push_str(&self.path);
                // A `String` takes everything.
                let _ = writeln!(self.text, " {own}");
            }
        }
        let end = self.open.last().map_or(0, |(end, _)| *end);
        self.path.truncate(end);
        Some(())
    }

    fn finish(mut self) -> Option<String> {
        self.close(0)?;
        Some(self.text)
    }
}

/// The frame's text for the renderer.
fn marked(node: &Node<'_>, style: Style) -> String {
    let name = if node.name.is_empty() {
        NO_NAME
    } else {
        node.name
    };
    let mut out = String::with_capacity(name.len() + 4);
    for (at, c) in name.char_indices() {
        // Lines are trimmed, and left out if they begin with `# `.
        let syntax = c == ';' || (at == 0 && SYNTAX.contains(&c));
        out.push(if syntax {
            mark(SYNTAX_MARK + u32::from(c))
        } else {
            c
        });
    }
    out.push(mark(STYLE_MARK + style.number()));
    out
}

fn mark(code: u32) -> char {
    char::from_u32(code).expect("marks are in plane 15, which is all characters")
}

/// Writes a drawing without its marks.
pub(crate) fn write_unmarked(drawing: &str, out: &mut impl Write) -> io::Result<()> {
    let mut rest = drawing;
    while let Some((before, c, after)) = next_mark(rest) {
        out.write_all(before.as_bytes())?;
        if let Some(syntax) = SYNTAX
            .iter()
            .find(|syntax| SYNTAX_MARK + u32::from(**syntax) == c)
        {
            // All of it is ASCII.
            out.write_all(&[*syntax as u8])?;
        }
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

fn next_mark(text: &str) -> Option<(&str, u32, &str)> {
    // Planes 12 to 15 begin with the first of these bytes in UTF-8, plane 16 with the other.
    let starts = memchr::memchr2_iter(0xf3, 0xf4, text.as_bytes());
    let mut marks = starts.filter_map(|at| {
        let (before, rest) = text.split_at_checked(at)?;
        let c = rest
            .chars()
            .next()
            .filter(|c| u32::from(*c) >= STYLE_MARK)?;
        Some((before, u32::from(c), rest.get(c.len_utf8()..)?))
    });
    marks.next()
}

#[cfg(test)]
mod tests {
    use collapse::{Frame, FrameKind, NamedStack};

    use super::*;

    fn unmarked(drawing: &str) -> String {
        let mut out = Vec::new();
        write_unmarked(drawing, &mut out).expect("memory");
        String::from_utf8(out).expect("whole characters")
    }

    fn tree_of<'a>(stacks: impl IntoIterator<Item = &'a NamedStack>) -> FrameTree {
        FrameTree::of(stacks.into_iter().collect())
    }

    fn stack(container: &str, names: &[&str], samples: u64) -> NamedStack {
        let frames = names
            .iter()
            .map(|name| Frame::new(Ok((*name).into()), FrameKind::Native))
            .collect();
        NamedStack {
            container: container.into(),
            comm: "p".into(),
            frames,
            samples,
        }
    }

    fn lines(feed: &Feed) -> Vec<String> {
        feed.lines.lines().map(unmarked).collect()
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
            ["c;p;main;f 3", "c;p;main 4", "c;p 5", "d;p;main 6"]
        );
        assert_eq!(
            (feed.drawn.narrow_left_out, feed.drawn.deep_left_out),
            (0, 0)
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
        let feed = Feed::of(&tree_of(&stacks));
        assert_eq!(lines(&feed), ["c;p;main;wide 19999", "c;p;main 2"]);
        assert_eq!((feed.drawn.samples_min, feed.drawn.narrow_left_out), (3, 3));
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
            ["c;p;f8 8", "c;p;f9 9", "c;p;wide 19000", "c;p 27"]
        );
        assert_eq!((feed.drawn.samples_min, feed.drawn.narrow_left_out), (8, 6));
    }

    #[test]
    fn frames_that_are_wide_are_drawn_be_they_ever_so_many() {
        let stacks: Vec<NamedStack> = (0..500)
            .map(|i| stack("c", &[&format!("f{i}")], 1))
            .collect();
        let feed = Feed::within(&tree_of(&stacks), 6, usize::MAX);
        assert_eq!(lines(&feed).len(), 500);
        assert_eq!((feed.drawn.samples_min, feed.drawn.narrow_left_out), (1, 0));
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
        assert_eq!((feed.drawn.depth_max, feed.drawn.deep_left_out), (62, 1936));
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
        let feed = Feed::of(&tree_of(&stacks));
        assert_eq!(lines(&feed), [format!("c;p;f {}", u64::MAX)]);
    }

    #[test]
    fn marks_are_all_that_is_taken_out() {
        let text = "a\u{f0012}b\u{f103b}\u{f1020}\u{f1023}\u{e000}🔥\u{eff}é";
        assert_eq!(unmarked(text), "ab; #\u{e000}🔥\u{eff}é");
    }
}
