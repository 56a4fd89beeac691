//! Orders that take long: carried out a little at a time, as no call is to wait for them.
//!
//! To take a million entries out of their table takes a third of a second, and to match as many keys a tenth. So such an order
//! leaves the queue at once and is carried out in bites, by whoever uses a cache next and by the clerk; what it takes out is
//! dropped as after other orders (`graveyard.rs`). Who ordered it is told when all is done.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::prelude::*;

use super::clock as python_clock;
use super::shared::{PyGone, Shared};
use crate::engine::orders::{self, Done, Order, Posted};
use crate::engine::{Cause, Slot, TagRef};

/// So many entries are taken out between two looks at the clock.
const AT_ONCE: usize = 128;
/// So many entries of tags are removed before anything else happens, which takes some 2 ms.
const TAGGED_AT_ONCE: usize = 4096;
/// Matching one cache's keys with patterns may take so long altogether. Millions of keys take a tenth of it; what takes
/// longer is a regular expression that is linear and yet takes a tenth of a second for each key.
const LONGEST_MATCHING: Duration = Duration::from_secs(2);

static WORKS: Mutex<VecDeque<Work>> = Mutex::new(VecDeque::new());

/// Orders of one post, and how far they are carried out.
struct Work {
    posted: Posted,
    /// By cache and order how many entries were removed or counted; None where that failed.
    counts: Vec<(String, Vec<Option<u64>>)>,
    /// What is left to do.
    left: VecDeque<Task>,
}

/// An order that is not done with in one of its caches.
struct Task {
    cache: Weak<Shared>,
    /// Where its count is: of which cache, of which order.
    at: (usize, usize),
    /// Where in the table to go on.
    cursor: Slot,
    spent: Duration,
    /// What was counted already, and is not to be counted again.
    counted: HashSet<Slot>,
}

/// What became of a bite.
enum Bite {
    /// So many more entries were removed or counted; whether that was all.
    Took(u64, bool),
    Failed,
}

/// Carry out what is done quickly, and take over the rest.
pub(super) fn begin(py: Python<'_>, posted: Posted, caches: &[(String, Arc<Shared>)]) {
    let mut counts = Vec::with_capacity(caches.len());
    let mut left = VecDeque::new();
    let mut room = TAGGED_AT_ONCE;
    // By reference: none of them is dropped, which may run Python code, before all have obeyed.
    for (at, (name, shared)) in caches.iter().enumerate() {
        let mut own = Vec::with_capacity(posted.orders.len());
        for (number, order) in posted.orders.iter().enumerate() {
            let begun = shared.obey(py, order, &mut room);
            own.push(begun.count);
            if begun.is_left && begun.count.is_some() {
                let task = Task {
                    cache: Arc::downgrade(shared),
                    at: (at, number),
                    cursor: 0,
                    spent: Duration::ZERO,
                    counted: begun.counted,
                };
                // Tags first: they are what nobody may see when the poster has given up.
                match order {
                    Order::Tag(_) => left.push_front(task),
                    _ => left.push_back(task),
                }
            }
        }
        counts.push((name.clone(), own));
    }
    let work = Work {
        posted,
        counts,
        left,
    };
    if work.left.is_empty() {
        work.answer();
    } else {
        WORKS.lock().push_back(work);
    }
}

/// Go on for about so long; whether something is left. Hold no table.
pub(super) fn go_on(py: Python<'_>, time: Duration) -> bool {
    let end = Instant::now() + time;
    while let Some(mut work) = next() {
        // Out of the list, as the time may be Python's to tell, whose code may come here as well.
        if work.advance(py, end) {
            work.answer();
            continue;
        }
        let mut works = WORKS.lock();
        works.push_front(work);
        orders::ask();
        if !works.iter().any(Work::is_due) {
            return true;
        }
    }
    false
}

/// Whether something is left.
pub(super) fn is_left() -> bool {
    !WORKS.lock().is_empty()
}

/// What is due, else what came first.
fn next() -> Option<Work> {
    let mut works = WORKS.lock();
    let due = works.iter().position(Work::is_due);
    works.remove(due.unwrap_or(0))
}

impl Work {
    /// Whether a tag is to be removed to its end now: who ordered it waits no more, and was told that nobody will see it.
    fn is_due(&self) -> bool {
        let first = self.left.front();
        first.is_some_and(|task| matches!(self.order(task), Order::Tag(_)))
            && !self.posted.is_awaited()
    }

    fn order(&self, task: &Task) -> &Order {
        &self.posted.orders[task.at.1]
    }

    /// Goes on until `end`, or longer with what is due; whether all is done.
    fn advance(&mut self, py: Python<'_>, end: Instant) -> bool {
        while let Some(mut task) = self.left.pop_front() {
            let Some(shared) = task.cache.upgrade() else {
                continue;
            };
            let begun = Instant::now();
            let bite = task.bite(&shared, py, self.order(&task), end);
            task.spent += begun.elapsed();
            let (cache, order) = task.at;
            let count = &mut self.counts[cache].1[order];
            match bite {
                Bite::Took(more, is_over) => {
                    *count = count.map(|count| count + more);
                    if !is_over {
                        self.left.push_front(task);
                    }
                }
                Bite::Failed => *count = None,
            }
            if Instant::now() >= end && !self.is_due() {
                break;
            }
        }
        self.left.is_empty()
    }

    fn answer(mut self) {
        let counts = std::mem::take(&mut self.counts);
        self.posted.answer(Done { counts });
    }
}

impl Task {
    fn bite(&mut self, shared: &Arc<Shared>, py: Python<'_>, order: &Order, end: Instant) -> Bite {
        if let Order::Tag(tag) = order {
            let gone = shared
                .cache
                .lock()
                .remove_tag_some(TagRef::Name(tag), AT_ONCE);
            return taken_out(shared, gone);
        }
        let now = python_clock::instant(py).ok();
        let mut count = 0;
        match (order, now) {
            (Order::Sweep, Some(now)) => {
                let gone = shared.cache.lock().sweep_some(now, AT_ONCE);
                taken_out(shared, gone)
            }
            (Order::Pattern(_), _) if self.spent > LONGEST_MATCHING => {
                let count = shared.clear_later();
                too_slow(shared, "everything is removed instead of what matches");
                Bite::Took(count as u64, true)
            }
            (Order::Pattern(selector), now) => {
                let mut gone = Vec::new();
                let next = shared.look_through(py, self.cursor, Some(end), |table, slot| {
                    if shared.is_taken_by(py, table, slot, selector) {
                        // Where Python does not tell the time, what has expired counts as well.
                        let is_live = now.is_none_or(|now| table.is_live(slot, now));
                        count += u64::from(is_live);
                        gone.push(table.remove(slot, Cause::Invalidated));
                    }
                });
                shared.drop_later(gone);
                self.go_on_at(next, count)
            }
            (Order::Count(_), _) if self.spent > LONGEST_MATCHING => {
                too_slow(shared, "what matches is not counted");
                Bite::Failed
            }
            (Order::Count(wanted), Some(now)) => {
                let next = shared.look_through(py, self.cursor, Some(end), |table, slot| {
                    let is_counted = !self.counted.contains(&slot)
                        && table.is_live(slot, now)
                        && shared.is_wanted(py, table, slot, wanted);
                    count += u64::from(is_counted);
                });
                self.go_on_at(next, count)
            }
            _ => Bite::Failed,
        }
    }

    fn go_on_at(&mut self, next: Option<Slot>, count: u64) -> Bite {
        self.cursor = next.unwrap_or(self.cursor);
        Bite::Took(count, next.is_none())
    }
}

fn taken_out(shared: &Arc<Shared>, gone: Vec<PyGone>) -> Bite {
    let is_over = gone.len() < AT_ONCE;
    Bite::Took(shared.drop_later(gone) as u64, is_over)
}

/// To be said when no table and no work is held: handlers of logs are Python code.
fn too_slow(shared: &Shared, outcome: &str) {
    log::warn!(
        target: "oxicache.control",
        "Matching the keys of cache '{}' with a pattern has taken {} s of this process's time, and {outcome}: give a simpler one.",
        shared.name().unwrap_or_default(),
        LONGEST_MATCHING.as_secs(),
    );
}
