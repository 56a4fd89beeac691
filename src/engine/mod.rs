//! The cache engine: pure Rust, no Python, no logging, no I/O. It reports; its caller logs and drops.

pub mod cache;
mod chain;
pub mod clock;
mod columns;
mod contents;
mod deadlines;
pub mod deletions;
mod displaced;
pub mod error;
pub mod eviction;
mod limits;
pub mod manager;
pub mod metrics;
pub mod orders;
pub mod pattern;
mod put;
mod refresh;
mod slab;
mod stamp;
pub mod stats;
mod stripes;
pub mod table;
mod tags;

pub use cache::{TtlCache, set_default_cleanup_interval};
pub use clock::{FOREVER, Nanos, Now, Source};
pub use deletions::DeletionTracker;
pub use error::Error;
pub use eviction::PolicyKind;
pub use manager::{Adopted, CacheManager, Change};
pub use metrics::{Metrics, key_pattern, process_stats};
pub use pattern::Pattern;
pub use slab::MAX_ENTRIES;
pub use stamp::{MAX_STAMPS, NoWords, Stamp, Words};
pub use stats::{Counters, GlobalStats, Latencies, Seconds, Stats};
pub use table::{Cause, Cleared, Displaced, Gone, Limits, Put, Read, Slot, Step, Table, TagRef};
