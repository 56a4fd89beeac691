//! What each verb is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use _native::engine::{Limits, Metrics, Now, TtlCache, metrics, orders};
use _native::host::{control, versions};
use parking_lot::RawMutex;
use serde_json::json;

use crate::{Held, Site, carry_out, error, result, verb};

type Cache = TtlCache<u32, u32, RawMutex>;

/// A cache that is shown under a name until it is dropped.
struct Shown {
    name: &'static str,
    cache: Cache,
}

impl Shown {
    fn new(name: &'static str) -> Self {
        let cache = Cache::new(Limits::new(10), 1_000_000_000, Now::exactly(0));
        let cache = cache.expect("possible limits");
        metrics::register(name, cache.metrics());
        Self { name, cache }
    }

    fn metrics(&self) -> &Arc<Metrics> {
        self.cache.metrics()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        metrics::unregister(self.name, self.metrics());
    }
}

#[test]
fn health_tells_whether_python_answers() {
    let site = Site::new();
    let answer = site.ask(&verb("health"));
    let health = result(&answer);
    assert_eq!(health["python"]["answers"], true, "{health}");
    assert!(health["python"]["after_ms"].as_f64().is_some());
    assert_eq!(health["enabled"], true);
    assert_eq!(health["orders"], 0);
    assert!(
        health["rss_bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 100_000)
    );
    assert!(health["uptime_seconds"].as_f64().is_some());

    let held = Held::new();
    let answer = site.ask(&verb("health"));
    let python = &result(&answer)["python"];
    assert_eq!(python["answers"], false, "{python}");
    let first = python["silent_for_ms"].as_f64().expect("a number");
    assert!(first >= 90.0);
    let answer = site.ask(&verb("health"));
    let later = result(&answer)["python"]["silent_for_ms"].as_f64();
    assert!(
        later.is_some_and(|later| later > first),
        "the same silence goes on"
    );
    drop(held);
    let answer = site.ask(&verb("health"));
    assert_eq!(result(&answer)["python"]["answers"], true);
}

#[test]
fn config_shows_what_python_described() {
    let site = Site::new();
    control::describe(r#"{"role": "gunicorn"}"#).expect("a JSON object");
    let answer = site.ask(&verb("config"));
    let config = result(&answer);
    assert_eq!(config["describe"], json!({"role": "gunicorn"}));
    assert_eq!(config["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(config["versions"]["shared"], false);
    for wrong in ["[1]", "{", ""] {
        assert!(control::describe(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn stats_are_answered_while_python_hangs() {
    let site = Site::new();
    let shown = Shown::new("books");
    let other = Shown::new("authors");
    let answer = site.ask(&verb("stats"));
    assert_eq!(result(&answer)["exact"], true);
    assert_eq!(result(&answer)["caches"]["books"]["max_size"], 10);
    assert_eq!(result(&answer)["caches"]["authors"]["kind"], "cache");
    assert!(result(&answer).get("patterns").is_none());

    let _held = Held::new();
    let asked = Instant::now();
    let answer = site.ask(&json!({"v": 1, "verb": "stats", "caches": ["books"], "patterns": true}));
    assert!(
        asked.elapsed() < Duration::from_millis(100),
        "{:?}",
        asked.elapsed()
    );
    let stats = result(&answer);
    assert_eq!(stats["exact"], false);
    assert_eq!(stats["enabled"], true);
    assert_eq!(
        stats["caches"].as_object().map(serde_json::Map::len),
        Some(1)
    );
    assert_eq!(stats["patterns"]["books"], json!([]));
    drop((shown, other));
}

#[test]
fn stats_keep_the_order_of_the_documents() {
    let site = Site::new();
    let _shown = Shown::new("books");
    let mut client = site.connect();
    client.send(b"{\"v\":1,\"verb\":\"stats\"}\n");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut client.reader, &mut line).expect("an answer");
    let first = "\"books\":{\"size\":0,\"max_size\":10,\"expired_entries\":0,\"ttl_seconds\":1,\"utilization_percent\":0.0,";
    assert!(line.contains(first), "{line}");
}

#[test]
fn unknown_caches_are_told_with_what_there_is() {
    let site = Site::new();
    let _shown = Shown::new("books");
    for request in [
        json!({"v": 1, "verb": "stats", "caches": ["books", "nobody's"]}),
        json!({"v": 1, "verb": "clear", "caches": ["nobody's"]}),
        json!({"v": 1, "verb": "keys", "cache": "nobody's"}),
        json!({"v": 1, "verb": "explain", "key": "a", "cache": "nobody's"}),
        json!({"v": 1, "verb": "top", "by": "hits", "caches": ["nobody's"]}),
    ] {
        let answer = site.ask(&request);
        assert_eq!(error(&answer), "unknown_cache", "{request}");
        let message = answer["message"].as_str().expect("a message");
        assert!(
            message.contains("nobody's") && message.contains("books"),
            "{message}"
        );
    }
    assert_eq!(orders::waiting(), 0);
}

#[test]
fn orders_are_done_by_the_clerk_or_stay() {
    let site = Site::new();
    let _shown = Shown::new("books");
    let answer = site.ask(&verb("clear"));
    assert_eq!(*result(&answer), json!({"cleared": {}, "done": true}));
    let answer = site.ask(&verb("cleanup"));
    assert_eq!(*result(&answer), json!({"cleaned": {}, "done": true}));
    let answer = site.ask(&json!({"v": 1, "verb": "invalidate", "tags": ["red"]}));
    assert_eq!(
        *result(&answer),
        json!({"invalidated": {}, "words": 0, "done": true})
    );

    let held = Held::new();
    let answer = site.ask(&verb("clear"));
    assert_eq!(
        *result(&answer),
        json!({"cleared": {"books": 0}, "done": false})
    );
    let answer = site.ask(&verb("cleanup"));
    assert_eq!(
        *result(&answer),
        json!({"cleaned": {"books": null}, "done": false})
    );
    let answer =
        site.ask(&json!({"v": 1, "verb": "invalidate", "keys": ["a", "b"], "caches": ["books"]}));
    let nothing = json!({"invalidated": {"books": null}, "words": 0, "done": false});
    assert_eq!(*result(&answer), nothing);
    let answer = site.ask(
        &json!({"v": 1, "verb": "invalidate", "patterns": ["a*"], "prefix": "p", "version": 1, "caches": ["books"]}),
    );
    assert_eq!(*result(&answer), nothing);
    let answer = site.ask(
        &json!({"v": 1, "verb": "invalidate", "patterns": ["a"], "kind": "regex", "count": true, "caches": ["books"]}),
    );
    assert_eq!(
        *result(&answer),
        json!({"invalidated": {"books": null}, "words": 0, "done": false, "counted": true})
    );
    let answer = site.ask(&verb("health"));
    assert_eq!(result(&answer)["orders"], 5);
    drop(held);
    crate::until(|| orders::waiting() == 0);
}

#[test]
fn orders_do_not_pile_up() {
    let _site = Site::empty();
    // Without a clerk, as while Python hangs; each post is left at once.
    let ask = || control::ask(b"{\"v\":1,\"verb\":\"clear\"}", |_| Ok(String::new()));
    let mut count = 0;
    while ask().contains("\"ok\":true") {
        count += 1;
        assert!(count < 1_000, "orders without end");
    }
    assert_eq!(orders::waiting(), count);
    assert!(ask().contains("\"busy\""));
    carry_out(&control::Task::Attend).expect("it never fails");
    assert!(ask().contains("\"ok\":true"));
    carry_out(&control::Task::Attend).expect("it never fails");
}

#[test]
fn patterns_of_orders_do_not_pile_up() {
    let _site = Site::empty();
    // Each of them compiles to some 8 MB.
    let line = br#"{"v":1,"verb":"invalidate","patterns":["(?:a?){80000}b"],"kind":"regex"}"#;
    let ask = || control::ask(line, |_| Ok(String::new()));
    let mut count = 0;
    while ask().contains("\"ok\":true") {
        count += 1;
        assert!(count < 20, "memory without end");
    }
    assert!(ask().contains("\"busy\""));
    carry_out(&control::Task::Attend).expect("it never fails");
    assert_eq!((orders::waiting(), orders::waiting_bytes()), (0, 0));
}

#[test]
fn words_are_bumped_without_orders() {
    let site = Site::new();
    let versions = versions::current();
    let stamps = [versions.capture(versions.word(b"model:app.book"))];
    let _held = Held::new();
    let answer = site.ask(&json!({"v": 1, "verb": "invalidate", "words": ["model:app.book"]}));
    assert_eq!(
        *result(&answer),
        json!({"invalidated": {}, "words": 1, "done": true})
    );
    assert!(!versions.are_current(&stamps));
}

#[test]
fn words_that_are_counted_are_not_bumped() {
    let site = Site::new();
    let versions = versions::current();
    let stamps = [versions.capture(versions.word(b"model:app.page"))];
    let request = json!({"v": 1, "verb": "invalidate", "words": ["model:app.page"], "count": true});
    assert_eq!(
        *result(&site.ask(&request)),
        json!({"invalidated": {}, "words": 1, "done": true, "counted": true})
    );
    assert!(versions.are_current(&stamps));
}

#[test]
fn clearing_a_store_bumps_its_word() {
    let site = Site::new();
    let shown = Shown::new("django:default");
    shown.metrics().set_word(b"store:here".to_vec());
    let other = Shown::new("plain");
    let versions = versions::current();
    let stamps = [versions.capture(versions.word(b"store:here"))];
    result(&site.ask(&json!({"v": 1, "verb": "clear", "caches": ["plain"]})));
    assert!(versions.are_current(&stamps));
    result(&site.ask(&verb("clear")));
    assert!(!versions.are_current(&stamps));
    drop((shown, other));
}

#[test]
fn what_was_counted_is_reset() {
    let site = Site::new();
    let shown = Shown::new("books");
    let _other = Shown::new("authors");
    shown.metrics().loaded(5, true, String::new);
    let asked = json!({"v": 1, "verb": "stats"});
    assert_eq!(
        result(&site.ask(&asked))["caches"]["books"]["load_errors"],
        1
    );
    let answer = site.ask(&json!({"v": 1, "verb": "reset", "caches": ["books"]}));
    assert_eq!(*result(&answer), json!({"reset": ["books"]}));
    assert_eq!(
        result(&site.ask(&asked))["caches"]["books"]["load_errors"],
        0
    );
}

#[test]
fn disabled_workers_leave_a_mark_for_those_to_come() {
    let site = Site::new();
    let marker = site.folder().join("disabled");
    let answer = site.ask(&verb("disable"));
    assert_eq!(*result(&answer), json!({"enabled": false, "cleared": 0}));
    assert!(marker.exists());
    assert_eq!(result(&site.ask(&verb("health")))["enabled"], false);
    assert_eq!(result(&site.ask(&verb("disable")))["enabled"], false);
    let answer = site.ask(&verb("enable"));
    assert_eq!(*result(&answer), json!({"enabled": true, "cleared": 0}));
    assert!(!marker.exists());
    assert_eq!(result(&site.ask(&verb("enable")))["enabled"], true);
    assert_eq!(result(&site.ask(&verb("stats")))["enabled"], true);
}

#[test]
fn the_process_answers_itself_as_its_socket_would() {
    let site = Site::empty();
    let ask = |line: &[u8]| -> serde_json::Value {
        let answer = control::ask(line, carry_out);
        assert!(answer.ends_with('\n') && answer.trim_end().lines().count() == 1);
        serde_json::from_str(&answer).expect("JSON")
    };
    assert_eq!(result(&ask(b"{\"v\":1,\"verb\":\"stats\"}"))["exact"], true);
    let asked = result(&ask(b"{\"v\":1,\"verb\":\"trail\",\"words\":[3]}")).clone();
    assert_eq!(
        asked,
        json!({"verb": "trail", "asked": {"words": [3], "limit": 100}})
    );
    assert_eq!(error(&ask(b"[]")), "malformed");
    assert!(!site.directory.join("disabled").exists());
    result(&ask(b"{\"v\":1,\"verb\":\"disable\"}"));
    result(&ask(b"{\"v\":1,\"verb\":\"enable\"}"));
    assert!(!control::state().serving);
}
