//! Trees of named stacks, beside what is found the long way.

use std::collections::BTreeMap;
use std::sync::Arc;

use symbolizer::{Frame, FrameKind, NamedStack, Unresolved};

use super::*;

fn tree_of<'a>(stacks: impl IntoIterator<Item = &'a NamedStack>) -> FrameTree {
    FrameTree::of(&stacks.into_iter().collect(), Detail::All)
}

fn frame(name: &str, kind: FrameKind) -> Frame {
    Frame::new(Ok(name.into()), kind)
}

fn native(names: &[&str]) -> Vec<Frame> {
    names
        .iter()
        .map(|name| frame(name, FrameKind::Native))
        .collect()
}

fn lines(tree: &FrameTree) -> Vec<String> {
    tree.preorder()
        .map(|n| {
            let indent = " ".repeat(n.depth);
            format!(
                "{indent}{} {:?} {}/{}",
                n.name, n.kind, n.self_samples, n.total_samples
            )
        })
        .collect()
}

fn three_stacks() -> Vec<NamedStack> {
    let mut in_kernel = native(&["main", "read"]);
    in_kernel.push(frame("read", FrameKind::Kernel));
    vec![
        NamedStack::new("web", "nginx", native(&["main", "read"]), 3),
        NamedStack::new("db", "sh", vec![], 2),
        NamedStack::new("web", "nginx", in_kernel, 5),
        NamedStack::new("web", "nginx", native(&["main"]), 1),
        NamedStack::new("web", "cron", native(&["main"]), 7),
        NamedStack::new("web", "nginx", native(&["main", "read"]), 10),
        NamedStack::new("none", "none", native(&["main"]), 0),
    ]
}

#[test]
fn what_was_put_into_a_function_stands_above_it() {
    let with = |frame: Frame, inlined: &[&str]| Frame {
        inlined: inlined.iter().map(|name| Arc::from(*name)).collect(),
        ..frame
    };
    let outer = frame("outer", FrameKind::Jit);
    let leaf = frame("leaf", FrameKind::Native);
    let stacks = [
        NamedStack::new(
            "web",
            "java",
            vec![with(outer.clone(), &["a", "b"]), leaf],
            2,
        ),
        NamedStack::new("web", "java", vec![with(outer.clone(), &["a"])], 3),
        NamedStack::new("web", "java", vec![outer], 4),
    ];
    assert_eq!(
        lines(&tree_of(&stacks)),
        [
            "all Root 0/9",
            " web Container 0/9",
            "  java Process 0/9",
            "   outer Jit 4/9",
            "    a Inlined 3/5",
            "     b Inlined 0/2",
            "      leaf Native 2/2",
        ]
    );
}

const THREE_STACKS: [&str; 9] = [
    "all Root 0/28",
    " db Container 0/2",
    "  sh Process 2/2",
    " web Container 0/26",
    "  cron Process 0/7",
    "   main Native 7/7",
    "  nginx Process 0/19",
    "   main Native 1/19",
    "    read Native 13/18",
];

#[test]
fn equal_stacks_are_one_path_and_every_sample_is_in_it() {
    let mut expected: Vec<&str> = THREE_STACKS.to_vec();
    expected.push("     read Kernel 5/5");
    assert_eq!(lines(&tree_of(&three_stacks())), expected);
}

#[test]
fn the_order_of_the_stacks_makes_no_difference() {
    let stacks = three_stacks();
    let tree = tree_of(&stacks);
    assert_eq!(tree_of(stacks.iter().rev()), tree);
    for turn in 0..stacks.len() {
        let (a, b) = stacks.split_at(turn);
        assert_eq!(tree_of(b.iter().chain(a)), tree);
    }
}

#[test]
fn one_name_of_two_kinds_is_two_nodes_and_one_name_in_two_allocations_is_one() {
    let tree = tree_of(&[
        NamedStack::new("c", "p", vec![frame("f", FrameKind::Kernel)], 1),
        NamedStack::new("c", "p", vec![frame("f", FrameKind::Jit)], 2),
        NamedStack::new("c", "p", vec![frame("f", FrameKind::Native)], 4),
        NamedStack::new("c", "p", vec![frame("f", FrameKind::Native)], 8),
    ]);
    assert_eq!(
        lines(&tree)[3..],
        ["   f Native 12/12", "   f Kernel 1/1", "   f Jit 2/2"].map(str::to_owned)
    );
}

#[test]
fn an_unresolved_frame_is_a_node_labelled_by_its_reason() {
    let reason = Unresolved::Stripped(Arc::from("lib\nfoo.so"));
    let unnamed = |kind| Frame::new(Err(reason.clone()), kind);
    let tree = tree_of(&[
        NamedStack::new("c", "p", vec![unnamed(FrameKind::Native)], 1),
        NamedStack::new("c", "p", vec![unnamed(FrameKind::Kernel)], 1),
        NamedStack::new("c", "p", native(&[r"[stripped lib\x0afoo.so]"]), 1),
    ]);
    assert_eq!(
        lines(&tree)[3..],
        [
            r"   [stripped lib\x0afoo.so] Unresolved 2/2",
            r"   [stripped lib\x5cx0afoo.so] Native 1/1"
        ]
        .map(str::to_owned)
    );
}

#[test]
fn containers_are_listed_with_their_samples() {
    let tree = tree_of(&three_stacks());
    assert_eq!(tree.containers(), [("db", 2), ("web", 26)]);
}

#[test]
fn a_container_below_other_layers_is_listed_once() {
    let mut labels = Labels::default();
    let comm = |labels: &mut Labels, name| labels.intern(NodeKind::Process, name);
    let (sh, cron) = (comm(&mut labels, "sh"), comm(&mut labels, "cron"));
    let web = labels.intern(NodeKind::Container, "web");
    let mut paths = Paths::default();
    paths.add([sh, web], 2);
    paths.add([cron, web], 3);
    assert_eq!(FrameTree::new(labels, paths).containers(), [("web", 5)]);
}

#[test]
fn no_stacks_are_a_root_of_no_samples() {
    let tree = tree_of(&[]);
    assert_eq!(lines(&tree), ["all Root 0/0"]);
    assert_eq!((tree.samples(), tree.containers().len()), (0, 0));
}

#[test]
fn a_very_deep_stack_and_absurd_counts_neither_overflow_nor_recurse() {
    let name: Arc<str> = "f".into();
    let deep = vec![Frame::new(Ok(name), FrameKind::Native); 200_000];
    let tree = tree_of(&[
        NamedStack::new("c", "p", deep, u64::MAX),
        NamedStack::new("c", "p", native(&["g"]), 5),
    ]);
    assert_eq!(tree.preorder().len(), 200_004);
    assert_eq!(tree.samples(), u64::MAX);
}

/// Stacks that begin alike, of several contexts that take turns, some cut.
fn many_stacks() -> Vec<NamedStack> {
    let put_into = |frame: Frame| Frame {
        inlined: ["put", "in"].map(Arc::from).into(),
        ..frame
    };
    let mut state = 1_u64;
    let mut below = |limit: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % limit
    };
    let mut frames: Vec<Frame> = Vec::new();
    let mut stacks = Vec::new();
    for _ in 0..3_000 {
        frames.truncate(below(9) as usize);
        for _ in 0..below(6) {
            // Two frames of one name, and names that are rare.
            let number = below(4) * below(4) * below(4);
            let of_kind = |kind| frame(&format!("f{}", number / 2), kind);
            frames.push(match number % 5 {
                0 => put_into(of_kind(FrameKind::Native)),
                1 => of_kind(FrameKind::Kernel),
                2 => Frame::new(Err(Unresolved::Unmapped), FrameKind::Native),
                _ => of_kind(FrameKind::Native),
            });
        }
        let container = ["web", "db", "host"][below(3) as usize];
        let comm = ["a", "b"][below(2) as usize];
        stacks.push(NamedStack {
            is_cut: below(4) == 0,
            ..NamedStack::new(container, comm, frames.clone(), below(5))
        });
    }
    // It is narrow, and its layers are there all the same.
    stacks.push(NamedStack::new("rare", "c", native(&["f"]), 1));
    let jitted = vec![frame("f", FrameKind::Jit)];
    stacks.push(NamedStack::new("none", "c", jitted, 0));
    stacks
}

type Path = Vec<(String, NodeKind)>;

/// Each node that weighs anything, by its path, with its weight: found the long way.
fn weights_of(stacks: &[NamedStack]) -> BTreeMap<Path, u64> {
    let mut weights = BTreeMap::new();
    for stack in stacks.iter().filter(|stack| stack.samples > 0) {
        let cut = stack
            .is_cut
            .then(|| ("[truncated stack]".to_owned(), NodeKind::Unresolved));
        let layers = [
            (stack.container.to_string(), NodeKind::Container),
            (stack.comm.to_string(), NodeKind::Process),
        ];
        let frames = stack.frames.iter().flat_map(|frame| {
            let outer = match &frame.name {
                Ok(name) => (name.to_string(), NodeKind::of(frame.kind)),
                Err(reason) => (reason.to_string(), NodeKind::Unresolved),
            };
            let inlined = frame.inlined.iter();
            let inlined = inlined.map(|name| (name.to_string(), NodeKind::Inlined));
            [outer].into_iter().chain(inlined)
        });
        let mut path = Vec::new();
        *weights.entry(path.clone()).or_default() += stack.samples;
        for step in layers.into_iter().chain(cut).chain(frames) {
            path.push(step);
            *weights.entry(path.clone()).or_default() += stack.samples;
        }
    }
    weights
}

/// The nodes by their paths: what is in them and below, and what in them alone.
fn nodes_of(tree: &FrameTree) -> Vec<(Path, u64, u64)> {
    let mut path = Vec::new();
    let nodes = tree.preorder().map(|node| {
        if node.depth > 0 {
            path.truncate(node.depth - 1);
            path.push((node.name.to_owned(), node.kind));
        }
        (path.clone(), node.total_samples, node.self_samples)
    });
    nodes.collect()
}

#[test]
fn a_tree_has_the_nodes_that_are_wanted_and_what_the_others_weigh_is_in_those_below() {
    let stacks = many_stacks();
    let resolved: Resolved = stacks.iter().collect();
    let weights = weights_of(&stacks);
    let whole: u64 = stacks.iter().map(|stack| stack.samples).sum();
    let mut lens = Vec::new();
    for (detail, least) in [
        (Detail::All, 1),
        (Detail::Wide { one_of: 100 }, whole.div_ceil(100)),
        (Detail::Wide { one_of: 3 }, whole.div_ceil(3)),
        (Detail::Wide { one_of: u64::MAX }, 1),
        (Detail::Wide { one_of: 0 }, whole),
    ] {
        let tree = FrameTree::of(&resolved, detail);
        let is_wanted = |path: &[(String, NodeKind)], weight: u64| {
            let is_layer = path.last().is_none_or(|(_, kind)| kind.is_layer());
            is_layer || weight >= least
        };
        let wanted: BTreeMap<_, _> = weights
            .iter()
            .filter(|(path, weight)| is_wanted(path, **weight))
            .collect();
        let mut above: BTreeMap<&[(String, NodeKind)], u64> = BTreeMap::new();
        for (path, weight) in &wanted {
            if let Some((_, below)) = path.split_last() {
                *above.entry(below).or_default() += **weight;
            }
        }
        let expected = wanted.iter().map(|(path, weight)| {
            let above = above.get(path.as_slice()).copied().unwrap_or(0);
            ((*path).clone(), **weight, **weight - above)
        });
        let expected: Vec<_> = expected.collect();
        assert_eq!(nodes_of(&tree), expected, "{detail:?}");
        assert_eq!(
            tree.leaves_out(),
            expected.len() < weights.len(),
            "{detail:?}"
        );
        lens.push(expected.len());
        let all = FrameTree::of(&resolved, Detail::All);
        assert_eq!(tree.sums(), all.sums(), "{detail:?}");
        let by_nodes = Sums::of_nodes(&all.nodes, &all.labels);
        assert_eq!(*tree.sums(), by_nodes, "{detail:?}");
    }
    let [all, some, few, again, least] = lens[..] else {
        panic!("{lens:?}");
    };
    assert!(
        all > 10 * some && some > 2 * few && few > 8 && few >= least,
        "{lens:?}"
    );
    assert_eq!(all, again);
}
