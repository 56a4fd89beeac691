//! Malformed, oversized, slow and hostile clients: refused, counted, and nobody else the worse for it.

use std::io::Read;
use std::time::{Duration, Instant};

use _native::host::control;
use _native::host::control::wire::MAX_LINE_BYTES;
use serde_json::{Value, json};

use crate::{Client, Site, error, result, until, verb};

#[test]
fn malformed_lines_end_the_connection() {
    let site = Site::new();
    let deep = "[".repeat(30_000);
    let lines: [&[u8]; 14] = [
        b"",
        b"\0",
        b"health",
        b"[]",
        b"{}",
        b"{\"verb\":\"health\"}",
        b"{\"v\":1}",
        b"{\"v\":2,\"verb\":\"health\"}",
        b"{\"v\":1.0,\"verb\":\"health\"}",
        b"{\"v\":1,\"verb\":7}",
        b"{\"v\":1,\"verb\":\"health\"} {}",
        b"{\"v\":1,\"verb\":\"\xff\"}",
        b"{\"v\":1,\"verb\":\"health\",\"a\":1e999}",
        deep.as_bytes(),
    ];
    for line in lines {
        let before = control::state().refused;
        let mut client = site.connect();
        client.send(line);
        client.send(b"\n");
        assert_eq!(
            error(&client.answer()),
            "malformed",
            "{:?}",
            String::from_utf8_lossy(line)
        );
        assert_eq!(client.answer(), Value::Null);
        assert_eq!(control::state().refused, before + 1);
    }
    result(&site.ask(&verb("health")));
}

/// Requests with the error they get, and what its message names.
fn wrong_requests() -> Vec<(Value, &'static str, &'static str)> {
    let many: Vec<u32> = (0..10_001).collect();
    let unknown = "unknown_argument";
    let wrong = "wrong_argument";
    vec![
        (json!({"verb": "shutdown"}), "unknown_verb", "shutdown"),
        (json!({"verb": "\u{0}"}), "unknown_verb", "stats"),
        (json!({"verb": "health", "x": 1}), unknown, "\"x\""),
        (json!({"verb": "stats", "cache": "a"}), unknown, "\"cache\""),
        (json!({"verb": "stats", "caches": "a"}), wrong, "caches"),
        (json!({"verb": "stats", "caches": [1]}), wrong, "caches"),
        (json!({"verb": "stats", "wait_ms": -1}), wrong, "wait_ms"),
        (
            json!({"verb": "stats", "wait_ms": 9_999_999}),
            wrong,
            "wait_ms",
        ),
        (
            json!({"verb": "stats", "patterns": "yes"}),
            wrong,
            "patterns",
        ),
        (json!({"verb": "invalidate"}), wrong, "tags"),
        (json!({"verb": "invalidate", "keys": many}), wrong, "keys"),
        (json!({"verb": "keys"}), wrong, "cache"),
        (json!({"verb": "top", "by": "name"}), wrong, "misses"),
        (json!({"verb": "top"}), wrong, "by"),
        (json!({"verb": "trail", "words": [-1]}), wrong, "words"),
        (json!({"verb": "trail", "limit": 1e9}), wrong, "limit"),
        (
            json!({"verb": "tracker", "action": "drop"}),
            wrong,
            "cleanup",
        ),
    ]
}

/// The same, of patterns.
fn wrong_patterns() -> Vec<(Value, &'static str, &'static str)> {
    let wrong = "wrong_argument";
    vec![
        (
            json!({"verb": "invalidate", "patterns": ["a*", "("], "kind": "regex"}),
            wrong,
            "unclosed group",
        ),
        (
            json!({"verb": "invalidate", "patterns": ["(?=a)"], "kind": "regex"}),
            wrong,
            "linear time",
        ),
        (
            json!({"verb": "invalidate", "patterns": vec!["\\w{90}"; 100], "kind": "regex"}),
            wrong,
            "those before it",
        ),
        (
            json!({"verb": "invalidate", "patterns": vec!["a"; 1_001]}),
            wrong,
            "1000",
        ),
        (
            json!({"verb": "invalidate", "patterns": ["a".repeat(10_001)]}),
            wrong,
            "10000",
        ),
        (
            json!({"verb": "invalidate", "patterns": ["a"], "kind": "sql"}),
            wrong,
            "glob, regex",
        ),
        (
            json!({"verb": "invalidate", "patterns": ["a"], "version": "1"}),
            wrong,
            "whole number",
        ),
        (
            json!({"verb": "invalidate", "keys": ["a"], "kind": "glob"}),
            wrong,
            "about patterns",
        ),
        (
            json!({"verb": "invalidate", "keys": ["a"], "count": 1}),
            wrong,
            "count",
        ),
    ]
}

#[test]
fn wrong_requests_are_named_and_the_connection_stays() {
    let site = Site::new();
    let mut client = site.connect();
    for (request, code, named) in wrong_requests().into_iter().chain(wrong_patterns()) {
        let mut line = request.clone();
        line["v"] = json!(1);
        let answer = client.ask(&line);
        assert_eq!(error(&answer), code, "{request}");
        let message = answer["message"].as_str().expect("a message");
        assert!(message.contains(named), "{message}");
        assert!(
            message.len() < 400,
            "a message quotes no more than it must: {message}"
        );
    }
    result(&client.ask(&verb("health")));
}

#[test]
fn a_line_has_a_length() {
    let site = Site::new();
    // With its end exactly as long as a line may be.
    let mut fits = b"{\"v\":1,\"verb\":\"config\"".to_vec();
    fits.resize(MAX_LINE_BYTES - 2, b' ');
    fits.extend_from_slice(b"}\n");
    let mut client = site.connect();
    client.send(&fits);
    assert!(result(&client.answer()).is_object());
    fits.insert(10, b' ');
    client.send(&fits);
    assert_eq!(error(&client.answer()), "too_long");
    assert_eq!(client.answer(), Value::Null);

    let mut endless = site.connect();
    let chunk = [b'a'; 4096];
    while std::io::Write::write_all(&mut endless.stream, &chunk).is_ok() {}
    assert_eq!(error(&endless.answer()), "too_long");
}

#[test]
fn bytes_come_in_any_portions() {
    let site = Site::new();
    let mut client = site.connect();
    for byte in b"{\"v\":1,\"verb\":\"config\"}\n{\"v\":1,\"verb\":\"health\"}\n" {
        client.send(&[*byte]);
    }
    assert!(result(&client.answer())["version"].is_string());
    assert!(result(&client.answer())["uptime_seconds"].is_number());
    let many = "{\"v\":1,\"verb\":\"config\"}\n".repeat(500);
    client.send(many.as_bytes());
    for _ in 0..500 {
        assert!(result(&client.answer())["version"].is_string());
    }
    client.send(b"{\"v\":1,\"verb\":\"config\"}\n{\"v\":1");
    client
        .stream
        .shutdown(std::net::Shutdown::Write)
        .expect("half closed");
    assert!(result(&client.answer()).is_object());
    assert_eq!(error(&client.answer()), "malformed");
    assert_eq!(client.answer(), Value::Null);
}

#[test]
fn who_is_slow_is_let_go() {
    let site = Site::new();
    let before = control::state().refused;
    let begun = Instant::now();
    let mut silent = site.connect();
    let mut dripping = site.connect();
    dripping.send(b"{\"v\":1,");
    let mut idle = site.connect();
    result(&idle.ask(&verb("config")));
    // One that asks and asks, and takes no answer.
    let mut greedy = site.connect();
    greedy
        .stream
        .set_write_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    let many = "{\"v\":1,\"verb\":\"config\"}\n".repeat(20_000);
    let _ = std::io::Write::write_all(&mut greedy.stream, many.as_bytes());
    result(&site.ask(&verb("config")));

    assert_eq!(error(&silent.answer()), "slow");
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(error(&dripping.answer()), "slow");
    assert_eq!(
        idle.answer(),
        Value::Null,
        "who was answered may go without a word"
    );
    until(|| control::state().refused == before + 3);
    // What was written before it was let go can still be read, and then it ends.
    let mut rest = Vec::new();
    let _ = greedy.stream.read_to_end(&mut rest);
    assert!(rest.len() < many.len() * 10);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[test]
fn eight_are_served_and_the_ninth_is_told() {
    let site = Site::new();
    let mut clients: Vec<Client> = (0..8).map(|_| site.connect()).collect();
    for client in &mut clients {
        result(&client.ask(&verb("config")));
    }
    let mut ninth = site.connect();
    assert_eq!(error(&ninth.answer()), "too_many");
    assert_eq!(ninth.answer(), Value::Null);
    for client in &mut clients {
        result(&client.ask(&verb("config")));
    }
    clients.pop();
    until(|| site.ask(&verb("config"))["ok"] == true);
}

#[test]
fn clients_that_vanish_leave_nothing() {
    let site = Site::new();
    let descriptors = || std::fs::read_dir("/proc/self/fd").expect("Linux").count();
    result(&site.ask(&verb("config")));
    let before = descriptors();
    for number in 0..200 {
        let mut client = site.connect();
        if number % 2 == 0 {
            client.send(b"{\"v\":1,\"verb\":\"config\"}\n{\"v\":1");
        }
    }
    until(|| site.ask(&verb("config"))["ok"] == true && descriptors() <= before + 2);
}
