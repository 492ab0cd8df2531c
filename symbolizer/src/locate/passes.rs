//! New stacks are located in passes over some of them, so that what they wait for in memory overlaps.

use super::PlaceId;
use super::blocks::{Block, Blocks};
use super::distinct::{Beginning, Candidate, Distinct, End, StackId};
use super::finder::{Finder, Looked};
use crate::chain::{CUT_MARKER, without_end};
use crate::hash::FastState;
use crate::stack::FrameId;
use crate::stacks::{Belongs, NewStack, NewStacks};
use crate::table::Table;

/// What stacks begin with at their roots, as they were sampled.
#[derive(Clone, Copy, Default)]
struct Prefix {
    beginning: Beginning,
    /// One that has it.
    stack: StackId,
}

/// Beginnings of stacks that are known: as many as fit into 12 MiB.
const PREFIXES_MAX: usize = Table::<Prefix>::room(1 << 19);

/// Stacks of one pass: what they are about to touch fits into a second-level cache.
const PASS: usize = 64;

/// A stack that is located.
struct Located<'a> {
    /// Its chain but for how it ends.
    entries: &'a [u64],
    belongs: Belongs,
    end: End,
    /// Its blocks among those of the pass, from the root on: the first that is not known, and one past the last.
    next: usize,
    blocks_end: usize,
    /// What comes before that one, and who has it.
    like: Option<StackId>,
    shared: Beginning,
}

/// A block, and what is known by it and all before it.
struct Keyed {
    block: Block,
    key: u64,
    /// It and all before it, once its places are known.
    beginning: Option<Beginning>,
}

/// What is found in no table that is near.
struct Far {
    looked: Looked,
    /// Where its place is wanted.
    at: usize,
}

/// What is known of beginnings, and room for the passes.
#[derive(Default)]
pub(super) struct Passes {
    hash: FastState,
    prefixes: Table<Prefix>,
    blocks: Vec<Keyed>,
    places: Vec<PlaceId>,
    far: Vec<Far>,
    /// Which of the stacks a look is about.
    turn: Vec<usize>,
    frames: Vec<FrameId>,
    /// With each where its frames end.
    candidates: Vec<(Candidate, usize)>,
}

impl Passes {
    /// Finds for each stack which one it is, and puts that behind `ids`.
    pub(super) fn locate(
        &mut self,
        new: &NewStacks,
        finder: &mut Finder,
        distinct: &mut Distinct,
        ids: &mut Vec<StackId>,
    ) {
        let mut all = new.iter().peekable();
        while all.peek().is_some() {
            let some = all.by_ref().take(PASS);
            let mut some: Vec<Located<'_>> = some
                .map(|(new, chain)| self.begin(&new, chain, distinct))
                .collect();
            self.find_prefixes(&mut some);
            self.find_places(&some, finder);
            self.find_stacks(&some, distinct, ids);
            if self.prefixes.len() >= PREFIXES_MAX {
                self.prefixes.clear();
            }
        }
    }

    fn begin<'a>(&mut self, new: &NewStack, chain: &'a [u64], distinct: &Distinct) -> Located<'a> {
        let (entries, end) = without_end(chain);
        let next = self.blocks.len();
        let mut trail = self.hash.trail(u64::from(new.context.0));
        let mut count = 0;
        for block in Blocks::of(entries) {
            let (kind, words) = block.identity(entries);
            trail = self.hash.on(trail, kind, &words);
            count += block.len();
            self.blocks.push(Keyed {
                block,
                key: self.hash.key_of(trail),
                beginning: None,
            });
        }
        Located {
            entries,
            belongs: new.belongs,
            end: match end {
                Some(CUT_MARKER) => End::Cut,
                Some(_) => End::Whole,
                None => End::After(count as u32),
            },
            next,
            blocks_end: self.blocks.len(),
            like: None,
            shared: distinct.root(new.belongs.counted_in),
        }
    }

    /// Finds for each how much of it, from the root on, is known.
    fn find_prefixes(&mut self, some: &mut [Located<'_>]) {
        let Self {
            prefixes,
            blocks,
            turn,
            ..
        } = self;
        turn.clear();
        turn.extend(0..some.len());
        // The last block is not asked for: it ends the stack.
        let mut last = 2;
        while !turn.is_empty() {
            let key_of = |one: &Located<'_>| {
                let at = one.blocks_end.checked_sub(last)?;
                let keyed = blocks.get(at).filter(|_| at >= one.next)?;
                Some((at, keyed.key))
            };
            let keys = turn.iter().filter_map(|at| key_of(some.get(*at)?));
            prefixes.fetch(keys.map(|(_, key)| key));
            turn.retain(|at| {
                let Some(one) = some.get_mut(*at) else {
                    return false;
                };
                let Some((at, key)) = key_of(one) else {
                    return false;
                };
                let Some(Prefix { beginning, stack }) = prefixes.get(key) else {
                    return true;
                };
                (one.next, one.like, one.shared) = (at + 1, Some(*stack), *beginning);
                false
            });
            last += 1;
        }
    }

    /// Finds the places of the rest.
    fn find_places(&mut self, some: &[Located<'_>], finder: &mut Finder) {
        let Self {
            blocks,
            places,
            far,
            ..
        } = self;
        for one in some {
            let sampled = one.belongs.sampled;
            for Keyed { block, .. } in blocks.get(one.next..one.blocks_end).unwrap_or_default() {
                for addr in block.addrs(one.entries) {
                    let found = finder.near((block.part, addr), sampled);
                    let place = found.unwrap_or_else(|| {
                        let at = places.len();
                        let looked = finder.look((block.part, addr), sampled);
                        far.push(Far { looked, at });
                        PlaceId::default()
                    });
                    places.push(place);
                }
            }
        }
        finder.fetch(far.iter().map(|far| &far.looked));
        for Far { looked, at } in far.drain(..) {
            if let Some(place) = places.get_mut(at) {
                *place = finder.intern(&looked);
            }
        }
    }

    /// Finds for each which stack it is.
    fn find_stacks(
        &mut self,
        some: &[Located<'_>],
        distinct: &mut Distinct,
        ids: &mut Vec<StackId>,
    ) {
        let Self {
            prefixes,
            blocks,
            places,
            frames,
            candidates,
            ..
        } = self;
        let mut rest = places.iter();
        for one in some {
            let mut on = distinct.go_on(one.shared, frames);
            for keyed in blocks.get_mut(one.next..one.blocks_end).unwrap_or_default() {
                for place in rest.by_ref().take(keyed.block.len()) {
                    on.push(*place);
                }
                keyed.beginning = Some(on.so_far());
            }
            let candidate = distinct.candidate(on.so_far(), one.end);
            candidates.push((candidate, frames.len()));
        }
        distinct.fetch(candidates.iter().map(|(candidate, _)| *candidate));
        let mut begin = 0;
        for (one, (candidate, end)) in some.iter().zip(&*candidates) {
            let own = frames.get(begin..*end).unwrap_or_default();
            begin = *end;
            let context = one.belongs.counted_in;
            let stack = distinct.intern(*candidate, context, (one.like, one.shared), own);
            ids.push(stack);
            // The last block is of this one alone.
            let inner = one.next..one.blocks_end.saturating_sub(1);
            for keyed in blocks.get(inner).unwrap_or_default() {
                if let Some(beginning) = keyed.beginning {
                    prefixes.insert(keyed.key, Prefix { beginning, stack });
                }
            }
        }
        blocks.clear();
        places.clear();
        frames.clear();
        candidates.clear();
    }
}
