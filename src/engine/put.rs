//! How a value is stored: everything about it but key and value.

use super::clock::{FOREVER, Nanos};
use super::stamp::Stamp;
use super::tags::TagRef;

/// How a value is stored.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// When it expires.
    pub deadline: Nanos,
    /// Whether its TTL is its own: deadlines that do not come in order go to the timer wheel.
    pub own_ttl: bool,
    /// What it weighs, key included. Ignored without `max_bytes`; counted as 4 GiB when more.
    pub weight: u64,
    /// How long it took to load. Ignored without early refresh.
    pub cost: Nanos,
    /// The groups it can be invalidated with.
    pub tags: &'a [TagRef<'a>],
    /// The version words it depends on, as they were when it was loaded.
    pub stamps: &'a [Stamp],
    /// Whether it may take part in a reference cycle.
    pub traced: bool,
    /// A write, which loads in flight must not overwrite; false for the fill of such a load.
    pub write: bool,
}

impl Default for Put<'_> {
    /// A write that never expires.
    fn default() -> Self {
        Self {
            deadline: FOREVER,
            own_ttl: false,
            weight: 0,
            cost: 0,
            tags: &[],
            stamps: &[],
            traced: false,
            write: true,
        }
    }
}
