//! A set of CPUs, as the kernel writes one: `0-3,8`.

use std::fmt;

/// `CONFIG_NR_CPUS` is at most 8192; what is beyond this is no list of CPUs.
const CPU_MAX: u32 = 1 << 16;

/// Some CPUs of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CpuSet {
    /// Ascending, each once.
    cpus: Vec<u32>,
}

impl CpuSet {
    /// Reads a cpulist (`bitmap_print_to_pagebuf()`); an empty one is the empty set. `None` when it is
    /// no list.
    pub fn parse(list: &str) -> Option<Self> {
        let mut cpus = Vec::new();
        for part in list.trim().split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            if last >= CPU_MAX {
                return None;
            }
            cpus.extend(first..=last);
        }
        Some(cpus.into_iter().collect())
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.cpus.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cpus.is_empty()
    }

    /// Whether `cpu` is one of them.
    pub fn contains(&self, cpu: u32) -> bool {
        self.cpus.binary_search(&cpu).is_ok()
    }

    /// Ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.cpus.iter().copied()
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(&self, other: &CpuSet) -> CpuSet {
        self.iter().filter(|cpu| other.contains(*cpu)).collect()
    }

    /// Those that are in either.
    #[must_use]
    pub fn or(&self, other: &CpuSet) -> CpuSet {
        self.iter().chain(other.iter()).collect()
    }

    /// Whether some CPU is in both.
    pub fn meets(&self, other: &CpuSet) -> bool {
        self.iter().any(|cpu| other.contains(cpu))
    }
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut cpus: Vec<u32> = cpus.into_iter().collect();
        cpus.sort_unstable();
        cpus.dedup();
        Self { cpus }
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.cpus.as_slice();
        let mut comma = "";
        while let Some(&first) = rest.first() {
            let run = rest
                .iter()
                .zip(first..)
                .take_while(|(cpu, expected)| *cpu == expected)
                .count();
            let last = rest.get(run - 1).copied().unwrap_or(first);
            match run {
                1 => write!(f, "{comma}{first}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            comma = ",";
            rest = rest.get(run..).unwrap_or(&[]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(list: &str) -> CpuSet {
        CpuSet::parse(list).expect("a list")
    }

    #[test]
    fn a_list_is_read_and_written_as_the_kernel_does() {
        for list in ["0-3,8,10-11", "5", ""] {
            assert_eq!(set(list).to_string(), list);
        }
        assert_eq!(set("3,1-2,2\n").to_string(), "1-3");
        assert_eq!(set("0-3,8").len(), 5);
        for broken in ["x", "1-", "-1", "0-4294967295"] {
            assert_eq!(CpuSet::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn sets_meet_join_and_overlap() {
        let (a, b) = (set("0-3"), set("2-5"));
        assert_eq!(a.and(&b), set("2-3"));
        assert_eq!(a.or(&b), set("0-5"));
        assert!(a.meets(&b) && !a.meets(&set("7")));
        assert!(a.contains(3) && !a.contains(4));
    }
}
