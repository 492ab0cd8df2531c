//! Traits, closures and generics. rustc -O -g -C force-frame-pointers=yes work.rs -o work-rust
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

trait Score {
    fn score(&self, word: &str) -> u64;
}

struct Letters<'a>(&'a BTreeMap<char, u64>);

impl Score for Letters<'_> {
    #[inline(never)]
    fn score(&self, word: &str) -> u64 {
        word.chars().filter_map(|c| self.0.get(&c)).sum()
    }
}

#[inline(never)]
fn count_words<'t>(text: &'t str, scorer: &dyn Score) -> HashMap<&'t str, u64> {
    let mut counts = HashMap::new();
    text.split_whitespace().for_each(|word| {
        *counts.entry(word).or_insert(0) += scorer.score(word);
    });
    counts
}

#[inline(never)]
fn best<T: Ord + Copy>(items: impl Iterator<Item = (T, u64)>) -> Option<(T, u64)> {
    let mut all: Vec<_> = items.collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    all.first().copied()
}

fn main() {
    let values: BTreeMap<char, u64> = ('a'..='z').zip(1..).collect();
    let text = (0..3000u32).map(|i| format!("word{} ", i % 700)).collect::<String>();
    let end = Instant::now() + Duration::from_secs(2);
    let mut last = None;
    while Instant::now() < end {
        last = best(count_words(&text, &Letters(&values)).into_iter());
    }
    println!("{last:?}");
}
