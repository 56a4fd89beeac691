//! Verbs that change caches. Tables are not touched here: orders are left, and whoever uses a cache next carries them out.
//!
//! The clerk is asked to do so at once. Where Python does not answer, the orders stay: nobody sees what they are to remove.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::arguments::Arguments;
use super::log;
use super::marker;
use super::verbs::{Finish, Step, Task};
use super::wire::{Answer, Code, Failure, encode};
use crate::engine::clock::{self, Source};
use crate::engine::metrics::{self, ByName, Metrics};
use crate::engine::orders::{self, Done, Order, Target};
use crate::host::versions;

/// How long carrying out may take until the answer says that it was ordered only.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long sweeping may: it gives way to all others. Less than the second that clients wait.
const SWEEP_PATIENCE: Duration = Duration::from_millis(800);
/// The most posts of orders that may wait: a process that hangs does not fill up with them.
const MOST_WAITING: usize = 256;
const NANOS: i64 = 1_000_000_000;

pub(super) fn clear(mut arguments: Arguments) -> Result<Step, Failure> {
    let caches = arguments.caches()?;
    arguments.end()?;
    has_room()?;
    let held = entries(caches.as_deref());
    let words = store_words(caches.as_deref());
    bump(&words);
    log::enter("clear", &words, caches.as_deref(), &[], &[]);
    let receipt = orders::post(target(caches), vec![Order::Clear]);
    Ok(attended(Box::new(move |_| {
        let done = receipt.wait(Duration::ZERO);
        let is_done = done.is_some();
        // Where it is ordered only, nobody will see these any more.
        let cleared = done.map_or(held, |done| sums(done, 0));
        encode(&json!({"cleared": cleared, "done": is_done}))
    })))
}

pub(super) fn cleanup(mut arguments: Arguments) -> Result<Step, Failure> {
    let caches = arguments.caches()?;
    arguments.end()?;
    has_room()?;
    let names = names(caches.as_deref());
    let receipt = orders::post(target(caches), vec![Order::Sweep]);
    Ok(Step::Ask {
        task: Task::Attend,
        patience: SWEEP_PATIENCE,
        finish: Box::new(move |_| {
            let done = receipt.wait(Duration::ZERO);
            let is_done = done.is_some();
            let cleaned = done.map_or(unknown(names), |done| some(sums(done, -1)));
            encode(&json!({"cleaned": cleaned, "done": is_done}))
        }),
    })
}

pub(super) fn invalidate(mut arguments: Arguments) -> Result<Step, Failure> {
    let caches = arguments.caches()?;
    let keys = arguments.names("keys")?.unwrap_or_default();
    let tags = arguments.names("tags")?.unwrap_or_default();
    let words = arguments.names("words")?.unwrap_or_default();
    arguments.end()?;
    if keys.is_empty() && tags.is_empty() && words.is_empty() {
        let message = "invalidate: nothing is named: keys, tags or words";
        return Err(Failure::new(Code::WrongArgument, message));
    }
    has_room()?;
    let count = words.len();
    let words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
    bump(&words);
    log::enter("invalidate", &words, caches.as_deref(), &keys, &tags);
    let keys = keys.into_iter().map(Order::Key);
    let ordered: Vec<Order> = keys.chain(tags.into_iter().map(Order::Tag)).collect();
    if ordered.is_empty() {
        let none = ByName::<i64>(Vec::new());
        let result = Invalidated {
            counts: none,
            words: count,
            done: true,
        };
        return Ok(Step::Ready(encode(&result)));
    }
    let names = names(caches.as_deref());
    let receipt = orders::post(target(caches), ordered);
    Ok(attended(Box::new(move |_| {
        let done = receipt.wait(Duration::ZERO);
        encode(&Invalidated {
            done: done.is_some(),
            counts: done.map_or(unknown(names), |done| some(sums(done, 0))),
            words: count,
        })
    })))
}

pub(super) fn disable(arguments: Arguments) -> Result<Step, Failure> {
    arguments.end()?;
    let held = entries(None).0.iter().map(|(_, count)| count).sum();
    let receipt = orders::disable();
    log::enter("disable", &[], None, &[], &[]);
    let marked = marker::leave(true);
    Ok(attended(Box::new(move |_| {
        let cleared = receipt.map_or(0, |receipt| {
            let done = receipt.wait(Duration::ZERO);
            done.map_or(held, |done| done.total())
        });
        switched(false, marked, cleared)
    })))
}

pub(super) fn enable(arguments: Arguments) -> Result<Step, Failure> {
    arguments.end()?;
    orders::enable();
    log::enter("enable", &[], None, &[], &[]);
    Ok(Step::Ready(switched(true, marker::leave(false), 0)))
}

fn switched(is_on: bool, marked: Result<(), String>, cleared: u64) -> Answer {
    marked.map_err(|reason| {
        let what = if is_on { "enabled" } else { "disabled" };
        let message = format!("this process is {what}, but those to come are not told: {reason}");
        Failure::new(Code::Failed, message)
    })?;
    encode(&json!({"enabled": is_on, "cleared": cleared}))
}

fn attended(finish: Finish) -> Step {
    Step::Ask {
        task: Task::Attend,
        patience: PATIENCE,
        finish,
    }
}

#[derive(Serialize)]
struct Invalidated<T: Serialize> {
    #[serde(rename = "invalidated")]
    counts: ByName<T>,
    words: usize,
    done: bool,
}

fn has_room() -> Result<(), Failure> {
    match orders::waiting() {
        0..MOST_WAITING => Ok(()),
        waiting => Err(Failure::new(
            Code::Busy,
            format!("{waiting} orders are waiting to be carried out already"),
        )),
    }
}

fn target(caches: Option<Vec<String>>) -> Target {
    caches.map_or(Target::Registered, Target::Named)
}

/// The caches that are asked for.
fn asked(caches: Option<&[String]>) -> impl Iterator<Item = (String, Arc<Metrics>)> {
    let all = metrics::registered().into_iter();
    all.filter(move |(name, _)| caches.is_none_or(|asked| asked.contains(name)))
}

fn names(caches: Option<&[String]>) -> Vec<String> {
    asked(caches).map(|(name, _)| name).collect()
}

/// What each cache holds now.
fn entries(caches: Option<&[String]>) -> ByName<u64> {
    ByName(
        asked(caches)
            .map(|(name, metrics)| (name, metrics.size()))
            .collect(),
    )
}

/// The words that empty these caches in every process.
fn store_words(caches: Option<&[String]>) -> Vec<Vec<u8>> {
    let words = asked(caches).filter_map(|(_, metrics)| Some(metrics.word()?.to_vec()));
    words.collect()
}

/// By cache, over all orders; `failed` where none could be carried out.
fn sums<T: TryFrom<u64> + Copy>(done: Done, failed: T) -> ByName<T> {
    let sum = |counts: &[Option<u64>]| {
        let known: Vec<u64> = counts.iter().flatten().copied().collect();
        if known.is_empty() {
            return failed;
        }
        T::try_from(known.iter().sum()).unwrap_or(failed)
    };
    let counts = done.counts.into_iter();
    ByName(counts.map(|(name, counts)| (name, sum(&counts))).collect())
}

fn some(counts: ByName<i64>) -> ByName<Option<i64>> {
    ByName(
        counts
            .0
            .into_iter()
            .map(|(name, count)| (name, Some(count)))
            .collect(),
    )
}

fn unknown(names: Vec<String>) -> ByName<Option<i64>> {
    ByName(names.into_iter().map(|name| (name, None)).collect())
}

fn bump<N: AsRef<[u8]>>(words: &[N]) {
    if words.is_empty() {
        return;
    }
    versions::bump(words, || {
        let now = match clock::source() {
            Source::System => clock::precise(),
            // Python reads the time; the last that it was set to is near enough for a note in whole seconds.
            _ => clock::now().at(),
        };
        u32::try_from(now / NANOS).unwrap_or(0)
    });
}
