//! What lets an operator look into a cache: its entries piece by piece, and all that is known of one.
//!
//! Neither counts as a read. Under a table's lock only references are taken; tuples and dicts are made without it.

use std::sync::atomic::Ordering;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::cache::PyTtlCache;
use super::clock as python_clock;
use super::keys;
use super::shared::{PyTable, Shared};
use super::values;
use crate::engine::clock::{self, FOREVER, Nanos, Now};
use crate::engine::{Slot, Stamp, TagRef};
use crate::host::versions;

/// What `entries` tells of an entry: key, seconds left, weight, tags, whether it is outdated.
type Entry<'py> = (Py<PyAny>, f64, Option<u64>, Bound<'py, PyTuple>, bool);

/// What is taken from an entry under the lock.
struct Sight {
    key: Py<PyAny>,
    left: f64,
    weight: Option<u64>,
    tags: Vec<String>,
    is_outdated: bool,
}

/// What is known of an entry.
struct Facts {
    sight: Sight,
    value: Py<PyAny>,
    state: &'static str,
    age: Option<Nanos>,
    stamps: Vec<Stamp>,
    frequency: Option<u32>,
}

fn seconds_left(deadline: Nanos, now: Now) -> f64 {
    if deadline == FOREVER {
        return f64::INFINITY;
    }
    clock::seconds(deadline.saturating_sub(now.at()))
}

impl Sight {
    fn of(table: &PyTable, slot: Slot, now: Now, py: Python<'_>) -> Self {
        let tags = table.tags(slot).filter_map(|tag| match tag {
            TagRef::Name(name) => Some(name.to_owned()),
            TagRef::Owner(_) => None,
        });
        Self {
            key: table.key(slot).clone_ref(py),
            left: seconds_left(table.deadline(slot), now),
            weight: table.weight(slot),
            tags: tags.collect(),
            is_outdated: table.is_outdated(slot),
        }
    }
}

impl Facts {
    fn of(shared: &Shared, table: &PyTable, slot: Slot, now: Now, py: Python<'_>) -> Self {
        let sight = Sight::of(table, slot, now, py);
        let state = if sight.is_outdated {
            "outdated"
        } else if !now.reached(table.deadline(slot)) {
            "fresh"
        } else if table.is_in_grace(slot, now) {
            "grace"
        } else {
            "expired"
        };
        Self {
            sight,
            value: table.value(slot).clone_ref(py),
            state,
            age: shared.age(table, slot, now),
            stamps: table.stamps(slot).to_vec(),
            frequency: table.frequency(slot),
        }
    }

    /// As Python sees them. May run Python code.
    fn shown<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let value = self.value.bind(py);
        let versions = versions::current();
        let words = self.stamps.iter().map(|stamp| {
            let now = versions.capture(stamp.word).value;
            (stamp.word, stamp.value, now)
        });
        let words = PyTuple::new(py, words.collect::<Vec<_>>())?;
        let size = values::weigh(value, self.sight.key.bind(py)).ok();
        let facts = PyDict::new(py);
        facts.set_item(intern!(py, "state"), self.state)?;
        facts.set_item(intern!(py, "seconds_left"), self.sight.left)?;
        facts.set_item(intern!(py, "age_seconds"), self.age.map(clock::seconds))?;
        facts.set_item(intern!(py, "weight"), self.sight.weight)?;
        facts.set_item(intern!(py, "size_bytes"), size)?;
        facts.set_item(intern!(py, "tags"), PyTuple::new(py, &self.sight.tags)?)?;
        facts.set_item(intern!(py, "words"), words)?;
        facts.set_item(intern!(py, "frequency"), self.frequency)?;
        facts.set_item(intern!(py, "type"), values::type_name(value)?)?;
        Ok(facts)
    }
}

impl Shared {
    /// Give an entry another deadline, and keep what is known of its age.
    pub(super) fn postpone(&self, table: &mut PyTable, slot: Slot, now: Now, deadline: Nanos) {
        let age = self.age(table, slot, now);
        table.retime(slot, deadline, true);
        if let Some(age) = age {
            table.note_birth(slot, now.at().saturating_sub(age));
        }
    }

    /// Have new entries live so long. The deadlines of those that are there tell nothing of their age any more.
    pub(super) fn change_ttl(&self, now: Now, ttl: Nanos) {
        let before = self.cache.ttl();
        if before == ttl {
            return;
        }
        let [until, at] = &self.retimed;
        if before != FOREVER {
            until.fetch_max(now.after(before), Ordering::Relaxed);
        }
        at.store(now.at(), Ordering::Relaxed);
        self.cache.set_ttl(ttl);
    }

    /// For how long an entry has been there, where that is known: for a TTL of its own to the second, else exactly.
    fn age(&self, table: &PyTable, slot: Slot, now: Now) -> Option<Nanos> {
        let (deadline, ttl) = (table.deadline(slot), self.cache.ttl());
        let [until, changed] =
            [&self.retimed[0], &self.retimed[1]].map(|at| at.load(Ordering::Relaxed));
        if let Some(seconds) = table.noted_age(slot, now) {
            let age = Nanos::from(seconds).saturating_mul(1_000_000_000);
            // What lives for ever may have been replaced since by what does so because all in this cache do.
            let is_told =
                deadline != FOREVER || (ttl != FOREVER && now.at().saturating_sub(age) > changed);
            return is_told.then_some(age);
        }
        let is_derived = table.has_common_ttl(slot) && ttl != FOREVER && deadline > until;
        let age = ttl.saturating_sub(deadline.saturating_sub(now.at()));
        (is_derived && age >= 0).then_some(age)
    }
}

/// The entries in so many places of a cache's memory, from `cursor` on, and the next cursor; 0 begins, None is the end.
///
/// Each entry as (key, seconds left, weight in bytes where entries are weighed, tags, whether it is outdated); those that have
/// expired and are still held are among them with `is_whole` only. In no particular order; who walks to the end meets each entry that was there all the time. O(limit).
#[pyfunction]
#[pyo3(signature = (cache, cursor, limit, is_whole = false, /))]
pub(super) fn entries<'py>(
    py: Python<'py>,
    cache: &Bound<'py, PyTtlCache>,
    cursor: Slot,
    limit: usize,
    is_whole: bool,
) -> PyResult<(Option<Slot>, Vec<Entry<'py>>)> {
    if limit == 0 {
        return Err(PyValueError::new_err("limit must be at least 1, not 0"));
    }
    let now = python_clock::now(py)?;
    let (seen, next) = {
        let table = cache.get().shared.cache.lock();
        let (slots, next) = table.walk(cursor, limit);
        let live = slots
            .into_iter()
            .filter(|&slot| is_whole || !now.reached(table.deadline(slot)));
        let seen: Vec<Sight> = live.map(|slot| Sight::of(&table, slot, now, py)).collect();
        (seen, next)
    };
    let entry = |seen: Sight| {
        let tags = PyTuple::new(py, seen.tags)?;
        Ok((seen.key, seen.left, seen.weight, tags, seen.is_outdated))
    };
    let entries: PyResult<Vec<_>> = seen.into_iter().map(entry).collect();
    Ok((next, entries?))
}

/// All that is known of the entry under `key`, whatever its state; None without one. Neither counts nor touches.
#[pyfunction]
#[pyo3(signature = (cache, key, /))]
pub(super) fn inspect<'py>(
    py: Python<'py>,
    cache: &Bound<'py, PyTtlCache>,
    key: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let shared = &cache.get().shared;
    let hash = keys::hash_of(key)?;
    let now = python_clock::now(py)?;
    let facts = {
        let (table, slot) = shared.locate(key, hash)?;
        slot.map(|slot| Facts::of(shared, &table, slot, now, py))
    };
    facts.map(|facts| facts.shown(py)).transpose()
}
