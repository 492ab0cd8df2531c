//! Stacks are located in the background while the next ones are counted: two tables take turns.

use super::{ContextPlace, Locator};
use crate::image::ImageId;
use crate::stacks::StackTable;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// A locator, and the table that is empty when the other one is full.
#[derive(Default)]
pub(crate) struct Ahead {
    here: (Locator, StackTable),
    /// Both, when what was taken last is located.
    away: Option<Receiver<thread::Result<(Locator, StackTable)>>>,
}

impl Ahead {
    /// Takes all stacks of the table, which is empty then. `contexts` tells of each context in the order of their
    /// ids. Waits for what was taken before.
    pub(crate) fn take(&mut self, stacks: &mut StackTable, contexts: Vec<ContextPlace>) {
        self.wait();
        let (mut locator, spare) = mem::take(&mut self.here);
        let mut full = mem::replace(stacks, spare);
        let (done, away) = sync_channel(1);
        self.away = Some(away);
        rayon::spawn(move || {
            // A panic is the waiting thread's: rayon would abort.
            let located = catch_unwind(AssertUnwindSafe(move || {
                locator.take(&mut full, &contexts);
                full.clear();
                (locator, full)
            }));
            // Nobody waits for a recording that was given up.
            let _ = done.send(located);
        });
    }

    /// The images that a stack leads to.
    pub(crate) fn images(&mut self) -> impl Iterator<Item = ImageId> {
        self.wait();
        self.here.0.images()
    }

    /// All that was taken.
    pub(crate) fn finish(mut self) -> Locator {
        self.wait();
        self.here.0
    }

    fn wait(&mut self) {
        match self.away.take().map(|away| away.recv()) {
            None => {}
            Some(Ok(Ok(here))) => self.here = here,
            Some(Ok(Err(panic))) => resume_unwind(panic),
            Some(Err(gone)) => resume_unwind(Box::new(gone)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::USER_MARKER;
    use crate::locate::Words;
    use crate::stacks::ContextId;

    #[test]
    fn tables_that_take_turns_lose_no_stack() {
        let context = ContextPlace {
            counted_in: ContextId(0),
            space: None,
            words: Words::Recorded,
        };
        let mut ahead = Ahead::default();
        let mut table = StackTable::default();
        for _ in 0..5 {
            for leaf in 0..100 {
                let words = [USER_MARKER, leaf];
                let _ = table.push(ContextId(0), words.into_iter(), |_| {}, 1);
                table.count_batch(Some(0), |_, _| {});
            }
            ahead.take(&mut table, vec![context.clone()]);
            assert_eq!((table.len_words(), table.order().len()), (0, 0));
        }
        assert_eq!(ahead.images().count(), 0);
        let parts = ahead.finish().finish().parts;
        let weights = parts
            .iter()
            .flat_map(|part| part.stacks().map(|stack| stack.weight));
        assert_eq!(weights.sum::<u64>(), 500);
    }
}
