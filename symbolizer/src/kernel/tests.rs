//! What kallsyms and registrations say of an address.

use super::*;

const KALLSYMS: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T startup_64
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t __pfx_do_one
ffffffff81000110 T do_one
ffffffff81000200 t local_alias
ffffffff81000200 W weak_alias
ffffffff81000200 T global_alias_2
ffffffff81000200 T global_alias_1
ffffffff81000200 T __cfi_all
ffffffff81000300 t last_before_gap
ffffffff81200000 T after_gap
ffffffff81300000 T last_of_text
ffffffff81300800 T _etext
ffffffff81400000 D some_data
ffffffff81500000 T _sinittext
ffffffff81500000 t do_init
ffffffffc0300000 t fn_b\t[mod_b]
ffffffffc0300010 t $x\t[mod_b]
ffffffffc0200000 t fn_a\t[mod_a]
ffffffffc0200800 T fn_a2\t[mod_a]
ffffffffc0200900 d data_a\t[mod_a]
ffffffffc0400000 t bpf_prog_6deef7357e7b4530\t[bpf]
";

/// All of its lines.
fn parse(text: &str) -> KernelSymbols {
    KernelSymbols {
        kallsyms: Kallsyms::of(text.into()),
        near: NearLines::default(),
    }
}

fn read(text: &str, wanted: &[u64]) -> Result<KernelSymbols, KernelSymbolsError> {
    KernelSymbols::read(&mut text.as_bytes(), wanted, None)
}

/// The starts of its lines and what is beside them, ascending.
fn addresses(text: &str) -> Vec<u64> {
    let starts = text.lines().filter_map(|line| {
        let digits = line.split(' ').next()?;
        u64::from_str_radix(digits, 16).ok()
    });
    let mut all: Vec<u64> = starts
        .flat_map(|at| [at.wrapping_sub(1), at, at + 1, at + 0x300, at + 0x1_0000])
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// `module/name` at an address.
fn at(symbols: &KernelSymbols, address: u64) -> Option<String> {
    let symbol = symbols.lookup(address)?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Some(match symbol.module {
        Some(module) => format!("{}/{}", text(module), text(symbol.name)),
        None => text(symbol.name),
    })
}

#[test]
fn an_address_is_named_by_the_symbol_before_it_but_not_over_gaps() {
    let symbols = parse(KALLSYMS);
    for (address, name) in [
        (0, None),
        (0xffff_ffff_80ff_ffff, None),
        (0xffff_ffff_8100_0000, Some("startup_64")),
        (0xffff_ffff_8100_0105, Some("__pfx_do_one")),
        (0xffff_ffff_8100_0110, Some("do_one")),
        (0xffff_ffff_8100_01ff, Some("do_one")),
        (0xffff_ffff_8100_02ff, Some("global_alias_1")),
        (0xffff_ffff_8101_02ff, Some("last_before_gap")),
        (0xffff_ffff_8101_0300, None),
        (0xffff_ffff_8130_07ff, Some("last_of_text")),
        (0xffff_ffff_8130_0800, None),
        (0xffff_ffff_8140_0000, None),
        (0xffff_ffff_8150_0000, Some("do_init")),
        (0xffff_ffff_8150_4000, None),
        (0xffff_ffff_c020_0000, Some("mod_a/fn_a")),
        (0xffff_ffff_c020_47ff, Some("mod_a/fn_a2")),
        (0xffff_ffff_c020_4800, None),
        (0xffff_ffff_c030_0010, Some("mod_b/fn_b")),
        (0xffff_ffff_c040_0000, Some("bpf/bpf_prog_6deef7357e7b4530")),
        (u64::MAX, None),
    ] {
        assert_eq!(at(&symbols, address).as_deref(), name, "at {address:#x}");
    }
}

#[test]
fn the_lines_that_are_kept_for_some_addresses_answer_them_as_all_lines_do() {
    let reversed: String = KALLSYMS.lines().rev().map(|it| format!("{it}\n")).collect();
    let unended = KALLSYMS.trim_end();
    for text in [KALLSYMS, &reversed, unended] {
        let whole = parse(text);
        let all = addresses(text);
        let mut wanted: Vec<Vec<u64>> = all.iter().map(|at| vec![*at]).collect();
        wanted.extend(all.windows(2).map(<[u64]>::to_vec));
        wanted.extend((2..9).map(|step| all.iter().copied().step_by(step).collect()));
        wanted.push(all);
        for wanted in wanted {
            let near = read(text, &wanted).expect("there are symbols");
            for address in wanted {
                assert_eq!(at(&near, address), at(&whole, address), "at {address:#x}");
            }
        }
    }
}

#[test]
fn lines_that_no_buffer_holds_at_once_are_read_as_others_are() {
    let lines =
        (0..9_000).map(|at| format!("{:016x} t f{at}\n", 0xffff_ffff_8100_0000_u64 + 16 * at));
    let text: String = lines.collect();
    let long = format!("{}{}\n{text}", &text[..1 << 12], "x".repeat(200_000));
    let wanted = [0xffff_ffff_8100_0000, 0xffff_ffff_8102_0008];
    for text in [text, long] {
        let symbols = read(&text, &wanted).expect("there are symbols");
        assert_eq!(at(&symbols, wanted[0]).as_deref(), Some("f0"));
        assert_eq!(at(&symbols, wanted[1]).as_deref(), Some("f8192"));
    }
}

/// Nobody may read it.
struct Closed;

impl Read for Closed {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("read on"))
    }
}

#[test]
fn nothing_is_read_behind_the_kernels_own_code_that_is_wanted() {
    let up_to = |symbol: &str| {
        let at = KALLSYMS.find(symbol).expect("it is there");
        &KALLSYMS.as_bytes()[..at + symbol.len()]
    };
    let read = |text: &'static [u8], wanted: &[u64]| {
        KernelSymbols::read(&mut text.chain(Closed), wanted, None).is_ok()
    };
    let (do_one, gap) = (0xffff_ffff_8100_0110, 0xffff_ffff_8100_0400);
    // It has to be seen where the next one ends: its other names follow.
    assert!(read(up_to("last_before_gap\n"), &[do_one]));
    assert!(!read(up_to("__cfi_all\n"), &[do_one]));
    assert!(read(up_to("last_of_text\n"), &[do_one, gap]));
    // In front of the kernel's text, or where modules are: who knows what comes.
    assert!(!read(KALLSYMS.as_bytes(), &[1, do_one]));
    assert!(!read(KALLSYMS.as_bytes(), &[do_one, 0xffff_ffff_c040_0000]));
    let error = KernelSymbols::read(&mut Closed, &[do_one], None).expect_err("closed");
    assert_eq!(error.to_string(), "cannot read kallsyms: read on");
}

#[test]
fn the_kernels_own_code_is_what_its_marks_enclose() {
    let is_own = |text: &str, addresses: &[u64]| {
        let symbols = read(text, addresses).expect("there are symbols");
        symbols.is_own_code(addresses)
    };
    let whole = format!("{KALLSYMS}ffffffff81500100 T _einittext\n");
    let text = [0xffff_ffff_8100_0000, 0xffff_ffff_8130_07ff];
    let init = [text[0], 0xffff_ffff_8150_0000];
    assert!(is_own(&whole, &text) && is_own(&whole, &init));
    // Behind the end of the text; before its begin; a module's; without the mark of its end.
    assert!(!is_own(&whole, &[text[0], 0xffff_ffff_8130_0800]));
    assert!(!is_own(&whole, &[text[0] - 1, text[0]]));
    assert!(!is_own(&whole, &[text[0], 0xffff_ffff_c020_0000]));
    assert!(!is_own(KALLSYMS, &init));
    let end = whole.find("ffffffff81300800").expect("it is there");
    assert!(!is_own(&whole[..end], &text[1..]));
    // What is not read on for lies in front of more of it.
    let begin = whole.find("ffffffff81200000").expect("it is there");
    assert!(is_own(&whole[..begin], &[0xffff_ffff_8100_0110]));
}

#[test]
fn the_choice_among_aliases_does_not_depend_on_their_order() {
    let forward = [
        "global_a T",
        "global_b T",
        "a_longer_global T",
        "weak W",
        "local t",
        "_stext T",
    ];
    for drop in 0..forward.len() {
        let mut names = forward[drop..].to_vec();
        let best = names[0].split(' ').next();
        for _ in 0..2 {
            let text: String = names
                .iter()
                .filter_map(|it| it.split_once(' '))
                .map(|(name, kind)| format!("ffffffff81000000 {kind} {name}\n"))
                .collect();
            assert_eq!(at(&parse(&text), 0xffff_ffff_8100_0000).as_deref(), best);
            names.reverse();
        }
    }
}

#[test]
fn addresses_of_zero_alone_mean_that_they_are_hidden() {
    let hidden = "0000000000000000 T _stext\n0000000000000000 t f\t[m]\n";
    let error = read(hidden, &[1]).expect_err("no addresses");
    assert_eq!(error, KernelSymbolsError::Restricted { symbols: 2 });
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("kptr_restrict"))
    );
    let error = read("nonsense\n", &[1]).expect_err("not kallsyms");
    assert_eq!(error.to_string(), "no kernel symbol in 9 bytes of kallsyms");
}

#[test]
fn bad_lines_are_skipped() {
    let text = "\nffffffff81000000\nffffffff81000000 T\nffffffff81000000 T \nxyz T f\n\
         11111111111111111 T too_long\nffffffff81000000 TT f\nffffffff81000010 T good";
    let wanted = [0xffff_ffff_8100_0000, 0xffff_ffff_8100_0010];
    let near = read(text, &wanted).expect("there is one");
    for symbols in [parse(text), near] {
        assert_eq!(at(&symbols, wanted[1]).as_deref(), Some("good"));
        assert_eq!(at(&symbols, wanted[0]), None);
    }
}

#[test]
fn every_truncation_names_what_is_whole_and_never_panics() {
    for len in 0..KALLSYMS.len() {
        match read(&KALLSYMS[..len], &[0xffff_ffff_8100_0110]) {
            Ok(symbols) => {
                let found = at(&symbols, 0xffff_ffff_8100_0110);
                // The name is whole from the end of its line on.
                if len > KALLSYMS.find("do_one\n").expect("it is there") + 40 {
                    assert!(found.is_some(), "{len} bytes");
                }
            }
            Err(error) => assert!(len < 80, "{error} at {len} bytes"),
        }
    }
}

#[test]
fn after_another_boot_the_kernels_own_text_is_moved_and_modules_are_left_out() {
    let booted = |by: u64, wanted: &[u64]| {
        KernelSymbols::read(&mut KALLSYMS.as_bytes(), wanted, Some(by)).expect("there are symbols")
    };
    let own = 0xffff_ffff_8100_0110;
    let modules = [0xffff_ffff_c020_0000, 0xffff_ffff_c040_0000];
    let mut wanted = vec![own];
    for address in [own, 0xffff_ffff_8130_0800].into_iter().chain(modules) {
        wanted.extend([address, address + 0x1000_0000]);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let symbols = booted(0x1000_0000, &wanted);
    for address in wanted {
        let name = (address == own + 0x1000_0000).then_some("do_one");
        assert_eq!(at(&symbols, address).as_deref(), name, "at {address:#x}");
    }
    let below = own - 0x10_0000;
    let down = booted(0x10_0000_u64.wrapping_neg(), &[below]);
    assert_eq!(at(&down, below).as_deref(), Some("do_one"));
}
