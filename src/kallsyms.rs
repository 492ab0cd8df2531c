//! The text of a kernel's symbols: read as far as is needed, and scanned.

use profiler::live;
use std::io::{self, Read};

/// The text of `/proc/kallsyms` or of a copy. To make all of it takes the kernel longer than us to read it.
pub(crate) struct KernelText {
    /// What was read of it.
    head: Vec<u8>,
    rest: Box<dyn Read + Send>,
}

impl KernelText {
    /// Of this host's kernel.
    pub(crate) fn running() -> io::Result<Self> {
        live::kallsyms().map(Self::of)
    }

    pub(crate) fn of(text: impl Read + Send + 'static) -> Self {
        Self {
            head: Vec::new(),
            rest: Box::new(text),
        }
    }

    /// The address of a symbol; 0 where addresses are hidden. What is asked for, `_text`, is among the first. Behind
    /// what cannot be read there is none.
    pub(crate) fn address_of(&mut self, symbol: &str) -> Option<u64> {
        let mut searched = 0;
        loop {
            let unsearched = self.head.get(searched..)?;
            let end = unsearched.iter().rposition(|byte| *byte == b'\n');
            let lines = unsearched.get(..end.map_or(0, |newline| newline + 1))?;
            let found = symbols(lines).find(|(_, name)| *name == symbol.as_bytes());
            if let Some((address, _)) = found {
                return Some(address);
            }
            searched += lines.len();
            let more = (&mut self.rest).take(64 << 10).read_to_end(&mut self.head);
            if !matches!(more, Ok(1..)) {
                // A last line may lack its end.
                let mut last = symbols(self.head.get(searched..)?);
                let found = last.find(|(_, name)| *name == symbol.as_bytes());
                return found.map(|(address, _)| address);
            }
        }
    }

    /// All of it.
    pub(crate) fn into_reader(self) -> impl Read + Send + 'static {
        io::Cursor::new(self.head).chain(self.rest)
    }
}

/// What a text of kernel symbols is.
pub(crate) struct Scanned {
    pub(crate) symbols: u64,
    pub(crate) at_zero: u64,
    /// The address of the symbol that was asked for.
    pub(crate) found: Option<u64>,
}

pub(crate) fn scan(kallsyms: &[u8], symbol: &str) -> Scanned {
    let mut scanned = Scanned {
        symbols: 0,
        at_zero: 0,
        found: None,
    };
    for (address, name) in symbols(kallsyms) {
        scanned.symbols += 1;
        scanned.at_zero += u64::from(address == 0);
        if name == symbol.as_bytes() {
            scanned.found.get_or_insert(address);
        }
    }
    scanned
}

/// Addresses and names, line by line.
fn symbols(kallsyms: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let lines = kallsyms.split(|byte| *byte == b'\n');
    lines.filter_map(|line| {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(address), Some([_]), Some(name)) = (words.next(), words.next(), words.next())
        else {
            return None;
        };
        let digits = std::str::from_utf8(address).ok()?;
        Some((u64::from_str_radix(digits, 16).ok()?, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"0000000000000000 A zero\nffffffff81000000 T _text\nnonsense\n\
        ffffffff81000000 T _text\nffffffff82000000 T last";

    /// Hands out one byte at a time, and fails when it is asked for more than it has.
    struct Slow(&'static [u8]);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match (self.0.split_first(), buffer.first_mut()) {
                (Some((byte, rest)), Some(to)) => {
                    (*to, self.0) = (*byte, rest);
                    Ok(1)
                }
                (None, _) => Err(io::ErrorKind::TimedOut.into()),
                (_, None) => Ok(0),
            }
        }
    }

    #[test]
    fn symbols_are_counted_and_the_one_that_is_asked_for_is_found() {
        let scanned = scan(TEXT, "_text");
        assert_eq!((scanned.symbols, scanned.at_zero), (4, 1));
        assert_eq!(scanned.found, Some(0xffff_ffff_8100_0000));
        assert_eq!(scan(TEXT, "_stext").found, None);
        assert_eq!(scan(b"", "_text").symbols, 0);
        let of = |symbol| KernelText::of(TEXT).address_of(symbol);
        assert_eq!(of("_text"), scanned.found);
        assert_eq!(of("last"), Some(0xffff_ffff_8200_0000));
        assert_eq!(of("_stext"), None);
    }

    #[test]
    fn what_was_read_to_find_a_symbol_is_still_there() {
        let mut text = KernelText::of(TEXT);
        for symbol in ["_text", "none", "zero"] {
            let _ = text.address_of(symbol);
        }
        let mut all = Vec::new();
        text.into_reader().read_to_end(&mut all).expect("memory");
        assert_eq!(all, TEXT);
    }

    #[test]
    fn what_cannot_be_read_has_no_symbol() {
        for len in 0..TEXT.len() {
            let mut text = KernelText::of(Slow(&TEXT[..len]));
            let found = text.address_of("_text");
            assert_eq!(found.is_some(), len >= 24 + 24, "{len} bytes");
        }
    }
}
