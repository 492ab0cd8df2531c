//! What is read for some addresses answers them as the whole table does.

use super::fixture::*;
use super::*;

/// A small generator: the same tables each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// `odd` tables have functions without size or with names that no function has.
    fn entry(&mut self, number: u64, odd: bool) -> Entry {
        let names = ["", ".L", "$x", "f", "longer_name", "g"];
        let name = names[self.below(6) as usize];
        let sizes = [0, 1, 8, 0x10, 0x40, 0x1000];
        Entry {
            // Mostly different ones: which is preferred must be the same.
            name: match self.below(40) {
                0 if odd => name.into(),
                1 => vec![b'n'; 400 + number as usize],
                _ if odd => format!("{name}_{number}").into_bytes(),
                _ => format!("f_{}", number % 50).into_bytes(),
            },
            binding: [LOCAL, GLOBAL, WEAK][self.below(3) as usize],
            kind: [FUNC, FUNC, FUNC, NOTYPE][self.below(4) as usize],
            section: IN_TEXT,
            start: TEXT.1 + self.below(TEXT.2 / 4) * 4,
            size: match odd {
                true => sizes[self.below(6) as usize],
                false => sizes[1 + self.below(5) as usize],
            },
        }
    }
}

fn lookups(image: &ElfImage, at: u64) -> Option<(Vec<u8>, u64)> {
    let symbol = image.lookup(at)?;
    Some((symbol.name.into_owned(), symbol.start))
}

#[test]
fn what_is_read_for_some_addresses_answers_them_as_the_whole_table_does() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut named, mut narrow) = (0, 0);
    for round in 0..20_000 {
        // From nearly none to many at each address; names short and, of one table, long.
        let odd = round % 2 == 0;
        let count = 1 + random.below(1 + round % 200);
        let mut symtab: Vec<_> = (0..count).map(|number| random.entry(number, odd)).collect();
        if round % 7 == 0 {
            // Names beyond what is read as a whole.
            symtab.insert(
                0,
                Entry {
                    name: vec![b'x'; 70_000],
                    ..func("", 0x1, 1)
                },
            );
        }
        let dynsym: Vec<_> = (0..random.below(4))
            .map(|number| random.entry(number, odd))
            .collect();
        let bytes = image(X86_64, &symtab, &dynsym);
        let limits = ElfLimits::default();
        let whole = ElfImage::read(&*bytes, &limits, Wanted::All).expect("sound");
        let wanted: Vec<u64> = (0..1 + random.below(12))
            .map(|_| TEXT.1 + random.below(TEXT.2))
            .collect();
        let offsets: Vec<u64> = wanted.iter().map(|at| at - TEXT.1 + TEXT.0).collect();
        for wanted_as in [Wanted::Addresses(&wanted), Wanted::Offsets(&offsets)] {
            let near = ElfImage::read(&*bytes, &limits, wanted_as).expect("sound");
            for at in &wanted {
                let found = lookups(&near, *at);
                assert_eq!(found, lookups(&whole, *at), "{at:x} of round {round}");
                named += usize::from(found.is_some());
            }
            assert_eq!(near.has_symtab(), whole.has_symtab());
            narrow += usize::from(near.symbol_count() < whole.symbol_count());
        }
    }
    assert!(named > 100_000 && narrow > 10_000, "{named}, {narrow}");
}

#[test]
fn functions_that_are_not_asked_for_are_not_kept_nor_their_names_read() {
    let functions: Vec<_> = (0..5000)
        .map(|number| {
            let name = format!("{:0200}", number);
            func(&name, 0x2400 + number % 0x100 * 2, 2)
        })
        .collect();
    let bytes = image(X86_64, &functions, &[]);
    let counted = Counted::new(&bytes);
    let wanted = Wanted::Addresses(&[0x2411]);
    let near = ElfImage::read(&counted, &ElfLimits::default(), wanted).expect("sound");
    let name = near.lookup(0x2411).map(|symbol| symbol.name.into_owned());
    assert_eq!(name, Some(format!("{:0200}", 8).into_bytes()));
    // All that start there.
    assert_eq!(near.symbol_count(), 1);
    let read_bytes = counted.read_bytes();
    assert!(
        read_bytes < 5000 * 24 + 20_000,
        "{read_bytes} of {}",
        bytes.len()
    );
}

#[test]
fn names_that_are_read_several_at_once_are_what_they_are_alone() {
    let functions: Vec<_> = (0..5000)
        .map(|number| {
            // One is longer than what is read at once.
            let len = if number == 8 { 5000 } else { 200 };
            let name = format!("{number:0len$}");
            func(&name, 0x2400 + number % 0x100 * 2, 2)
        })
        .collect();
    let bytes = image(X86_64, &functions, &[]);
    let wanted: Vec<u64> = (0x2400..0x2440).collect();
    let limits = ElfLimits::default();
    let near = ElfImage::read(&*bytes, &limits, Wanted::Addresses(&wanted)).expect("sound");
    let whole = ElfImage::read(&*bytes, &limits, Wanted::All).expect("sound");
    for at in wanted {
        let found = lookups(&near, at);
        assert!(found.is_some(), "{at:x}");
        assert_eq!(found, lookups(&whole, at), "{at:x}");
    }
}
