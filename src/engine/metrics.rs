//! What one cache counts, where any thread can read it without the table's lock.
//!
//! The table writes under its lock, with plain loads and stores: it is the only writer, so nothing needs to be atomic but
//! each number. Readers are whoever holds an `Arc<Metrics>`: the numbers may be a moment apart from each other. To reset
//! is to remember what the numbers were, and to show what was added since.
//!
//! Some operations are samples, which also say which key pattern they were about (`patterns.rs`) and how long they took
//! (`histogram.rs`). Which caches a process shows, and under which names: `process.rs`.

mod histogram;
mod key_pattern;
mod patterns;
mod process;
mod sampling;

use std::fmt;
use std::panic::RefUnwindSafe;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::clock::{FOREVER, Nanos};
use super::eviction::PolicyKind;
use super::limits::Limits;
use super::stats::{Counters, Seconds, Stats, hit_rate, percent};

pub use histogram::{BOUNDS_NANOS, Histogram, Latency};
pub use key_pattern::key_pattern;
pub use patterns::{MAX_PATTERNS, OTHER, PatternStats};
pub use process::{
    Asked, ByName, MAX_COUNTED, ProcessStats, find, process_stats, register, registered, reset,
    unregister,
};
pub use sampling::{EXACT, Event, MAX_INTERVAL};

use histogram::Tally;
use sampling::{Sampler, Stream};

static CACHES: AtomicU64 = AtomicU64::new(1);

/// In place of a limit in bytes where there is none.
const UNLIMITED: u64 = u64::MAX;

/// What a cache is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A cache that somebody made by himself.
    #[default]
    Cache,
    /// The results of a decorated callable.
    Memo,
    /// The memory of a Django backend.
    Django,
}

impl Kind {
    /// Its name in statistics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Memo => "memo",
            Self::Django => "django",
        }
    }
}

/// One cache's numbers. What hits and writes touch comes first, and is one cache line.
#[repr(align(64))]
pub struct Metrics {
    pub(super) hits: Stream,
    pub(super) misses: Stream,
    pub(super) sets: Stream,
    size: AtomicU64,
    weight: AtomicU64,
    /// Deletions of a key that had an entry.
    pub(super) deletes: Stream,
    pub(super) stale: Count,
    pub(super) evictions: Count,
    pub(super) expirations: Count,
    pub(super) invalidations: Count,
    pub(super) rejected: Count,
    load_errors: Count,
    max_size: AtomicU64,
    max_bytes: AtomicU64,
    ttl: AtomicI64,
    grace: AtomicI64,
    policy: PolicyKind,
    kind: AtomicU8,
    /// How many entries were expired when they were counted last.
    expired: AtomicU64,
    get: Tally,
    load: Tally,
    /// Those of which it was not noted under which pattern they were.
    unnamed_loads: Tally,
    id: u64,
    /// The name of the version word that empties the cache in every process.
    word: OnceLock<Box<[u8]>>,
    /// Held for microseconds. Paths that are hot try it, and leave a sample to the next operation where it is taken.
    sampler: Mutex<Sampler>,
}

/// Numbers have no state that a panic could leave half changed; and the sampler is worth no more than its samples.
impl RefUnwindSafe for Metrics {}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A number with one writer at a time.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    pub(super) fn bump(&self) {
        self.add(1);
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    pub(super) fn add(&self, more: u64) {
        let sum = self.get().wrapping_add(more);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// As `add`, for several writers at a time.
    fn add_shared(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the path of every hit")]
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All that is counted, at one moment.
#[derive(Clone, Debug, Default)]
struct Totals {
    counters: Counters,
    get: Latency,
    load: Latency,
}

impl Totals {
    fn since(mut self, before: &Self) -> Self {
        self.counters = self.counters.since(&before.counters);
        self.get.subtract(&before.get);
        self.load.subtract(&before.load);
        self
    }
}

impl Metrics {
    pub(super) fn new(limits: &Limits) -> Self {
        let metrics = Self {
            hits: Stream::default(),
            misses: Stream::default(),
            sets: Stream::default(),
            size: AtomicU64::new(0),
            weight: AtomicU64::new(0),
            deletes: Stream::default(),
            stale: Count::default(),
            evictions: Count::default(),
            expirations: Count::default(),
            invalidations: Count::default(),
            rejected: Count::default(),
            load_errors: Count::default(),
            max_size: AtomicU64::new(0),
            max_bytes: AtomicU64::new(0),
            ttl: AtomicI64::new(FOREVER),
            grace: AtomicI64::new(0),
            policy: limits.policy,
            kind: AtomicU8::new(Kind::Cache as u8),
            expired: AtomicU64::new(0),
            get: Tally::default(),
            load: Tally::default(),
            unnamed_loads: Tally::default(),
            id: CACHES.fetch_add(1, Ordering::Relaxed),
            word: OnceLock::new(),
            sampler: Mutex::new(Sampler::default()),
        };
        metrics.limits_changed(limits);
        metrics
    }

    /// Tells the caches of a process apart.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What the cache is for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.kind.load(Ordering::Relaxed) {
            1 => Kind::Memo,
            2 => Kind::Django,
            _ => Kind::Cache,
        }
    }

    /// The name of the version word that empties the cache in every process; None where there is none.
    #[must_use]
    pub fn word(&self) -> Option<&[u8]> {
        self.word.get().map(AsRef::as_ref)
    }

    /// Says which version word empties the cache in every process. Once is enough: it does not change.
    pub fn set_word(&self, name: Vec<u8>) {
        let _ = self.word.set(name.into());
    }

    /// Says what the cache is for.
    pub fn set_kind(&self, kind: Kind) {
        self.kind.store(kind as u8, Ordering::Relaxed);
    }

    #[inline]
    /// How many entries there are, the expired ones included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    pub(super) fn resized(&self, size: usize, weight: u64) {
        self.size.store(size as u64, Ordering::Relaxed);
        self.weight.store(weight, Ordering::Relaxed);
    }

    pub(super) fn limits_changed(&self, limits: &Limits) {
        self.max_size
            .store(limits.max_size as u64, Ordering::Relaxed);
        let max_bytes = limits.max_bytes.unwrap_or(UNLIMITED);
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
        self.grace.store(limits.grace, Ordering::Relaxed);
    }

    pub(super) fn ttl_changed(&self, ttl: Nanos) {
        self.ttl.store(ttl, Ordering::Relaxed);
    }

    pub(super) fn expired_counted(&self, expired: usize) {
        self.expired.store(expired as u64, Ordering::Relaxed);
    }

    /// What was counted since the last reset.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let sampler = self.sampler.lock();
        self.totals().counters.since(&sampler.baseline.counters)
    }

    /// What was counted since the last reset, and the state as the table left it. Expired entries are as many as when
    /// they were counted last, yet never more than there are.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "sizes were usizes when they were stored"
    )]
    pub fn stats(&self) -> Stats {
        let (totals, sampled_every) = {
            let sampler = self.sampler.lock();
            let totals = self.totals().since(&sampler.baseline);
            (totals, sampler.interval(Event::Hit, self.events()))
        };
        let counters = totals.counters;
        let size = self.size.load(Ordering::Relaxed);
        let max_size = self.max_size.load(Ordering::Relaxed) as usize;
        let max_bytes = match self.max_bytes.load(Ordering::Relaxed) {
            UNLIMITED => None,
            bytes => Some(bytes),
        };
        Stats {
            size: size as usize,
            max_size,
            expired_entries: self.expired.load(Ordering::Relaxed).min(size) as usize,
            ttl_seconds: Seconds(self.ttl.load(Ordering::Relaxed)),
            utilization_percent: percent(size as usize, max_size),
            hits: counters.hits,
            misses: counters.misses,
            hit_rate: hit_rate(&counters),
            stale_hits: counters.stale,
            sets: counters.sets,
            evictions: counters.evictions,
            expirations: counters.expirations,
            invalidations: counters.invalidations,
            rejected: counters.rejected,
            size_bytes: max_bytes.map(|_| self.weight.load(Ordering::Relaxed)),
            max_bytes,
            policy: self.policy.as_str(),
            grace_seconds: Seconds(self.grace.load(Ordering::Relaxed)),
            loads: counters.loads,
            load_errors: counters.load_errors,
            load_seconds: totals.load.seconds(),
            sampled_every,
            latency: super::stats::Latencies {
                get: totals.get.shown(),
                load: totals.load.shown(),
            },
            kind: self.kind().as_str(),
        }
    }

    /// Shows everything counted as 0 from now on, and counts key patterns anew. From any thread.
    pub fn reset(&self) {
        let mut sampler = self.sampler.lock();
        sampler.baseline = self.totals();
        self.restart(&mut sampler);
    }

    /// Panics unless a table's size, weight and limits are shown as they are.
    pub(super) fn validate(&self, held: (usize, u64), limits: &Limits) {
        let stats = self.stats();
        let weight = self.weight.load(Ordering::Relaxed);
        assert_eq!((stats.size, weight), held, "another size is shown");
        assert_eq!(
            (stats.max_size, stats.max_bytes, stats.grace_seconds),
            (limits.max_size, limits.max_bytes, Seconds(limits.grace)),
            "other limits are shown"
        );
    }

    fn totals(&self) -> Totals {
        let load = self.load.totals();
        Totals {
            counters: Counters {
                hits: self.hits.count.get(),
                misses: self.misses.count.get(),
                stale: self.stale.get(),
                sets: self.sets.count.get(),
                evictions: self.evictions.get(),
                expirations: self.expirations.get(),
                invalidations: self.invalidations.get(),
                rejected: self.rejected.get(),
                deletes: self.deletes.count.get(),
                loads: load.count(),
                load_errors: self.load_errors.get(),
            },
            get: self.get.totals(),
            load,
        }
    }
}
