//! The version words that a cache's entries depend on: those of the host.

use crate::engine::{Stamp, Words};
use crate::host::versions;

/// The version words of this host, or of this process where they are not shared.
#[derive(Default)]
pub(super) struct HostWords;

impl Words for HostWords {
    #[inline]
    fn are_current(&self, stamps: &[Stamp]) -> bool {
        versions::current().are_current(stamps)
    }
}
