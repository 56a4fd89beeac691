//! Carrying out what other threads ordered, by whoever uses a cache next; and disabling all caches.
//!
//! What is ordered away runs no Python code while it leaves: no thread gets in between taking an order and having carried it
//! out, so nobody reads what an order that is gone from the queue has not yet removed. What left is dropped later, in
//! bites (`graveyard.rs`).

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::backend_key::{Name, Owned, number};
use super::bites;
use super::clock as python_clock;
use super::graveyard::{self, LARGE_BITE, SMALL_BITE};
use super::keys;
use super::manager;
use super::outside;
use super::shared::{PyTable, Shared};
use crate::engine::clock;
use crate::engine::metrics::MAX_COUNTED;
use crate::engine::orders::{self, Done, Order, Posted, Target, Wanted};
use crate::engine::{Cause, Matcher, PatternKind, Selector, Slot, TagRef, Within};

/// A key of Django's form may be taken apart at so many places.
const MAX_PARTS: usize = 8;
/// So many entries of a tag are removed before anything else happens, which takes some 2 ms.
const TAG_AT_ONCE: usize = 4096;

/// How long the clerk goes on with what takes long, at most: it is to be gone within a second when the process forks or ends.
const LONGEST: Duration = Duration::from_millis(700);
/// How long it lets others have the GIL between two bites.
const BREATH: Duration = Duration::from_millis(1);

/// Carry out all orders, a bite of those that take long, and drop a bite of what they took out; how many posts that were.
/// Hold no table.
#[cold]
#[inline(never)]
pub(super) fn attend(py: Python<'_>) -> usize {
    let count = carry_out_all(py);
    let is_working = bites::go_on(py, SMALL_BITE);
    let is_burying = graveyard::bury(py, SMALL_BITE);
    if !is_working && !is_burying {
        rest();
    }
    count
}

/// As [`attend`], until all orders are carried out: for the clerk, whom somebody waits for. Others have the GIL in between.
pub(super) fn attend_to_all(py: Python<'_>) {
    let begun = Instant::now();
    attend(py);
    while bites::is_left() && begun.elapsed() < LONGEST {
        outside::detached(py, || std::thread::sleep(BREATH));
        carry_out_all(py);
        bites::go_on(py, LARGE_BITE);
    }
}

/// Carry out all orders, and go on with and drop as much as nobody has to wait for; whether anything is left. For the clerk.
pub(super) fn tidy(py: Python<'_>) -> bool {
    carry_out_all(py);
    let is_left = bites::go_on(py, LARGE_BITE) || graveyard::bury(py, LARGE_BITE);
    if !is_left {
        rest();
    }
    is_left
}

/// Nobody need come here any more, unless something came up while the last of it was dropped.
fn rest() {
    orders::rest();
    if bites::is_left() || graveyard::is_left() {
        orders::ask();
    }
}

fn carry_out_all(py: Python<'_>) -> usize {
    let mut count = 0;
    while let Some(posted) = orders::take() {
        carry_out(py, posted);
        count += 1;
    }
    count
}

fn carry_out(py: Python<'_>, posted: Posted) {
    let caches = match &posted.target {
        Target::Everything => graveyard::everybody(),
        Target::Registered => manager::registered(py),
        Target::Plain => {
            let mut caches = manager::registered(py);
            caches.retain(|(_, shared)| !shared.is_store.load(Ordering::Relaxed));
            caches
        }
        Target::Named(names) => {
            let mut caches = manager::registered(py);
            caches.retain(|(name, _)| names.contains(name));
            caches
        }
    };
    bites::begin(py, posted, caches);
}

impl Shared {
    /// Carry out one order, or begin with one that takes long: how many entries were removed or counted, None where that
    /// failed, and whether something is left to do.
    pub(super) fn obey(self: &Arc<Self>, py: Python<'_>, order: &Order) -> (Option<u64>, bool) {
        let count = match order {
            Order::Clear => Some(self.clear_later()),
            Order::Key(text) => self.remove_text(&PyString::new(py, text)).ok(),
            Order::Tag(tag) => {
                let (count, is_left) = self.begin_tag(TagRef::Name(tag));
                return (Some(count as u64), is_left);
            }
            Order::Pattern(selector) => {
                self.renounce_matching(selector);
                return (Some(0), true);
            }
            Order::Sweep => return (Some(0), true),
            Order::Count(wanted) => {
                let count = self.count_keys(py, wanted).ok();
                let is_walked = !wanted.tags.is_empty() || wanted.selector.is_some();
                return (count.map(|count| count as u64), is_walked);
            }
            // This may ask Python for the time. That lets others in, but what is over nobody is given anyway.
            Order::CountExpired => {
                let now = python_clock::instant(py);
                now.ok()
                    .map(|now| self.cache.lock().count_expired(now, MAX_COUNTED))
            }
        };
        (count.map(|count| count as u64), false)
    }

    /// Remove as many of a tag's entries as nobody has to wait for; how many, and whether there are more.
    fn begin_tag(self: &Arc<Self>, tag: TagRef<'_>) -> (usize, bool) {
        self.renounce_fills();
        let mut table = self.cache.lock();
        table.bump_tag(tag);
        let gone = table.remove_tag_some(tag, TAG_AT_ONCE);
        let is_left = gone.len() == TAG_AT_ONCE;
        if is_left {
            // A key whose entry goes later may be stored anew meanwhile, by a load that began before.
            table.bump_all();
        }
        drop(table);
        (self.drop_later(gone), is_left)
    }

    /// How many live entries are held under these texts, and would not be counted by their tags or patterns.
    fn count_keys(&self, py: Python<'_>, wanted: &Wanted) -> PyResult<usize> {
        let now = python_clock::instant(py)?;
        let is_store = self.is_store.load(Ordering::Relaxed);
        let mut found = HashSet::new();
        for text in &wanted.keys {
            let text = PyString::new(py, text);
            let candidates = if is_store { spellings(&text)? } else { vec![] };
            let hash = keys::hash_of(text.as_any())?;
            let table = self.cache.lock();
            found.extend(find_text(&table, &text, hash));
            found.extend(
                candidates
                    .iter()
                    .filter_map(|owned| Name::of(owned).find(&table)),
            );
        }
        let table = self.cache.lock();
        let is_counted =
            |&slot: &Slot| table.is_live(slot, now) && !self.is_wanted(py, &table, slot, wanted);
        Ok(found.into_iter().filter(is_counted).count())
    }

    /// Remove what is held under a text: a str, or a key of the Django backend that Django would make so.
    fn remove_text(self: &Arc<Self>, text: &Bound<'_, PyString>) -> PyResult<usize> {
        self.renounce_fills();
        let is_store = self.is_store.load(Ordering::Relaxed);
        let candidates = if is_store { spellings(text)? } else { vec![] };
        let mut gone = Vec::new();
        let hash = keys::hash_of(text.as_any())?;
        let mut table = self.cache.lock();
        if let Some(slot) = find_text(&table, text, hash) {
            gone.push(table.remove(slot, Cause::Deleted));
        } else {
            table.bump(hash);
        }
        for owned in &candidates {
            let name = Name::of(owned);
            match name.find(&table) {
                Some(slot) => gone.push(table.remove(slot, Cause::Deleted)),
                None => table.bump(name.hash),
            }
        }
        drop(table);
        Ok(self.drop_later(gone))
    }
}

/// The slot of an exact str. Runs no Python code: another kind of key is not found, though it may say that it is equal.
fn find_text(table: &PyTable, text: &Bound<'_, PyString>, hash: u64) -> Option<Slot> {
    let py = text.py();
    table.find(hash, |held| {
        keys::native_eq(held.bind(py), text.as_any()) == Some(true)
    })
}

/// The keys of the Django backend that are this text when Django makes them: prefix, version and key may be parted in many
/// places.
fn spellings<'py>(text: &Bound<'py, PyString>) -> PyResult<Vec<Owned<'py>>> {
    let py = text.py();
    let plain = text.to_str()?;
    let mut spellings = vec![Owned::whole(text)?];
    // Parted here and not by slicing in Python, which makes objects that let the garbage collector in.
    for (end, _) in plain.match_indices(':').take(MAX_PARTS) {
        if let Some((version, key)) = plain[end + 1..].split_once(':')
            && let Some(version) = number(version)
        {
            let prefix = PyString::new(py, &plain[..end]);
            spellings.push(Owned::new(&prefix, version, PyString::new(py, key))?);
        }
    }
    Ok(spellings)
}

/// Carry out what other threads ordered, and drop some of what that took out; how many orders there were.
#[pyfunction(name = "attend")]
pub(super) fn attend_now(py: Python<'_>) -> usize {
    attend(py)
}

/// Disable all caches of this process or enable them. Disabled they are empty, every read misses, and nothing is stored;
/// keys, tags and version words are invalidated as ever. Misses are counted.
#[pyfunction]
#[pyo3(signature = (on, /))]
pub(super) fn set_enabled(py: Python<'_>, on: bool) {
    if on {
        orders::enable();
    } else {
        drop(orders::disable());
    }
    python_clock::heed(py);
}

/// Whether caches are enabled.
#[pyfunction]
pub(super) fn is_enabled() -> bool {
    !clock::is_disabled()
}

/// What tests look at: no part of the module's public names.
pub(super) fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.setattr("_post", wrap_pyfunction!(post_for_tests, module)?)?;
    module.setattr("_answer", wrap_pyfunction!(answer_for_tests, module)?)?;
    module.setattr("_bury", wrap_pyfunction!(bury_for_tests, module)?)
}

/// What became of the posts of tests.
static ANSWERS: Mutex<Vec<Arc<OnceLock<Done>>>> = Mutex::new(Vec::new());

/// For tests: have a thread without the GIL leave orders for these caches, all registered ones for None, and wait so many
/// seconds; the number under which `_answer` tells what came of it. An order is a name and what it is about.
#[pyfunction(name = "_post", signature = (names, orders, seconds, /))]
fn post_for_tests(
    names: Option<Vec<String>>,
    orders: Vec<(String, String)>,
    seconds: f64,
) -> PyResult<usize> {
    let order = |(name, about): (String, String)| match name.as_str() {
        "clear" => Ok(Order::Clear),
        "sweep" => Ok(Order::Sweep),
        "key" => Ok(Order::Key(about)),
        "tag" => Ok(Order::Tag(about)),
        "glob" | "regex" => {
            let kind = PatternKind::named(&name).unwrap_or(PatternKind::Glob);
            let matchers = Matcher::all(kind, &[about])?;
            Ok(Order::Pattern(Arc::new(Selector::new(
                matchers,
                Within::Any,
            ))))
        }
        "count" => Ok(Order::CountExpired),
        _ => Err(PyValueError::new_err(format!("no such order: {name}"))),
    };
    let orders = orders
        .into_iter()
        .map(order)
        .collect::<PyResult<Vec<_>>>()?;
    let target = names.map_or(Target::Registered, Target::Named);
    let answer = Arc::new(OnceLock::new());
    let number = {
        let mut answers = ANSWERS.lock();
        answers.push(Arc::clone(&answer));
        answers.len() - 1
    };
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    if wait.is_zero() {
        drop(orders::post(target, orders)); // nobody waits
        return Ok(number);
    }
    let posted = Arc::new(AtomicBool::new(false));
    let is_posted = Arc::clone(&posted);
    std::thread::spawn(move || {
        let receipt = orders::post(target, orders);
        is_posted.store(true, Ordering::Release);
        if let Some(done) = receipt.wait(wait) {
            let _ = answer.set(done);
        }
    });
    // The thread needs nothing that is held here.
    while !posted.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    Ok(number)
}

/// For tests: drop, for so many seconds, what orders took out; whether something is left.
#[pyfunction(name = "_bury", signature = (seconds, /))]
fn bury_for_tests(py: Python<'_>, seconds: f64) -> bool {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    graveyard::bury(py, time)
}

/// For tests: what came of a post, by the names of the caches; None as long as nobody knows.
#[pyfunction(name = "_answer", signature = (number, /))]
fn answer_for_tests(number: usize) -> Option<HashMap<String, Vec<Option<u64>>>> {
    let answer = ANSWERS.lock().get(number).map(Arc::clone)?;
    answer
        .get()
        .map(|done| done.counts.iter().cloned().collect())
}
