//! Was this key written or invalidated while its value was being loaded? Counters shared by groups of keys say so.
//!
//! A wrong "yes" costs one fill that is not stored; a wrong "no" takes 2^32 writes during one load.

use super::slab::mix;

/// Few enough for one cache line each sixteen, many enough that concurrent writes rarely meet.
const STRIPES: usize = 64;

#[derive(Debug)]
pub(super) struct Stripes {
    keys: [u32; STRIPES],
    clears: u32,
    tags: u32,
}

impl Stripes {
    pub(super) const fn new() -> Self {
        Self {
            keys: [0; STRIPES],
            clears: 0,
            tags: 0,
        }
    }

    /// What a load remembers when it starts.
    pub(super) fn token(&self, hash: u64) -> u64 {
        // Both epochs only ever rise, so their sum stands still only if both do.
        let epoch = self.clears.wrapping_add(self.tags);
        u64::from(self.keys[stripe(hash)]) << 32 | u64::from(epoch)
    }

    pub(super) fn bump_key(&mut self, hash: u64) {
        let count = &mut self.keys[stripe(hash)];
        *count = count.wrapping_add(1);
    }

    pub(super) fn bump_clears(&mut self) {
        self.clears = self.clears.wrapping_add(1);
    }

    pub(super) fn bump_tags(&mut self) {
        self.tags = self.tags.wrapping_add(1);
    }
}

#[inline]
fn stripe(hash: u64) -> usize {
    (mix(hash) >> 32) as usize % STRIPES
}
