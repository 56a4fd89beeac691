//! Entries by what their keys look like: found, counted and removed without one Python object being made for those that do
//! not match.
//!
//! A key is matched as `manage_cache` shows it: one of the Django backend without its prefix and version, any other str as it
//! is. Keys that are no str, such as those of decorated calls, never match.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use super::backend_key::{self, BackendKey};
use super::clock as python_clock;
use super::fastcall::{exact_str, with_text};
use super::pattern::KeyPattern;
use super::shared::{PyTable, Shared};
use crate::engine::orders::Wanted;
use crate::engine::{Cause, Head, Selector, Slot, TagRef, Text, Within};

/// So many places of a table are looked at while it is locked.
const AT_ONCE: usize = 1024;

/// What a pattern takes of a handler's keys, which are made so; of all keys where nothing is said.
pub(super) fn selector(
    pattern: &Bound<'_, KeyPattern>,
    before: Option<&Bound<'_, PyString>>,
    behind: Option<&Bound<'_, PyString>>,
) -> Selector {
    let matchers = vec![pattern.get().matcher().clone()];
    Selector::new(matchers, within(before, behind))
}

/// The keys of a handler, which are made so; all where nothing is said.
pub(super) fn within(
    before: Option<&Bound<'_, PyString>>,
    behind: Option<&Bound<'_, PyString>>,
) -> Within {
    if before.is_none() && behind.is_none() {
        return Within::Any;
    }
    Within::Made {
        before: before.map_or_else(Box::default, points),
        behind: behind.map_or_else(Box::default, points),
    }
}

/// The characters of a str.
pub(super) fn points(text: &Bound<'_, PyString>) -> Box<[u32]> {
    let mut points = Vec::new();
    with_text(text, |text| text.add_to(&mut points));
    points.into()
}

/// Does one of the patterns take the key that an entry is stored under? Runs no Python code and makes no object.
pub(super) fn takes(selector: &Selector, key: &Bound<'_, PyAny>, is_store: bool) -> bool {
    with_key(key, is_store, |head, text| selector.takes(head, text)) == Some(true)
}

/// Shows what an entry is stored under; None where that is no str. Runs no Python code and makes no object.
pub(super) fn with_key<R>(
    key: &Bound<'_, PyAny>,
    is_store: bool,
    look: impl FnOnce(Head<'_>, Text<'_>) -> R,
) -> Option<R> {
    let py = key.py();
    if let Ok(key) = key.cast_exact::<BackendKey>() {
        let key = key.get();
        return Some(with_text(key.key.bind(py), |text| match &key.prefix {
            Some(prefix) => with_text(prefix.bind(py), |prefix| {
                let version = key.version;
                look(Head::Django { prefix, version }, text)
            }),
            None => look(Head::Whole, text),
        }));
    }
    let text = key.cast::<PyString>().ok()?;
    // In a store a bare str is the key of a handler without prefix, at version 1.
    let head = if is_store {
        Head::Django {
            prefix: Text::Latin(&[]),
            version: 1,
        }
    } else {
        Head::Plain
    };
    Some(with_text(text, |text| look(head, text)))
}

/// The caller's key of an entry that a selector took. Makes objects: hold no lock.
fn callers_key<'py>(
    selector: &Selector,
    key: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyString>> {
    let Within::Made { before, behind } = selector.within() else {
        return match key.cast_exact::<BackendKey>() {
            Ok(key) => Ok(key.get().key.bind(key.py()).clone()),
            Err(_) => exact_str(key.cast::<PyString>()?),
        };
    };
    let owned = backend_key::Owned::from_object(key)?;
    let name = backend_key::Name::of(&owned);
    if behind.is_empty() && name.head_characters()? == before.len() {
        return Ok(owned.key.clone());
    }
    let made = name.text()?;
    let end = made.len()?.saturating_sub(behind.len());
    backend_key::slice(&made, before.len(), end)
}

impl Shared {
    /// Do something with entries, dead ones included, from `cursor` on: a bite of them, at least one and until `end`; where to
    /// go on, None at the end. The table is locked meanwhile.
    pub(super) fn look_through(
        &self,
        _py: Python<'_>,
        cursor: Slot,
        end: Option<Instant>,
        mut with: impl FnMut(&mut PyTable, Slot),
    ) -> Option<Slot> {
        let mut table = self.cache.lock();
        let (slots, next) = table.walk(cursor, AT_ONCE);
        for slot in slots {
            with(&mut table, slot);
            // After each, as a regular expression may take a tenth of a second for one.
            if end.is_some_and(|end| Instant::now() >= end) {
                return Some(slot + 1);
            }
        }
        next
    }

    /// Does a pattern take an entry?
    pub(super) fn is_taken_by(
        &self,
        py: Python<'_>,
        table: &PyTable,
        slot: Slot,
        selector: &Selector,
    ) -> bool {
        let is_store = self.is_store.load(Ordering::Relaxed);
        takes(selector, table.key(slot).bind(py), is_store)
    }

    /// Is an entry wanted for its tags, or by a pattern?
    pub(super) fn is_wanted(
        &self,
        py: Python<'_>,
        table: &PyTable,
        slot: Slot,
        wanted: &Wanted,
    ) -> bool {
        let mut tags = table.tags(slot);
        tags.any(|tag| matches!(tag, TagRef::Name(name) if wanted.tags.contains(name)))
            || wanted
                .selector
                .as_ref()
                .is_some_and(|selector| self.is_taken_by(py, table, slot, selector))
    }

    fn each_match(
        &self,
        py: Python<'_>,
        selector: &Selector,
        mut with: impl FnMut(&mut PyTable, Slot),
    ) {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            cursor = self.look_through(py, at, None, |table, slot| {
                if self.is_taken_by(py, table, slot, selector) {
                    with(table, slot);
                }
            });
        }
    }

    /// The callers' keys of the live entries that a selector takes, in no order. O(entries).
    pub(super) fn select<'py>(
        &self,
        py: Python<'py>,
        selector: &Selector,
    ) -> PyResult<Bound<'py, PyList>> {
        let now = python_clock::now(py)?;
        let mut keys = Vec::new();
        self.each_match(py, selector, |table, slot| {
            if table.is_live(slot, now) {
                keys.push(table.key(slot).clone_ref(py));
            }
        });
        let keys: PyResult<Vec<_>> = keys
            .into_iter()
            .map(|key| callers_key(selector, key.bind(py)))
            .collect();
        PyList::new(py, keys?)
    }

    /// Remove the entries that a selector takes; how many live ones there were. O(entries).
    ///
    /// What it takes of what is being loaded is not stored.
    pub(super) fn remove_matching(
        self: &Arc<Self>,
        py: Python<'_>,
        selector: &Arc<Selector>,
    ) -> PyResult<usize> {
        let now = python_clock::now(py)?;
        self.renounce_matching(selector);
        let mut gone = Vec::new();
        let mut live = 0;
        self.each_match(py, selector, |table, slot| {
            live += usize::from(table.is_live(slot, now));
            gone.push(table.remove(slot, Cause::Invalidated));
        });
        self.removed(py, gone);
        Ok(live)
    }
}
