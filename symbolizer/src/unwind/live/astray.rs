//! Whose frame pointers were none: stacks in which the kernel's walk was led astray.

use crate::context::ContextId;
use crate::tally::Tally;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Samples of threads of one name whose frame pointers led nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Astray {
    /// The threads' name.
    pub comm: Arc<str>,
    /// Samples that call frame information led to their roots.
    pub whole: u64,
    /// Samples whose stack is deeper than what was copied of it.
    pub cut: u64,
}

/// How a stack with false frame pointers ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AstrayEnd {
    Whole,
    Cut,
}

/// Counts them by context.
#[derive(Default)]
pub(super) struct AstrayCounts {
    by_context: Vec<(u64, u64)>,
}

impl AstrayCounts {
    pub(super) fn count(&mut self, context: ContextId, end: AstrayEnd) {
        let at = context.0 as usize;
        if self.by_context.len() <= at {
            self.by_context.resize(at + 1, (0, 0));
        }
        if let Some((whole, cut)) = self.by_context.get_mut(at) {
            match end {
                AstrayEnd::Whole => *whole += 1,
                AstrayEnd::Cut => *cut += 1,
            }
        }
    }

    /// By the threads' names, most samples first.
    pub(super) fn by_name(&self, tally: &Tally) -> Vec<Astray> {
        let mut by_name: BTreeMap<Arc<str>, (u64, u64)> = BTreeMap::new();
        for (known, (whole, cut)) in tally.contexts.iter().zip(&self.by_context) {
            if whole + cut > 0
                && let Some(comm) = tally.tasks.comm_name(known.context.comm)
            {
                let sum = by_name.entry(Arc::clone(comm)).or_default();
                sum.0 += whole;
                sum.1 += cut;
            }
        }
        let mut all: Vec<Astray> = by_name
            .into_iter()
            .map(|(comm, (whole, cut))| Astray { comm, whole, cut })
            .collect();
        all.sort_by_key(|astray| std::cmp::Reverse(astray.whole + astray.cut));
        all
    }
}
