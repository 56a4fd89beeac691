//! When two keys are the same key.
//!
//! Plain keys follow dict's equality; keys of decorated calls have one of their own (`memo_key.rs`). Comparisons that could
//! run Python code answer "don't know" ([`native_eq`]), so that they can be repeated with no lock held ([`equal`]).

use std::ops::Deref;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyTuple};

use super::memo_key::MemoKey;
use super::outside;
pub(super) use super::outside::hash as hash_of;
use super::typed::is_atom;
use crate::engine::{DeletionTracker, Slot, Table, Words};

/// A lookup starts again when others change the table while keys are compared in Python; so often, then it gives up.
const MAX_RETRIES: u32 = 100;

/// The type of MISSING: "no entry", where None would be a value.
#[pyclass(frozen, name = "Missing", module = "oxicache._native")]
pub(super) struct Missing;

#[pymethods]
impl Missing {
    fn __repr__(&self) -> &'static str {
        "<oxicache.MISSING>"
    }

    fn __reduce__(&self) -> &'static str {
        "MISSING"
    }
}

static MISSING: PyOnceLock<Py<Missing>> = PyOnceLock::new();

/// The one `Missing`.
pub(super) fn missing(py: Python<'_>) -> Py<PyAny> {
    #[expect(
        clippy::expect_used,
        reason = "allocating one empty object at import; there is no going on without it"
    )]
    MISSING
        .get_or_init(py, || Py::new(py, Missing).expect("no memory for MISSING"))
        .clone_ref(py)
        .into_any()
}

static KEYWORDS: PyOnceLock<Py<Missing>> = PyOnceLock::new();

/// What stands before the keywords in the key of a call: an object that no argument can be.
pub(super) fn keyword_mark(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let mark = KEYWORDS.get_or_try_init(py, || Py::new(py, Missing))?;
    Ok(mark.bind(py).clone().into_any())
}

pub(super) fn is_missing(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<Missing>()
}

/// May this object take part in a reference cycle? False only where it surely can't.
pub(super) fn may_cycle(object: &Bound<'_, PyAny>) -> bool {
    if is_atom(object) {
        return false;
    }
    match object.cast_exact::<MemoKey>() {
        Ok(key) => key.get().may_cycle(object.py()),
        Err(_) => true,
    }
}

fn is_exact_number(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<PyInt>()
        || object.is_exact_instance_of::<PyBool>()
        || object.is_exact_instance_of::<PyFloat>()
}

/// Are these the same key, as far as can be told without running Python code? None: ask [`equal`], with no lock held.
#[inline]
pub(super) fn native_eq(held: &Bound<'_, PyAny>, asked: &Bound<'_, PyAny>) -> Option<bool> {
    if held.is(asked) {
        return Some(true);
    }
    if is_atom(held) && is_atom(asked) {
        if held.get_type().is(asked.get_type()) || (is_exact_number(held) && is_exact_number(asked))
        {
            return held.eq(asked).ok();
        }
        return Some(false);
    }
    match (held.cast_exact::<MemoKey>(), asked.cast_exact::<MemoKey>()) {
        (Ok(held), Ok(asked)) => held.get().native_eq(held.py(), asked.get()),
        (Err(_), Err(_)) => native_tuple_eq(held, asked),
        _ => Some(false),
    }
}

fn native_tuple_eq(held: &Bound<'_, PyAny>, asked: &Bound<'_, PyAny>) -> Option<bool> {
    let (Ok(held), Ok(asked)) = (held.cast_exact::<PyTuple>(), asked.cast_exact::<PyTuple>())
    else {
        return None;
    };
    if held.len() != asked.len() {
        return Some(false);
    }
    for (held, asked) in held.iter().zip(asked.iter()) {
        if !is_atom(&held) && !held.is(&asked) {
            return None;
        }
        match native_eq(&held, &asked) {
            Some(true) => {}
            other => return other,
        }
    }
    Some(true)
}

/// Are these the same key? May run Python code: hold no lock.
pub(super) fn equal(held: &Bound<'_, PyAny>, asked: &Bound<'_, PyAny>) -> PyResult<bool> {
    match (held.cast_exact::<MemoKey>(), asked.cast_exact::<MemoKey>()) {
        (Ok(held), Ok(asked)) => held.get().equal(held.py(), asked.get()),
        _ => outside::equal(held, asked),
    }
}

/// What keys are looked up in.
pub(super) trait Keyed {
    fn find_key(&self, hash: u64, eq: impl FnMut(&Py<PyAny>) -> bool) -> Option<Slot>;
    /// Changes whenever a key comes or goes.
    fn generation(&self) -> u64;
}

impl<V, W: Words> Keyed for Table<Py<PyAny>, V, W> {
    #[inline]
    fn find_key(&self, hash: u64, eq: impl FnMut(&Py<PyAny>) -> bool) -> Option<Slot> {
        self.find(hash, eq)
    }

    fn generation(&self) -> u64 {
        self.generation()
    }
}

impl Keyed for DeletionTracker<Py<PyAny>> {
    fn find_key(&self, hash: u64, eq: impl FnMut(&Py<PyAny>) -> bool) -> Option<Slot> {
        self.find(hash, eq)
    }

    fn generation(&self) -> u64 {
        self.generation()
    }
}

/// Find a key's slot and keep the lock, comparing in Python without it where need be.
pub(super) fn locate<T: Keyed, G: Deref<Target = T>>(
    lock: impl Fn() -> G,
    key: &Bound<'_, PyAny>,
    hash: u64,
) -> PyResult<(G, Option<Slot>)> {
    let py = key.py();
    for _ in 0..MAX_RETRIES {
        let keyed = lock();
        let mut unsure: Vec<Py<PyAny>> = Vec::new();
        let slot = keyed.find_key(hash, |held| match native_eq(held.bind(py), key) {
            Some(answer) => answer,
            None => {
                unsure.push(held.clone_ref(py));
                false
            }
        });
        if slot.is_some() || unsure.is_empty() {
            return Ok((keyed, slot));
        }
        let generation = keyed.generation();
        drop(keyed);
        // All but the equal one go here, before the lock is taken again: one may be the last reference to its object.
        let same = first_equal(unsure, key)?;
        let keyed = lock();
        // The same object is still the same key, whatever else changed meanwhile. Found, it is held by the table too.
        let slot = same
            .as_ref()
            .and_then(|held| keyed.find_key(hash, |candidate| candidate.is(held)));
        if slot.is_some() || keyed.generation() == generation {
            return Ok((keyed, slot));
        }
    }
    Err(PyRuntimeError::new_err(format!(
        "the cache was changed during each of {MAX_RETRIES} lookups of one key; does its __eq__ change the cache?"
    )))
}

fn first_equal(candidates: Vec<Py<PyAny>>, key: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    for held in candidates {
        if equal(held.bind(key.py()), key)? {
            return Ok(Some(held));
        }
    }
    Ok(None)
}
