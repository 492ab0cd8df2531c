//! Whole texts: what is counted, what is said of them, what hostile ones do.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use symbolizer::Unresolved;

use super::*;
use crate::write_folded;

fn read(text: impl AsRef<[u8]>) -> Result<Collapsed, TextError> {
    collapse_text(text.as_ref(), &TextOptions::default())
}

fn read_all_of(text: impl AsRef<[u8]>) -> Collapsed {
    let options = TextOptions {
        bad_lines: OnBadLine::LeaveOut,
        ..TextOptions::default()
    };
    collapse_text(text.as_ref(), &options).unwrap()
}

fn folded(collapsed: &Collapsed) -> String {
    let mut out = Vec::new();
    write_folded(&collapsed.tree, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

const TWO_SAMPLES: &str = "\
# hostname : here
java 12/13 [000] 1.000001:    250 cycles:u: 
\t    7f1 f+0x1 (/tmp/perf-12.map)
\t    7f2 main+0x2 (/usr/bin/java)

worker 3 44 [001] 1.000002:    150 cycles:u: 
\tffff read+0x1 ([kernel.kallsyms])
\t    7f2 main+0x2 (/usr/bin/w)

";

#[test]
fn samples_of_perf_script_are_weighted_by_their_periods() {
    let collapsed = read(TWO_SAMPLES).unwrap();
    assert_eq!(
        folded(&collapsed),
        "java;main;f_[j] 250\nworker_3;main;read_[k] 150\n"
    );
    assert_eq!((collapsed.samples, collapsed.cut), (Some(2), None));
    assert_eq!(collapsed.unit(), "cycles:u");
    assert_eq!(
        collapsed.to_string(),
        "2 samples of cycles:u, weighted by period · 0.0 % of frames unnamed"
    );
}

#[test]
fn samples_can_be_counted_instead() {
    let options = TextOptions {
        weight: Weight::One,
        ..TextOptions::default()
    };
    let collapsed = collapse_text(TWO_SAMPLES.as_bytes(), &options).unwrap();
    assert_eq!(
        folded(&collapsed),
        "java;main;f_[j] 1\nworker_3;main;read_[k] 1\n"
    );
    assert_eq!(collapsed.unit(), "samples");
    assert!(!collapsed.to_string().contains("weighted"));
}

#[test]
fn no_word_for_a_frame_without_a_name_is_one_of_the_symbolizers() {
    // Folded text annotates by these words.
    let ours = [NO_KERNEL_SYMBOL, NO_JIT_SYMBOL];
    for theirs in [
        Unresolved::KernelUnknown,
        Unresolved::KernelRestricted,
        Unresolved::JitWithoutMap("".into()),
        Unresolved::Unmapped,
        Unresolved::Truncated,
    ] {
        assert!(!ours.contains(&theirs.kind()), "{theirs}");
    }
}

#[test]
fn the_same_text_packed_in_one_or_more_members_is_the_same() {
    let plain = read(TWO_SAMPLES).unwrap();
    let (a, b) = TWO_SAMPLES.as_bytes().split_at(77);
    for packed in [gzip(TWO_SAMPLES.as_bytes()), [gzip(a), gzip(b)].concat()] {
        assert_eq!(read(packed).unwrap().tree, plain.tree);
    }
    let crlf = TWO_SAMPLES.replace('\n', "\r\n");
    assert_eq!(read(crlf).unwrap().tree, plain.tree);
}

#[test]
fn only_one_event_is_drawn_and_the_others_are_counted() {
    let text = TWO_SAMPLES.replacen("cycles:u", "instructions", 1);
    let first = read(&text).unwrap();
    assert_eq!(folded(&first), "java;main;f_[j] 250\n");
    assert_eq!(first.other_events, [("cycles:u".to_owned(), 1)]);
    let wanted = |event: &str| {
        let options = TextOptions {
            event: Some(event.to_owned()),
            ..TextOptions::default()
        };
        collapse_text(text.as_bytes(), &options)
    };
    assert_eq!(
        folded(&wanted("cycles:u").unwrap()),
        "worker_3;main;read_[k] 150\n"
    );
    let Err(TextError::NoSuchEvent { present, .. }) = wanted("faults") else {
        panic!("an event that is not there was found")
    };
    assert_eq!(present, ["instructions", "cycles:u"]);
}

#[test]
fn samples_that_stackcollapse_perf_leaves_out_are_counted() {
    // Without call chains a sample is one line; its comm is padded.
    let one_line = "\
            perf   100 [000] 1.5:    10 cycles:  ffff do_idle+0x1 ([kernel.kallsyms])
            cafe   101 [000] 1.6:    20 cycles:      7f1 main+0x5 (/bin/cafe)
";
    assert_eq!(
        folded(&read(one_line).unwrap()),
        "cafe;main 20\nperf;do_idle_[k] 10\n"
    );
    // A data address stands before the call chain of some events.
    let with_address = "sh 1 1.5:  5 faults:   7f00 \n\t 7f1 main (/bin/sh)\n\n";
    assert_eq!(folded(&read(with_address).unwrap()), "sh;main 5\n");
    // Tracepoints have one line each and no frames.
    let points = "\
sh 1 [000] 1.5: sched:sched_switch: prev_comm=a ==> next_comm=b
sh 1 [000] 1.6: sched:sched_switch: prev_comm=b ==> next_comm=a
";
    let points = read(points).unwrap();
    assert_eq!(
        (folded(&points).as_str(), points.unit()),
        ("sh 2\n", "samples")
    );
    // No blank line follows the last one; a comm of one letter; an empty stack.
    let last = "a 7 1.5:  2 c: \n\nb 8 1.6:  3 c: \n\t 7f1 f (/x)";
    let last = read(last).unwrap();
    assert_eq!(folded(&last), "a 2\nb;f 3\n");
    assert_eq!(last.cut, Some(Place { line: 3, byte: 17 }));
}

#[test]
fn what_perf_prints_between_samples_is_no_sample_and_losses_are_told() {
    let text = format!(
        "sh 1 1.1: PERF_RECORD_MMAP2 1/1: [0x1(0x2) @ 0 fe:00 1 2]: r-xp /bin/sh\n{TWO_SAMPLES}\
         sh 1 [000] 1.2: PERF_RECORD_LOST lost 12\n"
    );
    let collapsed = read(text).unwrap();
    assert_eq!(collapsed.tree, read(TWO_SAMPLES).unwrap().tree);
    assert_eq!(collapsed.lost, Some(12));
    assert!(collapsed.to_string().contains(" · 12 lost"));
    let sources = TWO_SAMPLES.replace("(/usr/bin/w)\n", "(/usr/bin/w)\n  w.c:12\n");
    assert_eq!(read(sources).unwrap().tree, read(TWO_SAMPLES).unwrap().tree);
}

#[test]
fn a_line_that_is_not_understood_is_an_error_with_its_place_or_counted() {
    for (text, line, byte) in [
        (TWO_SAMPLES.replace("worker 3 44", "worker"), 6, 132),
        (TWO_SAMPLES.replace("\t    7f2 main", "\t    main"), 4, 97),
        (format!("\t 7f1 f (/x)\n{TWO_SAMPLES}"), 1, 0),
    ] {
        let Err(TextError::Line { at, .. }) = read(&text) else {
            panic!("accepted {text}")
        };
        assert_eq!(at, Place { line, byte }, "{text}");
        let left_out = read_all_of(&text).left_out;
        assert_eq!(left_out.first, Place { line, byte });
        assert!(left_out.lines >= 1);
    }
}

#[test]
fn every_cut_of_a_text_counts_the_samples_that_it_begins() {
    for len in 0..TWO_SAMPLES.len() {
        let cut = &TWO_SAMPLES[..len];
        let collapsed = match read(cut) {
            Ok(collapsed) if collapsed.format == Format::PerfScript => collapsed,
            // Nothing of a sample is there yet, or not enough to tell.
            _ => {
                assert!(!cut.contains(": \n"), "{cut}");
                continue;
            }
        };
        let begun = cut.matches("cycles:u:").count() as u64;
        assert!(collapsed.samples >= Some(begun), "{cut}");
        assert!(collapsed.samples <= Some(2));
    }
}

#[test]
fn every_cut_of_a_packed_text_is_an_error_or_told() {
    let text = TWO_SAMPLES.repeat(50);
    let packed = gzip(text.as_bytes());
    for len in 0..packed.len() {
        assert!(read(&packed[..len]).is_err(), "accepted {len} bytes");
    }
    let cut = &packed[..packed.len() - 9];
    let Err(TextError::Gzip { byte, .. }) = read(cut) else {
        panic!("the end is missing")
    };
    assert!(byte <= text.len() as u64);
    let kept = read_all_of(cut);
    assert!(kept.broken.is_some());
    assert!(kept.samples > Some(0));
}

#[test]
fn folded_text_is_read_back_as_it_was_written() {
    let text = "\
[unknown] 7
a b;[[kernel.kallsyms]]_[k] 1
a b;[libc.so.6];f  2
a b;[perf-1.map]_[j];f_[j];g_[i] 3
a b;\\x5bu8\\x3b 8];#;\\x1b 4
a b;f\\x2012;f_\\x5bk] 5
a b;read_[k] 6
a b;run_[j];[interpreter]_[j] 8
";
    assert_eq!(folded(&read(text).unwrap()), text);
    let collapsed = read(text).unwrap();
    assert_eq!(collapsed.tree.samples(), 36);
    assert!(collapsed.tree.containers().is_empty());
}

#[test]
fn our_own_containers_are_containers_again() {
    let text = "docker:web (3f2a12345678);nginx;main 3\nhost;sh;main 2\nhost:ssh.service;sshd 1\n";
    let collapsed = read(text).unwrap();
    assert_eq!(folded(&collapsed), text);
    assert_eq!(collapsed.tree.containers().len(), 3);
    let mixed = format!("{text}sh;main 4\n");
    assert!(read(mixed).unwrap().tree.containers().is_empty());
}

#[test]
fn folded_lines_without_a_count_are_errors_with_their_place() {
    for (line, what) in [
        ("a;b", "has no count at its end"),
        ("12", "has no count at its end"),
        ("a;b 1.5", "counts parts of a sample"),
        ("a;b -1", "has no count at its end"),
        (" 12", "has a count and no stack"),
    ] {
        let text = format!("a;b 1\n# x\n{line}\nc 2\n");
        let Err(TextError::Line {
            at, what: found, ..
        }) = read(&text)
        else {
            panic!("accepted {line}")
        };
        assert_eq!((at, found), (Place { line: 3, byte: 10 }, what), "{line}");
        let rest = read_all_of(&text);
        assert_eq!((rest.tree.samples(), rest.left_out.lines), (3, 1));
    }
    assert_eq!(
        folded(&read("a;b 1\na;b 2.0\n\nc 99999999999999999999").unwrap()),
        format!("a;b 3\nc {}\n", u64::MAX)
    );
    assert!(matches!(
        read("a;b 1 2\nc 3 4\n"),
        Err(TextError::Difference)
    ));
    assert_eq!(folded(&read("\u{feff}a;b 1\n").unwrap()), "a;b 1\n");
    let Err(TextError::Line { at, .. }) = read("\u{feff}a;b 1\nx\n") else {
        panic!("accepted")
    };
    assert_eq!(at, Place { line: 2, byte: 9 });
    assert_eq!(read("a;in libc.8 2\n").unwrap().tree.samples(), 2);
    assert_eq!(read("worker 1 2\nc 3\n").unwrap().tree.samples(), 5);
}

#[test]
fn what_is_no_text_of_stacks_is_an_error_that_names_it() {
    assert!(matches!(read(""), Err(TextError::Empty)));
    assert!(matches!(read(gzip(b"")), Err(TextError::Empty)));
    assert!(matches!(read("hello\n"), Err(TextError::Unknown { start }) if start == "hello"));
    assert!(matches!(
        read(b"\x7fELF\0\0\xff\xfe"),
        Err(TextError::Unknown { .. })
    ));
    assert!(matches!(
        read(b"\x28\xb5\x2f\xfd\0\0"),
        Err(TextError::Compressed { program: "zstd" })
    ));
    for packed in [gzip(&gzip(b"a;b 1\n")), gzip(b"PERFILE2\x68\0\0\0")] {
        assert!(matches!(
            read(packed),
            Err(TextError::Compressed { program: "gzip" })
        ));
    }
    assert!(matches!(
        read("sh 1 1.1: PERF_RECORD_LOST lost 12\n"),
        Err(TextError::NoSamples { .. })
    ));
    assert!(matches!(read("a;b 0\n"), Err(TextError::NoSamples { .. })));
    let weighed = |text: &str| {
        let options = TextOptions {
            weight: Weight::Period,
            ..TextOptions::default()
        };
        collapse_text(text.as_bytes(), &options)
    };
    let counted = weighed("a;b 1\n");
    assert!(matches!(counted, Err(TextError::OwnCounts { .. })));
    let unweighed = "sh 1 1.1: cycles:\n\t1 main (/x)\n\n";
    assert!(matches!(weighed(unweighed), Err(TextError::NoPeriods)));
    let ones = unweighed.replace("cycles", "1 cycles");
    assert_eq!(weighed(&ones).unwrap().tree.samples(), 1);
    for error in [read(""), read("hello\n"), read("a;b 1\nc")] {
        assert!(error.unwrap_err().hint().is_some());
    }
}

#[test]
fn hostile_texts_end_in_an_error_or_a_tree() {
    // No line ends: an error before the memory is full, packed or not.
    let endless = io::Cursor::new(TWO_SAMPLES).chain(io::repeat(b'x'));
    let found = collapse_text(endless, &TextOptions::default());
    assert!(matches!(found, Err(TextError::LongLine { .. })));
    let bomb = gzip(&[TWO_SAMPLES.as_bytes(), &vec![b'7'; 40 << 20]].concat());
    assert!(bomb.len() < 1 << 20);
    assert!(matches!(read(bomb), Err(TextError::LongLine { .. })));
    // Bytes that are no text, in every place of a sample.
    for at in 0..TWO_SAMPLES.len() {
        for byte in [0, b'\xff', b'(', b'\n', b';', b'9'] {
            let mut text = TWO_SAMPLES.as_bytes().to_vec();
            if let Some(slot) = text.get_mut(at) {
                *slot = byte;
            }
            if let Ok(collapsed) = read(&text) {
                assert!(collapsed.tree.samples() > 0);
                folded(&collapsed);
            }
        }
    }
}

#[test]
fn absurd_numbers_neither_overflow_nor_panic() {
    let huge = u128::MAX;
    let text = format!("a {huge} {huge}.{huge}: {huge} c: \n\n").repeat(3);
    assert_eq!(read(text).unwrap().tree.samples(), u64::MAX);
}
