//! Verbs that change caches. Tables are not touched here: orders are left, and whoever uses a cache next carries them out.
//!
//! The clerk is asked to do so at once. Where Python does not answer, the orders stay: nobody sees what they are to remove.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::arguments::Arguments;
use super::log::{self, Named};
use super::marker;
use super::patterns;
use super::verbs::{Finish, Patience, Step, Task};
use super::wire::{Answer, Code, Failure, encode};
use crate::engine::Selector;
use crate::engine::clock::{self, Source};
use crate::engine::metrics::{self, ByName, Metrics};
use crate::engine::orders::{self, Done, Order, Target, Wanted};
use crate::host::versions;

/// How long carrying out may take until the answer says that it was ordered only.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long what takes long may: it gives way to all others. Less than the second that clients wait.
const LONG_PATIENCE: Duration = Duration::from_millis(800);
/// The most posts of orders that may wait: a process that hangs does not fill up with them.
const MOST_WAITING: usize = 256;
/// The same for the memory that their patterns take: a line of 64 KiB may compile to 20 MB.
const MOST_WAITING_BYTES: usize = 64 << 20;
const NANOS: i64 = 1_000_000_000;

pub(super) fn clear(mut arguments: Arguments) -> Result<Step, Failure> {
    let caches = arguments.caches()?;
    arguments.end()?;
    has_room()?;
    let held = entries(caches.as_deref());
    let words = store_words(caches.as_deref());
    bump(&words);
    log::enter("clear", &words, caches.as_deref(), &Named::default());
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
        patience: LONG_PATIENCE.into(),
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
    let words = arguments.names("words")?.unwrap_or_default();
    let named = Named {
        keys: arguments.names("keys")?.unwrap_or_default(),
        tags: arguments.names("tags")?.unwrap_or_default(),
        patterns: arguments.names("patterns")?.unwrap_or_default(),
    };
    let selector = patterns::selector(&mut arguments, &named.patterns)?;
    let is_count = arguments.flag("count", false)?;
    let has_stores = arguments.flag("stores", true)?;
    arguments.end()?;
    let is_ordered = !named.keys.is_empty() || !named.tags.is_empty() || selector.is_some();
    if !is_ordered && words.is_empty() {
        let message = "invalidate: nothing is named: keys, tags, patterns or words";
        return Err(Failure::new(Code::WrongArgument, message));
    }
    has_room()?;
    let count = words.len();
    if !is_count {
        let words: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
        bump(&words);
        log::enter("invalidate", &words, caches.as_deref(), &named);
    }
    let answer = move |counts, done| {
        encode(&Invalidated {
            counts,
            words: count,
            done,
            is_counted: is_count,
        })
    };
    if !is_ordered {
        return Ok(Step::Ready(answer(ByName(Vec::new()), true)));
    }
    let names = names(caches.as_deref());
    let orders = about(named, selector, is_count);
    let target = match caches {
        None if !has_stores => Target::Plain,
        caches => target(caches),
    };
    let receipt = orders::post(target, orders);
    Ok(Step::Ask {
        task: Task::Attend,
        patience: Patience {
            begun: PATIENCE,
            done: LONG_PATIENCE,
        },
        finish: Box::new(move |_| match receipt.wait(Duration::ZERO) {
            Some(done) if is_count => answer(counted(done), true),
            Some(done) => answer(some(sums(done, 0)), true),
            None => answer(unknown(names), false),
        }),
    })
}

/// What is to be done about what a request names.
fn about(named: Named, selector: Option<Selector>, is_count: bool) -> Vec<Order> {
    if is_count {
        let wanted = Wanted {
            keys: named.keys,
            tags: named.tags.into_iter().collect(),
            selector,
        };
        return vec![Order::Count(Arc::new(wanted))];
    }
    let keys = named.keys.into_iter().map(Order::Key);
    let tags = named.tags.into_iter().map(Order::Tag);
    let pattern = selector.map(|selector| Order::Pattern(Arc::new(selector)));
    keys.chain(tags).chain(pattern).collect()
}

pub(super) fn disable(arguments: Arguments) -> Result<Step, Failure> {
    arguments.end()?;
    let held = entries(None).0.iter().map(|(_, count)| count).sum();
    let receipt = orders::disable();
    log::enter("disable", &[], None, &Named::default());
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
    log::enter("enable", &[], None, &Named::default());
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
        patience: PATIENCE.into(),
        finish,
    }
}

#[derive(Serialize)]
struct Invalidated {
    #[serde(rename = "invalidated")]
    counts: ByName<Option<i64>>,
    words: usize,
    done: bool,
    /// Nothing was removed.
    #[serde(rename = "counted", skip_serializing_if = "std::ops::Not::not")]
    is_counted: bool,
}

fn has_room() -> Result<(), Failure> {
    match orders::waiting() {
        0..MOST_WAITING if orders::waiting_bytes() <= MOST_WAITING_BYTES => Ok(()),
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

/// By cache; unknown where it could not be told.
fn counted(done: Done) -> ByName<Option<i64>> {
    let counts = done.counts.into_iter();
    let count = |counts: &[Option<u64>]| i64::try_from(counts.first().copied()??).ok();
    ByName(
        counts
            .map(|(name, counts)| (name, count(&counts)))
            .collect(),
    )
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
