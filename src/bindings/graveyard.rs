//! What left caches for no user of theirs: taken out at once, dropped in bites.
//!
//! Dropping a million entries takes a tenth of a second of the GIL. Where that was asked for by another thread or process,
//! it is not the business of the request that happens to come next: what left stays with its cache, where the garbage
//! collector finds it, and each operation drops a little until nothing is left; the clerk of the control thread drops more
//! of it, where there is one. A cache that dies takes what is left with it.

use std::cell::Cell;
use std::collections::{VecDeque, hash_map};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;
use pyo3::{PyTraverseError, PyVisit};

use super::outside;
use super::shared::{PyGone, Shared};
use crate::engine::orders;
use crate::engine::{Cause, Cleared, Gone, Step};

/// How long an operation drops what it did not remove.
pub(super) const SMALL_BITE: Duration = Duration::from_micros(100);
/// How long the clerk does, before it lets others have the GIL.
pub(super) const LARGE_BITE: Duration = Duration::from_micros(500);
/// So many objects are dropped between two looks at the clock, where no callback is told of them.
const BETWEEN_LOOKS: u32 = 16;

/// Caches with something left to drop.
static MOURNED: Mutex<VecDeque<Weak<Shared>>> = Mutex::new(VecDeque::new());
/// All caches. The dead are forgotten when the list would grow.
static EVERYBODY: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

thread_local! {
    /// A callback or a finaliser that uses a cache does not go on burying inside.
    static IS_BURYING: Cell<bool> = const { Cell::new(false) };
}

/// What left together.
enum Grave {
    Cleared(Box<Cleared<Py<PyAny>, Py<PyAny>>>),
    Gone(std::vec::IntoIter<PyGone>),
    Owners(hash_map::IntoIter<usize, Py<PyWeakrefReference>>),
}

/// What came out of a grave.
enum Remains {
    Entry(PyGone),
    Reference(Py<PyWeakrefReference>),
    /// Storage.
    Nothing,
}

/// What left one cache and is still to be dropped.
#[derive(Default)]
pub(super) struct Graves(Mutex<VecDeque<Grave>>);

impl Grave {
    /// The next object to drop; None when there is none left.
    fn next(&mut self) -> Option<Remains> {
        match self {
            Self::Cleared(cleared) => match cleared.step() {
                Step::Pair(key, value) => {
                    let cause = Cause::Cleared;
                    Some(Remains::Entry(Gone { key, value, cause }))
                }
                Step::Freed => Some(Remains::Nothing),
                Step::Over => None,
            },
            Self::Gone(gone) => gone.next().map(Remains::Entry),
            Self::Owners(owners) => owners
                .next()
                .map(|(_, reference)| Remains::Reference(reference)),
        }
    }
}

impl Graves {
    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    fn next(&self) -> Option<Remains> {
        let mut graves = self.0.lock();
        loop {
            let remains = graves.front_mut()?.next();
            if remains.is_some() {
                return remains;
            }
            // Empty, so that nothing of Python's is dropped here.
            graves.pop_front();
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Never wait here: the lock's holder may be stopped, waiting for this collection to end.
        let Some(graves) = self.0.try_lock() else {
            return Ok(());
        };
        for grave in &*graves {
            match grave {
                Grave::Cleared(cleared) if cleared.is_traced() => {
                    for (key, value) in cleared.iter() {
                        visit.call(key)?;
                        visit.call(value)?;
                    }
                }
                Grave::Gone(gone) => {
                    for gone in gone.as_slice() {
                        visit.call(&gone.key)?;
                        visit.call(&gone.value)?;
                    }
                }
                // The references refer to nobody who could refer to them.
                Grave::Cleared(_) | Grave::Owners(_) => {}
            }
        }
        Ok(())
    }

    /// Drop everything at once, and tell nobody: for the garbage collector, which breaks cycles.
    pub(super) fn release(&self) {
        let graves = self
            .0
            .try_lock()
            .map(|mut graves| std::mem::take(&mut *graves));
        drop(graves);
    }
}

impl Shared {
    /// Remove everything now and drop it later; how many entries that were. Runs no Python code.
    pub(super) fn clear_later(self: &Arc<Self>) -> usize {
        self.renounce_fills();
        let cleared = self.cache.lock().clear();
        let count = cleared.len();
        if count > 0 {
            self.mourn(Grave::Cleared(Box::new(cleared)));
        }
        let owners = self.owners.take();
        if !owners.is_empty() {
            self.mourn(Grave::Owners(owners.into_iter()));
        }
        count
    }

    /// Drop later what left; how many entries that are. Runs no Python code.
    pub(super) fn drop_later(self: &Arc<Self>, gone: Vec<PyGone>) -> usize {
        let count = gone.len();
        if count > 0 {
            self.mourn(Grave::Gone(gone.into_iter()));
        }
        count
    }

    /// Drop an object; whether a callback was told of it.
    fn drop_remains(&self, py: Python<'_>, remains: Remains) -> bool {
        match remains {
            Remains::Entry(gone) => {
                self.removed(py, [gone]);
                !self.is_plain()
            }
            Remains::Reference(reference) => {
                outside::release(reference.into_any(), py);
                false
            }
            Remains::Nothing => false,
        }
    }

    fn mourn(self: &Arc<Self>, grave: Grave) {
        let mut mourned = MOURNED.lock();
        mourned.push_back(Arc::downgrade(self));
        self.graves.0.lock().push_back(grave);
        orders::ask();
    }
}

/// Drop what left, for about so long; whether something is left. Told callbacks and finalisers may take longer. Hold no table.
pub(super) fn bury(py: Python<'_>, time: Duration) -> bool {
    if IS_BURYING.replace(true) {
        return true;
    }
    let _ended = Ended;
    bury_for(py, time)
}

/// However it ends.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        IS_BURYING.set(false);
    }
}

fn bury_for(py: Python<'_>, time: Duration) -> bool {
    let start = Instant::now();
    let mut count = 0_u32;
    // A cache is dropped with the lock gone: this may be the last reference, with all that it holds.
    while let Some(shared) = mourned() {
        while let Some(remains) = shared.graves.next() {
            let is_told = shared.drop_remains(py, remains);
            count = count.wrapping_add(1);
            if (is_told || count.is_multiple_of(BETWEEN_LOOKS)) && start.elapsed() >= time {
                return true;
            }
        }
    }
    false
}

/// Whether something is left to drop.
pub(super) fn is_left() -> bool {
    !MOURNED.lock().is_empty()
}

/// A cache with something left to drop, if there is one.
fn mourned() -> Option<Arc<Shared>> {
    let mut finished = Vec::new();
    let mut mourned = MOURNED.lock();
    while let Some(first) = mourned.front() {
        if let Some(shared) = first.upgrade() {
            if !shared.graves.is_empty() {
                return Some(shared);
            }
            finished.push(shared); // dropped after the lock, as is everything that may be a last reference
        }
        mourned.pop_front();
    }
    None
}

/// Remember a new cache.
pub(super) fn enrol(shared: &Weak<Shared>) {
    let mut everybody = EVERYBODY.lock();
    if everybody.len() == everybody.capacity() {
        everybody.retain(|shared| shared.strong_count() > 0);
    }
    everybody.push(Weak::clone(shared));
}

/// All caches, registered or not, with their names.
pub(super) fn everybody() -> Vec<(String, Arc<Shared>)> {
    let everybody: Vec<Arc<Shared>> = EVERYBODY.lock().iter().filter_map(Weak::upgrade).collect();
    everybody
        .into_iter()
        .map(|shared| (shared.name().unwrap_or_default(), shared))
        .collect()
}
