//! When two keys are the same key.
//!
//! Plain keys follow dict's equality. Keys of decorated calls ([`MemoKey`]) are typed: `1`, `True` and `1.0` are three
//! keys, and lists, dicts and sets are keyed by content. Comparisons that could run Python code answer "don't know"
//! ([`native_eq`]), so that they can be repeated with no lock held ([`equal`]).

// Long because plain and typed keys are one set of rules, to be read side by side.

use std::ops::Deref;

use pyo3::exceptions::{PyRecursionError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString,
    PyTuple, PyType, PyWeakrefMethods, PyWeakrefReference,
};
use pyo3::{PyTraverseError, PyVisit};

use super::outside;
use crate::engine::{DeletionTracker, Slot, Table};

/// A lookup starts again when others change the table while keys are compared in Python; so often, then it gives up.
const MAX_RETRIES: u32 = 100;

/// Arguments nested deeper than this are refused: they are recursive, or too costly to key.
const MAX_DEPTH: u32 = 64;

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

/// Exact str, int, float, bool, bytes or None: compared and hashed without running Python code.
#[inline]
fn is_atom(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<PyString>()
        || object.is_exact_instance_of::<PyInt>()
        || object.is_none()
        || object.is_exact_instance_of::<PyBool>()
        || object.is_exact_instance_of::<PyFloat>()
        || object.is_exact_instance_of::<PyBytes>()
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

impl<V> Keyed for Table<Py<PyAny>, V> {
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

/// Python's hash as the engine wants it. Runs `__hash__`: hold no lock.
#[inline]
pub(super) fn hash_of(key: &Bound<'_, PyAny>) -> PyResult<u64> {
    Ok(outside::hash(key)?.cast_unsigned() as u64)
}

/// Two hashes as one; order matters.
#[inline]
pub(super) fn fold(left: u64, right: u64) -> u64 {
    let wide = u128::from(left.rotate_left(23) ^ right).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are meant")]
    let (low, high) = (wide as u64, (wide >> 64) as u64);
    low ^ high
}

/// The hash of a call with no arguments beyond the instance.
pub(super) const NO_ARGS: u64 = 0x51_7C_C1_B7_27_22_0A_95;

/// What is added to a hash for each type that is told apart natively; everything else adds its type's address.
pub(super) mod salt {
    pub(in super::super) const STR: u64 = 1;
    pub(in super::super) const INT: u64 = 2;
    pub(in super::super) const FLOAT: u64 = 3;
    pub(in super::super) const BOOL: u64 = 4;
    pub(in super::super) const NONE: u64 = 5;
    pub(in super::super) const BYTES: u64 = 6;
    pub(in super::super) const TUPLE: u64 = 7;
}

/// A list, dict or set (or a subclass) inside a key: its content, taken when the call was made.
#[pyclass(frozen, module = "oxicache._native")]
pub(super) struct Frozen {
    kind: Py<PyType>,
    items: Py<PyTuple>,
    hash: u64,
}

#[pymethods]
impl Frozen {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!(
            "{}{}",
            self.kind.bind(py).name()?,
            self.items.bind(py).repr()?
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.kind)?;
        visit.call(&self.items)
    }
}

/// Whose the entry is.
pub(super) enum Owner {
    /// Nobody's: a plain function, or an identity given by a callable (then the first argument).
    None,
    /// One object's, which may die before the entry.
    Weak(Py<PyWeakrefReference>),
    /// One object's that can't be referenced weakly, or a class.
    Strong(Py<PyAny>),
}

/// The key of one decorated call: whose it is and what it was given. Equal only for equal types.
#[pyclass(frozen, weakref, module = "oxicache._native")]
pub(super) struct MemoKey {
    /// The owner's address: 0 without one. Only together with a live reference does it mean that object.
    pub(super) address: usize,
    pub(super) owner: Owner,
    pub(super) args: Py<PyTuple>,
    pub(super) hash: u64,
}

#[pymethods]
impl MemoKey {
    #[getter]
    fn args<'py>(&self, py: Python<'py>) -> Bound<'py, PyTuple> {
        self.args.bind(py).clone()
    }

    fn __hash__(&self) -> u64 {
        self.hash
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        match other.cast_exact::<MemoKey>() {
            Ok(other) => self.equal(other.py(), other.get()),
            Err(_) => Ok(false),
        }
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let owner = match &self.owner {
            Owner::None => None,
            Owner::Weak(reference) => match reference.bind(py).upgrade() {
                Some(object) => Some(object.repr()?.to_string()),
                None => Some("<dead object>".to_owned()),
            },
            Owner::Strong(object) => Some(object.bind(py).repr()?.to_string()),
        };
        let mut parts: Vec<String> = owner.into_iter().collect();
        for arg in self.args.bind(py).iter() {
            parts.push(arg.repr()?.to_string());
        }
        Ok(format!("<MemoKey ({})>", parts.join(", ")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.owner {
            Owner::None => {}
            Owner::Weak(reference) => visit.call(reference)?,
            Owner::Strong(object) => visit.call(object)?,
        }
        visit.call(&self.args)
    }
}

impl MemoKey {
    /// Key a call. `args` are canonical ([`canonical`]).
    pub(super) fn new<'py>(
        py: Python<'py>,
        owner: Option<(&Bound<'py, PyAny>, bool)>,
        args: Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, Self>> {
        let address = owner.map_or(0, |(object, _)| object.as_ptr() as usize);
        let mut hash = fold(address as u64, NO_ARGS);
        for arg in args.iter() {
            hash = fold(hash, typed_hash(&arg)?);
        }
        let owner = match owner {
            None => Owner::None,
            Some((object, true)) => match PyWeakrefReference::new(object) {
                Ok(reference) => Owner::Weak(reference.unbind()),
                Err(error) if error.is_instance_of::<PyTypeError>(py) => {
                    Owner::Strong(object.clone().unbind())
                }
                Err(error) => return Err(error),
            },
            Some((object, false)) => Owner::Strong(object.clone().unbind()),
        };
        Bound::new(
            py,
            Self {
                address,
                owner,
                args: args.unbind(),
                hash,
            },
        )
    }

    fn may_cycle(&self, py: Python<'_>) -> bool {
        matches!(self.owner, Owner::Strong(_))
            || self.args.bind(py).iter().any(|arg| !is_atom(&arg))
    }

    fn same_owner(&self, py: Python<'_>, other: &Self) -> bool {
        if self.address != other.address {
            return false;
        }
        match (&self.owner, &other.owner) {
            (Owner::None, Owner::None) | (Owner::Strong(_), Owner::Strong(_)) => true,
            (Owner::Weak(mine), Owner::Weak(theirs)) => {
                mine.is(theirs)
                    || match (mine.bind(py).upgrade(), theirs.bind(py).upgrade()) {
                        (Some(mine), Some(theirs)) => mine.is(&theirs),
                        _ => false,
                    }
            }
            _ => false,
        }
    }

    fn native_eq(&self, py: Python<'_>, other: &Self) -> Option<bool> {
        if self.hash != other.hash || !self.same_owner(py, other) {
            return Some(false);
        }
        typed_items_eq(self.args.bind(py), other.args.bind(py))
    }

    fn equal(&self, py: Python<'_>, other: &Self) -> PyResult<bool> {
        if self.hash != other.hash || !self.same_owner(py, other) {
            return Ok(false);
        }
        typed_items_equal(self.args.bind(py), other.args.bind(py))
    }
}

/// Typed equality without running Python code; None when only Python knows.
pub(super) fn typed_eq(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> Option<bool> {
    if left.is(right) {
        return Some(true);
    }
    if !left.get_type().is(right.get_type()) {
        return Some(false);
    }
    if let (Ok(left), Ok(right)) = (left.cast_exact::<PyFloat>(), right.cast_exact::<PyFloat>()) {
        return Some(
            left.extract::<f64>().ok()?.to_bits() == right.extract::<f64>().ok()?.to_bits(),
        );
    }
    if is_atom(left) {
        return left.eq(right).ok();
    }
    if let (Ok(left), Ok(right)) = (left.cast_exact::<PyTuple>(), right.cast_exact::<PyTuple>()) {
        return typed_items_eq(left, right);
    }
    let (Ok(left), Ok(right)) = (left.cast_exact::<Frozen>(), right.cast_exact::<Frozen>()) else {
        return None;
    };
    let (py, left, right) = (left.py(), left.get(), right.get());
    if left.hash != right.hash || !left.kind.is(&right.kind) {
        return Some(false);
    }
    typed_items_eq(left.items.bind(py), right.items.bind(py))
}

fn typed_items_eq(left: &Bound<'_, PyTuple>, right: &Bound<'_, PyTuple>) -> Option<bool> {
    if left.len() != right.len() {
        return Some(false);
    }
    let mut answer = Some(true);
    for (left, right) in left.iter().zip(right.iter()) {
        match typed_eq(&left, &right) {
            Some(true) => {}
            Some(false) => return Some(false),
            None => answer = None,
        }
    }
    answer
}

/// Typed equality, asking Python where need be.
fn typed_equal(left: &Bound<'_, PyAny>, right: &Bound<'_, PyAny>) -> PyResult<bool> {
    if let Some(answer) = typed_eq(left, right) {
        return Ok(answer);
    }
    if let (Ok(left), Ok(right)) = (left.cast_exact::<PyTuple>(), right.cast_exact::<PyTuple>()) {
        return typed_items_equal(left, right);
    }
    if let (Ok(left), Ok(right)) = (left.cast_exact::<Frozen>(), right.cast_exact::<Frozen>()) {
        return typed_items_equal(
            left.get().items.bind(left.py()),
            right.get().items.bind(right.py()),
        );
    }
    outside::equal(left, right)
}

fn typed_items_equal(left: &Bound<'_, PyTuple>, right: &Bound<'_, PyTuple>) -> PyResult<bool> {
    if left.len() != right.len() {
        return Ok(false);
    }
    for (left, right) in left.iter().zip(right.iter()) {
        if !typed_equal(&left, &right)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A hash under which typed-equal objects agree.
pub(super) fn typed_hash(object: &Bound<'_, PyAny>) -> PyResult<u64> {
    if let Ok(frozen) = object.cast_exact::<Frozen>() {
        return Ok(frozen.get().hash);
    }
    if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        let mut hash = salt::TUPLE;
        for item in tuple.iter() {
            hash = fold(hash, typed_hash(&item)?);
        }
        return Ok(hash);
    }
    if let Ok(float) = object.cast_exact::<PyFloat>() {
        return Ok(fold(salt::FLOAT, float.extract::<f64>()?.to_bits()));
    }
    let salt = if object.is_exact_instance_of::<PyString>() {
        salt::STR
    } else if object.is_exact_instance_of::<PyInt>() {
        salt::INT
    } else if object.is_none() {
        return Ok(salt::NONE);
    } else if object.is_exact_instance_of::<PyBool>() {
        salt::BOOL
    } else if object.is_exact_instance_of::<PyBytes>() {
        salt::BYTES
    } else {
        object.get_type().as_ptr() as u64
    };
    Ok(fold(salt, hash_of(object)?))
}

/// An argument as it stands in a key: itself when hashable, else its content. May run Python code.
///
/// TypeError when neither will do; `name` says which argument it was.
pub(super) fn canonical<'py>(
    arg: &Bound<'py, PyAny>,
    name: &dyn Fn() -> String,
) -> PyResult<Bound<'py, PyAny>> {
    canonical_at(arg, name, 0)
}

fn canonical_at<'py>(
    arg: &Bound<'py, PyAny>,
    name: &dyn Fn() -> String,
    depth: u32,
) -> PyResult<Bound<'py, PyAny>> {
    if is_atom(arg) {
        return Ok(arg.clone());
    }
    if depth > MAX_DEPTH {
        return Err(PyRecursionError::new_err(format!(
            "{} is nested deeper than {MAX_DEPTH} levels (or contains itself), which cannot be a cache key",
            name()
        )));
    }
    let py = arg.py();
    if let Ok(tuple) = arg.cast_exact::<PyTuple>() {
        return Ok(PyTuple::new(py, canonical_items(tuple.as_any(), name, depth)?)?.into_any());
    }
    if arg.is_instance_of::<PyList>() || arg.is_instance_of::<PyByteArray>() {
        return frozen(arg, canonical_items(arg, name, depth)?);
    }
    if let Ok(dict) = arg.cast::<PyDict>() {
        // A copy, so that keying one item (which may run Python code) can't change what is being walked.
        let mut pairs = Vec::with_capacity(dict.len());
        for (key, value) in dict.copy()?.iter() {
            let pair = [
                canonical_at(&key, name, depth + 1)?,
                canonical_at(&value, name, depth + 1)?,
            ];
            pairs.push((typed_hash(&pair[0])?, PyTuple::new(py, pair)?.into_any()));
        }
        return frozen(arg, in_hash_order(pairs));
    }
    if arg.is_instance_of::<PySet>() || arg.is_instance_of::<PyFrozenSet>() {
        let mut items = Vec::new();
        for item in canonical_items(
            PyList::new(py, arg.try_iter()?.collect::<PyResult<Vec<_>>>()?)?.as_any(),
            name,
            depth,
        )? {
            items.push((typed_hash(&item)?, item));
        }
        return frozen(arg, in_hash_order(items));
    }
    match arg.hash() {
        Ok(_) => Ok(arg.clone()),
        Err(error) if error.is_instance_of::<PyTypeError>(py) => {
            let kind = arg.get_type().qualname()?;
            let refused = PyTypeError::new_err(format!(
                "{} is a {kind}, which cannot be a cache key: it is not hashable and not a list, dict or set; \
                 pass a hashable value instead",
                name()
            ));
            refused.set_cause(py, Some(error));
            Err(refused)
        }
        Err(error) => Err(error),
    }
}

fn canonical_items<'py>(
    items: &Bound<'py, PyAny>,
    name: &dyn Fn() -> String,
    depth: u32,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let snapshot: Vec<Bound<'py, PyAny>> = items.try_iter()?.collect::<PyResult<_>>()?;
    snapshot
        .iter()
        .map(|item| canonical_at(item, name, depth + 1))
        .collect()
}

fn in_hash_order<'py>(mut items: Vec<(u64, Bound<'py, PyAny>)>) -> Vec<Bound<'py, PyAny>> {
    // Equal hashes keep their order: two equal dicts may then differ as keys, which costs a miss and never a wrong hit.
    items.sort_by_key(|(hash, _)| *hash);
    items.into_iter().map(|(_, item)| item).collect()
}

fn frozen<'py>(
    original: &Bound<'py, PyAny>,
    items: Vec<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (py, kind) = (original.py(), original.get_type());
    let mut hash = kind.as_ptr() as u64;
    for item in &items {
        hash = fold(hash, typed_hash(item)?);
    }
    let items = PyTuple::new(py, items)?.unbind();
    Ok(Bound::new(
        py,
        Frozen {
            kind: kind.unbind(),
            items,
            hash,
        },
    )?
    .into_any())
}
