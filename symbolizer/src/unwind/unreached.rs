//! Why stacks that were unwound did not reach their roots, counted.

use super::Ended;
use std::ops::AddAssign;

/// Stacks that were unwound and did not reach their roots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreached {
    /// They are deeper than what was copied of them, and may be shorter than what can be.
    pub deeper: u64,
    /// Their next caller lies further up than a copy can reach: above a frame as large as that, or on another
    /// stack.
    pub far: u64,
    /// No rule and no frame pointer led on.
    pub lost: u64,
    /// They have more frames than are followed.
    pub long: u64,
}

impl Unreached {
    pub(super) fn count(&mut self, ended: Ended) {
        match ended {
            Ended::Complete => {}
            Ended::Cut => self.deeper += 1,
            Ended::Far => self.far += 1,
            Ended::Lost => self.lost += 1,
            Ended::TooDeep => self.long += 1,
        }
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.deeper + self.far + self.lost + self.long
    }
}

impl AddAssign for Unreached {
    fn add_assign(&mut self, other: Self) {
        self.deeper += other.deeper;
        self.far += other.far;
        self.lost += other.lost;
        self.long += other.long;
    }
}
