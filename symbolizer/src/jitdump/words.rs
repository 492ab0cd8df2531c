//! A stack's words with its generated functions in them: in the place of an address, what was there at the
//! time of the sample.

use super::code::CodeName;
use crate::chain::{Part, is_marker, part_behind};

/// No address of a process begins so: those of user space end at 2^56, those of the kernel begin with ones
/// (Documentation/arch/x86/x86_64/mm.rst, Documentation/arch/arm64/memory.rst).
const TAG: u64 = 0x4a49 << 48;
const TAG_MASK: u64 = 0xffff << 48;

/// The word of a function. It is odd: one byte back, as a return address is looked up, it still is it.
fn word_of(name: CodeName) -> u64 {
    TAG | u64::from(name.0) << 1 | 1
}

/// The function that a word, or the one before it, stands for. Only in stacks that [`rewrite`] made: a
/// program can put any word on its stack.
pub(crate) fn name_in(word: u64) -> Option<CodeName> {
    let number = (word & !TAG_MASK) >> 1;
    (word & TAG_MASK == TAG)
        .then(|| u32::try_from(number).ok().map(CodeName))
        .flatten()
}

/// Writes the words of a stack to `made`, those that lead into generated functions as these. `find` tells
/// the function at an address; a return address is asked for one byte back.
pub(crate) fn rewrite(
    words: &[u64],
    mut find: impl FnMut(u64) -> Option<CodeName>,
    made: &mut Vec<u64>,
) {
    made.clear();
    let mut part = part_behind(&[]);
    let mut is_return_address = false;
    for word in words {
        if is_marker(*word) {
            part = part_behind(&[*word]);
            is_return_address = false;
            made.push(*word);
            continue;
        }
        let addr = word.saturating_sub(u64::from(is_return_address));
        is_return_address = true;
        made.push(match part {
            Part::User => match find(addr) {
                Some(name) => word_of(name),
                // Nothing is mapped at 0, neither here nor one byte back.
                None if word & TAG_MASK == TAG => 0,
                None => *word,
            },
            Part::Kernel | Part::Other => *word,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{CUT_MARKER, KERNEL_MARKER, USER_MARKER, entries};

    #[test]
    fn generated_functions_are_told_apart_and_a_forged_word_is_none() {
        let find = |addr| match addr {
            0x1000..0x2000 => Some(CodeName(0)),
            0x2000..0x3000 => Some(CodeName(u32::MAX)),
            _ => None,
        };
        let forged = word_of(CodeName(0));
        let words = [
            KERNEL_MARKER,
            0x1000,
            USER_MARKER,
            0x2000,
            0x2000,
            0x7000,
            forged,
            CUT_MARKER,
        ];
        let mut made = Vec::new();
        rewrite(&words, find, &mut made);
        let read: Vec<_> = entries(made.iter().copied())
            .map(|(part, word)| (part, name_in(word).ok_or(word)))
            .collect();
        assert_eq!(
            read,
            [
                (Part::Kernel, Err(0x1000)),
                (Part::User, Ok(CodeName(u32::MAX))),
                (Part::User, Ok(CodeName(0))),
                (Part::User, Err(0x6fff)),
                (Part::User, Err(0)),
            ]
        );
        assert_eq!(made.last(), Some(&CUT_MARKER));
    }
}
