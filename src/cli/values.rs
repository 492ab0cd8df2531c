//! Values of flags that are more than a word or a number.

use std::path::PathBuf;
use std::time::Duration;

/// CPUs, as they were typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpus(pub(crate) Vec<u32>);

/// Largest number of a CPU that is taken: `CONFIG_NR_CPUS` is at most 8192.
const CPU_MAX: u32 = 1 << 16;

pub(crate) fn parse_cpus(text: &str) -> Result<Cpus, String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|cpu| *cpu < CPU_MAX);
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let range = match part.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)),
            None => number(part).map(|cpu| (cpu, cpu)),
        };
        match range {
            Some((first, last)) if first <= last => cpus.extend(first..=last),
            _ => return Err("expected CPUs such as 0,4-7".to_owned()),
        }
    }
    Ok(Cpus(cpus))
}

/// Where a time of a recording counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeArg {
    /// Nanoseconds of the recording's clock.
    Clock(u64),
    /// Nanoseconds since the first sample.
    SinceFirst(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeSpan {
    pub(crate) from: Option<TimeArg>,
    pub(crate) to: Option<TimeArg>,
}

pub(crate) fn parse_time_span(text: &str) -> Result<TimeSpan, String> {
    let expected = || "expected two times in seconds, such as 4512.25,4513 or +10,+20".to_owned();
    let (from, to) = text.split_once(',').ok_or_else(expected)?;
    let time = |text: &str| match text.trim() {
        "" => Ok(None),
        text => match text.strip_prefix('+') {
            Some(text) => nanoseconds(text).map(TimeArg::SinceFirst),
            None => nanoseconds(text).map(TimeArg::Clock),
        }
        .map(Some)
        .ok_or_else(expected),
    };
    let span = TimeSpan {
        from: time(from)?,
        to: time(to)?,
    };
    match span {
        TimeSpan {
            from: None,
            to: None,
        } => Err(expected()),
        TimeSpan {
            from: Some(TimeArg::Clock(from)),
            to: Some(TimeArg::Clock(to)),
        }
        | TimeSpan {
            from: Some(TimeArg::SinceFirst(from)),
            to: Some(TimeArg::SinceFirst(to)),
        } if from > to => Err("the first time is after the second".to_owned()),
        span => Ok(span),
    }
}

/// Seconds with at most nine decimals: more digits than a float has.
fn nanoseconds(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) || decimals.len() > 9 || text == "." {
        return None;
    }
    let seconds: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let decimals: u64 = format!("{decimals:0<9}").parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(decimals)
}

/// The root directory of a container, exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysroot {
    /// As `-G` takes it.
    pub(crate) container: String,
    pub(crate) dir: PathBuf,
}

pub(crate) fn parse_sysroot(text: &str) -> Result<Sysroot, String> {
    let (container, dir) = text
        .split_once('=')
        .filter(|(container, dir)| !container.is_empty() && !dir.is_empty())
        .ok_or("expected CONTAINER=DIR, such as web=/tmp/web-rootfs")?;
    Ok(Sysroot {
        container: container.to_owned(),
        dir: dir.into(),
    })
}

pub(crate) fn parse_perf_map(text: &str) -> Result<(u32, PathBuf), String> {
    text.split_once('=')
        .and_then(|(pid, file)| Some((pid.parse().ok()?, PathBuf::from(file))))
        .filter(|(pid, file)| *pid > 0 && !file.as_os_str().is_empty())
        .ok_or_else(|| "expected PID=FILE, such as 4242=/tmp/perf-1.map".to_owned())
}

/// A ring's size, as it was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingSize {
    Pages(usize),
    Bytes(usize),
}

/// Largest ring of one CPU.
const RING_MAX_BYTES: usize = 1 << 30;

pub(crate) fn parse_ring_size(text: &str) -> Result<RingSize, String> {
    let (digits, unit_bytes) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), Some(1 << 10)),
        Some((at, 'm' | 'M')) => (text.get(..at), Some(1 << 20)),
        Some((at, 'g' | 'G')) => (text.get(..at), Some(1 << 30)),
        _ => (Some(text), None),
    };
    let number = digits
        .and_then(|digits| digits.parse::<usize>().ok())
        .filter(|number| *number > 0);
    let size = match (number, unit_bytes) {
        (Some(number), None) if number <= RING_MAX_BYTES / 4096 => Some(RingSize::Pages(number)),
        (Some(number), Some(unit)) => number
            .checked_mul(unit)
            .filter(|bytes| *bytes <= RING_MAX_BYTES)
            .map(RingSize::Bytes),
        _ => None,
    };
    size.ok_or_else(|| "expected pages (128) or a size up to 1G (512K)".to_owned())
}

/// How stacks are found while recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StacksArg {
    Fp,
    /// From copies of stacks, of so many bytes.
    Dwarf(u32),
    /// From both, stack by stack.
    Auto(u32),
}

/// What is copied of each stack if nobody says: as much as perf copies.
const STACK_BYTES: u32 = 8192;

pub(crate) fn parse_stacks(text: &str) -> Result<StacksArg, String> {
    let is_size = |bytes: &u32| {
        (8..=profiler::live::UserPart::STACK_BYTES_MAX).contains(bytes) && bytes.is_multiple_of(8)
    };
    match text.split_once(',') {
        None if text == "fp" => Ok(StacksArg::Fp),
        None if text == "dwarf" => Ok(StacksArg::Dwarf(STACK_BYTES)),
        None if text == "auto" => Ok(StacksArg::Auto(STACK_BYTES)),
        Some((how @ ("dwarf" | "auto"), bytes)) => {
            let bytes = bytes.parse().ok().filter(is_size);
            let bytes = bytes.ok_or("expected a multiple of 8 up to 65528, such as dwarf,16384")?;
            Ok(match how {
                "dwarf" => StacksArg::Dwarf(bytes),
                _ => StacksArg::Auto(bytes),
            })
        }
        _ => Err("expected fp, dwarf[,BYTES] or auto[,BYTES]".to_owned()),
    }
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    // A bare number is seconds, as for sleep(1).
    let parsed = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    parsed.and_then(|duration| {
        if duration.is_zero() {
            Err("must be longer than 0".to_owned())
        } else {
            Ok(duration)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_seconds_or_has_a_unit() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("0").is_err());
        assert!(parse_duration("-1").is_err());
        assert!(parse_duration("soon").is_err());
    }

    #[test]
    fn cpus_are_a_list_of_numbers_and_ranges() {
        assert_eq!(parse_cpus("0,4-6"), Ok(Cpus(vec![0, 4, 5, 6])));
        for wrong in ["", "1-", "3-1", "x", "1,,2", "0-4294967295"] {
            assert!(parse_cpus(wrong).is_err(), "accepted {wrong:?}");
        }
    }

    #[test]
    fn times_are_seconds_to_the_nanosecond_and_may_count_from_the_first_sample() {
        let span = |from, to| Ok(TimeSpan { from, to });
        assert_eq!(
            parse_time_span("103.000000001,104.5"),
            span(
                Some(TimeArg::Clock(103_000_000_001)),
                Some(TimeArg::Clock(104_500_000_000))
            )
        );
        assert_eq!(
            parse_time_span("+1.5,"),
            span(Some(TimeArg::SinceFirst(1_500_000_000)), None)
        );
        assert_eq!(
            parse_time_span(",+.25"),
            span(None, Some(TimeArg::SinceFirst(250_000_000)))
        );
        for wrong in [
            "",
            ",",
            "5",
            "5,4",
            "-1,2",
            "1e3,",
            "1.0000000001,",
            "+2,+1",
            ".,1",
        ] {
            assert!(parse_time_span(wrong).is_err(), "accepted {wrong:?}");
        }
    }

    #[test]
    fn stacks_are_found_by_frame_pointers_or_from_copies_of_a_size_that_the_kernel_takes() {
        assert_eq!(parse_stacks("fp"), Ok(StacksArg::Fp));
        assert_eq!(parse_stacks("dwarf"), Ok(StacksArg::Dwarf(8192)));
        assert_eq!(parse_stacks("dwarf,65528"), Ok(StacksArg::Dwarf(65528)));
        assert_eq!(parse_stacks("auto"), Ok(StacksArg::Auto(8192)));
        assert_eq!(parse_stacks("auto,64"), Ok(StacksArg::Auto(64)));
        for wrong in [
            "",
            "lbr",
            "fp,8",
            "dwarf,",
            "dwarf,0",
            "dwarf,100",
            "dwarf,65536",
        ] {
            assert!(parse_stacks(wrong).is_err(), "accepted {wrong:?}");
        }
    }

    #[test]
    fn a_ring_is_pages_or_bytes() {
        assert_eq!(parse_ring_size("128"), Ok(RingSize::Pages(128)));
        assert_eq!(parse_ring_size("512K"), Ok(RingSize::Bytes(512 << 10)));
        assert_eq!(parse_ring_size("1G"), Ok(RingSize::Bytes(1 << 30)));
        for wrong in ["", "0", "2G", "K", "12x", "99999999999999999999"] {
            assert!(parse_ring_size(wrong).is_err(), "accepted {wrong:?}");
        }
    }

    #[test]
    fn a_sysroot_and_a_perf_map_are_split_at_the_first_equals_sign() {
        let sysroot = |container: &str, dir: &str| Sysroot {
            container: container.into(),
            dir: dir.into(),
        };
        assert_eq!(parse_sysroot("web=/x=y"), Ok(sysroot("web", "/x=y")));
        assert_eq!(parse_perf_map("7=m.map"), Ok((7, "m.map".into())));
        for wrong in ["", "web", "=", "web=", "=/x"] {
            assert!(parse_sysroot(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "7", "7=", "=m", "0=m", "-7=m", "x=m"] {
            assert!(parse_perf_map(wrong).is_err(), "{wrong}");
        }
    }
}
