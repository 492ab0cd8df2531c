//! A whole recording, from its first byte: header, attrs, features, records, zstd.

#![no_main]

use libfuzzer_sys::fuzz_target;
use profiler::perfdata::{OnDamage, ReadOptions, Recording};
use profiler::record::{Event, EventSink};

/// Looks at everything that an event lends.
struct Look(u64);

impl EventSink for Look {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Sample(sample) = event {
            self.0 ^= sample.chain.iter().fold(0, u64::wrapping_add);
            self.0 ^= sample.branches.iter().fold(0, |sum, (from, _)| sum ^ from.0);
            if let Some(registers) = sample.user_registers {
                self.0 ^= (0..70).filter_map(|number| registers.get(number)).fold(0, u64::wrapping_add);
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let options = ReadOptions {
        damage: OnDamage::KeepBefore,
        ..ReadOptions::default()
    };
    let stream = Box::new(std::io::Cursor::new(bytes.to_vec()));
    if let Ok(recording) = Recording::from_stream(stream) {
        let _ = recording.read(&options, &mut Look(0));
    }
});
