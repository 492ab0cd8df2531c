//! What HotSpot calls its code, as people do.

use crate::stack::{Frame, FrameKind};
use std::borrow::Cow;
use std::sync::Arc;

/// The interpreter's code, all methods' that are not compiled: `Interpreter` in HotSpot's map.
pub const INTERPRETER: &str = "[interpreter]";

/// The frame of an entry of a map. `outer->inner->innermost` is a method with others put into it, each
/// into the one before: perf-map-agent's `unfold` writes so.
pub(crate) fn java_frame(name: &str) -> Frame {
    let mut names = name
        .split("->")
        .map(|name| Arc::from(java_name(name).as_ref()));
    let outer = names.next().unwrap_or_default();
    Frame {
        inlined: names.collect(),
        ..Frame::new(Ok(outer), FrameKind::Jit)
    }
}

/// `long com.foo.Bar.baz(int)` is `com.foo.Bar.baz`: overloads are one, as in other profilers. Stubs
/// keep their names.
fn java_name(name: &str) -> Cow<'_, str> {
    if name == "Interpreter" {
        return INTERPRETER.into();
    }
    let method = name
        .strip_suffix(')')
        .and_then(|name| name.split_once('('))
        .map(|(before, _)| before.rsplit_once(' ').map_or(before, |(_, method)| method));
    match method {
        Some(method) if method.contains('.') => method.into(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_of_methods_is_one_frame_with_the_others_in_it() {
        let frame = java_frame("void A.outer(int)->A.inner->Lb/C;::leaf");
        assert_eq!(frame.name, Ok("A.outer".into()));
        assert_eq!(*frame.inlined, ["A.inner", "Lb/C;::leaf"].map(Arc::from));
        assert!(java_frame("Lb/C;::leaf").inlined.is_empty());
    }

    #[test]
    fn a_method_is_its_class_and_its_name_and_a_stub_is_what_it_is() {
        for (name, shown) in [
            ("long Burn.fib(int)", "Burn.fib"),
            (
                "void java.lang.System.arraycopy(java.lang.Object, int)",
                "java.lang.System.arraycopy",
            ),
            (
                "void A$$Lambda$14/0x0000000800c03000.run()",
                "A$$Lambda$14/0x0000000800c03000.run",
            ),
            ("void Foo.<init>(java.lang.String[])", "Foo.<init>"),
            ("Interpreter", "[interpreter]"),
            ("StubRoutines (1)", "StubRoutines (1)"),
            (
                "handle_exception Runtime1 stub",
                "handle_exception Runtime1 stub",
            ),
            ("vtable stub", "vtable stub"),
            ("", ""),
            (")(", ")("),
        ] {
            assert_eq!(java_name(name), shown);
        }
    }
}
