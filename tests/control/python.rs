//! What only Python can answer, and what becomes of it when Python does not.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Held, Site, error, result, verb};

#[test]
fn arguments_go_to_python_as_they_came() {
    let site = Site::new();
    for (request, handed) in [
        (
            json!({"verb": "top", "by": "age"}),
            json!({"by": "age", "limit": 10}),
        ),
        (
            json!({"verb": "explain", "key": "a:b", "version": 2, "prefix": null}),
            json!({"key": "a:b", "version": 2}),
        ),
        (
            json!({"verb": "tracker", "action": "dry"}),
            json!({"action": "dry"}),
        ),
        (json!({"verb": "trail"}), json!({"limit": 100})),
    ] {
        let mut line = request.clone();
        line["v"] = json!(1);
        let answer = site.ask(&line);
        let verb = &request["verb"];
        assert_eq!(
            *result(&answer),
            json!({"verb": verb, "asked": handed}),
            "{request}"
        );
    }
}

#[test]
fn a_panic_is_an_answer_and_the_thread_goes_on() {
    let site = Site::new();
    let mut client = site.connect();
    assert_eq!(error(&client.ask(&verb("warm"))), "failed");
    assert_eq!(error(&client.ask(&verb("schedule"))), "failed");
    assert_eq!(result(&client.ask(&verb("trail")))["verb"], "trail");
}

#[test]
fn python_that_is_silent_is_busy_and_others_are_answered() {
    let site = Site::new();
    let held = Held::new();
    let mut waiting = site.connect();
    let asked = Instant::now();
    waiting.send(b"{\"v\":1,\"verb\":\"trail\"}\n");
    for _ in 0..20 {
        let answer = site.ask(&verb("config"));
        assert!(result(&answer).is_object());
    }
    assert!(
        asked.elapsed() < Duration::from_millis(700),
        "{:?}",
        asked.elapsed()
    );
    let answer = waiting.answer();
    assert_eq!(error(&answer), "busy");
    let message = answer["message"].as_str().expect("a message");
    assert!(
        message.starts_with("Python has not answered for "),
        "{message}"
    );
    drop(held);
    assert_eq!(result(&waiting.ask(&verb("trail")))["verb"], "trail");
}

#[test]
fn who_leaves_is_forgotten() {
    let site = Site::new();
    let held = Held::new();
    for _ in 0..20 {
        let mut client = site.connect();
        client.send(b"{\"v\":1,\"verb\":\"trail\"}\n");
    }
    drop(held);
    crate::until(|| site.ask(&verb("trail"))["ok"] == true);
}
