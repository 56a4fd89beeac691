//! What was being loaded when a pattern was invalidated: whatever the pattern takes is not to be stored.
//!
//! Where a load will be stored is known by its key's hash alone (`engine/stripes.rs`), which no pattern can be matched with.
//! So the last patterns are kept, each with the moments at which it was invalidated: by the table's clock of loads, and by
//! the epoch of fills. A load or fill that began before looks whether one of them takes its key.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use pyo3::prelude::*;

use super::backend_key::Name;
use super::matching;
use super::native_store::NativeStore;
use super::shared::Shared;
use crate::engine::{Head, Selector, Text, Within};

/// So many patterns are kept; what began before an older one is not stored. Each is matched once for each load meanwhile.
const KEPT: usize = 32;
/// One that takes more memory is not kept: nothing that began before it is stored.
const LARGEST_BYTES: usize = 256 << 10;

/// Of one cache.
#[derive(Default)]
pub(super) struct Renounced {
    /// Moves with each order that takes something out: what was read before is no fill any more, unless it was only patterns
    /// that do not take its key.
    epoch: AtomicU32,
    patterns: Mutex<Patterns>,
}

#[derive(Default)]
struct Patterns {
    last: VecDeque<Invalidated>,
    /// When the newest of those was invalidated that are not kept any more.
    forgotten: u64,
}

struct Invalidated {
    selector: Arc<Selector>,
    /// By the clock of loads.
    at: u64,
    /// The epoch that it began.
    epoch: u32,
}

impl Renounced {
    pub(super) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Every fill of before is void.
    pub(super) fn begin_epoch(&self) -> u32 {
        self.epoch.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }

    /// Has no pattern taken this key since a load's token was given? What else outdates a load its table knows.
    pub(super) fn has_spared_load(&self, token: u64, head: Head<'_>, key: Text<'_>) -> bool {
        let patterns = self.patterns.lock();
        let since = patterns.last.iter().rev().take_while(|one| one.at > token);
        patterns.forgotten <= token && !since.into_iter().any(|one| one.takes(head, key))
    }

    /// Has nothing but patterns been ordered since this epoch, none of which takes this key?
    pub(super) fn has_spared_fill(&self, epoch: u32, head: Head<'_>, key: Text<'_>) -> bool {
        let passed = self.epoch().wrapping_sub(epoch);
        if passed == 0 {
            return true;
        }
        let patterns = self.patterns.lock();
        let since = |one: &&Invalidated| one.epoch.wrapping_sub(epoch).wrapping_sub(1) < passed;
        let known = patterns.last.iter().filter(since);
        known.clone().count() == passed as usize
            && !known.into_iter().any(|one| one.takes(head, key))
    }
}

impl Invalidated {
    fn takes(&self, head: Head<'_>, key: Text<'_>) -> bool {
        // Of a key that was made as a whole nobody knows which part is prefix or version.
        let is_unsure = matches!(
            (head, self.selector.within()),
            (Head::Whole, Within::Parts { .. })
        );
        is_unsure || self.selector.takes(head, key)
    }
}

impl NativeStore {
    pub(super) fn has_spared_load(&self, name: &Name<'_, '_>, token: u64) -> bool {
        name.with_parts(|head, key| self.shared.renounced.has_spared_load(token, head, key))
    }

    pub(super) fn has_spared_fill(&self, name: &Name<'_, '_>, epoch: u32) -> bool {
        name.with_parts(|head, key| self.shared.renounced.has_spared_fill(epoch, head, key))
    }
}

impl Shared {
    /// Has no pattern taken this key of a cache since a load's token was given?
    pub(super) fn has_spared(&self, key: &Bound<'_, PyAny>, token: u64) -> bool {
        let is_store = self.is_store.load(Ordering::Relaxed);
        let spared = matching::with_key(key, is_store, |head, text| {
            self.renounced.has_spared_load(token, head, text)
        });
        spared.unwrap_or(true)
    }

    /// What a fill of the Django backend was read before this is stored no more.
    pub(super) fn renounce_fills(&self) {
        self.renounced.begin_epoch();
    }

    /// What a pattern takes is not stored where it was read, or began to be loaded, before this.
    pub(super) fn renounce_matching(&self, selector: &Arc<Selector>) {
        let epoch = self.renounced.begin_epoch();
        let mut table = self.cache.lock();
        let at = table.tick();
        let mut patterns = self.renounced.patterns.lock();
        if selector.bytes() > LARGEST_BYTES {
            patterns.last.clear();
            patterns.forgotten = at;
            return;
        }
        let selector = Arc::clone(selector);
        patterns.last.push_back(Invalidated {
            selector,
            at,
            epoch,
        });
        if patterns.last.len() > KEPT
            && let Some(oldest) = patterns.last.pop_front()
        {
            patterns.forgotten = oldest.at;
        }
    }
}
