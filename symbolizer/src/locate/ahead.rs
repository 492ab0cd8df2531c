//! New stacks are located in the background while the next ones are counted.

use super::Locator;
use crate::stacks::NewStacks;
use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Batches that wait at most: the more, the less one waits for the other; what they take is cold again when its turn
/// comes.
const WAITING_MAX: usize = 4;

/// A locator, here or on its thread.
#[derive(Default)]
pub(crate) struct Ahead {
    here: Locator,
    away: Option<Away>,
    /// Batches that were taken, and of how many is known what they led to.
    taken: u64,
    done: u64,
    /// Empty ones.
    spare: Vec<NewStacks>,
}

/// The thread that has the locator.
struct Away {
    to: SyncSender<NewStacks>,
    from: Receiver<NewStacks>,
    thread: JoinHandle<Locator>,
}

impl Ahead {
    /// Takes a batch and waits for what it led to, which is behind what those before led to.
    pub(crate) fn take(&mut self, new: NewStacks) -> Vec<NewStacks> {
        let mut done = self.wait();
        let mut new = new;
        new.number = self.next_batch();
        self.here.take(&mut new);
        self.taken += 1;
        self.done += 1;
        done.push(new);
        done
    }

    /// Takes a batch; it is located in the background, where there is a thread for that, or can be, and is worth it.
    /// What is known of those long before.
    pub(crate) fn take_along(&mut self, new: NewStacks) -> Vec<NewStacks> {
        if self.away.is_none() && new.are_many() {
            self.away = self.leave();
        }
        let Some(away) = &self.away else {
            return self.take(new);
        };
        let mut new = new;
        new.number = self.next_batch();
        if let Err(unsent) = away.to.send(new) {
            // It can only have panicked, and waiting for it tells.
            return self.take(unsent.0);
        }
        self.taken += 1;
        // Of as many as were taken, not of as many as happen to be done: what comes of them does not depend on time.
        self.catch_up(self.taken.saturating_sub(WAITING_MAX as u64))
    }

    /// The number of the batch that is taken next.
    pub(crate) fn next_batch(&self) -> u64 {
        self.taken + 1
    }

    /// Whether what a batch led to is known.
    pub(crate) fn has_done(&self, batch: u64) -> bool {
        batch <= self.done
    }

    /// Waits for what a batch led to.
    fn catch_up(&mut self, batch: u64) -> Vec<NewStacks> {
        let mut done = Vec::new();
        while self.done < batch
            && let Some(away) = &self.away
        {
            match away.from.recv() {
                Ok(new) => {
                    self.done += 1;
                    done.push(new);
                }
                // It can only have panicked, and waiting for it tells.
                Err(_) => done.extend(self.wait()),
            }
        }
        done
    }

    /// Waits for what all led to that were taken.
    pub(crate) fn wait(&mut self) -> Vec<NewStacks> {
        let Some(Away { to, from, thread }) = self.away.take() else {
            return Vec::new();
        };
        drop(to);
        let done: Vec<NewStacks> = from.iter().collect();
        self.done += done.len() as u64;
        match thread.join() {
            Ok(locator) => self.here = locator,
            Err(panic) => resume_unwind(panic),
        }
        done
    }

    /// The locator, when there is nothing that it is to be waited for.
    pub(crate) fn here(&mut self) -> &mut Locator {
        debug_assert!(self.away.is_none(), "it is to be waited for");
        &mut self.here
    }

    /// All that was taken, when there is nothing that it is to be waited for.
    pub(crate) fn finish(self) -> Locator {
        debug_assert!(self.away.is_none(), "it is to be waited for");
        self.here
    }

    /// An empty batch.
    pub(crate) fn spare(&mut self) -> NewStacks {
        self.spare.pop().unwrap_or_default()
    }

    /// A batch that is done, to be filled again.
    pub(crate) fn keep_spare(&mut self, mut done: NewStacks) {
        done.clear();
        self.spare.push(done);
    }

    fn leave(&mut self) -> Option<Away> {
        let (to, batches) = sync_channel::<NewStacks>(WAITING_MAX);
        let (tell, from) = channel();
        let (give, given) = sync_channel::<Locator>(1);
        let thread = Builder::new().name("locating".into()).spawn(move || {
            let mut locator = given.recv().unwrap_or_default();
            for mut new in batches {
                locator.take(&mut new);
                // Nobody waits for a recording that was given up.
                let _ = tell.send(new);
            }
            locator
        });
        let thread = thread.ok()?;
        let _ = give.send(mem::take(&mut self.here));
        Some(Away { to, from, thread })
    }
}
