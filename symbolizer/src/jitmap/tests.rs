//! Maps as runtimes write them, and as nobody should.

use std::time::{Duration, Instant};

use super::*;

fn read(map: &[u8]) -> JitMap {
    JitMap::read(map, &JitMapLimits::default(), Lines::All).expect("memory can be read")
}

fn assert_names(map: &[u8], expected: &[(u64, Option<&str>)]) {
    let map = read(map);
    for &(address, name) in expected {
        assert_eq!(
            map.lookup(address),
            name.map(str::as_bytes),
            "at {address:#x}"
        );
    }
}

#[test]
fn every_writers_numbers_and_names_are_read() {
    assert_names(
        b"0x00007f0000001000 0x0000000000000270 java.lang.Object jdk.X.invoke(java.lang.Object, long)\n\
          7F0000002000 1A LazyCompile:*f /app/x.js:1\n\
          3000 10 a\n\
          \t4000   10   Interpreter\r\n\
          5000 1 py::f:/a b/c.py\n",
        &[
            (
                0x7f00_0000_126f,
                Some("java.lang.Object jdk.X.invoke(java.lang.Object, long)"),
            ),
            (0x7f00_0000_1270, None),
            (0x7f00_0000_2000, Some("LazyCompile:*f /app/x.js:1")),
            (0x7f00_0000_201a, None),
            (0x300f, Some("a")),
            (0x2fff, None),
            (0x4000, Some("Interpreter")),
            (0x5000, Some("py::f:/a b/c.py")),
            (0, None),
            (u64::MAX, None),
        ],
    );
}

#[test]
fn the_last_line_wins_for_each_byte_that_it_covers() {
    assert_names(
        b"1000 100 old\n1000 100 same\n2000 100 long\n2040 20 middle\n3000 10 inner\n2ff0 40 outer\n\
          4000 20 first\n4010 20 second\n5010 20 late\n5000 20 early but newer\n",
        &[
            (0x1000, Some("same")),
            (0x10ff, Some("same")),
            (0x203f, Some("long")),
            (0x2040, Some("middle")),
            (0x205f, Some("middle")),
            (0x2060, Some("long")),
            (0x3000, Some("outer")),
            (0x302f, Some("outer")),
            (0x3030, None),
            (0x400f, Some("first")),
            (0x4010, Some("second")),
            (0x501f, Some("early but newer")),
            (0x5020, Some("late")),
            (0x502f, Some("late")),
        ],
    );
}

#[test]
fn a_cover_is_what_painting_byte_by_byte_gives() {
    let mut state = 0x1234_5678_9abc_def1_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..2_000 {
        let mut painted = [None; 80];
        let lines: Vec<_> = (0..random(12))
            .map(|name| {
                let (start, len) = (random(60), 1 + random(19));
                for byte in start..start + len {
                    painted[byte as usize] = Some(name as u32);
                }
                Interval {
                    start,
                    name: name as u32,
                    len: len as u32,
                }
            })
            .collect();
        let pieces = newest_first_cover(lines.clone());
        assert!(pieces.len() <= 2 * lines.len());
        let mut found = [None; 80];
        for piece in &pieces {
            for byte in piece.start..piece.start + u64::from(piece.len) {
                assert_eq!(found[byte as usize], None, "disjoint");
                found[byte as usize] = Some(piece.name);
            }
        }
        assert_eq!(found, painted, "{lines:?}");
        assert!(pieces.is_sorted_by_key(|piece| piece.start));
    }
}

#[test]
fn bad_lines_are_skipped_and_counted() {
    let map = read(
        b"zz 10 no_start\n1000 xx no_size\n1000\n1000 10\n1000 10 \n\n1000 0 zero\n\
          ffffffffffffffff 1 overflow\nfffffffffffffff0 10 up_to_the_end\n\
          1000 100000000 four_gigabytes\n11000000000000000 10 too_many_digits\n0x 10 empty\n2000 10 \0nul\n\
          2000 10 good\n",
    );
    assert_eq!((map.lines(), map.bad_lines()), (14, 13));
    assert_eq!(map.lookup(0x1000), None);
    assert_eq!(map.lookup(u64::MAX), None);
    assert_eq!(map.lookup(0x2000), Some(b"good".as_slice()));
}

#[test]
fn every_truncation_keeps_the_whole_lines_before_it() {
    let map = b"1000 10 one\n2000 10 two\n3000 10 three\n";
    for len in 0..=map.len() {
        let head = read(&map[..len]);
        let whole = map[..len].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(head.lines(), whole as u64, "{len} bytes");
        let torn = len > 0 && map[len - 1] != b'\n';
        assert_eq!(head.torn_last_line(), torn, "{len} bytes");
        assert_eq!(head.lookup(0x1000).is_some(), whole > 0);
        assert_eq!(head.lookup(0x3000).is_some(), whole > 2);
    }
}

#[test]
fn over_a_limit_what_was_read_is_kept_and_said() {
    let map = b"1000 10 one\n2000 10 two\n3000 10 three\n";
    let limited = |bytes, lines| {
        let map = JitMap::read(map.as_slice(), &JitMapLimits { bytes, lines }, Lines::All);
        let map = map.expect("memory can be read");
        (map.lines(), map.cut_at(), map.torn_last_line())
    };
    assert_eq!(limited(1000, 3), (3, None, false));
    assert_eq!(limited(1000, 2), (2, Some(CutAt::Lines(2)), false));
    assert_eq!(limited(38, 9), (3, None, false));
    assert_eq!(limited(37, 9), (2, Some(CutAt::Bytes(37)), false));
    assert_eq!(limited(24, 9), (2, Some(CutAt::Bytes(24)), false));
    assert_eq!(limited(0, 9), (0, Some(CutAt::Bytes(0)), false));
}

#[test]
fn long_names_are_cut_with_a_mark_and_the_next_line_is_read() {
    let mut map = Vec::new();
    for (start, len) in [
        (0x1000, 4 << 10),
        (0x2000, (4 << 10) + 1),
        (0x3000, 1 << 20),
    ] {
        map.extend_from_slice(format!("{start:x} 10 {}\n", "n".repeat(len)).as_bytes());
    }
    map.extend_from_slice(b"4000 10 after\n");
    let map = read(&map);
    let lens = [0x1000, 0x2000, 0x3000, 0x4000].map(|at| map.lookup(at).map(<[u8]>::len));
    assert_eq!(lens, [Some(4096), Some(4099), Some(4099), Some(5)]);
    assert_eq!(map.bad_lines(), 0);
}

#[test]
fn an_endless_line_ends_at_the_limit() {
    let limits = JitMapLimits {
        bytes: 10 << 20,
        lines: 10,
    };
    let map = JitMap::read(io::repeat(b'1'), &limits, Lines::All).expect("a limit is no error");
    assert_eq!(map.cut_at(), Some(CutAt::Bytes(10 << 20)));
    assert_eq!(map.lines(), 0);
}

#[test]
fn any_byte_may_stand_in_a_name_but_nul_ends_it() {
    assert_names(
        b"1000 10 \x1b[31m;\xc3\xa4\n",
        &[(0x1000, Some("\x1b[31m;ä"))],
    );
    assert_eq!(
        read(b"1000 10 ab\0cd\n").lookup(0x1000),
        Some(b"ab".as_slice())
    );
}

#[test]
fn a_failing_read_is_an_error_with_its_place() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    let error = JitMap::read(
        b"1 1 a\n".chain(Fails),
        &JitMapLimits::default(),
        Lines::All,
    );
    let error = error.expect_err("it cannot be read");
    assert_eq!(error.to_string(), "cannot read the map after 6 bytes");
}

#[test]
fn overlaps_by_the_hundred_thousand_take_no_quadratic_time() {
    let mut map = String::new();
    for line in 0..200_000u64 {
        // Nested, each within all before it.
        map.push_str(&format!("{:x} {:x} f\n", line, 1_000_000 - 2 * line));
    }
    let start = Instant::now();
    let map = read(map.as_bytes());
    assert_eq!(map.lookup(199_999), Some(b"f".as_slice()));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_is_forgotten_lets_an_older_map_speak() {
    let mut newer = read(b"1000 100 scratch\n2000 10 g\n");
    newer.forget(|name| name == b"scratch");
    assert_eq!(newer.lookup(0x1000), None);
    let both = newer.over(read(b"1000 10 f\n"));
    assert_eq!(both.lookup(0x1008), Some(b"f".as_slice()));
    assert_eq!(both.lookup(0x2008), Some(b"g".as_slice()));
}

#[test]
fn of_a_map_that_is_read_for_some_addresses_these_are_answered_as_by_the_whole() {
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    for _ in 0..200 {
        let lines: String = (0..random(40))
            .map(|line| format!("{:x} {:x} f{line}\n", random(0x200), random(0x40)))
            .collect();
        let mut wanted: Vec<u64> = (0..random(20)).map(|_| random(0x260)).collect();
        wanted.sort_unstable();
        let whole = read(lines.as_bytes());
        let limits = JitMapLimits::default();
        let part = JitMap::read(lines.as_bytes(), &limits, Lines::Of(&wanted)).expect("memory");
        assert_eq!(part.bad_lines(), whole.bad_lines());
        for addr in &wanted {
            assert_eq!(
                part.lookup(*addr),
                whole.lookup(*addr),
                "{addr:x} of\n{lines}"
            );
        }
    }
}

#[test]
fn a_later_map_goes_over_an_older_one_and_the_older_fills_its_holes() {
    let older = read(b"1000 100 first\n2000 100 second\n3000 100 third\n");
    let newer = read(b"1000 80 anew\n3000 100 third\n");
    let both = newer.over(older);
    let name = |addr| both.lookup(addr).map(String::from_utf8_lossy);
    assert_eq!(name(0x1000).as_deref(), Some("anew"));
    assert_eq!(name(0x1080).as_deref(), Some("first"));
    assert_eq!(name(0x2000).as_deref(), Some("second"));
    assert_eq!(name(0x3000).as_deref(), Some("third"));
    assert_eq!(both.names.len(), "anew first second third ".len());
}
