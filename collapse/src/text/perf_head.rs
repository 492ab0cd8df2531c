//! The line that begins a sample in the output of `perf script`.
//!
//! `COMM PID[/TID] [CPU] TIME: PERIOD EVENT: …`, of which every part but the first two may be absent
//! (`-F`). Comms have blanks and digits in them, so the pid is the last number before the time.

/// What the line says; all parts as they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) comm: &'a [u8],
    /// As perf prints it, `cycles:u`.
    pub(super) event: Option<&'a [u8]>,
    /// Events of this kind since the sample before; clocks count nanoseconds.
    pub(super) period: Option<u64>,
    /// What follows on the same line: the only frame, a data address, a tracepoint's fields.
    pub(super) rest: &'a [u8],
}

/// What a line that is no frame can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Sample(Head<'a>),
    /// A record that perf prints with `--show-mmap-events` and its like; how many samples it says
    /// were lost.
    Other {
        lost: u64,
    },
}

/// Reads a line that tells its time, as all of perf's do unless somebody chose otherwise.
pub(super) fn timed(line: &[u8]) -> Option<Record<'_>> {
    let mut pid: Option<Word<'_>> = None;
    for word in Words::of(line) {
        if is_pid(word.text) {
            pid = Some(word);
        } else if is_time(word.text) {
            let pid = pid?;
            let after = line.get(word.end..).unwrap_or_default();
            if let Some(lost) = other_record(after) {
                return Some(Record::Other { lost });
            }
            let (period, event, rest) = sampled(after);
            return Some(Record::Sample(Head {
                comm: comm(line, pid),
                event,
                period,
                rest,
            }));
        }
    }
    None
}

/// Reads a line without a time: nothing follows the pid, or an event does.
///
/// Without a time the number before the event is not used, as stackcollapse-perf.pl does not.
pub(super) fn untimed(line: &[u8]) -> Option<Head<'_>> {
    if line.first().is_none_or(u8::is_ascii_whitespace) {
        return None;
    }
    let mut words = Words::of(line);
    words.next();
    let pid = words.find(|word| is_pid(word.text) || is_time(word.text))?;
    if is_time(pid.text) {
        return None;
    }
    let mut event = None;
    for word in words {
        let is_ours = event.is_none() && (is_cpu(word.text) || is_number(word.text));
        match word.text.strip_suffix(b":") {
            Some(name) if event.is_none() && !name.is_empty() => event = Some(name),
            _ if is_ours => {}
            _ => return None,
        }
    }
    Some(Head {
        comm: comm(line, pid),
        event,
        ..Head::default()
    })
}

/// Period, event and what follows, of what is behind the time.
fn sampled(after: &[u8]) -> (Option<u64>, Option<&[u8]>, &[u8]) {
    let mut words = Words::of(after);
    let Some(first) = words.next() else {
        return (None, None, &[]);
    };
    let period = if is_number(first.text) {
        number(first.text)
    } else {
        None
    };
    let (start, mut word) = match period {
        None => (first.start, Some(first)),
        Some(_) => match words.next() {
            Some(second) => (second.start, Some(second)),
            None => return (period, None, &[]),
        },
    };
    // A name that was given to an event may have blanks in it.
    while let Some(found) = word {
        if found.text.len() > 1 && found.text.ends_with(b":") {
            let event = after.get(start..found.end - 1);
            let rest = after.get(found.end..).unwrap_or_default();
            return (period, event, rest.trim_ascii());
        }
        word = words.next();
    }
    let rest = after.get(start..).unwrap_or_default();
    (period, None, rest.trim_ascii())
}

/// The lost samples of a record that is no sample; `None` of a sample.
fn other_record(after: &[u8]) -> Option<u64> {
    let mut words = Words::of(after);
    let name = words.next()?.text.strip_prefix(b"PERF_RECORD_")?;
    if !name.starts_with(b"LOST") {
        return Some(0);
    }
    // `PERF_RECORD_LOST lost 12`, `PERF_RECORD_LOST_SAMPLES lost 12`
    Some(words.find_map(|word| number(word.text)).unwrap_or(0))
}

fn comm<'a>(line: &'a [u8], pid: Word<'_>) -> &'a [u8] {
    line.get(..pid.start).unwrap_or_default().trim_ascii()
}

/// `123`, `123/456`, `-1`.
fn is_pid(word: &[u8]) -> bool {
    let mut parts = word.split(|byte| *byte == b'/');
    let is_id = |id: &[u8]| is_number(id.strip_prefix(b"-").unwrap_or(id));
    parts.next().is_some_and(is_id) && parts.next().is_none_or(is_id) && parts.next().is_none()
}

/// `[000]`
fn is_cpu(word: &[u8]) -> bool {
    word.strip_prefix(b"[")
        .and_then(|rest| rest.strip_suffix(b"]"))
        .is_some_and(is_number)
}

/// `12400.703652:`
fn is_time(word: &[u8]) -> bool {
    let Some(time) = word.strip_suffix(b":") else {
        return false;
    };
    let mut parts = time.split(|byte| *byte == b'.');
    parts.next().is_some_and(is_number)
        && parts.next().is_some_and(is_number)
        && parts.next().is_none()
}

fn is_number(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(u8::is_ascii_digit)
}

/// A number; one that is too large is the largest.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if !is_number(digits) {
        return None;
    }
    let value = digits.iter().fold(0_u64, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Some(value)
}

#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a [u8],
    start: usize,
    end: usize,
}

/// What stands between blanks.
struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let rest = self.line.get(self.at..)?;
        let start = self.at + rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let rest = self.line.get(start..)?;
        let len = rest
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(rest.len());
        self.at = start + len;
        Some(Word {
            text: rest.get(..len)?,
            start,
            end: self.at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(line: &str) -> (String, Option<String>, Option<u64>, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match timed(line.as_bytes()) {
            Some(Record::Sample(head)) => (
                text(head.comm),
                head.event.map(text),
                head.period,
                text(head.rest),
            ),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_forms_that_perf_prints_are_read() {
        for (line, comm, event, period, rest) in [
            (
                "java 25607 4794564.109216: cycles:",
                "java",
                "cycles",
                None,
                "",
            ),
            (
                "java 12688 [002] 6544038.708352: cpu-clock: ",
                "java",
                "cpu-clock",
                None,
                "",
            ),
            (
                "java 12688/12764 [002] 9.708352:   235 cycles:u: ",
                "java",
                "cycles:u",
                Some(235),
                "",
            ),
            (
                "V8 WorkerThread 24636/25607 [000] 94564.109216: 100 cycles: ",
                "V8 WorkerThread",
                "cycles",
                Some(100),
                "",
            ),
            (
                "worker 12 345 [001] 1.5:  7 cpu/cycles,name=a b/u: ",
                "worker 12",
                "cpu/cycles,name=a b/u",
                Some(7),
                "",
            ),
            (
                "a     7 [000]     1.000001:          1 cycles: ",
                "a",
                "cycles",
                Some(1),
                "",
            ),
            (
                ":-1    -1 [000] 12.345678:     5 cycles: ",
                ":-1",
                "cycles",
                Some(5),
                "",
            ),
            (
                ":4242  4242 [000] 12.345678:     5 cycles: ",
                ":4242",
                "cycles",
                Some(5),
                "",
            ),
            (
                "            perf 12345 [000] 123.456789:  10101 cycles:  ffffffff8103ce3b f+0xb ([kernel.kallsyms])",
                "perf",
                "cycles",
                Some(10101),
                "ffffffff8103ce3b f+0xb ([kernel.kallsyms])",
            ),
            (
                "bash 9 [001] 5.000001: sched:sched_switch: prev_comm=bash prev_pid=9 ==> next_comm=a:",
                "bash",
                "sched:sched_switch",
                None,
                "prev_comm=bash prev_pid=9 ==> next_comm=a:",
            ),
        ] {
            let expected = (
                comm.to_owned(),
                Some(event.to_owned()),
                period,
                rest.to_owned(),
            );
            assert_eq!(head(line), expected, "{line}");
        }
        assert_eq!(head("x 7 1.5: "), ("x".into(), None, None, String::new()));
        assert_eq!(head("x 7 1.5:  12 ").2, Some(12));
        assert_eq!(head("x 7 1.5: 99999999999999999999 c:").2, Some(u64::MAX));
    }

    #[test]
    fn records_that_are_no_samples_are_told_apart_and_their_losses_counted() {
        let other = |line: &str| match timed(line.as_bytes()) {
            Some(Record::Other { lost }) => lost,
            other => panic!("{other:?}"),
        };
        assert_eq!(other("sh 1 [000] 2.5: PERF_RECORD_LOST lost 12"), 12);
        assert_eq!(other("sh 1 2.5: PERF_RECORD_COMM exec: sh:1/1"), 0);
        assert_eq!(
            other("sh 1 2.5: PERF_RECORD_MMAP2 1/1: [0x1(0x2) @ 0 fe:00 1 2]: r-xp /bin/sh"),
            0
        );
    }

    #[test]
    fn what_is_no_head_is_not_read_as_one() {
        for line in [
            "",
            "\t    7f5580ed7c3c f+0x29c (/tmp/perf-2989.map)",
            "a;b;c 12",
            "java 12",
            "1.5: x",
            "x y 1.5: cycles:",
        ] {
            assert_eq!(timed(line.as_bytes()), None, "{line}");
        }
        for line in [
            "",
            " sh 12 cycles:",
            "sh",
            "sh x 12 y",
            "a;b 12 c;d 3",
            "sh 12 a: b:",
        ] {
            assert_eq!(untimed(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn without_a_time_the_first_number_is_the_pid() {
        let head = untimed(b"V8 Worker 24/25 [000]   10101 cycles: ").unwrap();
        assert_eq!(
            (head.comm, head.event),
            (&b"V8 Worker"[..], Some(&b"cycles"[..]))
        );
        assert_eq!(head.period, None);
        assert_eq!(untimed(b"sh  12 ").unwrap().comm, b"sh");
    }
}
