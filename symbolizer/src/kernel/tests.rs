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

fn parse(text: &str) -> KernelSymbols {
    KernelSymbols::parse(text.into()).expect("there are symbols")
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
    assert_eq!(symbols.bad_lines(), 0);
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
    let error = KernelSymbols::parse(hidden.into()).expect_err("no addresses");
    assert_eq!(error, KernelSymbolsError::Restricted { symbols: 2 });
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("kptr_restrict"))
    );
    let error = KernelSymbols::parse(b"nonsense\n".into()).expect_err("not kallsyms");
    assert_eq!(error.to_string(), "no kernel symbol in 9 bytes of kallsyms");
}

#[test]
fn bad_lines_are_skipped_and_counted() {
    let symbols = parse(
        "\nffffffff81000000\nffffffff81000000 T\nffffffff81000000 T \nxyz T f\n\
         11111111111111111 T too_long\nffffffff81000000 TT f\nffffffff81000010 T good",
    );
    assert_eq!(symbols.bad_lines(), 6);
    assert_eq!(at(&symbols, 0xffff_ffff_8100_0010).as_deref(), Some("good"));
    assert_eq!(at(&symbols, 0xffff_ffff_8100_0000), None);
}

#[test]
fn every_truncation_names_what_is_whole_and_never_panics() {
    for len in 0..KALLSYMS.len() {
        match KernelSymbols::parse(KALLSYMS[..len].into()) {
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
    let symbols = parse(KALLSYMS).of_another_boot(0x1000_0000);
    let moved = |address: u64| at(&symbols, address + 0x1000_0000);
    assert_eq!(moved(0xffff_ffff_8100_0110).as_deref(), Some("do_one"));
    assert_eq!(moved(0xffff_ffff_8130_0800), None);
    assert_eq!(at(&symbols, 0xffff_ffff_8100_0110), None);
    for address in [0xffff_ffff_c020_0000, 0xffff_ffff_c040_0000] {
        assert_eq!(
            (at(&symbols, address), moved(address - 0x1000_0000)),
            (None, None)
        );
    }
    let down = parse(KALLSYMS).of_another_boot(0x10_0000_u64.wrapping_neg());
    let below = 0xffff_ffff_8100_0110 - 0x10_0000;
    assert_eq!(at(&down, below).as_deref(), Some("do_one"));
}
