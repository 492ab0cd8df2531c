//! Folded text as ctrflame writes it, read back strictly: `CONTAINER;COMM;frame;…;leaf COUNT`, root first.

use std::fmt;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    /// `docker:web (0123456789ab)`, `host`, `host:nginx.service` …
    pub(crate) container: String,
    /// The thread's name.
    pub(crate) comm: String,
    /// Root first; the last is the leaf.
    pub(crate) frames: Vec<String>,
    /// Samples with exactly this stack.
    pub(crate) count: u64,
}

impl Stack {
    /// The innermost frame in user space: the leaf, or what a kernel part of the stack was entered from.
    pub(crate) fn user_leaf(&self) -> Option<&str> {
        self.frames
            .iter()
            .map(String::as_str)
            .rfind(|frame| !frame.ends_with("_[k]"))
    }

    /// Whether `names` follow each other directly, root first, somewhere in the stack.
    pub(crate) fn has_chain(&self, names: &[&str]) -> bool {
        self.frames
            .windows(names.len())
            .any(|frames| frames == names)
    }
}

/// A whole file, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded {
    pub(crate) stacks: Vec<Stack>,
}

impl Folded {
    /// Panics with the line if one is not of the form above.
    pub(crate) fn parse(text: &str) -> Self {
        let stack = |line: &str| {
            let (names, count) = line.rsplit_once(' ')?;
            let mut names = names.split(';').map(str::to_owned);
            let (container, comm) = (names.next()?, names.next()?);
            let count = count.parse().ok().filter(|&count| count > 0)?;
            Some(Stack {
                container,
                comm,
                frames: names.collect(),
                count,
            })
        };
        let stacks = text
            .lines()
            .map(|line| stack(line).unwrap_or_else(|| panic!("not a folded line: {line:?}")))
            .collect();
        Self { stacks }
    }

    /// All samples.
    pub(crate) fn total(&self) -> u64 {
        self.stacks.iter().map(|stack| stack.count).sum()
    }

    /// The stacks for which `keep` holds.
    pub(crate) fn only(&self, keep: impl Fn(&Stack) -> bool) -> Self {
        let stacks = self.stacks.iter().filter(|stack| keep(stack)).cloned();
        Self {
            stacks: stacks.collect(),
        }
    }

    /// What was sampled in the container with this tag.
    pub(crate) fn container(&self, tag: &str) -> Self {
        self.only(|stack| stack.container == tag)
    }

    /// What was sampled in threads with this name.
    pub(crate) fn comm(&self, comm: &str) -> Self {
        self.only(|stack| stack.comm == comm)
    }

    /// Samples for which `matches` holds, of all: 0.0 to 1.0. Panics when there are none at all.
    pub(crate) fn share(&self, matches: impl Fn(&Stack) -> bool) -> f64 {
        let total = self.total();
        assert!(total > 0, "no samples to take a share of");
        self.only(matches).total() as f64 / total as f64
    }

    /// Whether any frame, thread name or container tag contains `text`.
    pub(crate) fn mentions(&self, text: &str) -> bool {
        self.stacks.iter().any(|stack| {
            let mut names = stack.frames.iter().chain([&stack.container, &stack.comm]);
            names.any(|name| name.contains(text))
        })
    }
}

impl fmt::Display for Folded {
    /// As folded text again, for messages of failed assertions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stack in &self.stacks {
            let frames = stack.frames.join(";");
            writeln!(
                f,
                "{};{};{frames} {}",
                stack.container, stack.comm, stack.count
            )?;
        }
        Ok(())
    }
}
