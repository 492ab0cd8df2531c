//! Below the graph: each container's colour and share, and what the shades mean.

use std::fmt::Write;

use collapse::{FrameTree, NO_NAME, NodeKind};

use crate::feed::Drawn;
use crate::palette::{Hues, Style};
use crate::svg::escaped;

const ROW_HEIGHT: usize = 18;
const COLUMNS: usize = 3;
/// Containers with an entry of their own; the others share the last one.
const CONTAINERS_MAX: usize = 24;
/// What fits into a column of a picture 1200 wide.
const LABEL_CHARS_MAX: usize = 44;

/// SVG elements, and the height they need.
pub(crate) struct Legend {
    pub(crate) elements: String,
    pub(crate) height: usize,
}

impl Legend {
    /// Begins at `top`, counted from the picture's upper edge.
    pub(crate) fn of(tree: &FrameTree, drawn: &Drawn, top: usize) -> Self {
        let hues = Hues::of(tree);
        let mut containers = tree.containers();
        // Stable: those of equal size stay in the order of their names.
        containers.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
        let mut grid = Grid {
            elements: String::new(),
            top,
            cells: 0,
        };
        // One entry is no shorter than the line that stands for it.
        let own = if containers.len() <= CONTAINERS_MAX {
            CONTAINERS_MAX
        } else {
            CONTAINERS_MAX - 1
        };
        for (name, samples) in containers.iter().take(own) {
            let hue = hues.of_container(name);
            let name = if name.is_empty() { NO_NAME } else { name };
            let label = format!("{} {name}", share(*samples, tree.samples()));
            grid.add(Some(Style::new(hue, NodeKind::Container)), &label);
        }
        let others = containers.get(own..).unwrap_or_default();
        if !others.is_empty() {
            let samples = others
                .iter()
                .fold(0u64, |sum, (_, samples)| sum.saturating_add(*samples));
            let label = format!(
                "{} in {} others",
                share(samples, tree.samples()),
                others.len()
            );
            grid.add(None, &label);
        }
        grid.next_row();
        let hue = match containers.first() {
            Some((name, _)) => hues.of_container(name),
            None => hues.outside(),
        };
        for (kind, label) in [
            (NodeKind::Native, "function"),
            (NodeKind::Inlined, "function in its caller"),
            (NodeKind::Jit, "function of generated code"),
            (NodeKind::Kernel, "function of the kernel"),
            (NodeKind::Unresolved, "frame without a name"),
        ] {
            if tree.has(kind) {
                grid.add(Some(Style::new(hue, kind)), label);
            }
        }
        if drawn.narrow_left_out {
            let least = share(drawn.samples_min, tree.samples());
            grid.add(None, &format!("frames below {least} are not drawn"));
        }
        if drawn.deep_left_out {
            grid.add(
                None,
                &format!("stacks are drawn to depth {}", drawn.depth_max),
            );
        }
        grid.next_row();
        Self {
            height: grid.height() + ROW_HEIGHT / 2,
            elements: grid.elements,
        }
    }
}

struct Grid {
    elements: String,
    top: usize,
    cells: usize,
}

impl Grid {
    fn next_row(&mut self) {
        self.cells = self.cells.next_multiple_of(COLUMNS);
    }

    fn height(&self) -> usize {
        self.cells.div_ceil(COLUMNS) * ROW_HEIGHT
    }

    fn add(&mut self, style: Option<Style>, label: &str) {
        let y = self.top + self.cells / COLUMNS * ROW_HEIGHT;
        let x_percent = 1 + self.cells % COLUMNS * 33;
        self.cells += 1;
        // An inner svg: a place in percent of the width, with contents in pixels.
        let mut add = |text: std::fmt::Arguments<'_>| {
            self.elements
                .write_fmt(text)
                .expect("a String takes all that is written to it");
        };
        add(format_args!(
            r#"<svg x="{x_percent}%" y="{y}" width="33%" height="{ROW_HEIGHT}">"#
        ));
        if let Some(style) = style {
            let c = style.colour();
            add(format_args!(
                r#"<rect y="3" width="12" height="12" fill="rgb({},{},{})"/>"#,
                c.r, c.g, c.b
            ));
        }
        let shown = shortened(label);
        add(format_args!(
            r#"<text x="18" y="13">{}</text>"#,
            escaped(&shown)
        ));
        if shown != label {
            add(format_args!("<title>{}</title>", escaped(label)));
        }
        add(format_args!("</svg>"));
    }
}

/// A label that is too long loses its end.
fn shortened(label: &str) -> String {
    if label.chars().nth(LABEL_CHARS_MAX).is_none() {
        return label.to_owned();
    }
    label
        .chars()
        .take(LABEL_CHARS_MAX - 1)
        .chain(['…'])
        .collect()
}

/// `46.2 %`; below a tenth of a percent with as many digits as show something, down to `0.001 %`.
fn share(part: u64, whole: u64) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    let digits = [(0.1, 1), (0.01, 2)]
        .iter()
        .find(|(least, _)| percent >= *least);
    let digits = digits.map_or(3, |(_, digits)| *digits);
    format!("{percent:.digits$} %")
}

#[cfg(test)]
mod tests {
    use collapse::{Detail, Frame, FrameKind, NamedStack, Unresolved};

    use super::*;

    const ALL: Drawn = Drawn {
        samples_min: 1,
        depth_max: 1000,
        narrow_left_out: false,
        deep_left_out: false,
    };

    fn tree_of<'a>(stacks: impl IntoIterator<Item = &'a NamedStack>) -> FrameTree {
        FrameTree::of(&stacks.into_iter().collect(), Detail::All)
    }

    fn stack(container: &str, kind: FrameKind, samples: u64) -> NamedStack {
        let frames = vec![Frame::new(Ok("f".into()), kind)];
        NamedStack::new(container, "p", frames, samples)
    }

    fn labels(legend: &Legend) -> Vec<&str> {
        let texts = legend
            .elements
            .split("</text>")
            .filter_map(|part| part.rsplit_once("13\">"));
        texts.map(|(_, text)| text).collect()
    }

    #[test]
    fn containers_are_listed_by_share_and_only_kinds_that_occur_are_explained() {
        let mut unnamed = stack("host", FrameKind::Native, 100);
        unnamed.frames = vec![Frame::new(Err(Unresolved::Unmapped), FrameKind::Native)];
        let tree = tree_of(&[
            stack("docker:a<b", FrameKind::Kernel, 300),
            stack("docker:web", FrameKind::Native, 600),
            unnamed,
        ]);
        let legend = Legend::of(&tree, &ALL, 100);
        assert_eq!(
            labels(&legend),
            [
                "60.0 % docker:web",
                "30.0 % docker:a&lt;b",
                "10.0 % host",
                "function",
                "function of the kernel",
                "frame without a name"
            ]
        );
        assert_eq!(legend.height, 45);
        assert!(legend.elements.starts_with(r#"<svg x="1%" y="100" "#));
        assert!(legend.elements.contains(r#"<svg x="67%" y="118" "#));
    }

    #[test]
    fn many_containers_share_the_last_entry_and_long_names_are_cut() {
        let stacks: Vec<NamedStack> = (10..40)
            .map(|i| stack(&format!("{i}{}", "x".repeat(60)), FrameKind::Native, 1))
            .collect();
        let legend = Legend::of(&tree_of(&stacks), &ALL, 0);
        let labels = labels(&legend);
        assert_eq!(labels.len(), CONTAINERS_MAX + 1);
        assert_eq!(labels[0], format!("3.3 % 10{}…", "x".repeat(35)));
        assert_eq!(labels[CONTAINERS_MAX - 1], "23.3 % in 7 others");
        assert!(
            legend
                .elements
                .contains(&format!("<title>3.3 % 10{}</title>", "x".repeat(60)))
        );
    }

    #[test]
    fn what_is_not_drawn_is_said() {
        let tree = tree_of(&[stack("c", FrameKind::Native, 100_000)]);
        let drawn = Drawn {
            samples_min: 12,
            depth_max: 500,
            narrow_left_out: true,
            deep_left_out: true,
        };
        let legend = Legend::of(&tree, &drawn, 0);
        assert_eq!(
            labels(&legend)[2..],
            [
                "frames below 0.01 % are not drawn",
                "stacks are drawn to depth 500"
            ]
        );
    }

    #[test]
    fn little_shares_are_not_shown_as_nothing() {
        assert_eq!(share(1, 3), "33.3 %");
        assert_eq!(share(1, 1), "100.0 %");
        assert_eq!(share(1, 2_000), "0.05 %");
        assert_eq!(share(4, 100_000), "0.004 %");
        assert_eq!(share(0, 0), "0.000 %");
    }
}
