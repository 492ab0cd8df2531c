//! Code that was registered during the recording, by address: disjoint, the latest wins.

use std::collections::BTreeMap;

use super::KernelSymbol;

/// Kernel names have 511 bytes at most (`KSYM_NAME_LEN`); a recording could claim 64 KiB.
const NAME_MAX_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Ksymbols {
    by_start: BTreeMap<u64, Ksymbol>,
}

#[derive(Clone, Debug)]
struct Ksymbol {
    /// One past its last address.
    end: u64,
    /// Where it was registered: its rest keeps this when a later one cuts off its head.
    registered_at: u64,
    name: Box<[u8]>,
}

impl Ksymbols {
    pub(super) fn lookup(&self, address: u64) -> Option<KernelSymbol<'_>> {
        let (_, found) = self.by_start.range(..=address).next_back()?;
        (address < found.end).then_some(KernelSymbol {
            name: &found.name,
            module: Some(b"bpf"),
            start: found.registered_at,
        })
    }

    /// Each insertion adds at most two entries, and removes what it hides: O(log n) amortised.
    pub(super) fn insert(&mut self, start: u64, len_bytes: u32, name: &[u8]) {
        let end = start.saturating_add(u64::from(len_bytes));
        if end == start || name.is_empty() {
            return;
        }
        if let Some((_, before)) = self.by_start.range_mut(..start).next_back()
            && before.end > start
        {
            let rest = before.clone();
            before.end = start;
            if rest.end > end {
                self.by_start.insert(end, rest);
            }
        }
        while let Some((&hidden, _)) = self.by_start.range(start..end).next() {
            if let Some(rest) = self.by_start.remove(&hidden)
                && rest.end > end
            {
                self.by_start.insert(end, rest);
            }
        }
        let name = name.get(..NAME_MAX_BYTES).unwrap_or(name);
        self.by_start.insert(
            start,
            Ksymbol {
                end,
                registered_at: start,
                name: name.into(),
            },
        );
    }
}
