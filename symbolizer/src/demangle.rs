//! Mangled names become readable ones, within bounds.
//!
//! Rust (both manglings, without hash) is tried before C++, because legacy Rust names are valid
//! Itanium ones too. C++ names come with parameters, which tell overloads apart, and without
//! return type. Anything else (C, Go, Swift, D, OCaml) passes as it is.

use std::borrow::Cow;
use std::fmt::{self, Write};

use cpp_demangle::{BorrowedSymbol, DemangleOptions, ParseOptions};

/// Longest result. Readers of a picture see a fraction of it.
pub(crate) const NAME_MAX_BYTES: usize = 4 << 10;
/// Longer mangled names stay mangled: bounds what a parser may do before it writes.
const MANGLED_MAX_BYTES: usize = 4 << 10;
/// Depth of the C++ grammar, as cpp_demangle counts it. On a damaged name its parser tries each open
/// template twice, about every sixth level: at its default of 96 the slowest of 6 million mutated
/// names took 370 ms, at 64 it is 7 ms. That costs 0.2 % of libLLVM's names (470 of 119 099 are
/// refused instead of 241) and none of libjvm's.
const CPP_DEPTH_MAX: u32 = 64;
/// Writes for one name, empty ones included: 266 bytes can stand for a tree of 2^60 nodes.
const WRITES_MAX: usize = 1 << 14;

/// The readable form of a symbol's name, as it goes into a frame. Lossy where it is not UTF-8, at
/// most [`NAME_MAX_BYTES`] long with `…` where it was cut. A name whose readable form is longer,
/// or would take unbounded time, stays mangled.
///
/// A symbol version (`memcpy@@GLIBC_2.14`) is left out; `@plt` is kept. Compilers' suffixes
/// stay as in ` [clone .cold]`, except LLVM's `.llvm.1234`, which differs with every build.
pub(crate) fn demangle(symbol: &[u8]) -> Cow<'_, str> {
    let (base, plt) = match symbol.strip_suffix(b"@plt") {
        Some(base) if !base.is_empty() => (base, "@plt"),
        _ => (without_version(symbol), ""),
    };
    if base.len() <= MANGLED_MAX_BYTES
        && let Ok(base) = std::str::from_utf8(base)
        && let Some(mut name) = rust_name(base).or_else(|| cpp_name(base))
    {
        name.push_str(plt);
        return Cow::Owned(name);
    }
    // Not mangled, or not to be demangled.
    let whole = if plt.is_empty() { base } else { symbol };
    match whole.get(..NAME_MAX_BYTES) {
        Some(kept) if whole.len() > NAME_MAX_BYTES => {
            let mut name = String::from_utf8_lossy(kept).into_owned();
            name.push('…');
            Cow::Owned(name)
        }
        _ => String::from_utf8_lossy(whole),
    }
}

/// `name@@VERSION` is how nm and old linkers show a default version, `name@VERSION` another. A
/// single `@` also occurs in names, so there a version has to look like one: `GLIBC_2.2.5`.
fn without_version(symbol: &[u8]) -> &[u8] {
    let Some(at) = symbol.iter().position(|byte| *byte == b'@') else {
        return symbol;
    };
    let (name, rest) = symbol.split_at(at);
    let is_version = match rest {
        [b'@', b'@', _, ..] => true,
        [b'@', version @ ..] => {
            let is_mangled = name.starts_with(b"_Z") || name.starts_with(b"_R");
            version.first().is_some_and(u8::is_ascii_uppercase)
                && (is_mangled || version.contains(&b'_'))
                && version
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
        }
        _ => false,
    };
    if is_version && !name.is_empty() {
        name
    } else {
        symbol
    }
}

fn rust_name(mangled: &str) -> Option<String> {
    let name = rustc_demangle::try_demangle(mangled).ok()?;
    let mut out = Bounded::new();
    write!(out, "{name:#}").ok()?;
    Some(out.name)
}

fn cpp_name(mangled: &str) -> Option<String> {
    if !mangled.starts_with("_Z") {
        return None;
    }
    let mangled = without_llvm_suffix(mangled);
    let limits = ParseOptions::default().recursion_limit(CPP_DEPTH_MAX);
    let symbol = BorrowedSymbol::new_with_options(mangled.as_bytes(), &limits).ok()?;
    let options = DemangleOptions::new().no_return_type().recursion_limit(128);
    let mut out = Bounded::new();
    symbol.structured_demangle(&mut out, &options).ok()?;
    Some(out.name)
}

/// ThinLTO appends `.llvm.` and a module hash to local names it has to export.
fn without_llvm_suffix(mangled: &str) -> &str {
    match mangled.rsplit_once(".llvm.") {
        Some((name, hash)) if hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => mangled,
    }
}

/// Takes [`NAME_MAX_BYTES`] and fails on the next: that ends the demangler's walk.
struct Bounded {
    name: String,
    writes: usize,
}

impl Bounded {
    fn new() -> Self {
        Self {
            name: String::new(),
            writes: 0,
        }
    }
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.writes += 1;
        if self.name.len() + part.len() > NAME_MAX_BYTES || self.writes > WRITES_MAX {
            return Err(fmt::Error);
        }
        self.name.push_str(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn assert_all(pairs: &[(&str, &str)]) {
        for (symbol, name) in pairs {
            assert_eq!(demangle(symbol.as_bytes()), *name, "{symbol}");
        }
    }

    #[test]
    fn rust_names_lose_their_hash_and_come_before_cpp() {
        assert_all(&[
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            (
                "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE",
                "<Test + 'static as foo::Bar<Test>>::bar",
            ),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar"),
            (
                "_ZN4core3fmt5write17h0123456789abcdefE.llvm.9876543210ABCDEF",
                "core::fmt::write",
            ),
        ]);
    }

    #[test]
    fn cpp_names_keep_parameters_and_lose_the_return_type() {
        assert_all(&[
            ("_Z3fooi", "foo(int)"),
            ("_Z3foov", "foo()"),
            ("_ZN1n4spinIlEET_S1_i", "n::spin<long>(long, int)"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backEOi",
                "std::vector<int, std::allocator<int> >::push_back(int&&)",
            ),
            ("_ZTV3Foo", "{vtable(Foo)}"),
        ]);
    }

    #[test]
    fn compilers_suffixes_stay_except_the_hash_of_llvm() {
        assert_all(&[
            ("_Z3fooi.cold", "foo(int) [clone .cold]"),
            ("_Z3fooi.part.0", "foo(int) [clone .part.0]"),
            (
                "_Z3fooi.constprop.1.isra.2",
                "foo(int) [clone .constprop.1] [clone .isra.2]",
            ),
            ("_Z3fooi.llvm.1234567890", "foo(int)"),
            ("main.cold", "main.cold"),
        ]);
    }

    #[test]
    fn versions_are_left_out_and_plt_is_kept() {
        assert_all(&[
            ("memcpy@@GLIBC_2.14", "memcpy"),
            ("memcpy@GLIBC_2.2.5", "memcpy"),
            ("virDomainGet@@libvirt", "virDomainGet"),
            (
                "_ZNSs4swapERSs@@GLIBCXX_3.4",
                "std::string::swap(std::string&)",
            ),
            ("_Z3foov@plt", "foo()@plt"),
            ("malloc@plt", "malloc@plt"),
            ("_foo@12", "_foo@12"),
            ("@plt", "@plt"),
            ("@@V1", "@@V1"),
        ]);
    }

    #[test]
    fn names_that_are_not_mangled_pass_unchanged() {
        for name in [
            "",
            "main",
            "_Z",
            "_R",
            "_ZZZZ",
            "runtime.gcBgMarkWorker.func2",
            "github.com/a/b.(*T).M",
            "$s4main3fooyyF",
            "_D3foo3barFZv",
            "caml_alloc_string",
            "java.lang.Object foo(int)",
            "größe",
        ] {
            assert!(matches!(demangle(name.as_bytes()), Cow::Borrowed(same) if same == name));
        }
        assert_eq!(demangle(b"bad\xff"), "bad\u{fffd}");
    }

    /// The machine may be busy: one undisturbed run is enough.
    fn fastest_of_three(name: &str) -> Duration {
        let run = || {
            let start = Instant::now();
            std::hint::black_box(demangle(name.as_bytes()));
            start.elapsed()
        };
        run().min(run()).min(run())
    }

    /// `f(A<A,A>, A<A<A,A>,A<A,A>>, …)`: each parameter is twice as long as the one before.
    fn exponential() -> String {
        let mut name = "_Z1f1AIS_S_E".to_owned();
        let digit = |number: u32| char::from_digit(number, 36).map(|it| it.to_ascii_uppercase());
        for number in 0..29 {
            let seq = digit(number).expect("a base 36 digit");
            name.push_str(&format!("S_IS{seq}_S{seq}_E"));
        }
        name
    }

    #[test]
    fn a_name_that_stands_for_2_to_the_30_stays_mangled_and_takes_no_time() {
        let name = exponential();
        assert!(name.len() < 350, "a short name: {} bytes", name.len());
        assert_eq!(demangle(name.as_bytes()), name);
        assert!(fastest_of_three(&name) < Duration::from_millis(50));
        // Its first parameters alone are readable: the name is a sound one.
        assert_eq!(
            demangle(&name.as_bytes()[..22]),
            "f(A<A, A>, A<A<A, A>, A<A, A> >)"
        );
    }

    #[test]
    fn deep_nesting_stays_mangled() {
        for part in ["P", "N", "I", "S_I", "1AI", "X", "L_Z", "Dp", "FvF", "_Z"] {
            let name = format!("_Z1f{}", part.repeat(4000 / part.len()));
            assert_eq!(demangle(name.as_bytes()), name);
            assert!(
                fastest_of_three(&name) < Duration::from_millis(50),
                "{part}"
            );
        }
    }

    /// The parser takes each of these twice: the bound is on its depth.
    #[test]
    fn templates_that_never_close_stay_mangled_and_take_no_time() {
        for (start, part) in [
            ("_Z1f", "SaI"),
            ("_Z1fI", "S_I"),
            ("_Z1fI", "St1aIw"),
            ("_ZSt7getlineIw", "SaIw1aIwE"),
        ] {
            for depth in 1..40 {
                let name = format!("{start}{}", part.repeat(depth));
                assert_eq!(demangle(name.as_bytes()), name);
                assert!(
                    fastest_of_three(&name) < Duration::from_millis(50),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_long_name_is_cut_with_a_mark() {
        let long = "x".repeat(1 << 20);
        let name = demangle(long.as_bytes());
        assert_eq!(name.len(), NAME_MAX_BYTES + "…".len());
        assert!(name.ends_with("x…"));
        let longest = "x".repeat(NAME_MAX_BYTES);
        assert_eq!(demangle(longest.as_bytes()), longest);
    }

    #[test]
    fn no_truncation_or_mutation_panics_or_takes_long() {
        let names = [
            exponential(),
            "_ZNSt8_Rb_treeIiSt4pairIKiN1n1TIJdPFvRKSsEEEEESt10_Select1stIS7_ESt4lessIiESaIS7_EE24_M_get_insert_unique_posERS1_".to_owned(),
            "_RINvNtC3std3mem8align_ofdE".to_owned(),
            "_RNCINkXs25_NgCsbmNqQUJIY6D_4core5sliceINyB9_4IterhENuNgNoBb_4iter8iterator8Iterator9rpositionNCNgNpB9_6memchr7memrchrs_0E0Bb_".to_owned(),
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut slowest = Duration::ZERO;
        for name in &names {
            for len in 0..name.len() {
                demangle(&name.as_bytes()[..len]);
            }
            for _ in 0..5_000 {
                let mut bytes = name.clone().into_bytes();
                for _ in 0..3 {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    let at = state as usize % bytes.len();
                    let alphabet = b"SITEKPRNXLJDpFv0123456789_ABEaghst.@";
                    bytes[at] = alphabet[(state >> 32) as usize % alphabet.len()];
                }
                let start = Instant::now();
                let shown = demangle(&bytes);
                slowest = slowest.max(start.elapsed());
                assert!(shown.len() <= NAME_MAX_BYTES + 8);
            }
        }
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    }
}
