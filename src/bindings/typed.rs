//! Typed equality: `1`, `True` and `1.0` are three arguments, and lists, dicts and sets are told apart by content.
//!
//! Arguments of decorated calls become part of a key ([`canonical`]), are hashed and compared here. The keys themselves are
//! in `memo_key.rs`.

use pyo3::exceptions::{PyRecursionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString,
    PyTuple, PyType,
};
use pyo3::{PyTraverseError, PyVisit, intern};

use super::outside;

/// Arguments nested deeper than this are refused: they are recursive, or too costly to key.
const MAX_DEPTH: u32 = 64;

/// Exact str, int, float, bool, bytes or None: compared and hashed without running Python code.
#[inline]
pub(super) fn is_atom(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<PyString>()
        || object.is_exact_instance_of::<PyInt>()
        || object.is_none()
        || object.is_exact_instance_of::<PyBool>()
        || object.is_exact_instance_of::<PyFloat>()
        || object.is_exact_instance_of::<PyBytes>()
}

/// Two hashes as one; order matters.
#[inline]
pub(super) fn fold(left: u64, right: u64) -> u64 {
    let wide = u128::from(left.rotate_left(23) ^ right).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are meant")]
    let (low, high) = (wide as u64, (wide >> 64) as u64);
    low ^ high
}

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
            outside::repr(self.items.bind(py))?
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.kind)?;
        visit.call(&self.items)
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

pub(super) fn typed_items_eq(
    left: &Bound<'_, PyTuple>,
    right: &Bound<'_, PyTuple>,
) -> Option<bool> {
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

pub(super) fn typed_items_equal(
    left: &Bound<'_, PyTuple>,
    right: &Bound<'_, PyTuple>,
) -> PyResult<bool> {
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
    Ok(fold(salt, outside::hash(object)?))
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
        return frozen(arg, canonical_pairs(dict, name, depth)?);
    }
    if arg.is_instance_of::<PyTuple>()
        && outside::attribute_if_any(arg, intern!(py, "_fields"))?.is_some()
    {
        // A namedtuple: Python's equality would make P(1), P(True) and P(1.0) one key.
        return frozen(arg, canonical_items(arg, name, depth)?);
    }
    if arg.is_instance_of::<PySet>() || arg.is_instance_of::<PyFrozenSet>() {
        let mut items = Vec::new();
        for item in canonical_items(
            PyList::new(py, outside::iterate(arg)?.collect::<PyResult<Vec<_>>>()?)?.as_any(),
            name,
            depth,
        )? {
            items.push((typed_hash(&item)?, item));
        }
        return frozen(arg, in_hash_order(items));
    }
    match outside::hash(arg) {
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

/// A dict's items: in the order of their hashes, or as they stand where order is part of equality.
fn canonical_pairs<'py>(
    dict: &Bound<'py, PyDict>,
    name: &dyn Fn() -> String,
    depth: u32,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let py = dict.py();
    // A copy, so that keying one item (which may run Python code) can't change what is being walked.
    let mut pairs = Vec::with_capacity(dict.len());
    for (key, value) in dict.copy()?.iter() {
        let pair = [
            canonical_at(&key, name, depth + 1)?,
            canonical_at(&value, name, depth + 1)?,
        ];
        pairs.push((typed_hash(&pair[0])?, PyTuple::new(py, pair)?.into_any()));
    }
    // An OrderedDict compares by order too: one in another order is another argument.
    if outside::attribute_if_any(dict.as_any(), intern!(py, "move_to_end"))?.is_some() {
        return Ok(pairs.into_iter().map(|(_, pair)| pair).collect());
    }
    Ok(in_hash_order(pairs))
}

fn canonical_items<'py>(
    items: &Bound<'py, PyAny>,
    name: &dyn Fn() -> String,
    depth: u32,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let snapshot: Vec<Bound<'py, PyAny>> = outside::iterate(items)?.collect::<PyResult<_>>()?;
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
