//! Live samples on their way into the tally: counted at once, or when their chain is made.

use super::batch::Batch;
use super::{Astray, LiveChains, LiveStacks, Read};
use crate::context::ContextId;
use crate::lookup::View;
use crate::maps::{Backing, MapTable};
use crate::tally::Tally;
use profiler::record::Sample;
use std::io;
use std::sync::Arc;

/// Images of one process that are held for unwinding its stacks.
const HELD_MAX: usize = 512;

impl Tally {
    /// What is made of the registers and stacks of a recording of this host, whose kernel cuts chains at
    /// `max_entries`; before its first sample.
    pub fn read_live(&mut self, how: LiveStacks, max_entries: usize) -> io::Result<()> {
        self.live = LiveChains::start(how, max_entries)?.map(Box::new);
        Ok(())
    }

    /// Counts a sample with registers, now or later.
    pub(crate) fn sample_live(
        &mut self,
        live: &mut LiveChains,
        sample: &Sample<'_>,
        (id, weight): (ContextId, u64),
    ) {
        let maps = self.tasks.shared_maps_of(sample.stamp.pid);
        let read = match &maps {
            Some(maps) => live.read(sample, maps),
            None => Read::AsRecorded,
        };
        match (read, maps) {
            (Read::Waits(registers), Some(maps)) if live.has_room() => {
                let maps = live.maps_for(sample, &maps);
                self.hold_for(live, id, &maps);
                self.tap.sample_waits(sample);
                live.wait(sample, (id, weight), *registers, maps);
            }
            (Read::Made(astray), _) => {
                if let Some(end) = astray {
                    live.astray.count(id, end);
                }
                self.tap.made(sample, &live.chain);
                let time_ns = sample.stamp.time_ns;
                self.count_words(id, live.chain.iter().copied(), (time_ns, weight));
            }
            (read, _) => {
                self.counts.not_unwound += u64::from(matches!(read, Read::Waits(_)));
                self.tap.sample(sample);
                self.count_recorded(id, sample, weight);
            }
        }
    }

    /// Holds the images that a stack may lead through while they can be had, and tells the worker of
    /// them.
    fn hold_for(&mut self, live: &mut LiveChains, id: ContextId, maps: &Arc<MapTable>) {
        let context = self.contexts.get(id.0 as usize);
        let Some(id) = context.and_then(|known| known.context.space) else {
            return;
        };
        if live.has_looked_at(id, maps) {
            return;
        }
        let Some(space) = self.tasks.space(id) else {
            return;
        };
        for mapping in maps.iter().take(HELD_MAX) {
            let Backing::Image(image) = mapping.backing else {
                continue;
            };
            if live.told.contains(&image) {
                continue;
            }
            if self.images.wants_holding(image) {
                let avma = mapping.start..mapping.end;
                self.images.hold(image, space.pid, avma, space.root);
            }
            if !self.images.wants_holding(image)
                && let Some(found) = self.images.get(image)
            {
                let root = match found.held {
                    Some(_) => None,
                    None => self.pins.root(found.root).cloned(),
                };
                live.tell(image, found.held_again(), root.map(View::of_target));
            }
        }
    }

    /// Counts what the worker is done with, and hands over what waits.
    pub(crate) fn exchange_live(&mut self) {
        let Some(mut live) = self.live.take() else {
            return;
        };
        live.read.begin_round();
        live.send();
        self.receive_live(&mut live);
        self.live = Some(live);
    }

    /// Counts all that waits: the recording is over. Whose frame pointers were none, most samples first.
    pub fn end_live(&mut self) -> Vec<Astray> {
        let Some(mut live) = self.live.take() else {
            return Vec::new();
        };
        live.end();
        self.receive_live(&mut live);
        live.join();
        live.astray.by_name(self)
    }

    fn receive_live(&mut self, live: &mut LiveChains) {
        while let Some(batch) = live.receive() {
            // What was sampled since is counted as what is there now, what waited is not.
            self.count_batch();
            self.count_made(&batch);
            self.counts.unreached += batch.unreached;
            for waiting in &batch.waiting {
                if let Some(end) = waiting.astray {
                    live.astray.count(waiting.context, end);
                }
            }
            live.keep_spare(batch);
        }
    }

    fn count_made(&mut self, batch: &Batch) {
        for waiting in &batch.waiting {
            let chain = batch.chain(waiting);
            let known = self.contexts.get(waiting.context.0 as usize);
            let space = known.and_then(|known| known.context.space);
            if let Some(space) = space {
                self.tasks.keep_from(space, &waiting.maps, chain);
            }
            self.tap.sample_came(&waiting.sample(), chain);
            let counted = (waiting.time_ns(), waiting.weight);
            self.count_late(waiting.context, chain, counted);
        }
        self.count_waited();
    }
}
