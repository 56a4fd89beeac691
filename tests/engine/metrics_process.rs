//! What a process shows of its caches, under which names; and what keys have in common.

use _native::engine::metrics::{
    Asked, Kind, find, key_pattern, process_stats, register, registered, reset, unregister,
};
use _native::engine::{CacheManager, Change, FOREVER, Limits, Now, TtlCache};
use proptest::prelude::*;

type Cache = TtlCache<u32, u32>;

fn cache(max_size: usize) -> Cache {
    Cache::new(Limits::new(max_size), FOREVER, Now::exactly(0)).expect("possible limits")
}

/// The process shows what is registered, in that order, and no longer than it is; a reset names whom it met.
#[test]
fn the_process_shows_what_is_registered() {
    let (one, two) = (cache(3), cache(4));
    one.metrics().set_kind(Kind::Memo);
    register("test:one", one.metrics());
    register("test:two", two.metrics());
    let names = || {
        let names = registered().into_iter().map(|(name, _)| name);
        names
            .filter(|name| name.starts_with("test:"))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(), ["test:one", "test:two"]);
    let _ = one.get(&1);
    let asked = ["test:one".to_owned(), "test:absent".to_owned()];
    let told = process_stats(Asked {
        caches: Some(&asked),
        patterns: true,
        is_exact: false,
        is_enabled: true,
    });
    let told = serde_json::to_value(&told).expect("plain data");
    assert_eq!(told["caches"]["test:one"]["misses"], 1);
    assert_eq!(told["caches"]["test:one"]["kind"], "memo");
    assert_eq!(told["caches"]["test:one"]["max_size"], 3);
    assert_eq!(
        told["caches"].as_object().map(serde_json::Map::len),
        Some(1)
    );
    assert_eq!(told["patterns"]["test:one"], serde_json::json!([]));
    assert_eq!(
        (&told["exact"], &told["enabled"]),
        (&false.into(), &true.into())
    );
    assert_eq!(reset(Some(&asked)), ["test:one"]);
    assert_eq!(find("test:one").expect("registered").counters().misses, 0);
    register("test:one", two.metrics()); // another takes the name
    unregister("test:one", one.metrics()); // too late: the name is another's
    assert_eq!(names(), ["test:two", "test:one"]);
    drop(two);
    assert_eq!(names(), Vec::<String>::new());
    assert!(find("test:two").is_none());
}

/// Whoever watches a manager hears of each cache that comes and goes, by the name it has.
#[test]
fn a_watched_manager_tells() {
    static HEARD: std::sync::Mutex<Vec<(bool, String, u32)>> = std::sync::Mutex::new(Vec::new());
    fn watch(change: Change<'_, u32>) {
        let heard = match change {
            Change::Added(name, cache) => (true, name.to_owned(), *cache),
            Change::Removed(name, cache) => (false, name.to_owned(), *cache),
        };
        HEARD.lock().expect("no panic").push(heard);
    }
    let manager = CacheManager::watched(watch);
    let _ = manager.adopt("a", 1).expect("a free name");
    let _ = manager.adopt("a", 2).expect("the cache of that name");
    let _ = manager.register("a", 3, |_| false).expect("a free name");
    assert_eq!(manager.remove("a", |cache| *cache == 2), None);
    assert_eq!(manager.remove("a", |_| true), Some(1));
    let said = |is_added, name: &str, cache| (is_added, name.to_owned(), cache);
    assert_eq!(
        *HEARD.lock().expect("no panic"),
        [
            said(true, "a", 1),
            said(true, "a#2", 3),
            said(false, "a", 1)
        ]
    );
}

/// Ids are left out, names stay, and what is deep is cut.
#[test]
fn patterns_leave_ids_out() {
    let long = "x".repeat(41);
    let patterns = [
        ("", ""),
        ("user", "user"),
        ("user:7", "user:*"),
        ("user:7:posts", "user:*:posts"),
        ("user:-7", "user:-7"),
        ("a:0123456789abcdef", "a:*"),
        ("a:0123456789ABCDEF", "a:*"),
        ("a:0123456789abcde", "a:0123456789abcde"),
        ("a:123e4567-e89b-12d3-a456-426614174000", "a:*"),
        (
            "a:123e4567-e89b-12d3-a456-42661417400g",
            "a:123e4567-e89b-12d3-a456-42661417400g",
        ),
        (&long, "*"),
        (&long[1..], &long[1..]),
        ("\u{e9}\u{e9}:7", "\u{e9}\u{e9}:*"),
        ("a:b:c:d:e:f", "a:b:c:d:e:f"),
        ("a:b:c:d:e:f:g", "a:b:c:d:e:*"),
        ("::", "::"),
    ];
    for (key, pattern) in patterns {
        assert_eq!(key_pattern(key), pattern, "{key}");
    }
    let spelt = [
        ("user:~42", "user:*"),
        ("order:~row(shop.Order,7):total", "order:*:total"),
        ("shop:~v2:products", "shop:*:products"),
        ("search:page=1:query=python", "search:page=*:query=*"),
        ("report:~:9f86d081884c7d659a2feaa0c55ad015", "report:*:*"),
        (
            "tenant:1:client:2:bu:3:dashboard:metrics",
            "dashboard:metrics",
        ),
        ("tenant:1:client:2:bu:3:user:123:lang:de:x", "x"),
        ("tenant:acme:bu:3:form:F:people:7", "form:F:people:*"),
        ("tenant:1", "tenant:*"),
        ("tenant:1:client:2", "client:*"),
        ("tenants:1:x", "tenants:*:x"),
        ("user:7:posts", "user:*:posts"),
        ("tenant:1:tenant:2:x", "x"),
    ];
    for (key, pattern) in spelt {
        assert_eq!(key_pattern(key), pattern, "{key}");
        assert_eq!(key_pattern(pattern), pattern, "{pattern}");
    }
    let wide = "\u{e9}".repeat(40);
    assert_eq!(key_pattern(&wide), wide, "characters count, not bytes");
}

/// A key of a megabyte is looked at once, and its pattern is as short as any.
#[test]
fn a_large_key_has_a_small_pattern() {
    let key = "a".repeat(1 << 20) + &":7".repeat(1 << 19);
    assert_eq!(key_pattern(&key), "*:*:*:*:*:*");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A pattern has six segments at most, no id, and is its own pattern.
    #[test]
    fn a_pattern_is_its_own_pattern(key in "(tenant:[a-f0-9]:|user:|~|[a-f0-9:=xy-]{0,9}){0,9}") {
        let pattern = key_pattern(&key);
        prop_assert!(pattern.split(':').count() <= 6);
        prop_assert!(pattern.split(':').all(|segment| segment.len() <= 40));
        prop_assert_eq!(key_pattern(&pattern), pattern);
    }
}
