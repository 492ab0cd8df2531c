//! Which colour a frame has: the hue says the container, the shade the kind of code.

use std::collections::BTreeMap;

use collapse::{FrameTree, Node, NodeKind, is_host};
use inferno::flamegraph::color::Color;

/// Degrees on the colour wheel, in an order that keeps the first few far apart. None is near the
/// magenta that search hits are painted in.
const HUES: [u16; 12] = [26, 140, 262, 187, 52, 345, 90, 228, 8, 165, 285, 70];

/// The hue of the host, nearly grey.
const HOST_HUE: u16 = 212;

/// The colour of the frame `all`.
pub(crate) const ALL: Color = Color {
    r: 214,
    g: 214,
    b: 210,
};

/// What decides a colour, besides the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    hue: Hue,
    kind: NodeKind,
}

/// The colour family of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hue {
    Host,
    /// An index below `HUES.len()`.
    Container(u8),
}

/// The hue of each container.
pub(crate) struct Hues<'a> {
    by_name: BTreeMap<&'a str, Hue>,
}

impl<'a> Hues<'a> {
    /// The next hue for each, in the order of their names; the thirteenth has the first one's again.
    pub(crate) fn of(tree: &'a FrameTree) -> Self {
        let mut given = 0;
        let mut hue_of = |name| {
            if is_host(name) {
                return Hue::Host;
            }
            let index = given % HUES.len();
            given += 1;
            Hue::Container(index as u8)
        };
        let names = tree.containers().into_iter().map(|(name, _)| name);
        Self {
            by_name: names.map(|name| (name, hue_of(name))).collect(),
        }
    }

    /// Of a container, by its name.
    pub(crate) fn of_container(&self, name: &str) -> Hue {
        self.by_name.get(name).copied().unwrap_or(Hue::Host)
    }

    /// Of what is in no container: where containers are not told apart, nothing is grey for not
    /// being in one.
    pub(crate) fn outside(&self) -> Hue {
        if self.by_name.is_empty() {
            Hue::Container(0)
        } else {
            Hue::Host
        }
    }
}

impl Style {
    pub(crate) fn new(hue: Hue, kind: NodeKind) -> Self {
        Self { hue, kind }
    }

    /// Different for different styles, below 256.
    pub(crate) fn number(self) -> u32 {
        let hue = match self.hue {
            Hue::Host => 0,
            Hue::Container(index) => 1 + u32::from(index),
        };
        hue * 16 + self.kind as u32
    }

    /// The middle of the style's colours, for a legend.
    pub(crate) fn colour(self) -> Color {
        self.shade(0, 0)
    }

    /// The colour of one frame: functions of one kind differ a little, by their names.
    pub(crate) fn colour_of(self, node: &Node<'_>) -> Color {
        let hash = fnv1a(node.name);
        match self.kind {
            NodeKind::Root | NodeKind::Container | NodeKind::Process | NodeKind::Group => {
                self.colour()
            }
            _ => self.shade((hash % 13) as i32 - 6, (hash / 13 % 11) as i32 - 5),
        }
    }

    fn shade(self, turn_degrees: i32, lighter_percent: i32) -> Color {
        let (saturation, lightness) = match self.kind {
            NodeKind::Root => (0, 83),
            NodeKind::Container => (72, 60),
            NodeKind::Process | NodeKind::Group => (58, 80),
            NodeKind::Native => (80, 70),
            NodeKind::Jit => (90, 60),
            NodeKind::Inlined => (66, 76),
            NodeKind::Kernel => (34, 58),
            NodeKind::Unresolved => (14, 84),
        };
        let (hue, saturation) = match self.hue {
            Hue::Host => (HOST_HUE, saturation * 42 / 100),
            Hue::Container(index) => (HUES[usize::from(index)], saturation),
        };
        // Blue and violet look darker than they are light.
        let lift = if (215..300).contains(&hue) { 7 } else { 0 };
        let lightness = lightness + lift + lighter_percent;
        hsl(i32::from(hue) + turn_degrees, saturation, lightness)
    }
}

/// 32-bit FNV-1a.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// Hue in degrees, saturation and lightness in percent, in whole numbers: the same everywhere.
fn hsl(hue: i32, saturation: i32, lightness: i32) -> Color {
    let chroma = (100 - (2 * lightness - 100).abs()) * saturation; // of 10 000
    let channel = |at: i32| {
        let k = (at * 30 + hue).rem_euclid(360); // a twelfth of the wheel is 30 degrees
        let ramp = (k - 90).min(270 - k).clamp(-30, 30); // of 30
        let value = lightness * 100 * 30 * 2 - chroma * ramp; // of 600 000
        ((value * 255 / 1000 + 300) / 600).clamp(0, 255) as u8
    };
    Color {
        r: channel(0),
        g: channel(8),
        b: channel(4),
    }
}

#[cfg(test)]
mod tests {
    use collapse::{Labels, Paths};

    use super::*;

    const KINDS: [NodeKind; 7] = [
        NodeKind::Container,
        NodeKind::Process,
        NodeKind::Native,
        NodeKind::Kernel,
        NodeKind::Jit,
        NodeKind::Inlined,
        NodeKind::Unresolved,
    ];

    fn distance(a: Color, b: Color) -> u32 {
        [(a.r, b.r), (a.g, b.g), (a.b, b.b)]
            .iter()
            .map(|(a, b)| u32::from(a.abs_diff(*b)))
            .sum()
    }

    #[test]
    fn hsl_gives_the_known_colours() {
        for (hue, saturation, lightness, [r, g, b]) in [
            (0, 100, 50, [255, 0, 0]),
            (60, 100, 50, [255, 255, 0]),
            (120, 100, 50, [0, 255, 0]),
            (240, 100, 50, [0, 0, 255]),
            (30, 100, 50, [255, 128, 0]),
            (-90, 100, 50, [128, 0, 255]),
            (200, 0, 100, [255, 255, 255]),
            (200, 0, 0, [0, 0, 0]),
            (123, 0, 50, [128, 128, 128]),
            (0, 100, 75, [255, 128, 128]),
        ] {
            assert_eq!(hsl(hue, saturation, lightness), Color { r, g, b }, "{hue}");
        }
    }

    #[test]
    fn the_host_and_twelve_containers_differ_in_every_kind_of_frame() {
        let names = ('a'..='m').map(String::from).collect::<Vec<_>>();
        let tags: Vec<&str> = ["host", "host:a.service"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .collect();
        let mut labels = Labels::default();
        let mut paths = Paths::default();
        for tag in &tags {
            paths.add([labels.intern(NodeKind::Container, tag)], 1);
        }
        let tree = FrameTree::new(labels, paths);
        let hues = Hues::of(&tree);
        let all: Vec<Hue> = ["host"]
            .into_iter()
            .chain(names.iter().take(12).map(String::as_str))
            .map(|tag| hues.of_container(tag))
            .collect();
        for kind in KINDS {
            for (i, a) in all.iter().enumerate() {
                for b in &all[i + 1..] {
                    let (a, b) = (Style::new(*a, kind), Style::new(*b, kind));
                    // Frames without a name are nearly grey in every container.
                    let least = if kind == NodeKind::Unresolved { 2 } else { 14 };
                    assert!(distance(a.colour(), b.colour()) >= least, "{a:?} {b:?}");
                    assert_ne!(a.number(), b.number());
                }
            }
        }
        assert_eq!(hues.of_container("m"), all[1]);
        assert_eq!(hues.of_container("host:a.service"), Hue::Host);
        assert_eq!(hues.outside(), Hue::Host);
    }

    #[test]
    fn the_kinds_of_one_container_differ_more_than_its_names_do() {
        for hue in [Hue::Host, Hue::Container(0), Hue::Container(7)] {
            for (i, a) in KINDS.iter().enumerate() {
                for b in &KINDS[i + 1..] {
                    let apart =
                        distance(Style::new(hue, *a).colour(), Style::new(hue, *b).colour());
                    assert!(apart >= 14, "{hue:?}: {a:?} and {b:?} are {apart} apart");
                }
            }
        }
    }

    #[test]
    fn black_text_can_be_read_on_every_colour() {
        for hue in [Hue::Host].into_iter().chain((0..12).map(Hue::Container)) {
            for kind in KINDS {
                for turn in [-6, 6] {
                    let Color { r, g, b } = Style::new(hue, kind).shade(turn, -5);
                    let luma =
                        (u32::from(r) * 299 + u32::from(g) * 587 + u32::from(b) * 114) / 1000;
                    assert!(luma >= 95, "{hue:?} {kind:?}: luma {luma}");
                }
            }
        }
    }
}
