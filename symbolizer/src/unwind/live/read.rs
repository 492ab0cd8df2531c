//! What the worker has read of images, for whom no file may keep waiting: rules are worked out from it at once.

use crate::hash::FastMap;
use crate::image::ImageId;
use crate::unwind::cfi::Cfi;
use crate::unwind::{CfiSource, VDSO};
use std::sync::Arc;

/// Rules that are worked out between two looks at the rings, each in a microsecond; of a hostile image, whose
/// entries are as large as are taken here, in twenty. Whatever needs more goes to the worker.
const RULES_MAX: u32 = 2048;

/// Call frame information that was read, or proved to be missing.
#[derive(Default)]
pub(super) struct ReadCfi {
    pub(super) images: FastMap<ImageId, Option<Arc<Cfi>>>,
    /// Rules that may still be worked out in this round.
    left: u32,
}

impl ReadCfi {
    pub(super) fn begin_round(&mut self) {
        self.left = RULES_MAX;
    }
}

impl CfiSource for ReadCfi {
    fn image(&mut self, id: ImageId) -> Option<Arc<Cfi>> {
        self.images.get(&id)?.clone()
    }

    fn vdso(&mut self) -> Option<Arc<Cfi>> {
        self.image(VDSO)
    }

    fn may_tell(&mut self, image: ImageId, offset: u64) -> bool {
        let (Some(read), Some(left)) = (self.images.get(&image), self.left.checked_sub(1)) else {
            return false;
        };
        self.left = left;
        read.as_ref().is_none_or(|cfi| cfi.is_quick(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::tests::{Function, PC, RSP, cfa, saved, x86};

    #[test]
    fn what_was_not_read_or_takes_long_is_not_told_and_no_round_lasts_long() {
        let rules = [cfa(RSP, 8), saved(PC, 1)].concat();
        // With a thousand DW_CFA_nop.
        let long = [&rules[..], &[0; 1024]].concat();
        let function = |start, rules| Function {
            start,
            len: 0x100,
            rules,
        };
        let mut source = x86(&[function(0, &rules[..]), function(0x100, &long[..])]);
        let (quick, slow, outside) = (0x1010, 0x1110, 0x800);
        let mut read = ReadCfi::default();
        read.images.insert(ImageId(1), source.image(ImageId(1)));
        read.images.insert(ImageId(2), None);
        assert!(!read.may_tell(ImageId(1), quick));
        read.begin_round();
        assert!(read.may_tell(ImageId(1), quick));
        assert!(read.may_tell(ImageId(1), outside));
        assert!(!read.may_tell(ImageId(1), slow));
        // It was read, and tells nothing.
        assert!(read.may_tell(ImageId(2), slow));
        assert!(!read.may_tell(ImageId(3), quick));
        let told = (0..2 * RULES_MAX).filter(|_| read.may_tell(ImageId(1), quick));
        assert_eq!(told.count(), RULES_MAX as usize - 4);
    }
}
