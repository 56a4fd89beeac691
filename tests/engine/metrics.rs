//! What caches count: beside a plain model, from another thread, by key pattern. The process: `metrics_process.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use _native::engine::metrics::{
    EXACT, Event, MAX_INTERVAL, MAX_PATTERNS, Metrics, OTHER, PatternStats,
};
use _native::engine::{Counters, FOREVER, Limits, Now, Seconds, TtlCache, clock};
use proptest::prelude::*;

type Cache = TtlCache<u32, u32>;

fn cache(max_size: usize) -> Cache {
    Cache::new(Limits::new(max_size), FOREVER, Now::exactly(0)).expect("possible limits")
}

/// A cache whose operations are sampled, and its metrics.
fn sampled() -> Arc<Metrics> {
    let cache = cache(1);
    cache.metrics().start_sampling();
    Arc::clone(cache.metrics())
}

/// Counts a hit of a key as the bindings do.
fn hit(cache: &Cache, key: u32, pattern: &str) {
    let metrics = cache.metrics();
    let began = metrics.read_begins();
    assert_eq!(cache.get(&key), Some(key));
    metrics.read_ended(Event::Hit, began, || pattern.to_owned());
}

fn by_name(patterns: Vec<PatternStats>) -> BTreeMap<String, PatternStats> {
    let named = patterns.into_iter();
    named.map(|stats| (stats.pattern.clone(), stats)).collect()
}

#[derive(Clone, Debug)]
enum Op {
    Get(u32),
    Set(u32),
    Delete(u32),
    Clear,
    Load(i64, bool),
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..6_u32;
    prop_oneof![
        4 => key.clone().prop_map(Op::Get),
        4 => key.clone().prop_map(Op::Set),
        2 => key.prop_map(Op::Delete),
        1 => Just(Op::Clear),
        1 => (0..5_000_i64, any::<bool>()).prop_map(|(nanos, failed)| Op::Load(nanos, failed)),
        1 => Just(Op::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Counters are those of a plain model, counted anew after each reset; no key is lost, no gauge stands still.
    #[test]
    fn counters_are_those_of_a_model(ops in proptest::collection::vec(op(), 0..120)) {
        let cache = cache(4);
        let (mut held, mut model, mut nanos): (Vec<u32>, _, _) = (Vec::new(), Counters::default(), 0);
        for op in &ops {
            match *op {
                Op::Get(key) => {
                    let found = cache.get(&key).is_some();
                    prop_assert_eq!(found, held.contains(&key));
                    *(if found { &mut model.hits } else { &mut model.misses }) += 1;
                    if found {
                        held.retain(|known| *known != key);
                        held.push(key);
                    }
                }
                Op::Set(key) => {
                    cache.set(key, key);
                    model.sets += 1;
                    held.retain(|known| *known != key);
                    held.push(key);
                    if held.len() > 4 {
                        held.remove(0);
                        model.evictions += 1;
                    }
                }
                Op::Delete(key) => {
                    let there = u64::from(cache.delete(&key));
                    model.deletes += there;
                    model.invalidations += there;
                    held.retain(|known| *known != key);
                }
                Op::Clear => {
                    drop(cache.lock().clear());
                    model.invalidations += held.len() as u64;
                    held.clear();
                }
                Op::Load(took, failed) => {
                    cache.metrics().loaded(took, failed, String::new);
                    model.loads += 1;
                    model.load_errors += u64::from(failed);
                    nanos += took;
                }
                Op::Reset => {
                    cache.metrics().reset();
                    (model, nanos) = (Counters::default(), 0);
                }
            }
            cache.lock().validate();
            prop_assert_eq!(cache.metrics().counters(), model.clone());
            let stats = cache.metrics().stats();
            prop_assert_eq!(stats.size, held.len());
            prop_assert_eq!((stats.loads, stats.latency.load.count), (model.loads, model.loads));
            prop_assert!((stats.load_seconds - clock::seconds(nanos)).abs() < 1e-9);
        }
    }
}

/// Each of the first operations is counted under its own pattern, exactly.
#[test]
fn the_first_operations_are_exact() {
    let cache = cache(9);
    cache.metrics().start_sampling();
    cache.set(1, 1);
    for turn in 1..EXACT {
        hit(&cache, 1, if turn % 3 == 0 { "third" } else { "rest" });
    }
    let patterns = by_name(cache.metrics().patterns());
    assert_eq!((patterns["third"].hits, patterns["rest"].hits), (341, 682));
    let stats = cache.metrics().stats();
    assert_eq!(
        (stats.hits, stats.latency.get.count),
        (EXACT - 1, EXACT - 1)
    );
    assert!(stats.latency.get.sum_seconds > 0.0);
}

/// Later ones are estimated. All hits but those since the last sample are in some pattern, and keys that are asked for in
/// turns get their shares: 20 % more or less are five standard deviations of what 2,000,000 hits give a half.
#[test]
fn later_operations_are_estimated() {
    const HITS: u64 = 2_000_000;
    let cache = cache(9);
    let metrics = cache.metrics();
    metrics.start_sampling();
    cache.set(1, 1);
    let slot = cache.lock().slots()[0];
    let mut samples = 0_u32;
    for turn in 0..HITS {
        // What the raw path does: the table serves the hit unless it is to be a sample.
        let served = cache.lock().hit(slot, Now::exactly(0)).is_some();
        if !served {
            samples += 1;
            hit(&cache, 1, if turn % 2 == 0 { "even" } else { "odd" });
        }
    }
    let (even, odd) = {
        let patterns = by_name(metrics.patterns());
        (patterns["even"].hits, patterns["odd"].hits)
    };
    let stats = metrics.stats();
    assert_eq!((stats.hits, stats.sampled_every), (HITS, MAX_INTERVAL));
    assert!(HITS - (even + odd) < 2 * MAX_INTERVAL);
    assert_eq!(stats.latency.get.count, even + odd);
    assert!((3_000..4_200).contains(&samples), "{samples} samples");
    for half in [even, odd] {
        assert!(half.abs_diff(HITS / 2) < HITS / 10, "{half} of {HITS}");
    }
}

/// A table that is used by itself is not sampled: its fast half serves every hit, and no pattern is known.
#[test]
fn a_table_by_itself_takes_no_samples() {
    let cache = cache(9);
    cache.set(1, 1);
    let mut table = cache.lock();
    let slot = table.slots()[0];
    for _ in 0..2_000 {
        assert_eq!(table.hit(slot, Now::exactly(0)), Some(&1));
    }
    drop(table);
    assert_eq!(cache.metrics().patterns(), []);
    assert_eq!(cache.metrics().stats().sampled_every, 0);
}

/// There are 256 patterns at most; what has no place is counted as other, and nothing is lost.
#[test]
fn patterns_are_bounded() {
    let metrics = sampled();
    for turn in 0..600_u64 {
        // Each pattern twice, so that none gives way to a later one.
        for _ in 0..2 {
            metrics.loaded(1_000, false, || format!("p{turn}"));
        }
    }
    let patterns = metrics.patterns();
    assert_eq!(patterns.len(), MAX_PATTERNS + 1);
    let other = &patterns[MAX_PATTERNS];
    assert_eq!(
        (other.pattern.as_str(), other.loads),
        (OTHER, 2 * (600 - 256))
    );
    assert_eq!(patterns.iter().map(|stats| stats.loads).sum::<u64>(), 1_200);
}

/// Patterns that were met once give way, the oldest first: what is asked for again finds a place among any number of others.
#[test]
fn patterns_met_once_give_way() {
    let metrics = sampled();
    let load = |pattern: &str| metrics.loaded(1_000, false, || pattern.to_owned());
    for turn in 0..5_000 {
        load(&format!("once{turn}"));
        if turn >= 4_000 && turn % 100 == 0 {
            load("often");
        }
    }
    let patterns = by_name(metrics.patterns());
    assert_eq!(patterns["often"].loads, 10);
    assert_eq!(patterns.len(), MAX_PATTERNS + 1);
    assert!(patterns.contains_key("once4999"));
    assert_eq!(
        patterns.values().map(|stats| stats.loads).sum::<u64>(),
        5_010
    );
}

/// What is set is weighed where weights are known; its average is that of what was weighed.
#[test]
fn sets_are_weighed_where_weights_are_known() {
    let cache = cache(9);
    cache.metrics().start_sampling();
    let set = |bytes| {
        cache.set(1, 1);
        let pattern = || "a".to_owned();
        cache.metrics().changed(Event::Set, bytes, pattern);
    };
    set(None);
    assert_eq!(cache.metrics().patterns()[0].avg_size, None);
    set(Some(10));
    set(Some(20));
    let stats = &cache.metrics().patterns()[0];
    assert_eq!(
        (stats.sets, stats.bytes, stats.avg_size),
        (3, 30, Some(15.0))
    );
}

/// After a reset everything is shown as 0 and counted anew, patterns exactly again; the entries stay.
#[test]
fn a_reset_begins_anew() {
    let cache = cache(9);
    cache.metrics().start_sampling();
    cache.set(1, 1);
    (0..2 * EXACT).for_each(|_| hit(&cache, 1, "before"));
    cache.metrics().loaded(5, true, || "before".to_owned());
    assert!(cache.metrics().stats().sampled_every > 1);
    cache.metrics().reset();
    let stats = cache.metrics().stats();
    assert_eq!((stats.hits, stats.loads, stats.load_errors), (0, 0, 0));
    assert_eq!(
        (stats.size, stats.sampled_every, stats.hit_rate),
        (1, 1, None)
    );
    assert_eq!((stats.latency.get.count, stats.latency.load.count), (0, 0));
    assert_eq!(cache.metrics().patterns(), []);
    (0..EXACT).for_each(|_| hit(&cache, 1, "after"));
    let patterns = cache.metrics().patterns();
    assert_eq!((patterns.len(), patterns[0].hits), (1, EXACT));
}

/// Another thread reads and resets while one writes: no number it shows ever falls between its resets, or is negative.
#[test]
fn another_thread_reads_while_one_writes() {
    let cache = cache(9);
    cache.metrics().start_sampling();
    cache.set(1, 1);
    let is_over = AtomicBool::new(false);
    let (metrics, over) = (Arc::clone(cache.metrics()), &is_over);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut shown, mut last, mut resets) = (0, 0, 0_u64);
            while !over.load(Ordering::Acquire) {
                let stats = metrics.stats();
                assert!(stats.hits >= last, "{} after {last}", stats.hits);
                assert!(stats.hits <= 300_000 && stats.size == 1);
                last = stats.hits;
                shown += 1;
                let patterns = metrics.patterns();
                assert!(patterns.len() <= 1 && patterns.iter().all(|one| one.hits <= 300_000));
                if shown % 64 == 0 {
                    metrics.reset();
                    (last, resets) = (0, resets + 1);
                }
            }
            resets
        });
        (0..300_000).for_each(|_| hit(&cache, 1, "p"));
        is_over.store(true, Ordering::Release);
        if reader.join().is_ok_and(|resets| resets == 0) {
            assert_eq!(cache.metrics().counters().hits, 300_000);
        }
    });
    cache.metrics().reset();
    hit(&cache, 1, "p");
    assert_eq!(cache.metrics().counters().hits, 1);
}

/// The table's limits and the cache's time to live are shown as they are changed.
#[test]
fn gauges_follow_their_cache() {
    let cache = cache(9);
    (0..9).for_each(|key| cache.set(key, key));
    drop(cache.lock().set_max_size(4, Now::exactly(0)));
    drop(cache.lock().set_max_bytes(Some(100), Now::exactly(0)));
    cache.lock().set_grace(5_000_000_000);
    cache.set_ttl(7_000_000_000);
    let stats = cache.metrics().stats();
    assert_eq!((stats.size, stats.max_size, stats.evictions), (4, 4, 5));
    assert_eq!((stats.max_bytes, stats.size_bytes), (Some(100), Some(0)));
    assert_eq!(stats.grace_seconds, Seconds(5_000_000_000));
    assert_eq!(stats.ttl_seconds, Seconds(7_000_000_000));
}
