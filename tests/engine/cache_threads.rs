//! One cache, many threads: nothing is lost, nothing is dropped under the lock, one sweeper is elected.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock, Weak};
use std::thread;

use _native::engine::clock::{self, FOREVER, Now};
use _native::engine::{Limits, PolicyKind, TtlCache, set_default_cleanup_interval};

use crate::clock::driver;
use crate::{SECOND, at};

fn cache<K, V>(limits: Limits, ttl: i64) -> TtlCache<K, V> {
    TtlCache::new(limits, ttl, at(0)).expect("possible limits")
}

/// Threads that read, write, delete and sweep at once leave every index in agreement and every value right.
#[test]
fn threads_share_a_cache() {
    for policy in [PolicyKind::Lru, PolicyKind::S3Fifo] {
        let cache: TtlCache<u64, u64> = cache(
            Limits {
                policy,
                ..Limits::new(100)
            },
            FOREVER,
        );
        thread::scope(|scope| {
            for worker in 0..4_u64 {
                let cache = &cache;
                scope.spawn(move || {
                    for turn in 0..5_000_u64 {
                        let key = (turn * 7 + worker) % 300;
                        match turn % 5 {
                            0 | 1 => cache.set(key, key * 2),
                            2 if worker == 0 => drop(cache.lock().sweep(clock::now())),
                            3 => drop(cache.delete(&key)),
                            _ => assert!(cache.get(&key).is_none_or(|value| value == key * 2)),
                        }
                    }
                });
            }
        });
        let table = cache.lock();
        table.validate();
        assert!(table.len() <= 100);
        assert_eq!(table.counters().rejected, 0);
    }
}

/// A value that uses its own cache when dropped finds the lock free, whatever displaced it.
#[test]
fn values_are_dropped_after_the_lock() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    #[derive(Clone)]
    struct Nosy(Weak<OnceLock<TtlCache<u32, Arc<Nosy>>>>);
    impl Drop for Nosy {
        fn drop(&mut self) {
            if let Some(cache) = self.0.upgrade().as_deref().and_then(OnceLock::get) {
                assert!(cache.try_lock().is_some(), "dropped under the lock");
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    let _driver = driver();
    clock::drive(0);
    let cell = Arc::new(OnceLock::new());
    let nosy = || Arc::new(Nosy(Arc::downgrade(&cell)));
    let cache = cell.get_or_init(|| cache(Limits::new(2), SECOND));
    cache.set(1, nosy());
    cache.set(1, nosy()); // replaced
    cache.set(2, nosy());
    cache.set(3, nosy()); // evicts 1
    assert!(cache.delete(&2));
    clock::drive(2 * SECOND);
    assert!(cache.get(&3).is_none()); // expired
    assert_eq!(DROPPED.load(Ordering::Relaxed), 4);
}

/// Of many threads that find a sweep due, one sweeps.
#[test]
fn one_sweeper_is_elected() {
    let cache: TtlCache<u32, u32> = cache(Limits::new(2), SECOND);
    cache.set_cleanup_interval(Some(5 * SECOND));
    assert!(
        !cache.sweep_due(at(5)),
        "exactly the interval is not more than the interval"
    );
    let (barrier, elected) = (Barrier::new(4), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                if cache.sweep_due(at(6)) {
                    elected.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(
        (elected.into_inner(), cache.last_cleanup()),
        (1, 6 * SECOND)
    );
    assert!(!cache.sweep_due(at(11)));
}

/// A cache without an interval of its own follows the default, also when that changes.
#[test]
fn the_default_interval_is_followed() {
    let _driver = driver(); // the default is the process's, like the clock
    let cache: TtlCache<u32, u32> = cache(Limits::new(2), SECOND);
    assert_eq!(cache.cleanup_interval(), None);
    assert!(!cache.sweep_due(at(300)));
    set_default_cleanup_interval(10 * SECOND);
    let due = cache.sweep_due(at(11));
    set_default_cleanup_interval(300 * SECOND);
    assert!(due);
    cache.set_cleanup_interval(Some(0));
    assert!(cache.sweep_due(at(12)));
    cache.set_cleanup_interval(None);
    assert!(!cache.sweep_due(at(99)));
}

/// The TTL is read when a value is set; entries that are there keep their deadlines.
#[test]
fn a_changed_ttl_holds_for_new_entries() {
    let _driver = driver();
    clock::drive(0);
    let cache: TtlCache<String, u32> = cache(Limits::new(9), 10 * SECOND);
    cache.set("old".to_owned(), 1);
    cache.set_ttl(2 * SECOND);
    cache.set("new".to_owned(), 2);
    clock::drive(5 * SECOND);
    assert_eq!(
        (cache.get("old"), cache.get("new"), cache.ttl()),
        (Some(1), None, 2 * SECOND)
    );
}

/// Statistics have the documented fields first, in their order and their types.
#[test]
fn statistics_have_the_documented_fields() {
    let limits = Limits {
        max_bytes: Some(1 << 20),
        grace: SECOND / 2,
        ..Limits::new(8)
    };
    let cache: TtlCache<u32, u32> = cache(limits, 60 * SECOND);
    let fresh = serde_json::to_string(&cache.stats(at(0))).expect("plain data");
    let bounds = "5e-8,1e-7,2e-7,5e-7,1e-6,2e-6,5e-6,0.00001,0.00002,0.00005,0.0001,0.0002,0.0005,0.001,0.002,0.005,0.01,\
        0.02,0.05,0.1,0.2,0.5,1.0,2.0,5.0,10.0";
    let zeros = ["0"; 27].join(",");
    let histogram = format!(
        r#"{{"bounds_seconds":[{bounds}],"counts":[{zeros}],"sum_seconds":0.0,"count":0}}"#
    );
    assert_eq!(
        fresh,
        r#"{"size":0,"max_size":8,"expired_entries":0,"ttl_seconds":60,"utilization_percent":0.0,"hits":0,"misses":0,"#
            .to_owned()
            + r#""hit_rate":null,"stale_hits":0,"sets":0,"evictions":0,"expirations":0,"invalidations":0,"rejected":0,"#
            + r#""size_bytes":0,"max_bytes":1048576,"policy":"lru","grace_seconds":0.5,"loads":0,"load_errors":0,"#
            + r#""load_seconds":0.0,"sampled_every":0,"latency":{"get":"#
            + &histogram
            + r#","load":"#
            + &histogram
            + r#"},"kind":"cache"}"#
    );
}

/// Statistics count what happened, expired entries included, and never divide by zero.
#[test]
fn statistics_count() {
    let _driver = driver();
    clock::drive(0);
    let cache: TtlCache<u32, u32> = cache(Limits::new(2), SECOND);
    for key in 0..3 {
        cache.set(key, key);
    }
    assert_eq!((cache.get(&2), cache.get(&0)), (Some(2), None));
    let stats = cache.stats(at(1));
    assert_eq!(
        (
            stats.size,
            stats.expired_entries,
            stats.sets,
            stats.evictions
        ),
        (2, 2, 3, 1)
    );
    assert_eq!(
        (stats.hits, stats.misses, stats.hit_rate),
        (1, 1, Some(0.5))
    );
    assert!((stats.utilization_percent - 100.0).abs() < f64::EPSILON);
    assert_eq!((stats.size_bytes, stats.max_bytes), (None, None));
    let empty: TtlCache<u32, u32> = self::cache(Limits::new(0), FOREVER);
    let stats = serde_json::to_value(empty.stats(Now::exactly(0))).expect("plain data");
    assert_eq!(
        (
            stats["utilization_percent"].as_f64(),
            stats["ttl_seconds"].is_null()
        ),
        (Some(0.0), true)
    );
}
