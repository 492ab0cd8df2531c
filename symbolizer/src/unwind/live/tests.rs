//! Samples that wait: of this very process, whose image's call frame information is read.

use super::*;
use crate::chain::USER_MARKER;
use crate::choice::Counting;
use crate::context::{Origin, Selected};
use crate::tally::Tally;
use profiler::live::EventSink;
use profiler::record::{self, Chain, Comm, Event, Fork, Stamp};
use profiler::{HostPid, HostTid};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// ax bx cx dx si di bp sp ip, r8 to r15.
const MASK: u64 = 0xff_01ff;
const STACK: u64 = 0x7ffd_0000_0000;

/// What was tapped.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Sample(Vec<u64>),
    Waits(u64),
    Came(u64, Vec<u64>),
    Other,
}

type Told = Rc<RefCell<Vec<Heard>>>;

/// Whether this machine's registers are those of [`sample_at`].
fn is_x86_64() -> bool {
    Machine::of_this_host() == Some(Machine::X86_64)
}

fn tally(how: LiveStacks) -> (Tally, Told) {
    let counting = Counting::of(Origin::LiveHost);
    let mut tally = Tally::new(counting, Box::new(|_| Selected::Yes));
    tally.read_live(how, 127).expect("a thread");
    // What is read of /proc is not of interest.
    tally.event(&comm(1));
    let own = sample_at(0, 0);
    own.with(|sample| tally.context_of(sample));
    let told = Told::default();
    let tapped = Rc::clone(&told);
    tally.tap(Box::new(move |told| {
        tapped.borrow_mut().push(match told {
            crate::Told::Event(Event::Sample(sample)) => {
                Heard::Sample(sample.chain.iter().collect())
            }
            crate::Told::Event(_) => Heard::Other,
            crate::Told::SampleWaits(sample) => Heard::Waits(sample.stamp.time_ns),
            crate::Told::SampleCame(sample) => {
                Heard::Came(sample.stamp.time_ns, sample.chain.iter().collect())
            }
        });
    }));
    (tally, told)
}

/// Of a thread that is none of ours.
fn comm(time_ns: u64) -> Event<'static> {
    Event::Comm(Comm {
        stamp: stamp(time_ns),
        pid: HostPid(1),
        tid: HostTid(1),
        name: b"other",
        is_exec: false,
    })
}

fn stamp(time_ns: u64) -> Stamp {
    let pid = std::process::id();
    Stamp {
        time_ns,
        pid: HostPid(pid),
        tid: HostTid(pid),
        cpu: 0,
    }
}

#[inline(never)]
fn leaf(seed: u64) -> u64 {
    std::hint::black_box(seed) + 1
}

#[inline(never)]
fn caller(seed: u64) -> u64 {
    leaf(std::hint::black_box(seed)) * 2
}

#[inline(never)]
fn root(seed: u64) -> u64 {
    caller(std::hint::black_box(seed)) * 3
}

/// At the first instruction of `leaf`, called by `caller`; by frame pointers only `root` called it.
struct Taken {
    time_ns: u64,
    words: Vec<[u8; 8]>,
    chain: Vec<[u8; 8]>,
    stack: Vec<u8>,
}

fn addrs() -> [u64; 3] {
    let functions: [fn(u64) -> u64; 3] = [leaf, caller, root];
    // Not their first byte: what was called before them would be meant.
    let [leaf, caller, root] = functions.map(|function| function as usize as u64);
    [leaf, caller + 1, root + 1]
}

fn sample_at(time_ns: u64, stack_bytes: usize) -> Taken {
    sample_in(addrs(), time_ns, stack_bytes)
}

fn sample_in([leaf, caller, root]: [u64; 3], time_ns: u64, stack_bytes: usize) -> Taken {
    let mut registers = [0; 17];
    registers[6..9].copy_from_slice(&[STACK + (1 << 20), STACK, leaf]);
    let bytes = |words: &[u64]| words.iter().map(|word| word.to_ne_bytes()).collect();
    let mut stack = caller.to_le_bytes().to_vec();
    stack.resize(stack_bytes.max(8), 0);
    Taken {
        time_ns,
        words: bytes(&registers),
        chain: bytes(&[USER_MARKER, leaf, root]),
        stack,
    }
}

impl Taken {
    fn with<T>(&self, apply: impl FnOnce(&Sample<'_>) -> T) -> T {
        apply(&Sample {
            stamp: stamp(self.time_ns),
            chain: Chain { words: &self.chain },
            user_registers: Some(record::Registers::new(2, MASK, &self.words)),
            user_stack: &self.stack,
            ..crate::unwind::tests::sample()
        })
    }

    fn tell(&self, tally: &mut Tally) {
        self.with(|sample| tally.event(&Event::Sample(*sample)));
    }
}

fn repaired() -> Vec<u64> {
    let [leaf, caller, root] = addrs();
    vec![USER_MARKER, leaf, caller, root]
}

/// Rounds until all that was told of was counted.
fn rounds_until(tally: &mut Tally, told: &Told, events: usize) {
    let begun = Instant::now();
    while told.borrow().len() < events {
        assert!(begun.elapsed() < Duration::from_secs(60), "{told:?}");
        tally.round_ended();
        std::thread::yield_now();
    }
}

#[test]
fn a_sample_waits_for_its_image_and_the_next_ones_do_not_wherever_they_are() {
    if !is_x86_64() {
        return;
    }
    let (mut tally, told) = tally(LiveStacks::Repair);
    sample_at(10, 0).tell(&mut tally);
    tally.event(&comm(20));
    // Whoever writes it down knows where it belongs.
    assert_eq!(*told.borrow(), [Heard::Waits(10), Heard::Other]);
    rounds_until(&mut tally, &told, 3);
    assert_eq!(told.borrow()[2], Heard::Came(10, repaired()));
    sample_at(30, 0).tell(&mut tally);
    assert_eq!(told.borrow()[3], Heard::Sample(repaired()));
    // Addresses that were never seen: at the first byte of another function, which is called elsewhere.
    let [leaf, caller, root] = addrs();
    let other = [caller - 1, root + 1, leaf + 1];
    sample_in(other, 40, 0).tell(&mut tally);
    let chain = [&[USER_MARKER], &other[..]].concat();
    assert_eq!(told.borrow()[4], Heard::Sample(chain));
    // What only the worker may work out it tells of, for the next time.
    if let Some(live) = &mut tally.live {
        live.read.images.clear();
    }
    let third = [root - 1, leaf + 1, caller];
    sample_in(third, 50, 0).tell(&mut tally);
    rounds_until(&mut tally, &told, 7);
    let chain = [&[USER_MARKER], &third[..]].concat();
    assert_eq!(
        told.borrow()[5..],
        [Heard::Waits(50), Heard::Came(50, chain.clone())]
    );
    sample_in(third, 60, 0).tell(&mut tally);
    assert_eq!(told.borrow()[7], Heard::Sample(chain));
    let counts = tally.counts();
    assert_eq!(
        (counts.samples, counts.drawn, counts.not_unwound),
        (5, 5, 0)
    );
}

#[test]
fn what_waits_is_bounded_and_what_finds_no_room_is_counted_as_it_was_recorded() {
    if !is_x86_64() {
        return;
    }
    let (mut tally, told) = tally(LiveStacks::Unwind);
    let bytes = 65528;
    let room = WAITING_BYTES_MAX / bytes;
    let samples = room + 100;
    for at in 0..samples {
        sample_at(at as u64, bytes).tell(&mut tally);
    }
    let heard = |what: fn(&Heard) -> bool| told.borrow().iter().filter(|it| what(it)).count();
    let as_recorded = heard(|it| matches!(it, Heard::Sample(chain) if chain.len() == 3));
    assert!((90..=110).contains(&as_recorded), "{as_recorded}");
    assert_eq!(tally.counts().not_unwound, as_recorded as u64);
    let counted = tally.close();
    let came = heard(|it| matches!(it, Heard::Came(_, chain) if chain.len() > 3));
    assert_eq!(came, samples - as_recorded);
    assert_eq!(heard(|it| matches!(it, Heard::Waits(_))), came);
    drop(counted);
}

#[test]
fn samples_of_images_that_are_forgotten_meanwhile_are_counted_as_they_were_recorded() {
    if !is_x86_64() {
        return;
    }
    let (mut tally, told) = tally(LiveStacks::Repair);
    sample_at(10, 0).tell(&mut tally);
    if let Some(live) = &mut tally.live {
        live.forget_images();
    }
    rounds_until(&mut tally, &told, 2);
    let [leaf, _, root] = addrs();
    assert_eq!(
        told.borrow()[1],
        Heard::Came(10, vec![USER_MARKER, leaf, root])
    );
    // And are repaired again.
    sample_at(20, 0).tell(&mut tally);
    rounds_until(&mut tally, &told, 4);
    assert_eq!(told.borrow()[3], Heard::Came(20, repaired()));
}

/// Its image could not be held, so nothing could be read of it; that says nothing of the next process's.
#[test]
fn a_process_that_is_gone_leaves_no_image_without_rules_to_the_next_one() {
    if !is_x86_64() {
        return;
    }
    let (mut tally, told) = tally(LiveStacks::Repair);
    // No pid is as high (/proc/sys/kernel/pid_max).
    let (own, gone) = (stamp(5), HostPid(1 << 30));
    tally.event(&Event::Fork(Fork {
        stamp: own,
        pid: gone,
        tid: HostTid(gone.0),
        parent_pid: own.pid,
        parent_tid: own.tid,
    }));
    let [leaf, _, root] = addrs();
    sample_at(10, 0).with(|sample| {
        let stamp = Stamp {
            pid: gone,
            tid: HostTid(gone.0),
            ..sample.stamp
        };
        tally.event(&Event::Sample(Sample { stamp, ..*sample }));
    });
    rounds_until(&mut tally, &told, 3);
    let as_recorded = vec![USER_MARKER, leaf, root];
    assert_eq!(told.borrow()[2], Heard::Came(10, as_recorded));
    sample_at(20, 0).tell(&mut tally);
    rounds_until(&mut tally, &told, 5);
    assert_eq!(told.borrow()[4], Heard::Came(20, repaired()));
}
