//! Sweeping that was ordered: a little at a time, as nobody is given what has expired anyway.
//!
//! To take a million entries out of their table takes a third of a second, and no call is to wait for that. So the order
//! leaves the queue at once and is carried out in bites, by whoever uses a cache next and by the clerk; what it takes out is
//! dropped as after other orders (`graveyard.rs`).

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::prelude::*;

use super::clock as python_clock;
use super::shared::Shared;
use crate::engine::clock::Now;
use crate::engine::orders::{self, Done, Posted};

/// So many entries are taken out between two looks at the clock.
const AT_ONCE: usize = 128;

static SWEEPS: Mutex<VecDeque<Sweep>> = Mutex::new(VecDeque::new());

/// An order to sweep, and how far it is carried out.
struct Sweep {
    posted: Posted,
    /// How many were removed; None where that failed.
    caches: Vec<(String, Weak<Shared>, Option<u64>)>,
    /// The first cache that is not done.
    at: usize,
}

impl Sweep {
    /// Goes on until `end`; whether it is done. No time, no sweep.
    fn advance(&mut self, now: Option<Now>, end: Instant) -> bool {
        while let Some((_, cache, count)) = self.caches.get_mut(self.at) {
            let shared = cache.upgrade();
            match (shared, now, count.as_mut()) {
                (Some(shared), Some(now), Some(count)) => {
                    let gone = shared.cache.lock().sweep_some(now, AT_ONCE);
                    let is_over = gone.len() < AT_ONCE;
                    *count += shared.drop_later(gone) as u64;
                    self.at += usize::from(is_over);
                }
                (Some(_), None, _) => {
                    *count = None;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            if Instant::now() >= end {
                break;
            }
        }
        self.at == self.caches.len()
    }

    fn answer(self) {
        let counts = self.caches.into_iter();
        let counts = counts.map(|(name, _, count)| (name, vec![count])).collect();
        self.posted.answer(Done { counts });
    }
}

/// Take over an order to sweep these caches.
pub(super) fn begin(posted: Posted, caches: &[(String, Arc<Shared>)]) {
    let caches = caches.iter();
    let caches = caches
        .map(|(name, shared)| (name.clone(), Arc::downgrade(shared), Some(0)))
        .collect();
    SWEEPS.lock().push_back(Sweep {
        posted,
        caches,
        at: 0,
    });
}

/// Sweep for about so long; whether something is left. Hold no table.
pub(super) fn go_on(py: Python<'_>, time: Duration) -> bool {
    let end = Instant::now() + time;
    while let Some(mut sweep) = next() {
        // Out of the list, as the time may be Python's to tell, whose code may come here as well.
        let now = python_clock::instant(py).ok();
        if sweep.advance(now, end) {
            sweep.answer();
        } else {
            SWEEPS.lock().push_front(sweep);
            orders::ask();
            return true;
        }
    }
    false
}

/// Whether something is left to sweep.
pub(super) fn is_left() -> bool {
    !SWEEPS.lock().is_empty()
}

fn next() -> Option<Sweep> {
    SWEEPS.lock().pop_front()
}
