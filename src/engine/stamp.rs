//! What an entry remembers of the version words that it depends on.

/// The value that a version word had when an entry's value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which word.
    pub word: u32,
    /// Its value then.
    pub value: u32,
}

impl Stamp {
    /// Fills the places that an entry does not use. No word has this number: there are at most 2^24.
    pub(super) const NONE: Self = Self {
        word: u32::MAX,
        value: 0,
    };
}
