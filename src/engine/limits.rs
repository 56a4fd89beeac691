//! What a table may hold, and whether such a table can be.

use super::clock::Nanos;
use super::error::Error;
use super::eviction::PolicyKind;
use super::slab::MAX_ENTRIES;

/// What a table may hold and how it gives up entries.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The most entries. 0 stores nothing.
    pub max_size: usize,
    /// The most that entries may weigh together; `None` weighs nothing.
    pub max_bytes: Option<u64>,
    /// Who goes when room is needed.
    pub policy: PolicyKind,
    /// How long an expired entry is kept to be served when loading fails.
    pub grace: Nanos,
    /// `XFetch`'s beta: 0 is off, 1 is usual, more elects hits earlier.
    pub early_refresh: f64,
}

impl Limits {
    /// Exact LRU with neither a limit in bytes nor grace nor early refresh.
    #[must_use]
    pub const fn new(max_size: usize) -> Self {
        Self {
            max_size,
            max_bytes: None,
            policy: PolicyKind::Lru,
            grace: 0,
            early_refresh: 0.0,
        }
    }

    /// The same limits, if a table can have them.
    ///
    /// # Errors
    /// When `max_size` is more than slots can be numbered, or `early_refresh` is no finite number of at least 0.
    pub fn validated(self) -> Result<Self, Error> {
        if self.max_size > MAX_ENTRIES {
            return Err(Error::TooLarge {
                value: self.max_size,
                limit: MAX_ENTRIES,
            });
        }
        if !self.early_refresh.is_finite() || self.early_refresh < 0.0 {
            return Err(Error::BadEarlyRefresh {
                value: self.early_refresh,
            });
        }
        Ok(self)
    }
}
