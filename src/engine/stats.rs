//! What is counted and reported. Field names and their order are the public API's; the bindings hand them on as they are.

use serde::{Serialize, Serializer};

use super::clock::{FOREVER, Nanos, seconds};
use super::metrics::Histogram;

/// What happened in one cache since it was made or its counters were reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Reads that found a live entry.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Expired values that were served within their grace.
    pub stale: u64,
    /// Values stored.
    pub sets: u64,
    /// Entries removed to make room.
    pub evictions: u64,
    /// Entries removed because their time was over.
    pub expirations: u64,
    /// Entries deleted, cleared or invalidated by tag.
    pub invalidations: u64,
    /// Values too heavy to be stored at all.
    pub rejected: u64,
    /// Entries deleted by their key.
    pub deletes: u64,
    /// Values loaded on a miss or ahead of one, stored or not; failed ones too.
    pub loads: u64,
    /// Loads that failed.
    pub load_errors: u64,
}

impl Counters {
    /// What was counted after these.
    pub(super) fn since(self, before: &Self) -> Self {
        Self {
            hits: self.hits.saturating_sub(before.hits),
            misses: self.misses.saturating_sub(before.misses),
            stale: self.stale.saturating_sub(before.stale),
            sets: self.sets.saturating_sub(before.sets),
            evictions: self.evictions.saturating_sub(before.evictions),
            expirations: self.expirations.saturating_sub(before.expirations),
            invalidations: self.invalidations.saturating_sub(before.invalidations),
            rejected: self.rejected.saturating_sub(before.rejected),
            deletes: self.deletes.saturating_sub(before.deletes),
            loads: self.loads.saturating_sub(before.loads),
            load_errors: self.load_errors.saturating_sub(before.load_errors),
        }
    }
}

/// A span that is serialised in seconds: whole ones as an integer, others as a float, for ever as null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(pub Nanos);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const SECOND: Nanos = 1_000_000_000;
        match self.0 {
            FOREVER => serializer.serialize_none(),
            whole if whole % SECOND == 0 => serializer.serialize_i64(whole / SECOND),
            part => serializer.serialize_f64(seconds(part)),
        }
    }
}

/// The state of one cache. The first five fields are the documented ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Entries held, expired ones included.
    pub size: usize,
    /// Entries that may be held.
    pub max_size: usize,
    /// Entries whose deadline has passed and that are still held.
    pub expired_entries: usize,
    /// The time to live of new entries; null for ever.
    pub ttl_seconds: Seconds,
    /// `size` as a share of `max_size`, 0 to 100.
    pub utilization_percent: f64,
    /// See [`Counters::hits`].
    pub hits: u64,
    /// See [`Counters::misses`].
    pub misses: u64,
    /// Hits as a share of reads, 0 to 1; null before the first read.
    pub hit_rate: Option<f64>,
    /// See [`Counters::stale`].
    pub stale_hits: u64,
    /// See [`Counters::sets`].
    pub sets: u64,
    /// See [`Counters::evictions`].
    pub evictions: u64,
    /// See [`Counters::expirations`].
    pub expirations: u64,
    /// See [`Counters::invalidations`].
    pub invalidations: u64,
    /// See [`Counters::rejected`].
    pub rejected: u64,
    /// What the entries weigh; null when nothing limits it.
    pub size_bytes: Option<u64>,
    /// What the entries may weigh; null when nothing limits it.
    pub max_bytes: Option<u64>,
    /// Who goes when room is needed.
    pub policy: &'static str,
    /// How long an expired value may still be served when loading fails.
    pub grace_seconds: Seconds,
    /// See [`Counters::loads`].
    pub loads: u64,
    /// See [`Counters::load_errors`].
    pub load_errors: u64,
    /// What all loads took together.
    pub load_seconds: f64,
    /// One in so many hits is a sample now; 0 where none is.
    pub sampled_every: u64,
    /// How long reads and loads took.
    pub latency: Latencies,
    /// What the cache is for: "cache", "memo" or "django".
    pub kind: &'static str,
}

/// How long reads and loads took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latencies {
    /// Reads, as far as they were sampled: each counts for all that came after the one before.
    pub get: Histogram,
    /// Loads, each of them.
    pub load: Histogram,
}

/// The sums over all caches of a manager.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GlobalStats {
    /// Caches registered.
    pub total_caches: usize,
    /// Entries held by all of them.
    pub total_entries: usize,
    /// Entries that all of them may hold.
    pub total_max_entries: usize,
    /// The one as a share of the other, 0 to 100; 0 when there is nothing to fill.
    pub global_utilization_percent: f64,
}

impl GlobalStats {
    /// Adds one cache to the sums.
    pub fn add(&mut self, size: usize, max_size: usize) {
        self.total_caches += 1;
        self.total_entries += size;
        self.total_max_entries += max_size;
        self.global_utilization_percent = percent(self.total_entries, self.total_max_entries);
    }
}

/// `part` of `whole` in percent; 0 when there is no whole.
#[expect(
    clippy::cast_precision_loss,
    reason = "a percentage of at most 2^32 entries"
)]
pub(super) fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64 * 100.0
    }
}

/// Hits as a share of reads, `None` when nothing was read.
#[expect(clippy::cast_precision_loss, reason = "a ratio of counters")]
pub(super) fn hit_rate(counters: &Counters) -> Option<f64> {
    let reads = counters.hits.wrapping_add(counters.misses);
    (reads > 0).then(|| counters.hits as f64 / reads as f64)
}
