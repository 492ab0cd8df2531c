//! A text of stacks, from its first byte: gzip, format, lines; and the folded text that is made of it.

#![no_main]

use collapse::text::{OnBadLine, TextOptions, collapse_text};
use collapse::write_folded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let options = TextOptions {
        bad_lines: OnBadLine::LeaveOut,
        ..TextOptions::default()
    };
    if let Ok(collapsed) = collapse_text(bytes, &options) {
        let mut folded = Vec::new();
        write_folded(&collapsed.tree, &mut folded).expect("memory takes all");
        // What we write we read, as the same; unless the only name of the first line is another
        // format's header.
        let Ok(again) = collapse_text(&folded[..], &TextOptions::default()) else {
            assert!(!folded.split(|byte| *byte == b'\n').next().is_some_and(|line| line.contains(&b';')));
            return;
        };
        assert_eq!(again.tree.samples(), collapsed.tree.samples());
        assert_eq!(again.tree.preorder().len(), collapsed.tree.preorder().len());
        let mut refolded = Vec::new();
        write_folded(&again.tree, &mut refolded).expect("memory takes all");
        let third = collapse_text(&refolded[..], &TextOptions::default()).expect("our own text");
        assert_eq!(third.tree, again.tree);
    }
});
