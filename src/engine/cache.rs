//! A table behind one lock, with what can be changed without it beside.

use std::borrow::Borrow;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::lock_api::{Mutex, MutexGuard, RawMutex};

use super::clock::{self, Nanos, Now};
use super::error::Error;
use super::metrics::Metrics;
use super::stats::Stats;
use super::table::{Cause, Limits, NoWords, Put, Read, Table, Words};

/// The interval of a cache that has none of its own, in nanoseconds: 300 s, as documented.
static DEFAULT_CLEANUP_INTERVAL: AtomicI64 = AtomicI64::new(300_000_000_000);

/// "None of its own".
const INHERITED: Nanos = -1;

/// Sets the cleanup interval of all caches that have none of their own.
pub fn set_default_cleanup_interval(interval: Nanos) {
    DEFAULT_CLEANUP_INTERVAL.store(interval, Ordering::Relaxed);
}

/// The cleanup interval of caches that have none of their own.
#[must_use]
pub fn default_cleanup_interval() -> Nanos {
    DEFAULT_CLEANUP_INTERVAL.load(Ordering::Relaxed)
}

/// A thread-safe cache whose entries live for a time. `R` is the lock: whoever has a cheaper one than a mutex brings it.
/// `W` knows the version words that entries depend on.
#[derive(Debug)]
pub struct TtlCache<K, V, R: RawMutex = parking_lot::RawMutex, W = NoWords> {
    table: Mutex<R, Table<K, V, W>>,
    /// The table's.
    metrics: Arc<Metrics>,
    ttl: AtomicI64,
    last_cleanup: AtomicI64,
    cleanup_interval: AtomicI64,
}

impl<K, V, R: RawMutex, W: Words + Default> TtlCache<K, V, R, W> {
    /// An empty cache whose entries live for `ttl`; the cleanup interval counts from `now`.
    ///
    /// # Errors
    /// See [`Limits::validated`].
    pub fn new(limits: Limits, ttl: Nanos, now: Now) -> Result<Self, Error> {
        let table = Table::with_words(limits, W::default())?;
        let metrics = Arc::clone(table.metrics());
        metrics.ttl_changed(ttl);
        Ok(Self {
            table: Mutex::new(table),
            metrics,
            ttl: AtomicI64::new(ttl),
            last_cleanup: AtomicI64::new(now.at()),
            cleanup_interval: AtomicI64::new(INHERITED),
        })
    }

    /// Waits for the lock. Nothing of a caller's may run while it is held: no drop, no callback.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, R, Table<K, V, W>> {
        self.table.lock()
    }

    /// The lock, if it is free now.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, R, Table<K, V, W>>> {
        self.table.try_lock()
    }

    /// How long new entries live.
    #[inline]
    #[must_use]
    pub fn ttl(&self) -> Nanos {
        self.ttl.load(Ordering::Relaxed)
    }

    /// Changes how long new entries live. Those that are there keep their deadlines.
    pub fn set_ttl(&self, ttl: Nanos) {
        self.ttl.store(ttl, Ordering::Relaxed);
        self.metrics.ttl_changed(ttl);
    }

    /// When expired entries were last swept for being due.
    #[must_use]
    pub fn last_cleanup(&self) -> Nanos {
        self.last_cleanup.load(Ordering::Relaxed)
    }

    /// Says when expired entries were last swept.
    pub fn set_last_cleanup(&self, at: Nanos) {
        self.last_cleanup.store(at, Ordering::Relaxed);
    }

    /// The cache's own cleanup interval; `None` when it follows [`default_cleanup_interval`].
    #[must_use]
    pub fn cleanup_interval(&self) -> Option<Nanos> {
        let interval = self.cleanup_interval.load(Ordering::Relaxed);
        (interval != INHERITED).then_some(interval)
    }

    /// Gives the cache a cleanup interval of its own, or takes it away.
    pub fn set_cleanup_interval(&self, interval: Option<Nanos>) {
        self.cleanup_interval.store(
            interval.map_or(INHERITED, |own| own.max(0)),
            Ordering::Relaxed,
        );
    }

    /// Whether more than the cleanup interval has passed since the last cleanup. Saying yes, to one caller, counts as one.
    #[inline]
    pub fn sweep_due(&self, now: Now) -> bool {
        let interval = match self.cleanup_interval.load(Ordering::Relaxed) {
            INHERITED => default_cleanup_interval(),
            own => own,
        };
        let last = self.last_cleanup.load(Ordering::Relaxed);
        now.at().saturating_sub(last) > interval
            && self
                .last_cleanup
                .compare_exchange(last, now.at(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// What is counted, for any thread to read without the lock.
    #[inline]
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The cache's state. O(expired entries).
    #[must_use]
    pub fn stats(&self, now: Now) -> Stats {
        self.lock().count_expired(now, usize::MAX);
        self.metrics.stats()
    }
}

/// What a Rust user needs. The bindings hash and compare Python objects, so they go by `lock`.
impl<K: Hash + Eq, V: Clone> TtlCache<K, V> {
    /// The live value of a key.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut table = self.lock();
        let Some(slot) = table.find(hash(key), |known| known.borrow() == key) else {
            table.miss();
            return None;
        };
        let _expired = match table.read(slot, clock::now()) {
            Read::Fresh(value) | Read::Early(value) => return Some(value.clone()),
            Read::Stale => return None,
            Read::Expired(gone) | Read::Outdated(gone) => gone,
        };
        drop(table); // before what expired
        None
    }

    /// Stores a value for the cache's TTL.
    pub fn set(&self, key: K, value: V) {
        let (hash, now) = (hash(&key), clock::now());
        let put = Put {
            deadline: now.after(self.ttl()),
            ..Put::default()
        };
        let mut table = self.lock();
        let (_old, _displaced) = match table.find(hash, |known| *known == key) {
            Some(slot) => {
                let (old, displaced) = table.replace(slot, value, &put, now);
                (Some((key, old)), displaced)
            }
            None => (None, table.insert(hash, key, value, &put, now)),
        };
        drop(table); // before what was displaced
    }

    /// Removes a key; says whether it had a live entry.
    pub fn delete<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let (hash, now) = (hash(key), clock::now());
        let mut table = self.lock();
        let Some(slot) = table.find(hash, |known| known.borrow() == key) else {
            table.bump(hash);
            return false;
        };
        let live = table.is_live(slot, now);
        let _gone = table.remove(slot, Cause::Deleted);
        drop(table); // before what is gone
        live
    }
}

/// Seeded alike in every process, so that runs can be compared.
fn hash<Q: Hash + ?Sized>(key: &Q) -> u64 {
    BuildHasherDefault::<DefaultHasher>::new().hash_one(key)
}
