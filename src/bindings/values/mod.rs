//! How the Django backend keeps values apart from their owners: what is read back is equal to and independent of what was
//! stored, as if it had been pickled, which is what `LocMemCache` does.
//!
//! - What can't be changed (`kinds.rs`) is stored as itself.
//! - Exact dicts, lists, sets and tuples of such, down to [`MAX_DEPTH`], are copied natively in and out, each time in one pass
//!   (`tree.rs`; the copying itself is `fastcall/values.rs`).
//! - All else is pickled with protocol 5: subclasses, instances, and whatever contains one container twice, or itself, whose
//!   shape pickle keeps.

mod kinds;
mod seen;
mod tree;

use pyo3::exceptions::{PyException, PyMemoryError, PyRecursionError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

use kinds::kinds;
pub(super) use kinds::{Kinds, set_text_type};
pub(super) use seen::Seen;
pub(super) use tree::{Content, Holes, Node, Stop, Wrapped};

use super::fastcall;
use super::outside;

/// Containers nested deeper than this are pickled.
pub(super) const MAX_DEPTH: u32 = 32;

/// The protocol that `LocMemCache` writes: the highest since CPython 3.8.
const PICKLE_PROTOCOL: u32 = 5;

/// How values are kept apart from their owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// By reference, by copy or by pickle, whichever is the cheapest that isolates.
    Auto,
    /// Whatever can be changed is pickled.
    Pickle,
    /// Not at all: references.
    None,
}

impl Isolation {
    pub(super) fn parse(name: &str) -> PyResult<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "pickle" => Ok(Self::Pickle),
            "none" => Ok(Self::None),
            _ => Err(PyValueError::new_err(format!(
                "isolation must be \"auto\", \"pickle\" or \"none\", not {name:?}"
            ))),
        }
    }
}

/// A value as it is stored.
pub(super) struct Frozen {
    /// The value itself, or a `Wrapped`, which only this module looks into.
    pub(super) stored: Py<PyAny>,
    /// An estimate, in bytes, of what is held for the value alone.
    pub(super) weight: u64,
    /// May it take part in a reference cycle? Only a reference that isolation "none" keeps may.
    pub(super) traced: bool,
}

/// A stored value, read back.
pub(super) enum Thawed {
    Value(Py<PyAny>),
    /// The pickle can't be loaded, say because a class has gone: for the caller a miss, with this as its reason.
    Unreadable(PyErr),
}

/// The form in which a value is stored. Raises what pickle raises; calls Python code, so hold no lock.
pub(super) fn freeze(value: &Bound<'_, PyAny>, isolation: Isolation) -> PyResult<Frozen> {
    let py = value.py();
    let kinds = kinds(py)?;
    let copies = isolation == Isolation::Auto;
    loop {
        match fastcall::copy_in(kinds, value, copies) {
            Ok((None, weight)) => {
                return Ok(Frozen {
                    stored: value.clone().unbind(),
                    weight,
                    traced: false,
                });
            }
            Ok((Some(node), weight)) => return wrap(py, Content::Tree(node), weight),
            Err(Stop::Zone(zone)) if kinds.learn_zone(zone.bind(py))? => {}
            Err(Stop::Failed) => return Err(PyErr::fetch(py)),
            Err(_) if isolation == Isolation::None => {
                return Ok(Frozen {
                    stored: value.clone().unbind(),
                    weight: fastcall::shallow_bytes(value),
                    traced: true,
                });
            }
            Err(_) => {
                let pickled = pickle(value)?;
                let weight = fastcall::shallow_bytes(pickled.as_any());
                return wrap(py, Content::Pickled(pickled.unbind()), weight);
            }
        }
    }
}

/// The value of a stored form, the caller's own. May call Python code, so hold no lock.
pub(super) fn thaw(stored: &Bound<'_, PyAny>) -> PyResult<Thawed> {
    if let Some(value) = fastcall::thaw_native(stored) {
        return Ok(Thawed::Value(value?.unbind()));
    }
    let py = stored.py();
    let Content::Pickled(pickled) = &stored.cast_exact::<Wrapped>()?.get().content else {
        unreachable!("trees are copied natively");
    };
    match unpickle(pickled.bind(py)) {
        Ok(value) => Ok(Thawed::Value(value.unbind())),
        // Neither an interrupt nor a want of memory or stack says anything about the pickle.
        Err(error)
            if !error.is_instance_of::<PyException>(py)
                || error.is_instance_of::<PyMemoryError>(py)
                || error.is_instance_of::<PyRecursionError>(py) =>
        {
            Err(error)
        }
        Err(error) => Ok(Thawed::Unreadable(error)),
    }
}

/// An estimate, in bytes, of what is held for a stored value and its key. Containers that are stored as references count
/// without their content.
pub(super) fn weigh(stored: &Bound<'_, PyAny>, key: &Bound<'_, PyAny>) -> PyResult<u64> {
    let value = match stored.cast_exact::<Wrapped>() {
        Ok(wrapped) => wrapped.get().weight,
        Err(_) => weigh_plain(stored)?,
    };
    Ok(value + weigh_plain(key)?)
}

/// The name of a value's type, given its stored form; "pickled" where only loading the pickle would tell.
pub(super) fn type_name(stored: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(wrapped) = stored.cast_exact::<Wrapped>()
        && matches!(wrapped.get().content, Content::Pickled(_))
    {
        return Ok("pickled".to_owned());
    }
    let value = fastcall::thaw_native(stored).transpose()?;
    let kind = value.as_ref().unwrap_or(stored).get_type();
    Ok(kind.fully_qualified_name()?.to_string_lossy().into_owned())
}

fn weigh_plain(object: &Bound<'_, PyAny>) -> PyResult<u64> {
    match fastcall::copy_in(kinds(object.py())?, object, false) {
        Ok((_, weight)) => Ok(weight),
        Err(Stop::Failed) => Err(PyErr::fetch(object.py())),
        Err(_) => Ok(fastcall::shallow_bytes(object)),
    }
}

fn wrap(py: Python<'_>, content: Content, weight: u64) -> PyResult<Frozen> {
    let weight = weight + Wrapped::BYTES;
    Ok(Frozen {
        stored: Wrapped::wrap(py, content, weight)?,
        weight,
        traced: false,
    })
}

fn pickle<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = value.py();
    let dumps = DUMPS.get_or_try_init(py, || from_pickle(py, "dumps"))?;
    Ok(outside::call_with(dumps.bind(py), (value, PICKLE_PROTOCOL))?.cast_into()?)
}

fn unpickle<'py>(pickled: &Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = pickled.py();
    let loads = LOADS.get_or_try_init(py, || from_pickle(py, "loads"))?;
    outside::call_with(loads.bind(py), (pickled,))
}

fn from_pickle(py: Python<'_>, name: &str) -> PyResult<Py<PyAny>> {
    let module = outside::import(intern!(py, "pickle"))?;
    Ok(outside::attribute(&module, &pyo3::types::PyString::new(py, name))?.unbind())
}

/// What tests look at: no part of the module's public names.
pub(super) fn install(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.setattr("_freeze", wrap_pyfunction!(freeze_for_tests, module)?)?;
    module.setattr("_thaw", wrap_pyfunction!(thaw_for_tests, module)?)?;
    module.setattr("_weigh", wrap_pyfunction!(weigh_for_tests, module)?)
}

/// For tests: the stored form of a value, what kind it is, and its weight in bytes.
#[pyfunction(name = "_freeze", signature = (value, isolation = "auto"))]
fn freeze_for_tests(
    value: &Bound<'_, PyAny>,
    isolation: &str,
) -> PyResult<(Py<PyAny>, &'static str, u64)> {
    let frozen = freeze(value, Isolation::parse(isolation)?)?;
    let kind = match frozen.stored.bind(value.py()).cast_exact::<Wrapped>() {
        Ok(wrapped) => match wrapped.get().content {
            Content::Tree(_) => "tree",
            Content::Pickled(_) => "pickled",
        },
        Err(_) if frozen.traced => "reference",
        Err(_) => "value",
    };
    Ok((frozen.stored, kind, frozen.weight))
}

/// For tests: the value of a stored form. Raises what pickle raises.
#[pyfunction(name = "_thaw")]
fn thaw_for_tests(stored: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    match thaw(stored)? {
        Thawed::Value(value) => Ok(value),
        Thawed::Unreadable(error) => Err(error),
    }
}

/// For tests: the bytes of a stored form and its key.
#[pyfunction(name = "_weigh")]
fn weigh_for_tests(stored: &Bound<'_, PyAny>, key: &Bound<'_, PyAny>) -> PyResult<u64> {
    weigh(stored, key)
}
