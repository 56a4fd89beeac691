//! What an entry remembers of the version words that it depends on, and who knows what they are now.

/// The value that a version word had when an entry's value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which word.
    pub word: u32,
    /// Its value then.
    pub value: u32,
}

/// The most stamps an entry may have: each slot of a table has room for as many as the entry that has most.
pub const MAX_STAMPS: usize = 32;

impl Stamp {
    /// Fills the places that an entry does not use. No word has this number: there are at most 2^24.
    pub(super) const NONE: Self = Self {
        word: u32::MAX,
        value: 0,
    };
}

/// Who knows the present values of version words. A table asks under its lock: answer at once.
pub trait Words {
    /// Whether all these words still have these values.
    fn are_current(&self, stamps: &[Stamp]) -> bool;
}

/// No version words: what an entry was stamped with never changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWords;

impl Words for NoWords {
    fn are_current(&self, _stamps: &[Stamp]) -> bool {
        true
    }
}
