//! Perf maps of processes that end while they are recorded: held at once, for their containers remove
//! them. By a thread of its own: it waits for the containers' file systems.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use symbolizer::{EndedGenerator, HeldMap};

/// Maps that are held at most: each costs a descriptor.
const HELD_MAX: usize = 4 << 10;

/// Holds maps until it is asked for them.
pub(crate) struct EndedMaps {
    tell: Sender<Option<EndedGenerator>>,
    thread: JoinHandle<Vec<HeldMap>>,
}

impl EndedMaps {
    pub(crate) fn start() -> io::Result<Self> {
        let (tell, told) = channel::<Option<EndedGenerator>>();
        let hold = move || {
            let ended = told.into_iter().map_while(|ended| ended);
            ended
                .filter_map(EndedGenerator::hold_map)
                .take(HELD_MAX)
                .collect()
        };
        let thread = thread::Builder::new().name("ended".into()).spawn(hold)?;
        Ok(Self { tell, thread })
    }

    /// The telling side, for the thread that samples: never waits.
    pub(crate) fn teller(&self) -> impl FnMut(EndedGenerator) + use<> {
        let tell = self.tell.clone();
        move |ended| {
            // With as many as are held, nobody listens any more.
            let _ = tell.send(Some(ended));
        }
    }

    /// Ends the holding, and gives what is held.
    pub(crate) fn finish(self) -> Vec<HeldMap> {
        let _ = self.tell.send(None);
        // A panic there loses names, not samples.
        self.thread.join().unwrap_or_default()
    }
}
